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
# # Your images, condensed
#
# From a folder of images to a few synthetic images per class, on a TPU v5e-1, a GPU or a CPU. On Colab choose the machine under
# *Runtime → Change runtime type*. With `DATASET = "fashion_mnist_mini"`, real images that come with the package, it runs
# without any data of yours.

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
    extras = []
    extras += ["cuda"] if Path("/proc/driver/nvidia").exists() else []
    extras += ["tpu"] if importlib.util.find_spec("libtpu") else []
    named = f"[{','.join(extras)}]" if extras else ""
    requirement = f"{source}{named}" if Path(source).is_dir() else f"dancejax{named} @ {source}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", requirement], check=True)
    loaded = [sys.modules[name] for name in ("numpy", "jax") if name in sys.modules]
    if any(m.__version__ != importlib.metadata.version(m.__name__) for m in loaded):
        sys.exit("Installed. Restart the session (Runtime → Restart session) and run all cells.")

# %% tags=["parameters"]
DATASET = "fashion_mnist_mini"  # or "/content/images", with a folder for each class
IMAGE_SIZE = None  # images of several sizes are brought to this side
IPC = 10
WORKDIR = "runs/quickstart"
CHANGES = {}  # of what is chosen, as {"steps": 1000}

# %% [markdown]
# ## From images to a report
#
# Method and settings are chosen by the size of the data and the machine; experts are networks trained on all images, whose features
# are matched. The result is compared with as many random real images. Run the cell again after an interruption: it goes on.

# %%
import jax
import matplotlib.pyplot as plt

from dancejax import exchange, figures
from dancejax.applications import own_folder
from dancejax.applications.settings import DataSettings
from dancejax.report import gallery
from dancejax.runs import Run, backend

backend.tune_allocator()
backend.use_cores()  # each core of a CPU works by itself; no effect on accelerators
print(jax.device_count(), jax.devices()[0].device_kind)
data = DataSettings(DATASET, image_size=IMAGE_SIZE)
settings = own_folder.settings_for(data, IPC, **CHANGES)
outcome = own_folder.condense(settings, run=Run(Path(WORKDIR)), say=print)
for name, found in outcome.evaluations.items():
    result = found.evaluation
    label = "random" if name == "random images" else "condensed"
    print(f"{label}: {result.accuracy_mean:.1f} ± {result.accuracy_std:.1f} %")

# %% [markdown]
# ## The synthetic images

# %%
plt.figure(figsize=(8, 8))
plt.imshow(figures.grid(outcome.made).squeeze(), cmap="gray", vmin=0, vmax=1)
plt.axis("off")
plt.show()

# %% [markdown]
# ## Where they lie among the real ones

# %%
figure = gallery.features_figure(
    outcome.train,
    {"condensed": outcome.made},
    outcome.experts,
    per_class=50,
)
figure

# %% [markdown]
# ## Take it along
#
# The report is `report/report.html` in the work folder; the images are here:

# %%
target = Path(WORKDIR) / "png"
exchange.ensure(outcome.made, target, "png")
print(target)
