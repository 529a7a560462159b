"""Tags that come along from an audit to that of its corrected model."""

from __future__ import annotations

import numpy as np

from core.audits.audit import Audit
from core.audits.class_files import carry_direction
from core.candidates.linear_kinds import CARRIED, PCA
from core.corrections.corrected import facts_of
from core.corrections.derived import link_tree
from core.statistics.intervals import correlation
from core.tags.decisions import linear_piece, values_of
from core.tags.entries import NewTag
from core.tags.log import TagEvent, TagStore

ALIKE = 0.9
"""Correlation of alphas from which a component of the corrected head is the tagged one."""


def carry_tags(parent: Audit, audit: Audit, store: TagStore) -> int:
    """Give a derived audit its parent's tags where their candidates still are; how many.

    A component is carried to the one whose alpha correlates with its own by at least ALIKE on the
    class's training images, other candidates to themselves if their alpha does so. A component that
    the correction took away comes along as the direction that it was, so that what the cue costs
    can still be measured; after a change of the encoder it stays with the parent. Nothing is done
    where the audit has tags.
    """
    if store.history(audit.id):
        return 0
    same = not facts_of(audit).encoder_changed
    if same:
        link_tree(parent.files.carried, audit.files.carried)
    known = {facts.label for facts in audit.classes}
    places: dict[str, dict[int, int]] = {}
    rows = []
    for event in store.current(parent.id):
        if event.label not in known or (event.kind == CARRIED and not same):
            continue
        if event.kind == PCA and event.label not in places:
            places[event.label] = same_components(parent, audit, event.label)
        kind, place = event.kind, places.get(event.label, {}).get(event.component, -1)
        if kind != PCA:
            alike = same or _alike(parent, audit, event)
            place = event.component if alike else -1
        elif place < 0 and same:
            kind, place = CARRIED, _as_it_was(parent, audit, event)
        if place >= 0:
            rows.append(_row(event, kind, place))
    return store.add_many(audit.id, rows)


def _as_it_was(parent: Audit, audit: Audit, event: TagEvent) -> int:
    """The number of a component of the parent among the directions carried to the audit."""
    class_idx = parent.class_facts(event.label).class_idx
    gone = parent.candidate(event.key)
    found = linear_piece(parent, gone)
    return carry_direction(audit.files.carried_to(class_idx), found.direction, found.offset)


def _row(event: TagEvent, kind: str, place: int) -> NewTag:
    """What an entry of the log says, of a candidate of another audit."""
    return NewTag(
        annotator=event.annotator,
        label=event.label,
        kind=kind,
        component=place,
        tag=event.tag.value if event.tag else None,
        subtype=event.subtype.value if event.subtype else None,
        confidence=event.confidence,
        reason=event.reason,
        at=event.at,
        called=event.called or "",
    )


def _alike(parent: Audit, audit: Audit, event: TagEvent) -> bool:
    """Whether a neuron still says of the class's training images what it said in the parent."""
    values = []
    for which in (parent, audit):
        arrays = which.arrays_of(event.label)
        candidate = arrays.candidate(event.kind, event.component)
        values.append(values_of(which, event.label, [candidate])[np.asarray(arrays.fitting)])
    return bool(correlation(*values)[0, 0] >= ALIKE)


def same_components(parent: Audit, audit: Audit, label: str) -> dict[int, int]:
    """Components of a class by their number in the parent, where the audit still has them."""
    old, new = (a.arrays_of(label) for a in (parent, audit))
    r_old, r_new = old.pca.basis.shape[1], new.pca.basis.shape[1]
    if not r_old or not r_new:
        return {}
    rows = np.flatnonzero(old.fitting)
    between = correlation(
        np.asarray(old.alpha[rows, :r_old], np.float64),
        np.asarray(new.alpha[rows, :r_new], np.float64),
    )
    best = between.argmax(axis=1)
    return {i: int(best[i]) for i in range(r_old) if between[i, best[i]] >= ALIKE}
