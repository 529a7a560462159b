"""Where the models lie between two sets of images, and how far from the line through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.errors import InputError
from core.measures.cells import Context
from core.measures.groups import MANY_VALUES
from core.statistics.intervals import clopper_pearson, combined, share
from core.statistics.robustness import FEWEST, Line, fit_line, robustness_interval
from core.types import FloatArray

HIGH, LOW, EVERY = "high spuriosity", "low spuriosity", "all images"

COLUMNS = [
    *("audit", "name", "x", "x_low", "x_high", "n_x", "y", "y_low", "y_high", "n_y"),
    *("rho", "in_line", "rho_low", "rho_high"),
]

SET, OWN = "evaluation set ", "own images of the classes of "
"""Axes of an evaluation set, and of what the audits hold out of the same classes."""

PUBLISHED = (
    "the line is of published models: it says something where its two columns are of the same "
    "images as the axes"
)

RHO, DROP = ["rho", "rho_low", "rho_high"], ["drop", "drop_low", "drop_high"]


@dataclass(frozen=True)
class Robustness:
    """Models between two sets of images."""

    x: str
    y: str
    points: pd.DataFrame
    """One row per model that has both accuracies (COLUMNS): accuracies in [0, 1] with
    Clopper-Pearson intervals, images behind them, ``rho`` the distance from the line in percentage
    points with its interval (NaN without a line), ``in_line`` whether the line was fitted on it,
    and, where both hold other images, ``drop``: what is lost from x to y in points (DROP)."""
    line: Line | None
    note: str
    """Why there is no line, or what to think of it."""


def axes(context: Context) -> list[str]:
    """Sets of images that can be on an axis: spuriosity where there are tags, splits, groups.

    And every evaluation set that all models have, beside the audits' own images of its classes.
    """
    held = context.shared.held
    found = [HIGH, LOW] if context.tagged else []
    found.append(EVERY)
    splits = sorted(held["split"].unique())
    found += [f"split = {split}" for split in splits if len(splits) > 1]
    for attribute in context.audits[0].summary.attributes:
        values = sorted(held[attribute].astype(str).unique())
        if 1 < len(values) <= MANY_VALUES:
            found += [f"{attribute} = {value}" for value in values]
    judged = [name for name in context.sets if len(_shared_of(context, name))]
    return [*found, *(f"{axis}{name}" for name in judged for axis in (SET, OWN))]


def robustness(
    context: Context,
    x: str,
    y: str,
    in_line: Sequence[str] | None = None,
    published: Line | None = None,
) -> Robustness:
    """Accuracies of every model on two sets of images, and the line through them.

    Parameters
    ----------
    x, y : two of :func:`axes`.
    in_line : ids of the models that the line is fitted on (the usual ones, not those with a
        remedy); by default all.
    published : a line through other models (:mod:`core.measures.published_line`) instead.

    Raises
    ------
    InputError
        If an axis is unknown.
    """
    for axis in (x, y):
        if axis not in axes(context):
            raise InputError(f"axis {axis!r}: choose one of {', '.join(axes(context))}")
    rows = []
    for audit in context.audits:
        (right_x, n_x), (right_y, n_y) = (_hits(context, audit, axis) for axis in (x, y))
        if n_x and n_y:
            fitted = published is None and (in_line is None or audit.id in in_line)
            rows.append((audit.id, audit.name, right_x, n_x, right_y, n_y, fitted))
    names = ["audit", "name", "right_x", "n_x", "right_y", "n_y", "in_line"]
    table = pd.DataFrame(rows, columns=names)
    for axis in ("x", "y"):
        right, n = (table[f"{c}_{axis}"].to_numpy(np.float64) for c in ("right", "n"))
        table[axis] = right / np.maximum(n, 1)
        table[f"{axis}_low"], table[f"{axis}_high"] = clopper_pearson(right, n)
    line = published or _line(table[table["in_line"]])
    table[RHO] = _rho(table, line)
    columns = COLUMNS
    if x != y and (x.startswith(SET) or y.startswith(SET)):
        table[DROP], columns = _drop(table), [*COLUMNS, *DROP]
    note = PUBLISHED if published else _note(table, line)
    return Robustness(x, y, table[columns], line, note)


def _hits(context: Context, audit: Audit, axis: str) -> tuple[float, int]:
    """Images of a set that a model gets right, and how many there are."""
    right, held = context.shared.correct(audit), context.shared.held
    if axis in (HIGH, LOW):
        return _spuriosity_hits(context, audit, axis)
    if axis == EVERY:
        return int(right.sum()), len(right)
    if axis.startswith((SET, OWN)):
        return _set_hits(context, audit, axis)
    column, _, value = axis.rpartition(" = ")
    mine = (held[column].astype(str) == value).to_numpy()
    return int(right[mine].sum()), int(mine.sum())


def _set_hits(context: Context, audit: Audit, axis: str) -> tuple[float, int]:
    """Images of an evaluation set, or of its classes, that a model gets right, and how many."""
    name = axis.removeprefix(SET).removeprefix(OWN)
    if axis.startswith(SET):
        right = context.sets[name][audit.id].predicted["correct"]
        ids = _shared_of(context, name)
    else:
        right, ids = _own_of(context, audit, name), context.shared.held.index
        for other in context.audits:
            ids = ids.intersection(_own_of(context, other, name).index)
    hits = right.loc[ids].to_numpy(bool)
    return int(hits.sum()), len(hits)


def _shared_of(context: Context, name: str) -> pd.Index:
    """The images of a set that all models are asked about: equal ones, with a right output."""
    of = [found.images.loc[found.judged, "digest"] for found in context.sets[name].values()]
    same = pd.concat(of, axis=1, join="inner")
    return same.index[same.nunique(axis=1) == 1]


def _own_of(context: Context, audit: Audit, name: str) -> pd.Series:
    """Whether a model is right on its held-out images of the classes of a set, by image id."""
    ids, right = context.sets[name][audit.id].original()
    return pd.Series(right, index=ids)


def _spuriosity_hits(context: Context, audit: Audit, axis: str) -> tuple[float, int]:
    """The k highest or lowest images of every tagged class, by the model's own tags.

    Not whole where images at the edge are equal, which count with their mean.
    """
    hits, n = 0.0, 0
    for label in context.tagged if context.has_tags(audit) else []:
        if (audit.id, label) in context.gaps:
            gap = context.gaps[audit.id, label].gap
            accuracy = gap.accuracy_high if axis == HIGH else gap.accuracy_low
            hits, n = hits + accuracy * gap.k, n + gap.k
    return hits, n


def _rho(table: pd.DataFrame, line: Line | None) -> FloatArray:
    """(m, 3) distance of every model from the line, with its interval."""
    if line is None:
        return np.full((len(table), len(RHO)), np.nan)
    points = zip(*(table[c].to_list() for c in ("x", "y", "n_x", "n_y")), strict=True)
    return np.array([robustness_interval(line, *point) for point in points])


def _drop(table: pd.DataFrame) -> FloatArray:
    """(m, 3) points that are lost from x to y, with their interval, as of two samples of images.

    Square-and-add of Wilson's intervals (Newcombe 1998, method 10). An evaluation set shares no
    image with another one, nor with the audits' own; other axes may.
    """
    sides = [
        [(p, *share(p * n, n)) for p, n in zip(table[a], table[f"n_{a}"], strict=True)]
        for a in ("x", "y")
    ]
    found = [combined(*pair, signs=(1, -1)) for pair in zip(*sides, strict=True)]
    return 100 * np.array(found).reshape(-1, len(DROP))


def _line(table: pd.DataFrame) -> Line | None:
    columns = (table[c].to_numpy() for c in ("x", "y", "n_x", "n_y"))
    return fit_line(*columns)


def _note(table: pd.DataFrame, line: Line | None) -> str:
    n = int(table["in_line"].sum())
    if n < FEWEST:
        return f"{n} models have both accuracies; a line needs {FEWEST}, and says more with many"
    if line is None:
        return "all models have the same accuracy on x: there is no line"
    if n < 10:
        return f"a line through {n} models is a weak expectation: published ones go through dozens"
    return ""
