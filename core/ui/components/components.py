"""Blocks of the page Components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import streamlit as st

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.candidates.cluster_kind import CLUSTER
from core.candidates.kinds import found_kinds
from core.candidates.part_kind import PART
from core.ui.components import class_parts, looks, strategies
from core.ui.frame import blocks, cards, hints, look, opened, state
from core.ui.frame.pictures import Look
from core.ui.frame.words import help_on

PARAMETERS = [
    *("audit", "class", "kind", "rank", "n", *look.PARAMETERS, "page"),
    *(class_parts.NUMBER, strategies.SWITCH, looks.SWITCH, looks.METHOD),
]
RANKINGS = {**blocks.RANKINGS, looks.RANKING: "Class probability on its picture"}
PER_PAGE = 6
IMAGES = (1, 24, 5)
"""Images per card: fewest, most, at first."""


class View(NamedTuple):
    """What the page shows."""

    facts: AuditedClass
    """Of the class."""
    kind: str
    ranking: str
    page: int
    """From 1."""
    pages: int
    total: int
    """Number of candidates of the kind."""
    top: int
    look: Look


def view(audit: Audit) -> View:
    """The choices of the address and of the widgets, before those are drawn."""
    facts = audit.class_facts(state.peek("class", list(blocks.class_names(audit))))
    kind = state.peek("kind", list(found_kinds()))
    total = int((opened.class_table(audit, facts.class_idx)["kind"] == kind).sum())
    pages = max(-(-total // PER_PAGE), 1)
    return View(
        facts,
        kind,
        state.peek("rank", list(RANKINGS)),
        state.peek_number("page", 1, pages, 1),
        pages,
        total,
        state.peek_number("n", *IMAGES),
        look.now(audit),
    )


@blocks.part
def card_list(audit: Audit, shown: View) -> None:
    """The cards; a click on a tag redraws these alone, a click on a picture opens it."""
    label, class_idx = shown.facts.label, shown.facts.class_idx
    first = (shown.page - 1) * PER_PAGE
    built = cards.build(
        audit,
        class_idx,
        shown.kind,
        shown.ranking,
        first,
        first + PER_PAGE,
        shown.top,
        shown.look,
        _values(audit, shown),
    )
    token = f"{audit.id}/{class_idx}/{shown.kind}/{shown.ranking}/{first}"
    built = hints.with_hints(audit, label, cards.with_leaning(audit, class_idx, built))
    built = looks.with_looks(audit, label, built)
    clicked = cards.card_list(audit, label, built, token, shown.look)
    if clicked and clicked[1] != looks.DRAWN:
        component, image_id = clicked
        state.go("pages/image.py", image=image_id, component=component, explain=label)


def _values(audit: Audit, shown: View) -> tuple[tuple[int, float], ...]:
    """What candidates are ranked by that no table holds."""
    if shown.ranking != looks.RANKING:
        return ()
    return looks.by_probability(audit, shown.facts.label, shown.kind)


def more(audit: Audit, shown: View) -> None:
    """What is said of the class, and of the candidates on the cards, where somebody asks."""
    rows = opened.class_table(audit, shown.facts.class_idx)
    first = (shown.page - 1) * PER_PAGE
    listed = blocks.ranked(rows, shown.kind, shown.ranking, _values(audit, shown))
    listed = listed.iloc[first : first + PER_PAGE]
    names = [f"{kind}-{n}" for kind, n in listed[["kind", "component"]].to_numpy()]
    looks.section(audit, shown.facts, shown.kind, names)
    strategies.section(audit, shown.facts)


def controls(audit: Audit, shown: View) -> None:
    """Everything that can be chosen about the cards."""
    names = blocks.class_names(audit)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state.choose(
            st.selectbox,
            "Class",
            "class",
            names,
            resets=["page"],
        )
        state.choose(
            st.segmented_control,
            "Candidates",
            "kind",
            blocks.kinds(),
            resets=["page"],
            help=help_on("component", "neuron"),
        )
        state.choose(
            st.selectbox,
            "Ranked by",
            "rank",
            list(RANKINGS),
            format_func=RANKINGS.__getitem__,
            resets=["page"],
            help=help_on("variance share", "alpha", "accuracy gap", "above its control"),
        )
        look.style()
        with st.popover("Display", icon=":material/tune:"):
            state.number(st.slider, "Images per candidate", "n", *IMAGES)
            look.details(audit)
    widgets: tuple[Callable[..., Any], ...] = (st.segmented_control, st.selectbox)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state.choose(
            widgets[shown.pages > 12],
            f"Page of {shown.total:d} candidates",
            "page",
            [str(n) for n in range(1, shown.pages + 1)],
        )
        st.space("stretch")
        _buttons(audit, list(names))
    st.caption(blocks.GAPS)
    if shown.kind == PART:
        class_parts.number_of_parts(audit, shown.facts.class_idx)


def nothing(audit: Audit, shown: View) -> str:
    """Why a class has none of a kind, and what to do about it, as Markdown."""
    if shown.kind == PART:
        return blocks.plain(class_parts.lacking(audit, shown.facts.class_idx))
    if shown.kind == CLUSTER:
        return blocks.plain(strategies.lacking(audit, shown.facts))
    return "A class needs at least two training images. Add images, or choose another class."


def _buttons(audit: Audit, labels: list[str]) -> None:
    """Undo, and the class before and after the shown one; they go round."""

    def step(by: int) -> None:
        now = state.get("class")
        place = labels.index(now) if now in labels else 0
        state.put("class", labels[(place + by) % len(labels)])
        state.put("page", "1")

    if not blocks.read_only():
        st.button("Undo last tag", icon=":material/undo:", on_click=cards.undo, args=(audit,))
    for text, by, key, icon in (
        ("Previous class", -1, "left", ":material/chevron_left:"),
        ("Next class", 1, "right", ":material/chevron_right:"),
    ):
        st.button(
            text, icon=icon, on_click=step, args=(by,), shortcut=key, disabled=len(labels) < 2
        )
