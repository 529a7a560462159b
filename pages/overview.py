"""What was audited, and in which classes to look first."""

import streamlit as st

from core.ui.frame import blocks, look, shell, state, tagged
from core.ui.overview import leans as overview_leans
from core.ui.overview import overview

audit = shell.current_audit()
st.title(blocks.plain(audit.name))
overview.headline(audit)
overview.planted_truth(audit)

st.subheader("What each class leans on")
st.caption(
    "Ranked by **lean**: the share of other classes' images that turn into the class once the "
    "region of its strongest candidate is put into their maps, minus the same for the same shape "
    "from elsewhere in the class. Candidates tagged core are passed over. An accuracy gap is a "
    "column, not the order: a cue on every image opens none, a core feature opens one, too, and "
    "the largest of many is too large; beside it stands that of random directions which follow "
    "the logit as closely."
)


@blocks.part
def classes() -> None:
    """Cards and tables with their filters; a click redraws them alone."""
    overview_leans.offer_trials(audit)
    overview_leans.first_cards(audit, tagged.leaned_on(audit))
    chosen = overview.class_table(audit)
    overview.scatter(audit)
    state.publish(["audit", "from", "q", "sort", "only", "plot", *look.PARAMETERS])
    if chosen is not None:
        state.go("pages/components.py", **{"class": chosen, "page": ""})


classes()
overview.notes(audit)
