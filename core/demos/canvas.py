"""Paint and identity on one canvas: everything drawn is also written into a map of what it is."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from core.types import BoolArray, FloatArray

SIZE = 224
"""Side of a finished picture, pixels."""
FINE = 2
"""Everything is drawn this many times larger and then reduced, which smooths the edges."""
SIDE = SIZE * FINE
"""Side of the canvas, fine pixels."""

Colour = tuple[int, int, int]
Point = tuple[float, float]


class Part(IntEnum):
    """What a pixel shows."""

    SCENERY = 0
    OBJECT = 1
    CUE = 2
    """The object that a class owns as its cue."""
    OTHER = 3
    """Things that mean nothing."""


class Canvas:
    """A picture under construction: colours, and for every fine pixel what it shows.

    Coordinates are picture pixels (0 to ``SIZE``), x to the right, y down.
    """

    def __init__(self) -> None:
        self.image = Image.new("RGB", (SIDE, SIDE))
        self.parts = Image.new("L", (SIDE, SIDE), Part.SCENERY)
        self._ink = ImageDraw.Draw(self.image)
        self._map = ImageDraw.Draw(self.parts)

    def polygon(self, points: Sequence[Point], colour: Colour, part: Part = Part.SCENERY) -> None:
        """Fill a polygon."""
        fine = [(x * FINE, y * FINE) for x, y in points]
        self._ink.polygon(fine, fill=colour)
        self._map.polygon(fine, fill=int(part))

    def ellipse(
        self, centre: Point, radii: Point, colour: Colour, part: Part = Part.SCENERY
    ) -> None:
        """Fill an ellipse with axes along x and y."""
        (x, y), (a, b) = centre, radii
        box = [(x - a) * FINE, (y - b) * FINE, (x + a) * FINE, (y + b) * FINE]
        self._ink.ellipse(box, fill=colour)
        self._map.ellipse(box, fill=int(part))

    def line(
        self, points: Sequence[Point], colour: Colour, width: float, part: Part = Part.SCENERY
    ) -> None:
        """Draw an open line, ``width`` picture pixels thick."""
        fine = [(x * FINE, y * FINE) for x, y in points]
        thick = max(1, round(width * FINE))
        self._ink.line(fine, fill=colour, width=thick)
        self._map.line(fine, fill=int(part), width=thick)

    def gradient(self, top: Colour, bottom: Colour, start: float, stop: float) -> None:
        """Fill the rows from ``start`` to ``stop`` with a vertical gradient."""
        rows = max(1, round((stop - start) * FINE))
        ramp = np.linspace(0.0, 1.0, rows)[:, None]
        column = np.asarray(top) * (1 - ramp) + np.asarray(bottom) * ramp
        strip = Image.fromarray(column.astype(np.uint8)[:, None, :], "RGB").resize(
            (SIDE, rows), Image.Resampling.NEAREST
        )
        self.image.paste(strip, (0, round(start * FINE)))

    def shadow(self, centre: Point, radii: Point, strength: float) -> None:
        """Darken a soft ellipse on the ground; ``strength`` 0 to 1."""
        (x, y), (a, b) = centre, radii
        blur = max(2.0, b * 0.6)
        w, h = int(a + 3 * blur) * 2, int(b + 3 * blur) * 2
        veil = Image.new("L", (w, h))
        box = [w / 2 - a, h / 2 - b, w / 2 + a, h / 2 + b]
        ImageDraw.Draw(veil).ellipse(box, fill=round(255 * strength))
        veil = veil.filter(ImageFilter.BoxBlur(blur))
        veil = veil.resize((w * FINE, h * FINE), Image.Resampling.BILINEAR)
        corner = (round((x - w / 2) * FINE), round((y - h / 2) * FINE))
        self.image.paste((26, 28, 44), corner, veil)

    def reduced(self) -> FloatArray:
        """Give the picture in its final size, (SIZE, SIZE, 3), values 0 to 255."""
        return np.array(self.image.reduce(FINE), dtype=np.float32)

    def cover(self, part: Part) -> FloatArray:
        """Share of every picture pixel that shows ``part``, (SIZE, SIZE), 0 to 1."""
        chosen = self.parts.point([255 * (value == int(part)) for value in range(256)])
        return np.asarray(chosen.reduce(FINE), dtype=np.float32) / 255

    def mask(self, part: Part) -> BoolArray:
        """Pixels more than half of which show ``part``, (SIZE, SIZE)."""
        return np.asarray(self.cover(part) > 0.51)


def rounded(corners: Sequence[Point], radius: float) -> list[Point]:
    """Cut the corners of a closed polygon with short curves of about ``radius``."""
    outline: list[Point] = []
    for i, (x, y) in enumerate(corners):
        before, after = corners[i - 1], corners[(i + 1) % len(corners)]
        start, stop = _towards((x, y), before, radius), _towards((x, y), after, radius)
        for t in (0.0, 0.25, 0.5, 0.75, 1.0):
            a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
            outline.append((a * start[0] + b * x + c * stop[0], a * start[1] + b * y + c * stop[1]))
    return outline


def _towards(start: Point, stop: Point, step: float) -> Point:
    dx, dy = stop[0] - start[0], stop[1] - start[1]
    length = max(float(np.hypot(dx, dy)), 1e-6)
    share = min(step / length, 0.5)
    return start[0] + dx * share, start[1] + dy * share


def blend(a: Colour, b: Colour, share: float) -> Colour:
    """Mix two colours; ``share`` 0 gives ``a``, 1 gives ``b``."""
    mixed = [round(p * (1 - share) + q * share) for p, q in zip(a, b, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def lit(colour: Colour, factor: float) -> Colour:
    """Make a colour lighter (``factor`` above 1) or darker (below 1)."""
    scaled = [min(255, max(0, round(value * factor))) for value in colour]
    return scaled[0], scaled[1], scaled[2]


@lru_cache(maxsize=1)
def _noise_tile() -> FloatArray:
    """One large tile of cloudy noise, mean 0, standard deviation 1; wraps around."""
    rng = np.random.default_rng(20_240)
    side = 512
    spectrum = np.fft.rfft2(rng.standard_normal((side, side)))
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    cloud = np.fft.irfft2(spectrum / np.maximum(np.hypot(fx, fy), 1 / side) ** 1.1, (side, side))
    cloud = (cloud - cloud.mean()) / cloud.std()
    return np.asarray(cloud, dtype=np.float32)


def clouds(rng: np.random.Generator) -> FloatArray:
    """Give a (SIZE, SIZE) cut-out of cloudy noise, about mean 0 and standard deviation 1."""
    tile = _noise_tile()
    top, left = rng.integers(0, tile.shape[0] - SIZE, 2)
    return tile[top : top + SIZE, left : left + SIZE]


@lru_cache(maxsize=1)
def _grain_tile() -> FloatArray:
    rng = np.random.default_rng(20_241)
    return rng.standard_normal((320, 320, 3), dtype=np.float32)


def grain(rng: np.random.Generator) -> FloatArray:
    """Give (SIZE, SIZE, 3) sensor noise, mean 0 and standard deviation 1."""
    tile = _grain_tile()
    top, left = rng.integers(0, tile.shape[0] - SIZE, 2)
    return tile[top : top + SIZE, left : left + SIZE]
