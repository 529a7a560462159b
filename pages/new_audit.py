"""Audit other images or another model; the work goes on when the browser is closed."""

import streamlit as st

from core.ui import new_audit

st.title("New audit")
request = new_audit.form()
if request:
    new_audit.start(request)
st.subheader("Jobs")
new_audit.job_list()
