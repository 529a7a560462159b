"""Four kinds of boxy vehicle, seen from the side, that are easy to mistake for one another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.demos.canvas import Canvas, Colour, Part, Point, blend, lit, rounded

if TYPE_CHECKING:
    from numpy.random import Generator

PAINTS: tuple[Colour, ...] = (
    *((232, 230, 222), (206, 210, 214), (72, 112, 160), (150, 58, 54), (64, 120, 104)),
    *((214, 190, 120), (98, 104, 116), (120, 160, 186), (170, 150, 126), (52, 66, 96)),
)
GLASS: Colour = (44, 58, 74)
RUBBER: Colour = (30, 30, 34)


@dataclass(frozen=True)
class Shape:
    """Proportions of a vehicle; lengths are shares of its overall length."""

    box: float
    """Height of the rear part above the ground."""
    cab: float
    """Height of the cab above the ground."""
    split: float
    """Where the cab begins, from the rear."""
    alcove: float
    """How far the rear part reaches over the cab."""
    gap: float
    """Dark slit between rear part and cab."""
    bonnet: float
    slant: float
    """How far the windscreen leans back."""
    windows: float
    """Number of side windows behind the cab; rounded when drawn."""
    pane: float
    """Height of a side window as a share of the body's height."""


SHAPES: dict[str, Shape] = {
    "minibus": Shape(0.40, 0.40, 0.76, 0.0, 0.0, 0.07, 0.09, 3.6, 0.34),
    "van": Shape(0.43, 0.41, 0.70, 0.0, 0.0, 0.09, 0.12, 0.0, 0.30),
    "camper": Shape(0.45, 0.34, 0.72, 0.11, 0.0, 0.07, 0.10, 1.6, 0.24),
    "truck": Shape(0.48, 0.36, 0.72, 0.0, 0.026, 0.02, 0.06, 0.0, 0.26),
}
MIDDLE = Shape(0.435, 0.385, 0.72, 0.02, 0.004, 0.065, 0.095, 1.1, 0.28)
"""What an unclear vehicle of any kind looks like."""
SPREAD = Shape(0.022, 0.018, 0.02, 0.02, 0.005, 0.015, 0.02, 0.7, 0.04)
"""Standard deviation of each proportion within a kind."""


@dataclass(frozen=True)
class Vehicle:
    """One vehicle to draw."""

    shape: Shape
    paint: Colour
    trim: Colour
    tint: float
    """0: panes are dark glass; 1: panes have the colour of the body."""
    stripe: bool
    rack: bool
    left: float
    """Left end, picture pixels."""
    ground: float
    """Row the wheels stand on."""
    length: float
    """Overall length, picture pixels."""
    faces_left: bool

    @property
    def top(self) -> float:
        """Highest row of the body."""
        return self.ground - self.length * max(self.shape.box, self.shape.cab)


def sample(label: str, rng: Generator, *, clarity: tuple[float, float]) -> Vehicle:
    """Draw one vehicle of a kind at random.

    Parameters
    ----------
    label : a key of ``SHAPES``.
    rng : source of every choice.
    clarity : bounds of how typical the vehicle is; 0 looks like ``MIDDLE``, 1 like its kind.
    """
    shape = _sample_shape(label, rng, rng.uniform(*clarity))
    length = rng.uniform(74, 106)
    paint = PAINTS[rng.integers(len(PAINTS))]
    return Vehicle(
        shape=shape,
        paint=paint,
        trim=PAINTS[rng.integers(len(PAINTS))] if rng.random() < 0.6 else lit(paint, 0.75),
        tint=rng.uniform(0.0, 0.6),
        stripe=bool(rng.random() < 0.5),
        rack=bool(rng.random() < 0.3),
        left=rng.uniform(10, SPACE - length),
        ground=rng.uniform(150, 176),
        length=length,
        faces_left=bool(rng.random() < 0.5),
    )


SPACE = 214
"""Rightmost column a vehicle may reach."""


def _sample_shape(label: str, rng: Generator, clarity: float) -> Shape:
    kind, values = SHAPES[label], {}
    for name, middle in vars(MIDDLE).items():
        value = middle + clarity * (getattr(kind, name) - middle)
        values[name] = max(0.0, value + getattr(SPREAD, name) * rng.standard_normal())
    shape = replace(MIDDLE, **values)
    return replace(shape, gap=shape.gap if shape.gap > 0.008 else 0.0)


