"""Blocks of the page Overview: what each class leans on, and the question whether it should."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest, ConfirmRequest, TrialsRequest
from core.errors import WorkspaceError
from core.tags.called import Names
from core.tags.log import TagStore
from core.trials.leaned_on import LeanedOn
from core.trials.leaning import is_possible, is_tried, missing
from core.types import Tag, count_of
from core.ui.frame import cards, look, opened, pictures, state, tagged, working
from core.ui.frame.blocks import LIT, TAKE_APART, gap_text, plain, read_only, sentences
from core.ui.frame.pictures import Look
from core.ui.frame.words import help_on
from core.ui.kit.columns import filled
from core.ui.kit.gallery import Card
from core.ui.kit.gallery import cards as draw_cards

if TYPE_CHECKING:
    import pandas as pd

SHOWN, TOP = 3, 5
"""Classes with cards at once, and images on each."""

ENDS = ("lowers the margin", "raises it")
QUESTION = "Should this matter? core: yes, spurious: no"

SORTS = {
    "lean": "What it leans on",
    "area": "Put in per area",
    "taken": "Taken away",
    "gap": "Largest accuracy gap",
    "accuracy": "Lowest accuracy",
    "name": "Name",
    "images": "Images",
}
"""By parameter of the address."""

BY = {
    "area": ("per_area", False),
    "taken": ("taken", False),
    "gap": ("gap", False),
    "accuracy": ("accuracy", True),
    "name": ("class", True),
    "images": ("images", False),
}
"""Column and direction of each, but for the order that the rows come in."""


def offer_trials(audit: Audit) -> None:
    """Why classes have no figure yet, and a job that tries them; nothing where all have."""
    if is_tried(audit):
        return
    if why := is_possible(audit):
        said = f"What candidates do in the maps could not be tried: {why}."
        st.info(plain(said), icon=":material/hourglass_empty:")
        if audit.exact_maps and audit.manifest.mitigation is None:
            _offer_maps(audit)
        return
    of = f"of {count_of(len(audit.classes), 'class', 'classes')}"
    st.info(
        f"{count_of(len(missing(audit)), f'{of} was', f'{of} were')} not tried yet: the "
        "audit's own run goes on with them, then a job that it starts; every page works meanwhile.",
        icon=":material/hourglass_empty:",
    )
    working.offer(
        TrialsRequest(audit.id),
        f"{audit.name}: what candidates do",
        "Try what candidates do in the maps",
        key="try",
    )


def _offer_maps(audit: Audit) -> None:
    """The same audit once more, which keeps maps of a sample, finds parts and tries them."""
    with sentences():
        working.offer(
            AuditRequest.again(audit.manifest),
            f"{audit.name}: maps of a sample",
            "Keep the maps of a sample, find parts and try them",
            key="keep-maps",
        )


def first_cards(audit: Audit, found: tuple[LeanedOn, ...]) -> None:
    """Candidates of some classes with their overlays, and whether they should matter."""
    every = [one for one in found if one.key and one.block != "rest"]
    if not every:
        return
    said_names, start = tagged.names(audit), _start(len(every))
    first = tuple(every[start : start + SHOWN])
    keys = [one.key for one in first if one.key]
    look.style()
    how = look.now(audit)
    built = [
        _named(card, one, said_names)
        for card, one in zip(_built(audit, first, how), first, strict=True)
    ]
    who, names = cards.annotator(), {card.name: key for card, key in zip(built, keys, strict=True)}
    store = TagStore.open(opened.workspace())
    mine = {e.key: e.tag.value for e in store.current(audit.id, who) if e.tag}

    def save(name: str, tag: str | None) -> None:
        try:
            store.add(who, audit.id, names[name], Tag(tag) if tag else None)
        except WorkspaceError as error:
            st.session_state[cards.SAID] = str(error)

    if said := st.session_state.pop(cards.SAID, None):
        st.toast(plain(said))
    clicked = draw_cards(
        built,
        key="leans",
        tags=[tag.value for tag in Tag],
        chosen=[mine.get(key) for key in keys],
        on_tag=save,
        locked=read_only(),
        legend=("", "", f"{QUESTION} · {LIT}") if how.dims else (*ENDS, QUESTION),
        dims=how.dims,
        enlarge=TAKE_APART,
        token=f"leans/{audit.id}",
    )
    _offer_pixels(audit, found, said_names)
    if clicked:
        name, image_id = clicked
        key = names[name]
        state.go("pages/image.py", image=image_id, component=key.short, explain=key.label)


def _start(classes: int) -> int:
    """Place of the first class with a card; where there are more than are shown, it is asked."""
    if classes <= SHOWN:
        return 0
    label = f"Cards from class number (of {classes:,} that lean on something)"
    return state.number(st.number_input, label, "from", 1, classes, 1, step=SHOWN, width=420) - 1


def _offer_pixels(audit: Audit, found: tuple[LeanedOn, ...], names: Names) -> None:
    """A button for the strongest candidate that was tried in the maps alone."""
    one = next((one for one in found if one.block == "maps"), None)
    if one is None or one.key is None:
        return
    what = f"{names.written(one.key)} of {one.facts.name}"
    working.offer(
        ConfirmRequest(audit.id, one.facts.label, one.key.short),
        f"{what} in pixels",
        f"Confirm {plain(what)} with pixels",
        key=f"confirm-{one.facts.class_idx}-{one.key.short}",
        icon=":material/fact_check:",
    )


def _named(card: Card, one: LeanedOn, names: Names) -> Card:
    """A card with what people call its candidate; cards are kept without, names change."""
    if one.key is None or not names.of(one.key):
        return card
    return replace(
        card,
        title=f"{one.facts.name}: {names.written(one.key)}",
        facts=card.facts.replace(one.reason, one.said(names), 1),
        figure_alt=f"{names.of(one.key)}: {card.figure_alt}",
    )


@lru_cache(maxsize=32)
def _built(audit: Audit, found: tuple[LeanedOn, ...], how: Look) -> tuple[Card, ...]:
    return tuple(_card(audit, one, how) for one in found)


def _card(audit: Audit, one: LeanedOn, how: Look) -> Card:
    assert one.key is not None
    candidate = opened.candidate(audit, one.key)
    lost = "" if one.taken_away != one.taken_away else f" · lost without it {one.taken_away:.0%}"
    return Card(
        name=f"{one.facts.class_idx}.{one.key.kind}.{one.key.number}",
        title=f"{one.facts.name}: {candidate.title}",
        facts=one.reason + lost.replace("%", " %"),
        pictures=cards.card_pictures(audit, candidate, how, top=TOP, weakest=0),
        figure=pictures.histogram_url(audit, candidate),
        figure_alt=f"Histogram of alpha of {candidate.title} of {one.facts.name}",
        note=f"lean {one.lean:+.2f} [{one.low:+.2f}, {one.high:+.2f}] · {one.area:.0%} of the "
        "image".replace("%", " %"),
    )


def rows(audit: Audit, found: tuple[LeanedOn, ...], first: dict[int, str]) -> pd.DataFrame:
    """One row per class, in the order of what they lean on.

    Parameters
    ----------
    first : an image to show by class.
    """
    import pandas as pd

    names, digests = tagged.names(audit), audit.images_of(list(first.values()))["digest"]
    shown = {
        class_idx: pictures.photo_url(audit, image_id, 96, digest=digest[:12])
        for (class_idx, image_id), digest in zip(first.items(), digests.astype(str), strict=True)
    }
    return pd.DataFrame([_row(one, shown, names) for one in found])


def _row(one: LeanedOn, shown: dict[int, str], names: Names) -> dict[str, Any]:
    facts = one.facts
    return {
        "picture": shown.get(facts.class_idx, ""),
        "label": facts.label,
        "class": facts.name,
        "block": one.block,
        "by": names.written(one.key) if one.key else one.reason,
        "lean": one.lean,
        "interval": f"[{one.low:+.2f}, {one.high:+.2f}]" if one.low == one.low else "",
        "put_in": 100 * one.put_in,
        "control": 100 * one.control,
        "per_area": one.per_area,
        "taken": 100 * one.taken_away,
        "accuracy": None if facts.accuracy is None else 100 * facts.accuracy,
        "gap": facts.top_gap,
        "gap_control": facts.top_gap_control,
        "gap_text": gap_text(vars(facts), "top_"),
        "images": facts.n_images,
        "meaning": facts.definition,
    }


FIRST = ("picture", "class", "by", "lean", "accuracy")
"""Columns that stand in sight in a narrow window."""

ASIDE = ("images", "meaning")
"""Columns that the table's own menu shows: with them it would not fit beside the menu."""

