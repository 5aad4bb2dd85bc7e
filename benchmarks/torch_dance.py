"""DANCE's iteration and the training of a network in plain PyTorch, as the papers describe them.

What the JAX implementation is timed against, and nothing else: one class after the other, each
with its own batch, forward, backward and update of the pixels. Images are NCHW float32.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class ConvNet(nn.Module):
    """Blocks of 3x3 convolution, instance norm, ReLU and 2x2 average pooling; linear classifier."""

    def __init__(self, num_classes: int, width: int, channels: int = 3, side: int = 32) -> None:
        super().__init__()
        depth = 3
        layers: list[nn.Module] = []
        for block in range(depth):
            layers += [
                nn.Conv2d(channels if block == 0 else width, width, 3, padding=1),
                nn.GroupNorm(width, width),
                nn.ReLU(inplace=True),
                nn.AvgPool2d(2),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width * (side // 2**depth) ** 2, num_classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images).flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images))


def color_crop_cutout(images: torch.Tensor, seed: int) -> torch.Tensor:
    """One draw of the augmentation for the whole batch [n, c, h, w]."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(3, generator=generator).tolist()
    _, _, h, w = images.shape
    images = images + (u[0] - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * u[1]) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * (u[2] + 0.5) + mean
    py, px = int(h * 0.125 + 0.5), int(w * 0.125 + 0.5)
    dy = int(torch.randint(0, 2 * py + 1, (), generator=generator))
    dx = int(torch.randint(0, 2 * px + 1, (), generator=generator))
    images = F.pad(images, (px, px, py, py))[:, :, dy : dy + h, dx : dx + w]
    cy = int(torch.randint(0, h, (), generator=generator))
    cx = int(torch.randint(0, w, (), generator=generator))
    mask = torch.ones(h, w, device=images.device)
    mask[max(0, cy - h // 4) : cy + h // 4, max(0, cx - w // 4) : cx + w // 4] = 0
    return images * mask


def decode(images: torch.Tensor, factor: int) -> torch.Tensor:
    """[n, c, h, w] -> [factor**2 * n, c, h, w]."""
    n, c, h, w = images.shape
    tiles = images.reshape(n, c, factor, h // factor, factor, w // factor)
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).reshape(-1, c, h // factor, w // factor)
    return F.interpolate(tiles, size=(h, w), mode="bilinear", align_corners=False)


class Dance:
    """The state of a run: pixels [C, IPC, c, h, w] in [0, 1], optimiser, experts, real images.

    real: float32 [C, n, c, h, w], normalised. experts: pairs of (initial, final) state dicts.
    """

    def __init__(
        self,
        pixels: torch.Tensor,
        real: torch.Tensor,
        experts: list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]],
        width: int,
        batch_real: int,
        mean: float = 0.5,
        std: float = 0.25,
        factor: int = 2,
    ) -> None:
        count, ipc = pixels.shape[:2]
        self.real, self.experts, self.batch_real, self.factor = real, experts, batch_real, factor
        self.mean, self.std = mean, std
        self.pixels = pixels.clone().requires_grad_()
        self.optimizer = torch.optim.SGD([self.pixels], lr=0.01 * ipc, momentum=0.5)
        make = lambda: ConvNet(count, width, pixels.shape[2], pixels.shape[3]).to(pixels.device)  # noqa: E731
        self.mid, self.final = make(), make()
        for network in (self.mid, self.final):
            network.requires_grad_(False)
        self.rng = np.random.default_rng(0)

    def synthetic(self, label: int, seed: int) -> torch.Tensor:
        images = decode(self.pixels[label], self.factor)
        return color_crop_cutout((images - self.mean) / self.std, seed)

    def step(self) -> float:
        """One iteration; returns the sum of the losses."""
        with torch.no_grad():
            self.pixels.clamp_(0, 1)
            first, final = self.experts[self.rng.integers(len(self.experts))]
            lam = self.rng.random()
            mid = {name: lam * first[name] + (1 - lam) * final[name] for name in first}
        self.mid.load_state_dict(mid)
        self.final.load_state_dict(final)
        total = 0.0
        for label in range(len(self.pixels)):
            seed = int(self.rng.integers(2**31))
            taken = torch.from_numpy(self.rng.permutation(self.real.shape[1])[: self.batch_real])
            real = color_crop_cutout(self.real[label][taken.to(self.real.device)], seed)
            with torch.no_grad():
                target = self.mid.features(real).mean(0)
            features = self.mid.features(self.synthetic(label, seed)).mean(0)
            total += self._update((features - target).square().sum())
        for label in range(len(self.pixels)):
            logits = self.final(self.synthetic(label, int(self.rng.integers(2**31))))
            labels = torch.full((len(logits),), label, device=logits.device)
            total += self._update(F.cross_entropy(logits, labels))
        return total

    def _update(self, loss: torch.Tensor) -> float:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Training:
    """A network in training by SGD on batches of images [n, c, h, w] with labels [n]."""

    def __init__(self, num_classes: int, width: int, channels: int, side: int) -> None:
        self.network = ConvNet(num_classes, width, channels, side)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
        )

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """One step, with color and crop drawn for each image."""
        loss = F.cross_entropy(self.network(color_crop(images)), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def color_crop(images: torch.Tensor) -> torch.Tensor:
    """An own draw of colour and crop for each image of the batch [n, c, h, w]."""
    n, _, h, w = images.shape
    u = torch.rand(3, n, 1, 1, 1, device=images.device)
    images = images + (u[0] - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * u[1]) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * (u[2] + 0.5) + mean
    py, px = math.floor(h * 0.125 + 0.5), math.floor(w * 0.125 + 0.5)
    padded = F.pad(images, (px, px, py, py)).permute(0, 2, 3, 1)
    y = torch.randint(0, 2 * py + 1, (n, 1), device=images.device) + torch.arange(h)
    x = torch.randint(0, 2 * px + 1, (n, 1), device=images.device) + torch.arange(w)
    index = torch.arange(n, device=images.device)[:, None, None]
    return padded[index, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
