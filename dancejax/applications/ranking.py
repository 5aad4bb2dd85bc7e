"""What an architecture search came to: rankings, how far they agree, the networks chosen."""

import csv
import dataclasses
import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dancejax import names, runs
from dancejax.report import papers
from dancejax.types import Json

EARLY, WHOLE = "early_stopping", "whole"
TITLES = {EARLY: "early stopping", WHOLE: "whole set"}
LEAST = 3
"""Networks from which on a rank correlation says something."""
SHOWN = 10
"""Networks of each proxy in the table."""


class Correlation(NamedTuple):
    """Spearman's rank correlation with a bootstrap interval.

    Attributes:
      value: the correlation; None for fewer than LEAST networks or equal accuracies.
      low: of the interval; None without a value, or where no resample has a correlation.
      high: likewise.
      networks: how many.
    """

    value: float | None
    low: float | None
    high: float | None
    networks: int

    def __str__(self) -> str:
        if self.value is None:
            return f"- ({self.networks})"
        interval = "" if self.low is None else f" from {self.low:.2f} to {self.high:.2f}"
        return f"{self.value:.2f}{interval} ({self.networks})"


def _rank_correlation(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """Spearman's correlation along an axis, [..., n] and [..., n] -> [...]."""
    from scipy import stats

    ranks = (stats.rankdata(values, axis=axis) for values in (x, y))
    return np.asarray(stats.pearsonr(*ranks, axis=axis).statistic)


def correlation(
    x: Sequence[float], y: Sequence[float], *, resamples: int, seed: int = 0
) -> Correlation:
    """Compute Spearman's rank correlation of two accuracies of the same networks.

    Args:
      x: of each network.
      y: of each network.
      resamples: of the networks, for the 95 % percentile interval; those in which all are equal
        have no correlation and are left out.
      seed: of the resamples.
    """
    count = len(x)
    if count < LEAST or len(set(x)) < 2 or len(set(y)) < 2:
        return Correlation(None, None, None, count)
    from scipy import stats

    value = float(stats.spearmanr(x, y).statistic)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            (np.asarray(x), np.asarray(y)),
            _rank_correlation,
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    if np.isnan(drawn).all():
        return Correlation(value, None, None, count)
    low, high = np.nanpercentile(drawn, [2.5, 97.5]).tolist()
    return Correlation(value, low, high, count)


class Proxy(NamedTuple):
    """What networks are trained on instead of the whole set, as a result says it.

    Attributes:
      name: of its line.
      published: its name in DM's table ("" where it has none).
      images: stored ones.
      steps: that each network is trained.
    """

    name: str
    published: str
    images: int
    steps: int

    @property
    def title(self) -> str:
        """Its name as people write it."""
        return TITLES.get(self.name, self.name)


class Choice(NamedTuple):
    """What a proxy came to.

    Attributes:
      proxy: which.
      network: the one with the best validation accuracy.
      validation: that accuracy, percent.
      accuracy: test accuracy of that network trained on the whole set, percent; None where it is
        not trained yet.
      top: correlation of the proxy's validation accuracies with the whole set's test accuracies
        over the networks that are best by the proxy; None where the whole set was not searched.
      every: over all networks.
      minutes: of training all networks.
    """

    proxy: Proxy
    network: str
    validation: float
    accuracy: float | None
    top: Correlation | None
    every: Correlation | None
    minutes: float


@dataclasses.dataclass(frozen=True)
class Result:
    """An architecture search, or the part of it that is computed.

    Attributes:
      dataset: name of the data set.
      task: what DM's table calls the search ("" where it is another).
      networks: names of those searched so far.
      total: how many the space has.
      proxies: what they were trained on.
      validation: accuracy on the validation images by proxy and network, percent.
      test: accuracy on the test images of networks trained on the whole set, by name, percent.
      seconds: of training, by proxy and network.
      share: of the networks that are the top.
      resamples: of the bootstrap.
    """

    dataset: str
    task: str
    networks: tuple[str, ...]
    total: int
    proxies: tuple[Proxy, ...]
    validation: Mapping[str, tuple[float, ...]]
    test: Mapping[str, float]
    seconds: Mapping[str, tuple[float, ...]]
    share: float = 0.05
    resamples: int = 1000

    def ranked(self, proxy: str) -> list[int]:
        """Return the networks' numbers, best first; of equals the first of the space."""
        order = np.argsort(-np.array(self.validation[proxy]), kind="stable")
        return [int(number) for number in order]

    def choice(self, proxy: Proxy) -> Choice:
        """Return what a proxy came to."""
        order, found = self.ranked(proxy.name), self.validation[proxy.name]
        chosen = self.networks[order[0]]
        top, every = None, None
        if any(other.name == WHOLE for other in self.proxies):
            first = order[: max(1, math.ceil(self.share * len(order)))]
            top, every = (self._correlation(found, numbers) for numbers in (first, order))
        minutes = sum(self.seconds[proxy.name]) / 60
        accuracy = self.test.get(chosen)
        return Choice(proxy, chosen, found[order[0]], accuracy, top, every, minutes)

    def _correlation(self, found: Sequence[float], numbers: Sequence[int]) -> Correlation:
        whole = [self.test[self.networks[number]] for number in numbers]
        own = [found[number] for number in numbers]
        return correlation(own, whole, resamples=self.resamples)

    def to_dict(self) -> Json:
        """Return what result.json says."""
        return {
            "application": "nas",
            "dataset": self.dataset,
            "total": self.total,
            "choices": [
                {
                    **choice._asdict(),
                    "proxy": choice.proxy._asdict(),
                    "top": choice.top and choice.top._asdict(),
                    "every": choice.every and choice.every._asdict(),
                }
                for choice in map(self.choice, self.proxies)
            ],
            "networks": list(self.networks),
            "validation": dict(self.validation),
            "test": dict(self.test),
            "seconds": dict(self.seconds),
        }

    def table(self) -> str:
        """Show the proxies and the networks that each ranks first as Markdown tables."""
        choices = [self.choice(proxy) for proxy in self.proxies]
        head = ["proxy", "images", "steps", "chosen network", "validation", "accuracy"]
        percent = f"{100 * self.share:g}"
        head += [f"Spearman, top {percent} %", "Spearman, all", "minutes"]
        head += ["papers: accuracy, Spearman, minutes"] if self.task else []
        rows = [head, ["---"] * len(head)]
        for found in choices:
            row = [found.proxy.title, str(found.proxy.images), str(found.proxy.steps)]
            row += [found.network, f"{found.validation:.1f}"]
            row += ["-" if found.accuracy is None else f"{found.accuracy:.1f}"]
            row += ["-" if value is None else str(value) for value in (found.top, found.every)]
            row += [f"{found.minutes:.{1 if found.minutes >= 1 else 2}f}"]
            row += [_published(self.task, found.proxy.published)] if self.task else []
            rows.append(list(map(names.markdown, row)))
        rows += [[], ["rank", *(names.markdown(p.title) for p in self.proxies)]]
        rows.append(["---"] * (1 + len(self.proxies)))
        orders = [self.ranked(proxy.name) for proxy in self.proxies]
        for rank in range(min(SHOWN, len(self.networks))):
            own = [self.networks[order[rank]] for order in orders]
            rows.append([str(rank + 1), *map(names.markdown, own)])
        text = "\n".join("| " + " | ".join(row) + " |" if row else "" for row in rows)
        return (
            f"{text}\n\n{len(self.networks)} of {self.total} networks on {self.dataset}. Chosen by "
            "the accuracy (%) on validation images; accuracy: on the test images, of the chosen "
            "network trained on the whole set. Spearman: of validation accuracies by the proxy "
            "and test accuracies by the whole set, with a 95 % bootstrap interval (and the number "
            "of networks)."
        )

    def csv(self) -> str:
        """Show a line for each network: validation accuracies by proxy, and the test accuracy."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["network", *(proxy.name for proxy in self.proxies), "whole_test"])
        for number, name in enumerate(self.networks):
            own = [self.validation[proxy.name][number] for proxy in self.proxies]
            writer.writerow([name, *own, self.test.get(name, "")])
        return out.getvalue()

    def section(self) -> Json:
        """Return what analysis.json says, from which reports make a section."""
        choices = [self.choice(proxy) for proxy in self.proxies]
        ranked = [
            f"{c.proxy.title} {c.every.value:.2f}"
            for c in choices
            if c.every is not None and c.every.value is not None and c.proxy.name != WHOLE
        ]
        agreement = f"; rank correlation with the whole set: {', '.join(ranked)}" if ranked else ""
        rows = [
            {
                "proxy": c.proxy.title,
                "images": c.proxy.images,
                "chosen network": c.network,
                "validation (%)": c.validation,
                "test, trained on the whole set (%)": c.accuracy,
                "Spearman, top": None if c.top is None else str(c.top),
                "Spearman, all": None if c.every is None else str(c.every),
                "minutes": c.minutes,
            }
            for c in choices
        ]
        return {
            "analysis": "nas",
            "title": f"Architecture search on {self.dataset}",
            "summary": f"{len(self.networks)} of {self.total} networks ranked by "
            f"{len(choices)} proxies{agreement}.",
            "plot": None,
            "sets": [c.proxy.name for c in choices],
            "rows": rows,
        }

    def write(self, folder: Path) -> None:
        """Write result.json, analysis.json, ranking.csv and table.md."""
        runs.write_json(folder / "result.json", self.to_dict())
        runs.write_json(folder / "analysis.json", self.section())
        runs.write_bytes(folder / "ranking.csv", self.csv().encode())
        runs.write_bytes(folder / "table.md", (self.table() + "\n").encode())


def _published(task: str, method: str) -> str:
    found = [
        papers.applied(task, method, metric)
        for metric in ("accuracy", "spearman_top5pct", "minutes")
    ]
    values = ", ".join(f"{row.value:g}" for rows in found for row in rows)
    return f"{values} ({found[0][0].source})" if values else "-"
