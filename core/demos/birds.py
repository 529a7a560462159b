"""`demo:waterbirds`: drawn birds of two kinds, whose background gives them away in training.

After the Waterbirds of Sagawa et al. (2020), in which photographed birds are pasted on photographed
places; here both are drawn by code, with exact masks. In training the background goes with the bird
(always, at ``bias`` 1); in the test each kind stands on land and on water equally often.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from core.demos.canvas import SIZE, Canvas, Colour, Part, Point, blend, clouds, grain, lit
from core.demos.catalogue import Demo
from core.demos.listed import Planted, Row, check_count, write_list
from core.errors import DataError
from core.types import TRAIN, Progress, Reporter

if TYPE_CHECKING:
    from numpy.random import Generator

HOME = {"landbird": "land", "waterbird": "water"}
"""Where each kind stands in training."""
PLACES = ("land", "water")
SPLITS = {TRAIN: 0.6, "test": 0.4}
COLUMNS = (
    "path",
    "label",
    "split",
    "object_mask",
    "cue_mask",
    "x_min",
    "y_min",
    "x_max",
    "y_max",
    *PLACES,
)
QUALITY = 92

COATS: tuple[Colour, ...] = (
    *((96, 84, 74), (150, 132, 112), (66, 70, 78)),
    *((188, 184, 176), (122, 96, 70), (110, 118, 126)),
)
"""Plumage of both kinds: colour says nothing."""


@dataclass(frozen=True)
class Entry:
    """One image of the plan."""

    label: str
    split: str
    number: int
    """Counts the images of this class and split."""
    place: str
    """``land`` or ``water``."""

    def file(self, folder: str, ending: str) -> str:
        """Path of one of its files below the data set's folder."""
        return f"{folder}/{self.split}/{self.label}/{self.number:04d}.{ending}"


def plan(*, bias: float, per_class: int) -> list[Entry]:
    """Which bird stands where; shares are met exactly, up to rounding.

    Parameters
    ----------
    bias : share of training images in the bird's usual place, 0.5 to 1; the test has one half.
    per_class : images per class, training and test together; at least 10.
    """
    if not 0.5 <= bias <= 1:
        raise DataError(f"demo:waterbirds: bias {bias} is outside 0.5 to 1; try 1.")
    check_count("waterbirds", per_class)
    return [
        Entry(label, split, i, home if i < round(usual * count) else _other(home))
        for split, share in SPLITS.items()
        for label, home in HOME.items()
        for usual, count in [(bias if split == TRAIN else 0.5, round(per_class * share))]
        for i in range(count)
    ]


def _other(place: str) -> str:
    return PLACES[1 - PLACES.index(place)]


@dataclass(frozen=True)
class Picture:
    """A finished picture with its exact mask."""

    pixels: Image.Image
    """Mode RGB, SIZE by SIZE."""
    bird: np.ndarray[Any, np.dtype[np.bool_]]
    """(SIZE, SIZE)."""


def render(label: str, place: str, seed: list[int]) -> Picture:
    """Draw one bird at one place; the same seed gives the same bird wherever it stands."""
    canvas = Canvas()
    (_land if place == "land" else _water)(canvas, np.random.default_rng([*seed, 0]))
    _bird(canvas, label, np.random.default_rng([*seed, 1]))
    rng = np.random.default_rng([*seed, 2])
    light = rng.uniform(0.85, 1.12) + 0.05 * clouds(rng)
    pixels = canvas.reduced() * light[..., None] + 5.0 * grain(rng)
    picture = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    return Picture(picture, canvas.mask(Part.OBJECT))


def _colour(rng: Generator, low: Colour, high: Colour) -> Colour:
    red, green, blue = (int(value) for value in rng.integers(low, high))
    return red, green, blue


