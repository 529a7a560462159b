"""The audit as a document for people who will never open the app."""

import streamlit as st

from core.ui import report
from core.ui.frame import shell

audit = shell.current_audit()
st.title("Report")
report.show(audit)
