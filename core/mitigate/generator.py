"""A generator of counterfactual images from independent mechanisms: mask, foreground, background.

Sauer & Geiger, *Counterfactual Generative Networks* (ICLR 2021), section 3. Of the published
losses: L1 to a given image (there one of BigGAN with the same noise, here the training image, whose
shape code comes from a small encoder), binary entropy and area hinge of the mask, and the style
(Gram matrix) term. Departures: no discriminator (the released MNIST code has a least squares GAN,
which was not tried to its end here); style features are those of the packaged EfficientNet-Lite0
instead of VGG16; foreground and background are fully convolutional on a field of
noise, hence alike everywhere, so that the digit's shape cannot hide in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from core.errors import InputError
from core.types import IntArray, Progress, Reporter, silent

SIDE = 32
LATENT = 32
"""Entries of the noise and of the code of a shape (released settings)."""
SPREAD = 0.5
"""Deviation of the noise added to the code of a shape, whose entries are in [-1, 1]."""
STYLE_EVERY = 4
"""Steps between two style terms, each weighted by as many: they are half of the cost."""
EDGE = 1e-4
"""The mask stays this far from 0 and 1 (released code)."""


@dataclass(frozen=True)
class Weights:
    """Weights of the losses beside the style term's, one for each of its depths."""

    pixels: float = 10.0
    """Of the L1 distance. Published for ImageNet: 100."""
    binary: float = 0.3
    """Reached linearly over the training, so that a mask does not harden before it has a shape."""
    area: float = 20.0
    """Published for ImageNet: 500."""
    style: tuple[float, ...] = (0.05, 0.1, 0.01, 0.0)
    """Per depth of the style network, shallow to deep."""
    lowest: float = 0.05
    highest: float = 0.5
    """Mean of a mask that costs nothing. Published for ImageNet: 0.1 to 0.9; at most a half here,
    so that foreground means the smaller part."""


WEIGHTS = {
    "coloured": Weights(binary=0.1, style=(0.05, 0.1, 0.01, 0.0)),
    "double-coloured": Weights(binary=0.3, style=(0.0, 0.05, 0.0, 0.05)),
    "wildlife": Weights(binary=0.3, style=(0.01, 0.05, 0.0, 0.01)),
}
"""Published weights of the three MNIST guises (released settings)."""


class Parts(NamedTuple):
    """What the mechanisms made, (n, ., 32, 32) each, in [0, 1]."""

    mask: Tensor
    """One channel."""
    foreground: Tensor
    background: Tensor

    @property
    def image(self) -> Tensor:
        """The composition m f + (1 - m) b."""
        return self.mask * self.foreground + (1 - self.mask) * self.background


class ShapeCode(nn.Module):
    """An image to the code of its shape, (n, LATENT) in [-1, 1]; used on training images alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * width * 16, LATENT),
            nn.Tanh(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Codes of images (n, 3, 32, 32) in [0, 1]."""
        codes: Tensor = self.body(2 * images - 1)
        return codes


class MaskNetwork(nn.Module):
    """Label and code to a mask: a linear layer, then upsampling convolutions."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.start = nn.Linear(classes + LATENT, 4 * width * 16)
        self.body = nn.Sequential(
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            *_rising(4 * width, 4 * width),
            *_rising(4 * width, 2 * width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, 1, 5, padding=2),
        )

    def forward(self, labels: Tensor, codes: Tensor) -> Tensor:
        """Masks (n, 1, 32, 32) of labels (n,) and codes (n, LATENT)."""
        known = torch.cat([F.one_hot(labels, self.classes).float(), codes], 1)
        start = self.start(known).unflatten(1, (-1, 4, 4))
        return torch.sigmoid(self.body(start)).clamp(EDGE, 1 - EDGE)


class TextureNetwork(nn.Module):
    """Label and a field of noise to a texture that is alike everywhere.

    Its convolutions go around the border, so every place has the same distribution.
    """

    GRID = 8
    CHANNELS = 8
    """Noise per cell of the coarse grid."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.embed = nn.Linear(classes + LATENT, 2 * width)
        self.body = nn.Sequential(
            _around(2 * width + self.CHANNELS, 2 * width),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            _around(2 * width, width),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            _around(width, 3),
        )

    def forward(self, labels: Tensor) -> Tensor:
        """Textures (n, 3, 32, 32) in [0, 1] of labels (n,)."""
        n, grid = len(labels), self.GRID
        code = self.embed(_code(labels, self.classes))
        field = code[:, :, None, None].expand(-1, -1, grid, grid)
        made = self.body(torch.cat([field, torch.randn(n, self.CHANNELS, grid, grid)], 1))
        return torch.sigmoid(made)


