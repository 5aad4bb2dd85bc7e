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
# # What a condensed set is good for
#
# A few images per class that train a network nearly as well as thousands are useful where training is repeated, or where images cannot be kept. This notebook shows both on images that are in the package: an architecture is chosen with a condensed set, and classes that come one after another are kept in a small memory. Some minutes on two CPU cores.

# %% tags=["parameters"]
WORKDIR = "runs/applications"
WIDTH = 16
IPC = 5
ITERATIONS = 100
EPOCHS = 40
WHOLE_EPOCHS = 12
SPACE = "depth=1,3 pooling=avg,none"
STEPS = 3
IMAGES = 200
TEST_IMAGES = 50

# %%
from pathlib import Path

import dancejax as dc
from dancejax import data
from dancejax.applications import continual, nas
from dancejax.applications.settings import EvaluationSettings, NetworkSettings, Splits
from dancejax.runs import Run, backend

backend.tune_allocator()
backend.use_cores()  # each core of a CPU works by itself; no effect on accelerators
train = data.subset(data.load("fashion_mnist_mini"), IMAGES, seed=0)
test = data.subset(data.load("fashion_mnist_mini", split="test"), TEST_IMAGES, seed=0)
source = Splits(train, test)
network = NetworkSettings(options={"width": WIDTH})
folder = Path(WORKDIR)
train

# %% [markdown]
# ## A condensed set
#
# M3D needs no experts. Everything below keeps its results in folders: a cell that was stopped goes on when it is run again.

# %%
method = dc.methods.create("m3d", network.create(train), batch_real=32)
small = dc.condense(method, train, ipc=IPC, steps=ITERATIONS, run=folder / "m3d")
small

# %% [markdown]
# ## Choosing an architecture
#
# Each network of the space is trained on the condensed set, on as many random images, and on the whole set for as few steps (early stopping). The one that does best on a tenth of the training images, set apart, is chosen. Because the space is small, every network is also trained on the whole set, to see how well each ranking agrees with it: Spearman's correlation, with an interval that shows how little so few networks say.

# %%
search = nas.Settings(
    source,
    SPACE,
    {"m3d": small},
    ["random"],
    ipc=IPC,
    whole=True,
    whole_epochs=WHOLE_EPOCHS,
    share=0.75,
    network=network,
    training=EvaluationSettings("dm", EPOCHS, repeats=1),
)
found = nas.search(search, run=Run(folder / "search", progress=False))
print(found.table())

# %% [markdown]
# What a search is for is the column "accuracy": the chosen network, trained on the whole set, on test images that chose nothing.
#
# ## A memory of old classes
#
# The classes come in steps. After each, only a few images of every class so far are kept: condensed ones, or random ones. Networks trained from scratch on this memory are tested on all classes seen.

# %%
classes = continual.Settings(
    source,
    ["m3d", "random"],
    steps=STEPS,
    orders=1,
    ipc=IPC,
    iterations=ITERATIONS,
    config={"batch_real": 32},
    network=network,
    training=EvaluationSettings("gdumb", EPOCHS, repeats=2),
)
learnt = continual.learn(classes, run=Run(folder / "memory", progress=False))
print(learnt.table())

# %%
from IPython.display import Image, display

display(Image(filename=str(folder / "memory" / "curve.png")))

# %% [markdown]
# The memory itself is a condensed set like any other: it can be evaluated, exported, and trained on.

# %%
memory = dc.CondensedSet.load(folder / "memory" / "order-0" / "m3d" / "condensed")
memory