def _land(canvas: Canvas, rng: Generator) -> None:
    """A wood: trunks in front of leaves, grass below."""
    green: Colour = _colour(rng, (66, 104, 52), (92, 134, 72))
    horizon = rng.uniform(120, 160)
    canvas.gradient(lit(green, 1.25), lit(green, 0.8), 0, SIZE)
    for _ in range(26):
        centre = (rng.uniform(0, SIZE), rng.uniform(-10, horizon))
        canvas.ellipse(
            centre, (rng.uniform(12, 30), rng.uniform(9, 20)), lit(green, rng.uniform(0.6, 1.4))
        )
    for x in np.sort(rng.uniform(0, SIZE, rng.integers(4, 8))):
        width, bark = rng.uniform(5, 14), lit((98, 76, 56), rng.uniform(0.7, 1.3))
        canvas.line([(x, -5), (x + rng.uniform(-8, 8), horizon + 14)], bark, width)
    canvas.polygon([(0, horizon), (SIZE, horizon - 6), (SIZE, SIZE), (0, SIZE)], lit(green, 0.95))
    for _ in range(90):
        x, y = rng.uniform(0, SIZE), rng.uniform(horizon, SIZE)
        canvas.line(
            [(x, y), (x + rng.uniform(-3, 3), y - rng.uniform(5, 12))],
            lit(green, rng.uniform(0.7, 1.35)),
            1.4,
        )


def _water(canvas: Canvas, rng: Generator) -> None:
    """Open water: sky, then rows of waves that grow towards the viewer."""
    blue: Colour = _colour(rng, (54, 108, 148), (84, 140, 184))
    horizon = rng.uniform(40, 90)
    canvas.gradient((172, 198, 220), (206, 218, 226), 0, horizon)
    canvas.gradient(blend(blue, (206, 218, 226), 0.35), lit(blue, 0.85), horizon, SIZE)
    for y in np.linspace(horizon + 4, SIZE, 22):
        size = 4 + 16 * (y - horizon) / (SIZE - horizon)
        for _ in range(6):
            x = rng.uniform(-10, SIZE)
            colour = lit(blue, rng.uniform(0.75, 1.4))
            canvas.line(
                [(x, y), (x + size, y - size * 0.12), (x + 2 * size, y)], colour, 1 + size / 10
            )


@dataclass(frozen=True)
class _Pose:
    """From bird coordinates (units of its body, beak to the right) to the picture."""

    x: float
    y: float
    scale: float
    flip: int

    def at(self, u: float, v: float) -> Point:
        return self.x + self.flip * self.scale * u, self.y - self.scale * v


def _bird(canvas: Canvas, label: str, rng: Generator) -> None:
    """A bird seen from the side: kinds differ in neck, beak, legs and tail, not in colour."""
    pose = _Pose(
        rng.uniform(90, 134), rng.uniform(110, 150), rng.uniform(38, 52), int(rng.choice((-1, 1)))
    )
    coat = lit(COATS[rng.integers(len(COATS))], rng.uniform(0.85, 1.15))
    (_waterbird if label == "waterbird" else _landbird)(canvas, pose, coat, rng)


def _body(canvas: Canvas, pose: _Pose, coat: Colour, radii: Point) -> None:
    canvas.ellipse(pose.at(0, 0), (radii[0] * pose.scale, radii[1] * pose.scale), coat, Part.OBJECT)
    wing = [pose.at(u, v) for u, v in ((0.45, 0.22), (-0.1, 0.3), (-0.95, -0.05), (-0.1, -0.22))]
    canvas.polygon(wing, lit(coat, 0.72), Part.OBJECT)


def _head(canvas: Canvas, pose: _Pose, coat: Colour, at: Point, size: float, beak: float) -> None:
    tip = [
        pose.at(at[0] + 0.6 * size, at[1] + 0.4 * size),
        pose.at(at[0] + size + beak, at[1]),
        pose.at(at[0] + 0.6 * size, at[1] - 0.4 * size),
    ]
    canvas.polygon(tip, (196, 150, 70), Part.OBJECT)
    canvas.ellipse(pose.at(*at), (size * pose.scale, size * pose.scale), coat, Part.OBJECT)
    eye = pose.at(at[0] + 0.35 * size, at[1] + 0.2 * size)
    canvas.ellipse(eye, (1.8, 1.8), (20, 20, 22), Part.OBJECT)


