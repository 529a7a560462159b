"""What the audited model decides by: shape, texture or background of its held-out images.

::

    measures/factors-4f0c….parquet     the rows of one class, or of all

The name ends with the key of what they depend on: images and predictions of the audit, the class.
Tags play no part in it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.data.table import BOX
from core.errors import InputError, WorkspaceError
from core.measures.gaps import Rows, share
from core.measures.rows import EVERYWHERE, as_table, row
from core.models.linear import head_key
from core.storage.files import locked, read_frame, write_frame
from core.storage.workspace import fingerprint
from core.trials.encoder import predictions_of, trial_split
from core.trials.factorial import FACTORS, Decides, decides_by
from core.trials.paste import sample
from core.types import IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.trials.compositing import Pixels

IMAGES = 200
"""Held-out images taken apart at most, a fixed random part; each gives eight. Of these half are of
the class where one is asked about."""

ASKED = ("what was put together", "backgrounds of the own class", "random backgrounds")
"""What the model is asked about, in the order of :func:`core.trials.factorial.decides_by`."""

VERSION = 1
"""Of the measures; another one measures again."""


def lacking(audit: Audit) -> str:
    """Why the audit's images cannot be taken apart, with the remedy; empty where they can."""
    images = audit.images[audit.held_out]
    drawn = "object_mask" in images and (images["object_mask"].fillna("") != "").any()
    boxed = set(BOX) <= set(images) and images[list(BOX)].notna().all(axis=1).any()
    if drawn or boxed:
        return ""
    return (
        f"no held-out image of audit {audit.name!r} has an object mask, and without it shape, "
        "texture and background cannot be told apart: add the column object_mask, or a box "
        "x_min,y_min,x_max,y_max, to the manifest, and audit it"
    )


def factor_table(
    audit: Audit, *, class_name: str | None = None, report: Reporter = silent
) -> pd.DataFrame:
    """What the model decides by, as rows of the table of measures; measured once and stored.

    Parameters
    ----------
    class_name : label, displayed name or ``#index`` of the class asked about; default all.

    Returns
    -------
    ``decided_by`` each factor, ``factor_interaction``, ``composed_accuracy`` of the eight kinds of
    images, ``shape_bias`` and ``background_gap`` (:data:`core.measures.rows.DEFINITIONS`).

    Raises
    ------
    InputError
        If the class is unknown, no image has a mask or a box, or there is only one class.
    WorkspaceError
        If another process measures it right now.
    """
    found = stored_factors(audit, class_name=class_name)
    if found is not None:
        return found
    busy = f"audit {audit.name!r} is being measured by another process; wait for it"
    path = _path(audit, class_name)
    with locked(audit.files.factors_lock, busy):
        decides = factors(audit, class_name=class_name, report=report)
        table = as_table(factor_rows(audit, decides, class_name=class_name))
        with contextlib.suppress(WorkspaceError):  # a workspace that only shows
            write_frame(path, table)
    return table


def stored_factors(audit: Audit, *, class_name: str | None = None) -> pd.DataFrame | None:
    """The table if it has been measured; None if not."""
    path = _path(audit, class_name)
    return read_frame(path) if path.exists() else None


def _path(audit: Audit, class_name: str | None) -> Path:
    depends = {
        "version": VERSION,
        "audit": audit.manifest.fingerprint,
        "predictions": head_key(audit.folder),
        "class": None if class_name is None else audit.class_facts(class_name).label,
        "images": IMAGES,
    }
    return audit.files.measure("factors", fingerprint(depends))


def factor_rows(audit: Audit, found: Decides, *, class_name: str | None = None) -> Rows:
    """The answer as rows of the table of measures."""
    facts = EVERYWHERE if class_name is None else audit.class_facts(class_name)
    effects, split = found.effects, trial_split(audit)
    rows = [
        row(
            facts,
            "decided_by",
            value,
            interval=effects.intervals[(name,)],
            n=found.n,
            subject=name,
            split=split,
            note=_NOTE,
        )
        for name, value in effects.main.items()
    ]
    rows += [
        row(
            facts,
            "factor_interaction",
            value,
            interval=effects.intervals[names],
            n=found.n,
            subject=" x ".join(names),
            split=split,
            note=_NOTE,
        )
        for names, value in effects.interactions.items()
    ]
    rows.append(
        row(
            facts,
            "shape_bias",
            found.shape_bias,
            interval=found.shape_bias_interval,
            n=found.decided,
            split=split,
            reading="" if found.decided else "undefined",
            note="images that decided for shape or texture; the interval is rather too wide",
        )
    )
    rows.append(
        row(
            facts,
            "background_gap",
            found.background_gap,
            n=found.n,
            split=split,
            interval=found.background_gap_interval,
        )
    )
    rows += [
        row(
            facts,
            "composed_accuracy",
            value,
            interval=share(value * found.n, found.n),
            n=found.n,
            subject=kept(cell),
            split=split,
        )
        for cell, value in effects.cells.items()
    ]
    return rows


_NOTE = "each taken apart into eight; the interval is rather too wide, since the eight are alike"


def kept(cell: tuple[int, ...]) -> str:
    """A cell of the factorial in words: the factors that are the class's own."""
    names = [name for name, level in zip(FACTORS, cell, strict=True) if level]
    return " + ".join(names) or "nothing of its own"


def factors(audit: Audit, *, class_name: str | None = None, report: Reporter = silent) -> Decides:
    """Take held-out images apart by their object masks and ask the audit's model about the parts.

    Parameters
    ----------
    class_name : whose images are asked about; the changed parts come from all other classes.

    Raises
    ------
    InputError
        If the class is unknown, no image has a mask or a box, or there is only one class.
    """
    from core.trials.examples import read_examples

    if why := lacking(audit):
        raise InputError(why)
    label = None if class_name is None else audit.class_facts(class_name).label
    images = audit.images.loc[_sampled(audit, label)]
    labels = np.array([audit.head.index(name) for name in images["label"]], np.int64)
    examples = read_examples(
        images.to_dict("records"), audit.root, audit.preprocess, labels, report=report
    )
    examples.with_objects("the shape, texture and background test")
    report(Progress("Loading the model", 0, 0))
    model = audit.load_model()

    asked = iter(ASKED)

    def predict(pixels: Pixels) -> IntArray:
        stage = f"Asking about {next(asked)}"
        step = 4 * audit.manifest.compute.batch_size
        found = []
        for start in range(0, len(pixels), step):
            report(Progress(stage, start, len(pixels)))
            found.append(predictions_of(audit, model, list(pixels[start : start + step])))
        report(Progress(stage, len(pixels), len(pixels)))
        return np.concatenate(found)

    return decides_by(examples, predict, only=None if label is None else audit.head.index(label))


def _sampled(audit: Audit, label: str | None) -> list[str]:
    """Images to take apart: a random part of the held-out ones that the head has an output for."""
    known = audit.held_out & audit.images["label"].isin(audit.head.outputs).to_numpy(bool)
    labels = audit.images.loc[known, "label"]
    if label is None:
        return sample(labels.index.tolist(), IMAGES)
    mine = sample(labels.index[labels == label].tolist(), IMAGES // 2)
    return mine + sample(labels.index[labels != label].tolist(), IMAGES // 2)
