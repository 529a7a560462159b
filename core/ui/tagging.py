"""Blocks of the page Tagging: one candidate per screen, a key per answer."""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache
from typing import Any

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.candidates.candidate import Candidate
from core.candidates.key import CandidateKey, keys_in
from core.candidates.kinds import KINDS, found_kinds
from core.errors import InputError, WorkspaceError
from core.tags.called import NAMELESS
from core.tags.exchange import ENDINGS, take_in_upload
from core.tags.log import TagEvent, TagStore
from core.tags.people import LONGEST_CALLED
from core.tags.queue import mixed, tagging_queue
from core.tags.votes import GOLD, count_votes
from core.trials.leaning import with_leaning
from core.types import Subtype, Tag
from core.ui.frame import (
    access,
    blocks,
    cards,
    hints,
    look,
    opened,
    pictures,
    state,
    tag_keys,
    tagged,
    uploads,
)
from core.ui.frame.words import help_on
from core.ui.kit import signs
from core.ui.kit.gallery import gallery
from core.ui.kit.text import html

ANSWERS: list[tuple[str, str, Tag, Subtype | None, str]] = [
    ("Core", "1", Tag.CORE, None, signs.ICONS[Tag.CORE]),
    ("Spurious", "2", Tag.SPURIOUS, None, signs.ICONS[Tag.SPURIOUS]),
    ("Unsure", "3", Tag.UNSURE, None, signs.ICONS[Tag.UNSURE]),
    (
        "Spurious: separate object",
        "4",
        Tag.SPURIOUS,
        Subtype.SEPARATE_OBJECT,
        ":material/category:",
    ),
    ("Spurious: background", "5", Tag.SPURIOUS, Subtype.BACKGROUND, ":material/landscape:"),
]
PARAMETERS = ["audit", "queue_kind", "depth", "others", *look.PARAMETERS, "at"]
SAID: dict[str, Any] = {
    "annotator": "Who",
    "tag": "Tag",
    "called": "Calls it",
    "subtype": "Kind",
    "confidence": st.column_config.NumberColumn("How sure, 1 to 5", format="%d"),
    "reason": "Why",
    "at": st.column_config.DatetimeColumn("When", format="YYYY-MM-DD HH:mm"),
}
"""How what others said is shown."""
TOP, WEAKEST = 6, 3
OFFERED = 5
"""Names used before that are offered at once."""


def my_tags(audit: Audit, who: str) -> dict[CandidateKey, TagEvent]:
    """What this person has tagged."""
    labels = {facts.label for facts in audit.classes}
    standing = TagStore.open(opened.workspace()).current(audit.id, who)
    return {e.key: e for e in standing if e.label in labels}


@lru_cache(maxsize=8)
def _ordered(
    audit: Audit, kinds: tuple[str, ...], depth: int, version: int
) -> tuple[CandidateKey, ...]:
    """Everything that can be asked, most important first."""
    del version  # part of the key only: of what was tried
    candidates = with_leaning(audit, audit.candidates)
    table = tagging_queue(candidates, set(), kinds=kinds, per_class=depth)
    labels = [audit.head.outputs[class_idx] for class_idx in table["class_idx"]]
    return tuple(keys_in(table.assign(label=labels)))


def gold_questions(audit: Audit) -> frozenset[CandidateKey]:
    """Candidates whose answers are known (given by the annotator "gold") and that exist."""
    return frozenset(key for key in my_tags(audit, GOLD) if opened.named(audit, str(key)))


@lru_cache(maxsize=32)
def _queue(
    audit: Audit,
    kinds: tuple[str, ...],
    depth: int,
    gold: frozenset[CandidateKey],
    who: str,
    version: int,
) -> tuple[CandidateKey, ...]:
    """What one person is asked: everything, gold questions mixed in."""
    return tuple(mixed(_ordered(audit, kinds, depth, version), gold, who))


