"""What the audited model decides by: shape, texture or background of its held-out images.

::

    measures/factors-4f0c….parquet     the rows of one class, or of all

The name ends with the key of what they depend on: images and predictions of the audit, the class.
Tags play no part in it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.data.table import BOX
from core.errors import InputError, WorkspaceError
from core.measures.measure import Measure, Rows
from core.measures.rows import EVERYWHERE, as_table, row
from core.statistics.intervals import share
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
    images, ``shape_bias`` and ``background_gap`` (:data:`MEASURES`).

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
        "predictions": audit.head_key,
        "class": None if class_name is None else audit.class_facts(class_name).label,
        "images": IMAGES,
    }
    return audit.files.measure("factors", fingerprint(depends))


def factor_rows(audit: Audit, found: Decides, *, class_name: str | None = None) -> Rows:
    """The answer as rows of the table of measures."""
    facts = EVERYWHERE if class_name is None else audit.class_facts(class_name)
    effects, split = found.effects, trial_split(audit)

    def effect(measure: Measure, value: float, names: tuple[str, ...]) -> dict[str, Any]:
        subject, interval = " x ".join(names), effects.intervals[names]
        return row(facts, measure, value, interval=interval, n=found.n, subject=subject,
                   split=split, note=_NOTE)  # fmt: skip

    return [
        *(effect(DECIDED_BY, value, (name,)) for name, value in effects.main.items()),
        *(effect(INTERACTION, value, names) for names, value in effects.interactions.items()),
        row(
            facts,
            SHAPE_BIAS,
            found.shape_bias,
            interval=found.shape_bias_interval,
            n=found.decided,
            split=split,
            reading="" if found.decided else "undefined",
            note="images that decided for shape or texture; the interval is rather too wide",
        ),
        row(
            facts,
            BACKGROUND_GAP,
            found.background_gap,
            interval=found.background_gap_interval,
            n=found.n,
            split=split,
        ),
        *(
            row(
                facts,
                COMPOSED,
                value,
                interval=share(value * found.n, found.n),
                n=found.n,
                subject=kept(cell),
                split=split,
            )
            for cell, value in effects.cells.items()
        ),
    ]


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
    images = audit.images_of(_sampled(audit, label))
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


_FACTORIAL = "this project, on images composed as by Sauer & Geiger 2021"
DECIDED_BY = Measure(
    "decided_by",
    "Decided by",
    "Share of composed images still called their class where the factor is the class's own, "
    "minus where it is another class's: the main effect in the 2x2x2 factorial of shape, "
    "texture and background.",
    direction="in [-1, 1]; positive: the model decides by it; 0: it does not matter",
    source=_FACTORIAL,
    views=(),
)
INTERACTION = Measure(
    "factor_interaction",
    "Interaction of factors",
    "Half the difference of one factor's effect between the levels of another; for three "
    "factors once more.",
    direction="in [-1, 1]; positive: they count together more than apart",
    source=_FACTORIAL,
    views=(),
)
COMPOSED = Measure(
    "composed_accuracy",
    "Accuracy of composed images",
    "Share of images still called their class where only the named factors are the class's own.",
    direction="higher: these factors are enough",
    source=_FACTORIAL,
    views=(),
)
SHAPE_BIAS = Measure(
    "shape_bias",
    "Shape bias",
    "Decisions for the shape's class among those for the shape's or the texture's class, on "
    "images where the two differ.",
    direction="in [0, 1]; 1: by shape alone, 0: by texture alone",
    source="Geirhos et al. 2019 (shape and texture)",
    views=(),
)
BACKGROUND_GAP = Measure(
    "background_gap",
    "Background gap",
    "Accuracy of objects on backgrounds of their own class minus that on random ones.",
    direction="in [-1, 1]; positive: leans on the background; near 0 is better",
    source="Xiao et al. 2021 (Noise or Signal)",
    views=(),
)
