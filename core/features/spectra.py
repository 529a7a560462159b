"""Features drawn with the spectrum of a network's, and cues planted in them: no image, no network.

Every class has a mean of its own and noise around it whose variances fall like a power law, as
those of trained networks and of visual cortex do (Stringer et al. 2019, Nature 571; Agrawal et al.
2022, alpha-ReQ), along directions of its own. In every second class one of these directions is a
cue instead of noise: half of its images show it, and the head leans on it. Everything belongs to
the place of an image among all and to the seed alone, so that any image can be drawn by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlencode

import numpy as np

from core.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from PIL import Image

FORM = "synth:"
"""How the name of such data begins."""

EXPONENT = 1.0
"""Of the power law of variances: about 1 where it was measured."""

CUE_RANK = 1
"""Place of the cue's direction by variance, from 0: a person who looks at five sees it."""

LEANING = 1.0
"""What showing the cue adds to the logit of its class, and lacking it takes away."""

TRAIN, SIDE, GRID = 0.7, 224, 7
"""Share of training images in every class; pixels of a picture's side; places of a map's."""


@dataclass(frozen=True)
class ClassLaw:
    """What the images of one class are drawn by."""

    mean: FloatArray
    """(D,) float32."""
    signs: FloatArray
    """(D,) 1 or -1: with a cosine transform a rotation of its own."""
    spread: FloatArray
    """(D,) standard deviation along every direction, in an order of its own."""
    cue: int
    """Direction of the cue, -1 where the class has none."""

    @property
    def cue_features(self) -> FloatArray:
        """(D,) what showing the cue adds to the features of an image that is as likely without."""
        along = np.zeros(len(self.mean), np.float32)
        if self.cue >= 0:
            along[self.cue] = self.spread[self.cue]
        return _turned(along, self.signs)


