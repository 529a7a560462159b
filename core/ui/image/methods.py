"""Methods side by side: several maps of one number on one image, and how far they agree."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.audits.audit_requests import ExplainRequest
from core.audits.judged import IMAGES, judged
from core.candidates.key import CandidateKey
from core.explain.attribution import ATTRIBUTIONS, method_of
from core.explain.explainer import Explanation
from core.explain.heatmaps import agreement
from core.types import FloatArray
from core.ui.frame import explanations, look, pictures, state, working
from core.ui.frame.blocks import html_list, plain
from core.ui.kit.gallery import Picture, gallery

SWITCH, CHOSEN = "methods", "beside"
PARAMETERS = (SWITCH, CHOSEN)
"""Of the address."""

FIRST = ("exact", "lrp", "integrated_gradients", "input_x_gradient")
"""Shown where none is chosen: a second or two each."""

SECONDS = "A second or two each; occlusion and the learnt mask take up to half a minute"

AGREEMENT = (
    "Agreement: rank correlation of two maps on the coarser of their grids; 1 is the same order "
    "of places, 0 none. Mirrored: the mean agreement with the others' maps turned left to right, "
    "what smooth maps of a centred image reach without knowing where anything is. One image has "
    "no interval. The exact map averages to the number, LRP sums to it; the number of a candidate "
    "is without its constant. Saliency, guided backpropagation and the learnt mask do not say "
    "what lowers it."
)

TRUST = (
    "Completeness and soundness, of the worst of three labels: whether the best pixels alone give "
    "a label what the image gives it, and no more than that. Insertion (higher is better) and "
    "deletion (lower): the probability of the class with only, and without, the best pixels. Each "
    "is averaged over shares and three fills; fill sensitivity is their spread. Stability: "
    "agreement with the map of the image with slight noise. Energy: share of what raises inside "
    "the mask over its area, 1 knows nothing. 95 % intervals, by bootstrap over images."
)


def section(audit: Audit, image_id: str, label: str, what: str, logit: str) -> None:
    """A switch, the choice of methods, their pictures and a table, and a job for what is missing.

    Parameters
    ----------
    label : of the class; what : short key of the candidate that is explained, or ``logit``.
    """
    if not state.toggle("Methods side by side", SWITCH):
        return
    titles = {name: known.title for name, known in ATTRIBUTIONS.items()}
    words = ", ".join(titles[name] for name in FIRST)
    names = state.several("Methods", CHOSEN, titles, placeholder=words) or list(FIRST)
    key = None if what == logit else CandidateKey.parse(what, label=label)
    questions = {name: pictures.method_asked(method_of(name), label, key) for name in names}
    said = explanations.told(audit, questions, image_id)
    if said.refused:
        st.html(html_list([f"{titles[name]}: {why}" for name, why in said.refused.items()]))
    if said.found:
        _show(audit, image_id, label, key, said.found)
        maps = {name: one.arrays["map"] for name, one in said.found.items()}
        st.dataframe(_table(said.found, agreements(maps)), width="stretch")
        st.caption(AGREEMENT)
    if said.lacking:
        lacking = ", ".join(titles[name] for name in said.lacking)
        words = f"Make the maps that are missing: {lacking}"
        explanations.offer(audit, list(questions.values()), image_id, words, SECONDS)
    _trust(audit, label)


def _trust(audit: Audit, label: str) -> None:
    """What every method was judged to be worth on images of the class, and a job that judges."""
    name = audit.class_facts(label).name
    table = judged(audit, label)
    if not table.empty:
        st.markdown(f"**How far the methods can be trusted for {plain(name)}**")
        st.dataframe(_judged(table), width="stretch")
        st.caption(TRUST)
    working.offer(
        ExplainRequest(audit.id, label, method="trust", count=IMAGES),
        f"Judging maps of {name}",
        f"Judge every method on up to {IMAGES} held-out images of the class",
        key="trust",
        icon=":material/balance:",
        help="Some minutes; it can be stopped, and goes on where it was.",
    )


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """A row per method, a column per figure, each with its interval."""
    shown = dict[str, dict[str, str]]()
    for row in table.itertuples(index=False):
        text = f"{row.value:.2f}"
        if row.low == row.low:
            text += f" [{row.low:.2f}, {row.high:.2f}]"
        if row.n:
            title = ATTRIBUTIONS[row.method].title if row.method in ATTRIBUTIONS else row.method
            shown.setdefault(title, {})[row.figure.replace("_", " ")] = text
    return pd.DataFrame.from_dict(shown, orient="index").rename_axis("method")


def _show(
    audit: Audit,
    image_id: str,
    label: str,
    key: CandidateKey | None,
    found: dict[str, Explanation],
) -> None:
    how = look.now(audit)._replace(style="colour")  # single pixels are too small to be lit
    shown = []
    for name, said in found.items():
        title = ATTRIBUTIONS[name].title
        scale = float(np.abs(said.arrays["map"]).max())
        url = pictures.method_url(audit, label, key, image_id, name, how, scale=scale)
        photo = pictures.photo_url(audit, image_id)
        caption = f"{title} · {_seconds(said):.1f} s"
        shown.append(Picture(name, photo, url, None, caption, f"the image by {title}"))
    gallery(shown, key="methods", size=180, enlarge="", label="Methods")
    st.caption("Every map is drawn on a scale of its own.")
    for name, said in found.items():
        for note in said.notes:
            st.caption(plain(f"{ATTRIBUTIONS[name].title}: {note}."))


def agreements(maps: dict[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Agreement of every two maps, and of each with every other one mirrored, both (m, m)."""
    every = list(maps.values())
    plain_maps = np.array([[agreement(a, b) for b in every] for a in every])
    mirrored = np.array([[agreement(a, b[:, ::-1]) for b in every] for a in every])
    return plain_maps, mirrored


def _table(found: dict[str, Explanation], agreed: tuple[FloatArray, FloatArray]) -> pd.DataFrame:
    """A row per method: what it sums to, its seconds, its agreement with each and by mirror."""
    titles = [ATTRIBUTIONS[name].title for name in found]
    rows = pd.DataFrame(agreed[0].round(2), titles, titles)
    others = ~np.eye(len(titles), dtype=bool)
    mirrored = [
        row[keep].mean() if keep.any() else np.nan
        for row, keep in zip(agreed[1], others, strict=True)
    ]
    rows["mirrored"] = np.round(mirrored, 2)
    ends = [
        _number(said, "mean" if name == pictures.EXACT else "sum") for name, said in found.items()
    ]
    rows["adds up to"] = np.round(ends, 3)
    rows["number"] = [round(_number(said, "number"), 3) for said in found.values()]
    rows["seconds"] = [round(_seconds(said), 2) for said in found.values()]
    return rows.rename_axis("method")


def _seconds(said: Explanation) -> float:
    return _number(said, "seconds")


def _number(said: Explanation, name: str) -> float:
    value = said.facts[name]
    assert isinstance(value, int | float)
    return float(value)
