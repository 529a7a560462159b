"""Two models on the page Compare: components that belong together, images that flip."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.candidates.part_kind import PART
from core.errors import InputError
from core.measures.components import match_components
from core.measures.shared_images import both_predictions
from core.tags.called import Names
from core.tags.carry import match_parts
from core.types import count_of
from core.ui.frame import look, opened, state, tagged
from core.ui.frame.blocks import metrics, overlay_scale, photos
from core.ui.frame.cards import card_pictures
from core.ui.kit.columns import percent
from core.ui.kit.gallery import gallery
from core.ui.kit.text import plain

PARAMETERS = ["other", "class", "pair", "matched", "flip", *look.PARAMETERS]
FLIPS = {
    "lost": "right only in A",
    "won": "right only in B",
    "differ": "predicted differently",
}


@lru_cache(maxsize=4)
def both(a: Audit, b: Audit) -> pd.DataFrame:
    """The images of both audits."""
    return both_predictions(a, b)


@lru_cache(maxsize=32)
def matches(a: Audit, b: Audit, label: str) -> pd.DataFrame:
    """Matched components of a class."""
    return match_components(a, b, label)


def second_audit(audits: list[Audit], first: Audit) -> Audit:
    """Which of the models is B; A is the baseline."""
    names = {audit.id: audit.name for audit in audits if audit.id != first.id}
    chosen = state.choose(
        st.selectbox,
        f"A = {plain(first.name)}, B =",
        "other",
        names,
    )
    return next(audit for audit in audits if audit.id == chosen)


def show(a: Audit, b: Audit) -> str | None:
    """Components that belong together and images that flip; returns a clicked image."""
    table = both(a, b)
    headline(a, b, table)
    label = common_class(a, b)
    if label is None:
        return None
    matched(a, b, label)
    matched_parts(a, b, label)
    return flips(a, b, table, label)


def common_class(a: Audit, b: Audit) -> str | None:
    """A class that both audits have; None where there is none."""
    names = common_classes(a, b)
    if not names:
        st.info("The two audits have no class in common.", icon=":material/info:")
        return None
    return state.choose(st.selectbox, "Class", "class", names)


def headline(a: Audit, b: Audit, table: pd.DataFrame) -> None:
    """Accuracies over the images held out in both, and how many of all flip."""
    cells = metrics(4)
    held = table[table["held_out_a"] & table["held_out_b"]]
    right_a, right_b = (100 * held[f"fair_{of}"].mean() for of in "ab")
    cells[0].metric("Shared images", f"{len(table):,}", border=True)
    cells[1].metric("Accuracy of A", f"{right_a:.1f} %", border=True)
    change = f"{right_b - right_a:+.1f} points" if len(held) else None
    cells[2].metric("Accuracy of B", f"{right_b:.1f} %", change, border=True)
    differ = int((table["prediction_a"] != table["prediction_b"]).sum())
    cells[3].metric("Predicted differently", f"{differ:,}", border=True)
    models = [plain(audit.manifest.model.name) for audit in (a, b)]
    st.caption(
        f"A: {models[0]} · B: {models[1]} · accuracies are of the {len(held):,} images held out in "
        "both, by heads that did not see them; all else here is what the models say as they are, "
        "of images that they were fitted on, too"
    )


def common_classes(a: Audit, b: Audit) -> dict[str, str]:
    """Classes audited in both, label to name."""
    labels = {c.label for c in b.classes}
    return {c.label: c.name for c in a.classes if c.label in labels}


def matched(a: Audit, b: Audit, label: str) -> None:
    """The matched components, and the images of a chosen pair with both overlays."""
    table = matches(a, b, label)
    st.markdown("**Components that belong together**")
    shown = table.head(20)
    options = [str(i) for i in shown["component_a"]]
    called = tagged.names(a), tagged.names(b)
    pick = state.choose(
        st.selectbox,
        "Component of A",
        "pair",
        options,
        format_func=lambda i: _pair(table, label, called, int(i)),
    )
    row = table[table["component_a"] == int(pick)].iloc[0]
    if row["correlation"] < 0.5:
        st.warning(
            "The best match is weak: this component of A has no clear counterpart in B.",
            icon=":material/link_off:",
        )
    look.style()
    side_by_side(a, b, *_keys(label, PCA, row["component_a"], row["component_b"]))
    st.dataframe(
        shown.assign(
            component_a=shown["component_a"] + 1,
            component_b=shown["component_b"] + 1,
            share_a=100 * shown["share_a"],
            share_b=100 * shown["share_b"],
        ),
        hide_index=True,
        width="stretch",
        placeholder="",
        column_config={
            "component_a": "Component of A",
            "component_b": "Component of B",
            "quality": st.column_config.NumberColumn(
                "Best direction", format="%.2f", help="Correlation with the best direction in B"
            ),
            "correlation": st.column_config.NumberColumn("Correlation", format="%.2f"),
            "share_a": percent("Share in A"),
            "share_b": percent("Share in B"),
        },
    )


def _pair(table: pd.DataFrame, label: str, called: tuple[Names, Names], component: int) -> str:
    row = table[table["component_a"] == component].iloc[0]
    pair = zip(called, (component, int(row["component_b"])), strict=True)
    a, b = (names.written(CandidateKey(label, PCA, number)) for names, number in pair)
    return f"{a} of A ~ {b} of B (correlation {row['correlation']:.2f})"


def _keys(label: str, kind: str, in_a: float, in_b: float) -> tuple[CandidateKey, CandidateKey]:
    return CandidateKey(label, kind, int(in_a)), CandidateKey(label, kind, int(in_b))


@lru_cache(maxsize=32)
def parts_of_both(a: Audit, b: Audit, label: str) -> pd.DataFrame:
    """Matched parts of a class."""
    return match_parts(a, b, label)


def matched_parts(a: Audit, b: Audit, label: str) -> None:
    """The parts that belong together; those of a chosen one on the same images, on demand."""
    st.markdown("**Parts that belong together**")
    try:
        table = parts_of_both(a, b, label)
    except InputError as error:
        st.caption(plain(f"No parts are matched: {error}."))
        return
    first, second = tagged.names(a), tagged.names(b)
    keys = [_keys(label, PART, *row) for row in table[["part_a", "part_b"]].to_numpy()]
    shown = {
        "Part of A": [first.written(one) for one, _ in keys],
        "Part of B": [second.written(other) for _, other in keys],
        "Correlation of their maps": table["quality"],
        "Verdict": table["refused"].replace("", "the same part"),
    }
    number = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(
        pd.DataFrame(shown),
        hide_index=True,
        width="stretch",
        placeholder="",
        column_config={"Correlation of their maps": number},
    )
    options = {"": "none", **{str(one.number): first.written(one) for one, _ in keys}}
    pick = state.choose(st.selectbox, "Look at this part of A in both models", "matched", options)
    if chosen := next((pair for pair in keys if str(pair[0].number) == pick), None):
        side_by_side(a, b, *chosen)


def side_by_side(a: Audit, b: Audit, in_a: CandidateKey, in_b: CandidateKey) -> None:
    """The same images, once with A's overlay and once with B's."""
    left = opened.arrays_of(a, in_a.label)
    chosen = look.now(a)
    first = card_pictures(a, left.candidate(in_a.kind, in_a.number), chosen, top=8, weakest=0)
    there = b.rows_of([p.image_id for p in first]) >= 0
    first = tuple(p for p, seen in zip(first, there, strict=True) if seen)
    right = opened.arrays_of(b, in_b.label)
    candidate = right.candidate(in_b.kind, in_b.number)
    alpha = opened.alpha(b, candidate.key)
    second = photos(
        b,
        [p.image_id for p in first],
        candidate=candidate,
        scale=overlay_scale(right, candidate.key, alpha),
        alpha=dict(zip(right.image_ids, alpha, strict=True)),
        look=look.now(b),
    )
    shown: dict[str, Any] = {"columns": 8, "opacity": 0.8, "dims": chosen.dims, "enlarge": ""}
    st.markdown(f"A, {plain(tagged.names(a).written(in_a))}")
    gallery(first, key=f"side-a-{in_a.kind}", controls=True, label="Overlays of A", **shown)
    st.markdown(f"B, {plain(tagged.names(b).written(candidate.key))}, same images")
    gallery(second, key=f"side-b-{in_b.kind}", label="Overlays of B", **shown)


def flips(a: Audit, b: Audit, table: pd.DataFrame, label: str) -> str | None:
    """The class's images on which the two models differ; returns a clicked one."""
    which = state.choose(st.segmented_control, "Images that are", "flip", FLIPS)
    rows = table[table["label"] == label]
    right_a, right_b = rows["correct_a"].to_numpy(bool), rows["correct_b"].to_numpy(bool)
    chosen = {
        "lost": right_a & ~right_b,
        "won": right_b & ~right_a,
        "differ": (rows["prediction_a"] != rows["prediction_b"]).to_numpy(bool),
    }[which]
    ids = rows.index[chosen]
    if ids.empty:
        st.info(f"No image of this class is {FLIPS[which]}.")
        return None
    st.caption(f"{len(ids)} of {count_of(len(rows), 'image')}")
    return pairs_gallery(a, b, ids[:24].tolist(), key="flips")


def pairs_gallery(a: Audit, b: Audit, ids: list[str], *, key: str) -> str | None:
    """Images with what either model says of them; returns a clicked one."""
    first, second = photos(a, ids), photos(b, ids)
    both = [
        replace(p, caption=f"A: {p.caption} · B: {q.caption}", good=None)
        for p, q in zip(first, second, strict=True)
    ]
    return gallery(both, key=key, size=130, label="Images that flip")
