"""The methods as the papers' equations say them: plain, slow PyTorch in float64.

Independent of the package: all random numbers (networks, batches, augmentations, lambdas) are
inputs. Images are [n, c, h, w]; networks are dictionaries of tensors: conv0, bias0, scale0, shift0,
conv1, ..., head, head_bias. One class after the other, one image operation after the other.
"""

import math

import torch
import torch.nn.functional as F

MEAN, STD = 0.3, 0.4


def features(network, images):
    """ConvNet: 3x3 convolution, instance norm (affine), ReLU, 2x2 average pooling; flattened."""
    x, block = images, 0
    while f"conv{block}" in network:
        x = F.conv2d(x, network[f"conv{block}"], network[f"bias{block}"], padding=1)
        mean = x.mean((2, 3), keepdim=True)
        x = (x - mean) / ((x - mean).square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        shape = (1, -1, 1, 1)
        x = x * network[f"scale{block}"].view(shape) + network[f"shift{block}"].view(shape)
        x = F.avg_pool2d(F.relu(x), 2)
        block += 1
    return x.permute(0, 2, 3, 1).flatten(1)


def logits(network, images):
    return features(network, images) @ network["head"] + network["head_bias"]


def cross_entropy(network, images, labels):
    return F.cross_entropy(logits(network, images), labels)


def decode(stored, factor):
    """Partition and expansion: every tile resized to the full side."""
    side = stored.shape[-1]
    stored = F.pad(stored, (0, -side % factor, 0, -side % factor), value=0.5)
    tile = stored.shape[-1] // factor
    images = []
    for image in stored:
        for row in range(factor):
            for column in range(factor):
                part = image[
                    None, :, row * tile : (row + 1) * tile, column * tile : (column + 1) * tile
                ]
                images.append(F.interpolate(part, size=(side, side), mode="bilinear")[0])
    return torch.stack(images)


def mix(real, factor):
    """Down-scaled real images laid side by side, in decode's order: [factor^2, c, h, w] -> one."""
    side = real.shape[-1]
    tile = -(-side // factor)
    small = F.interpolate(real, size=(tile, tile), mode="bilinear", antialias=True)
    rows = [torch.cat(list(small[r * factor : (r + 1) * factor]), 2) for r in range(factor)]
    return torch.cat(rows, 1)[:, :side, :side]


def augment(images, draw):
    """DSA with the numbers of one draw, on normalised images."""
    side = images.shape[-1]
    images = images + draw["brightness"]
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * draw["saturation"] + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * draw["contrast"] + mean
    if draw["flip"]:
        images = images.flip(3)
    dy, dx = draw["shift"]
    pad = 16
    images = F.pad(images, (pad,) * 4)[:, :, pad + dy : pad + dy + side, pad + dx : pad + dx + side]
    images = sample(images, draw["scale"][0], draw["scale"][1], 0.0)
    images = sample(images, 1.0, 1.0, draw["angle"])
    if draw["cutout"]:
        half, (cy, cx) = side // 4, draw["centre"]
        images = images.clone()
        images[:, :, max(0, cy - half) : cy + half, max(0, cx - half) : cx + half] = 0
    return images


def sample(images, scale_y, scale_x, angle):
    """Each output pixel looks at its place, scaled or turned around the middle; zeros outside."""
    if scale_y == scale_x == 1 and angle == 0:
        return images
    middle = (images.shape[-1] - 1) / 2
    place = torch.arange(images.shape[-1], dtype=images.dtype) - middle
    y, x = torch.meshgrid(place, place, indexing="ij")
    sin, cos = math.sin(angle), math.cos(angle)
    grid = torch.stack([(cos * x - sin * y) * scale_x, (sin * x + cos * y) * scale_y], -1) / middle
    grid = grid.expand(len(images), *grid.shape)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def mean_distance(real, syn):
    return (real.mean(0) - syn.mean(0)).square().sum()


def gaussian_mmd2(real, syn):
    """Five Gaussians around the mean squared distance of all pairs of different points."""
    joint = torch.cat([real, syn])
    distances = (joint[:, None] - joint[None]).square().sum(-1)
    count = len(joint)
    width = (distances.sum() / (count * (count - 1))).detach()
    kernel = sum(torch.exp(-distances / (m * width)) for m in (0.25, 0.5, 1, 2, 4))
    n = len(real)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def normalise(images):
    return (images - MEAN) / STD


def interpolate(first, final, lam):
    return {name: lam * first[name] + (1 - lam) * final[name] for name in first}


class Pixels:
    """Stored images [C, IPC, c, h, w] with SGD and momentum."""

    def __init__(self, start, rate):
        self.values = start.clone().requires_grad_()
        self.optimizer = torch.optim.SGD([self.values], lr=rate, momentum=0.5)

    def update(self, losses):
        """One step on the sum of the classes' losses."""
        self.optimizer.zero_grad()
        sum(losses).backward()
        self.optimizer.step()
        return [loss.item() for loss in losses]


def matching_step(pixels, network, reals, draws, factor, distance, enter):
    """DM and M3D: one iteration; enter: stored pixels -> normalised ones."""
    losses = []
    for stored, real, draw in zip(pixels.values, reals, draws, strict=True):
        target = features(network, augment(normalise(real), draw))
        syn = features(network, augment(enter(decode(stored, factor)), draw))
        losses.append(distance(target, syn))
    return pixels.update(losses)


def dance_step(pixels, first, final, lam, reals, draws, again, taken, factor):
    """DANCE: PLTDA under the mid encoder, then calibration by the expert; two updates.

    taken: (of PLTDA, of calibration), for each class which decoded images are used.
    """
    with torch.no_grad():
        pixels.values.clamp_(0, 1)
    mid = interpolate(first, final, lam)
    losses = []
    for c, real in enumerate(reals):
        target = features(mid, augment(normalise(real), draws[c]))
        images = normalise(decode(pixels.values[c], factor)[taken[0][c]])
        losses.append(mean_distance(target, features(mid, augment(images, draws[c]))))
    pltda = pixels.update(losses)
    losses = []
    for c in range(len(reals)):
        images = normalise(decode(pixels.values[c], factor)[taken[1][c]])
        labels = torch.full((len(images),), c)
        losses.append(cross_entropy(final, augment(images, again[c]), labels))
    return pltda, pixels.update(losses)


def tgdd_step(pixels, matched, classifier, alpha, reals, draws, taken, factor):
    """TGDD: both losses on one augmented batch, each by its own snapshot; one update."""
    with torch.no_grad():
        pixels.values.clamp_(0, 1)
    distances, entropies, losses = [], [], []
    for c, real in enumerate(reals):
        target = features(matched, augment(normalise(real), draws[c]))
        images = augment(normalise(decode(pixels.values[c], factor)[taken[c]]), draws[c])
        distances.append(mean_distance(target, features(matched, images)))
        entropies.append(cross_entropy(classifier, images, torch.full((len(images),), c)))
        losses.append(distances[-1] + alpha * entropies[-1])
    pixels.update(losses)
    return [d.item() for d in distances], [e.item() for e in entropies]


class PixelsOfClasses:
    """Stored images [C, IPC, c, h, w]; each class with an AdamW and a falling rate of its own."""

    def __init__(self, start, rate, patience):
        self.classes = [own.clone().requires_grad_() for own in start]
        self.optimizers = [
            torch.optim.AdamW([own], lr=rate, weight_decay=5e-4) for own in self.classes
        ]
        self.rates, self.patience = [rate] * len(self.classes), patience
        self.best, self.bad = [math.inf] * len(self.classes), [0] * len(self.classes)

    @property
    def values(self):
        return torch.stack([own.detach() for own in self.classes])

    def update(self, losses, total=None):
        """A step of each class; total: its loss in the whole iteration, in its last step."""
        for c, loss in enumerate(losses):
            self.optimizers[c].zero_grad()
            loss.backward()
            if total is not None:
                self.plateau(c, total[c])
            self.optimizers[c].param_groups[0]["lr"] = self.rates[c]
            self.optimizers[c].step()
        return [loss.item() for loss in losses]

    def plateau(self, c, loss):
        """Half the rate after more than `patience` iterations that are no better than the best."""
        if loss < self.best[c] * (1 - 1e-4):
            self.best[c], self.bad[c] = loss, 0
        else:
            self.bad[c] += 1
        if self.bad[c] > self.patience:
            self.rates[c], self.bad[c] = self.rates[c] / 2, 0


def characteristic_distance(real, syn, frequencies, amplitude):
    """300 times the mean over frequencies of the root of both parts, by complex numbers."""
    ours, theirs = (
        torch.exp(1j * (x / x.norm(dim=1, keepdim=True)) @ frequencies.T.to(torch.complex128)).mean(
            0
        )
        for x in (real, syn)
    )
    strength = (ours.abs() - theirs.abs()).square()
    phase = 2 * (ours.abs() * theirs.abs() - (ours * theirs.conj()).real)
    return 300 * (amplitude * strength + (1 - amplitude) * phase).sqrt().mean()


def ncfm_step(pixels, pair, distance, reals, draws, taken, factor):
    """NCFM: characteristic functions under the mid encoder, then calibration; two steps a class.

    pair: (initial network, expert, lambda). distance: (frequencies of each class, amplitude). draws
    and taken: of both losses, for each class.
    """
    first, final, lam = pair
    frequencies, amplitude = distance
    with torch.no_grad():
        for own in pixels.classes:
            own.clamp_(0, 1)
    mid = interpolate(first, final, lam)
    losses = []
    for c, real in enumerate(reals):
        target = features(mid, augment(normalise(real), draws[0][c]))
        images = normalise(decode(pixels.classes[c], factor)[taken[0][c]])
        syn = features(mid, augment(images, draws[0][c]))
        losses.append(characteristic_distance(target, syn, frequencies[c], amplitude))
    matching = pixels.update(losses)
    losses = []
    for c in range(len(reals)):
        images = normalise(decode(pixels.classes[c], factor)[taken[1][c]])
        labels = torch.full((len(images),), c)
        losses.append(cross_entropy(final, augment(images, draws[1][c]), labels))
    total = [m + loss.item() for m, loss in zip(matching, losses, strict=True)]
    return matching, pixels.update(losses, total)


class QueuedNetwork:
    """A network of IDM's queue with its optimiser and running accuracy."""

    def __init__(self, network):
        self.network = {name: value.clone().requires_grad_() for name, value in network.items()}
        self.optimizer = torch.optim.SGD(
            list(self.network.values()), lr=0.01, momentum=0.9, weight_decay=5e-4
        )
        self.right = self.seen = 0

    def percent(self):
        return 100 * self.right / self.seen if self.seen else 0.0

    def train(self, images, labels):
        output = logits(self.network, normalise(images))
        self.right += int((output.argmax(1) == labels).sum())
        self.seen += len(labels)
        self.optimizer.zero_grad()
        F.cross_entropy(output, labels).backward()
        self.optimizer.step()


def idm_step(pixels, queued, reals, draws, factor, weight):
    """IDM: matching under a network of the queue, and its cross-entropy weighted by accuracy."""
    network = {name: value.detach() for name, value in queued.network.items()}
    matching, entropies, losses = [], [], []
    for c, (stored, real, draw) in enumerate(zip(pixels.values, reals, draws, strict=True)):
        target = features(network, augment(normalise(real), draw))
        # Stored in normalised space; the padding of decode is 0.5 in units of [0, 1].
        images = augment(normalise(decode(stored * STD + MEAN, factor)), draw)
        matching.append(mean_distance(target, features(network, images)))
        labels = torch.full((len(images),), c)
        entropies.append(cross_entropy(network, images, labels))
        losses.append(matching[-1] + weight * queued.percent() * entropies[-1])
    pixels.update(losses)
    return [m.item() for m in matching], [e.item() for e in entropies]
