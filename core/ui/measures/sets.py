"""Blocks of the page Measures: named evaluation sets, and a form that adds one."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.evaluation_set import EvaluationSet, evaluation_sets, remove_set
from core.data.named_sets import KNOWN
from core.data.open import canonical
from core.measures.measure_requests import MeasureRequest
from core.measures.registry import MEASURES
from core.measures.set_figures import CUE_SHIFT, DROP, ORIGINAL, SET_GAP, SETS
from core.types import count_of
from core.ui.frame import blocks, tagged, working
from core.ui.measures.asked import dots

MOST = 40
"""Classes that are drawn at a time."""


def show(audit: Audit) -> pd.DataFrame | None:
    """Every set beside the audit's own images, and by the cues; the table where there is one."""
    sets = evaluation_sets(audit)
    if not sets:
        blocks.empty(
            "No further set of images yet",
            "Does it hold elsewhere? Add a folder such as ImageNetV2, -A, -R or -Sketch, or photos "
            "of your own with the same classes. Nothing is learnt from them, and no figure of this "
            "audit changes.",
            icon=":material/travel_explore:",
        )
        _form(audit)
        return None
    table = SETS.known(audit, tagged.decisions(audit), MeasureRequest(audit.id, SETS.name))
    if table is None:
        blocks.empty(
            "Not measured with these tags yet",
            f"{count_of(sum(len(found.images) for found in sets.values()), 'image')} of "
            f"{count_of(len(sets), 'set')}, by their stored features: seconds, a minute for "
            "ImageNet's 1,000 classes.",
            icon=":material/travel_explore:",
        )
        working.offer(
            MeasureRequest(audit.id, SETS.name),
            f"{audit.name}: {SETS.title}",
            f"Measure {blocks.plain(SETS.title)}",
            key="run-sets",
            primary=True,
        )
    else:
        _drawn(table)
    _form(audit)
    _removal(audit, sets)
    return table if table is None else table[table["measure"] != "note"]


def _drawn(table: pd.DataFrame) -> None:
    """Accuracies, drops in words, and what the cue has to do with them."""
    notes = table.loc[table["measure"] == "note", "note"].tolist()
    if notes:
        with st.expander(f"Notes ({len(notes)})"):
            st.markdown("\n".join(f"- {blocks.plain(text)}" for text in notes))
    rows = table[(table["label"] == "") & table["measure"].isin(["accuracy", ORIGINAL.name])]
    words = {"accuracy": "the set", ORIGINAL.name: "own held-out images of its classes"}
    rows = rows.assign(place=rows["subject"], subject=rows["measure"].map(words))
    st.plotly_chart(dots(rows, "accuracy", [0, 1.02]), width="stretch", key="sets")
    for row in table[table["measure"] == DROP.name].to_dict("records"):
        st.markdown(
            f"**{blocks.plain(row['subject'])}**: the audit's own images minus the set, "
            f"{row['value']:+.1f} points [{row['low']:+.1f}, {row['high']:+.1f}]"
            f"{', not certain' if row['reading'] == 'not certain' else ''}."
        )
    _said(DROP.name)
    for measure, title in (
        (SET_GAP, "Accuracy where images of the set show most of the cue, minus where least"),
        (CUE_SHIFT, "How much more of the cue the set shows than the audit's own images"),
    ):
        of = table[(table["measure"] == measure.name) & (table["label"] != "")]
        if len(of):
            st.markdown(f"**{title}**")
            far = of["value"].abs().sort_values(ascending=False, kind="stable").index[:MOST]
            shown = of.loc[of.index.isin(far)].assign(place=lambda t: t["class_name"])
            st.plotly_chart(
                dots(shown, measure.unit or "standard deviations", zero=True),
                width="stretch",
                key=measure.name,
            )
            if len(of) > MOST:
                st.caption(f"{MOST} of {len(of):,} classes, those farthest from 0.")
            _said(measure.name)


def _said(name: str) -> None:
    meaning = MEASURES[name]
    st.caption(f"{blocks.plain(meaning.meaning)} Source: {blocks.plain(meaning.source)}.")


def _removal(audit: Audit, sets: Mapping[str, EvaluationSet]) -> None:
    """A button that takes a set away again, once that is confirmed."""
    if not blocks.may_run():
        return
    with st.popover("Remove a set", icon=":material/delete:"):
        name = st.selectbox("Which", list(sets), key="remove-which", format_func=blocks.plain)
        st.markdown(
            f"Deletes what the model made of {count_of(len(sets[name].images), 'image')}. The "
            "photos, all tags and the figures of this audit stay; add the set again to have it "
            "back."
        )
        if st.button("Delete the set", type="primary", key="remove-set"):
            with blocks.sentences():
                remove_set(audit, name)
                st.rerun()


def _form(audit: Audit) -> None:
    """A name and a folder; the job that adds them."""
    if not blocks.may_run():
        return
    with st.expander("Add a set of images"):
        left, right = st.columns([1, 3])
        known = ", ".join(known.name for known in KNOWN)
        name = left.text_input(
            "Its name",
            placeholder="imagenetv2",
            help=f"Yours to choose; known by name, with their classes: {blocks.plain(known)}.",
        )
        data = right.text_input("Its images", placeholder="/path/to/folder or manifest.csv")
        if not name.strip() or not data.strip():
            return
        with blocks.sentences():
            request = AuditRequest(name=audit.name, also={name.strip(): canonical(data.strip())})
            working.offer(request, request.title, "Add it", key="run-also", primary=True)
