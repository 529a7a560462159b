"""Images like others, or like a text, on the pages Image and Map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from core.audits.audit import Audit
from core.audits.audit_requests import SearchRequest
from core.ui.frame import blocks, state, working
from core.ui.frame.saving import save_group
from core.ui.kit.gallery import gallery

if TYPE_CHECKING:
    import pandas as pd

    from core.models.text_image import TextImageModel

SHOWN = 12
SWITCH, TEXT = "alike", "seek"
"""Parameters of the address."""


def more_like_these(audit: Audit, image_ids: Sequence[str], explain: str = "") -> None:
    """A switch, and the images most like some others by the audit's own features.

    Parameters
    ----------
    explain : label of the class that a chosen image is explained for.
    """
    if state.toggle("More like this", SWITCH):
        _show(audit, _more_like(audit, tuple(image_ids)), "alike", explain)


@lru_cache(maxsize=32)
def _more_like(audit: Audit, image_ids: tuple[str, ...]) -> pd.DataFrame:
    from core.audits.alike import more_like

    return more_like(audit, image_ids, SHOWN)


def search(audit: Audit) -> None:
    """A field for a text, where an image-text model is set up; the images most like it."""
    from core.models.text_image import chosen_folder

    if (folder := chosen_folder()) is None:
        return
    text = state.text("Search the images by a text", TEXT, placeholder="snow, a beach ball")
    if not text.strip():
        return
    with blocks.sentences():
        model = _model(folder)
        found = _found(audit, model, text, _lacking(audit, model))
        if found is not None:
            _show(audit, found, "found")
            return
        working.offer(
            SearchRequest(audit.id, text),
            f"Embedding images of {audit.name}",
            "Look at every image with the image-text model",
            key="embed",
            icon=":material/image_search:",
            help="Once for every image; each search after that takes a moment.",
        )


@lru_cache(maxsize=1)
def _model(folder: Path) -> TextImageModel:
    from core.models.text_image import TextImageModel

    return TextImageModel(folder)


def _lacking(audit: Audit, model: TextImageModel) -> int:
    """Shards whose images were not embedded yet."""
    from core.features.embeddings import Embeddings

    return len(Embeddings(audit.store, model.key).missing)


@lru_cache(maxsize=32)
def _found(audit: Audit, model: TextImageModel, text: str, lacking: int) -> pd.DataFrame | None:
    from core.audits.alike import best
    from core.features.embeddings import Embeddings

    if lacking:
        return None
    return best(audit, Embeddings(audit.store, model.key), model.texts([text])[0], SHOWN)


def _show(audit: Audit, found: pd.DataFrame, key: str, explain: str = "") -> None:
    ids = found["image_id"].tolist()
    if not ids:
        st.caption("There is no other image.")
        return
    likeness = found["likeness"].tolist()
    badges = {name: f"{value:.2f}" for name, value in zip(ids, likeness, strict=True)}
    shown = blocks.photos(audit, ids, badges=badges)
    how = f"Search for {state.get(TEXT)!r}" if key == "found" else "More like others"
    save_group(audit, ids, how, key)
    picked = gallery(shown, key=key, size=140, label="Images that are alike, most alike first")
    if picked:
        label = explain or str(audit.images_of([picked])["label"].iat[0])
        state.go("pages/image.py", image=picked, explain=label)
