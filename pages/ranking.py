"""The images of a class, from those that show its spurious cues most to those that do least."""

import streamlit as st

from core.ui import ranking
from core.ui.frame import blocks, shell, state, tagged

audit = shell.current_audit()
st.title("Ranking")
st.caption(
    "**Spuriosity** of an image: the mean z-score of its class's cues that were tagged as "
    "spurious. Above zero: more of them than usual in the class."
)
found = tagged.decisions(audit)
if found.spurious:
    ranking.browse(audit, found)
else:
    state.publish(["audit"])
    blocks.no_cue("Images are ranked by")
