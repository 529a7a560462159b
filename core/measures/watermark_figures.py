"""Figures of the ImageNet-W watermark (:mod:`core.trials.watermark`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.measures.measure import ONE, Measure, Rows
from core.measures.rows import EVERYWHERE, corrected, note, row
from core.statistics.paired import newly_given
from core.trials.encoder import trial_split
from core.trials.watermark import MISSING
from core.types import BoolArray, IntArray

if TYPE_CHECKING:
    from core.measures.scope import Scope

CARTON = "n02971356"
"""WordNet id of ImageNet's class carton."""


def watermark_rows(audit: Audit, labels: Sequence[str], trial: pd.DataFrame | None) -> Rows:
    """How often the watermark turns held-out images into a class, and what it does to accuracy.

    Parameters
    ----------
    labels : classes to report; carton, where it is an output, and the class that the watermark
        attracts most are reported as well.
    trial : of :func:`core.trials.watermark.watermark_trial`; None without the package.
    """
    if trial is None:
        return [note(MISSING)]
    if trial.empty:
        return [note("no held-out image to draw the ImageNet-W watermark on")]
    truth, before, after = (trial[name].to_numpy() for name in ("truth", "before", "after"))
    sides = (("without the watermark", before), ("with the watermark", after))
    rows = [
        _row(ACCURACY, EVERYWHERE, audit, predicted == truth, subject=name)
        for name, predicted in sides
    ]
    outputs = len(audit.head.outputs)
    for class_idx in _reported(audit, labels, truth, before, after):
        others = truth != class_idx
        if others.any():
            turned = newly_given(before, after, class_idx)[others]
            said = corrected(outputs, "classes")
            facts = _facts(audit, class_idx)
            rows.append(_row(FLIP_RATE, facts, audit, turned, tests=outputs, note=said))
    return rows


def _rows(scope: Scope) -> Rows:
    labels = [*scope.decisions.spurious]
    return watermark_rows(scope.audit, labels, scope.outcomes.watermark()) if labels else []


def _row(
    measure: Measure,
    facts: AuditedClass,
    audit: Audit,
    hits: BoolArray,
    *,
    tests: int = 1,
    **more: str,
) -> dict[str, Any]:
    value, *interval = measure.estimate.of(hits.astype(np.float64), tests)
    low, high = interval
    split = trial_split(audit)
    return row(facts, measure, value, interval=(low, high), n=len(hits), split=split, **more)


def _reported(
    audit: Audit, labels: Sequence[str], truth: IntArray, before: IntArray, after: IntArray
) -> list[int]:
    """Outputs to report, each once."""
    turned = after[(after != before) & (after != truth)]
    found = [audit.head.index(label) for label in (*labels, CARTON, "carton")]
    if len(turned):
        found.append(int(np.bincount(turned).argmax()))
    return [index for index in dict.fromkeys(found) if index >= 0]


def _facts(audit: Audit, class_idx: int) -> AuditedClass:
    """A class of the head, which need not be one of the audit's."""
    return AuditedClass(class_idx, audit.head.outputs[class_idx], audit.head.names[class_idx], 0)


_LI = "Li et al. 2023 (A Whac-A-Mole Dilemma), section 3"
FLIP_RATE = Measure(
    "watermark_flip_rate",
    "Flip rate of the watermark",
    "Share of other classes' images that become the class when the ImageNet-W watermark is "
    "drawn on them; those that had it before count as not turned.",
    direction="higher: the class takes this shortcut",
    better=-1,
    source=_LI,
    views=(ONE,),
    part="flip",
    needs=("watermark",),
    everywhere=_rows,
)
ACCURACY = Measure(
    "watermark_accuracy",
    "Accuracy and the watermark",
    "Accuracy on held-out images without and with the ImageNet-W watermark.",
    direction="lower with it: the watermark misleads",
    source=_LI,
    views=(ONE,),
    part="flip",
)
