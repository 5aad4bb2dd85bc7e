"""What a report of one's own data begins with: sentences made of what was measured alone."""

from collections.abc import Sequence

from dancejax import methods
from dancejax.report import compare, tables
from dancejax.report.entry import Entry


def sentences(entries: Sequence[Entry]) -> list[str]:
    """Say what condensed images reach, beside all images and as many random ones.

    Args:
      entries: of one data set.

    Returns:
      A sentence for each number of images per class, of its best method. What was not measured on
      the same network is not in it.
    """
    found = [e for e in entries if e.method in methods.METHODS and e.form is None and e.runs]
    best: dict[int | None, Entry] = {}
    for entry in sorted(found, key=lambda e: -e.mean):
        best.setdefault(entry.ipc, entry)
    several = len({compare.label(e) for e in found}) > 1
    shown = sorted(best.values(), key=lambda e: e.ipc or 0)
    return [_sentence(entry, entries, named=several) for entry in shown]


def _sentence(entry: Entry, entries: Sequence[Entry], *, named: bool) -> str:
    count = stored(entry)
    beside = [e for e in entries if e.network == entry.network]
    whole = [e for e in beside if e.ipc is None]
    by = f" (by {compare.label(entry)})" if named else ""
    text = f"{count:,} images{by} reach {entry.mean:.1f} %"
    if whole:
        best = max(whole, key=lambda e: e.mean)
        size = best.images if best.images is not None else entry.images
        text += f", all{'' if size is None else f' {size:,}'} reach {best.mean:.1f} %"
        text += f": {100 * entry.mean / best.mean:.0f} % of it" if best.mean > 0 else ""
        if size and best.mean > 0:
            text += f" with {percent(count / size)} of the images"
    random = [e for e in beside if e.method == "random" and e.ipc == entry.ipc]
    random = [e for e in random if tables.evaluation(e) == tables.evaluation(entry)]
    if random:
        text += f"; random ones {random[0].mean:.1f} %"
    return text + "."


def stored(entry: Entry) -> int:
    """How many images a condensed set stores."""
    return len(entry.runs[0].made.labels)


def percent(share: float) -> str:
    """A share in percent, with two digits where it is small."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"
