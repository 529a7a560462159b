"""One tag set for all models, on the page Compare."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.errors import SpurioscopeError
from core.measures.cells import Context
from core.tags.carry import QUALITY, carry_tags, match_tags
from core.tags.log import TagStore
from core.types import count_of
from core.ui.frame import opened, state
from core.ui.frame.blocks import empty, plain, read_only, say
from core.ui.frame.words import help_on
from core.ui.kit.columns import filled

PARAMETERS = ["source"]


def show(context: Context) -> None:
    """Match the tags of one model in the others, show how well, and carry them over."""
    store = TagStore.open(opened.workspace())
    sources = {
        audit.id: audit
        for audit in context.audits
        if context.decisions[audit.id].spurious or context.decisions[audit.id].core
    }
    if not sources:
        empty(
            "No model has decided tags yet",
            "Tag candidates as **spurious** or **core** on the page **Tagging** for one of the "
            "models; then they can be carried over to the others here.",
            icon=":material/sell:",
        )
        return
    chosen = state.choose(
        st.selectbox,
        "Tags of",
        "source",
        list(sources),
        format_func=lambda i: sources[i].name if i in sources else i,
        help=help_on("carried direction"),
    )
    source = sources[chosen]
    others = [audit for audit in context.audits if audit.id != source.id]
    for target in others:
        _one(source, target, store)
    st.caption(
        "A tag goes to the direction of the other model that varies most with the tagged "
        "candidate on the class's shared training images (Neuhaus et al. 2023), a part to the "
        "part whose maps are most like its own. The match is "
        "judged on images that it was not fitted on: below a correlation of "
        f"{QUALITY:.2f} (half of the variance) it is refused."
    )
    if st.button(
        f"Carry the tags over to {count_of(len(others), 'model')}",
        type="primary",
        icon=":material/content_copy:",
        disabled=read_only(),
    ):
        for target in others:
            carry_tags(source, target, store)
        st.rerun()


def _one(source: Audit, target: Audit, store: TagStore) -> None:
    """What would be carried to one model."""
    st.markdown(f"**{plain(target.name)}**")
    try:
        matches = match_tags(source, target, store)
    except SpurioscopeError as error:
        say(error)
        return
    rows = [
        {
            "class": m.label,
            "tag": m.tag.value,
            f"in {source.name}": m.title,
            "becomes": m.becomes,
            "correlation": m.quality,
            "images": m.n_judged,
            "nearest component": m.nearest + 1 if m.nearest >= 0 else None,
            "its correlation": m.nearest_correlation,
            "verdict": m.refused or "carried over",
        }
        for m in matches
    ]
    number = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(
        filled(pd.DataFrame(rows)),
        hide_index=True,
        width="stretch",
        placeholder="",
        column_config={"correlation": number, "its correlation": number},
    )
