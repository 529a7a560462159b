"""The cards of the page Components: built once per class and view, sent as one element."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.candidates.candidate import Candidate
from core.candidates.key import CandidateKey
from core.candidates.kinds import KINDS
from core.errors import InputError, WorkspaceError
from core.tags.called import Names
from core.tags.log import TagStore
from core.trials.leaning import leaning
from core.types import Tag
from core.ui.frame import access, opened, pictures, state, tagged
from core.ui.frame.blocks import (
    LIT,
    TAKE_APART,
    gap_text,
    overlay_scale,
    photos,
    plain,
    ranked,
    read_only,
)
from core.ui.frame.pictures import Look
from core.ui.kit.gallery import Card, Picture, cards

LEGEND = (
    "lowers the logit",
    "raises it",
    "white line: half of the maximum · every card has its own scale",
)

LIT_LEGEND = ("", "", LIT)

WEAKEST = 2
SAID = "said"
"""Where callbacks leave what the run after them tells the user."""


def annotator() -> str:
    """Name under which tags are saved."""
    return access.account() or str(st.session_state.get(state.ANNOTATOR) or "anonymous")


@lru_cache(maxsize=256)
def build(
    audit: Audit,
    class_idx: int,
    kind: str,
    ranking: str,
    start: int,
    stop: int,
    top: int,
    look: Look,
    values: tuple[tuple[int, float], ...] = (),
) -> tuple[Card, ...]:
    """The cards of one page of candidates; values as for :func:`ranked`."""
    table = opened.class_table(audit, class_idx)
    rows = ranked(table, kind, ranking, values).iloc[start:stop]
    return tuple(
        _card(audit, class_idx, row, place, top, look)
        for place, (_, row) in enumerate(rows.iterrows(), start + 1)
    )


def _card(audit: Audit, class_idx: int, row: pd.Series, place: int, top: int, look: Look) -> Card:
    arrays = opened.class_arrays(audit, class_idx)
    candidate = arrays.candidate(row["kind"], int(row["component"]))
    alpha = opened.alpha(audit, candidate.key)
    known = alpha[np.isfinite(alpha)]
    note = ""
    if row["gap"] == row["gap"]:
        k = int(row["gap_k"])
        note = (
            f"accuracy {100 * row['accuracy_high']:.0f} % on the {k} held-out images that show it "
            f"most, {100 * row['accuracy_low']:.0f} % on the {k} least"
        )
    return Card(
        name=candidate.key.short,
        title=f"{place}. {candidate.title.capitalize()}",
        facts=f"{100 * row['variance_share']:.0f} % of the {KINDS[row['kind']].whole}'s variance · "
        f"largest α {row['alpha_max']:.2f} · accuracy gap {gap_text(row)}",
        pictures=card_pictures(audit, candidate, look, top=top),
        figure=pictures.histogram_url(audit, candidate),
        figure_alt=f"Histogram of alpha of {candidate.title} over {len(known)} images, from "
        f"{known.min():.2f} to {known.max():.2f}, with the accuracy along it",
        note=note,
    )


def with_leaning(audit: Audit, class_idx: int, built: tuple[Card, ...]) -> tuple[Card, ...]:
    """Cards with what their candidates do in the maps, of those that were tried."""
    tried = _tried(audit, audit.files.outcomes_version)
    return tuple(
        replace(card, facts=f"{tried[class_idx, card.name]} · {card.facts}")
        if (class_idx, card.name) in tried
        else card
        for card in built
    )


@lru_cache(maxsize=8)
def _tried(audit: Audit, version: int) -> dict[tuple[int, str], str]:
    """What candidates do in the maps, in words, by class and short key."""
    del version  # part of the key only
    table = leaning(audit)
    table = table[table["put_in"].notna()]
    return {
        (int(row["class_idx"]), f"{row['kind']}-{row['component']}"): (
            f"put in {100 * row['put_in']:.0f} %, the same shape from elsewhere "
            f"{100 * row['put_in_control']:.0f} %"
        )
        for row in table.to_dict("records")
    }


def card_pictures(
    audit: Audit,
    candidate: Candidate,
    look: Look,
    *,
    top: int,
    weakest: int = WEAKEST,
) -> tuple[Picture, ...]:
    """Top training images of a candidate, then the weakest ones for contrast."""
    arrays = opened.class_arrays(audit, candidate.class_idx)
    alpha = opened.alpha(audit, candidate.key)
    known = np.asarray(arrays.fitting, bool) & np.isfinite(alpha)
    order = np.argsort(np.where(known, -alpha, np.inf), kind="stable")[: int(known.sum())]
    high = [arrays.image_ids[i] for i in order[:top]]
    low = [arrays.image_ids[i] for i in order[::-1][:weakest]]
    low = [image_id for image_id in low if image_id not in high]
    return photos(
        audit,
        [*high, *low],
        candidate=candidate,
        scale=overlay_scale(arrays, candidate.key, alpha),
        alpha=dict(zip(arrays.image_ids, alpha.tolist(), strict=True)),
        badges=dict.fromkeys(low, "weakest"),
        look=look,
    )


def card_list(
    audit: Audit, label: str, shown: tuple[Card, ...], token: str, look: Look
) -> tuple[str, str] | None:
    """Draw cards with their tags; returns the card and image of a picture to be opened."""
    who = annotator()
    store = TagStore.open(opened.workspace())
    mine = {e.key.short: e for e in store.current(audit.id, who) if e.label == label}
    names = tagged.names(audit)

    def save(name: str, tag: str | None) -> None:
        key = CandidateKey.parse(name, label=label)
        try:
            store.add(who, audit.id, key, Tag(tag) if tag else None)
        except WorkspaceError as error:
            st.session_state[SAID] = str(error)

    def call(name: str, text: str) -> None:
        try:
            store.call(who, audit.id, CandidateKey.parse(name, label=label), text)
        except (InputError, WorkspaceError) as error:
            st.session_state[SAID] = str(error)

    if said := st.session_state.pop(SAID, None):
        st.toast(plain(said))
    said_by_me = [mine.get(card.name) for card in shown]
    return cards(
        [_named(card, label, names) for card in shown],
        key="cards",
        tags=[tag.value for tag in Tag],
        chosen=[event.tag.value if event and event.tag else None for event in said_by_me],
        on_tag=save,
        called=[event.called if event else None for event in said_by_me],
        on_call=call,
        names=tagged.names_used(),
        locked=read_only(),
        legend=LIT_LEGEND if look.dims else LEGEND,
        dims=look.dims,
        enlarge=TAKE_APART,
        token=token,
    )


def _named(card: Card, label: str, names: Names) -> Card:
    """A card with what people call its candidate; cards are kept without, names change."""
    key = CandidateKey.parse(card.name, label=label)
    if not names.of(key):
        return card
    title = card.title.removesuffix(key.title.capitalize()) + names.heading(key)
    return replace(card, title=title, figure_alt=f"{names.of(key)}: {card.figure_alt}")


def undo(audit: Audit) -> None:
    """Take back this person's last tag in this audit; the next run of the cards says which."""
    try:
        undone = TagStore.open(opened.workspace()).undo(annotator(), audit.id)
    except WorkspaceError as error:
        st.session_state[SAID] = str(error)
        return
    if undone is None:
        st.session_state[SAID] = "There is nothing to undo."
        return
    name = opened.display(audit).get(undone.label, undone.label)
    what = tagged.names(audit).heading(undone.key)
    now = undone.tag.value if undone.tag else "without a tag"
    st.session_state[SAID] = f"{what} of {name} is {now} again."
