"""Is it the data: labels that are doubted, copies, and what tells the label without the object."""

import streamlit as st

from core.ui.data import data
from core.ui.frame import shell

audit = shell.current_audit()
st.title("Data")
data.browse(audit)
