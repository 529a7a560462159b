"""Blocks of the page Tagging: one candidate per screen, a key per answer."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from core.audits.audit import Audit, Candidate
from core.errors import InputError, WorkspaceError
from core.tags.log import TagStore
from core.tags.queue import mixed, tagging_queue
from core.tags.votes import GOLD, count_votes
from core.types import Kind, Subtype, Tag
from core.ui import blocks, cards, opened, pictures, state, tagged
from core.ui.gallery import gallery
from core.ui.text import html
from core.ui.words import help_on

ANSWERS: list[tuple[str, str, Tag, Subtype | None, str]] = [
    ("Core", "1", Tag.CORE, None, ":material/check_circle:"),
    ("Spurious", "2", Tag.SPURIOUS, None, ":material/warning:"),
    ("Unsure", "3", Tag.UNSURE, None, ":material/help:"),
    (
        "Spurious: separate object",
        "4",
        Tag.SPURIOUS,
        Subtype.SEPARATE_OBJECT,
        ":material/category:",
    ),
    ("Spurious: background", "5", Tag.SPURIOUS, Subtype.BACKGROUND, ":material/landscape:"),
]
KINDS = {"pca": "components", "neuron": "neurons"}
PARAMETERS = ["audit", "queue_kind", "depth", "others", "at"]
TOP, WEAKEST = 6, 3


class Item(NamedTuple):
    """One candidate of the queue."""

    class_idx: int
    kind: str
    component: int

    @property
    def text(self) -> str:
        """As it stands in the address."""
        return f"{self.class_idx}.{self.kind}.{self.component}"


def my_tags(audit: Audit, who: str) -> dict[Item, str]:
    """What this person has tagged."""
    index = {facts["label"]: int(facts["class_idx"]) for facts in audit.classes}
    standing = TagStore.open(opened.workspace()).current(audit.id, who)
    return {
        Item(index[e.label], e.kind.value, e.component): e.tag.value
        for e in standing
        if e.tag and e.label in index
    }


@lru_cache(maxsize=8)
def _ordered(audit: Audit, kinds: tuple[str, ...], depth: int) -> tuple[Item, ...]:
    """Everything that can be asked, most important first."""
    table = tagging_queue(audit.candidates, set(), kinds=kinds, per_class=depth)
    rows = table[["class_idx", "kind", "component"]].itertuples(index=False, name=None)
    return tuple(Item(int(c), str(k), int(n)) for c, k, n in rows)


def gold_questions(audit: Audit) -> frozenset[Item]:
    """Candidates whose answers are known (given by the annotator "gold") and that exist."""
    return frozenset(item for item in my_tags(audit, GOLD) if exists(audit, item))


def exists(audit: Audit, item: Item) -> bool:
    """Whether the audit has this candidate; any neuron of the encoder is one."""
    if item.class_idx not in {int(facts["class_idx"]) for facts in audit.classes}:
        return False
    try:
        opened.class_arrays(audit, item.class_idx).candidate(Kind(item.kind), item.component)
    except (InputError, ValueError):
        return False
    return True


def asked(audit: Audit, order: tuple[Item, ...]) -> tuple[Item, ...]:
    """The queue, with the candidate of the address in front where it is not part of it."""
    match = re.fullmatch(r"(\d{1,9})\.([a-z]+)\.(\d{1,9})", state.get("at") or "")
    if match is None:
        return order
    item = Item(int(match[1]), match[2], int(match[3]))
    return order if item in set(order) or not exists(audit, item) else (item, *order)


@lru_cache(maxsize=32)
def _queue(
    audit: Audit, kinds: tuple[str, ...], depth: int, gold: frozenset[Item], who: str
) -> tuple[Item, ...]:
    """What one person is asked: everything, gold questions mixed in."""
    return tuple(mixed(_ordered(audit, kinds, depth), gold, who))


def controls() -> tuple[tuple[str, ...], int, bool]:
    """Which candidates are asked, and whether others' tags are shown."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        kind = state.choose(
            st.segmented_control,
            "Candidates",
            "queue_kind",
            ["pca", "neuron", "both"],
            format_func={**KINDS, "both": "both"}.__getitem__,
            resets=["at"],
            help=help_on("component", "neuron"),
            width="content",
        )
        depth = state.number(st.slider, "Candidates of every class", "depth", 1, 64, 8, width=240)
        others = state.toggle("Show what others said", "others", width="content")
    return tuple(KINDS) if kind == "both" else (kind,), depth, others


