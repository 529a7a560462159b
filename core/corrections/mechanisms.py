"""The networks of the independent mechanisms: mask, foreground and background of small images.

Sauer & Geiger, *Counterfactual Generative Networks* (ICLR 2021), section 3; how they are trained
and what departs from the paper is in `core.corrections.generator`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 32
LATENT = 32
"""Entries of the noise and of the code of a shape (released settings)."""
SPREAD = 0.25
"""Deviation of the noise added to the code of a shape, whose entries are in [-1, 1]; with 0.5 some
shapes turned into another digit's."""
EDGE = 1e-4
"""The mask stays this far from 0 and 1 (released code)."""


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
    """A saliency map to the code of a shape, (n, LATENT) in [-1, 1]; used in training alone.

    It does not see the image, so no colour or texture can pass through the code into the mask.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1),
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

    def forward(self, saliency: Tensor) -> Tensor:
        """Codes of saliency maps (n, 1, 32, 32) in [0, 1]."""
        codes: Tensor = self.body(2 * saliency - 1)
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
            nn.Conv2d(2 * width, 4, 5, padding=2),
            nn.PixelShuffle(2),
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
    pieces: Tensor
    """(2, M, 3, 32, 32) uint8, what training images show inside and outside of their object, each
    spread over the whole image."""
    piece_labels: Tensor
    """(M,) their labels."""

    def __init__(self, classes: int = 10, width: int = 12) -> None:
        super().__init__()
        self.classes, self.width = classes, width
        self.code = ShapeCode(width)
        self.mask = MaskNetwork(classes, width)
        self.foreground = TextureNetwork(classes, width)
        self.background = TextureNetwork(classes, width)
        self.register_buffer("codes", torch.zeros(0, LATENT))
        self.register_buffer("code_labels", torch.zeros(0, dtype=torch.long))
        self.register_buffer("pieces", torch.zeros((2, 0, 3, SIDE, SIDE), dtype=torch.uint8))
        self.register_buffer("piece_labels", torch.zeros(0, dtype=torch.long))

    def forward(
        self,
        shape: Tensor,
        texture: Tensor,
        background: Tensor,
        codes: Tensor | None = None,
        *,
        taken: bool = False,
    ) -> Parts:
        """Parts of one image per row; labels (n,) of shape, foreground and background.

        Without ``codes`` (n, LATENT) those of random training images of the shape's label are
        taken, with noise. ``taken``: foreground and background are those of training images where
        there are any, too.
        """
        codes = self.drawn(shape) if codes is None else codes
        noisy = codes + SPREAD * torch.randn_like(codes)
        parts = Parts(
            self.mask(shape, noisy), self.foreground(texture), self.background(background)
        )
        if not taken:
            return parts
        front, back = map(self._taken, parts[1:], self.pieces, (texture, background))
        return Parts(parts.mask, front, back)

    def _taken(self, made: Tensor, pieces: Tensor, labels: Tensor) -> Tensor:
        """Random ``pieces`` (M, ...) of the labels in place of what was ``made`` of them."""
        found = made.clone()
        for label in range(self.classes):
            pool, mine = (self.piece_labels == label).nonzero()[:, 0], labels == label
            if len(pool):
                found[mine] = pieces[pool[torch.randint(len(pool), (int(mine.sum()),))]] / 255
        return found

    def drawn(self, labels: Tensor) -> Tensor:
        """Codes (n, LATENT) of random training images of the labels; noise before any training."""
        found = torch.randn(len(labels), LATENT)
        for label in range(self.classes):
            pool = (self.code_labels == label).nonzero()[:, 0]
            if len(pool):
                mine = labels == label
                found[mine] = self.codes[pool[torch.randint(len(pool), (int(mine.sum()),))]]
        return found

    def remember(self, saliency: Tensor, labels: Tensor) -> None:
        """Keep the codes of training images, saliency (n, 1, 32, 32), to draw shapes from."""
        with torch.no_grad():
            self.codes = torch.cat([self.code(part) for part in torch.split(saliency, 250)])
        self.code_labels = labels


class Discriminator(nn.Module):
    """Whether parts of an image of a label are real: many scores per image, for textures."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 2 * width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1),
            nn.LeakyReLU(0.2),
        )
        self.score = nn.Conv2d(4 * width, 1, 1)
        self.label = nn.Embedding(classes, 4 * width)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Scores (n, 1, 8, 8) of images (n, 3, 32, 32) in [0, 1]; 1 is real, 0 made."""
        found = self.body(2 * images - 1)
        named = (found * self.label(labels)[:, :, None, None]).mean(1, keepdim=True)
        scores: Tensor = self.score(found) + named
        return scores
