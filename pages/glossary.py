"""Every word of the app and what it means."""

import streamlit as st

from core.ui.frame import words

st.title("Glossary")
st.caption("What it is, its unit, how to read it, and where it comes from.")
words.tour_again()
words.glossary()
