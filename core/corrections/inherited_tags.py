"""Tags that come along from an audit to that of its corrected model."""

from __future__ import annotations

import numpy as np

from core.audits.audit import Audit
from core.audits.class_files import carry_direction
from core.audits.other_kinds import asked, searched
from core.candidates.linear_kinds import CARRIED, PCA
from core.corrections.corrected import facts_of
from core.statistics.intervals import correlation
from core.storage.files import link_tree
from core.tags.decisions import linear_piece, values_of
from core.tags.entries import NewTag
from core.tags.log import TagEvent, TagStore

ALIKE = 0.9
"""Correlation of alphas from which a component or part of the corrected head is the tagged one."""


def carry_tags(parent: Audit, audit: Audit, store: TagStore) -> int:
    """Give a derived audit its parent's tags where their candidates still are; how many.

    What is numbered anew, a component or a part, is carried to the one whose alpha correlates with
    its own by at least ALIKE on the class's training images, other candidates to themselves if
    their alpha does so. What the correction took away of the former comes along as the direction
    that it was, so that what the cue costs can still be measured; after a change of the encoder it
    stays with the parent. Nothing is done where the audit has tags.
    """
    if store.history(audit.id):
        return 0
    same = not facts_of(audit).encoder_changed
    if same:
        link_tree(parent.files.carried, audit.files.carried)
    known = {facts.label for facts in audit.classes}
    anew = {PCA, *(kind.name for kind in (*searched(), *asked()))}
    places: dict[tuple[str, str], dict[int, int]] = {}
    rows = []
    for event in store.current(parent.id):
        if event.label not in known or (event.kind == CARRIED and not same):
            continue
        kind, of_class = event.kind, (event.label, event.kind)
        if kind in anew and of_class not in places:
            places[of_class] = same_candidates(parent, audit, event.label, kind)
        place = places.get(of_class, {}).get(event.component, -1)
        if kind not in anew:
            alike = same or _alike(parent, audit, event)
            place = event.component if alike else -1
        elif place < 0 and same:
            kind, place = CARRIED, _as_it_was(parent, audit, event)
        if place >= 0:
            rows.append(_row(event, kind, place))
    return store.add_many(audit.id, rows)


def _as_it_was(parent: Audit, audit: Audit, event: TagEvent) -> int:
    """The number of a candidate of the parent among the directions carried to the audit."""
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


def same_candidates(parent: Audit, audit: Audit, label: str, kind: str) -> dict[int, int]:
    """Candidates of a class by their number in the parent, where the audit still has them.

    Over its training images whose alpha is known in both.
    """
    arrays = parent.arrays_of(label)
    old, new = arrays.of_kind(kind), audit.arrays_of(label).of_kind(kind)
    if not len(old.numbers) or not len(new.numbers):
        return {}
    values = [np.asarray(found.alpha, np.float64) for found in (old, new)]
    known = np.isfinite(np.concatenate(values, axis=1)).all(axis=1)
    rows = np.flatnonzero(known & np.asarray(arrays.fitting, bool))
    if not len(rows):
        return {}
    between = correlation(values[0][rows], values[1][rows])
    best = between.argmax(axis=1)
    return {
        int(old.numbers[i]): int(new.numbers[best[i]])
        for i in range(len(best))
        if between[i, best[i]] >= ALIKE
    }
