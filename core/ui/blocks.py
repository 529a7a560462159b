"""Blocks that pages are made of: cards, tags, legends, empty and error states."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.annotate.tags import TagStore
from core.audit import Audit, Candidate, ClassArrays
from core.explain.pictures import Parts
from core.types import Kind, Tag
from core.ui import opened, pictures, state
from core.ui.figures import LOWERS, RAISES
from core.ui.gallery import Picture, gallery

TAG_NAMES = {
    Tag.CORE.value: "core",
    Tag.SPURIOUS.value: "spurious",
    Tag.UNSURE.value: "unsure",
}

RANKINGS = {
    "page": "Evidence (variance, strength and gap together)",
    "gap": "Accuracy gap",
    "variance_share": "Share of the logit's variance",
    "alpha_max": "Largest alpha",
    "component": "Eigenvalue (index)",
}


def interval(low: float, high: float) -> str:
    """An interval in percentage points."""
    return f"[{low:+.0f}, {high:+.0f}]"


def gap_text(row: pd.Series | dict[str, Any], prefix: str = "") -> str:
    """A gap with its interval, or that there is none."""
    gap = row[f"{prefix}gap"]
    if gap is None or gap != gap:
        return "no held-out images"
    return f"{gap:+.0f} points {interval(row[f'{prefix}gap_low'], row[f'{prefix}gap_high'])}"


def legend(scale: float) -> None:
    """What the colours of an overlay mean."""
    ramp = f"linear-gradient(90deg,{LOWERS},transparent,{RAISES})"
    st.html(
        '<div style="display:flex;gap:.6rem;align-items:center;font-size:.85rem" role="img" '
        f'aria-label="colours from minus {scale:.2g} to plus {scale:.2g} logits">'
        f"<span>lowers the logit {-scale:.2g}</span>"
        f'<span style="width:140px;height:12px;border-radius:6px;background:{ramp};'
        'border:1px solid rgba(128,128,128,.5)"></span>'
        f"<span>{scale:+.2g} raises it</span>"
        '<span style="opacity:.75">· white line: half of the maximum</span></div>'
    )


def empty(title: str, text: str, *, icon: str = ":material/search_off:") -> None:
    """Say that there is nothing here and what to do next."""
    with st.container(border=True):
        st.markdown(f"### {icon} {title}")
        st.markdown(text)


def image_alt(audit: Audit, row: pd.Series) -> str:
    """What a photo is, in words."""
    names = display(audit)
    return f"{row['path']}, labelled {names.get(row['label'], row['label'])}"


def display(audit: Audit) -> dict[str, str]:
    """Displayed name of every raw label that is an output."""
    return dict(zip(audit.head.outputs, audit.head.names, strict=True))


def picture(
    audit: Audit,
    image_id: str,
    *,
    candidate: Candidate | None = None,
    scale: float = 1.0,
    alpha: float | None = None,
    badge: str = "",
    parts: Parts = "both",
    contour: bool = True,
    outlines: bool = False,
) -> Picture:
    """One cell of a gallery."""
    row = audit.images.loc[image_id]
    predicted = audit.head.names[int(row["prediction"])]
    said = f"{predicted} {100 * row['confidence']:.0f}%"
    overlay = (
        pictures.heat_url(audit, candidate, image_id, scale=scale, parts=parts, contour=contour)
        if candidate
        else None
    )
    return Picture(
        image_id=image_id,
        photo=pictures.photo_url(audit, image_id),
        overlay=overlay,
        outline=pictures.outline_url(audit, image_id) if outlines else None,
        caption=said if alpha is None else f"α {alpha:+.2f} · {said}",
        alt=image_alt(audit, row),
        badge=badge,
        good=bool(row["correct"]),
    )


def overlay_scale(arrays: ClassArrays, row: int) -> float:
    """Value drawn at full strength: the largest absolute value in the top images' maps."""
    if arrays.top_maps is not None and row >= 0:
        return float(np.abs(arrays.top_maps[row]).max()) or 1.0
    return float(np.abs(arrays.alpha[:, row]).max() * 3) or 1.0 if row >= 0 else 1.0


def card_pictures(
    audit: Audit,
    arrays: ClassArrays,
    row: pd.Series,
    *,
    top: int,
    weakest: int,
    parts: Parts,
    contour: bool,
    outlines: bool,
) -> list[Picture]:
    """Top images of a candidate, then the weakest for contrast."""
    candidate = arrays.candidate(Kind(row["kind"]), int(row["component"]))
    alpha = np.asarray(arrays.alpha[:, candidate.row])
    place = {image_id: i for i, image_id in enumerate(arrays.image_ids)}
    ids = list(row["top_image_ids"])[:top]
    if top > len(row["top_image_ids"]):
        order = np.argsort(-np.where(arrays.fitting, alpha, -np.inf), kind="stable")
        ids = [arrays.image_ids[i] for i in order[: min(top, int(arrays.fitting.sum()))]]
    rest = np.argsort(np.where(arrays.fitting, alpha, np.inf), kind="stable")[:weakest]
    low = [arrays.image_ids[i] for i in rest if arrays.image_ids[i] not in ids]
    scale = overlay_scale(arrays, candidate.row)
    return [
        picture(
            audit,
            image_id,
            candidate=candidate,
            scale=scale,
            alpha=float(alpha[place[image_id]]),
            badge="weakest" if image_id in low else "",
            parts=parts,
            contour=contour,
            outlines=outlines,
        )
        for image_id in [*ids, *low]
    ]


