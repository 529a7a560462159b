"""Which images are alike for the model, and what sets a group of them apart."""

import streamlit as st

from core.ui.frame import blocks, likeness, shell, state
from core.ui.map import group as map_group
from core.ui.map import map as maps

audit = shell.current_audit()


@blocks.part
def explore() -> None:
    """Everything below the title; a lasso redraws this alone."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        scope, class_idx = maps.scope(audit)
        found = maps.available(audit, class_idx)
        view = None if found is None else maps.controls(audit, scope, class_idx, found)
        if view is not None:
            maps.offer(audit, scope, found)
    if view is None:
        maps.offer(audit, scope, None)
        state.publish(maps.PARAMETERS)
        return
    likeness.search(audit)
    selected = maps.chart(audit, view)
    state.publish(maps.PARAMETERS)
    if selected:
        map_group.group(audit, view, selected)
    else:
        st.info(
            "Draw a line around a group of points, or a box: this page then says which components "
            "and neurons set that group apart from the rest of its class.",
            icon=":material/lasso_select:",
        )


st.title("Map of the images")
explore()