def _code(labels: Tensor, classes: int) -> Tensor:
    """One-hot labels beside noise, (n, classes + LATENT)."""
    noise = torch.randn(len(labels), LATENT)
    return torch.cat([F.one_hot(labels, classes).float(), noise], 1)


def _around(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="circular")


def _rising(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Upsample(scale_factor=2),
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


class Generator(nn.Module):
    """Three mechanisms, each with a label of its own, and the shapes that training images have."""

    codes: Tensor
    """(N, LATENT) codes of the training images."""
    code_labels: Tensor
    """(N,) their labels."""

    def __init__(self, classes: int = 10, width: int = 12) -> None:
        super().__init__()
        self.classes = classes
        self.code = ShapeCode(width)
        self.mask = MaskNetwork(classes, width)
        self.foreground = TextureNetwork(classes, width)
        self.background = TextureNetwork(classes, width)
        self.register_buffer("codes", torch.zeros(0, LATENT))
        self.register_buffer("code_labels", torch.zeros(0, dtype=torch.long))

    def forward(
        self, shape: Tensor, texture: Tensor, background: Tensor, codes: Tensor | None = None
    ) -> Parts:
        """Parts of one image per row; labels (n,) of shape, foreground and background.

        Without ``codes`` (n, LATENT) those of random training images of the shape's label are
        taken, with noise.
        """
        codes = self.drawn(shape) if codes is None else codes
        noisy = codes + SPREAD * torch.randn_like(codes)
        return Parts(self.mask(shape, noisy), self.foreground(texture), self.background(background))

    def drawn(self, labels: Tensor) -> Tensor:
        """Codes (n, LATENT) of random training images of the labels; noise before any training."""
        found = torch.randn(len(labels), LATENT)
        for label in range(self.classes):
            pool = (self.code_labels == label).nonzero()[:, 0]
            if len(pool):
                mine = labels == label
                found[mine] = self.codes[pool[torch.randint(len(pool), (int(mine.sum()),))]]
        return found

    def remember(self, images: Tensor, labels: Tensor) -> None:
        """Keep the codes of training images (n, 3, 32, 32) to draw shapes from."""
        with torch.no_grad():
            self.codes = torch.cat([self.code(part) for part in torch.split(images, 250)])
        self.code_labels = labels


def binary_entropy(mask: Tensor) -> Tensor:
    """Mean entropy of a mask in bits, a scalar: 1 at 0.5, 0 at 0 and 1."""
    bits = -mask * mask.log2() - (1 - mask) * (1 - mask).log2()
    return bits.nan_to_num(0.0).mean()


def area_hinge(mask: Tensor, lowest: float, highest: float) -> Tensor:
    """How far the mean of each mask is outside an interval, averaged, a scalar; 0 inside it."""
    area = mask.mean((1, 2, 3))
    return ((lowest - area).relu() + (area - highest).relu()).mean()


class Style(nn.Module):
    """Gram matrices of the packaged EfficientNet-Lite0 at four depths."""

    SCALE = 100.0
    """Of the term. Departure: 5e3 on absolute differences of VGG16's Gram matrices is published;
    here differences are relative to the real images' mean entry."""

    def __init__(self) -> None:
        super().__init__()
        from core.models.load import load_model

        model = load_model("packaged:efficientnet-lite0")
        network = model.network
        stem = nn.Sequential(network.conv_stem, network.bn1)  # type: ignore[arg-type]
        blocks = network.blocks
        assert isinstance(blocks, nn.Sequential)
        self.depths = nn.ModuleList([stem, blocks[0], blocks[1], blocks[2]])
        self.requires_grad_(False).eval()

    def grams(self, images: Tensor) -> list[Tensor]:
        """Gram matrices (n, C, C) of images in [0, 1], shallow to deep."""
        found, tensor = [], 2 * images - 1
        for depth in self.depths:
            tensor = depth(tensor)
            flat = tensor.flatten(2)
            found.append(flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2]))
        return found

    def forward(self, made: Tensor, real: Tensor, weights: tuple[float, ...]) -> Tensor:
        """Weighted mean absolute differences of Gram matrices; a depth of weight 0 is skipped."""
        with torch.no_grad():
            wanted = self.grams(real)
        pairs = zip(self.grams(made), wanted, weights, strict=True)
        terms = [
            weight**2 * self.SCALE * F.l1_loss(a, b) / b.abs().mean()
            for a, b, weight in pairs
            if weight
        ]
        return torch.stack(terms).sum() if terms else made.sum() * 0