class _Sketch:
    """Draws in the vehicle's own frame: x from rear 0 to front 1, y up from the ground."""

    def __init__(self, canvas: Canvas, vehicle: Vehicle) -> None:
        self.canvas, self.vehicle = canvas, vehicle

    def place(self, x: float, y: float) -> Point:
        v = self.vehicle
        along = 1 - x if v.faces_left else x
        return v.left + along * v.length, v.ground - y * v.length

    def area(self, corners: list[Point], colour: Colour, radius: float = 0.02) -> None:
        placed = [self.place(*corner) for corner in corners]
        outline = rounded(placed, radius * self.vehicle.length)
        self.canvas.polygon(outline, colour, Part.OBJECT)

    def bar(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self.area([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, 0.008)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        r = radius * self.vehicle.length
        self.canvas.ellipse(self.place(x, y), (r, r), colour, Part.OBJECT)

    def stroke(self, points: list[Point], colour: Colour, width: float = 0.8) -> None:
        placed = [self.place(*point) for point in points]
        self.canvas.line(placed, colour, width, Part.OBJECT)


FLOOR = 0.085


def draw(canvas: Canvas, vehicle: Vehicle) -> None:
    """Draw the vehicle with its shadow."""
    middle = vehicle.left + vehicle.length / 2
    canvas.shadow((middle, vehicle.ground + 1), (vehicle.length * 0.53, 6.5), 0.62)
    sketch = _Sketch(canvas, vehicle)
    sketch.bar(0.03, 0.055, 0.97, 0.12, (38, 38, 44))
    _draw_cab(sketch)
    _draw_box(sketch)
    _draw_panes(sketch)
    _draw_lights(sketch)
    for x in (0.2, 0.8):
        _draw_wheel(sketch, x)


def _draw_cab(sketch: _Sketch) -> None:
    v, s = sketch.vehicle, sketch.vehicle.shape
    roof, nose, belt = 1 - s.bonnet - s.slant, 1 - s.bonnet * 0.9, s.cab * 0.56
    start = s.split - 0.05
    sketch.area(
        [(start, FLOOR), (start, s.cab), (roof, s.cab), (nose, belt), (1, belt * 0.9), (1, FLOOR)],
        v.paint,
        0.03,
    )
    glass = blend(GLASS, v.paint, v.tint * 0.5)
    top, door = s.cab * 0.93, s.split + 0.025
    sketch.area([(door, belt), (door, top), (roof - 0.012, top), (nose - 0.03, belt)], glass, 0.012)
    sketch.area(
        [(door + 0.02, belt), (door + 0.05, top), (door + 0.085, top), (door + 0.055, belt)],
        lit(glass, 1.45),
        0.002,
    )
    sketch.stroke([(door - 0.012, FLOOR), (door - 0.012, top)], lit(v.paint, 0.72))
    sketch.bar(door + 0.02, belt - 0.05, door + 0.055, belt - 0.038, lit(v.paint, 0.55))
    sketch.bar(nose - 0.05, belt + 0.0, nose - 0.025, belt + 0.07, (36, 36, 40))


def _draw_box(sketch: _Sketch) -> None:
    v, s = sketch.vehicle, sketch.vehicle.shape
    end = s.split - s.gap
    corners = [(0.0, FLOOR), (0.0, s.box), (end + s.alcove, s.box)]
    if s.alcove > 0.012:
        corners += [(end + s.alcove * 1.15, s.cab + 0.015), (end, s.cab - 0.015)]
    sketch.area([*corners, (end, FLOOR)], v.paint, 0.022)
    sketch.bar(0.004, FLOOR, end, FLOOR + 0.055, v.trim)
    if s.gap:
        sketch.bar(end, FLOOR, s.split, s.cab * 0.92, (34, 34, 38))
    if v.stripe:
        sketch.bar(0.01, s.box * 0.40, end - 0.01, s.box * 0.455, v.trim)
    if v.rack:
        sketch.stroke([(0.1, s.box + 0.02), (0.55, s.box + 0.02)], (70, 70, 76), 1.3)
        for x in (0.12, 0.33, 0.53):
            sketch.stroke([(x, s.box - 0.01), (x, s.box + 0.02)], (70, 70, 76), 1.0)
    sketch.bar(0.012, s.box - 0.022, end, s.box - 0.008, lit(v.paint, 1.16))
    sketch.stroke([(0.34, FLOOR + 0.01), (0.34, s.box * 0.92)], lit(v.paint, 0.8))


def _draw_panes(sketch: _Sketch) -> None:
    v, s = sketch.vehicle, sketch.vehicle.shape
    count = min(4, round(s.windows))
    if not count:
        return
    glass = blend(GLASS, v.paint, v.tint)
    room = s.split - s.gap - 0.09
    width = min(room / count - 0.025, 0.17)
    top = s.box * 0.9
    bottom = top - s.box * max(0.16, s.pane)
    for i in range(count):
        x = 0.05 + (i + 0.5) * room / count - width / 2
        sketch.area([(x, bottom), (x + width, bottom), (x + width, top), (x, top)], glass, 0.014)
        sketch.area(
            [
                (x + width * 0.2, bottom),
                (x + width * 0.5, top),
                (x + width * 0.72, top),
                (x + width * 0.42, bottom),
            ],
            lit(glass, 1.3),
            0.002,
        )


def _draw_lights(sketch: _Sketch) -> None:
    belt = sketch.vehicle.shape.cab * 0.5
    sketch.bar(0.965, belt * 0.62, 0.995, belt * 0.84, (250, 240, 206))
    sketch.bar(0.0, 0.17, 0.016, 0.225, (176, 40, 38))
    sketch.bar(0.94, 0.07, 1.008, 0.108, (58, 58, 64))
    sketch.bar(-0.008, 0.07, 0.05, 0.108, (58, 58, 64))


def _draw_wheel(sketch: _Sketch, x: float) -> None:
    sketch.disc(x, 0.078, 0.087, (24, 24, 28))
    sketch.disc(x, 0.07, 0.07, RUBBER)
    sketch.disc(x, 0.07, 0.04, (150, 154, 160))
    sketch.disc(x, 0.07, 0.026, (96, 100, 108))
    sketch.disc(x, 0.07, 0.01, (190, 192, 196))
