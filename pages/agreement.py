"""How far annotators agree, and what is still open."""

import streamlit as st

from core.ui import agreement
from core.ui.frame import blocks, shell, state, tagged

audit = shell.current_audit()
st.title("Agreement")
table = tagged.said(audit)
state.publish(["audit"])
if table.empty:
    blocks.empty(
        "Nobody has tagged anything yet",
        "Tag candidates on the page **Tagging**, or read tags from a file there.",
        icon=":material/group:",
        page="pages/tagging.py",
        link="Tag candidates",
    )
    st.stop()
agreement.figures(table)
agreement.queue(audit)
agreement.persons(table)
