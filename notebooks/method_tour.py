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
# # What each loss sees
#
# The losses of the four methods on the same images, and what lies between an expert's initial and final parameters.

# %% tags=["parameters"]
WORKDIR = "runs/tour"
WIDTH = 32
EXPERT_EPOCHS = 8
POINTS = 6
IMAGES = 64
TEST_IMAGES = 100

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from dancejax import augment, coreset, data, interpolate, mmd, multiformation, networks, training
from dancejax.runs import backend
from dancejax.training import experts

backend.tune_allocator()
backend.use_cores()  # each core of a CPU works by itself; no effect on accelerators
train = data.load("fashion_mnist_mini")
test = data.subset(data.load("fashion_mnist_mini", split="test"), TEST_IMAGES, seed=0)
network = networks.create("convnet", train.num_classes, train.image_shape, width=WIDTH)
config = experts.expert_training(28, epochs=EXPERT_EPOCHS)
found = experts.train_experts(network, train, count=1, config=config, run=WORKDIR)
first, final = (interpolate.select(end, 0) for end in found.pool)

# %% [markdown]
# ## Siamese augmentation
#
# Real and synthetic images of a class get the same random draw, so that matching is about content.

# %%
small = coreset.random(train, 4)
images = (jnp.asarray(small.images[:4]) - train.mean[0]) / train.std[0]
rows = [images] + [
    augment.siamese(jax.random.key(seed), images, "color_crop_cutout", "multi") for seed in (1, 2)
]
figure, panels = plt.subplots(3, 4, figsize=(6, 4.5))
for line, row in zip(panels, rows, strict=True):
    for axes, image in zip(line, row, strict=True):
        axes.imshow(image.squeeze(), cmap="gray", vmin=-1, vmax=2)
        axes.axis("off")
plt.show()

# %% [markdown]
# ## Factoring
#
# A stored image holds factor x factor training images.

# %%
stored = multiformation.encode(jnp.asarray(small.images[:4]), 2)
decoded = multiformation.decode(stored, 2)
stored.shape, decoded.shape

# %% [markdown]
# ## Mid encoders
#
# Between initial (lambda 1) and final parameters (lambda 0): how well the network does on test images, and how far the classes'
# means lie apart from one another in its features, against how far the images of one class spread.

# %%
lambdas = np.linspace(0, 1, POINTS)
test_data = training.train_data(test)
accuracies, ratios = [], []
for lam in lambdas:
    mid = interpolate.lerp(first, final, float(lam))
    logits, features = training.predict(mid, test_data, network=network)
    accuracies.append(100 * float(np.mean(np.argmax(logits, -1) == test.labels)))
    means = np.stack([features[test.labels == c].mean(0) for c in range(10)])
    within = np.mean([np.var(features[test.labels == c], 0).sum() for c in range(10)])
    ratios.append(float(np.var(means, 0).sum() / within))
figure, panels = plt.subplots(1, 2, figsize=(9, 3.2))
for axes, values, name in zip(
    panels, (accuracies, ratios), ("test accuracy (%)", "between / within classes"), strict=True
):
    axes.plot(lambdas, values, marker="o", color="#0072B2")
    axes.set_xlabel("lambda")
    axes.set_ylabel(name)
plt.show()

# %% [markdown]
# ## The losses on the same images
#
# One class's images against more of its own, and against those of another class: DM's distance of means and M3D's MMD, under
# the initial network, half way, and under the expert.


# %%
def of_class(label, start):
    index = np.flatnonzero(train.labels == label)[start : start + IMAGES]
    normalised = (train.images[index] / np.float32(255) - train.mean[0]) / train.std[0]
    return jnp.asarray(normalised)


real, same, other = of_class(0, 0), of_class(0, IMAGES), of_class(1, 0)
for lam in (1.0, 0.5, 0.0):
    mid = interpolate.lerp(first, final, lam)
    x, y, z = (networks.features(network, mid, batch) for batch in (real, same, other))
    print(
        f"lambda {lam}: distance of means {mmd.mean_discrepancy(x, y):.3f} (same class) "
        f"{mmd.mean_discrepancy(x, z):.3f} (another); MMD² {mmd.mmd2(x, y):.4f} "
        f"{mmd.mmd2(x, z):.4f}"
    )

# %% [markdown]
# With the linear kernel M3D's loss is DM's:

# %%
float(mmd.mmd2(x, z, kernel=mmd.linear_kernel)), float(mmd.mean_discrepancy(x, z))
