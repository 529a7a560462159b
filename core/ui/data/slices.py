"""Blocks of the page Data: of every class the group that errs most: features, words, clusters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.audits.audit_requests import DiscoverRequest
from core.candidates.cluster_kind import CLUSTER, SPACES
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.storage.spreadsheet import csv_bytes
from core.ui.frame import blocks, state, tagged, working
from core.ui.frame.saving import save_group
from core.ui.kit.gallery import gallery

SLICES, IN_SLICE = 10, 12


def by_features(audit: Audit, found: pd.DataFrame) -> None:
    """Of every class the group that errs most."""
    _erring(audit, found, "slices", "Error slices", "a group")


def by_attributes(audit: Audit, found: pd.DataFrame) -> None:
    """The same by values of one attribute, or of two."""
    if not audit.summary.attributes:
        without_attributes()
        return
    has = "one value of an attribute, or two at once,"
    _erring(audit, found, "combinations", "Slices by attributes", has)
    st.caption("A group that somebody saved for its errors errs by construction.")


def by_strategies(audit: Audit, found: pd.DataFrame) -> None:
    """The same by clusters of explanations."""
    if lacks_strategies(audit):
        return
    _erring(audit, found, "strategies", "Slices by strategies", "a cluster of its explanations")
    st.caption(
        "Clusters know no label that a model gives, but explanations of a class that is hardly "
        "seen are alike, too: look at what the images share."
    )


def lacks_strategies(audit: Audit) -> bool:
    """Whether nobody looked for clusters; then a button that finds some."""
    if (audit.candidates["kind"] == CLUSTER).any():
        return False
    blocks.empty(
        "No strategies yet",
        "Explanations of a class's images that are alike by places, channels or parts are a "
        "cluster (SpRAy). Seconds a class.",
    )
    title = f"Strategies of every class of {audit.name}"
    request = DiscoverRequest(audit.id)
    working.offer(request, title, "Find strategies", key="run-discover", primary=True)
    return True


def without_attributes() -> None:
    """Say what an attribute is."""
    blocks.empty(
        "No attribute to ask for",
        "A manifest may have columns beside path, label and split: what is seen, and where. "
        "Saved groups are attributes, too.",
    )


def _erring(audit: Audit, found: pd.DataFrame, view: str, title: str, has: str) -> None:
    """A group of every class, how much more it errs, and its images."""
    if found.empty:
        blocks.empty(
            "Too few errors for a slice",
            "No class has enough wrong held-out images, with enough to set them against, to find a "
            "group on half of them and to judge it on the other half.",
        )
        return
    st.markdown(
        f"**In {found['certain'].sum():d} of {len(found):d} classes with enough errors "
        f"{blocks.plain(has)} errs more than the rest of the class.** Found on half of the "
        "held-out images, judged on the other half; intervals hold for all classes at once."
    )
    names = blocks.class_names(audit)
    for row in found.head(SLICES).itertuples():
        name = names.get(row.label, row.label)
        st.subheader(blocks.plain(name))
        sign = ":material/warning:" if row.certain else ":material/help:"
        st.markdown(f"{sign} {blocks.plain(_said(audit, row))}")
        cells = blocks.photos(audit, list(row.image_ids)[:IN_SLICE])
        key, called = f"{view}-{row.label}", f"{title}: {name}"
        clicked = gallery(cells, key=key, size=110, label=called)
        save_group(audit, list(row.image_ids), called, key)
        if clicked:
            state.go("pages/image.py", image=clicked, explain=row.label)
    if len(found) > SLICES:
        st.caption(f"{SLICES} of {len(found):,} classes; all of them in the file.")
    listed = found["image_ids"].map(" ".join)
    hand_out(audit, view, lambda: found.assign(image_ids=listed))


def _said(audit: Audit, row: Any) -> str:
    """A slice in a sentence or two."""
    said = (
        f"{row.n:d} images: {100 * row.errs:.0f} % wrong, the rest of the class "
        f"{100 * row.rest:.0f} % (difference {blocks.interval(100 * row.low, 100 * row.high)} "
        f"points; {row.judged:d} images judge)"
    )
    if getattr(row, "component", -1) >= 0:
        called = tagged.names(audit).written(CandidateKey(row.label, PCA, row.component))
        said += f". It {row.shows} of {called} (AUROC {row.auroc:.2f})"
    if "space" in row._fields:
        called = tagged.names(audit).written(CandidateKey(row.label, CLUSTER, row.number))
        said += f". They are {called}, by {SPACES[row.space]}"
    return f"{said}. In words: {row.words}." if row.words else f"{said}."


def hand_out(audit: Audit, name: str, table: Callable[[], pd.DataFrame]) -> None:
    """A button that makes a table and hands it out."""
    st.download_button(
        "Download as CSV",
        lambda: csv_bytes(table()),
        file_name=f"{audit.name}-{name}.csv",
        mime="text/csv",
        icon=":material/download:",
    )
