"""How easily the tagged cue of a class is learnt beside the class itself, on stored features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.config import CONFIDENCE
from core.errors import InputError
from core.measures.measure import PLAIN, POINTS, SHARE, Measure, Rows
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import OnDemand
from core.measures.rows import corrected, row
from core.quality.adversarial_split import CONTROLS, controls, cues_shown, tried
from core.statistics.estimates import NOTHING, Bounds, StudentMean
from core.statistics.intervals import combined, share, side_size
from core.statistics.learnability import REPEATS, SIZES, agreement_scores
from core.tags.decisions import Decisions
from core.trials.paste import sample
from core.types import BoolArray, FloatArray, Progress, Reporter

CUE, LABEL = "shows the cue", "is of the class"
RANDOM, DRAWN = "random directions", "drawn labels"

SIDE = 100
"""Images of either label of a labelling at most."""

VALUES = 8
"""Values of an attribute that are asked about; one of more is no few labels."""

_ATANOV = "Atanov et al. 2022 (Task Discovery), section 3; on disjoint images"
SCORE = Measure(
    "agreement_score",
    "Agreement score",
    "How far two heads agree on a labelling, beyond chance, on images that neither saw, fitted on "
    "a few other images each: Cohen's kappa, mean over draws of these images.",
    unit=PLAIN,
    direction="in [-1, 1]; higher: learnt from fewer images; a cue above its class is the easier "
    "thing to learn",
    source=_ATANOV,
    views=(),
    part="agreement",
)
RECOGNISED = Measure(
    "adversarial_recall",
    "Recognised in another split",
    "Share of a class's images that a head on stored features recognises, trained on the half of "
    "the class that shows most of the cue, on a random half, or on the upper half along random "
    "directions that the logit follows as closely.",
    unit=SHARE,
    direction="lower in the split by the cue than by random directions: the head leans on the cue",
    source="Atanov et al. 2022 (Task Discovery), section 5",
    views=(),
    part="agreement",
)
DROP = Measure(
    "adversarial_drop",
    "Lost in the split by the cue",
    "What a head recognises of a class, trained where the cue is and tested where it is not, minus "
    "the same of splits by random directions that the logit follows as closely.",
    unit=POINTS,
    direction="negative: trained with the cue, the class is lost without it",
    source="Atanov et al. 2022 (Task Discovery), section 5",
    views=(),
    part="agreement",
)
HALVES = ("trained with the cue, tested without", "a random half", "by random directions")


class Labelling(NamedTuple):
    """Some images, each with one of two labels."""

    name: str
    image_ids: list[str]
    shows: BoolArray


def _rows(audit: Audit, decisions: Decisions, request: MeasureRequest, report: Reporter) -> Rows:
    del request
    if len(audit.classes) < 2:
        raise InputError(
            f"audit {audit.name!r} has one class; how easily a cue is learnt is held against how "
            "easily its class is told from others: audit two or more"
        )
    ranked, rows = cues_shown(audit, decisions), Rows()
    for place, label in enumerate(ranked):
        report(Progress("Learning labellings", place, len(ranked), "classes"))
        rows += _scores(audit, label, ranked[label], tests=len(ranked) * len(SIZES))
        rows += _splits(audit, decisions, label, tests=len(ranked))
    return rows


def labellings(audit: Audit, label: str, ranked: pd.Series) -> Iterator[Labelling]:
    """What is learnt: the cue in its class, the class, attributes; drawn labels last.

    All balanced: at most SIDE images of either label.

    Parameters
    ----------
    ranked : spuriosity of the class's images, by image id.
    """
    k = min(side_size(len(ranked)), SIDE)
    order = ranked.sort_values(ascending=False, kind="stable").index
    shows = np.repeat([True, False], k)
    inside = [*order[:k], *order[len(order) - k :]]
    yield Labelling(f"{CUE}, within the class", inside, shows)
    labels = audit.images["label"]
    others = sample(labels.index[labels != label].tolist(), k, seed=5)
    mine = sample(list(ranked.index), len(others), seed=5)
    known = np.repeat([True, False], [len(mine), len(others)])
    yield Labelling(LABEL, [*mine, *others], known)
    for name in audit.summary.attributes:
        yield from _of_attribute(audit, str(name))
    yield Labelling(DRAWN, inside, shows)


def _of_attribute(audit: Audit, name: str) -> Iterator[Labelling]:
    """Every value of an attribute of few, over all images."""
    values = audit.images[name].dropna().map(str)
    known = values.value_counts()
    if not 2 <= len(known) <= VALUES:
        return
    for value in list(known.index)[-1 if len(known) == 2 else 0 :]:
        there = values.index[values == value].tolist()
        rest = values.index[values != value].tolist()
        some = sample(there, SIDE, seed=5), sample(rest, SIDE, seed=5)
        shows = np.repeat([True, False], [len(side) for side in some])
        yield Labelling(f"{name}={value}", [*some[0], *some[1]], shows)


def _scores(audit: Audit, label: str, ranked: pd.Series, *, tests: int) -> Rows:
    """Scores of every labelling about a class, by the number of images learnt from."""
    found: dict[str, FloatArray] = {}
    for each in labellings(audit, label, ranked):
        features = audit.features(each.image_ids)
        scored = _of_drawn if each.name == DRAWN else agreement_scores
        found[each.name] = scored(features, each.shows)
    found[RANDOM] = _of_directions(audit, label, ranked)
    rows = Rows()
    for place, size in enumerate(SIZES):
        at = {name: _mean(scores[place], tests) for name, scores in found.items()}
        most = _one_more(found[RANDOM][place], tests)[2]
        for name, bounds in at.items():
            if np.isnan(bounds[0]):
                continue
            rows.append(
                row(
                    audit.class_facts(label),
                    SCORE,
                    bounds[0],
                    interval=bounds[1:],
                    n=size,
                    subject=f"{name}, {size} images",
                    split="all images",
                    reading=_reading(name, bounds, at[LABEL], most),
                    note="interval over draws of the images learnt from, "
                    + corrected(tests, "classes and sizes").removeprefix("interval "),
                )
            )
    return rows


def _of_drawn(features: FloatArray, shows: BoolArray) -> FloatArray:
    """Scores (S, R) of labels in another order, one for each: one alone may follow a feature.

    Above 0 where there are few images: what labels have in common with a feature by chance in all
    of them, both heads see.
    """
    found = [
        agreement_scores(features, np.random.default_rng(i).permutation(shows), repeats=1, seed=i)
        for i in range(REPEATS)
    ]
    return np.concatenate(found, axis=1)


def _of_directions(audit: Audit, label: str, ranked: pd.Series) -> FloatArray:
    """Scores (S, R) of the class's images parted along random directions, a draw each."""
    k = min(side_size(len(ranked)), SIDE)
    values = controls(audit, label, ranked)
    if not values.shape[1]:
        return np.full((len(SIZES), 1), np.nan)
    found = []
    for column in values.T:
        order = np.argsort(-column, kind="stable")
        ids = ranked.index[[*order[:k], *order[len(order) - k :]]].tolist()
        shows = np.repeat([True, False], k)
        found.append(agreement_scores(audit.features(ids), shows, repeats=4).mean(axis=1))
    return np.stack(found, axis=1)