@dataclass(frozen=True)
class Schedule:
    """How the generator is trained."""

    steps: int = 800
    batch_size: int = 32
    rate: float = 2e-3
    """Of Adam with betas 0.5 and 0.999. Published: 2e-4, for many more steps."""
    seed: int = 0


def train_generator(
    pixels: NDArray[np.uint8],
    labels: IntArray,
    weights: Weights | None = None,
    schedule: Schedule | None = None,
    *,
    report: Reporter = silent,
) -> Generator:
    """Train the three mechanisms on images whose parts all follow one label.

    Parameters
    ----------
    pixels : (n, 32, 32, 3) uint8.
    labels : (n,) from 0.

    Raises
    ------
    InputError
        If the images have another size, or are fewer than one batch.
    """
    weights, schedule = weights or Weights(), schedule or Schedule()
    if pixels.shape[1:] != (SIDE, SIDE, 3) or len(pixels) < schedule.batch_size:
        raise InputError(
            f"images {pixels.shape}: the generator needs {schedule.batch_size} or more of "
            f"{SIDE} x {SIDE}"
        )
    torch.manual_seed(schedule.seed)
    made, style = Generator(int(labels.max()) + 1), Style()
    optimiser = torch.optim.Adam(made.parameters(), lr=schedule.rate, betas=(0.5, 0.999))
    rng, stage = np.random.default_rng(schedule.seed), "Training the generator"
    for step in range(schedule.steps):
        rows = rng.choice(len(pixels), schedule.batch_size, replace=False)
        real, names = images_of(pixels[rows]), torch.from_numpy(labels[rows])
        parts = made(names, names, names, made.code(real))
        losses = _losses(parts, real, weights, step / schedule.steps)
        if step % STYLE_EVERY == 0:
            losses["style"] = STYLE_EVERY * style(parts.image, real, weights.style)
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        scores = {name: float(loss.detach()) for name, loss in losses.items()}
        if step % 20 == 0:
            report(Progress(stage, step, schedule.steps, "steps", scores))
    report(Progress(stage, schedule.steps, schedule.steps, "steps", scores))
    made.eval().remember(images_of(pixels), torch.from_numpy(labels))
    return made


def _losses(parts: Parts, real: Tensor, weights: Weights, done: float) -> dict[str, Tensor]:
    """Every term but the style, weighted; ``done`` is the share of the training behind us."""
    return {
        "pixels": weights.pixels * (parts.image - real).abs().mean(),
        "binary": done * weights.binary * binary_entropy(parts.mask),
        "area": weights.area * area_hinge(parts.mask, weights.lowest, weights.highest),
    }


def images_of(pixels: NDArray[np.uint8]) -> Tensor:
    """Images (n, 3, 32, 32) float32 in [0, 1] from uint8 (n, 32, 32, 3)."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


@dataclass(frozen=True)
class Made:
    """Counterfactual images."""

    pixels: NDArray[np.uint8]
    """(n, 32, 32, 3)."""
    labels: IntArray
    """(n, 3) of shape, foreground and background, drawn independently."""
    masks: NDArray[np.uint8]
    """(n, 32, 32) 0 to 255."""


def generate(made: Generator, n: int, *, seed: int = 0, size: int = 250) -> Made:
    """Images whose shape, foreground and background have labels drawn independently.

    (The released code permutes labels within a batch, which leaves one in n as they were.)
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, made.classes, (n, 3), generator=generator)
    torch.manual_seed(seed)
    pixels, masks = [], []
    with torch.no_grad():
        for start in range(0, n, size):
            parts = made(*labels[start : start + size].T)
            pixels.append((parts.image * 255).round().byte().permute(0, 2, 3, 1).numpy())
            masks.append((parts.mask[:, 0] * 255).round().byte().numpy())
    return Made(np.concatenate(pixels), labels.numpy(), np.concatenate(masks))
