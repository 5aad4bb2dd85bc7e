"""Something new is one file and one line: programs, flags, tables and reports know it then."""

import json
import subprocess
import sys

import numpy as np
import pytest

from ..methods.test_registry import MOMENTS
from .conftest import ROOT, SMALL

REST = '''
import flax.linen as nn
import numpy as np

from dancejax import coreset, exchange, methods, networks
from dancejax.exchange.form import Form

import moments


class Pooled(nn.Module):
    """A small network that averages over the image."""

    num_classes: int
    width: int = 4

    @nn.compact
    def __call__(self, x, train=False):
        features = nn.relu(nn.Conv(self.width, (3, 3))(x)).mean((1, 2))
        return nn.Dense(self.num_classes)(features), features


def last(dataset, ipc, seed, means):
    chosen = [np.flatnonzero(dataset.labels == c)[-ipc:] for c in range(dataset.num_classes)]
    return coreset.from_indices(dataset, np.stack(chosen), "last", {"ipc": ipc})


def write(path, images, labels, about):
    np.save(path / "images.raw.npy", images.astype(np.float32))
    np.save(path / "labels.raw.npy", labels)


def read(path, about, split):
    return np.load(path / "images.raw.npy"), np.load(path / "labels.raw.npy")


methods.METHODS["moments"] = moments
networks.NETWORKS["pooled"] = networks.Architecture(Pooled, {}, 1)
coreset.CORESETS["last"] = coreset.Coreset(last)
exchange.FORMS["raw"] = Form("plain arrays", write, read, lambda about: "`numpy.load`.")
'''
RUN = (
    "import new, runpy, sys; sys.argv = sys.argv[1:]; "
    "runpy.run_module('launch.' + sys.argv[0], run_name='__main__', alter_sys=True)"
)


@pytest.fixture
def extended(tmp_path, environment):
    """Runs a program of a process that knows a new method, network, coreset and form."""
    (tmp_path / "moments.py").write_text(MOMENTS)
    (tmp_path / "new.py").write_text(REST)

    def run(*arguments):
        path = f"{tmp_path}:{ROOT}"
        done = subprocess.run(
            [sys.executable, "-c", RUN, *arguments],
            cwd=tmp_path, env={**environment, "PYTHONPATH": path}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run


@pytest.mark.slow
def test_programs_know_what_is_new(extended, dataset, tmp_path):
    said = extended(
        "condense", dataset, "--preset=paper", "--method=moments", "--network=pooled", "--width=3",
        "--ipc=2", "--steps=3", "--third=0.5", "--augmentation=flip", "--workdir=run",
    )  # fmt: skip
    assert "preset paper: method=moments, steps=3, second=0.2" in said
    about = json.loads((tmp_path / "run/condensed/manifest.json").read_text())
    assert about["settings"]["third"] == 0.5 and about["training_recipe"]["protocol"] == "dm"
    assert about["settings"]["network"] == {"name": "pooled", "num_classes": 3, "width": 3}
    extended("sweep", dataset, "--methods=moments,last", "--ipcs=1", "--steps=2", *SMALL,
             "--variant=second=0.3", "--augmentation=flip", "--epochs=1", "--repeats=1",
             "--workdir=table")  # fmt: skip
    table = (tmp_path / "table/table.md").read_text()
    assert "Moments (M3D)" in table and "second=0.3" in table and "last" in table
    extended("evaluate", dataset, "--condensed=run", "--network=pooled", "--epochs=1",
             "--repeats=1", "--workdir=run/evaluation")  # fmt: skip
    extended("report", "--runs=run,table", "--workdir=page")
    page = (tmp_path / "page/report.html").read_text()
    assert "Moments (M3D)" in page and "pooled" in page
    extended("select", dataset, "--method=last", "--ipc=2", "--workdir=chosen")
    extended("export", "--condensed=chosen", "--formats=raw", "--workdir=out")
    images = np.load(tmp_path / "out/raw/images.raw.npy")
    assert images.shape == (6, 28, 28, 1)
