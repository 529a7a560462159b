"""What the tagged cues cost, as one table."""

import streamlit as st

from core.ui.frame import shell
from core.ui.measures import measures

audit = shell.current_audit()
st.title("Measures")
measures.offer(audit)
measures.show(audit)
