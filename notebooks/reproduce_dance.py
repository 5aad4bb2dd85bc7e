# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # DANCE on CIFAR-10, at the paper's settings
#
# Experts, condensation and evaluation as the paper has them. Everything is written to `WORKDIR`; put that on Google Drive, and
# after a disconnect run all cells again: each goes on where it stopped.

# %%
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

SOURCE = ""  # on a fresh machine: where dancejax is, a folder or "git+https://..."
if importlib.util.find_spec("dancejax") is None:
    checkouts = [p for p in (Path.cwd(), Path.cwd().parent) if (p / "dancejax").is_dir()]
    source = SOURCE or (str(checkouts[0]) if checkouts else "")
    if not source:
        sys.exit(
            "dancejax is not installed here. Set SOURCE above to a folder with its checkout (on "
            "Colab upload it, or mount your Drive) or to its git+https address, and run this cell "
            "again."
        )
    # JAX may become a newer one than the machine came with, and its driver with it.
    extras = ["tfds"]
    extras += ["cuda"] if Path("/proc/driver/nvidia").exists() else []
    extras += ["tpu"] if importlib.util.find_spec("libtpu") else []
    named = f"[{','.join(extras)}]" if extras else ""
    requirement = f"{source}{named}" if Path(source).is_dir() else f"dancejax{named} @ {source}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", requirement], check=True)
    loaded = [sys.modules[name] for name in ("numpy", "jax") if name in sys.modules]
    if any(m.__version__ != importlib.metadata.version(m.__name__) for m in loaded):
        sys.exit("Installed. Restart the session (Runtime → Restart session) and run all cells.")

# %% tags=["parameters"]
DATASET = "cifar10"
DATA_DIR = None  # where TFDS has it; None is TFDS's own folder
WORKDIR = "/content/drive/MyDrive/dancejax/cifar10"
IPC = 10
WIDTH = 128
EXPERTS = 5
EXPERT_EPOCHS = 60
BATCH_REAL = 128
STEPS = 10_000
EPOCHS = 1500
REPEATS = 10

# %%
if importlib.util.find_spec("google.colab") and WORKDIR.startswith("/content/drive"):
    from google.colab import drive

    drive.mount("/content/drive")

# %% [markdown]
# TFDS prepares CIFAR-10 once; reading it needs no TensorFlow afterwards.

# %%
from pathlib import Path

from dancejax import condensation, condensed, data, methods, networks, report, runs
from dancejax.applications import assess, pool
from dancejax.applications.settings import EvaluationSettings, ExpertSettings
from dancejax.data import tfds_source
from dancejax.runs import Run, backend
from dancejax.training import experts

backend.tune_allocator()
backend.use_cores()  # each core of a CPU works by itself; no effect on accelerators
data_dir = Path(DATA_DIR) if DATA_DIR else tfds_source.default_data_dir()
if not Path(DATASET).exists() and tfds_source.find(DATASET, data_dir) is None:
    import tensorflow_datasets as tfds

    builder = tfds.builder(DATASET, data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()
train = data.load(DATASET, data_dir=data_dir)
test = data.load(DATASET, data_dir=data_dir, split="test")
len(train), train.num_classes

# %% [markdown]
# ## Experts

# %%
workdir = Path(WORKDIR)
network = networks.create("convnet", train.num_classes, train.image_shape, width=WIDTH)
folder = workdir / "experts"
pool.train(train, test, network, ExpertSettings(EXPERTS, EXPERT_EPOCHS), run=Run(folder))
found = experts.load_pool(folder, count=EXPERTS, dataset=train)

# %% [markdown]
# ## Condensation

# %%
method = methods.create("dance", network=network, batch_real=BATCH_REAL, learning_rate=0.01 * IPC)
run = Run(workdir / f"ipc{IPC}")
made = condensation.condense(method, train, ipc=IPC, steps=STEPS, experts=found, run=run)
condensed.save(made, run.folder / "condensed")

# %% [markdown]
# ## Evaluation, and the paper's number beside it

# %%
tested = assess.Tested(made, test, network, "dance")
how = EvaluationSettings(epochs=EPOCHS, repeats=REPEATS, test_points=10)
assess.assess(tested, how, run=run.within("evaluation"))
content = report.gather([run.folder])
page = report.Page("DANCE", "this notebook")
report.write(content, runs.open_workdir(run.folder / "report"), page)
print(report.to_markdown(content, page))
