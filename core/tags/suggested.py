"""What a candidate might be called: words of the data, each with its figure and a control.

A suggestion is no tag and no name: it says which attribute of the data, which property of the
pixels (:mod:`core.data.properties`) or which place of the image goes with a candidate's alpha. It
is made only where the figure is above what chance and every other candidate of the kind reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from core.audits.audit import Audit
from core.audits.class_arrays import ClassArrays
from core.candidates.key import CandidateKey, keys_in
from core.candidates.kinds import found_kinds
from core.explain.embedding import SIDE, chance_reach
from core.features.extract import cores, keep_properties
from core.statistics.ranks import aurocs
from core.storage.files import locked
from core.storage.roles import read_only
from core.types import BoolArray, FloatArray, Reporter, silent

if TYPE_CHECKING:
    import pandas as pd

MOST = 3
"""Words of a candidate by each route."""

VALUES = 24
"""Values of an attribute that are words each; of more, where they are numbers, low and high are."""

ENDS = {
    "brightness": ("dark", "bright"),
    "contrast": ("of low contrast", "of high contrast"),
    "sharpness": ("blurred", "sharp"),
    "border": ("without a border", "with a border"),
    "aspect": ("upright format", "wide format"),
}
"""What images of a class below and above its median of a property are called."""

LEADING = 5
"""Candidates of a kind that are asked about where nobody names one."""


class Route(NamedTuple):
    """A way to find words."""

    figure: str
    """What is measured, in words."""
    control: str
    """What it is compared with, in words."""


ROUTES = {
    "attribute": Route("AUROC", "chance"),
    "property": Route("AUROC", "chance"),
    "place": Route("of the overlay", "of the area"),
    "network": Route("of crops", "of the control"),
    "text": Route("of crops", "of the control"),
}


@dataclass(frozen=True)
class Suggestion:
    """A word for a candidate."""

    word: str
    route: str
    """How it was found, of :data:`ROUTES`."""
    figure: float
    """In [0, 1], as the route says; higher: the word goes better with the candidate."""
    control: float
    """What the figure reaches without the candidate, as the route says."""
    others: float = float("nan")
    """The largest figure of another candidate of the same kind in the class; NaN without any."""

    @property
    def said(self) -> str:
        """With the figure and its controls, in words."""
        route, others = ROUTES[self.route], f", others {self.others:.2f}"
        controls = (
            f"{route.control} {self.control:.2f}{others if self.others == self.others else ''}"
        )
        return f"{self.word} ({route.figure} {self.figure:.2f}; {controls})"

    def to_json(self) -> dict[str, Any]:
        """As scripts read it; null for what is not there."""
        return {k: None if v != v else v for k, v in asdict(self).items()}


By = dict[CandidateKey, tuple[Suggestion, ...]]


def in_words(found: Sequence[Suggestion]) -> str:
    """A line for people; empty without any."""
    return f"perhaps {'; '.join(one.said for one in found)}" if found else ""


class Words(NamedTuple):
    """What can be said of the images of a class."""

    texts: list[str]
    """(q,)."""
    routes: list[str]
    """(q,)."""
    holds: BoolArray
    """(n, q) of which image."""


def suggestions(audit: Audit, class_idx: int) -> By:
    """Words of the data for the candidates of a class; those without any are left out.

    Without what images look like (:func:`described`) there are only those of attributes and places.
    """
    arrays = audit.class_arrays(class_idx)
    known, placed = by_alpha(audit, arrays), by_place(audit, arrays)
    keys = [*known, *(key for key in placed if key not in known)]
    return {key: (*known.get(key, ()), *placed.get(key, ())) for key in keys}


def described(audit: Audit, report: Reporter = silent) -> Audit:
    """An audit with what its images look like, added where an earlier version left it out.

    No network is run.

    Raises
    ------
    WorkspaceError
        If the audit is being computed by another process.
    """
    if is_described(audit) or read_only():
        return audit
    busy = f"audit {audit.name!r} is being computed by another process; wait for it"
    with locked(audit.files.lock, busy):
        keep_properties(audit.root, audit.store, audit.preprocess, workers=cores(), report=report)
    return Audit(audit.folder)


def is_described(audit: Audit) -> bool:
    """Whether it is stored what all of its images look like."""
    return all(shard.described for shard in audit.store.shards)


def leading(audit: Audit, class_idx: int) -> list[CandidateKey]:
    """The leading candidates of every kind in a class, in the order of the page."""
    table = audit.candidates
    table = table[(table["class_idx"] == class_idx) & (table["order"] < LEADING)]
    table = table.sort_values("order", kind="stable")
    keys = keys_in(table, audit.head.outputs[class_idx])
    return [key for kind in found_kinds() for key in keys if key.kind == kind]


def by_alpha(audit: Audit, arrays: ClassArrays) -> By:
    """Attributes and properties of the images that have a high alpha."""
    found: By = {}
    words = words_of(audit, arrays.image_ids)
    for kind in audit.candidates["kind"].unique():
        held = arrays.of_kind(kind)
        alpha = np.asarray(held.alpha, np.float64)
        known = np.isfinite(alpha).all(axis=1)
        if alpha.shape[1] and known.any():
            named = _by_kind(alpha[known], words, words.holds[known])
            keys = [CandidateKey(arrays.label, kind, int(number)) for number in held.numbers]
            found |= {key: said for key, said in zip(keys, named, strict=True) if said}
    return found


def _by_kind(alpha: FloatArray, words: Words, holds: BoolArray) -> list[tuple[Suggestion, ...]]:
    """Words for every column of alpha (n, m), strongest first."""
    n_in = holds.sum(axis=0)
    usable = np.minimum(n_in, len(holds) - n_in) >= SIDE
    tests = int(usable.sum())
    figures = np.where(usable, aurocs(alpha, holds), np.nan)
    chance = [
        0.5 + chance_reach(int(n), len(holds) - int(n), tests) if fit else np.nan
        for n, fit in zip(n_in, usable, strict=True)
    ]
    others = largest_of_others(figures)
    return [
        _best(words, figure, np.array(chance), other)
        for figure, other in zip(figures, others, strict=True)
    ]


def _best(
    words: Words, figures: FloatArray, chance: FloatArray, others: FloatArray
) -> tuple[Suggestion, ...]:
    above = figures > np.fmax(chance, others)
    order = [i for i in np.argsort(-figures, kind="stable") if above[i]]
    return tuple(
        Suggestion(words.texts[i], words.routes[i], *map(float, (figures[i], chance[i], others[i])))
        for i in order[:MOST]
    )


def largest_of_others(figures: FloatArray) -> FloatArray:
    """The largest figure (m, q) of another row of the same column; NaN of a single row."""
    if len(figures) < 2:
        return np.full(figures.shape, np.nan)
    ranked = np.sort(np.where(np.isnan(figures), -np.inf, figures), axis=0)
    first, second = ranked[-1], ranked[-2]
    found: FloatArray = np.where(figures == first, second, first)
    return np.where(np.isfinite(found), found, np.nan)


def words_of(audit: Audit, image_ids: Sequence[str]) -> Words:
    """Every word that holds of some of the images and not of all, from attributes and pixels."""
    every = audit.images_of(list(image_ids))
    images = every[list(audit.summary.attributes)]
    found = [(text, "attribute", holds) for name in images for text, holds in _values(images[name])]
    if is_described(audit):
        aspect = (every["width"] / every["height"]).to_numpy(np.float64)
        pixels = audit.store.properties_of(image_ids).assign(aspect=aspect)
        found += [(text, "property", holds) for text, holds in _pixel_words(pixels)]
    some = [(text, route, holds) for text, route, holds in found if 0 < holds.sum() < len(holds)]
    columns = [holds for _, _, holds in some]
    matrix = np.stack(columns, axis=1) if columns else np.zeros((len(images), 0), bool)
    return Words([text for text, _, _ in some], [route for _, route, _ in some], matrix)


def _values(column: pd.Series) -> list[tuple[str, BoolArray]]:
    """Words of an attribute: one a value, or low and high of many numbers."""
    import pandas as pd

    text = column.astype(str).to_numpy(str)
    values = sorted(set(text[column.notna().to_numpy(bool)]))
    if len(values) <= VALUES:
        return [(f"{column.name}: {value}", text == value) for value in values]
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    if np.isnan(numbers).any():
        return []
    return _halves(numbers, (f"low {column.name}", f"high {column.name}"))


def _pixel_words(pixels: pd.DataFrame) -> list[tuple[str, BoolArray]]:
    """Colours, and both ends of every property."""
    colours = pixels["colour"].fillna("").to_numpy(str)
    found = [(word, colours == word) for word in sorted(set(colours) - {""})]
    for name, ends in ENDS.items():
        found += _halves(pixels[name].to_numpy(np.float64), ends)
    return found


def _halves(values: FloatArray, ends: tuple[str, str]) -> list[tuple[str, BoolArray]]:
    """Below and above the median; what is equal to it is on neither side."""
    if np.isnan(values).all():
        return []
    middle = np.nanmedian(values)
    return [(ends[0], values < middle), (ends[1], values > middle)]


def by_place(audit: Audit, arrays: ClassArrays) -> By:
    """Where in the image most of the overlay's mass lies, of the leading candidates of a kind.

    The figure is the share of the positive mass on the images that show a candidate most; by
    chance it is the share of the area.
    """
    table = audit.candidates[audit.candidates["class_idx"] == arrays.class_idx]
    tops = dict(zip(keys_in(table, arrays.label), table["top_image_ids"], strict=True))
    found: By = {}
    for _, keys in groupby(leading(audit, arrays.class_idx), key=lambda key: key.kind):
        maps = {key: _top_maps(audit, arrays, key, list(tops[key])) for key in keys}
        masses = {key: _mass(heat) for key, heat in maps.items() if heat is not None}
        if masses:
            found |= _placed(np.stack(list(masses.values())), list(masses))
    return found


def _top_maps(
    audit: Audit, arrays: ClassArrays, key: CandidateKey, top: Sequence[str]
) -> FloatArray | None:
    """Maps (n, h, w) of the images that show a candidate most; None where none are kept."""
    stored = arrays.top_maps_of(key)
    if stored is None and top and audit.maps_kept(top):
        return audit.heatmaps(arrays.candidate(key.kind, key.number), top)
    return stored


def _mass(heat: FloatArray) -> FloatArray:
    """The positive part of maps (n, h, w), mean over the images, of sum 1, or 0 without any."""
    mass = np.maximum(heat, 0).mean(axis=0, dtype=np.float64)
    found: FloatArray = mass / max(float(mass.sum()), 1e-300)
    return found


def _placed(mass: FloatArray, keys: Sequence[CandidateKey]) -> By:
    """The place of every candidate by its mass (m, h, w), where half of it or more is there."""
    places = regions(mass.shape[1], mass.shape[2])
    figures = np.stack([(mass * inside).sum(axis=(1, 2)) for inside in places.values()], axis=1)
    areas = np.array([inside.mean() for inside in places.values()])
    words = Words(list(places), ["place"] * len(places), np.zeros((0, len(places)), bool))
    others = largest_of_others(figures)
    found = {
        key: _best(words, np.where(mine >= 0.5, mine, np.nan), areas, other)[:1]
        for key, mine, other in zip(keys, figures, others, strict=True)
    }
    return {key: said for key, said in found.items() if said}


def regions(height: int, width: int) -> dict[str, BoolArray]:
    """Which places (h, w) of a grid a word for a place means: outer thirds, and the middle."""
    down, across = np.meshgrid(*(_thirds(size) for size in (height, width)), indexing="ij")
    return {
        "at the top": down == 0,
        "at the bottom": down == 2,
        "at the left": across == 0,
        "at the right": across == 2,
        "in the middle": (down == 1) & (across == 1),
    }


def _thirds(size: int) -> FloatArray:
    """In which third the middle of every place lies, (size,)."""
    return np.floor(3 * (np.arange(size) + 0.5) / size)
