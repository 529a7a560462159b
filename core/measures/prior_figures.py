"""What shape alone and texture alone are enough for, and which of them a tagged cue is in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pandas as pd

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.measures.measure import POINTS, Measure, Rows
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import OnDemand
from core.measures.rows import EVERYWHERE, corrected, row
from core.statistics.intervals import combined, share, side_size
from core.tags.decisions import Decisions, spuriosity_of
from core.trials.encoder import trial_split
from core.trials.priors import (
    COLUMNS,
    SHAPE,
    TEXTURE,
    VIEWS,
    WHOLE,
    conflicts,
    labels_looked_at,
    priors_of,
)
from core.trials.priors import PRIORS as NAMES
from core.types import BoolArray, Reporter

MODEL, HEAD = "model on {}", "head on {}"
WORDS = {WHOLE: "whole images", SHAPE: "shape alone", TEXTURE: "texture alone"}
APART = "texture minus shape"

_JAIN = "Jain et al. 2022 (Combining Diverse Feature Priors), section 3"
ACCURACY = Measure(
    "prior_accuracy",
    "Accuracy by prior",
    "Accuracy among the classes that are looked at where only edges, or only shuffled patches, of "
    "an image are there: of the model itself, and of a head fitted on its features of such images.",
    direction="higher: the prior alone is enough for the class",
    source=_JAIN,
    views=(),
    part="priors",
)
AGREEMENT = Measure(
    "prior_agreement",
    "Agreement of priors",
    "Share of held-out images that two of the three, the model, the head on shape and the head on "
    "texture, give the same class.",
    direction="far above chance: the two see the same; where they differ is worth a look",
    source=_JAIN,
    views=(),
    part="priors",
)
GAP = Measure(
    "prior_gap",
    "Gap of the cue by prior",
    "Accuracy of a prior's head on the images of a class that show most of its tagged cue minus on "
    "those that show least, and the same of texture minus that of shape.",
    unit=POINTS,
    direction="positive: the cue can be told from this prior; of the difference: from texture "
    "rather than from shape",
    source=_JAIN,
    views=(),
    part="priors",
)


def _rows(audit: Audit, decisions: Decisions, request: MeasureRequest, report: Reporter) -> Rows:
    del request
    found = priors_of(labels_looked_at(audit, decisions))(audit, report)
    return prior_rows(audit, decisions, found)


def conflicting(audit: Audit, decisions: Decisions) -> pd.DataFrame:
    """Images that shape and texture tell different classes of; none where nothing is stored."""
    found = priors_of(labels_looked_at(audit, decisions)).known(audit)
    return pd.DataFrame(columns=[*COLUMNS]) if found is None else conflicts(found)


def prior_rows(audit: Audit, decisions: Decisions, found: pd.DataFrame) -> Rows:
    """Rows of the table of measures.

    Parameters
    ----------
    found : of :func:`core.trials.priors.priors_of`.
    """
    labels = found["label"].unique().tolist()
    split = trial_split(audit)
    rows = _accuracies(EVERYWHERE, found, split)
    for label in labels:
        mine = found[found["label"] == label]
        rows += _accuracies(audit.class_facts(label), mine, split, tests=len(labels))
    rows += _agreements(found, split)
    tagged = [label for label in labels if label in decisions.spurious]
    for label in tagged:
        rows += _gaps(audit, label, decisions, found, tests=len(tagged))
    return rows


def _right(found: pd.DataFrame, column: str) -> BoolArray:
    right: BoolArray = (found[column] == found["label"]).to_numpy(bool)
    return right


def _columns() -> Iterator[tuple[str, str]]:
    """Every column of predictions, and whose they are."""
    for name in VIEWS:
        yield name, MODEL.format(WORDS[name])
    for name in VIEWS:
        yield f"{name}_head", HEAD.format(WORDS[name])


def _accuracies(facts: AuditedClass, found: pd.DataFrame, split: str, tests: int = 1) -> Rows:
    n, rows = len(found), Rows()
    for column, subject in _columns():
        hits = int(_right(found, column).sum())
        interval, said = share(hits, n, tests), corrected(tests, "classes")
        numbers: dict[str, Any] = {"interval": interval, "n": n, "subject": subject}
        rows.append(row(facts, ACCURACY, hits / n, split=split, note=said, **numbers))
    return rows


PAIRS = tuple(combinations((WHOLE, *(f"{name}_head" for name in NAMES)), 2))
"""What is held against each other: the model, and the heads of the two priors."""


def _agreements(found: pd.DataFrame, split: str) -> Rows:
    n, rows = len(found), Rows()
    said = dict(_columns())
    for first, second in PAIRS:
        same = int((found[first] == found[second]).sum())
        both = int((~_right(found, first) & ~_right(found, second)).sum())
        note = f"by chance {100 * _chance(found[first], found[second]):.0f} %; {both} wrong in both"
        rows.append(
            row(
                EVERYWHERE,
                AGREEMENT,
                same / n,
                interval=share(same, n),
                n=n,
                subject=f"{said[first]} x {said[second]}",
                split=split,
                note=note,
            )
        )
    return rows


def _chance(first: pd.Series, second: pd.Series) -> float:
    """Share that would agree if the two had nothing to do with each other."""
    shares = [each.value_counts(normalize=True) for each in (first, second)]
    return float(shares[0].mul(shares[1], fill_value=0).sum())


def _gaps(
    audit: Audit, label: str, decisions: Decisions, found: pd.DataFrame, *, tests: int
) -> Rows:
    """Gaps of a class between most and least of its cue, by prior."""
    mine = found[found["label"] == label].set_index("image_id")
    ranked = spuriosity_of(audit, label, decisions.spurious[label]).dropna(subset="spuriosity")
    mine = mine.loc[[image_id for image_id in ranked["image_id"] if image_id in mine.index]]
    k = side_size(len(mine))
    if not k:
        return []
    sides = (mine.iloc[:k], mine.iloc[-k:])
    facts, rows = audit.class_facts(label), Rows()
    parts = {name: [_bounds(side, name, tests) for side in sides] for name in NAMES}
    parts[WHOLE] = [_bounds(side, WHOLE, tests) for side in sides]
    wanted = {
        MODEL.format(WORDS[WHOLE]): (parts[WHOLE], (1, -1)),
        **{HEAD.format(WORDS[name]): (parts[name], (1, -1)) for name in NAMES},
        APART: ([*parts[TEXTURE], *parts[SHAPE]], (1, -1, -1, 1)),
    }
    for subject, (bounds, signs) in wanted.items():
        value, low, high = (100 * end for end in combined(*bounds, signs=signs))
        reading = _reading(low, high) if subject == APART else ""
        note = f"{k} images a side" + (f"; {said}" if (said := corrected(tests, "classes")) else "")
        rows.append(
            row(facts, GAP, value, interval=(low, high), n=2 * k, subject=subject,
                split=trial_split(audit), reading=reading, note=note)
        )  # fmt: skip
    return rows


def _bounds(side: pd.DataFrame, name: str, tests: int) -> tuple[float, float, float]:
    hits = int(_right(side, name if name == WHOLE else f"{name}_head").sum())
    return (hits / len(side), *share(hits, len(side), tests))


def _reading(low: float, high: float) -> str:
    """Which prior the cue is in, where the difference of the gaps is certain."""
    if low > 0:
        return "the cue is in the texture rather than in the shape"
    return "the cue is in the shape rather than in the texture" if high < 0 else "not certain"


PRIORS = OnDemand("priors", "shape and texture alone", _rows, images=conflicting)
