"""Block of the page Data: the groups of images that people saved."""

from __future__ import annotations

from functools import lru_cache
from shlex import join

import streamlit as st

from core.audits.audit import Audit
from core.errors import SpurioscopeError
from core.storage.spreadsheet import csv_bytes
from core.tags.saved_groups import SavedGroup, figures, manifest_of
from core.types import count_of
from core.ui.frame import blocks, cards, opened, state
from core.ui.kit.gallery import gallery

CHOSEN = "saved"
"""Parameter of the address: the name of a group."""

SHOWN = 24


def groups(audit: Audit) -> None:
    """One group: how it fares, its images, and what can be made of it."""
    saved = opened.saved_groups().standing(audit.id)
    if not saved:
        blocks.empty(
            "No group yet",
            "A lasso on the **Map**, a filter on the **Ranking**, a search, an error slice or the "
            "doubted labels can be saved as a group: an attribute to slice by on every page.",
            page="pages/map.py",
            link="Open the map",
        )
        return
    titles = {
        name: f"{name} ({count_of(len(g.image_ids or ()), 'image')})" for name, g in saved.items()
    }
    group = saved[state.choose(st.selectbox, "Group", CHOSEN, titles)]
    _figures(audit, group)
    _images(audit, group)
    _use(audit, group)


@lru_cache(maxsize=32)
def _found(audit: Audit, group: SavedGroup) -> dict[str, float]:
    return figures(audit, group)


def _figures(audit: Audit, group: SavedGroup) -> None:
    found = _found(audit, group)
    cells = [("Images", f"{found['n']:,.0f}"), ("Held out", f"{found['held_out']:,.0f}")]
    if found["held_out"]:
        ends = f"{100 * found['low']:.0f} to {100 * found['high']:.0f}"
        cells.append(("Accuracy", f"{100 * found['accuracy']:.0f} % [{ends}]"))
    if found["rest"] == found["rest"]:
        cells.append(("Others of these classes", f"{100 * found['rest']:.0f} %"))
    blocks.numbers(cells)
    who = f"{group.how or 'Saved'}, by {group.annotator}, {group.at[:10]}"
    st.caption(
        f"{blocks.plain(who)}. Held-out images, 95 % interval; the others are weighted like the "
        "group's classes. Who chose a group by its errors finds errors in it: read this as a "
        "description, and test it on other images."
    )


def _images(audit: Audit, group: SavedGroup) -> None:
    given = list(group.image_ids or ())
    ids = [i for i, row in zip(given, audit.rows_of(given), strict=True) if row >= 0]
    clicked = gallery(blocks.photos(audit, ids[:SHOWN]), key="saved", size=110, label=group.name)
    if len(ids) > SHOWN:
        st.caption(f"The first {SHOWN} of {len(ids):,} images.")
    if clicked:
        state.go("pages/image.py", image=clicked)


def _use(audit: Audit, group: SavedGroup) -> None:
    """On the map, as a file, as a concept; or gone."""
    with st.container(horizontal=True):
        st.download_button(
            "Download as a manifest",
            lambda: csv_bytes(manifest_of(audit, group)),
            file_name=f"{audit.name}-{group.name}.csv",
            mime="text/csv",
            icon=":material/download:",
        )
        if st.button("Show on the map", icon=":material/scatter_plot:"):
            state.go("pages/map.py", **{CHOSEN: group.name})
        st.button(
            "Take the group back",
            icon=":material/bookmark_remove:",
            disabled=blocks.read_only(),
            on_click=_remove,
            args=(audit, group.name),
        )
    st.caption(
        f"A concept vector of it: on Mitigate, choose **{blocks.plain(group.attribute)}** as what "
        "says which images show the cue. COCO, CVAT and FiftyOne with boxes and pictures:"
    )
    asked = ["groups", "export", audit.name, "--name", group.name]
    st.code(f"python -m core {join(asked)} --format coco --out FOLDER", language="bash")


def _remove(audit: Audit, name: str) -> None:
    try:
        opened.saved_groups().remove(cards.annotator(), audit, name)
    except SpurioscopeError as error:
        st.session_state[cards.SAID] = str(error)