def controls() -> tuple[tuple[str, ...], int, bool]:
    """Which candidates are asked, and whether others' tags are shown."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        kind = state.choose(
            st.segmented_control,
            "Candidates",
            "queue_kind",
            {**blocks.kinds(), "both": "all"},
            resets=["at"],
            help=help_on("component", "neuron"),
            width="content",
        )
        depth = state.number(st.slider, "Candidates of every class", "depth", 1, 64, 8, width=240)
        look.style()
        others = state.toggle("Show what others said", "others", width="content")
        tag_keys.choose()
    return tuple(found_kinds()) if kind == "both" else (kind,), depth, others


def next_untagged(
    order: tuple[CandidateKey, ...], mine: Container[CandidateKey], place: int
) -> int:
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
    wanted = opened.named(audit, state.get("at") or "")
    order = _queue(audit, kinds, depth, gold_questions(audit), who, audit.files.outcomes_version)
    if wanted is not None and wanted not in order:
        order = (wanted, *order)
    if not order:
        blocks.empty("Nothing to tag", "This audit has no components. Choose another audit.")
        return
    key = wanted or next((key for key in order if key not in mine), order[0])
    place = order.index(key)
    if state.get("at"):
        state.put("at", str(key))  # the address names what is shown, also where it named nothing
    facts = audit.class_facts(key.label)
    candidate = opened.candidate(audit, key)
    done = sum(i in mine for i in order)
    st.progress(done / len(order), text=f"{done:,} of {len(order):,} tagged by {blocks.plain(who)}")
    names = tagged.names(audit) if others or key in mine else NAMELESS
    show(audit, candidate, facts, mine.get(key), names.written(key))
    buttons(audit, order, mine, place, who)
    if others:
        show_others(audit, key)
    preload(audit, order[next_untagged(order, mine, place)])
    state.publish(PARAMETERS)


def show(
    audit: Audit, candidate: Candidate, facts: AuditedClass, mine: TagEvent | None, title: str
) -> None:
    """Top images, the weakest, histogram, class and definition."""
    said = f" · your tag: {signs.signed(mine.tag)}" if mine and mine.tag else ""
    known = "not among the candidates of this class whose gap the audit measured"
    figures = opened.figures(audit, candidate.key)
    if figures is not None:
        whole = blocks.plain(KINDS.chosen(candidate.key.kind).whole)
        known = (
            f"{100 * figures['variance_share']:.0f} % of the {whole}'s variance · accuracy gap "
            f"**{blocks.plain(blocks.gap_text(figures))}**"
        )
    meaning = f" · :gray[{blocks.plain(facts.definition)}]" if facts.definition else ""
    st.markdown(f"### {blocks.plain(f'{facts.name}: {title}')}\n{known}{said}{meaning}")
    if words := hints.hint(audit, candidate.key):
        st.caption(blocks.plain(words))
    row = st.container(horizontal=True, vertical_alignment="center")
    with row.container(width="stretch"):
        chosen = look.now(audit)
        shown = cards.card_pictures(audit, candidate, chosen, top=TOP, weakest=WEAKEST)
        clicked = gallery(
            shown,
            key="tagging",
            columns=TOP,
            size=150,
            opacity=0.8,
            dims=chosen.dims,
            enlarge=blocks.TAKE_APART,
            controls=True,
            label=f"Images of {title}, highest first, then the weakest",
            token=f"{audit.id}/{candidate.key}",
        )
    with row.container(width=200):
        url, alt = pictures.histogram_url(audit, candidate), "Histogram of alpha with accuracy"
        st.html(f'<img src="{html(url)}" alt="{html(alt)}" style="width:100%">')
    if clicked:
        component = candidate.key.short
        state.go("pages/image.py", image=clicked, component=component, explain=facts.label)


def buttons(
    audit: Audit,
    order: tuple[CandidateKey, ...],
    mine: dict[CandidateKey, TagEvent],
    place: int,
    who: str,
) -> None:
    """A button with a key for every answer, and to go on, back and undo."""
    key = order[place]
    field = f"called-{key}"

    def answer(tag: Tag, subtype: Subtype | None) -> None:
        try:
            TagStore.open(opened.workspace()).add(
                who,
                audit.id,
                key,
                tag,
                subtype=subtype,
                confidence=st.session_state.get("confidence"),
                reason=st.session_state.get("reason"),
                called=st.session_state.get(field),
            )
        except (InputError, WorkspaceError) as error:
            st.toast(blocks.plain(error), icon=":material/error:")
            return
        st.session_state["reason"] = ""
        st.session_state["confidence"] = None  # what one is sure of is said anew for each
        go_to(next_untagged(order, {*mine, key}, place))

    def go_to(where: int) -> None:
        state.put("at", str(order[where % len(order)]))

    def undo() -> None:
        try:
            event = TagStore.open(opened.workspace()).undo(who, audit.id)
        except WorkspaceError as error:
            st.toast(blocks.plain(error), icon=":material/error:")
            return
        if event is None:
            st.toast("There is nothing to undo.")
            return
        state.put("at", str(event.key))

    locked = blocks.read_only()
    with st.container(horizontal=True, gap="small"):
        chosen = tag_keys.keys()
        for (name, digit, tag, subtype, icon), short in zip(ANSWERS, chosen, strict=True):
            st.button(
                name,
                icon=icon,
                shortcut=short,
                on_click=answer,
                args=(tag, subtype),
                key=f"answer-{digit}",
                type="primary" if digit in "12" else "secondary",
                disabled=locked,
            )
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        for name, icon, short, call, arguments in (
            ("Back", "arrow_back", "left", go_to, (place - 1,)),
            ("Skip", "arrow_forward", "right", go_to, (place + 1,)),
            ("Undo", "undo", "u", undo, ()),
        ):
            st.button(
                name,
                icon=f":material/{icon}:",
                shortcut=short,
                on_click=call,
                args=arguments,
                key=f"go-{short}",
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
        _name(audit, who, key, mine.get(key), field)


def _name(audit: Audit, who: str, key: CandidateKey, mine: TagEvent | None, field: str) -> None:
    """What this person calls a candidate: saved with the answer, or at once if it has one."""
    locked = blocks.read_only()

    def save() -> None:
        if mine is None:
            return
        try:
            TagStore.open(opened.workspace()).call(who, audit.id, key, st.session_state[field])
        except (InputError, WorkspaceError) as error:
            st.toast(blocks.plain(error), icon=":material/error:")

    def use(name: str) -> None:
        st.session_state[field] = name
        save()

    written = st.text_input(
        "Call it",
        (mine.called if mine else None) or "",
        key=field,
        max_chars=LONGEST_CALLED,
        placeholder="snow, beach ball",
        on_change=save,
        disabled=locked,
    )
    used = [name for name in tagged.names_used() if name != written]
    begun = [name for name in used if name.casefold().startswith(written.casefold())]
    for name in [] if locked else (begun or used)[:OFFERED]:
        st.button(
            blocks.plain(name), key=f"call-{name}", type="tertiary", on_click=use, args=(name,)
        )


def show_others(audit: Audit, key: CandidateKey) -> None:
    """What everybody said about this candidate."""
    table = tagged.said(audit)
    table = table[table["annotator"] != GOLD]
    table = table[[said == key for said in keys_in(table)]]
    if table.empty:
        st.caption("Nobody has tagged this candidate yet.")
        return
    decision = count_votes(table)["decision"].iloc[0]
    st.markdown(f"Decision so far: {signs.signed(decision)}")
    shown = table[["annotator", "tag", "called", "subtype", "confidence", "reason", "at"]]
    shown = pd.DataFrame(shown).assign(tag=shown["tag"].map(signs.cell))
    st.dataframe(shown, hide_index=True, width="stretch", column_config=SAID)


@blocks.part
def bring(audit: Audit) -> None:
    """Read tags that were said elsewhere, and say how the file was read."""
    if blocks.read_only():
        return
    with st.expander("Read tags from a file", icon=":material/upload_file:"):
        file = st.file_uploader(
            "CSV, JSON or Parquet",
            type=[ending[1:] for ending in ENDINGS],
            help="What `tags export` writes, also after a spreadsheet has saved it, and answers of "
            "crowd workers. A row that is wrong is named and nothing is read; a file read twice "
            "changes nothing. Rows that name nobody are yours.",
        )
        if file is None:
            return
        read, added = take_in_upload(
            audit,
            TagStore.open(opened.workspace()),
            file.name,
            uploads.taken(file),
            cards.annotator(),
            alone=access.account() is not None,
        )
        said = f"{added:,} new tags of {len(read.rows):,} in {file.name}."
        st.success(blocks.plain(said), icon=":material/check:")
        for text in (*read.notes, *read.warnings):
            st.info(blocks.plain(text), icon=":material/info:")


def preload(audit: Audit, key: CandidateKey) -> None:
    """Let the browser fetch the next candidate's pictures already."""
    candidate = opened.candidate(audit, key)
    urls = [pictures.histogram_url(audit, candidate)]
    chosen = look.now(audit)
    for cell in cards.card_pictures(audit, candidate, chosen, top=TOP, weakest=WEAKEST):
        urls += [url for url in (cell.photo, cell.overlay) if url]
    images = "".join(f'<img src="{html(url)}" alt="" width="1" height="1">' for url in urls)
    st.html(f'<div aria-hidden="true" style="height:0;overflow:hidden">{images}</div>')
