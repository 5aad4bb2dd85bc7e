"""The README of an export, for people and for the Hugging Face hub."""

from dancejax import methods, names
from dancejax.exchange import forms
from dancejax.exchange.form import About
from dancejax.exchange.readers import DESCRIPTION


def card(about: About) -> str:
    """Return the README of an export with a description; names in it cannot break its form."""
    form = forms.find(about["form"])
    source, normalisation = about["source"], about["normalisation"]
    outside = about["outside_of_range"]["share"]
    licence, accuracy = about.get("licence", "unknown"), about.get("accuracy")
    name, test = names.markdown(source["name"]), about.get("test")
    method = names.markdown(methods.title(about["method"]))
    count = f"{about['count']} " if "count" in about else ""
    lines = [
        f"# {name}, condensed by {method}: {about['ipc']} images per class",
        "",
        f"{count}{about['images']} images of {len(about['classes'])} classes, made by dancejax "
        f"from the training split of {name} (sha256 {names.clean(source['fingerprint'])}).",
        "",
        f"- Pixels: {about['pixels']}. {100 * outside:.2f} % of them were outside of [0, 1]"
        + (" and are cut off." if about["outside_of_range"]["cut_off"] else "."),
        f"- Normalisation for networks: {normalisation['formula']}, mean {normalisation['mean']}, "
        f"std {normalisation['std']}.",
    ]
    if about["factor_left"] > 1:
        lines.append(
            f"- To be decoded, factor {about['factor_left']}: {about['decoding']['rule']}."
        )
    if about.get("soft_labels"):
        soft = about["soft_labels"]
        lines.append(
            f"- Soft labels: `{soft['file']}`, {soft['dtype']} {soft['shape']}, {soft['of']}."
        )
    if test:
        lines.append(
            f"- Test images: {test['images']}, the test split of {name} (sha256 "
            f"{test['fingerprint']}), {form.test}."
        )
    lines += [
        f"- Licence of the source data: {names.markdown(licence)}.",
        *_citation(source.get("provenance") or {}),
        f"- Accuracy: {names.markdown(accuracy or 'not stated')}",
        f"- Use: {form.use(about)}",
        "",
        "Classes, in the order of the labels: "
        + ", ".join(map(names.markdown, names.unique(about["classes"])))
        + ".",
        "",
        f"All settings are in `{DESCRIPTION}`.",
    ]
    return form.head(about) + "\n".join(lines) + "\n"


def _citation(provenance: dict[str, str]) -> list[str]:
    """Lines with what the source of the data states of itself."""
    titles = {"homepage": "Source data", "citation": "Citation of the source data"}
    return [
        f"- {title}: {names.markdown(' '.join(provenance[key].split()))}."
        for key, title in titles.items()
        if key in provenance
    ]
