"""What harms most, one finding after the other, for people who look on."""

import streamlit as st

from core.ui import findings
from core.ui.frame import shell

audit = shell.current_audit()
st.title("Findings")
findings.browse(audit)
