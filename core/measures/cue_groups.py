"""The worst group of class and tagged cue, before and after, and what a head could reach.

Groups come from an attribute of the data where people ask for one: then every class has images with
the cue and without it that are truly so. From the tags alone, images of the cue's class are told
apart by how far they lie along what the cue adds, and other classes have the cue pasted on them:
the lowest quarter of spuriosity would hold images with the cue where most of the class show it, and
without the other classes nobody sees whom the cue harms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from core.measures.groups import chosen
from core.measures.measure import EFFECT, Change, Measure
from core.measures.scope import NOT_ASKED, Scope, has
from core.models.head import fit_probe
from core.models.linear import Head
from core.statistics.estimates import NOTHING, Bounds
from core.statistics.extremes import lowest_share
from core.statistics.intervals import combined
from core.statistics.mixture import told_apart
from core.types import BoolArray, IntArray

FEWEST = 10
"""Images that a group of its own needs; those of smaller ones are put together."""

TO_FIT = 8
"""Training images of every group that a head on true groups needs."""

LARGEST = 1_000
"""Training images of a group that such a head is fitted on, at most."""

OTHERS = "other classes"


class Group(NamedTuple):
    """Held-out images of a class with a cue or without it."""

    name: str
    before: BoolArray
    after: BoolArray
    """(n,) whether either model is right."""


def cue_groups(before: Scope, after: Scope) -> tuple[list[Group], str]:
    """The groups of every tagged cue, and how they are known, in words."""
    if before.attribute is not None:
        return of_attribute(before, after), f"groups by attribute {before.attribute}"
    if not before.pictures:
        return of_ranking(before, after), f"classes with a tagged cue alone; {NOT_ASKED}"
    found = [g for label in before.decisions.spurious for g in of_tag(before, after, label)]
    return found, "groups by the tags, other classes with the pasted cue"


def of_attribute(before: Scope, after: Scope) -> list[Group]:
    """Every class with the attribute and without it."""
    return [
        group
        for name, _, ids in _attribute_ids(before)
        for group in _group(name, ids, before, after)
    ]


def of_ranking(before: Scope, after: Scope) -> list[Group]:
    """The tagged classes' images of high and of low spuriosity: no picture is looked at."""
    found = []
    for label in before.decisions.spurious:
        shows, _ = before.shows(label)
        name = before.owner.class_facts(label).name
        for side, word in ((True, "with"), (False, "without")):
            ids = list(shows.index[(shows == side).fillna(False)])
            found += _group(f"{name} {word} the cue", ids, before, after)
    return found


def of_tag(before: Scope, after: Scope, label: str) -> list[Group]:
    """Images of a class with its cue and without, and other classes without it and with it pasted.

    Empty where no cue could be cut out.
    """
    owner, facts = before.owner, before.owner.class_facts(label)
    seen, again = before.composites(label), after.composites(label)
    if not seen.ids:
        return []
    rows = seen.usable(facts.class_idx, "after") & before.among(seen.ids)
    if not rows.any():
        return []
    ids, labels = list(before.held), owner.images_of(before.held)["label"].to_numpy(object)
    pasted, plain = seen.pasted["after"][rows].astype(np.float64), seen.plain[rows]
    along = pasted.mean(axis=0) - plain.mean(axis=0)
    outputs = np.array([owner.head.index(name) for name in labels], np.int64)
    scores = np.asarray(owner.features(ids), np.float64) @ along
    shown = told_apart(scores, outputs, pasted @ along, plain @ along) > 0.5
    own = labels == label
    found = []
    for side, word in ((True, "with"), (False, "without")):
        mine = [ids[i] for i in np.flatnonzero(own & (shown == side))]
        found += _group(f"{facts.name} {word} the cue", mine, before, after)
    others, names = np.flatnonzero(~own & ~shown), {c.class_idx: c.name for c in owner.classes}
    hits = [scope.correct([ids[i] for i in others]) > 0 for scope in (before, after)]
    found += _by_class(outputs[others], hits, names, " without the cue")
    truth = seen.truth[rows]
    hits = [
        scope.audit.head.logits(of.pasted["after"][rows]).argmax(axis=1) == truth
        for scope, of in ((before, seen), (after, again))
    ]
    return found + _by_class(truth, hits, names, f" with the cue of {facts.name}")


def _group(name: str, ids: Sequence[str], before: Scope, after: Scope) -> list[Group]:
    """A group of some images; none of no image."""
    if not ids:
        return []
    return [Group(name, *(scope.correct(ids) > 0 for scope in (before, after)))]


def _by_class(
    outputs: IntArray, hits: Sequence[BoolArray], names: dict[int, str], said: str
) -> list[Group]:
    """A group per class of at least FEWEST images; the rest together."""
    classes, counts = np.unique(outputs, return_counts=True)
    large = [int(k) for k in classes[counts >= FEWEST]]
    parts = [(names.get(k, OTHERS) + said, outputs == k) for k in large]
    parts.append((OTHERS + said, ~np.isin(outputs, large)))
    return [Group(name, *(h[rows] for h in hits)) for name, rows in parts if rows.any()]


def worst_of(groups: Sequence[Group], which: int) -> tuple[Group, Bounds]:
    """The group of lowest accuracy of one model (0 before, 1 after), and its bounds.

    The interval is of the lowest true accuracy, whichever group has it
    (:func:`core.statistics.extremes.lowest_share`).
    """
    right = [(group.before, group.after)[which] for group in groups]
    hits = np.array([one.sum() for one in right], np.int64)
    sizes = np.array([len(one) for one in right], np.int64)
    lowest = min(range(len(groups)), key=lambda i: (hits[i] / sizes[i], groups[i].name))
    return groups[lowest], (float(hits[lowest] / sizes[lowest]), *lowest_share(hits, sizes))


