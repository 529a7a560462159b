"""What the tagged cues cost, as one table."""

import streamlit as st

from core.ui import measures, shell

audit = shell.current_audit()
st.title("Measures")
measures.offer(audit)
measures.show(audit)
