"""Accuracy, calibration and the gap along corruptions of growing severity.

What a model loses as pictures get worse says little by itself. Set against the cue it says whether
the cue carries the model through: then the gap between images with most and with least of it grows.
Which images those are is decided on the pictures as they were. So is the temperature, fitted on
images as they are: what it leaves of overconfidence grows with severity (Ovadia et al. 2019).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.folds import unseen_logits
from core.data.corruptions import CORRUPTIONS, SEVERITIES
from core.errors import InputError
from core.measures.accuracy import ACCURACY, CALIBRATION
from core.measures.calibrated import (
    AT,
    BRIER,
    CONFIDENCE,
    NLL,
    OVERCONFIDENCE,
    calibration_rows,
    temperature_row,
)
from core.measures.conditions import ALL, SPLIT, Condition, conditions
from core.measures.measure import POINTS, Measure, Rows
from core.measures.on_demand import OnDemand
from core.measures.rows import EVERYWHERE, corrected, row
from core.measures.unseen import cooled
from core.measures.unseen import said as said_of_held_out
from core.statistics.calibration import calibration_interval
from core.statistics.estimates import Bounds, Gap, StudentMean
from core.statistics.forecasts import Forecasts, forecasts
from core.statistics.intervals import combined, mean_interval, side_size
from core.tags.decisions import Decisions, spuriosity_of
from core.trials.corrupted import COOLED, VERSION, corrupted, drawn
from core.trials.encoder import trial_split
from core.types import FloatArray, IntArray, Progress, Reporter

if TYPE_CHECKING:
    from core.measures.measure_requests import MeasureRequest

CLEAN, EVERY = "no corruption", "every kind"


def subject(kind: str, severity: int) -> str:
    """How rows call a kind of corruption at a severity."""
    return f"{kind} {severity}" if severity else CLEAN


@dataclass(frozen=True, eq=False)
class Seen:
    """What the model says of images, as they were and under every corruption."""

    audit: Audit
    ids: list[str]
    """All images, those that stand for every held-out one first."""
    drawn: int
    """How many these are."""
    clean: Forecasts
    at: Mapping[str, Mapping[int, Forecasts]]
    """By kind and severity, (n,) each as ``ids``."""
    ends: str = ""
    """What names of groups of these end with."""

    def mean(self, severity: int) -> Forecasts:
        """Means over the kinds (n,), the share of them that an image is right in among these."""
        parts = [self.at[kind][severity] for kind in self.at] if severity else [self.clean]
        return Forecasts(*(np.mean(part, axis=0) for part in zip(*parts, strict=True)))


def seen(
    audit: Audit, decisions: Decisions, heat: Mapping[str, float], report: Reporter
) -> list[Seen]:
    """The images that are drawn, as the model sees them; computed where it is missing.

    And, once more, those with a temperature, at it; only where some have one.

    Raises
    ------
    InputError
        If no image can be read.
    """
    part, further = drawn(audit, decisions)
    tables = corrupted(audit, [*part, *further], heat, report)
    readable = set.intersection(*(set(table["image_id"]) for table in tables.values()))
    ids = [image_id for image_id in (*part, *further) if image_id in readable]
    if not ids:
        raise InputError(
            f"none of the {len(part):,} held-out images of audit {audit.name!r} can be read any "
            f"more: put them back to {audit.root}"
        )
    plain = _seen(audit, ids, set(part), tables, None)
    cool = [image_id for image_id in ids if image_id in heat]
    return [plain, _seen(audit, cool, set(part), tables, heat)] if cool else [plain]


def _seen(
    audit: Audit,
    ids: list[str],
    part: set[str],
    tables: Mapping[str, pd.DataFrame],
    heat: Mapping[str, float] | None,
) -> Seen:
    """Some images as they are, or at their temperatures."""
    labels = audit.images_of(ids)["label"]
    truth = np.array([audit.head.index(label) for label in labels], np.int64)
    at = np.ones(len(ids)) if heat is None else np.array([heat[image_id] for image_id in ids])
    called = {} if heat is None else COOLED
    return Seen(
        audit,
        ids,
        len(part.intersection(ids)),
        forecasts(unseen_logits(audit, ids), truth, at),
        {name: _by_severity(table, ids, called) for name, table in tables.items()},
        "" if heat is None else AT,
    )


def _by_severity(
    table: pd.DataFrame, ids: list[str], called: Mapping[str, str]
) -> dict[int, Forecasts]:
    found = {}
    for severity, rows in table.groupby("severity"):
        rows = rows.drop_duplicates("image_id").set_index("image_id").loc[ids]
        columns = (rows[called.get(name, name)].to_numpy() for name in Forecasts._fields)
        found[int(severity)] = Forecasts(*columns)
    return found


def _rows(audit: Audit, decisions: Decisions, request: MeasureRequest, report: Reporter) -> Rows:
    del request
    drawn(audit, decisions)  # says why there is nothing to corrupt
    asked = said_of_held_out(audit)
    found = cooled(audit, asked)
    at = found.of_images if found else np.full(len(asked.ids), np.nan)
    heat = {i: float(t) for i, t in zip(asked.ids, at, strict=True) if np.isfinite(t)}
    plain, *cool = seen(audit, decisions, heat, report)
    report(Progress("Measuring along the corruptions", 0, 0))
    rows = [*_calibrated(plain), *_means(plain, decisions), *_gaps(plain, decisions)]
    for each in cool:
        rows += [row for row in _calibrated(each) if row["measure"] != ACCURACY.name]
        rows += _of_severities(each)
    return rows if found is None else [*rows, temperature_row(found)]


def _calibrated(found: Seen) -> Iterator[dict[str, object]]:
    """Accuracy and calibration of the images that stand for all, kind by kind."""
    rows, split = np.arange(found.drawn), trial_split(found.audit)
    each = [(CLEAN, found.clean)]
    each += [(subject(k, s), said) for k, at in found.at.items() for s, said in at.items()]
    for name, said in each:
        condition = Condition(ALL, f"{name}{found.ends}", rows, 1)
        yield from calibration_rows(condition, said.of(rows), split)


def _means(found: Seen, decisions: Decisions) -> Iterator[dict[str, object]]:
    """The mean over all kinds, of all images and of every group of them."""
    part = found.ids[: found.drawn]
    yield from _of_severities(found, with_accuracy=True)
    for group in conditions(found.audit, decisions, part):
        if group.kind in (ALL, SPLIT):
            continue
        for severity in (0, *SEVERITIES):
            right = found.mean(severity).right[group.rows].astype(np.float64)
            bounds = StudentMean((0.0, 1.0)).of(right, group.tests)
            name, note = (
                f"{subject(EVERY, severity)}, {group.name}",
                corrected(group.tests, "groups"),
            )
            yield _mean_row(found, ACCURACY, name, bounds, len(right), note)


def _of_severities(found: Seen, *, with_accuracy: bool = False) -> Iterator[dict[str, object]]:
    """Mean over all kinds and all images, of every severity."""
    share = StudentMean((0.0, 1.0))
    for severity in SEVERITIES:
        of = found.mean(severity).of(np.arange(found.drawn))
        figures: list[tuple[Measure, Bounds]] = [
            (CONFIDENCE, share.of(of.confidence)),
            (OVERCONFIDENCE, StudentMean((-100, 100)).of(100 * (of.confidence - of.right))),
            (NLL, StudentMean((0.0, float("inf"))).of(-of.log_probability)),
            (BRIER, StudentMean((0.0, 2.0)).of(of.brier)),
        ]
        if with_accuracy:
            figures.insert(0, (ACCURACY, share.of(of.right.astype(np.float64))))
        figures.append((CALIBRATION, (_mean_error(found, severity), float("nan"), float("nan"))))
        name = f"{subject(EVERY, severity)}{found.ends}"
        for measure, bounds in figures:
            yield _mean_row(found, measure, name, bounds, found.drawn, "")


def _mean_error(found: Seen, severity: int) -> float:
    """Mean over kinds of the calibration error at a severity; kinds share images: no interval."""
    rows = np.arange(found.drawn)
    of = [at[severity].of(rows) for at in found.at.values()]
    return float(np.mean([calibration_interval(s.confidence, s.right)[0] for s in of]))


def _mean_row(
    found: Seen, measure: Measure, name: str, bounds: Bounds, n: int, note: str
) -> dict[str, object]:
    return row(
        EVERYWHERE,
        measure,
        bounds[0],
        interval=bounds[1:],
        n=n,
        subject=name,
        split=trial_split(found.audit),
        note=note or "mean over kinds, image by image",
    )


def _gaps(found: Seen, decisions: Decisions) -> Iterator[dict[str, object]]:
    """The spurious gap along the corruptions, mean of the tagged classes, and how it changes."""
    sides = dict(_sides(found, decisions))
    if not sides:
        return
    n = sum(len(high) + len(low) for high, low in sides.values())
    for kind, at in {CLEAN: {0: found.clean}, **found.at}.items():
        for severity, said in at.items():
            bounds = [_gap(said.right, *side) for side in sides.values()]
            yield _gap_row(found, CORRUPTED_GAP, subject(kind, severity), bounds, n, len(sides))
    for severity in SEVERITIES:
        right = found.mean(severity).right
        name = subject(EVERY, severity)
        bounds = [change_of_gap(right, *side, tests=1) for side in sides.values()]
        yield _gap_row(found, CORRUPTED_GAP, name, bounds, n, len(sides))
        change: FloatArray = right - found.clean.right.astype(np.float64)
        bounds = [change_of_gap(change, *side, tests=len(SEVERITIES)) for side in sides.values()]
        yield _gap_row(found, GAP_CHANGE, name, bounds, n, len(sides))


def _sides(found: Seen, decisions: Decisions) -> Iterator[tuple[str, tuple[IntArray, IntArray]]]:
    """Places of the images of highest and of lowest spuriosity of every class with tagged cues."""
    places = {image_id: place for place, image_id in enumerate(found.ids)}
    for label in decisions.spurious:
        table = spuriosity_of(found.audit, label, decisions.spurious[label])
        ranked = table.loc[table["spuriosity"].notna(), "image_id"]
        mine = np.array([places[i] for i in ranked if i in places], np.int64)
        if k := side_size(len(mine)):
            yield label, (mine[:k], mine[len(mine) - k :])


def _gap(right: np.ndarray, high: IntArray, low: IntArray) -> Bounds:
    """Points between both sides, with Newcombe's interval."""
    hits = np.concatenate([right[high], right[low]]).astype(np.float64)
    scores = np.concatenate([np.ones(len(high)), np.zeros(len(low))])
    return Gap().of(np.column_stack([hits, scores]))


