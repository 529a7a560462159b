"""Blocks of the page Ranking: the images of a class by the strength of its spurious cues."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache

import numpy as np
import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.candidates.candidate import Candidate
from core.candidates.key import CandidateKey
from core.statistics.gap_control import gap_control
from core.statistics.spuriosity import spurious_gap
from core.storage.spreadsheet import csv_bytes
from core.tags.called import Names
from core.tags.decisions import Decisions, spuriosity_of
from core.types import count_of
from core.ui.frame import blocks, look, opened, state
from core.ui.frame.saving import save_group
from core.ui.frame.words import help_on
from core.ui.kit import figures
from core.ui.kit.gallery import gallery
from core.ui.kit.text import html

PARAMETERS = ["audit", "class", "share", "by", "value", "cue", *look.PARAMETERS]
EVERY = "every image"
SHOWN = 12


@lru_cache(maxsize=16)
def _ranked(audit: Audit, label: str, keys: tuple[CandidateKey, ...]) -> pd.DataFrame:
    table = spuriosity_of(audit, label, [opened.candidate(audit, key) for key in keys])
    table = table[table["spuriosity"].notna() | table["spuriosity"].isna().all()]
    attributes = audit.images_of(table["image_id"])[list(audit.summary.attributes)]
    return pd.concat([table, attributes.reset_index(drop=True)], axis=1)


@blocks.part
def browse(audit: Audit, found: Decisions) -> None:
    """One class: its ranking, both ends, and what follows."""
    names = {k: v for k, v in blocks.class_names(audit).items() if k in found.spurious}
    row = st.container(horizontal=True, vertical_alignment="bottom")
    with row:
        label = state.choose(st.selectbox, "Class", "class", names)
    candidates = found.spurious[label]
    table = _ranked(audit, label, tuple(c.key for c in candidates))
    with row:
        table = filtered(audit, table)
        percent = state.number(
            st.slider,
            "Share of images at either end, %",
            "share",
            5,
            50,
            25,
            help=help_on("ranking"),
        )
    if table.empty or table["spuriosity"].isna().all():
        blocks.empty("No image to rank", "Change the filter, or tag a candidate that varies.")
        return
    headline(audit, label, candidates, table, len(found.spurious))
    picture, words = along(table)
    content = b64encode(picture.encode()).decode()
    st.html(
        f'<img src="data:image/svg+xml;base64,{content}" alt="{html(words)}" '
        'style="width:100%;max-height:280px">'
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = overlay_of(candidates, found.names)
        look.style()
    clicked = both_ends(audit, table, chosen, percent / 100)
    st.download_button(
        "Download the ranking",
        lambda: csv_bytes(table),
        file_name=f"ranking-{label}.csv",
        mime="text/csv",
        icon=":material/download:",
    )
    how = f"Ranking of {label}, {state.get('by') or EVERY}"
    save_group(audit, table["image_id"].tolist(), how, "ranking")
    state.publish(PARAMETERS)
    if clicked:
        component = chosen.key.short
        state.go("pages/image.py", image=clicked, component=component, explain=label)


def filtered(audit: Audit, table: pd.DataFrame) -> pd.DataFrame:
    """The images of one split or with one value of an attribute."""
    options = [EVERY] + [f"split = {v}" for v in sorted(table["split"].unique())]
    choices = {f"split = {v}": ("split", v) for v in table["split"].unique()}
    for name in audit.summary.attributes:
        values = table[name].dropna().unique()
        if len(values) <= 20:
            for value in sorted(values, key=str):
                options.append(f"{name} = {value}")
                choices[options[-1]] = (name, value)
    chosen = state.choose(st.selectbox, "Images", "by", options)
    if chosen == EVERY:
        return table
    column, value = choices[chosen]
    return table[table[column] == value]


@lru_cache(maxsize=64)
def _control(
    audit: Audit, label: str, keys: tuple[CandidateKey, ...], image_ids: tuple[str, ...]
) -> float:
    """Points that random directions open which follow the logit as closely; NaN without any."""
    held = _ranked(audit, label, keys).set_index("image_id").loc[list(image_ids)].reset_index()
    arrays = opened.class_arrays(audit, audit.class_facts(label).class_idx)
    rows = pd.Index(arrays.image_ids).get_indexer(held["image_id"])
    components = np.asarray(arrays.alpha[rows, : arrays.components], np.float64)
    logit = components.sum(axis=1) + np.asarray(arrays.residual, np.float64)[rows]
    correct, scores = held["correct"].to_numpy(bool), held[["spuriosity"]].to_numpy(np.float64)
    return float(gap_control(correct, scores, logit, components).gap[0])


def headline(
    audit: Audit, label: str, candidates: list[Candidate], table: pd.DataFrame, tests: int
) -> None:
    """The spurious gap over the held-out images, corrected for ``tests`` classes."""
    held = table[table["held_out"]]
    gap = spurious_gap(
        held["correct"].to_numpy(dtype=bool),
        held["spuriosity"].to_numpy(dtype=np.float64),
        tests=tests,
    )
    cells = st.columns(3)
    if not gap.k:
        st.info("There are too few held-out images here for a gap.", icon=":material/info:")
        return
    cells[0].metric(
        "Spurious gap",
        f"{gap.gap:+.0f} points",
        help=f"Accuracy on the {gap.k:d} held-out images of highest spuriosity minus that on the "
        f"{gap.k:d} lowest. 95 % interval {blocks.interval(gap.low, gap.high)}. Positive: the cue "
        "helps where it is present (clarifying); negative: it confuses.",
        border=True,
    )
    cells[1].metric(f"Accuracy, {gap.k:d} highest", f"{100 * gap.accuracy_high:.0f} %", border=True)
    cells[2].metric(f"Accuracy, {gap.k:d} lowest", f"{100 * gap.accuracy_low:.0f} %", border=True)
    keys = tuple(candidate.key for candidate in candidates)
    control = _control(audit, label, keys, tuple(held["image_id"]))
    said = "cannot be told from zero" if gap.low <= 0 <= gap.high else gap.reading
    st.caption(
        f"{blocks.plain(said)}, interval {blocks.interval(gap.low, gap.high)} points, "
        f"{gap.n:d} held-out images"
        + (f"; corrected for {tests:d} classes (Bonferroni)" if tests > 1 else "")
        + (f". Random directions open {control:+.0f} points. " if control == control else ". ")
        + blocks.GAPS
    )


def along(table: pd.DataFrame) -> tuple[str, str]:
    """Accuracy and confidence along the ranking, in up to twelve slices of equal size."""
    from core.ui.kit.palette import ACCURACY, NEUTRAL

    slices = np.array_split(np.arange(len(table))[::-1], min(12, max(len(table) // 8, 1)))
    scores, correct, confidence = (
        table[name].to_numpy(np.float64) for name in ("spuriosity", "correct", "confidence")
    )
    return figures.along_svg(
        [float(scores[s].mean()) for s in slices],
        {
            "accuracy": (ACCURACY, [float(correct[s].mean()) for s in slices]),
            "mean confidence": (NEUTRAL, [float(confidence[s].mean()) for s in slices]),
        },
        title="spuriosity (mean z-score of the tagged cues)",
    )


def overlay_of(candidates: list[Candidate], names: Names) -> Candidate:
    """Which of the tagged cues is drawn over the images."""
    by_name = {c.key.short: c for c in candidates}
    chosen = state.choose(
        st.selectbox,
        "Overlay",
        "cue",
        list(by_name),
        help=help_on("exact map"),
        format_func=lambda name: names.written(by_name[name].key) if name in by_name else name,
    )
    return by_name[chosen]


def both_ends(audit: Audit, table: pd.DataFrame, candidate: Candidate, share: float) -> str | None:
    """Images of highest and lowest spuriosity side by side; returns a clicked one."""
    count, shown = max(1, round(share * len(table))), look.now(audit)
    arrays = opened.class_arrays(audit, candidate.class_idx)
    scale = blocks.overlay_scale(arrays, candidate.key, opened.alpha(audit, candidate.key))
    clicked = None
    ends = {"Highest spuriosity": table.head(count), "Lowest spuriosity": table.tail(count)[::-1]}
    for column, (title, rows) in zip(st.columns(2, gap="large"), ends.items(), strict=True):
        with column:
            accuracy = 100 * rows["correct"].mean()
            st.markdown(f"**{title}**: {count_of(len(rows), 'image')}, accuracy {accuracy:.0f} %")
            badges = {
                i: f"{s:+.1f}" for i, s in zip(rows["image_id"], rows["spuriosity"], strict=True)
            }
            cells = blocks.photos(
                audit,
                rows["image_id"].head(SHOWN).tolist(),
                candidate=candidate,
                scale=scale,
                badges=badges,
                look=shown,
            )
            answer = gallery(
                cells,
                key=title,
                columns=4,
                size=110,
                opacity=0.8,
                dims=shown.dims,
                enlarge=blocks.TAKE_APART,
                label=title,
            )
            clicked = answer or clicked
    return clicked
