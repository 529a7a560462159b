"""Counterfactual images where nobody drew a mask: the regions of the tagged candidates stand in.

Ryali et al. (Background augmentations, 2021) change backgrounds that a saliency network tells from
the object; here people have said by a tag which part is not the object's. The region of an image of
the cue's class is where the overlays of its tagged candidates reach half of their maximum, without
what is tagged core; images of other classes are changed at a place of the same shape, so that a
change tells nothing of the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.corrections.task import Task
from core.errors import InputError
from core.explain.heatmaps import half_maximum
from core.trials.compositing import OPERATIONS, changed_region, pasted_cues
from core.trials.encoder import regions
from core.types import BoolArray

if TYPE_CHECKING:
    from core.corrections.network_methods import Prepared
    from core.models.model import Model
    from core.trials.examples import Examples

BATCH = 64
"""Images whose overlays are made at once."""


class Tagged(NamedTuple):
    """Where the tagged candidates are in training images."""

    regions: BoolArray
    """(n, h, w) of every image; of other classes' images a shape of one that shows the cue."""
    shows: BoolArray
    """(n,) images of a tagged class whose region is its own."""


def tagged_regions(task: Task, image_ids: Sequence[str], model: Model, *, seed: int = 0) -> Tagged:
    """The regions of some training images.

    Raises
    ------
    InputError
        If the tagged candidates are nowhere in any of them.
    """
    parent, labels = task.parent, task.parent.images_of(image_ids)["label"]
    found = np.zeros((len(image_ids), *parent.preprocess.input_size), bool)
    for label, spurious in task.findings.chosen.items():
        mine = np.flatnonzero((labels == label).to_numpy(bool))
        core = task.findings.decisions.core.get(label, [])
        for start in range(0, len(mine), BATCH):
            rows = mine[start : start + BATCH]
            ids = [image_ids[i] for i in rows]
            cue, kept = regions(parent, [spurious, core], ids, model)
            for row, of_cue, of_core in zip(rows, cue, kept, strict=True):
                found[row] = half_maximum(of_cue) & ~half_maximum(of_core)
    shows: BoolArray = np.asarray(found.any(axis=(1, 2)))
    if not shows.any():
        raise InputError(
            "the tagged candidates are nowhere in the training images, and their regions were to "
            "be changed: tag others, or give masks"
        )
    rest = np.flatnonzero(~shows)
    drawn = np.random.default_rng([seed, 5]).choice(np.flatnonzero(shows), len(rest))
    found[rest] = found[drawn]
    return Tagged(found, shows)


def tagged_counterfactuals(task: Task, prepared: Prepared, change: str, copies: int) -> Examples:
    """The training images, then their counterfactuals by the regions of the tagged candidates.

    Parameters
    ----------
    change : ``paste`` puts a tagged class's region on other classes' images; ``remove``, ``swap``
        and ``shuffle`` change it in all (:func:`core.trials.compositing.changed_region`).
    """
    from core.corrections.counterfactual import joined
    from core.trials.examples import Examples

    rows = task.rows[prepared.places]
    ids = task.parent.images.index[rows].tolist()
    found = tagged_regions(task, ids, prepared.model, seed=task.seed)
    examples, rng = prepared.train, np.random.default_rng(task.seed)
    parts = [replace(examples, objects=None, cues=None)]
    for _ in range(copies):
        if change in OPERATIONS:
            pixels = changed_region(examples.pixels, examples.labels, found.regions, change, rng)
            parts.append(Examples(pixels, examples.labels))
            continue
        cues = found.regions & found.shows[:, None, None]
        pixels, places = pasted_cues(examples.pixels, examples.labels, cues, rng)
        parts.append(Examples(pixels, examples.labels[places]))
    return joined(parts)