def current(order: tuple[Item, ...], mine: dict[Item, str]) -> int:
    """Place of the shown candidate: the one in the address, else the first untagged."""
    texts = {item.text: place for place, item in enumerate(order)}
    at = state.get("at")
    if at in texts:
        return texts[at]
    return next((i for i, item in enumerate(order) if item not in mine), 0)


def next_untagged(order: tuple[Item, ...], mine: dict[Item, str], place: int) -> int:
    """The next candidate without a tag after ``place``, going round; else the one after it."""
    n = len(order)
    for step in range(1, n + 1):
        if order[(place + step) % n] not in mine:
            return (place + step) % n
    return (place + 1) % n


@blocks.part
def annotate(audit: Audit) -> None:
    """One candidate; a key tags it and brings the next."""
    kinds, depth, others = controls()
    who = cards.annotator()
    mine = my_tags(audit, who)
    order = asked(audit, _queue(audit, kinds, depth, gold_questions(audit), who))
    if not order:
        blocks.empty("Nothing to tag", "This audit has no components. Choose another audit.")
        return
    place = current(order, mine)
    item = order[place]
    if state.get("at"):
        state.put("at", item.text)  # the address names what is shown, also where it named nothing
    facts = next(c for c in audit.classes if c["class_idx"] == item.class_idx)
    arrays = opened.class_arrays(audit, item.class_idx)
    candidate = arrays.candidate(Kind(item.kind), item.component)
    done = sum(i in mine for i in order)
    st.progress(done / len(order), text=f"{done} of {len(order)} tagged by {blocks.plain(who)}")
    show(audit, candidate, facts, mine.get(item))
    buttons(audit, order, mine, place, facts["label"], who)
    if others:
        show_others(audit, facts["label"], item)
    preload(audit, order[next_untagged(order, mine, place)])
    state.publish(PARAMETERS)


def show(audit: Audit, candidate: Candidate, facts: dict[str, Any], tag: str | None) -> None:
    """Top images, the weakest, histogram, class and definition."""
    said = f" · your tag: **{blocks.plain(tag)}**" if tag else ""
    known = "not among the candidates of this class whose gap the audit measured"
    if candidate.row >= 0:
        figures = opened.class_table(audit, candidate.class_idx).iloc[candidate.row]
        known = (
            f"{100 * figures['variance_share']:.0f} % of the logit's variance · accuracy gap "
            f"**{blocks.plain(blocks.gap_text(figures))}**"
        )
    title = blocks.plain(f"{facts['name']}: {candidate.title}")
    st.markdown(f"### {title}\n{known}{said}")
    if facts["definition"]:
        st.caption(blocks.plain(facts["definition"]))
    row = st.container(horizontal=True, vertical_alignment="center")
    with row.container(width="stretch"):
        shown = cards.card_pictures(audit, candidate, top=TOP, weakest=WEAKEST)
        clicked = gallery(
            shown,
            key="tagging",
            columns=TOP,
            size=150,
            opacity=0.8,
            controls=True,
            label=f"Images of {candidate.title}, highest first, then the weakest",
            token=f"{audit.id}/{candidate.class_idx}/{candidate.kind}/{candidate.component}",
        )
    with row.container(width=200):
        url, alt = pictures.histogram_url(audit, candidate), "Histogram of alpha with accuracy"
        st.html(f'<img src="{html(url)}" alt="{html(alt)}" style="width:100%">')
    if clicked:
        component = f"{candidate.kind.value}-{candidate.component}"
        state.go("pages/image.py", image=clicked, component=component, explain=facts["label"])