def histogram(audit: Audit, arrays: ClassArrays, candidate: Candidate) -> None:
    """Histogram of alpha with the class's accuracy along it."""
    alpha = np.asarray(arrays.alpha[:, candidate.row], np.float64)
    label = (
        f"Histogram of alpha of {candidate.title} over {len(alpha)} images, from "
        f"{alpha.min():.2f} to {alpha.max():.2f}, with the accuracy along it"
    )
    url = pictures.histogram_url(audit, candidate)
    st.html(f'<img src="{escape(url)}" alt="{escape(label)}" style="width:100%">')


@st.fragment
def tag_control(audit: Audit, label: str, candidate: Candidate) -> None:
    """Core, spurious or unsure: saved at once under the user's name, with undo of the last click."""
    who = st.session_state.get(state.ANNOTATOR) or "anonymous"
    store = TagStore.open(opened.workspace())
    mine = {(e.label, e.kind, e.component): e.tag for e in store.current(audit.id, who) if e.tag}
    standing = mine.get((label, candidate.kind, candidate.component))
    key = f"tag-{audit.id}-{label}-{candidate.kind.value}-{candidate.component}-{who}"
    st.session_state[key] = standing.value if standing else None

    def save() -> None:
        chosen = st.session_state[key]
        store.add(
            who,
            audit.id,
            label,
            candidate.kind,
            candidate.component,
            Tag(chosen) if chosen else None,
        )

    st.segmented_control(
        f"Tag of {candidate.title}",
        list(TAG_NAMES),
        format_func=TAG_NAMES.__getitem__,
        key=key,
        on_change=save,
        disabled=read_only(),
        label_visibility="collapsed",
    )


def read_only() -> bool:
    """Whether nothing may be changed (a presentation)."""
    import os

    return os.environ.get("SPURIOSCOPE_READONLY") == "1"


def undo_button(audit: Audit) -> None:
    """Take back this person's last tag in this audit."""
    who = st.session_state.get(state.ANNOTATOR) or "anonymous"
    if st.button("Undo last tag", icon=":material/undo:", disabled=read_only()):
        undone = TagStore.open(opened.workspace()).undo(who, audit.id)
        if undone is None:
            st.toast("There is nothing to undo.")
        else:
            name = display(audit).get(undone.label, undone.label)
            what = f"component {undone.component + 1}"
            if undone.kind is Kind.NEURON:
                what = f"neuron {undone.component}"
            st.toast(f"{what} of {name}: {undone.tag.value if undone.tag else 'no tag'} again")
        st.rerun()


def candidate_card(
    audit: Audit, arrays: ClassArrays, row: pd.Series, place: int, *, slot: int, **look: Any
) -> str | None:
    """One candidate: numbers, images with overlays, histogram, tag. Returns a clicked image."""
    candidate = arrays.candidate(Kind(row["kind"]), int(row["component"]))
    with st.container(border=True):
        title, tags = st.columns([5, 2], vertical_alignment="center")
        title.markdown(
            f"**{place}. {candidate.title.capitalize()}** &nbsp; "
            f"{100 * row['variance_share']:.0f} % of the logit's variance &nbsp;·&nbsp; "
            f"largest α {row['alpha_max']:.2f} &nbsp;·&nbsp; "
            f"accuracy gap **{gap_text(row)}**"
        )
        with tags:
            tag_control(audit, arrays.facts["label"], candidate)
        pictured, side = st.columns([4, 1], gap="small")
        with pictured:
            shown = card_pictures(audit, arrays, row, **look)
            clicked = gallery(
                shown,
                key=f"card{slot}",
                columns=len(shown),
                opacity=0.8,
                label=f"Images of {candidate.title}",
                controls=slot == 0,
                token=f"{audit.id}/{candidate.class_idx}/{candidate.kind}/{candidate.component}",
            )
        with side:
            histogram(audit, arrays, candidate)
            if row["gap"] == row["gap"]:
                k = row["gap_k"]
                st.caption(
                    f"accuracy {100 * row['accuracy_high']:.0f} % on the {k} held-out images "
                    f"that show it most, {100 * row['accuracy_low']:.0f} % on the {k} least"
                )
    return clicked


def ranked(table: pd.DataFrame, kind: str, ranking: str) -> pd.DataFrame:
    """The candidates of one kind in the chosen order."""
    rows = table[table["kind"] == kind]
    if ranking == "page":
        return rows.sort_values("order", kind="stable")
    return rows.sort_values(ranking, ascending=ranking == "component", kind="stable")


def html_list(items: Sequence[str]) -> str:
    """A bullet list with every item escaped."""
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
