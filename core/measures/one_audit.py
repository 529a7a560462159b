"""The table of measures of an audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec, TypeVar

from core.audits.audit import Audit
from core.errors import InputError
from core.measures.flips import flip_rows
from core.measures.gaps import Rows, gap_rows, group_rows, reliability_rows
from core.measures.outcomes import Outcomes, kinds_of
from core.measures.regions import noise_rows
from core.measures.rows import note
from core.measures.watermark import watermark_rows
from core.tags.decisions import Decisions
from core.trials.noise import SIGMA
from core.types import Progress, Reporter, silent

P = ParamSpec("P")
T = TypeVar("T")

WHAT = ("gap", "groups", "noise", "flip")
"""Parts of the table; the spurious score needs images of its own
(:mod:`core.measures.scores`)."""


def check(what: str, sigmas: Sequence[float]) -> tuple[str, ...]:
    """The parts that ``what`` means.

    Raises
    ------
    InputError
        If it is no part, or a sigma is out of range.
    """
    if what not in (*WHAT, "all"):
        raise InputError(f"--what {what!r}: choose {', '.join(WHAT)} or all")
    if bad := [sigma for sigma in sigmas if not 0 <= sigma < float("inf")]:
        raise InputError(f"--sigma {bad[0]}: must be at least 0")
    return WHAT if what == "all" else (what,)


def measure_parts(
    outcomes: Outcomes,
    parts: Sequence[str],
    *,
    sigmas: Sequence[float] = (SIGMA,),
    report: Reporter = silent,
) -> Iterator[tuple[str, Rows]]:
    """Some parts of WHAT in that order, each with its rows; missing outcomes are made first."""
    audit, decisions = outcomes.audit, outcomes.decisions
    outcomes.make(kinds_of(parts), sigmas, report=report)
    for part in parts:
        if part == "gap":
            report(Progress("Measuring gaps", 0, 0))
            yield part, gap_rows(audit, decisions) + reliability_rows(audit, decisions)
        elif part == "groups":
            yield part, group_rows(audit)
        elif not decisions.spurious:
            yield part, []
        elif part == "noise":
            yield part, noise_rows(audit, decisions, _there(outcomes.noise), sigmas=sigmas)
        else:
            rows = flip_rows(audit, decisions, _there(outcomes.pasted))
            yield part, rows + watermark_rows(audit, [*decisions.spurious], outcomes.watermark())


def _there(read: Callable[P, T | None]) -> Callable[P, T]:
    """An outcome that was made before it is asked for."""

    def outcome(*args: P.args, **options: P.kwargs) -> T:
        found = read(*args, **options)
        assert found is not None
        return found

    return outcome


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
