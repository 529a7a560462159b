"""What a report is written from: tags, and the table of measures, which is computed once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core import __version__
from core.annotate.tags import TagStore
from core.annotate.votes import answers
from core.audit import Audit
from core.errors import SpurioscopeError
from core.measures.decisions import Decisions, decided
from core.measures.table import measure
from core.store import Workspace, fingerprint, read_frame, write_frame
from core.types import Reporter, silent

QUICK = ("gap", "groups")
"""Parts of the table that need no model."""


@dataclass(frozen=True)
class Evidence:
    """Everything about one audit that a report may speak of."""

    audit: Audit
    decisions: Decisions
    table: pd.DataFrame
    """The table of measures (:data:`core.measures.rows.COLUMNS`)."""
    answers: pd.DataFrame
    """Every standing tag (:func:`core.annotate.votes.answers`)."""
    missing: str = ""
    """Why noise and flips were not measured; empty where they were, or nothing is tagged."""


def key(audit: Audit, decisions: Decisions) -> str:
    """Changes with the audit, with what its tags decide, and with the version."""
    tagged = {
        tag: {
            label: [f"{c.kind.value} {c.component}" for c in candidates]
            for label, candidates in found.items()
        }
        for tag, found in (("spurious", decisions.spurious), ("core", decisions.core))
    }
    parts = {"audit": audit.manifest["fingerprint"], "summary": audit.summary, "tags": tagged}
    return fingerprint({**parts, "notes": decisions.notes, "code": __version__})


def is_measured(audit: Audit, workspace: Workspace, threshold: int | None = None) -> bool:
    """Whether a full report needs no model: it was measured before, or nothing is tagged."""
    decisions = decided(audit, TagStore.open(workspace), threshold)
    return not decisions.spurious or _path(audit, decisions).exists()


def gather(
    audit: Audit,
    workspace: Workspace,
    *,
    threshold: int | None = None,
    with_model: bool = True,
    report: Reporter = silent,
) -> Evidence:
    """Read the tags of an audit and measure what they cost, or take it from the audit's folder.

    Parameters
    ----------
    threshold : votes that decide a tag.
    with_model : also measure noise and flips, which load the model; what was measured before is
        used in any case. A model or an image that is gone is said in ``missing``.
    """
    store = TagStore.open(workspace)
    decisions = decided(audit, store, threshold)
    said = answers(store.current(audit.id))
    path, missing = _path(audit, decisions), ""
    if not path.exists() and decisions.spurious:
        if with_model:
            missing = _measure(audit, workspace, threshold, report)
        else:
            missing = "Noise and pasted cues were left out of this report on request."
    if path.exists():
        return Evidence(audit, decisions, read_frame(path), said)
    parts = [measure(audit, workspace, what, threshold=threshold) for what in QUICK]
    table = pd.concat(parts, ignore_index=True)
    return Evidence(audit, decisions, table, said, missing)


def _measure(audit: Audit, workspace: Workspace, threshold: int | None, report: Reporter) -> str:
    """Measure everything and keep it; returns why that was not possible."""
    decisions = decided(audit, TagStore.open(workspace), threshold)
    try:
        table = measure(audit, workspace, threshold=threshold, report=report)
    except SpurioscopeError as error:
        return f"Noise and pasted cues could not be measured: {error}"
    write_frame(_path(audit, decisions), table)
    return ""


def _path(audit: Audit, decisions: Decisions) -> Path:
    return audit.folder / "measures" / f"{key(audit, decisions)}.parquet"
