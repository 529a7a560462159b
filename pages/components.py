"""Which visual cues make up the logit of one class, and where they are."""

import streamlit as st

from core.types import Kind
from core.ui import blocks, opened, shell, state
from core.ui.components import look, neighbours, pager

audit = shell.current_audit()
names = {c["label"]: c["name"] for c in audit.classes}
CARDS = 6


@st.fragment
def browse() -> None:
    """Everything below the title; a click redraws this alone."""
    first, second, third, fourth = st.columns([3, 2, 3, 2], vertical_alignment="bottom")
    with first:
        label = state.choose(
            st.selectbox, "Class", "class", list(names), format_func=lambda v: names.get(v, v)
        )
    with second:
        kind = state.choose(
            st.segmented_control,
            "Candidates",
            "kind",
            [Kind.PCA.value, Kind.NEURON.value],
            format_func={"pca": "components", "neuron": "neurons"}.__getitem__,
        )
    with third:
        ranking = state.choose(
            st.selectbox,
            "Ranked by",
            "rank",
            list(blocks.RANKINGS),
            format_func=blocks.RANKINGS.__getitem__,
        )
    with fourth:
        shown = look(audit)
    facts = audit.class_facts(label)
    table = blocks.ranked(opened.class_table(audit, facts["class_idx"]), kind, ranking)
    arrays = opened.class_arrays(audit, facts["class_idx"])
    if table.empty:
        blocks.empty(
            f"{facts['name']} has no components",
            "A class needs at least two training images. Add images, or choose another class.",
        )
        return
    pages, step = st.columns([3, 2], vertical_alignment="bottom")
    with pages:
        start = pager(len(table), CARDS)
    with step:
        neighbours(list(names))
    state.publish(["audit", "class", "kind", "rank", "n", "parts", "outline", "page"])
    clicked = None
    for place, (_, row) in enumerate(table.iloc[start : start + CARDS].iterrows(), start + 1):
        clicked = (
            blocks.candidate_card(audit, arrays, row, place, slot=place - start, **shown) or clicked
        )
        if clicked:
            state.go(
                "pages/image.py",
                image=clicked,
                component=f"{row['kind']}-{row['component']}",
                explain=label,
            )
    if facts["definition"]:
        st.caption(f"{facts['name']}: {facts['definition']}")


st.title("Components of a class")
browse()
