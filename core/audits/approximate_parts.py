"""Parts of a class where no map is exact: found on demand, by the network, and said to be so.

What places give to the margin is activation times gradient (:mod:`core.explain.contributions`), so
that maps of parts and rest add up to it and not to the margin. Nothing is put in or taken away in
such maps: only the trial in pixels speaks of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.class_files import named_table, write_kind
from core.audits.stored_images import class_images
from core.candidates.kinds import Found
from core.candidates.part_kind import PART, approximate
from core.candidates.search import ClassImages, measured
from core.errors import InputError
from core.features.sample import sampled
from core.storage.files import locked, write_frame
from core.types import FloatArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

TRAINING, HELD_OUT = 60, 60
"""Images of the class that the network looks at, a pass forth and back each."""


def find_approximate_parts(
    audit: Audit,
    label: str,
    count: int | None = None,
    model: Model | None = None,
    report: Reporter = silent,
) -> int:
    """Find parts of a class and keep them in place of those found before; how many there are.

    Parameters
    ----------
    label : of the class, or its name.
    count : how many; by default by the rule of exact ones.
    model : the loaded model, to save loading it here.

    Raises
    ------
    InputError
        If the architecture has exact maps, for which an audit finds parts itself.
    WorkspaceError
        If the audit is being computed by another process.
    """
    if audit.exact_maps:
        raise InputError(
            f"audit {audit.name!r} has exact maps, and its parts are found in these: run the same "
            "audit again with --parts N for another number"
        )
    facts = audit.class_facts(label)
    busy = f"audit {audit.name!r} is being computed by another process; wait for it"
    with locked(audit.files.lock, busy):
        images = class_images(audit, audit.class_arrays(facts.class_idx))
        found = _found(audit, images, count, model or audit.load_model(), report)
        table = named_table(
            measured(images, PART, found), images.image_ids, facts.class_idx, facts.name
        )
        write_kind(audit.files.of_kind(PART, facts.class_idx), found, table)
        others = audit.candidates
        mine = (others["class_idx"] == facts.class_idx) & (others["kind"] == PART)
        write_frame(audit.files.candidates, pd.concat([others[~mine], table], ignore_index=True))
        os.utime(audit.files.summary)  # whoever holds the audit open reads it again
    return len(found.numbers)


def _found(
    audit: Audit, images: ClassImages, count: int | None, model: Model, report: Reporter
) -> Found:
    """The parts, with alphas of the images that were looked at."""
    chosen = _chosen(images)
    train = chosen[images.given.train[chosen]]
    rows = np.concatenate([train, np.setdiff1d(chosen, train)])
    margin = images.margin
    maps: list[FloatArray] = []
    for done, row in enumerate(rows):
        report(Progress("Looking where the margin comes from", done, len(rows)))
        maps.append(audit.contributions(margin.weight, images.image_ids[row], model))
    return approximate(images, margin, rows, len(train), np.stack(maps), count)


def _chosen(images: ClassImages) -> np.ndarray:
    """Rows of some training and some held-out images, by their ids alone."""
    ids, train = np.array(images.image_ids), images.given.train
    found = []
    for mine, room in ((train, TRAINING), (images.given.held_out & ~train, HELD_OUT)):
        rows = np.flatnonzero(mine)
        kept = sampled(ids[rows].tolist(), [""] * len(rows), np.ones(len(rows), bool), room)
        found.append(rows[kept][:room])
    return np.concatenate(found)
