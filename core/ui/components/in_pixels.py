"""What the leading candidates of a class do in pixels: their figures, and a button for the next."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import streamlit as st

from core.audits.audit import Audit
from core.audits.audit_requests import ConfirmRequest
from core.audits.audited import AuditedClass
from core.candidates.key import CandidateKey, keys_in
from core.tags.called import Names
from core.ui.frame import blocks, hints, opened, tagged, working

if TYPE_CHECKING:
    import pandas as pd

HELP = (
    "Pastes what the candidate marks in 16 training images on 32 held-out images of other classes, "
    "and asks the network: about a thousand pictures"
)


def confirmation(audit: Audit, facts: AuditedClass, kind: str) -> None:
    """Every figure of the leading candidates of a kind, and buttons for the first without one."""
    made, names = audit.files.outcomes_version, tagged.names(audit)
    found = _words(audit, facts.class_idx, made)
    leading = _leading(audit, facts.class_idx, kind, made)
    for key in leading:
        if key in found:
            st.markdown(f"**{blocks.plain(names.heading(key))}** {blocks.plain(found[key])}")
    with st.container(horizontal=True):
        _offer(audit, facts, [key for key in leading if key not in found], names)
        hints.offer(audit, facts, leading, names)


def _offer(
    audit: Audit, facts: AuditedClass, untried: Sequence[CandidateKey], names: Names
) -> None:
    """A button for the first of the candidates that were not tried in pixels."""
    if not untried:
        return
    name = names.written(untried[0])
    working.offer(
        ConfirmRequest(audit.id, facts.label, untried[0].short),
        f"{name} of {facts.name} in pixels",
        f"Confirm {blocks.plain(name)} with pixels",
        key=f"confirm-{facts.class_idx}-{untried[0].short}",
        icon=":material/fact_check:",
        help=HELP,
    )


@lru_cache(maxsize=64)
def _words(audit: Audit, class_idx: int, made: int) -> dict[CandidateKey, str]:
    """What the candidates of a class do, of those that were tried."""
    from core.trials.confirmed import confirmed, confirmed_of

    del made  # part of the key only
    table = confirmed(audit)
    mine = _of_class(audit, table, class_idx)
    figures = {key: confirmed_of(table, class_idx, key.kind, key.number) for key in mine}
    more = "" if audit.exact_maps else "; regions are approximate"
    return {key: f"pixels: {one.words}{more}" for key, one in figures.items() if one is not None}


@lru_cache(maxsize=64)
def _leading(audit: Audit, class_idx: int, kind: str, made: int) -> tuple[CandidateKey, ...]:
    """Candidates of a kind, the strongest lean in the maps first; untried ones as on the page."""
    from core.trials.leaning import LEADING, leaning

    del made  # part of the key only
    tried = leaning(audit)
    tried = tried[(tried["kind"] == kind) & tried["lean"].notna()]
    by_lean = _of_class(audit, tried.sort_values("lean", ascending=False), class_idx)
    if by_lean:
        return tuple(by_lean)
    table = blocks.ranked(opened.class_table(audit, class_idx), kind, "page")
    return tuple(_of_class(audit, table.head(LEADING), class_idx))


def _of_class(audit: Audit, table: pd.DataFrame, class_idx: int) -> list[CandidateKey]:
    label = audit.head.outputs[class_idx]
    return keys_in(table[table["class_idx"] == class_idx], label)
