"""The README of an export, for people and for the Hugging Face hub."""

import json
from typing import Any

from dancejax import methods, names
from dancejax.exchange.readers import DESCRIPTION, tfds_name

_USE = {
    "png": "Each class has a folder in `images/`, numbered in the order of the labels.",
    "npz": "`numpy.load('set.npz')` has images [n, h, w, c], labels, classes, mean, std, factor.",
    "safetensors": "`safetensors.numpy.load_file('set.safetensors')` has images [n, h, w, c] and "
    "labels.",
    "torch": "`safetensors.torch.load_file('set.safetensors')` has images [n, c, h, w], which are "
    "normalised already, and labels.",
    "ddranking": "`ddranking.metrics.LabelRobustScoreHard(...).compute_metrics("
    "image_path='images', syn_lr=0.01)`: its custom_train_trans must turn images to tensors and "
    "normalise them as above.",
    "tfds": "`tfds.data_source('{tfds}', split='train', data_dir=THIS_FOLDER)`.",
    "huggingface": "`datasets.load_dataset(THIS_FOLDER, split='train')`.",
}


def card(about: dict[str, Any]) -> str:
    """Returns the README of an export with a description; names in it cannot break its form."""
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
    if test:
        lines.append(
            f"- Test images: {test['images']}, the test split of {name} (sha256 "
            f"{test['fingerprint']}), {_TEST[about['form']]}."
        )
    use = _USE[about["form"]].format(tfds=tfds_name(about))
    if about["form"] == "png":
        use = _folders(about)
    lines += [
        f"- Licence of the source data: {names.markdown(licence)}.",
        f"- Accuracy: {names.markdown(accuracy or 'not stated')}",
        f"- Use: {use}",
        "",
        "Classes, in the order of the labels: "
        + ", ".join(map(names.markdown, names.unique(about["classes"])))
        + ".",
        "",
        f"All settings are in `{DESCRIPTION}`.",
    ]
    text = "\n".join(lines) + "\n"
    return _front_matter(about, licence) + text if about["form"] == "huggingface" else text


_TEST = {
    "png": "in `test/`, in folders of the same names",
    "npz": "in `test.npz`",
    "safetensors": "in `test.safetensors`",
    "torch": "in `test.safetensors`, normalised as the training images are",
    "huggingface": "as the split `test`",
}


def _folders(about: dict[str, Any]) -> str:
    """The rule by which the folders of a PNG export are named."""
    if "folders" not in about:
        return _USE["png"]
    numbered = about["folders"][0].startswith("0") and about["folders"] != about["classes"]
    return (
        ("Each class has a folder in `images/`, numbered since the order of the labels is not the "
         "alphabetical order of the names" if numbered
         else "Each class has a folder of its name in `images/`, and their alphabetical order is "
         "that of the labels")
        + "; `classes.txt` has the names in that order. Read it by "
        "`torchvision.datasets.ImageFolder('images')`."
    )  # fmt: skip


def _front_matter(about: dict[str, Any], licence: str) -> str:
    """The YAML head that the Hugging Face hub reads."""
    listing = "\n".join(
        f"          '{i}': {json.dumps(name, ensure_ascii=False)}"
        for i, name in enumerate(names.unique(about["classes"]))
    )
    test = "  - split: test\n    path: data/test-*.parquet\n" if about.get("test") else ""
    return f"""---
license: {json.dumps(names.clean(licence), ensure_ascii=False)}
task_categories:
- image-classification
tags:
- dataset-condensation
- dataset-distillation
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
{listing}
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
{test}---
"""