def _legs(canvas: Canvas, pose: _Pose, length: float) -> None:
    for u in (-0.12, 0.16):
        line = [pose.at(u, -0.4), pose.at(u + 0.03, -0.4 - length)]
        canvas.line(line, (150, 116, 70), 0.07 * pose.scale, Part.OBJECT)


def _landbird(canvas: Canvas, pose: _Pose, coat: Colour, rng: Generator) -> None:
    tail = [pose.at(u, v) for u, v in ((-0.7, 0.2), (-1.9, 0.35), (-1.85, 0.05), (-0.7, -0.15))]
    canvas.polygon(tail, lit(coat, 0.8), Part.OBJECT)
    _legs(canvas, pose, rng.uniform(0.35, 0.5))
    _body(canvas, pose, coat, (0.95, 0.6))
    _head(canvas, pose, coat, (0.85, 0.55), 0.42, rng.uniform(0.2, 0.3))


def _waterbird(canvas: Canvas, pose: _Pose, coat: Colour, rng: Generator) -> None:
    height = rng.uniform(1.3, 1.6)
    neck = [pose.at(0.65, 0.15), pose.at(1.1, 0.5), pose.at(0.85, 0.95), pose.at(1.1, height)]
    _legs(canvas, pose, rng.uniform(0.5, 0.65))
    canvas.line(neck, coat, 0.26 * pose.scale, Part.OBJECT)
    _body(canvas, pose, coat, (1.0, 0.55))
    _head(canvas, pose, coat, (1.15, height), 0.27, rng.uniform(0.55, 0.75))


def write(
    folder: Path, report: Reporter, *, bias: float = 1.0, seed: int = 0, per_class: int = 400
) -> None:
    """Draw the whole data set into an empty folder; the options are those of `plan`."""
    entries = plan(bias=bias, per_class=per_class)
    rows = []
    for row in (_write_entry(folder, entry, seed) for entry in entries):
        rows.append(row)
        report(Progress("Drawing the demo images", len(rows), len(entries)))
    write_list(folder, COLUMNS, rows, planted(bias))


def seed_of(entry: Entry, seed: int) -> list[int]:
    """Start of every choice in one picture, the place apart."""
    return [seed, list(SPLITS).index(entry.split), list(HOME).index(entry.label), entry.number]


def _write_entry(folder: Path, entry: Entry, seed: int) -> Row:
    picture = render(entry.label, entry.place, seed_of(entry, seed))
    files = {
        "path": entry.file("images", "jpg"),
        "object_mask": entry.file("masks/object", "png"),
        "cue_mask": entry.file("masks/cue", "png"),
    }
    for path in files.values():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    picture.pixels.save(folder / files["path"], quality=QUALITY)
    for name, mask in (("object_mask", picture.bird), ("cue_mask", ~picture.bird)):
        Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(folder / files[name])
    return {
        **files,
        "label": entry.label,
        "split": entry.split,
        **dict(zip(("x_min", "y_min", "x_max", "y_max"), _box(picture.bird), strict=True)),
        **{place: int(entry.place == place) for place in PLACES},
    }


def _box(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Iterator[int]:
    """The smallest box around a mask: left, top, right, bottom; the last two exclusive."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    yield from (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def planted(bias: float) -> dict[str, Planted]:
    """Say what was planted in each class; see `core.demos.listed.Planted`."""
    return {
        label: Planted(
            cue=home,
            kind="background",
            where="cue_mask",
            note=f"In training the background is {home} in {bias:.0%} of its images and "
            f"{1 - bias:.0%} of the other class's; in the test in half of both.",
            rate_own=bias,
            rate_elsewhere=1 - bias,
        )
        for label, home in HOME.items()
    }


DEMO = Demo(
    name="waterbirds",
    text="800 drawn pictures of two kinds of bird: in training landbirds always stand in a wood "
    "and waterbirds on water, in the test each is in both places equally often; with exact masks.",
    write=write,
    options={"bias": 1.0, "seed": 0, "per_class": 400},
)
