"""Landscapes behind the vehicles: summer, autumn, desert, coast, town, and each of them in snow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.demos.canvas import SIZE, Canvas, Colour, Point, blend, lit

if TYPE_CHECKING:
    from numpy.random import Generator


@dataclass(frozen=True)
class Biome:
    """Colours of a landscape, far to near, and what grows in it."""

    sky: tuple[Colour, Colour]
    """Top of the sky, and just above the horizon."""
    hills: tuple[Colour, Colour, Colour]
    """Three ranges, farthest first."""
    ground: tuple[Colour, Colour]
    """Ground at the horizon, and at the lower edge."""
    road: Colour
    plant: str
    """A key of ``PLANTS``."""
    leaves: tuple[Colour, ...]
    peaks: float = 1.0
    """Height of the farthest range; 0 leaves the horizon flat."""


BIOMES: dict[str, Biome] = {
    "summer": Biome(
        ((92, 152, 208), (212, 230, 238)),
        ((142, 170, 184), (112, 154, 122), (96, 142, 84)),
        ((134, 174, 92), (82, 128, 58)),
        (118, 116, 114),
        "round",
        ((66, 116, 62), (82, 132, 66), (54, 98, 60)),
    ),
    "autumn": Biome(
        ((138, 154, 178), (234, 218, 190)),
        ((158, 146, 142), (152, 116, 84), (134, 98, 60)),
        ((172, 140, 84), (116, 88, 50)),
        (104, 98, 94),
        "round",
        ((156, 90, 44), (178, 124, 52), (122, 66, 44)),
    ),
    "desert": Biome(
        ((104, 160, 200), (246, 222, 184)),
        ((190, 142, 116), (186, 120, 84), (202, 148, 98)),
        ((224, 188, 134), (184, 138, 88)),
        (140, 122, 106),
        "cactus",
        ((84, 122, 76), (98, 134, 84)),
        0.9,
    ),
    "coast": Biome(
        ((96, 168, 206), (222, 236, 232)),
        ((70, 136, 168), (56, 124, 158), (190, 178, 128)),
        ((214, 196, 148), (166, 146, 100)),
        (126, 122, 116),
        "grass",
        ((126, 142, 82), (108, 126, 72)),
        0.0,
    ),
    "town": Biome(
        ((70, 76, 120), (226, 170, 220)),
        ((106, 98, 134), (84, 80, 112), (72, 82, 84)),
        ((112, 110, 116), (74, 74, 84)),
        (70, 70, 80),
        "house",
        ((92, 76, 96), (110, 84, 88), (78, 74, 100)),
        0.3,
    ),
}
SNOW = Biome(
    ((104, 130, 164), (196, 211, 226)),
    ((176, 194, 214), (200, 214, 229), (220, 230, 240)),
    ((238, 244, 250), (212, 224, 240)),
    (190, 202, 218),
    "fir",
    ((52, 84, 82), (44, 72, 76), (66, 96, 92)),
    1.35,
)


@dataclass(frozen=True)
class Ground:
    """Lie of the land, the same whether or not there is snow."""

    biome: str
    horizon: float
    """Row of the horizon, picture pixels."""
    road: float
    """Row of the far edge of the road."""
    seed: int
    """Start of the generator for everything that grows."""


def sample(rng: Generator, *, wheels: float) -> Ground:
    """Draw a landscape at random for a vehicle whose wheels stand on row ``wheels``."""
    names = sorted(BIOMES)
    return Ground(
        biome=names[rng.integers(len(names))],
        horizon=rng.uniform(92, 116),
        road=wheels - rng.uniform(7, 12),
        seed=int(rng.integers(2**31)),
    )


def draw(canvas: Canvas, ground: Ground, *, snow: bool) -> None:
    """Draw the landscape up to the road; vehicles and props come on top."""
    biome = SNOW if snow else BIOMES[ground.biome]
    rng = np.random.default_rng(ground.seed)
    canvas.gradient(*biome.sky, 0, ground.horizon + 2)
    _draw_sun_or_clouds(canvas, biome, rng)
    _draw_ranges(canvas, biome, ground, rng, snow=snow)
    canvas.gradient(*biome.ground, ground.horizon, SIZE)
    _draw_drifts(canvas, biome, ground, rng)
    _draw_plants(canvas, biome, ground, rng)
    _draw_road(canvas, biome, ground, snow=snow)
    if snow:
        _draw_flakes(canvas, np.random.default_rng(ground.seed + 1))


def _draw_sun_or_clouds(canvas: Canvas, biome: Biome, rng: Generator) -> None:
    pale = blend(biome.sky[1], (255, 255, 255), 0.45)
    for _ in range(3):
        x, y, w = rng.uniform(-10, 234), rng.uniform(10, 62), rng.uniform(16, 34)
        for shift, size in ((-0.7, 0.55), (0.0, 0.8), (0.65, 0.5)):
            canvas.ellipse((x + shift * w, y - size * 3), (w * size * 0.8, w * size * 0.26), pale)
        canvas.ellipse((x, y), (w * 1.3, w * 0.16), pale)


def _ridge(base: float, height: float, rough: int, rng: Generator) -> list[Point]:
    x = np.linspace(-4, SIZE + 4, 40)
    waves = sum(
        rng.uniform(0.4, 1.0) / k * np.sin(x / SIZE * 2 * np.pi * k * 0.7 + rng.uniform(0, 6.3))
        for k in range(1, rough + 1)
    )
    y = base - height * (0.55 + 0.35 * waves)
    return [(float(p), float(q)) for p, q in zip(x, np.minimum(y, base), strict=True)]


def _draw_ranges(
    canvas: Canvas, biome: Biome, ground: Ground, rng: Generator, *, snow: bool
) -> None:
    heights = (46 * biome.peaks, 26 * biome.peaks, 11)
    for colour, height, rough in zip(biome.hills, heights, (6, 4, 3), strict=True):
        ridge = _ridge(ground.horizon, height, rough, rng)
        floor = [(SIZE + 4.0, ground.horizon + 4), (-4.0, ground.horizon + 4)]
        canvas.polygon([*ridge, *floor], colour)
        if height > 14:
            shade = [(x + 5, y + 3 + 0.25 * height * (i % 3)) for i, (x, y) in enumerate(ridge)]
            dark = (150, 170, 196) if snow else lit(colour, 0.93)
            canvas.polygon([*shade, *floor], blend(colour, dark, 0.55))


def _draw_drifts(canvas: Canvas, biome: Biome, ground: Ground, rng: Generator) -> None:
    for i in range(7):
        y = ground.horizon + 5 + (i / 6) ** 1.4 * (SIZE - ground.horizon - 10)
        x, w = rng.uniform(0, SIZE), rng.uniform(40, 90)
        tone = lit(blend(*biome.ground, i / 6), 0.94 if i % 2 else 1.045)
        canvas.ellipse((x, y), (w, 1.5 + i * 0.8), tone)


def _draw_road(canvas: Canvas, biome: Biome, ground: Ground, *, snow: bool) -> None:
    far, near = ground.road, ground.road + 29
    canvas.gradient(lit(biome.road, 1.05), lit(biome.road, 0.92), far, near)
    edge = lit(biome.ground[1], 1.05) if snow else blend(biome.road, (255, 255, 255), 0.25)
    canvas.polygon([(0, far - 1), (SIZE, far - 1), (SIZE, far + 0.8), (0, far + 0.8)], edge)
    if snow:
        for y in (far + 9, far + 21):
            canvas.line([(0, y), (SIZE, y + 0.6)], lit(biome.road, 0.86), 2.4)
        return
    start = -(ground.seed % 34)
    for x in range(start, SIZE, 34):
        canvas.polygon(
            [(x, near - 6), (x + 18, near - 6), (x + 17, near - 4), (x - 1, near - 4)],
            blend(biome.road, (240, 236, 220), 0.6),
        )


def _draw_plants(canvas: Canvas, biome: Biome, ground: Ground, rng: Generator) -> None:
    plant = PLANTS[biome.plant]
    depths = np.sort(rng.random(13) ** 1.6)
    for depth in depths:
        x, size = rng.uniform(-8, SIZE + 8), rng.uniform(0.8, 1.25)
        leaf = biome.leaves[rng.integers(len(biome.leaves))]
        base = ground.horizon + 2 + float(depth) * (ground.road - ground.horizon - 6)
        haze = blend(leaf, biome.hills[1], 0.5 * (1 - float(depth)))
        plant(canvas, (x, base), (17 + 19 * float(depth)) * size, haze)


def _draw_round(canvas: Canvas, base: Point, height: float, leaf: Colour) -> None:
    x, y = base
    canvas.shadow((x + height * 0.15, y), (height * 0.4, height * 0.09), 0.3)
    canvas.line([(x, y), (x, y - height * 0.6)], (84, 64, 52), height * 0.09)
    for dx, dy, r, tone in (
        (-0.17, 0.55, 0.26, 0.82),
        (0.17, 0.58, 0.26, 0.86),
        (0.0, 0.78, 0.28, 1.0),
        (-0.08, 0.86, 0.15, 1.16),
    ):
        centre = (x + dx * height, y - dy * height)
        canvas.ellipse(centre, (r * height, r * height * 0.92), lit(leaf, tone))


def _draw_fir(canvas: Canvas, base: Point, height: float, leaf: Colour) -> None:
    x, y = base
    height *= 1.45
    canvas.shadow((x + height * 0.1, y), (height * 0.3, height * 0.06), 0.22)
    canvas.line([(x, y), (x, y - height * 0.2)], (78, 66, 60), height * 0.07)
    for low, wide in ((0.12, 0.30), (0.36, 0.24), (0.60, 0.17)):
        top = y - (low + 0.42) * height
        foot = y - low * height
        w = wide * height
        canvas.polygon([(x - w, foot), (x, top), (x + w, foot)], leaf)
        canvas.polygon(
            [
                (x - w * 0.62, foot - height * 0.13),
                (x, top),
                (x + w * 0.62, foot - height * 0.13),
                (x + w * 0.25, foot - height * 0.07),
                (x - w * 0.1, foot - height * 0.14),
            ],
            (240, 246, 252),
        )


def _draw_cactus(canvas: Canvas, base: Point, height: float, leaf: Colour) -> None:
    x, y = base
    height *= 0.8
    if height < 20:
        canvas.ellipse((x, y), (height * 0.4, height * 0.2), lit(leaf, 1.1))
        return
    thick = height * 0.17
    canvas.shadow((x + 3, y), (height * 0.3, 2.5), 0.3)
    canvas.line([(x, y), (x, y - height)], leaf, thick)
    canvas.ellipse((x, y - height), (thick / 2, thick / 2), leaf)
    for side, low, high in ((-1, 0.35, 0.7), (1, 0.5, 0.85)):
        arm = x + side * height * 0.24
        canvas.line([(x, y - height * low), (arm, y - height * low)], leaf, thick * 0.7)
        canvas.line([(arm, y - height * low), (arm, y - height * high)], leaf, thick * 0.7)
    canvas.line([(x - 1, y), (x - 1, y - height)], lit(leaf, 1.2), thick * 0.2)


def _draw_grass(canvas: Canvas, base: Point, height: float, leaf: Colour) -> None:
    x, y = base
    for i in range(9):
        lean = (i - 4) * height * 0.07
        tip = (x + lean * 1.9, y - height * (0.42 + 0.07 * ((i * 5) % 4)))
        canvas.line([(x + lean * 0.6, y), tip], lit(leaf, 0.85 + 0.06 * (i % 5)), 1.2)


def _draw_house(canvas: Canvas, base: Point, height: float, leaf: Colour) -> None:
    x, y = base
    w, h = height * 0.62, height * 1.15
    canvas.polygon([(x - w, y), (x - w, y - h), (x + w, y - h), (x + w, y)], leaf)
    canvas.polygon(
        [
            (x - w * 1.1, y - h),
            (x - w * 0.5, y - h * 1.28),
            (x + w * 0.6, y - h * 1.28),
            (x + w * 1.1, y - h),
        ],
        lit(leaf, 0.7),
    )
    for row in (0.3, 0.62):
        for col in (-0.55, 0.0, 0.55):
            glow = (250, 214, 140) if (int(x) + int(row * 10) + int(col * 9)) % 3 else (70, 72, 96)
            cx, cy, r = x + col * w, y - row * h, height * 0.075
            top = cy - r * 1.4
            canvas.polygon([(cx - r, top), (cx + r, top), (cx + r, cy + r), (cx - r, cy + r)], glow)


PLANTS: dict[str, Callable[[Canvas, Point, float, Colour], None]] = {
    "round": _draw_round,
    "fir": _draw_fir,
    "cactus": _draw_cactus,
    "grass": _draw_grass,
    "house": _draw_house,
}


def _draw_flakes(canvas: Canvas, rng: Generator) -> None:
    x, y = rng.uniform(0, SIZE, 220), rng.uniform(0, SIZE, 220)
    size = rng.uniform(0.7, 2.4, 220)
    for flake in zip(x, y, size, strict=True):
        canvas.ellipse((flake[0], flake[1]), (flake[2], flake[2]), (250, 252, 255))
