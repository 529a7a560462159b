"""Things beside the road: the beach ball, and others that mean nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.demos.canvas import SIZE, Canvas, Colour, Part, Point, lit, rounded

if TYPE_CHECKING:
    from numpy.random import Generator

WHITE: Colour = (248, 246, 240)
STRIPES: tuple[Colour, ...] = (
    *((228, 48, 48), WHITE, (36, 112, 208)),
    *(WHITE, (250, 196, 40), WHITE),
)


@dataclass(frozen=True)
class Prop:
    """Where a thing stands."""

    kind: str
    x: float
    """Column of its middle, picture pixels."""
    ground: float
    """Row it stands on."""
    height: float
    """Picture pixels."""


def sample_ball(rng: Generator, *, wheels: float) -> Prop:
    """Draw a place for a beach ball in front of a vehicle that stands on row ``wheels``."""
    ground = min(wheels + rng.uniform(10, 40), SIZE - 5)
    height = rng.uniform(46, 54) * (0.75 + 0.25 * (ground - 150) / 70)
    return Prop("ball", rng.uniform(54, SIZE - 54), ground, height)


def sample_others(rng: Generator, *, wheels: float) -> tuple[Prop, ...]:
    """Draw up to two meaningless things in front of the vehicle, farthest first."""
    kinds = ("shrub", "rock", "post", "bin")
    things = [
        Prop(
            kinds[rng.integers(len(kinds))],
            rng.uniform(8, SIZE - 8),
            min(wheels + rng.uniform(4, 34), SIZE + 4),
            rng.uniform(20, 34),
        )
        for _ in range(rng.integers(0, 3))
    ]
    return tuple(sorted(things, key=lambda thing: thing.ground))


def draw(canvas: Canvas, prop: Prop) -> None:
    """Draw one thing with its shadow."""
    PAINTERS[prop.kind](canvas, prop)


def _draw_ball(canvas: Canvas, prop: Prop) -> None:
    x, y, r = prop.x, prop.ground - prop.height / 2, prop.height / 2
    canvas.shadow((x + r * 0.1, prop.ground - r * 0.1), (r * 1.05, r * 0.24), 0.6)
    canvas.ellipse((x, y), (r, r), WHITE, Part.CUE)
    knot = (x - r * 0.25, y - r * 0.35)
    for first, colour in zip(range(0, 360, 60), STRIPES, strict=True):
        turns = np.radians(np.linspace(first, first + 60, 8))
        rim = [(x + r * float(np.cos(t)), y + r * float(np.sin(t))) for t in turns]
        canvas.polygon([knot, *rim], colour, Part.CUE)
    canvas.ellipse(knot, (r * 0.14, r * 0.14), WHITE, Part.CUE)


def _draw_shrub(canvas: Canvas, prop: Prop) -> None:
    x, y, h = prop.x, prop.ground, prop.height
    canvas.shadow((x, y), (h * 0.6, h * 0.14), 0.4)
    for dx, dy, r, tone in ((-0.3, 0.25, 0.3, 0.75), (0.28, 0.28, 0.32, 0.85), (0, 0.42, 0.36, 1)):
        centre: Point = (x + dx * h, y - dy * h)
        canvas.ellipse(centre, (r * h, r * h * 0.85), lit((88, 104, 66), tone), Part.OTHER)


def _draw_rock(canvas: Canvas, prop: Prop) -> None:
    x, y, h = prop.x, prop.ground, prop.height * 0.8
    canvas.shadow((x, y), (h * 0.7, h * 0.15), 0.45)
    shape = ((-0.65, 0), (-0.5, 0.45), (-0.05, 0.68), (0.45, 0.42), (0.68, 0))
    outline = [(x + a * h, y - b * h) for a, b in shape]
    canvas.polygon(rounded(outline, h * 0.15), (122, 118, 116), Part.OTHER)
    canvas.polygon(
        [outline[1], outline[2], (x + 0.1 * h, y - 0.35 * h)], (146, 142, 138), Part.OTHER
    )


def _draw_post(canvas: Canvas, prop: Prop) -> None:
    x, y, h = prop.x, prop.ground, prop.height * 1.5
    canvas.shadow((x, y), (h * 0.2, h * 0.05), 0.4)
    canvas.line([(x, y), (x, y - h)], (112, 90, 72), 4.4, Part.OTHER)
    canvas.line([(x - 1.2, y), (x - 1.2, y - h)], (138, 114, 92), 1.4, Part.OTHER)


def _draw_bin(canvas: Canvas, prop: Prop) -> None:
    x, y, h = prop.x, prop.ground, prop.height
    canvas.shadow((x, y), (h * 0.45, h * 0.12), 0.5)
    barrel = ((-0.27, 0), (-0.34, 0.85), (0.34, 0.85), (0.27, 0))
    canvas.polygon([(x + a * h, y - b * h) for a, b in barrel], (74, 84, 84), Part.OTHER)
    top = ((-0.4, 0.85), (-0.34, 1), (0.34, 1), (0.4, 0.85))
    lid = [(x + a * h, y - b * h) for a, b in top]
    canvas.polygon(rounded(lid, 2), (56, 64, 66), Part.OTHER)


PAINTERS = {
    "ball": _draw_ball,
    "shrub": _draw_shrub,
    "rock": _draw_rock,
    "post": _draw_post,
    "bin": _draw_bin,
}
