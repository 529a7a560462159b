"""What a model makes of named evaluation sets, beside its own held-out images and the cue.

A drop alone does not say what it comes from. So every set is also looked at by the tagged cues: how
much of them its images show, on the audit's own scale, and how far accuracy goes along with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.evaluation_set import EvaluationSet, evaluation_sets
from core.candidates.candidate import Candidate
from core.config import SHARD_SIZE
from core.errors import InputError
from core.measures.calibrated import calibration_rows
from core.measures.conditions import Condition
from core.measures.groups import MANY_VALUES
from core.measures.measure import PLAIN, POINTS, Measure, Rows
from core.measures.on_demand import OnDemand
from core.measures.rows import EVERYWHERE, corrected, note, row
from core.statistics.estimates import Bounds, Gap, StudentMean
from core.statistics.forecasts import Forecasts, forecasts, joined
from core.statistics.intervals import clopper_pearson, combined, mean_interval, share
from core.statistics.spuriosity import spuriosity
from core.tags.decisions import Decisions, spuriosity_of, values_of
from core.types import FloatArray, Progress, Reporter

if TYPE_CHECKING:
    from core.measures.measure_requests import MeasureRequest

FEWEST = 10
"""Images of a group, or of a class in a set, that a figure needs."""


def said_of(found: EvaluationSet) -> Forecasts:
    """What the model says of the images of a set that have a right output; at least one."""
    ids, truth = found.images.index[found.judged].tolist(), found.truth[found.judged]
    blocks = (slice(start, start + SHARD_SIZE) for start in range(0, len(ids), SHARD_SIZE))
    return joined([forecasts(found.logits(ids[part]), truth[part]) for part in blocks])


def _rows(audit: Audit, decisions: Decisions, request: MeasureRequest, report: Reporter) -> Rows:
    del request
    sets = evaluation_sets(audit)
    if not sets:
        raise InputError(
            f"audit {audit.name!r} has no evaluation set; add one with python -m core audit --name "
            f"{audit.name!r} --also NAME=DIR"
        )
    rows: Rows = []
    for done, found in enumerate(sets.values()):
        report(Progress(f"Looking at {found.name}", done, len(sets), "sets"))
        rows += [note(f"{found.name}: {text}") for text in found.facts.notes]
        if found.judged.any():
            rows += [*_accuracy(found), *_groups(found), *_against_cues(found, decisions)]
    return rows


def _accuracy(found: EvaluationSet) -> Iterator[dict[str, object]]:
    """Accuracy and calibration of a set, and what lies between it and the audit's own images."""
    whole = Condition("set", found.name, np.arange(int(found.judged.sum())), 1)
    yield from calibration_rows(whole, said_of(found), found.name)
    drop = accuracy_drop(found)
    if drop is None:
        yield note(f"{found.name}: the audit holds out no image of its classes: no drop is known")
        return
    before, (value, low, high), n = drop
    held = found.audit.summary.held_out
    yield row(
        EVERYWHERE, ORIGINAL, before[0], interval=before[1:], n=n, subject=found.name, split=held
    )
    reading = "not certain" if low <= 0 <= high else ("lower" if value > 0 else "higher")
    yield row(
        EVERYWHERE,
        DROP,
        value,
        interval=(low, high),
        n=n + len(whole.rows),
        subject=found.name,
        split=f"{held} against {found.name}",
        reading=reading,
    )


def accuracy_drop(found: EvaluationSet) -> tuple[Bounds, Bounds, int] | None:
    """Accuracy on the audit's own images of the set's classes, and that minus the set's.

    Two samples of images: square-and-add of Wilson's intervals, which is Newcombe's method 10
    (1998). The model chooses among the same outputs in both.

    Returns
    -------
    Share with its interval; points with theirs; images of the audit. None where it holds out none.
    """
    ids, right = found.original()
    mine = found.correct
    if not len(ids) or not len(mine):
        return None
    own, other = (
        (float(hits.mean()), *share(float(hits.sum()), len(hits))) for hits in (right, mine)
    )
    value, low, high = combined(own, other, signs=(1, -1))
    return own, (100 * value, 100 * low, 100 * high), len(ids)


def _groups(found: EvaluationSet) -> Iterator[dict[str, object]]:
    """Accuracy by every value of the attributes of a set, such as the factors of ImageNet-X."""
    images = found.images[found.judged]
    for name in found.facts.attributes:
        values = images[name].astype(str).where(images[name].notna()).reset_index(drop=True)
        sizes = values.value_counts()
        groups = sorted(sizes.index[sizes >= FEWEST])
        if not 1 < len(groups) <= MANY_VALUES:
            continue
        for value in groups:
            hits = found.correct[(values == value).to_numpy()]
            low, high = clopper_pearson(int(hits.sum()), len(hits), len(groups))
            yield row(
                EVERYWHERE,
                GROUP,
                float(hits.mean()),
                interval=(float(low), float(high)),
                n=len(hits),
                subject=f"{found.name}: {name} = {value}",
                split=found.name,
                note=corrected(len(groups), "groups"),
            )


