"""Which part of another model is the one that was tagged: the one whose maps are most alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.audits.audit import BLOCK, Audit
from core.candidates.candidate import Candidate, heatmaps_of
from core.statistics.intervals import correlation
from core.types import BoolArray, FloatArray


class MatchedPart(NamedTuple):
    """A part of the target."""

    place: int
    """Among those it was chosen from."""
    quality: float
    """Correlation of both maps over the positions of images that it was not chosen on, [-1, 1]."""


def matched_part(
    source: Audit,
    tagged: Candidate,
    target: Audit,
    parts: Sequence[Candidate],
    image_ids: Sequence[str],
    fitting: BoolArray,
) -> MatchedPart:
    """The part whose maps correlate best with those of the tagged one (:func:`matched_parts`)."""
    return matched_parts(source, [tagged], target, parts, image_ids, fitting)[0]


def matched_parts(
    source: Audit,
    several: Sequence[Candidate],
    target: Audit,
    parts: Sequence[Candidate],
    image_ids: Sequence[str],
    fitting: BoolArray,
) -> list[MatchedPart]:
    """For each of several parts of a class the one whose maps correlate best with its own.

    Over all positions of the images, on the coarser grid of both models.

    Parameters
    ----------
    parts : of the target, one or more, of one class.
    image_ids : (n,) of that class, whose maps both audits keep.
    fitting : (n,) those that it is chosen on; the others judge the choice.
    """
    theirs = _maps(source, several, image_ids)
    mine = _maps(target, parts, image_ids)
    grid = min(theirs.shape[2], mine.shape[2]), min(theirs.shape[3], mine.shape[3])
    theirs, mine = on_grid(theirs, grid), on_grid(mine, grid)
    places = _alike(theirs, mine, fitting).argmax(axis=1)
    judged = _alike(theirs, mine, ~fitting)
    return [MatchedPart(int(p), float(row[p])) for p, row in zip(places, judged, strict=True)]


def _maps(audit: Audit, candidates: Sequence[Candidate], image_ids: Sequence[str]) -> FloatArray:
    """Maps (n, m, h, w) of m candidates of a class, from the stored ones."""
    blocks = [image_ids[start : start + BLOCK] for start in range(0, len(image_ids), BLOCK)]
    return np.concatenate([heatmaps_of(candidates, audit.maps(block)) for block in blocks])


def _alike(theirs: FloatArray, mine: FloatArray, rows: BoolArray) -> FloatArray:
    """Correlation (k, m) of maps (n, k, h, w) and (n, m, h, w) over positions of some rows."""
    x, y = (
        maps[rows].transpose(0, 2, 3, 1).reshape(-1, maps.shape[1]).astype(np.float64)
        for maps in (theirs, mine)
    )
    return correlation(x, y)


def on_grid(maps: FloatArray, grid: tuple[int, int]) -> FloatArray:
    """Maps (..., h, w) as means over the cells of a coarser grid; their mean stays what it is."""
    found: FloatArray = _cells(maps.shape[-2], grid[0]) @ maps @ _cells(maps.shape[-1], grid[1]).T
    return found


def _cells(places: int, cells: int) -> FloatArray:
    """(cells, places) share that every place has of a cell, where both cover the same length."""
    fine, coarse = np.arange(places + 1) / places, np.arange(cells + 1) / cells
    low = np.maximum(coarse[:-1, None], fine[:-1])
    high = np.minimum(coarse[1:, None], fine[1:])
    found: FloatArray = np.clip(high - low, 0, None) * cells
    return found
