"""Tag candidates, one after the other, with the keyboard."""

import streamlit as st

from core.ui import tagging
from core.ui.frame import shell

st.title("Tagging")
st.caption(
    "Does the highlighted cue belong to the object itself (**core**), or could it be there without "
    "the object (**spurious**)? Every button names its key: arrows go back and on, U undoes. Most "
    "important first; every tag is saved at once."
)
audit = shell.current_audit()
tagging.annotate(audit)
tagging.bring(audit)
