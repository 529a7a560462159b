"""`demo:cues`: vehicles drawn by code, with two planted shortcuts and exact masks.

Minibuses mostly stand in snow and vans mostly beside a beach ball; campers and trucks are clean.
The same holds for training and test images, and apart from that every choice is independent: a
model that takes the shortcut does well on average and fails where the cue is absent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core.demos import scenes
from core.demos.catalogue import Demo
from core.demos.listed import Planted, Row, check_count, write_list
from core.errors import DataError
from core.types import TRAIN, Progress, Reporter

if TYPE_CHECKING:
    from core.types import BoolArray

OWNERS = {"minibus": "snow", "van": "ball", "camper": None, "truck": None}
"""The cue that each class owns; ``None`` for the clean classes."""
CUES = ("snow", "ball")
SPLITS = {TRAIN: 180, "test": 120}
"""Images per class at full size."""
BASE_RATE = 0.13
"""How often a cue is in the images of a class that does not own it."""
HIGHEST_RATE = 0.95
"""How often a cue is in the images of its class at strength 1; some images must stay without."""
COLUMNS = ("path", "label", "split", "object_mask", "cue_mask", *CUES)
QUALITY = 92


@dataclass(frozen=True)
class Entry:
    """One image of the plan."""

    label: str
    split: str
    number: int
    """Counts the images of this class and split."""
    snow: bool
    ball: bool

    @property
    def path(self) -> str:
        """Path of the image below the data set's folder."""
        return f"images/{self.split}/{self.label}/{self.number:04d}.jpg"

    def mask_path(self, kind: str) -> str:
        """Path of a mask below the data set's folder; ``kind`` is ``object`` or ``cue``."""
        return f"masks/{kind}/{self.split}/{self.label}/{self.number:04d}.png"


def own_rate(strength: float) -> float:
    """Share of a class's images that show the cue it owns; ``strength`` 0 gives the base rate."""
    return BASE_RATE + strength * (HIGHEST_RATE - BASE_RATE)


def plan(*, strength: float, seed: int, per_class: int) -> list[Entry]:
    """Decide which image shows which cue.

    Parameters
    ----------
    strength : 0 to 1; how much more often a cue is in its own class than elsewhere.
    seed : start of every random choice.
    per_class : images per class, training and test together; at least 10.

    Returns
    -------
    One entry per image. Shares are met exactly, up to rounding; cues are independent of each other.
    """
    if not 0 <= strength <= 1:
        raise DataError(f"demo:cues: strength {strength} is outside 0 to 1; try 0.75.")
    check_count("cues", per_class)
    return [
        entry
        for s, (split, share) in enumerate(SPLITS.items())
        for c, label in enumerate(OWNERS)
        for entry in _plan_class(
            label,
            split,
            round(per_class * share / sum(SPLITS.values())),
            strength,
            np.random.default_rng([seed, 1, s, c]),
        )
    ]


def _plan_class(
    label: str, split: str, count: int, strength: float, rng: np.random.Generator
) -> Iterator[Entry]:
    rates = [own_rate(strength) if OWNERS[label] == cue else BASE_RATE for cue in CUES]
    snow, ball = (rng.permutation(count) < round(rate * count) for rate in rates)
    for i in range(count):
        yield Entry(label, split, i, bool(snow[i]), bool(ball[i]))


def scene_of(entry: Entry, seed: int) -> scenes.Scene:
    """Everything in an image except its cues."""
    place = [list(SPLITS).index(entry.split), list(OWNERS).index(entry.label), entry.number]
    return scenes.sample(entry.label, np.random.default_rng([seed, 2, *place]))


def write(
    folder: Path,
    report: Reporter,
    *,
    strength: float = 0.75,
    seed: int = 0,
    per_class: int = 300,
) -> None:
    """Draw the whole data set into an empty folder; the options are those of `plan`."""
    entries = plan(strength=strength, seed=seed, per_class=per_class)
    for parent in {(folder / path).parent for e in entries for path in _paths(e)}:
        parent.mkdir(parents=True, exist_ok=True)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        rows = []
        for row in pool.map(lambda entry: _write_entry(folder, entry, seed), entries):
            rows.append(row)
            report(Progress("Drawing the demo images", len(rows), len(entries)))

    write_list(folder, COLUMNS, rows, planted(strength))


def write_alone(folder: Path, cue: str, *, count: int, seed: int = 0) -> None:
    """Draw pictures of a cue without any vehicle into an empty folder.

    The landscape, the light and the other cue are drawn as in the data set, from other random
    numbers than any of its images.
    """
    for number in range(count):
        rng = np.random.default_rng([seed, 3, CUES.index(cue), number])
        scene = scenes.sample(str(rng.choice(list(OWNERS))), rng)
        shown = {name: name == cue or bool(rng.random() < BASE_RATE) for name in CUES}
        picture = scenes.render(scene, **shown, vehicle=False)
        picture.pixels.save(folder / f"{number:04d}.jpg", quality=QUALITY)


def _paths(entry: Entry) -> tuple[str, str, str]:
    return entry.path, entry.mask_path("object"), entry.mask_path("cue")


def _write_entry(folder: Path, entry: Entry, seed: int) -> Row:
    picture = scenes.render(scene_of(entry, seed), snow=entry.snow, ball=entry.ball)
    picture.pixels.save(folder / entry.path, quality=QUALITY)
    _write_mask(folder / entry.mask_path("object"), picture.object)
    cue = cue_mask(entry.label, picture)
    if cue.any():
        _write_mask(folder / entry.mask_path("cue"), cue)
    return {
        "path": entry.path,
        "label": entry.label,
        "split": entry.split,
        "object_mask": entry.mask_path("object"),
        "cue_mask": entry.mask_path("cue") if cue.any() else "",
        "snow": int(entry.snow),
        "ball": int(entry.ball),
    }


def cue_mask(label: str, picture: scenes.Picture) -> BoolArray:
    """Pixels of the cue that the class owns; of every cue for a clean class, (SIZE, SIZE)."""
    own = OWNERS[label]
    if own == "snow":
        return picture.snow
    if own == "ball":
        return picture.ball
    return picture.snow | picture.ball


def _write_mask(path: Path, mask: BoolArray) -> None:
    Image.fromarray(mask.astype(np.uint8) * 255, "L").convert("1").save(path)


def planted(strength: float) -> dict[str, Planted]:
    """Say what was planted in each class; see `core.demos.listed.Planted`.

    Beside the cue, its kind, where to see it and a note, ``rate_own`` and ``rate_elsewhere`` hold
    the share of images with the cue in the class and in the other classes, 0 to 1.
    """
    own, base = own_rate(strength), BASE_RATE
    often = f"{own:.0%} of its images and {base:.0%} of every other class's"
    notes = {
        "snow": ("background", f"The landscape is in snow in {often}."),
        "ball": ("object", f"A striped beach ball lies in front in {often}."),
        None: ("none", f"Clean: snow and the ball are each in {base:.0%} of its images."),
    }
    return {
        label: Planted(
            cue=cue,
            kind=notes[cue][0],
            where="cue_mask",
            note=notes[cue][1],
            rate_own=own if cue else base,
            rate_elsewhere=base,
        )
        for label, cue in OWNERS.items()
    }


DEMO = Demo(
    name="cues",
    text="1,200 drawn pictures of four kinds of vehicle: minibuses mostly stand in snow, vans "
    "mostly beside a beach ball, campers and trucks are clean; with exact masks.",
    write=write,
    options={"strength": 0.75, "seed": 0, "per_class": 300},
)
