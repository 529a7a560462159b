"""One image: what the model sees in it, as a sum that adds up."""

import streamlit as st

from core.ui.frame import blocks, likeness, shell, state
from core.ui.image import concepts, enough, image, methods

audit = shell.current_audit()


@blocks.part
def choose() -> None:
    """Images of the audit, and a place for an image from elsewhere."""
    chosen = image.browse(audit)
    chosen = image.upload(audit) or chosen
    state.publish(image.BROWSING)
    if chosen:
        state.put("image", chosen)
        state.put("explain", "")
        st.rerun()


@blocks.part
def explain(image_id: str) -> None:
    """Where it is on the left; beside it what adds up to how much, and what if it did not."""
    left, right = st.columns([2, 3], gap="medium")
    with right:
        found = image.explained(audit, image_id)
        after = image.what_if(found)
        image.sum_figure(audit, found)
        image.predictions(audit, found.logits, after)
    with left:
        what = image.overlay(audit, image_id, found)
    enough.section(audit, image_id, found.class_idx)
    methods.section(audit, image_id, found.label, what, image.LOGIT)
    concepts.section(audit, image_id, found.class_idx, found.names)
    likeness.more_like_these(audit, [image_id], found.label)
    state.publish(image.EXPLAINING)


st.title("Image")
image_id = state.get("image") or ""
if image.exists(audit, image_id):
    title, caption = image.facts(audit, image_id)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(blocks.plain(title), width="content")
        st.caption(blocks.plain(caption), width="content")
        if st.button("Choose another image", icon=":material/arrow_back:"):
            state.put("image", "")
            st.rerun()
    explain(image_id)
else:
    if image_id:
        st.warning("That image is not in this audit. Choose one below.", icon=":material/search:")
    choose()
