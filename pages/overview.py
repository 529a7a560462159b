"""What was audited, and in which classes to look first."""

import streamlit as st

from core.ui import blocks, overview, shell, state

audit = shell.current_audit()
st.title(blocks.plain(audit.name))
overview.headline(audit)
overview.planted_truth(audit)

st.subheader("Classes")
st.caption(
    "Ranked by the **largest accuracy gap** that any component or neuron of the class opens: "
    "accuracy on the held-out images that show it most minus accuracy on those that show it "
    "least, in percentage points, with an interval corrected for the number of candidates. "
    "Choose a row to see the class's components."
)


@blocks.part
def classes() -> None:
    """The table with its filters; a click on a filter redraws it alone."""
    chosen = overview.class_table(audit)
    overview.scatter(audit)
    state.publish(["audit", "q", "sort", "only", "plot"])
    if chosen is not None:
        state.go("pages/components.py", **{"class": chosen, "page": ""})


classes()
overview.notes(audit)
