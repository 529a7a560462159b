"""Blocks of the page Agreement: who said what, how far people agree, and what is still open."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.candidates.key import CandidateKey, keys_in
from core.errors import WorkspaceError
from core.tags.agreement import Agreement, agreement, disagreements, pairs, people
from core.tags.log import TagStore
from core.tags.votes import ADJUDICATION, OPEN, count_votes
from core.types import Tag, count_of
from core.ui.frame import blocks, opened, state, tagged
from core.ui.frame.words import help_on
from core.ui.kit import signs
from core.ui.kit.columns import filled

FIGURES = {
    "fleiss_kappa": ("Fleiss' kappa, all answers", help_on("Fleiss' kappa")),
    "fleiss_kappa_binary": ("Fleiss' kappa, core or spurious", help_on("Fleiss' kappa")),
    "krippendorff_alpha": ("Krippendorff's alpha", help_on("Krippendorff's alpha")),
    "unanimous": (
        "Unanimous",
        "Of the candidates with at least two answers, the share on which all agree.",
    ),
}
COUPLES: dict[str, Any] = {
    "first": "One",
    "second": "The other",
    "kappa": st.column_config.NumberColumn("Cohen's kappa", format="%.2f"),
    "common": st.column_config.NumberColumn("Answered by both", format="%d"),
}
"""How the kappas of every two people are shown."""


PERCENT = "%.0f %%"
SHARES = [*(tag.value for tag in Tag), "agreement", "gold"]
"""Columns about a person that are shares of their answers."""


def figures(table: pd.DataFrame) -> None:
    """The coefficients."""
    found = agreement(table)
    cells = st.columns(len(FIGURES))
    for cell, (key, (title, words)) in zip(cells, FIGURES.items(), strict=True):
        value = getattr(found, key)
        cell.metric(title, "–" if value is None else f"{value:.2f}", help=words, border=True)
    st.caption(
        f"{count_of(found.answers, 'answer')} by {count_of(found.annotators, 'person', 'people')} "
        f"on {count_of(found.candidates, 'candidate')}" + _fleiss(found)
    )


def _fleiss(found: Agreement) -> str:
    """What Fleiss' kappa is of; nothing where no candidate has answers of several people."""
    if not found.fleiss_candidates:
        return ""
    each = count_of(found.fleiss_answers, "answer")
    return f"; Fleiss' kappa over the {found.fleiss_candidates:,d} with {each} each"


def persons(table: pd.DataFrame) -> None:
    """Statistics per person, and kappa of every two."""
    st.subheader("People")
    st.dataframe(
        filled(_percent(people(table))),
        hide_index=True,
        width="stretch",
        placeholder="",
        column_config={
            **{
                tag.value: st.column_config.NumberColumn(signs.MARKS[tag], format=PERCENT)
                for tag in Tag
            },
            "annotator": "Who",
            "answers": st.column_config.NumberColumn("Answers", format="%d"),
            "agreement": st.column_config.NumberColumn("Agrees with the majority", format=PERCENT),
            "confidence": st.column_config.NumberColumn("How sure, 1 to 5", format="%.1f"),
            "gold": st.column_config.NumberColumn(
                "Right on gold",
                format=PERCENT,
                help="Of the gold questions that this person answered: candidates tagged by the "
                'annotator "gold", mixed into every queue.',
            ),
            "gold_answers": st.column_config.NumberColumn("Gold questions", format="%d"),
        },
    )
    couples = pairs(table)
    if len(couples):
        st.subheader("Cohen's kappa of every two people", help=help_on("Cohen's kappa"))
        st.dataframe(
            couples, hide_index=True, width="stretch", column_config=COUPLES, placeholder=""
        )
        confusion(table, couples)


def _percent(table: pd.DataFrame) -> pd.DataFrame:
    """The table of people with its shares in percent."""
    return table.assign(**{name: 100 * table[name].astype(float) for name in SHARES})


def confusion(table: pd.DataFrame, couples: pd.DataFrame) -> None:
    """What one said where another said something."""
    names = [f"{a} and {b}" for a, b in zip(couples["first"], couples["second"], strict=True)]
    chosen = st.selectbox("Confusion between", names, key="confusion")
    first, second = couples[["first", "second"]].iloc[names.index(chosen)]
    wide = table.pivot_table(
        index=["label", "kind", "component"], columns="annotator", values="tag", aggfunc="last"
    )
    both = wide[[first, second]].dropna()
    tags = [tag.value for tag in Tag]
    counts = pd.crosstab(both[first], both[second]).reindex(index=tags, columns=tags, fill_value=0)
    blocks.table(counts.rename_axis(index=f"{first} \\ {second}", columns=None))


@blocks.part
def queue(audit: Audit) -> None:
    """Candidates on which people differ; settle them here or look at them first."""
    table = tagged.said(audit)
    votes = count_votes(table)
    settled = set(keys_in(table[table["annotator"] == ADJUDICATION]))
    found = disagreements(votes)
    left = found[[key not in settled for key in keys_in(found)]]
    st.subheader(f"Disagreements: {len(left):,} left, {len(found) - len(left):,} settled")
    if left.empty:
        st.caption("Nothing is left to settle.")
        return
    names, called = opened.display(audit), tagged.names(audit)
    shown = left.head(10)
    for key, row in zip(keys_in(shown), shown.itertuples(), strict=True):
        what = blocks.plain(called.written(key))
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(
                f"**{blocks.plain(names.get(row.label, row.label))}, {what}**: "
                + " ".join(signs.signed(tag, getattr(row, tag)) for tag in Tag)
                + ("" if row.decision == OPEN else f" · majority: {signs.signed(row.decision)}")
            )
            if not blocks.read_only():
                _settling(audit, key)


def _settling(audit: Audit, key: CandidateKey) -> None:
    """Look at a candidate again, or say what it is."""
    if st.button("Look", key=f"look-{key}", icon=":material/visibility:"):
        both = {"queue_kind": "both", "depth": "64", "others": "1"}
        state.go("pages/tagging.py", at=str(key), **both)
    for tag in Tag:
        st.button(
            blocks.plain(tag.value),
            help=f"Settle it: {blocks.plain(tag.value)}",
            icon=signs.ICONS[tag],
            key=f"settle-{tag.value}-{key}",
            on_click=_settle,
            args=(audit.id, key, tag),
        )


def _settle(audit_id: str, key: CandidateKey, tag: Tag) -> None:
    """Adjudicate; the log says that it was not a vote."""
    try:
        TagStore.open(opened.workspace()).add(ADJUDICATION, audit_id, key, tag)
    except WorkspaceError as error:
        st.toast(blocks.plain(error), icon=":material/error:")
