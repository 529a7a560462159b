"""What every page has around it: its look, the button that copies its address, and the tour."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from core.storage.roles import read_only
from core.ui.kit.component import ASSETS, component


class Step(NamedTuple):
    """One step of the tour."""

    page: str
    """Title in the navigation."""
    title: str
    text: str


TOUR = (
    Step(
        "Overview",
        "Welcome: which cues does your classifier use?",
        "A tour of two minutes. The page Overview ranks the classes by what they lean on: how "
        "many images of other classes turn into the class once its strongest part, component or "
        "neuron is put into them. A core feature does that, too: it says where to look, not yet "
        "that anything is wrong.",
    ),
    Step(
        "Components",
        "What a class is made of",
        "The logit of a class is taken apart into components. Every card shows the images that "
        "have most of one, where in the image it is (orange raises the logit, blue lowers it), "
        "and what hangs on it. The arrow keys change the class.",
    ),
    Step(
        "Tagging",
        "Core or spurious: that is for people to say",
        "Does the highlighted cue belong to the object, or could it be there without it? Key 1 is "
        "core, 2 is spurious, 3 is unsure. Several people can tag; Agreement compares them.",
    ),
    Step(
        "Ranking",
        "What a spurious cue costs",
        "Once a cue is tagged as spurious, the images of its class are ranked by it, with the "
        "accuracy at both ends. Measures lists every number with its interval and its source.",
    ),
    Step(
        "Image",
        "One image, taken apart",
        "The logit of a single image as a sum that adds up, the map of every part of it, and what "
        "the model would say without some of them. An image of your own can be uploaded here.",
    ),
    Step(
        "New audit",
        "Your own images and model",
        "Name a folder of images and a model; the work goes on when the browser is closed. The "
        "page Glossary explains every term, and every view can be shared by its link.",
    ),
)
"""Twenty seconds each."""

BY_LINK = "came_by_link"
"""Where a visit keeps whether it began with a link to a view."""

RESTARTS = "tour_restarts"
"""How often this visit has asked for the tour again."""


def dress() -> None:
    """The style that the theme cannot say, and large type in a presentation."""
    st.html(ASSETS / "app.css")
    if read_only():
        st.html(ASSETS / "presentation.css")


def beside_title() -> None:
    """The button that copies the address of the view; drawn before the page's title."""
    with st.container(key="beside-title"):
        hint = "Copy the address of this view: it restores everything that is chosen here"
        component("frame")(key="frame", data={"hint": hint})


def arrive(page: str) -> None:
    """Remember how this visit began: by itself, at the first page, or by a link to a view."""
    st.session_state.setdefault(BY_LINK, bool(st.query_params) or page != TOUR[0].page)


def tour(page: str, titles: list[str]) -> None:
    """The tour above the page of its step, until it is ended; none for who came by a link.

    Parameters
    ----------
    page : title of the one that is shown.
    titles : of all pages that there are; steps of others are left out.
    """
    if read_only():
        return
    steps = [step._asdict() for step in TOUR if step.page in titles]
    restarts, by_link = st.session_state.get(RESTARTS, 0), st.session_state.get(BY_LINK, False)
    data = {"steps": steps, "page": page, "restart": restarts, "linked": by_link}
    component("tour")(key="tour", data=data)


def restart_tour() -> None:
    """Show the tour from its first step, also to those who ended it for good."""
    st.session_state[RESTARTS] = st.session_state.get(RESTARTS, 0) + 1
