"""Accuracy of groups, a class with a value of an attribute; needs no tags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.measures.cells import Context, Figure
from core.measures.measure import ONE, SEVERAL, Measure, Rows
from core.measures.rows import corrected, note, row
from core.measures.scope import Scope
from core.statistics.extremes import lowest_share
from core.statistics.paired import Sampled, weighted_share
from core.statistics.spuriosity import Group, groups
from core.types import FloatArray

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


class Place(NamedTuple):
    """The shared held-out images of a class with one value of an attribute."""

    name: str
    label: str
    n: int
    """Images of the class."""
    rows: FloatArray
    """Places of the group among all held-out images."""
    inside: FloatArray
    """The same among those of the class."""


def _worst_of(context: Context, audit: Audit) -> Figure | str:
    """The lowest accuracy of any class with any value of an attribute."""
    places = _places(context)
    if not places:
        return NEEDS_ATTRIBUTES
    right = context.shared.correct(audit).astype(np.float64)
    accuracies = np.array([right[place.rows].mean() for place in places])
    samples = [
        weighted_share(right[p.rows], context.weights(p.label, p.n)[:, p.inside]) for p in places
    ]
    worst = int(accuracies.argmin())
    sizes = np.array([len(place.rows) for place in places])
    interval = lowest_share(np.rint(accuracies * sizes).astype(np.int64), sizes)
    sampled = Sampled(float(accuracies[worst]), np.nanmin(samples, axis=0))
    note = f"{places[worst].name}; {chosen(len(places))}"
    return Figure(sampled, interval, int(sizes[worst]), note)


def _places(context: Context) -> list[Place]:
    held = context.shared.held
    found: list[Place] = []
    for attribute in context.audits[0].summary.attributes:
        values = held[attribute].astype(str).to_numpy()
        if len(set(values)) > MANY_VALUES:
            continue
        for label in context.shared.labels:
            rows = context.shared.rows(label)
            for value in sorted(set(values[rows])):
                inside = np.flatnonzero(values[rows] == value)
                name = f"{label}, {attribute} = {value}"
                found.append(Place(name, label, len(rows), rows[inside], inside))
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
