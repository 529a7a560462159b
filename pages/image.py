"""One image: what the model sees in it, as a sum that adds up."""

import streamlit as st

from core.types import Kind
from core.ui import image as blocks
from core.ui import shell, state

audit = shell.current_audit()
st.title("Image")
image_id = state.get("image") or ""
known = image_id in audit.images.index or image_id.startswith("up")

if not known:
    chosen = blocks.browse(audit)
    chosen = blocks.upload(audit) or chosen
    state.publish(["audit", "class", "which", "page"])
    if chosen:
        state.put("image", chosen)
        state.put("explain", "")
        st.rerun()
else:
    title, caption = blocks.facts(audit, image_id)
    if st.button("Choose another image", icon=":material/arrow_back:"):
        state.put("image", "")
        st.rerun()
    st.subheader(title)
    st.caption(caption)
    names = {c["label"]: c["name"] for c in audit.classes}
    row = audit.images.loc[image_id] if image_id in audit.images.index else None
    default = audit.head.outputs[int(row["prediction"])] if row is not None else None
    if default not in names:
        default = row["label"] if row is not None else None
    left, right = st.columns([1, 1], gap="large")
    with right:
        label = state.choose(
            st.selectbox,
            "Explain the logit of",
            "explain",
            list(names),
            default=default,
            format_func=lambda v: names.get(v, v),
        )
        class_idx = audit.class_facts(label)["class_idx"]
        logits, parts = blocks.take_apart(audit, image_id, class_idx)
        blocks.predictions(audit, logits, blocks.what_if(parts, logits, class_idx))
    if not len(parts.alpha):
        st.info("This class has too few training images for components.")
        st.stop()
    with left:
        order = [f"pca-{i}" for i in parts.largest(len(parts.alpha))[0]]
        now = state.get("component") or ""
        if now.startswith(Kind.NEURON.value):
            order.insert(0, now)
        state.choose(
            st.selectbox,
            "Where is",
            "component",
            order,
            format_func=lambda v: (
                f"component {int(v[4:]) + 1} ({parts.alpha[int(v[4:])]:+.2f})"
                if v.startswith("pca-")
                else v.replace("-", " ")
            ),
        )
        method = state.choose(
            st.selectbox,
            "Method",
            "method",
            list(blocks.METHODS),
            format_func=blocks.METHODS.__getitem__,
        )
        candidate = blocks.chosen_candidate(audit, class_idx)
        blocks.overlay(audit, image_id, candidate, method)
    blocks.sum_figure(parts, names[label])
    state.publish(["audit", "image", "explain", "component", "method", "off"])
