"""Concepts of an image: which channels, components or parts a class is made of in it, and where."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.audits.image_concepts import FEW, Concept, References, concepts, kinds_of, references
from core.candidates.key import CandidateKey
from core.candidates.kinds import KINDS
from core.candidates.linear_kinds import NEURON
from core.explain.heatmaps import area_words
from core.explain.overlays import CONCEPTS
from core.tags.called import Names
from core.ui.frame import explanations, look, opened, pictures, state
from core.ui.frame.blocks import LIT, photos, plain
from core.ui.frame.words import help_on
from core.ui.kit.gallery import Picture, gallery
from core.ui.kit.text import html

SWITCH, OF, PIXELS, CHOSEN = "concepts", "concept_of", "concept_pixels", "concept"
PARAMETERS = (SWITCH, OF, PIXELS, CHOSEN)
"""Of the address."""

SHOWN, EXAMPLES = 6, 8

READING = (
    "Share: of the sum of all sizes, of those not shown, too. The atlas shows at every place the "
    "concept, of those shown, that adds most there; bare where none adds. One image: no interval."
)


def section(audit: Audit, image_id: str, class_idx: int, names: Names) -> None:
    """A switch, a table with the atlas, the picture of each, and reference images of one."""
    if not state.toggle("Concepts of this image", SWITCH, help=help_on("concept relevance")):
        return
    label = audit.head.outputs[class_idx]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = {NEURON: "channels"} | {k: KINDS[k].plural for k in kinds_of(audit, class_idx)[1:]}
        kind = state.choose(
            st.segmented_control,
            "Concepts are",
            OF,
            list(words),
            format_func=lambda name: plain(words[name]),
            resets=[CHOSEN],
        )
        deep = state.toggle("At the pixels, by LRP", PIXELS)
    found = _concepts(audit, class_idx, image_id, kind)
    titles = {c.key.short: title_of(names, c.key) for c in found}
    left, right = st.columns([1, 2], gap="medium")
    with left:
        _atlas(audit, image_id, class_idx, kind, [titles[c.key.short] for c in found])
    with right:
        st.dataframe(_table(found, titles), width="stretch", hide_index=True)
        st.caption(READING)
    _pictures(audit, image_id, label, found, titles, deep=deep)
    _references(audit, found, titles)


def title_of(names: Names, key: CandidateKey) -> str:
    """What a concept is called: what people call it, else its kind and number."""
    return f"channel {key.number}" if key.kind == NEURON else names.written(key)


@lru_cache(maxsize=32)
def _concepts(audit: Audit, class_idx: int, image_id: str, kind: str) -> tuple[Concept, ...]:
    model = opened.model_for_maps(audit, image_id)
    return tuple(concepts(audit, class_idx, image_id, kind, SHOWN, model))


def _table(found: Sequence[Concept], titles: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "concept": [titles[c.key.short] for c in found],
            "adds": [round(c.relevance, 3) for c in found],
            "share": [f"{100 * c.share:+.0f} %" for c in found],
            "where": [area_words(c.heatmap) for c in found],
        }
    )


def _atlas(audit: Audit, image_id: str, class_idx: int, kind: str, titles: Sequence[str]) -> None:
    """The image with the colour of the concept that adds most at every place."""
    url = pictures.atlas_url(audit, class_idx, kind, len(titles), image_id)
    photo = pictures.photo_url(audit, image_id, pictures.LARGE)
    alt = f"the image, coloured by {len(titles)} concepts"
    cell = Picture("atlas", photo, url, None, "which concept adds most where", alt)
    gallery([cell], key="atlas", columns=1, opacity=0.8, enlarge="", label="Atlas of concepts")
    swatches = "".join(
        f'<span style="white-space:nowrap"><span style="display:inline-block;width:.8rem;'
        f'height:.8rem;border-radius:.2rem;background:{colour}"></span> {html(title)}</span>'
        for colour, title in zip(CONCEPTS, titles, strict=False)
    )
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:.7rem;font-size:.85rem">{swatches}</div>')


def _pictures(
    audit: Audit,
    image_id: str,
    label: str,
    found: Sequence[Concept],
    titles: dict[str, str],
    *,
    deep: bool,
) -> None:
    """One picture a concept: the class through it alone."""
    how, method, notes = look.now(audit), pictures.EXACT, dict[str, None]()
    if deep:
        questions = [pictures.method_asked("crp", label, c.key) for c in found]
        said = explanations.told(audit, {str(q.candidate): q for q in questions}, image_id)
        for why in dict.fromkeys(said.refused.values()):
            st.warning(plain(why), icon=":material/info:")
        if said.lacking:
            words = "Hand these concepts down to the pixels"
            explanations.offer(audit, questions, image_id, words, "A second or two each")
        if len(said.found) == len(found):
            method, how = "crp", how._replace(style="colour")  # pixels are too small to be lit
            notes = dict.fromkeys(note for one in said.found.values() for note in one.notes)
    cells = []
    for concept in found:
        scale = float(np.abs(concept.heatmap).max()) or 1.0
        url = pictures.method_url(audit, label, concept.key, image_id, method, how, scale=scale)
        title = titles[concept.key.short]
        caption = f"{title} · {concept.relevance:+.2f}"
        photo = pictures.photo_url(audit, image_id)
        cells.append(Picture(concept.key.short, photo, url, None, caption, f"through {title}"))
    gallery(cells, key="concepts", size=150, dims=how.dims, enlarge="", label="Concepts")
    by = (
        "Handed down to the pixels by relevance propagation, all else masked at the features"
        if method == "crp"
        else "At the last maps, less the mean of the class for channels and components"
    )
    st.caption(f"{by}.{f' {LIT}.' if how.dims else ''}")
    for note in notes:
        st.caption(plain(f"LRP: {note}."))


def _references(audit: Audit, found: Sequence[Concept], titles: dict[str, str]) -> None:
    """Images that stand for one concept: that it mattered most to, and that show most of it."""
    chosen = state.choose(st.selectbox, "Reference images of", CHOSEN, titles)
    (concept,) = [c for c in found if c.key.short == chosen]
    seen = _references_of(audit, concept.key)
    name = plain(audit.class_facts(concept.key.label).name)
    shares = {i: f"{v:.0%}" for i, v in zip(seen.by_relevance, seen.shares, strict=True)}
    values = {i: f"{v:+.2f}" for i, v in zip(seen.by_activation, seen.values, strict=True)}
    _row(audit, concept.key, f"By relevance: given {name}, largest share of it", shares)
    _row(audit, concept.key, "By activation: most of it, whatever they are given", values)
    st.caption(f"Of {seen.looked_at:,} images.")


def _row(audit: Audit, key: CandidateKey, words: str, badges: dict[str, str]) -> None:
    st.markdown(f"**{plain(words)}**")
    if not badges:
        st.caption("There is none.")
        return
    how, candidate = look.now(audit), opened.candidate(audit, key)
    shown = photos(audit, list(badges), candidate=candidate, badges=badges, look=how)
    gallery(shown, key=words[:8], size=120, dims=how.dims, enlarge="", label=words)


@lru_cache(maxsize=64)
def _references_of(audit: Audit, key: CandidateKey) -> References:
    return references(audit, key, EXAMPLES, FEW)