def _mean(scores: FloatArray, tests: int) -> Bounds:
    """Mean over draws, with Student's interval; NaN where there was none.

    Draws that all say the same are no images that all agree: nothing is left open about draws.
    """
    there = scores[~np.isnan(scores)]
    if len(there) < 2:
        return NOTHING
    value, low, high = StudentMean().of(there, tests)
    return value, max(low, -1.0), min(high, 1.0)


def _one_more(values: FloatArray, tests: int) -> Bounds:
    """Mean of random directions, and what one more of them stays within (Student's t)."""
    from scipy.stats import t

    there = values[~np.isnan(values)]
    if len(there) < 2:
        return NOTHING
    reach = t.ppf(1 - (1 - CONFIDENCE) / (2 * tests), len(there) - 1)
    away = float(reach * there.std(ddof=1) * np.sqrt(1 + 1 / len(there)))
    return float(there.mean()), float(there.mean()) - away, float(there.mean()) + away


def _reading(name: str, found: Bounds, label: Bounds, most: float) -> str:
    """Whether a labelling is learnt from fewer images than the class.

    Parameters
    ----------
    most : what a random direction stays below: ends of the cue's own ranking are told along a
        direction, as any are; values of an attribute are not.
    """
    if name in (LABEL, DRAWN, RANDOM):
        return ""
    if name.startswith(CUE) and most >= found[1]:
        return "no easier than random directions"
    if found[1] > label[2]:
        return "easier to learn than the class"
    return "harder to learn than the class" if found[2] < label[1] else "as easy as the class"


def _splits(audit: Audit, decisions: Decisions, label: str, *, tests: int) -> Rows:
    """What heads recognise of a class that were trained on one half of it."""
    found, facts = tried(audit, decisions, label), audit.class_facts(label)
    n, control = len(found.split), _one_more(found.control, tests)
    by_cue, drawn = (
        (float(hits.mean()), *share(float(hits.sum()), len(hits), tests))
        for hits in (found.split, found.drawn)
    )
    said = corrected(tests, "classes")
    rows = [
        row(facts, RECOGNISED, bounds[0], interval=bounds[1:], n=n, subject=name,
            split="the other half", note=said)
        for name, bounds in zip(HALVES, (by_cue, drawn, control), strict=True)
        if bounds[0] == bounds[0]
    ]  # fmt: skip
    if control[0] != control[0]:
        return rows
    value, low, high = (100 * end for end in combined(by_cue, control, signs=(1, -1)))
    reading = "lost without the cue" if high < 0 else "not more than by random directions"
    note = f"{CONTROLS} random directions; {said}" if said else f"{CONTROLS} random directions"
    drop = row(facts, DROP, value, interval=(low, high), n=n, split="the other half",
               reading=reading, note=note)  # fmt: skip
    return [*rows, drop]


AGREEMENT = OnDemand("agreement", "how easily cues are learnt", _rows)
