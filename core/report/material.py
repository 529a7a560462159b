"""What a report is written from: tags, and the table of measures, which is measured once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from core import __version__
from core.audits.audit import Audit
from core.candidates.key import keys_in
from core.errors import SpurioscopeError
from core.measures.one_audit import slow_parts, words
from core.measures.stored import is_stored, known, measured
from core.storage.workspace import Workspace, fingerprint
from core.tags.decisions import Decisions, decided
from core.tags.log import TagStore
from core.tags.votes import answers
from core.trials.leaning import leading
from core.trials.outcomes import Outcomes
from core.types import Reporter, silent


@dataclass(frozen=True)
class Evidence:
    """Everything about one audit that a report may speak of."""

    audit: Audit
    decisions: Decisions
    table: pd.DataFrame
    """The table of measures (:data:`core.measures.rows.COLUMNS`)."""
    answers: pd.DataFrame
    """Every standing tag (:func:`core.tags.votes.answers`)."""
    missing: str = ""
    """What was not measured, and why; empty where all was, or nothing is tagged."""
    tried: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """What the spurious candidates of each class do (:mod:`core.trials.tagged_trial`), by raw
    label; without the classes where that was not tried."""
    among: int = 0
    """Candidates that could have been tagged by what was shown of them: those that are tried in
    the maps, and the tagged ones."""


def key(audit: Audit, decisions: Decisions) -> str:
    """Changes with the audit, with what its tags decide, and with the version."""
    tagged = {"spurious": decisions.spurious.plain, "core": decisions.core.plain}
    parts = {"audit": audit.manifest.fingerprint, "summary": audit.summary, "tags": tagged}
    if decisions.names.given:
        parts["called"] = {str(key): list(said) for key, said in decisions.names.given.items()}
    return fingerprint({**parts, "notes": decisions.notes, "code": __version__})


def is_measured(audit: Audit, decisions: Decisions) -> bool:
    """Whether a full report needs no model: all was measured before, or nothing is tagged."""
    return not decisions.spurious or not _left(audit, decisions)


def _left(audit: Audit, decisions: Decisions) -> list[str]:
    return [part for part in slow_parts() if not is_stored(audit, decisions, part)]


def gather(
    audit: Audit,
    workspace: Workspace,
    *,
    threshold: int | None = None,
    with_model: bool = True,
    report: Reporter = silent,
) -> Evidence:
    """Read the tags of an audit and what they cost, measured and stored where it is missing.

    Parameters
    ----------
    threshold : votes that decide a tag.
    with_model : also measure noise and flips where they are missing, which loads the model. A
        model or an image that is gone is said in ``missing``.
    """
    store = TagStore.open(workspace)
    decisions = decided(audit, store, threshold)
    reason = ""
    if with_model and not is_measured(audit, decisions):
        try:
            measured(audit, workspace, threshold=threshold, report=report)
        except SpurioscopeError as error:
            reason = f" ({error})"
    missing = ""
    if not is_measured(audit, decisions):
        parts = " and ".join(words(part) for part in _left(audit, decisions))
        missing = f"Not measured with these tags: {parts}{reason}."
    return Evidence(
        audit,
        decisions,
        known(audit, decisions),
        answers(store.current(audit.id)),
        missing,
        _tried(audit, decisions),
        _among(audit, decisions),
    )


def _tried(audit: Audit, decisions: Decisions) -> dict[str, pd.DataFrame]:
    outcomes = Outcomes(audit, decisions)
    found = {label: outcomes.leans(label) for label in decisions.spurious}
    return {label: table for label, table in found.items() if table is not None}


def _among(audit: Audit, decisions: Decisions) -> int:
    labels = {facts.class_idx: facts.label for facts in audit.classes}
    table = leading(audit)
    first = set(keys_in(table.assign(label=table["class_idx"].map(labels))))
    return len(first.union(*decisions.spurious.keys_of.values()))
