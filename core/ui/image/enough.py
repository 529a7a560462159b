"""How little of an image is enough: the order its parts went in, a curve, and a slider."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.audits.audit import Audit
from core.audits.audit_requests import ExplainRequest
from core.explain.fills import AUTO, WORDS
from core.ui.frame import blocks, look, opened, pictures, state, working
from core.ui.frame.words import help_on
from core.ui.kit.gallery import Picture, gallery

if TYPE_CHECKING:
    from core.explain.explainer import Explanation
    from core.explain.subsets import Order

SWITCH, FILL, EXACTLY, KEPT, WITH = "enough", "fill", "exactly", "kept", "with"
"""Parameters of the address."""


def section(audit: Audit, image_id: str, class_idx: int) -> None:
    """A switch; behind it what is stored, or a button that finds it."""
    if not state.toggle("How little is enough", SWITCH, help=help_on("sufficient subset")):
        return
    from core.audits.explained import stored

    fill = state.choose(
        st.segmented_control,
        "What is taken away is filled with",
        FILL,
        {AUTO: "what tells least", **WORDS},
        width="content",
    )
    others = opened.ensemble_members(audit)
    chosen = state.several("Averaged with (an ensemble)", WITH, others) if others else []
    way = "_".join([fill, *chosen])
    said = stored(audit, pictures.asked_of(audit, class_idx, way), image_id)
    if said is None:
        _offer(audit, image_id, class_idx, way, "Find out", "Some hundred passes: some seconds")
        return
    if chosen:
        _alone(audit, image_id, class_idx, fill)
    exactly = said
    if state.toggle("Every patch tried at every step", EXACTLY):
        way = f"exact-{way}"
        found = stored(audit, pictures.asked_of(audit, class_idx, way), image_id)
        if found is None:
            seconds = said.facts["exact_seconds"]
            assert isinstance(seconds, float)
            words = f"Find out exactly, about {max(seconds, 1):,.0f} s"
            _offer(audit, image_id, class_idx, way, words, "19,306 passes through the network")
            return
        exactly = found
    _shown(audit, image_id, class_idx, way, exactly)


def _alone(audit: Audit, image_id: str, class_idx: int, fill: str) -> None:
    """What is enough for the audit's own model, to hold that of the ensemble against."""
    from core.audits.explained import stored

    alone = stored(audit, pictures.asked_of(audit, class_idx, fill), image_id)
    words = alone.words if alone else "not asked yet; take the other models out and ask"
    st.caption(blocks.plain(f"This model alone: {words}. Below, all together."))


def _offer(
    audit: Audit, image_id: str, class_idx: int, way: str, words: str, help_text: str
) -> None:
    label = audit.head.outputs[class_idx]
    settings = pictures.subset_settings(way)
    working.offer(
        ExplainRequest(
            audit.id, label, images=image_id, settings=settings, also=tuple(way.split("_")[1:])
        ),
        "How little of an image is enough",
        blocks.plain(words),
        key=f"enough-{class_idx}-{way}-{image_id}",
        icon=":material/crop_free:",
        help=blocks.plain(help_text),
    )


def _shown(audit: Audit, image_id: str, class_idx: int, way: str, said: Explanation) -> None:
    """Picture and curve side by side, at the share that the slider says."""
    from core.explain.sis import order_of

    order = order_of(said)
    groups = len(order.removed)
    size = said.facts["size"]
    first = round(100 * size / groups) if isinstance(size, int) and size > 0 else 5
    kept = state.number(st.slider, "Share of the image that is kept, %", KEPT, 0, 100, first)
    count, how = round(kept / 100 * groups), look.now(audit)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        name = f"{count} of {groups} patches"
        cell = Picture(
            image_id,
            pictures.photo_url(audit, image_id, pictures.LARGE),
            pictures.kept_url(audit, way, class_idx, image_id, count, how),
            None,
            name,
            f"The image, {name} kept",
        )
        gallery(
            [cell],
            key="kept",
            columns=1,
            opacity=0.8,
            dims=how.dims,
            enlarge="",
            label="What is kept",
        )
    with right:
        _curve(order, kept)
        st.markdown(blocks.plain(f"{said.words[0].upper()}{said.words[1:]}."))
        st.caption(blocks.plain(_by_fill(said)))
        for note in said.notes:
            st.warning(blocks.plain(f"{note[0].upper()}{note[1:]}."), icon=":material/info:")


def _curve(order: Order, kept: int) -> None:
    from core.ui.kit.figures import kept_curve

    shares = [100 * float(left) / len(order.removed) for left in order.left]
    values = [100 * float(value) for value in order.confidence]
    st.plotly_chart(kept_curve(shares, values, kept), width="stretch", key="kept-curve")


def _by_fill(said: Explanation) -> str:
    """What the same subset is given under other fills."""
    under = said.facts["probability_by_fill"]
    alone = said.facts["probability_of_fill"]
    assert isinstance(under, dict)
    assert isinstance(alone, float)
    line = f"The fill alone: {100 * alone:.1f} %."
    if not under:
        return line
    spread = said.facts["fill_sensitivity"]
    assert isinstance(spread, float)
    each = ", ".join(f"{WORDS[name]} {100 * value:.0f} %" for name, value in under.items())
    return f"{line} The same subset on {each}: standard deviation {100 * spread:.0f} points."
