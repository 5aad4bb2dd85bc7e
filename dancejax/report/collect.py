"""Finds what runs left behind: condensed sets, their cost and losses, and their evaluations."""

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dancejax import condensed, names, runs
from dancejax.errors import UserError
from dancejax.report import compare, files, tables
from dancejax.report.entry import Entry, Run

CHECKPOINTS = "best_over_checkpoints.json"


class _Found(NamedTuple):
    """An evaluation with the set that it is of, where that is among the folders."""

    result: dict[str, Any]
    run: Run | None
    path: Path
    checkpoint: float | None


def collect(folders: Sequence[Path], *, notes: list[str] | None = None) -> list[Entry]:
    """Find everything evaluated in the folders and below, pools of experts as the whole set, too.

    Args:
      folders: work folders.
      notes: takes a sentence for each file that is damaged, of another version or edited by hand,
        and passed over; without it they go to stderr.

    Returns:
      An entry for each setting.

    Raises:
      UserError: a folder is missing, or there is nothing to report in them.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}; give the --workdir of a run.")
    passed_over: list[str] = []
    sets = _sets(folders, passed_over)
    images = _sizes(folders)
    groups: dict[str, list[_Found]] = {}
    for path in files.named(folders, "result.json"):
        found = _evaluation(path, sets, passed_over)
        if found is not None:
            groups.setdefault(_group(found.result, found.run), []).append(found)
    entries = [e for group in groups.values() if (e := _entry(group, images, passed_over))]
    passed_over = list(dict.fromkeys(passed_over))
    if notes is not None:
        notes += passed_over
    else:
        for note in passed_over:
            print(f"report: {names.clean(note)}", file=sys.stderr)
    if not entries:
        listing = ", ".join(map(str, folders))
        why = f" ({passed_over[0]})" if passed_over else ""
        raise UserError(f"there are no evaluations in {listing}{why}; run launch.evaluate first.")
    return _with_varying(entries)


def _with_varying(entries: Sequence[Entry]) -> list[Entry]:
    """Entries that know which of their settings tell them from others of the same kind.

    Settings of the evaluation tell apart only what would have the same name otherwise.
    """

    def made(e: Entry) -> tuple[Hashable, ...]:
        return (e.dataset, e.method, e.ipc)

    def named(e: Entry) -> tuple[Hashable, ...]:
        place = (compare.network_name(e.network), tables.evaluation(e))
        return (*made(e), *place, compare.label(e))

    found = _varied(entries, made, compare.deviations)
    return _varied(found, named, compare.training_differences)


def _varied(
    entries: Sequence[Entry],
    kind: Callable[[Entry], Hashable],
    differences: Callable[[Entry], list[compare.Difference]],
) -> list[Entry]:
    """Entries with the names of the differences that vary among those of a kind."""
    groups: dict[Hashable, list[dict[str, str]]] = {}
    for entry in entries:
        own = {d.name: str(d.here) for d in differences(entry)}
        groups.setdefault(kind(entry), []).append(own)
    varying = {
        key: {n for own in group for n in own if len({o.get(n) for o in group}) > 1}
        for key, group in groups.items()
    }
    return [dataclasses.replace(e, varying=e.varying | varying[kind(e)]) for e in entries]


def _sets(folders: Sequence[Path], notes: list[str]) -> dict[str, Run]:
    """The condensed sets of the folders by fingerprint."""
    sets: dict[str, Run] = {}
    for path in files.named(folders, "manifest.json"):
        if not (path.parent / "images.npy").exists():
            continue
        try:
            run = _run(path.parent, notes)
        except UserError as error:
            notes.append(f"passed over: {error}")
            continue
        sets[condensed.fingerprint(run.made)] = run
    return sets


def _sizes(folders: Sequence[Path]) -> dict[str, int]:
    """How many training images the data sets have, by fingerprint; configurations are no result,
    so that a damaged one is no more than a size that is unknown."""
    found = {}
    for path in files.named(folders, "config.json"):
        try:
            about = _dataset_of(runs.read_json(path))
        except UserError:
            continue
        if about is not None:
            found[about["fingerprint"]] = about["images"]
    return found


def _evaluation(path: Path, sets: dict[str, Run], notes: list[str]) -> _Found | None:
    """An evaluation's result.json; None for other results, and with a note for a garbled one."""
    try:
        result = runs.read_json(path)
    except UserError as error:
        notes.append(f"passed over: {error}")
        return None
    if not isinstance(result, dict) or "accuracies" not in result or "train" not in result:
        return None
    if (wrong := _garbled(result)) is not None:
        notes.append(f"passed over: {path} is of another version or was edited: {wrong}.")
        return None
    train = result["train"]
    origin = train.get("origin") or {}
    run = sets.get(train["fingerprint"]) or sets.get(origin.get("fingerprint", ""))
    return _Found(result, run, path, _best_checkpoint(path.with_name(CHECKPOINTS), notes))