COLUMNS = [
    *(*FIRST, "interval", "put_in", "control", "per_area", "taken"),
    *("gap", "gap_control", *ASIDE),
]


def columns_of(table: pd.DataFrame) -> list[str]:
    """The columns with anything in them: nothing is known yet of classes that were not tried."""
    return list(filled(table[COLUMNS]))


SHORT = 14
"""Characters of a class's name that its column holds on one line."""


def configuration(names: Iterable[str] = ()) -> dict[str, Any]:
    """How the columns are drawn.

    Parameters
    ----------
    names : of the classes; where one is long, their column takes the place of what is lost without
        the candidate, which its card says, too, and the table's own menu shows.
    """
    is_long = any(len(name) > SHORT for name in names)
    text, percent = st.column_config.TextColumn, "%.0f %%"

    def number(title: str, form: str, width: int, *about: str) -> Any:
        words = help_on(*about) if about else None
        return st.column_config.NumberColumn(title, format=form, width=width, help=words)

    return {
        "picture": st.column_config.ImageColumn("", width=62, pinned=True),
        "class": text("Class", width=202 if is_long else 112, pinned=True),
        "by": text("Leans on", width=104, help=help_on("leaned on", "part")),
        "lean": number("Lean", "%+.2f", 60, "lean"),
        "accuracy": number("Accuracy", percent, 76, "accuracy"),
        "put_in": number("Put in", percent, 60, "put in"),
        "control": number("Control", percent, 68),
        "per_area": number("Per area", "%.1f", 72, "put in"),
        "taken": number("Taken away", percent, 90, "taken away"),
        "gap": number("Largest gap", "%+.0f", 92, "accuracy gap"),
        "gap_control": number("Random", "%+.0f", 72, "above its control"),
        "interval": text("Lean, interval", width=100, help="95 % interval of the lean."),
        **dict.fromkeys((*ASIDE, "taken") if is_long else ASIDE),
    }