def _against_cues(found: EvaluationSet, decisions: Decisions) -> Rows:
    """Every class with tagged cues: how much of them a set shows, and the gap along them."""
    rows, gaps = Rows(), list[tuple[Bounds, int]]()
    for label in decisions.spurious:
        scored = set_spuriosity(found, label, decisions.spurious[label])
        if isinstance(scored, str):
            rows.append(note(scored, facts=found.audit.class_facts(label)))
            continue
        right, scores = scored
        if len(scores) < FEWEST:
            continue
        rows.append(_shift(found, label, decisions.spurious[label], scores))
        bounds = Gap().of(np.column_stack([right, scores]), len(decisions.spurious))
        rows.append(_gap(found, label, bounds, len(scores), len(decisions.spurious)))
        gaps.append((Gap().of(np.column_stack([right, scores])), len(scores)))
    if gaps:
        every = np.array([bounds for bounds, _ in gaps])
        low, high = mean_interval(*every.T)
        mean = (float(every[:, 0].mean()), low, high)
        rows.append(_gap(found, "", mean, sum(n for _, n in gaps), 1))
    return rows


def set_spuriosity(
    found: EvaluationSet, label: str, candidates: Sequence[Candidate]
) -> tuple[FloatArray, FloatArray] | str:
    """Of a set's images of a class: whether the model is right (n,), and their spuriosity (n,).

    On the scale of the audit's own training images, which alone say what the mean and the spread
    of a cue are. Words where a candidate needs maps, of which a set has none.
    """
    audit = found.audit
    if needing := [c.title for c in candidates if c.needs != "features"]:
        return f"{', '.join(needing)} needs maps, and images of {found.name} have none"
    mine = found.truth == audit.head.index(label)
    ids = found.images.index[mine].tolist()
    right = found.predicted["correct"].to_numpy(np.float64)[mine]
    if not ids:
        return right, np.zeros(0)
    own = values_of(audit, label, candidates)
    fitting = np.asarray(audit.arrays_of(label).fitting, bool)
    values = np.concatenate([own, found.alphas(candidates, ids)])
    scores = spuriosity(values, np.append(fitting, np.zeros(len(ids), bool)))[len(own) :]
    known = np.isfinite(scores)
    return right[known], scores[known]


def _shift(
    found: EvaluationSet, label: str, candidates: Sequence[Candidate], scores: FloatArray
) -> dict[str, object]:
    """How much more of its cues a class shows in a set than in the audit's own held-out images."""
    table: pd.DataFrame = spuriosity_of(found.audit, label, candidates)
    own = table.loc[table["held_out"], "spuriosity"].dropna().to_numpy(np.float64)
    parts = [StudentMean((-np.inf, np.inf)).of(values) for values in (scores, own)]
    value, low, high = combined(*parts, signs=(1, -1)) if len(own) > 1 else (np.nan,) * 3
    return row(
        found.audit.class_facts(label),
        CUE_SHIFT,
        value,
        interval=(low, high),
        n=len(scores),
        subject=found.name,
        split=found.name,
        reading="" if low <= 0 <= high else ("more of the cue" if value > 0 else "less of the cue"),
    )


def _gap(found: EvaluationSet, label: str, bounds: Bounds, n: int, tests: int) -> dict[str, object]:
    value, low, high = bounds
    facts = found.audit.class_facts(label) if label else EVERYWHERE
    certain = "clarifying" if low > 0 else "confusing" if high < 0 else "not certain"
    words = corrected(tests, "classes") if label else "mean of the classes"
    return row(
        facts,
        SET_GAP,
        value,
        interval=(low, high),
        n=n,
        subject=found.name,
        split=found.name,
        reading=certain,
        note=words,
    )


def _depends(audit: Audit, decisions: Decisions, request: MeasureRequest) -> object:
    """Its sets: what they are, and which images they hold."""
    del decisions, request
    return {
        name: {
            "facts": found.facts.to_json(),
            "images": found.images[["digest", "label", *found.facts.attributes]]
            .astype(str)
            .pipe(pd.util.hash_pandas_object)
            .to_numpy()
            .tobytes()
            .hex(),
        }
        for name, found in evaluation_sets(audit).items()
    }


SETS = OnDemand("sets", "accuracy on named evaluation sets", _rows, depends=_depends)

_SHIFTS = "Taori et al. 2020, section 2"
ORIGINAL = Measure(
    "original_accuracy",
    "Accuracy on the audit's own images",
    "Accuracy on held-out images of the classes of a set, the model choosing among the same "
    "outputs.",
    better=1,
    source="Recht et al. 2019, section 2",
    views=(),
)
DROP = Measure(
    "accuracy_drop",
    "Drop of accuracy",
    "Accuracy on the audit's own held-out images of the same classes minus that on the set.",
    POINTS,
    "positive: the set is harder for the model",
    source="Recht et al. 2019, section 2",
    views=(),
)
GROUP = Measure(
    "set_group_accuracy",
    "Accuracy of a group of a set",
    "Accuracy on the images of a set with one value of an attribute.",
    better=1,
    source=_SHIFTS,
    views=(),
)
SET_GAP = Measure(
    "set_gap",
    "Spurious gap on a set",
    "Accuracy on the images of a set with most of the tagged cues minus that on those with least.",
    POINTS,
    "positive: clarifying, the cue helps; negative: confusing",
    source="Moayeri et al. 2023, section 3",
    views=(),
)
CUE_SHIFT = Measure(
    "cue_shift",
    "More or less of the cue",
    "Mean spuriosity of a class's images in a set minus that of the audit's held-out ones, in "
    "standard deviations of its training images.",
    PLAIN,
    "positive: the set shows more of the tagged cues",
    source="this project",
    views=(),
)