def _garbled(result: dict[str, Any]) -> str | None:
    """What an evaluation lacks or has in a wrong form; None if nothing."""
    accuracies, train = result["accuracies"], result["train"]
    if not isinstance(accuracies, list) or not accuracies or not all(map(_number, accuracies)):
        return "accuracies are not numbers"
    if not isinstance(train, dict) or not _texts(train, "name", "method", "fingerprint"):
        return "train is not a training set"
    ipc, origin = train.get("ipc", ""), train.get("origin")
    if not (ipc is None or (isinstance(ipc, int) and ipc > 0)):
        return "ipc is not a number"
    if origin is not None and not (isinstance(origin, dict) and _texts(origin, "fingerprint")):
        return "origin is not a set"
    network, training = result.get("network"), result.get("training")
    if not isinstance(network, dict) or not _texts(network, "name"):
        return "network is not a network"
    if not isinstance(training, dict) or not isinstance(training.get("epochs"), int):
        return "training has no epochs"
    test = result.get("test")
    if not isinstance(test, dict) or not _texts(test, "name", "fingerprint"):
        return "test is not a test set"
    if not isinstance(result.get("protocol"), str | None):
        return "protocol is not a name"
    if not isinstance(result.get("test_images"), int | None):
        return "test_images is not a number"
    if "best_over_epochs_mean" in result and not _number(result["best_over_epochs_mean"]):
        return "best_over_epochs_mean is not a number"
    by_class = result.get("accuracy_by_class", {})
    if not (isinstance(by_class, dict) and all(v is None or _number(v) for v in by_class.values())):
        return "accuracy_by_class is not numbers"
    return None if _curve_is_whole(result.get("curve")) else "curve is not a curve"


def _curve_is_whole(curve: Any) -> bool:
    if curve is None:
        return True
    if not isinstance(curve, dict):
        return False
    x, y = curve.get("epochs"), curve.get("accuracy_mean")
    if not (isinstance(x, list) and isinstance(y, list) and len(x) == len(y) > 0):
        return False
    return all(map(_number, [*x, *y]))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _texts(value: dict[str, Any], *keys: str) -> bool:
    return all(isinstance(value.get(key), str) for key in keys)


def _best_checkpoint(path: Path, notes: list[str]) -> float | None:
    """The best checkpoint's mean accuracy; None where checkpoints were not evaluated."""
    if not path.is_file():
        return None
    try:
        value = runs.read_json(path)
        best = value["best"]["accuracy_mean"]
        if _number(best):
            return float(best)
    except (UserError, KeyError, TypeError):
        pass
    notes.append(f"passed over: {path} is damaged, of another version or was edited.")
    return None


def _run(path: Path, notes: list[str]) -> Run:
    made = condensed.load(path)
    folder = path.parent if path.name == "condensed" else path
    cost: Any = {}
    if (folder / "result.json").exists():
        try:
            cost = runs.read_json(folder / "result.json")
        except UserError as error:
            notes.append(f"passed over: {error}")
    wanted = {
        "seconds_per_iteration": _number,
        "step_memory_mb": _number,
        "device": lambda v: isinstance(v, str),
    }
    whole = isinstance(cost, dict) and all(n in cost and ok(cost[n]) for n, ok in wanted.items())
    return Run(made, folder, cost if whole else {}, _losses(folder / "metrics.jsonl", made.method))


def _losses(path: Path, method: str) -> tuple[dict[str, Any], ...]:
    """A method's lines of a metrics.jsonl that are whole."""
    if not path.is_file():
        return ()
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue  # a line that was being written when the machine stopped
        if isinstance(value, dict) and value.get("kind") == method and _number(value.get("step")):
            found.append(value)
    return tuple(found)


def _dataset_of(config: Any) -> dict[str, Any] | None:
    settings = config.get("settings") if isinstance(config, dict) else None
    about = settings.get("dataset") if isinstance(settings, dict) else None
    if not isinstance(about, dict) or not isinstance(about.get("images"), int):
        return None
    return about if _texts(about, "fingerprint") else None


def _group(result: dict[str, Any], run: Run | None) -> str:
    """What evaluations of several seeds have in common."""
    train, source, settings = result["train"], {}, result["train"]
    if run is not None:
        settings = {k: v for k, v in run.made.settings.items() if k != "seed"}
        source = {k: run.made.source.get(k) for k in ("name", "fingerprint")}
    form = (train.get("origin") or {}).get("form")
    parts = (train["name"], train["method"], train["ipc"], form, settings, source)
    about = (result["network"], result["training"], result.get("protocol"), result["test"])
    return json.dumps([*parts, *about], sort_keys=True, default=str)


def _entry(group: list[_Found], images: dict[str, int], notes: list[str]) -> Entry | None:
    """The entry of a group; None, with a note, where its settings are not of this version."""
    results = tuple(found.result for found in group)
    own = tuple(found.run for found in group if found.run is not None)
    train = results[0]["train"]
    source = own[0].made.source.get("fingerprint", "") if own else train["fingerprint"]
    entry = Entry(
        dataset=train["name"],
        method=train["method"],
        ipc=train["ipc"],
        network=results[0]["network"],
        training=results[0]["training"],
        protocol=results[0].get("protocol"),
        runs=own,
        results=results,
        images=images.get(source),
        checkpoints=tuple(f.checkpoint for f in group if f.checkpoint is not None),
    )
    try:  # whatever a table will ask of it
        tables.to_csv([entry])
        tables.accuracy_tables([entry])
        compare.differences(entry)
        compare.deviations(entry)
    except (UserError, LookupError, TypeError, ValueError, AttributeError) as error:
        what = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        listing = ", ".join(str(found.path) for found in group)
        notes.append(f"passed over: {listing} is of another version or was edited ({what}).")
        return None
    return entry
