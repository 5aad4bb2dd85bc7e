# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your images, condensed
#
# From a folder of images to a few synthetic images per class, on a TPU v5e-1, a GPU or a CPU. On Colab choose the machine under
# *Runtime → Change runtime type*. With `DATASET = "fashion_mnist_mini"`, real images that come with the package, it runs
# without any data of yours.

# %%
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
    requirement = source
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", requirement], check=True)

# %% tags=["parameters"]
DATASET = "fashion_mnist_mini"  # or "/content/images", with a folder for each class
IMAGE_SIZE = None  # images of several sizes are brought to this side
IPC = 10
WORKDIR = "runs/quickstart"
CHANGES = {}  # of the plan below, as {"steps": 1000}

# %% [markdown]
# ## The plan
#
# Settings are chosen by the size of the data and the machine.

# %%
import dataclasses
from pathlib import Path

import jax
import matplotlib.pyplot as plt

from dancejax import (
    condensation,
    condensed,
    coreset,
    data,
    evaluation,
    figures,
    interpolate,
    methods,
    networks,
)
from dancejax.applications import plan
from dancejax.report import gallery
from dancejax.runs import backend
from dancejax.training import experts, protocols

backend.tune_allocator()
backend.use_cores()  # each core of a CPU works by itself; no effect on accelerators
print(jax.device_count(), jax.devices()[0].device_kind)
train = data.load(DATASET, image_size=IMAGE_SIZE)
test = data.load(DATASET, split="test", image_size=IMAGE_SIZE)
chosen = dataclasses.replace(plan.choose(train, IPC, factor=2), **CHANGES)
chosen

# %% [markdown]
# ## Experts
#
# Networks trained on all images. DANCE matches features between their initial and their final parameters. Run the cell again
# after an interruption: it goes on.

# %%
workdir = Path(WORKDIR)
side = min(train.image_shape[:2])
network = networks.create("convnet", train.num_classes, train.image_shape, width=chosen.width)
training = experts.expert_training(side, epochs=chosen.expert_epochs)
experts.train_pool(workdir / "experts", train, network, training, count=chosen.experts, test=test)
pool, network, _ = experts.load_pool(workdir / "experts", count=chosen.experts, dataset=train)

# %% [markdown]
# ## Condensation

# %%
method = methods.create("dance", network=network, batch_real=chosen.batch_real)
made = condensation.condense(
    method,
    train,
    ipc=IPC,
    steps=chosen.steps,
    pool=pool,
    workdir=workdir,
    picture_every=max(1, chosen.steps // 10),
)
condensed.save(made, workdir / "condensed")
plt.figure(figsize=(8, 8))
plt.imshow(figures.grid(made).squeeze(), cmap="gray", vmin=0, vmax=1)
plt.axis("off")
plt.show()

# %% [markdown]
# ## How good is it?
#
# Networks trained from scratch on the result, and on as many random real images.

# %%
protocol = protocols.protocol("dance", train.name, epochs=chosen.epochs)
for name, small in (("random", coreset.random(train, IPC)), ("condensed", made)):
    result = evaluation.evaluate(small, test, network, protocol, repeats=chosen.repeats)
    print(f"{name}: {result['accuracy_mean']:.1f} ± {result['accuracy_std']:.1f} %")

# %% [markdown]
# ## Where the synthetic images lie among the real ones

# %%
figure = gallery.features_figure(
    train, {"DANCE": made}, network, interpolate.select(pool.final, 0), per_class=50
)
figure

# %% [markdown]
# ## Take it along

# %%
if not (workdir / "png").exists():
    condensed.export(made, workdir / "png", "png")
print(workdir / "png")
