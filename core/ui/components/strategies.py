"""Strategies of a class: its clusters with mean overlay, share and accuracy, and other classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.audits.audit import Audit
from core.audits.audit_requests import DiscoverRequest
from core.audits.audited import AuditedClass
from core.audits.strategies import Strategy, in_words, ranking, strategies
from core.candidates.cluster_kind import CLUSTER, SPACES
from core.explain.overlays import heat_png
from core.types import count_of
from core.ui.frame import blocks, opened, state, tagged, working
from core.ui.frame.words import help_on
from core.ui.kit.gallery import Picture, gallery, inline

if TYPE_CHECKING:
    import pandas as pd

SWITCH = "strategies"
"""Parameter of the address."""

COLUMNS = {
    "class_name": "class",
    "space": "by",
    "clusters": "clusters",
    "score": "Fisher score",
    "control": "of a cloud without groups",
    "p_corrected": "p, corrected",
    "smaller": "smaller side",
    "apart": "stands apart",
}
"""Of the table of classes, with their words."""

MEMBERS = 8
SIZE = 120
"""Pixels of a mean overlay."""


def section(audit: Audit, facts: AuditedClass) -> None:
    """A switch; behind it the clusters that were found, and buttons that find them."""
    if not state.toggle("Strategies of this class", SWITCH, help=help_on("cluster")):
        return
    found = strategies(audit, facts.class_idx)
    table = ranking(audit)
    mine = table[table["class_idx"] == facts.class_idx]
    for row in mine.to_dict("records"):
        st.caption(blocks.plain(f"{in_words(row)}."[:1].upper() + f"{in_words(row)}."[1:]))
    for one in found:
        _one(audit, one)
    with st.container(horizontal=True):
        offer(audit, facts)
        working.offer(
            DiscoverRequest(audit.id),
            f"Strategies of every class of {audit.name}",
            "Find strategies of every class",
            key="discover-all",
            icon=":material/hub:",
        )
    if len(table) > len(mine):
        _classes(table)


def offer(audit: Audit, facts: AuditedClass) -> None:
    """A button that finds the strategies of a class."""
    working.offer(
        DiscoverRequest(audit.id, class_name=facts.label),
        f"Strategies of {facts.name}",
        "Find strategies of this class",
        key=f"discover-{facts.class_idx}",
        icon=":material/hub:",
        help="Groups the explanations of its images by places, channels and parts: seconds",
    )


def lacking(audit: Audit, facts: AuditedClass) -> str:
    """Why a class has no clusters, and what to do about it."""
    arrays = opened.class_arrays(audit, facts.class_idx)
    if "spaces" not in arrays.of_kind(CLUSTER).arrays:
        return "Nobody looked for clusters of its explanations yet: find them below."
    return "The explanations of its images are not told apart, by places, channels or parts."


def _one(audit: Audit, one: Strategy) -> None:
    """One cluster: figures, where it looks on average, and its images."""
    accuracy = "no held-out image"
    if one.held_out:
        accuracy = (
            f"accuracy {100 * one.accuracy:.0f} % [{100 * one.low:.0f}, {100 * one.high:.0f}] on "
            f"{one.held_out} held-out images"
        )
    st.markdown(
        f"**{blocks.plain(tagged.names(audit).heading(one.key))}**, by "
        f"{blocks.plain(SPACES[one.space])}: {count_of(len(one.members), 'image')}, "
        f"{100 * one.share:.0f} % of those looked at · {blocks.plain(accuracy)}"
    )
    left, right = st.columns([1, 6], gap="small")
    with left:
        if one.overlay.any():
            words = f"Mean overlay of cluster {one.key.number + 1}"
            mean = Picture("mean", inline(_mean(one)), None, None, "mean overlay", words)
            gallery([mean], key=f"mean-{one.key.number}", columns=1, enlarge="", label=words)
    with right:
        candidate = opened.candidate(audit, one.key)
        arrays, alpha = (
            opened.class_arrays(audit, candidate.class_idx),
            opened.alpha(audit, one.key),
        )
        picked = gallery(
            blocks.photos(
                audit,
                one.members[:MEMBERS],
                candidate=candidate,
                scale=blocks.overlay_scale(arrays, one.key, alpha),
            ),
            key=f"strategy-{one.key.number}",
            label=f"Images of cluster {one.key.number + 1}",
            size=90,
        )
    if picked:
        state.go("pages/image.py", image=picked, component=one.key.short, explain=one.key.label)


def _mean(one: Strategy) -> bytes:
    return heat_png(one.overlay, float(np.max(one.overlay)), size=SIZE, parts="positive")


def _classes(table: pd.DataFrame) -> None:
    """Every class that was looked at, those first that fall in two."""
    st.markdown("**Classes by how far they fall in two**")
    st.dataframe(
        table.assign(space=table["space"].map(SPACES))[[*COLUMNS]].rename(columns=COLUMNS),
        hide_index=True,
        width="stretch",
    )
    st.caption(
        "Every class is cut in two, so that scores can be compared. Any class can be cut; what "
        "counts is whether it is cut more deeply than a cloud without groups that varies as much "
        "(p-values corrected over all rows). A class that stands apart need not be wrong: a core "
        "feature with two looks does so, too."
    )