def _worst(before: Scope, after: Scope) -> Sequence[Change]:
    """The worst group of either model; of the change, square-and-add of both intervals."""
    groups, basis = cue_groups(before, after)
    if not groups:
        return []
    (old, was), (new, now) = (worst_of(groups, which) for which in (0, 1))
    moved = combined(now, was, signs=(1, -1))
    subject = old.name if old.name == new.name else f"before: {old.name}; after: {new.name}"
    note = f"{basis}; {chosen(len(groups))}"
    return [Change("", was, now, _bounds(moved), len(new.after), subject, note)]


Rows = Callable[[IntArray, BoolArray, int], IntArray | str]
"""Which training images a head is fitted on, of their classes, whether each shows the cue, and the
number of classes; or what is missing."""


def _bound(before: Scope, after: Scope, *, rows: Rows) -> Sequence[Change]:
    """The worst group of the model, and of a head fitted on the same features of some images."""
    found = _fitted(before, rows)
    if isinstance(found, str):
        return [Change("", NOTHING, NOTHING, NOTHING, 0, note=found)]
    head, fitted_on = found
    groups = [_of_head(group, head, before) for group in _attribute_ids(before)]
    (_, was), (worst, reached) = (worst_of(groups, which) for which in (0, 1))
    moved = combined(reached, was, signs=(1, -1))
    note = f"fitted on {fitted_on} training images; {chosen(len(groups))}"
    return [Change("", was, reached, _bounds(moved), len(worst.after), worst.name, note)]


def _bounds(found: Sequence[float]) -> Bounds:
    value, low, high = found
    return value, low, high


def _fitted(before: Scope, rows: Rows) -> tuple[Head, int] | str:
    """A head over the audited classes and the number of images behind it, or what is missing."""
    if before.attribute is None:
        return "needs --attribute, which says of every class who truly shows the cue"
    owner = before.owner
    images = owner.images[~owner.images.index.isin(before.held)]
    names = [facts.label for facts in owner.classes]
    shows = has(owner, before.attribute).loc[images.index]
    images = images[(images["label"].isin(names) & shows.notna()).to_numpy(bool)]
    if images.empty:
        return "needs training images that are not reported on: data with a further split"
    labels = np.array([names.index(label) for label in images["label"]], np.int64)
    taken = rows(labels, shows[images.index].to_numpy(bool), len(names))
    if isinstance(taken, str):
        return taken
    features = owner.features(images.index[taken].tolist())
    probe = fit_probe(features, labels[taken], len(names))
    return Head(probe.weight, probe.bias, names, names, "fit"), len(taken)


def _attribute_ids(before: Scope) -> list[tuple[str, str, list[str]]]:
    """Name, label and held-out images of every group by the attribute."""
    assert before.attribute is not None
    shows = has(before.owner, before.attribute).loc[before.held]
    labels = before.owner.images_of(before.held)["label"]
    found = []
    for facts in before.owner.classes:
        for side, word in ((True, "with"), (False, "without")):
            rows = (labels == facts.label) & (shows == side).fillna(False)
            if ids := list(before.held[rows.to_numpy(bool)]):
                found.append((f"{facts.name} {word} the cue", facts.label, ids))
    return found


def _of_head(group: tuple[str, str, list[str]], head: Head, before: Scope) -> Group:
    name, label, ids = group
    given = head.logits(before.owner.features(ids)).argmax(axis=1)
    return Group(name, before.correct(ids) > 0, given == head.index(label))


def balanced_rows(labels: IntArray, shows: BoolArray, classes: int) -> IntArray | str:
    """As many training images of every class with the cue as without."""
    groups = [np.flatnonzero((labels == k) & (shows == s)) for k in range(classes) for s in (1, 0)]
    return _drawn(groups, min(LARGEST, *map(len, groups)), "with the attribute and without")


def free_rows(labels: IntArray, shows: BoolArray, classes: int) -> IntArray | str:
    """Training images without the cue."""
    groups = [np.flatnonzero((labels == k) & ~shows) for k in range(classes)]
    return _drawn(groups, LARGEST, "without the attribute")


def _drawn(groups: Sequence[IntArray], most: int, words: str) -> IntArray | str:
    least, rng = min(map(len, groups)), np.random.default_rng(0)
    if least < TO_FIT:
        return f"needs {TO_FIT} training images of every class {words}; one group has {least}"
    return np.concatenate([rng.permutation(rows)[:most] for rows in groups])


WORST = Measure(
    "worst_cue_group_accuracy",
    "Worst group",
    "The lowest accuracy of any class with a tagged cue or without it; other classes with the cue "
    "are groups, too. The interval is of the lowest of all groups, since it is chosen.",
    better=1,
    source="Sagawa et al. 2020, section 2",
    views=(EFFECT,),
    changes=_worst,
)
TRUE_GROUPS = Measure(
    "worst_group_of_true_groups",
    "Worst group: a head on true groups",
    "An upper bound: after is the worst group of a head fitted on as many training images of every "
    "class with the cue as without, by the attribute; before that of the model.",
    better=1,
    source="Kirichenko et al. 2023, section 4",
    views=(EFFECT,),
    changes=partial(_bound, rows=balanced_rows),
)
NO_CUE = Measure(
    "worst_group_without_any_cue",
    "Worst group: a head that never saw the cue",
    "Another bound: after is the worst group of a head fitted on training images without the cue "
    "alone, by the attribute. It leans on no cue, and may still be disturbed by one.",
    better=1,
    views=(EFFECT,),
    changes=partial(_bound, rows=free_rows),
)
