"""Rows about pasted cues: whether a cue alone turns images of other classes into its class."""

from __future__ import annotations

from collections.abc import Callable

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.measures.gaps import Rows, share
from core.measures.rows import note, row
from core.tags.decisions import Decisions
from core.trials.encoder import trial_split
from core.trials.pasted_cues import PASTES, Pasted


def flip_rows(audit: Audit, decisions: Decisions, pasted: Callable[[str], Pasted]) -> Rows:
    """How often the cue of a class, pasted on other classes' images, turns them into it.

    Parameters
    ----------
    pasted : the trial of a class, by its raw label.
    """
    rows: Rows = []
    tests = len(decisions.spurious)
    for label in decisions.spurious:
        facts, found = audit.class_facts(label), pasted(label)
        if found.table.empty:
            rows.append(note("no cue to paste, or no image of another class", facts=facts))
            continue
        rows += _flip_class(audit, facts, found, tests)
    return rows


def _flip_class(audit: Audit, facts: AuditedClass, found: Pasted, tests: int) -> Rows:
    class_idx, split = facts.class_idx, trial_split(audit)
    already = float((found.table["before"] == class_idx).mean())
    said = [f"{found.sources} {found.kind}", f"{100 * already:.1f} % had the class before"]
    if tests > 1:
        said.append(f"interval corrected for {tests} classes (Bonferroni)")
    names = ("flip_rate", "flip_rate_control", "flip_rate_object_in_front")
    rows: Rows = []
    for measure, column in zip(names, PASTES, strict=True):
        turned = found.turned(class_idx, column)
        if n := len(turned):
            hits = float(turned.sum())
            rows.append(
                row(
                    facts,
                    measure,
                    hits / n,
                    interval=share(hits, n, tests),
                    n=n,
                    split=split,
                    note="; ".join(said),
                )
            )
    above = rows[0]["low"] > rows[1]["high"]
    rows[0]["reading"] = "the cue triggers the class" if above else "not certain"
    return rows