@dataclass(frozen=True)
class Spectra:
    """Features of so many images of so many classes; images of a class follow each other."""

    images: int
    classes: int
    dim: int
    seed: int = 0

    @property
    def source(self) -> str:
        """As data are named: all that is needed to draw them again."""
        return FORM + urlencode(asdict(self))

    @classmethod
    def of_source(cls, source: str) -> Self | None:
        """What a name of :attr:`source` stands for; None where it names something else."""
        if not source.startswith(FORM):
            return None
        return cls(**{name: int(value) for name, value in parse_qsl(source.removeprefix(FORM))})

    @property
    def labels(self) -> list[str]:
        """(K,) raw label of every class."""
        return [f"class {k:04d}" for k in range(self.classes)]

    @cached_property
    def starts(self) -> IntArray:
        """(K + 1,) the first image of every class, and the number of all."""
        return np.arange(self.classes + 1, dtype=np.int64) * self.images // self.classes

    def class_of(self, rows: IntArray) -> IntArray:
        """(n,) the class of images by their places."""
        return np.asarray(np.searchsorted(self.starts, rows, side="right") - 1, np.int64)

    def fitting(self, rows: IntArray) -> BoolArray:
        """(n,) which of them are training images: the first of every class."""
        which = self.class_of(rows)
        size = self.starts[which + 1] - self.starts[which]
        return np.asarray(rows - self.starts[which] < np.ceil(TRAIN * size))

    def shows(self, rows: IntArray) -> BoolArray:
        """(n,) which of them show the cue of their class."""
        drawn = scattered(rows, self.seed) & np.uint64(1) == 1
        return np.asarray(drawn & has_cue(self.class_of(rows)))

    @property
    def separation(self) -> float:
        """Mean logit of a class on its images, where those of the others are of variance one.

        So large that without its cue an image is about as likely as not another class's.
        """
        from statistics import NormalDist

        return NormalDist().inv_cdf(1 - 1 / self.classes) + LEANING if self.classes > 1 else LEANING

    def law(self, k: int) -> ClassLaw:
        """What a class is drawn by."""
        return _law(self, k)

    def weight(self) -> FloatArray:
        """(K, D) float32 of the head: towards the mean of a class, and its cue."""
        found = np.empty((self.classes, self.dim), np.float32)
        for k in range(self.classes):
            law = self.law(k)
            found[k] = law.mean / self.separation
            if law.cue >= 0:
                found[k] += LEANING * law.cue_features / law.spread[law.cue] ** 2
        return found

    def features(self, first: int, count: int) -> FloatArray:
        """(n, D) float32 of images that follow each other; the same ones if asked the same."""
        rows, found = np.arange(first, first + count), np.empty((count, self.dim), np.float32)
        rng = np.random.default_rng((self.seed, 1, first))
        shown, which = self.shows(rows), self.class_of(rows)
        for k in np.unique(which):
            mine, law = which == k, self.law(int(k))
            along = rng.standard_normal((int(mine.sum()), self.dim), np.float32) * law.spread
            if law.cue >= 0:
                along[:, law.cue] = np.where(shown[mine], 1, -1) * law.spread[law.cue]
            found[mine] = law.mean + _turned(along, law.signs)
        return found

    def maps(self, images: Sequence[int] | IntArray, features: FloatArray) -> FloatArray:
        """(n, D, h, w) float32 of images by their places, whose means are the features (n, D).

        The class in the middle, its cue in a corner, where the picture has them, too
        (:meth:`picture`); what the rest of a feature is differs from place to place.
        """
        rows = np.asarray(images, np.int64)
        middle, corner = (_bump(at) for at in (0.0, 0.5))
        places = np.random.default_rng(self.seed).standard_normal((self.dim, GRID**2), np.float32)
        found = features[:, :, None] * (1 + places - places.mean(axis=1, keepdims=True))
        shown, which = self.shows(rows), self.class_of(rows)
        for k in np.unique(which):
            mine, law = which == k, self.law(int(k))
            found[mine] += law.mean[:, None] * middle
            found[mine & shown] += law.cue_features[:, None] * corner
        return np.asarray(found.reshape(len(rows), self.dim, GRID, GRID))

    def picture(self, row: int) -> Image.Image:
        """A placeholder: a shape in the colour of its class, and where it has one, its cue."""
        from PIL import Image, ImageDraw

        k = int(self.class_of(np.array([row]))[0])
        own, ground, lines = (_colour(k, salt) for salt in range(3))
        image = Image.new("RGB", (SIDE, SIDE), ground)
        draw = ImageDraw.Draw(image)
        shift = int(scattered(np.array([row]), self.seed + 1)[0] % 41) - 20
        box = (70 + shift, 70, 154 + shift, 154)
        (draw.ellipse, draw.rectangle)[k // 2 % 2](box, fill=own)
        if self.shows(np.array([row]))[0]:
            draw.polygon([(176, 220), (220, 220), (220, 176)], fill=lines)
        return image


def has_cue(k: IntArray | int) -> BoolArray:
    """Whether a class has a cue: every second one."""
    return np.asarray(np.asarray(k) % 2 == 0)


@lru_cache(maxsize=8)
def _law(spectra: Spectra, k: int) -> ClassLaw:
    """Drawn by the class alone; its mean has no part along its cue."""
    rng, dim = np.random.default_rng((spectra.seed, 0, k)), spectra.dim
    variance = np.arange(1, dim + 1) ** -EXPONENT
    order = rng.permutation(dim)
    spread = np.sqrt(variance * (dim / variance.sum()))[order].astype(np.float32)
    signs = rng.choice(np.array([-1, 1], np.float32), dim)
    cue = int(np.flatnonzero(order == min(CUE_RANK, dim - 1))[0]) if has_cue(k) else -1
    along = rng.standard_normal(dim, np.float32)
    if cue >= 0:
        along[cue] = 0
    along *= spectra.separation / np.linalg.norm(along)
    return ClassLaw(_turned(along, signs), signs, spread, cue)


def _turned(along: FloatArray, signs: FloatArray) -> FloatArray:
    """Features (…, D) of what images are along the directions of a class, (…, D)."""
    from scipy.fft import idct

    found: FloatArray = idct(along, norm="ortho", axis=-1) * signs
    return found


def _bump(at: float) -> FloatArray:
    """(h * w,) float32 of mean 0, high at a place on the diagonal, from -0.5 to 0.5."""
    y, x = np.mgrid[0:GRID, 0:GRID] / (GRID - 1) - 0.5
    found = np.exp(-8 * ((y - at) ** 2 + (x - at) ** 2)).ravel()
    return np.asarray(found / found.mean() - 1, np.float32)


def scattered(rows: IntArray, seed: int) -> np.ndarray:
    """(n,) uint64 that look drawn and belong to a number: splitmix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = np.asarray(rows).astype(np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def _colour(k: int, salt: int) -> tuple[int, int, int]:
    """One of a class, light enough to be seen."""
    bits = int(scattered(np.array([k]), 100 + salt)[0])
    return (60 + bits % 180, 60 + (bits >> 8) % 180, 60 + (bits >> 16) % 180)
