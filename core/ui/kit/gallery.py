"""Galleries and cards: photos with overlays on top, patched in place for another class."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import streamlit as st

from core.ui.kit.component import component, nothing


@dataclass(frozen=True)
class Picture:
    """One cell of a gallery. Text fields are shown as text, whatever they contain."""

    image_id: str
    photo: str
    """URL of the photo."""
    overlay: str | None
    """URL of a transparent picture of the same shape, drawn over the photo: the heatmap."""
    outline: str | None
    """URL of a second one, drawn above the heatmap at full strength: outlines of masks."""
    caption: str
    """Below the photo; two lines are shown, all of it on pointing at it."""
    alt: str
    """What the photo shows, for those who cannot see it or when it does not load."""
    badge: str = ""
    """A word or number in the corner of the photo."""
    good: bool | None = None
    """Whether the prediction is right, said in words below the photo; None says nothing."""
    large: str = ""
    """URL of the photo when it is enlarged; else it is the same one."""
    large_overlay: str | None = None
    """URL of the overlay then, likewise."""


@dataclass(frozen=True)
class Card:
    """One candidate: a title, its pictures, a figure with a note beside them, and a tag."""

    name: str
    """Stands in the answers; without a slash."""
    title: str
    facts: str
    """One line beside the title."""
    pictures: tuple[Picture, ...]
    figure: str
    """URL of a picture beside the photos."""
    figure_alt: str
    note: str
    """Below the figure."""


def inline(picture: bytes, kind: str = "png") -> str:
    """Address of a small picture that holds it itself: for what is drawn once and not kept."""
    return f"data:image/{kind};base64,{b64encode(picture).decode('ascii')}"


def gallery(
    pictures: Sequence[Picture],
    *,
    key: str,
    columns: int | None = None,
    opacity: float = 0.6,
    dims: bool = False,
    size: int = 160,
    label: str = "",
    controls: bool = False,
    enlarge: str | None = None,
    token: str = "",
) -> str | None:
    """Show pictures in a grid and tell which one was clicked.

    Calling it again under the same key with other pictures swaps each cell once its new photo and
    overlay are loaded. Pointing at a picture shows the photo alone; the key "o" does so for all
    galleries of the page, as long as it is held, or until it is pressed again after a short press.

    Parameters
    ----------
    pictures : the cells, in reading order.
    key : unique on the page, and the same for every class: it makes the grid stay in place.
    columns : how many on one row where there is room; None fits as many as `size` allows.
    opacity : strength of the heatmaps in [0, 1], until the user moves a slider. That choice then
        holds for all galleries and is kept by the browser.
    dims : whether what lies over the photos darkens them, and not paints them. It then begins at
        full strength, and what the user moves it to is kept apart from that of the heatmaps.
    size : smallest width of a cell in pixels, when `columns` is None.
    label : name of the list for screen readers.
    controls : whether to show the slider for the strength of the heatmaps.
    enlarge : None, and a click picks a picture. Else a click enlarges it over the page, and what
        this says stands on the button that picks it there; empty: nothing is to be picked.
    token : appears as `data-key` on the grid once the first row of these pictures is painted;
        `data-painted` then counts the pictures on screen.

    Returns
    -------
    The `image_id` that was clicked, in the one run that the click causes; otherwise None.
    """
    data = {
        "pictures": [vars(picture) for picture in pictures],
        "columns": columns,
        "opacity": 1.0 if dims else min(max(opacity, 0.0), 1.0),
        "dims": dims,
        "size": size,
        "label": label,
        "controls": controls,
        "enlarge": enlarge,
        "token": token,
    }
    picked = component("gallery")(key=key, data=data, on_picked_change=nothing).get("picked")
    # A click on a picture that has left the gallery meanwhile counts for nothing.
    return next((picture.image_id for picture in pictures if picture.image_id == picked), None)


def cards(
    shown: Sequence[Card],
    *,
    key: str,
    tags: Sequence[str],
    chosen: Sequence[str | None],
    on_tag: Callable[[str, str | None], None],
    called: Sequence[str | None] = (),
    on_call: Callable[[str, str], None] | None = None,
    names: Sequence[str] = (),
    locked: bool = False,
    opacity: float = 0.8,
    dims: bool = False,
    legend: tuple[str, str, str] | None = None,
    enlarge: str | None = None,
    token: str = "",
) -> tuple[str, str] | None:
    """Show all cards of a page as one element: another class costs one message.

    Parameters
    ----------
    tags : what can be chosen on every card; choosing the chosen one again takes it back.
    chosen : the tag of every card, or None.
    on_tag : called with a card's name and its new tag, before the run that the click causes.
    called : what every card's candidate is called, in a field that can be changed once it is
        tagged; None where it has no name.
    on_call : called with a card's name and what its candidate is to be called, likewise; without
        it there is no such field.
    names : what is offered to complete a name.
    locked : whether tags can be seen but not changed.
    legend : what the two ends of the colours mean, and a remark; both ends are empty where
        there are no colours.
    key, opacity, dims, enlarge, token : as for :func:`gallery`.

    Returns
    -------
    The card's name and the ``image_id`` of a picture that was picked, in the one run that the
    click causes; otherwise None.
    """
    data = {
        "cards": [
            {**_plain(card), "tag": tag, "called": name or ""}
            for card, tag, name in zip_longest(shown, chosen, called)
        ],
        "named": on_call is not None,
        "names": list(names),
        "tags": list(tags),
        "locked": locked,
        "opacity": 1.0 if dims else opacity,
        "dims": dims,
        "size": 160,
        "controls": True,
        "legend": legend,
        "enlarge": enlarge,
        "token": token,
    }

    def tagged() -> None:
        name, _, tag = str(st.session_state[key].get("tagged") or "").rpartition("/")
        if not locked and name in {card.name for card in shown} and tag in ("", *tags):
            on_tag(name, tag or None)

    def renamed() -> None:
        name, _, text = str(st.session_state[key].get("called") or "").partition("/")
        tagged_ones = {card.name for card, tag in zip(shown, chosen, strict=True) if tag}
        if on_call and not locked and name in tagged_ones:
            on_call(name, text)

    draw = component("gallery")
    answer = draw(
        key=key,
        data=data,
        on_picked_change=nothing,
        on_tagged_change=tagged,
        on_called_change=renamed,
    )
    name, _, image_id = str(answer.get("picked") or "").rpartition("/")
    known = {(card.name, p.image_id) for card in shown for p in card.pictures}
    return (name, image_id) if (name, image_id) in known else None


def _plain(card: Card) -> dict[str, object]:
    return {**vars(card), "pictures": [vars(picture) for picture in card.pictures]}