def change_of_gap(values: FloatArray, high: IntArray, low: IntArray, *, tests: int) -> Bounds:
    """Points between the means of both sides of a value of every image, with its interval.

    Parameters
    ----------
    values : (n,) such as how much less often a model is right; high, low : places of either side.
    tests : comparisons that the interval is corrected for (Bonferroni).
    """
    parts = [StudentMean((-1.0, 1.0)).of(np.asarray(values[side]), tests) for side in (high, low)]
    value, below, above = combined(*parts, signs=(1, -1))
    return 100 * value, 100 * below, 100 * above


def _gap_row(
    found: Seen, measure: Measure, name: str, bounds: list[Bounds], n: int, classes: int
) -> dict[str, object]:
    every = np.array(bounds)
    low, high = mean_interval(*every.T)
    certain = low > 0 or high < 0
    return row(
        EVERYWHERE,
        measure,
        float(every[:, 0].mean()),
        interval=(low, high),
        n=n,
        subject=name,
        split=trial_split(found.audit),
        reading="" if certain else "not certain",
        note=f"mean of the classes with tagged cues, {classes}"
        + ("; interval corrected for 5 severities (Bonferroni)" if measure is GAP_CHANGE else ""),
    )


def _depends(audit: Audit, decisions: Decisions, request: MeasureRequest) -> object:
    del audit, decisions, request
    return [VERSION, {name: list(kind.strengths) for name, kind in CORRUPTIONS.items()}]


CORRUPTED = OnDemand(
    "corruptions", "accuracy, calibration and gap under corruptions", _rows, depends=_depends
)

_SOURCE = "in the manner of Hendrycks & Dietterich 2019"
CORRUPTED_GAP = Measure(
    "corrupted_gap",
    "Spurious gap under corruptions",
    "Accuracy on the images of highest spuriosity minus that on the lowest, once they are "
    "corrupted; mean of the classes with tagged cues.",
    POINTS,
    "positive: better where the cue is; growing with severity: the cue carries the model",
    source=_SOURCE,
    views=(),
)
GAP_CHANGE = Measure(
    "corrupted_gap_change",
    "Change of the gap under corruptions",
    "The same gap minus that without corruption, on the same images.",
    POINTS,
    "positive: images without the cue lose more",
    source=_SOURCE,
    views=(),
)
