"""Two models on the same images: what they see alike, and which images flip."""

import streamlit as st

from core.ui import blocks, compare, shell, state

audit = shell.current_audit()
st.title("Compare two models")
other = compare.second_audit(audit)
if other is None:
    state.publish(["audit"])
    st.stop()

table = compare.both(audit, other)
compare.headline(audit, other, table)
names = compare.common_classes(audit, other)
if not names:
    st.info("The two audits have no class in common.")
    st.stop()


@blocks.part
def one_class() -> None:
    """Everything about one class."""
    label = state.choose(
        st.selectbox, "Class", "class", list(names), format_func=lambda v: names.get(v, v)
    )
    compare.matched(audit, other, label)
    clicked = compare.flips(audit, other, table, label)
    state.publish(["audit", "other", "class", "pair", "flip"])
    if clicked:
        state.go("pages/image.py", image=clicked, explain=label)


one_class()
