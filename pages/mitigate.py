"""Correct a model for its tagged cues, and see what that did to every class."""

import streamlit as st

from core.ui.frame import blocks, shell, state
from core.ui.mitigate import effect, grid, mitigate, tradeoff

audit = shell.current_audit()
PARAMETERS = [*mitigate.parameters(), *effect.PARAMETERS, *grid.PARAMETERS]


@blocks.part
def correct() -> None:
    """The form; a choice redraws it alone."""
    request = mitigate.form(audit)
    state.publish(PARAMETERS)
    if request:
        mitigate.start(request)
        st.rerun()


@blocks.part
def result() -> None:
    """One corrected model: numbers, trade-off, images."""
    chosen = effect.results(audit, derived)
    parent = effect.parent(chosen)
    effect.said(chosen)
    effect.next_steps(chosen, parent)
    table = effect.measured(chosen)
    effect.headline(table)
    effect.table_of(chosen, table)
    if parent is not None:
        tradeoff.measure_more(chosen, table)
    st.subheader("Trade-off")
    strength = tradeoff.tradeoff(chosen)
    st.subheader("Images whose prediction changed")
    clicked = effect.moved_images(parent, chosen) if parent is not None else None
    if parent is None:
        st.info("The audit that this was made from was deleted.", icon=":material/info:")
    st.subheader("Take the model elsewhere")
    effect.export(chosen)
    state.publish(PARAMETERS)
    if strength is not None and parent is not None:
        mitigate.repeat(parent, chosen, strength)
        st.rerun()
    if clicked:
        state.go("pages/image.py", audit=chosen.id, image=clicked, explain="")


@blocks.part
def generated() -> None:
    """Images made of parts of different classes, once they are opened."""
    title = "Shape of one class, texture of another"
    box = st.expander(title, key="generated", icon=":material/category:", on_change="rerun")
    if box.open:
        with box:
            grid.counterfactuals(audit)
    state.publish(PARAMETERS)


st.title("Mitigate")
derived = mitigate.derived_from(audit)
if blocks.may_run():
    with st.expander("Correct the model", expanded=not derived, icon=":material/healing:"):
        correct()
elif not derived:
    blocks.empty("No corrected model", "Nobody has corrected this model yet.")
generated()
mitigate.watch()
if derived:
    st.subheader("Before and after")
    result()
