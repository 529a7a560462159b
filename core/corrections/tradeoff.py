"""Every strength of a method as a trade-off: what the cue still does against what it costs.

Two measurements stand beside each other: on a held-out part of the training images, where the
strength is chosen, and on the images that are reported on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.feature_rows import feature_rows
from core.audits.subject import fitting_rows
from core.corrections.acted_on import Findings
from core.corrections.choice import Sweep
from core.measures.scope import Scope
from core.models.linear import Head
from core.storage.files import read_array, there
from core.trials.pasted_composites import Composites
from core.types import BoolArray, IntArray, Progress, Reporter, blocks

WORST = "chosen_worst"
SWEPT = ["strength", "chosen", "chosen_flips", "chosen_accuracy", WORST, "pareto"]
COLUMNS = [
    *SWEPT,
    *("accuracy", "accuracy_with_cue", "accuracy_without_cue", "gap", "flip_rate", "agreement"),
    "n",
]
"""``chosen_flips`` and ``chosen_accuracy`` (cue-free, balanced) on held-out training images,
``chosen_worst`` there and on composites (:mod:`core.corrections.worst_group`);
``pareto``: no other row beats it in both. The rest on the reported images: ``accuracy`` over all,
the others over the classes acted on, shares and (``gap``) points; ``flip_rate`` is NaN until the
composites have been encoded; ``n`` images reported on."""


def chosen_on(tried: Sweep, strength: float) -> pd.DataFrame:
    """The sweep on training images as a table; ``strength`` is the one taken.

    Columns COLUMNS; those of the reported images are NaN until :func:`reported` has filled them.
    """
    unknown = np.full(len(tried.strengths), np.nan)
    table = pd.DataFrame(
        {
            "strength": tried.strengths,
            "chosen_flips": tried.flips,
            "chosen_accuracy": tried.accuracy,
            WORST: unknown if tried.worst is None else tried.worst,
            "pareto": tried.pareto,
        }
    )
    if not np.isclose(table["strength"], strength).any():  # given by hand, between two steps
        table.loc[len(table)] = [strength, np.nan, np.nan, np.nan, False]
        table = table.sort_values("strength", ignore_index=True)
    table["chosen"] = np.isclose(table["strength"], strength)
    table["pareto"] = table["pareto"].astype(bool)
    return table.reindex(columns=COLUMNS)


def reported(
    parent: Audit,
    findings: Findings,
    table: pd.DataFrame,
    fit: Callable[[float], Head],
    *,
    kept: IntArray | None,
    attribute: str | None,
    composites: Mapping[int, Composites],
    report: Reporter,
) -> pd.DataFrame:
    """Add what every strength does to the images that are reported on (COLUMNS).

    Parameters
    ----------
    table : the sweep (SWEPT); what was reported before is done again.
    fit : the corrected head at a strength.
    composites : by output of the class that is acted on, as far as they have been encoded.
    kept : rows of ``parent.images`` that were learnt from where there is no further split.
    """
    rows = fitting_rows(parent.images)
    if kept is not None:
        rows = np.zeros(len(parent.images), bool)
        rows[kept] = True
    images = parent.images[~rows]
    truth = np.array([parent.head.index(label) for label in images["label"]], np.int64)
    scope = Scope(parent, findings.decisions, images=images.index, attribute=attribute)
    shown = [scope.shows(label)[0] for label in findings.chosen]
    sides = [
        [images.index.get_indexer(shows.index[(shows == there).fillna(False)]) for shows in shown]
        for there in (True, False)
    ]
    heads = [fit(float(strength)) for strength in table["strength"]]
    before, *predictions = _predicted(parent, [parent.head, *heads], images.index, ~rows, report)
    found = []
    for number, strength in enumerate(table["strength"]):
        head, predicted = heads[number], predictions[number]
        right = predicted == truth
        row = {"accuracy": right.mean(), "agreement": (predicted == before).mean()}
        row |= {
            f"accuracy_{name}_cue": _mean([right[rows] for rows in side])
            for name, side in zip(("with", "without"), sides, strict=True)
        }
        row["gap"] = 100 * (row["accuracy_with_cue"] - row["accuracy_without_cue"])
        turned = [seen.turned(head, class_idx) for class_idx, seen in composites.items()]
        found.append({**row, "flip_rate": _mean(turned), "n": len(images)})
        told = {"strength": float(strength), "accuracy": row["accuracy"], "gap": row["gap"]}
        report(Progress("Trying strengths", number + 1, len(table), "strengths", told))
    return pd.concat([table[SWEPT], pd.DataFrame(found)], axis=1)[COLUMNS]


def _predicted(
    parent: Audit,
    heads: Sequence[Head],
    image_ids: Sequence[str],
    rows: BoolArray,
    report: Reporter,
) -> IntArray:
    """(H, n) outputs that heads give images; features are read a block at a time.

    Where the parent's probe was fitted on every image, out of fold: every head's logits gain what
    the probe said of an image that it did not see, less what it says now.

    Parameters
    ----------
    rows : (N,) which of the parent's images they are.
    """
    path, features = parent.files.head.out_of_fold, feature_rows(parent, image_ids)
    known = there(path) and bool(fitting_rows(parent.images).all())
    stored, places = read_array(path, mapped=True) if known else None, np.flatnonzero(rows)
    found = np.zeros((len(heads), len(image_ids)), np.int64)
    for block in blocks(len(image_ids)):
        report(Progress("Predicting", int(block[0]), len(image_ids)))
        x = features[block]
        said = 0.0 if stored is None else stored[places[block]] - parent.head.logits(x)
        for number, head in enumerate(heads):
            found[number, block] = (head.logits(x) + said).argmax(axis=1)
    return found


def _mean(parts: list[BoolArray]) -> float:
    shares = [part.mean() for part in parts if len(part)]
    return float(np.mean(shares)) if shares else float("nan")
