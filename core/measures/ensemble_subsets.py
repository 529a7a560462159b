"""What an ensemble does to how little of an image is enough: together against each model alone.

The published remedy (Carter et al. 2021, section 5). On the same held-out images of a class every
model's own sufficient subset is searched, and that of the mean of their probabilities, all with the
fill that tells the mean least, each for nine tenths of its own confidence in the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.audits.audit import Audit
from core.audits.explained import Asked, explain
from core.errors import SpurioscopeError
from core.explain.explainer import Explanation
from core.measures.measure import SHARE, Measure, Rows
from core.measures.on_demand import OnDemand
from core.measures.rows import EVERYWHERE, note, row
from core.measures.shared_images import shared_images
from core.measures.unseen import members_of
from core.statistics.estimates import StudentMean
from core.trials.outcomes import FURTHER
from core.trials.paste import sample
from core.types import FloatArray, Progress, Reporter

if TYPE_CHECKING:
    from core.audits.audited import AuditedClass
    from core.measures.measure_requests import MeasureRequest
    from core.tags.decisions import Decisions

IMAGES = 6
"""Held-out images of a class: every one takes a search for each model and one for all."""

TOGETHER = "together"

Sizes = Mapping[str, FloatArray]
"""Share of the image that is enough (n,), by audit and ``together``, of the same images."""


def _rows(audit: Audit, decisions: Decisions, request: MeasureRequest, report: Reporter) -> Rows:
    members = members_of(audit, request.ensemble)
    held = shared_images([audit, *members]).held
    every = [facts.label for facts in audit.classes]
    labels = list(decisions.spurious) or sample(every, FURTHER)
    rows, found = Rows(), list[Sizes]()
    for done, label in enumerate(labels):
        report(Progress("How little is enough, together and alone", done, len(labels), "classes"))
        ids = sample(held.index[held["label"] == label].tolist(), IMAGES)
        sizes, why = _sizes(audit, members, label, ids, report)
        rows += [note(each, facts=audit.class_facts(label)) for each in why]
        if len(sizes[TOGETHER]):
            rows += _figures(audit, members, audit.class_facts(label), sizes)
            found.append(sizes)
    if len(found) > 1:
        whole = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
        rows += _figures(audit, members, EVERYWHERE, whole)
    return rows


def _sizes(
    audit: Audit, members: Sequence[Audit], label: str, ids: Sequence[str], report: Reporter
) -> tuple[Sizes, list[str]]:
    """Sizes of the images that all models have one of, and why others have none."""
    asked = Asked.of("sis", label, given={"relative": "true"}, also=members)
    told = dict(explain(audit, asked, ids, report=report))
    fills = {i: str(one.facts["fill"]) for i, one in told.items() if isinstance(one, Explanation)}
    every, why = {TOGETHER: _shares(told)}, {str(x) for x in told.values() if _is_none(x)}
    for owner in (audit, *members):
        every[owner.id] = {}
        for fill in dict.fromkeys(fills.values()):
            given = {"relative": "true", "fill": fill}
            mine = [i for i, name in fills.items() if name == fill]
            alone = dict(explain(owner, Asked.of("sis", label, given=given), mine, report=report))
            every[owner.id] |= _shares(alone)
            why |= {str(x) for x in alone.values() if _is_none(x)}
    there = [i for i in ids if all(i in of for of in every.values())]
    return {name: np.array([of[i] for i in there]) for name, of in every.items()}, sorted(why)


def _shares(told: Mapping[str, Explanation | SpurioscopeError]) -> dict[str, float]:
    """Share of every image that is enough, where there is one."""
    found = {i: one.facts["share"] for i, one in told.items() if isinstance(one, Explanation)}
    return {i: float(share) for i, share in found.items() if isinstance(share, int | float)}


def _is_none(said: Explanation | SpurioscopeError) -> bool:
    return isinstance(said, SpurioscopeError)


def _figures(audit: Audit, members: Sequence[Audit], facts: AuditedClass, sizes: Sizes) -> Rows:
    """The size of each model alone, of all together, and what together changes of each."""
    estimate, rows = StudentMean((0.0, 1.0)), Rows()
    split, n = audit.summary.held_out, len(sizes[TOGETHER])
    said = f"mean of the probabilities of {len(members) + 1} models, filled alike"
    rows.append(_row(facts, SIZE, estimate.of(sizes[TOGETHER]), n, TOGETHER, split, said))
    for owner in (audit, *members):
        alone, name = sizes[owner.id], f"{owner.name} alone"
        changed = estimate.change(alone, sizes[TOGETHER])
        rows.append(_row(facts, SIZE, estimate.of(alone), n, name, split, ""))
        rows.append(_row(facts, CHANGE, changed, n, f"against {name}", split, said))
    return rows


def _row(
    facts: AuditedClass,
    measure: Measure,
    bounds: tuple[float, float, float],
    n: int,
    subject: str,
    split: str,
    said: str,
) -> dict[str, object]:
    value, *ends = bounds
    interval = (ends[0], ends[1])
    return row(
        facts, measure, value, interval=interval, n=n, subject=subject, split=split, note=said
    )


def _depends(audit: Audit, decisions: Decisions, request: MeasureRequest) -> object:
    """What the other models are."""
    del decisions
    members = members_of(audit, request.ensemble)
    return [[each.manifest.fingerprint, each.head_key] for each in members]


REMEDIES = OnDemand(
    "remedies",
    "what an ensemble does to how little is enough",
    _rows,
    options=("ensemble",),
    depends=_depends,
)

_CARTER = "Carter et al. 2021, section 5"
SIZE = Measure(
    "ensemble_subset_size",
    "Ensemble: how little is enough",
    "Share of an image that is enough for nine tenths of the confidence in its class, the rest "
    "filled: of each model alone, and of the mean of their probabilities.",
    direction="higher: more of an image is needed",
    source=_CARTER,
    unit=SHARE,
    views=(),
    part="remedies",
)
CHANGE = Measure(
    "ensemble_subset_change",
    "Ensemble: change of how little is enough",
    "The share that is enough for all models together minus that of one alone, on the same images.",
    direction="above 0 the ensemble needs more of an image than the model alone",
    source=_CARTER,
    unit=SHARE,
    views=(),
    part="remedies",
)
