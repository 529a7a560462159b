"""Whose maps an audit keeps where those of all images do not fit.

Training images of every class, for its parts and as donors of a cue, and one pool of held-out
images over all classes, which regions are put into and taken away from. A smaller sample is a part
of a larger one, and images that come later push out no more than as many, so that what is kept
already stays of use.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.statistics.seeds import image_seed
from core.types import BoolArray, IntArray

TRAINING = 150
"""Training images of a class, at most."""

POOL = 1000
"""Held-out images of all classes together, at most."""


def sampled(
    image_ids: Sequence[str], labels: Sequence[str], fitting: BoolArray, room: int
) -> BoolArray:
    """Which images (n,) the maps are kept of, by their ids, classes and splits alone.

    Parameters
    ----------
    fitting : (n,) training images; where all are, the pool is of them, too.
    room : images whose maps fit. The pool takes a third of it at most, and every class as many
        training images as the others.
    """
    _, classes = np.unique(np.asarray(labels, str), return_inverse=True)
    seeds = np.array([image_seed(name) for name in image_ids], np.uint64)
    pool = min(POOL, room // 3)
    each = min(TRAINING, (room - pool) // max(int(classes.max(initial=-1)) + 1, 1))
    held_out = np.flatnonzero(~fitting if not fitting.all() else fitting)
    found = np.zeros(len(fitting), bool)
    rank = _ranks(classes[held_out], seeds[held_out])
    found[held_out[np.lexsort((seeds[held_out], rank))[:pool]]] = True
    training = np.flatnonzero(fitting)
    found[training[_ranks(classes[training], seeds[training]) < each]] = True
    return found


def _ranks(groups: IntArray, seeds: np.ndarray) -> IntArray:
    """Place (n,) of every image in its group by its seed, 0 first."""
    order = np.lexsort((seeds, groups))
    firsts = np.searchsorted(groups[order], groups[order])
    found = np.empty(len(groups), np.int64)
    found[order] = np.arange(len(groups)) - firsts
    return found
