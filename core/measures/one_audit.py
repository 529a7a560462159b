"""The table of measures of an audit: a loop over the measures that have rows in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from core.audits.audit import Audit
from core.errors import InputError
from core.measures.measure import ONE, Measure, Rows
from core.measures.on_demand import ON_DEMAND
from core.measures.registry import MEASURES
from core.measures.rows import EVERYWHERE, note, of_classes, row, row_of
from core.measures.scope import Scope
from core.tags.decisions import Decisions
from core.trials.encoder import trial_split
from core.trials.noise import SIGMA
from core.trials.outcomes import MASKED, NOISE, Outcomes
from core.types import Progress, Reporter, silent


def parts() -> tuple[str, ...]:
    """The parts of the table, each measured and stored by itself; first those that take no trial.

    The spurious score, which needs images of its own, is none (:mod:`core.measures.scores`).
    """
    found = dict.fromkeys(measure.measured_with for measure in MEASURES.seen_in(ONE))
    return tuple(sorted(found, key=is_slow))


def slow_parts() -> list[str]:
    """Those that take trials."""
    return [part for part in parts() if is_slow(part)]


WORDS = {
    "gap": "gaps of every class",
    "groups": "accuracy of every group",
    "noise": "noise on the tagged cues",
    "flip": "cues pasted on other classes' images",
    "lean": "tagged candidates put in with pixels",
    "subsets": "how little of an image is enough",
}


def words(part: str) -> str:
    """What is measured in a part; of a measure that is one by itself its title."""
    return WORDS.get(part) or MEASURES[part].title.lower()


def measured_in(part: str) -> list[Measure]:
    """The measures of a part."""
    return [measure for measure in MEASURES.seen_in(ONE) if measure.measured_with == part]


def kinds_of(some: Sequence[str]) -> list[str]:
    """The outcomes that some parts are made of."""
    needed = (kind for part in some for measure in measured_in(part) for kind in measure.needs)
    return [*dict.fromkeys(needed)]


def is_slow(part: str) -> bool:
    """Whether a part is made of trials, which take the model."""
    return bool(kinds_of([part]))


def check(what: str, sigmas: Sequence[float]) -> tuple[str, ...]:
    """The parts that ``what`` means.

    Raises
    ------
    InputError
        If it is no part, or a sigma is out of range.
    """
    every = parts()
    if what not in (*every, "all"):
        known = ", ".join((*every, *ON_DEMAND))
        raise InputError(f"--what {what!r}: choose {known} or all")
    if bad := [sigma for sigma in sigmas if not 0 <= sigma < float("inf")]:
        raise InputError(f"--sigma {bad[0]}: must be at least 0")
    return every if what == "all" else (what,)


def measure_parts(
    outcomes: Outcomes,
    some: Sequence[str],
    *,
    sigmas: Sequence[float] = (SIGMA,),
    report: Reporter = silent,
) -> Iterator[tuple[str, Rows]]:
    """Some parts in that order, each with its rows; missing outcomes are made first."""
    outcomes.make(kinds_of(some), sigmas, report=report)
    scope = Scope(outcomes.audit, outcomes.decisions, made=outcomes)
    for part in some:
        if not is_slow(part):
            report(Progress("Measuring gaps", 0, 0))
        yield part, _rows(scope, part, sigmas)


def _rows(scope: Scope, part: str, sigmas: Sequence[float]) -> Rows:
    """The rows of a part, class by class, and those about all classes."""
    chosen, rows = measured_in(part), Rows()
    noisy = {NOISE, MASKED} & set(kinds_of([part]))
    for sigma in sigmas if noisy else (SIGMA,):
        at = replace(scope, sigma=sigma)
        for label in scope.decisions.spurious:
            rows += _class_rows(at, label, chosen)
    rows += _means(rows, chosen, trial_split(scope.audit))
    return rows + [row for m in chosen if m.everywhere for row in m.everywhere(scope)]


def _class_rows(scope: Scope, label: str, chosen: Sequence[Measure]) -> Rows:
    """The rows of a class; first what it lacks, each reason once."""
    rows, lacks = Rows(), dict[str, None]()
    for measure in chosen:
        found = measure.rows(scope, label) if measure.rows else measure.samples(scope, label)
        if isinstance(found, str):
            lacks[found] = None
        else:
            rows += [
                r if isinstance(r, dict) else row_of(measure, scope, label, r) for r in found or []
            ]
    facts = scope.audit.class_facts(label)
    return [note(text, facts=facts) for text in lacks] + rows


def _means(rows: Rows, chosen: Sequence[Measure], split: str) -> Rows:
    """Unweighted means over the classes, as published."""
    averaged = {measure.name: measure for measure in chosen if measure.averaged}
    table = pd.DataFrame([row for row in rows if row["measure"] in averaged])
    if table.empty:
        return []
    return [
        row(
            EVERYWHERE,
            averaged[str(name)],
            part["value"].mean(),
            subject=str(subject),
            n=int(part["n"].sum()),
            split=split,
            note=of_classes(len(part)),
        )
        for (name, subject), part in table.groupby(["measure", "subject"], sort=False)
    ]


def missing(audit: Audit, decisions: Decisions) -> Rows:
    """What the table cannot say: classes without spurious tags, tags that lead nowhere."""
    rows = [note(text) for text in decisions.notes]
    names = [f.name for f in audit.classes if f.label not in decisions.spurious]
    if names:
        some = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        rows.append(
            note(
                f"{len(names)} of {len(audit.classes)} classes have no candidate decided "
                f"spurious and so no rows: {some}",
                n=len(names),
            )
        )
    return rows