def buttons(
    audit: Audit,
    order: tuple[Item, ...],
    mine: dict[Item, str],
    place: int,
    label: str,
    who: str,
) -> None:
    """A button with a key for every answer, and to go on, back and undo."""
    item = order[place]

    def answer(tag: Tag, subtype: Subtype | None) -> None:
        try:
            TagStore.open(opened.workspace()).add(
                who,
                audit.id,
                label,
                Kind(item.kind),
                item.component,
                tag,
                subtype=subtype,
                confidence=st.session_state.get("confidence"),
                reason=st.session_state.get("reason"),
            )
        except WorkspaceError as error:
            st.toast(blocks.plain(error), icon=":material/error:")
            return
        st.session_state["reason"] = ""
        st.session_state["confidence"] = None  # what one is sure of is said anew for each
        go_to(next_untagged(order, {**mine, item: tag.value}, place))

    def go_to(where: int) -> None:
        state.put("at", order[where % len(order)].text)

    def undo() -> None:
        try:
            event = TagStore.open(opened.workspace()).undo(who, audit.id)
        except WorkspaceError as error:
            st.toast(blocks.plain(error), icon=":material/error:")
            return
        if event is None:
            st.toast("There is nothing to undo.")
            return
        index = {c["label"]: int(c["class_idx"]) for c in audit.classes}
        state.put("at", Item(index.get(event.label, -1), event.kind.value, event.component).text)

    locked = blocks.read_only()
    with st.container(horizontal=True, gap="small"):
        for name, key, tag, subtype, icon in ANSWERS:
            st.button(
                name,
                icon=icon,
                shortcut=key,
                on_click=answer,
                args=(tag, subtype),
                key=f"answer-{key}",
                type="primary" if key in "12" else "secondary",
                disabled=locked,
            )
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        for name, icon, key, call, arguments in (
            ("Back", "arrow_back", "left", go_to, (place - 1,)),
            ("Skip", "arrow_forward", "right", go_to, (place + 1,)),
            ("Undo", "undo", "u", undo, ()),
        ):
            st.button(
                name,
                icon=f":material/{icon}:",
                shortcut=key,
                on_click=call,
                args=arguments,
                key=f"go-{key}",
                disabled=locked and name == "Undo",
            )
        st.segmented_control(
            "How sure (1 guess, 5 sure)",
            [1, 2, 3, 4, 5],
            key="confidence",
            persist_state="session",
            disabled=locked,
        )
        st.text_input("Why", key="reason", placeholder="in your words", disabled=locked)


def show_others(audit: Audit, label: str, item: Item) -> None:
    """What everybody said about this candidate."""
    table = tagged.said(audit)
    table = table[table["annotator"] != GOLD]
    here = (table["label"] == label) & (table["kind"] == item.kind)
    table = table[here & (table["component"] == item.component)]
    if table.empty:
        st.caption("Nobody has tagged this candidate yet.")
        return
    decision = count_votes(table)["decision"].iloc[0]
    st.markdown(f"**Decision so far: {blocks.plain(decision)}**")
    shown = table[["annotator", "tag", "subtype", "confidence", "reason", "at"]]
    st.dataframe(pd.DataFrame(shown), hide_index=True, width="stretch")


def preload(audit: Audit, item: Item) -> None:
    """Let the browser fetch the next candidate's pictures already."""
    candidate = opened.class_arrays(audit, item.class_idx).candidate(
        Kind(item.kind), item.component
    )
    urls = [pictures.histogram_url(audit, candidate)]
    for cell in cards.card_pictures(audit, candidate, top=TOP, weakest=WEAKEST):
        urls += [url for url in (cell.photo, cell.overlay) if url]
    images = "".join(f'<img src="{html(url)}" alt="" width="1" height="1">' for url in urls)
    st.html(f'<div aria-hidden="true" style="height:0;overflow:hidden">{images}</div>')
