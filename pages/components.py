"""Which visual cues make up the logit of one class, and where they are."""

import streamlit as st

from core.candidates.kinds import found_kinds
from core.ui.components import components, in_pixels
from core.ui.frame import blocks, shell, state

audit = shell.current_audit()


@blocks.part
def browse() -> None:
    """Everything below the title; a click redraws this alone."""
    controls, body = st.container(), st.container()
    shown = components.view(audit)
    with body:  # goes to the browser first
        if shown.total:
            components.card_list(audit, shown)
            in_pixels.confirmation(audit, shown.facts, shown.kind)
        else:
            blocks.empty(
                f"{shown.facts.name} has no {found_kinds()[shown.kind]}",
                components.nothing(audit, shown),
            )
        components.more(audit, shown)
        if shown.facts.definition:
            st.caption(blocks.plain(f"{shown.facts.name}: {shown.facts.definition}"))
    with controls:
        components.controls(audit, shown)
    state.publish(components.PARAMETERS)


st.title("Components of a class")
browse()
