"""Accuracy of groups, a class with a value of an attribute; needs no tags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.measures.cells import Context, Figure
from core.measures.measure import ONE, SEVERAL, Measure, Rows
from core.measures.rows import corrected, note, row
from core.measures.scope import Scope
from core.statistics.bootstrap import RESAMPLES
from core.statistics.extremes import lowest_share
from core.statistics.paired import Sampled, resampled_counts, weighted_share
from core.statistics.spuriosity import Group, groups
from core.types import BoolArray, FloatArray, IntArray

MANY_VALUES = 50
"""An attribute with more values than this is a quantity, not a group."""

NEEDS_ATTRIBUTES = "needs attributes: a manifest with further columns"

Found = list[tuple[AuditedClass, Group]]


def _group_rows(scope: Scope) -> Rows:
    """Accuracy of every class and value of an attribute, or why it is not grouped."""
    attributes = scope.audit.summary.attributes
    if not attributes:
        return [note("the data has no attributes: groups need a manifest with further columns")]
    images, rows = scope.audit.images_of(scope.held), []
    for attribute in attributes:
        if images[attribute].nunique(dropna=False) > MANY_VALUES:
            rows.append(note(f"{attribute} has more than {MANY_VALUES} values: not grouped"))
            continue
        found = _grouped(scope.audit, images[["label", "fair", attribute]], attribute)
        tests = len(images[["label", attribute]].drop_duplicates())
        rows += [_row(GROUP, scope, attribute, pair, tests) for pair in found]
        if found:
            rows.append(_worst_row(scope, attribute, found))
    return rows


def _worst_row(scope: Scope, attribute: str, found: Found) -> dict[str, Any]:
    """The lowest of some groups; its interval is that of the lowest, whichever it is."""
    facts, worst = min(found, key=lambda pair: pair[1].accuracy)
    hits, n = (np.array([getattr(g, name) for _, g in found]) for name in ("hits", "n"))
    low, high = lowest_share(hits, n)
    lowest = facts, replace(worst, low=low, high=high)
    return {**_row(WORST_GROUP, scope, attribute, lowest, 1), "note": chosen(len(found))}


def chosen(groups: int) -> str:
    """Says what choosing the worst does."""
    return f"the lowest of {groups} groups is too low on average; its interval allows for choosing"


def _grouped(audit: Audit, images: Any, attribute: str) -> Found:
    tests = len(images[["label", attribute]].drop_duplicates())
    by_label, found = images.groupby("label").indices, []
    for facts in audit.classes:
        mine = images.iloc[by_label.get(facts.label, [])]
        values = mine[attribute].to_numpy(dtype=object)
        accuracies = groups(mine["fair"].to_numpy(dtype=bool), values, tests=tests)
        found += [(facts, group) for group in accuracies]
    return found


def _row(
    measure: Measure, scope: Scope, attribute: str, found: tuple[AuditedClass, Group], tests: int
) -> dict[str, Any]:
    facts, group = found
    return row(
        facts,
        measure,
        group.accuracy,
        interval=(group.low, group.high),
        n=group.n,
        subject=f"{attribute} = {group.value}",
        split=scope.split,
        note=corrected(tests, "groups"),
    )


class Value(NamedTuple):
    """The shared held-out images of a class with one value of an attribute, in cells."""

    name: str
    attribute: int
    """Its number."""
    cells: IntArray
    """Of the class's cells, those of the group."""


class Drawn(NamedTuple):
    """The shared held-out images of a class, by all that is looked at: cells of equal ones."""

    right: BoolArray
    """(c, A) whether the images of a cell are predicted correctly by each audit."""
    sizes: IntArray
    """(c,) images."""
    counts: FloatArray
    """(B, c) how many of them every resample draws, the same for every audit."""
    groups: list[Value]

    def shares(self, which: int) -> Iterator[tuple[Value, float, int, FloatArray]]:
        """Every group, its accuracy, its size, and its accuracy (B,) under resamples."""
        for group in self.groups:
            hits = self.right[group.cells, which].astype(np.float64)
            n = self.sizes[group.cells]
            under = weighted_share(hits, self.counts[:, group.cells])
            yield group, float(hits @ n / n.sum()), int(n.sum()), under


def _worst_of(context: Context, audit: Audit) -> Figure | str:
    """The lowest accuracy of any class with any value of an attribute."""
    if "groups" not in context.kept:
        context.kept["groups"] = _drawn(context)
    found, lowest = [], np.full(RESAMPLES, np.nan)
    for drawn in context.kept["groups"]:
        for group, accuracy, n, under in drawn.shares(context.audits.index(audit)):
            found.append((accuracy, group.attribute, n, group.name))
            lowest = np.fmin(lowest, under)
    if not found:
        return NEEDS_ATTRIBUTES
    accuracy, _, size, name = min(found, key=lambda each: each[:2])
    hits, sizes = np.array([(np.rint(share * n), n) for share, _, n, _ in found], np.int64).T
    interval = lowest_share(hits, sizes)
    return Figure(Sampled(accuracy, lowest), interval, size, f"{name}; {chosen(len(found))}")


def _drawn(context: Context) -> list[Drawn]:
    """Every class whose images have attributes of few values."""
    held, columns, values = context.shared.held, list[IntArray](), list[list[str]]()
    attributes = list[str]()
    for attribute in context.audits[0].summary.attributes:
        known, codes = np.unique(held[attribute].astype(str).to_numpy(str), return_inverse=True)
        if len(known) <= MANY_VALUES:
            attributes.append(attribute)
            columns.append(codes)
            values.append(known.tolist())
    if not attributes:
        return []
    right = np.column_stack([context.shared.correct(audit) for audit in context.audits])
    every = np.column_stack([right, *columns]).astype(np.int64)
    found = []
    for label in context.shared.labels:
        cells, sizes = np.unique(every[context.shared.rows(label)], axis=0, return_counts=True)
        groups = [
            Value(f"{label}, {attributes[j]} = {values[j][code]}", j, np.flatnonzero(of == code))
            for j, of in enumerate(cells.T[right.shape[1] :])
            for code in np.unique(of)
        ]
        counts = resampled_counts(sizes, f"groups/{label}")
        found.append(Drawn(cells[:, : right.shape[1]].astype(bool), sizes, counts, groups))
    return found


_SAGAWA = "Sagawa et al. 2020, section 2"
GROUP = Measure(
    "group_accuracy",
    "Group accuracy",
    "Accuracy on the images of a class with one value of an attribute.",
    better=1,
    source=_SAGAWA,
    views=(ONE,),
    part="groups",
    version=2,
    everywhere=_group_rows,
)
WORST_GROUP = Measure(
    "worst_group_accuracy",
    "Worst-group accuracy",
    "The lowest accuracy of any group of a class and a value of the attribute; too low on average, "
    "since it is chosen, which its interval allows for.",
    better=1,
    source=_SAGAWA,
    views=(ONE, SEVERAL),
    part="groups",
    figure=_worst_of,
)
