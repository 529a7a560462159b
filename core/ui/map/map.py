"""Blocks of the page Map: choose what is drawn, and select a group of points."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.audits.audit_requests import MapRequest
from core.audits.map import ImageMap, compute_map, make_map, read_map
from core.candidates.candidate import Candidate
from core.candidates.key import keys_in
from core.errors import WorkspaceError
from core.explain.embedding import FEWEST
from core.jobs import jobs
from core.types import FloatArray, count_of
from core.ui.frame import blocks, likeness, look, opened, pictures, state, tagged, working
from core.ui.frame.words import help_on
from core.ui.kit.palette import CLASSES
from core.ui.kit.scatter import scatter
from core.ui.map import spectral
from core.ui.map.colours import OF_ATTRIBUTE, View, colours, drawn, spurious

PARAMETERS = [
    *("audit", "scope", "projection", "colour", "class", "component", "kind"),
    *(likeness.SWITCH, likeness.TEXT, "saved"),
    *look.PARAMETERS,
]
ALL = "features"
OF_CLASS = "psi:"
PROJECTIONS = {"umap": "UMAP", "pca": "PCA"}
COLOURS = {
    "class": "Class",
    "prediction": "Prediction",
    "correct": "Right or wrong",
    "alpha": "Alpha of a component",
    "spuriosity": "Spuriosity",
}
SELECTED = "map_selected"
CHART = "map_chart"
PHOTO = 160
"""Pixels of the photo that is shown on pointing at a point."""
AT_ONCE = 3000
"""Images up to which PCA is computed while the page waits, in a second or two."""


def scope(audit: Audit) -> tuple[str, int | None]:
    """Choose whose points are drawn."""
    names = blocks.class_names(audit)
    titles = {ALL: "All images, features"}
    titles |= {OF_CLASS + k: f"{v}: its weighted activations" for k, v in names.items()}
    chosen = state.choose(
        st.selectbox,
        "Images",
        "scope",
        titles,
        resets=["colour", "component", "group"],
    )
    if chosen == ALL:
        return chosen, None
    return chosen, audit.class_facts(chosen.removeprefix(OF_CLASS)).class_idx


def available(audit: Audit, class_idx: int | None) -> ImageMap | None:
    """The stored map; a small one is computed at once, by PCA, which needs no wait."""
    found = _stored(audit, class_idx, _version(audit, class_idx))
    if found is not None:
        return found
    n = len(audit.images)
    if class_idx is not None:
        n = len(opened.class_arrays(audit, class_idx).image_ids)
    if n > AT_ONCE:
        return None
    with st.spinner("Placing the images by PCA …"):
        try:
            if not blocks.read_only():
                return compute_map(audit, class_idx, umap=False)
        except WorkspaceError:
            pass  # another process computes it, or nothing can be written here
        return _unstored(audit, class_idx)


def _version(audit: Audit, class_idx: int | None) -> int:
    path = audit.files.map_of(class_idx).facts
    return path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=16)
def _stored(audit: Audit, class_idx: int | None, version: int) -> ImageMap | None:
    return read_map(audit, class_idx) if version else None


@lru_cache(maxsize=8)
def _unstored(audit: Audit, class_idx: int | None) -> ImageMap:
    return make_map(audit, class_idx, umap=False)


def offer(audit: Audit, scope: str, found: ImageMap | None) -> None:
    """Offer to compute what is missing, as a job; show one that runs."""
    if found is not None and (found.umap is not None or len(found.sample) < FEWEST):
        return
    label = None if scope == ALL else scope.removeprefix(OF_CLASS)
    wanted = MapRequest(audit.id, label)
    if found is None and jobs.newest(opened.workspace(), wanted) is None:
        blocks.empty(
            "No map yet",
            "The map of this many images is computed in a process of its own. The audit stays "
            "usable meanwhile, and you can close this page.",
            icon=":material/scatter_plot:",
        )
    working.offer(
        wanted,
        f"Map of {audit.name}" + ("" if label is None else f", class {label}"),
        "Compute the map" if found is None else "Compute UMAP",
        key="map_begin",
        icon=":material/scatter_plot:",
        help="UMAP puts similar images together, which PCA often leaves on top of each other. It "
        "takes about a minute for a thousand images, and a few minutes for 50,000.",
        primary=found is None,
        before=lambda: state.put("projection", "umap"),
    )


def controls(audit: Audit, scope: str, class_idx: int | None, found: ImageMap) -> View:
    """Projection and colour."""
    projection, more = "pca", spectral.projections(audit, class_idx)
    umap = found.umap is not None  # else a wish for UMAP stays in the address until it is there
    if umap or (more and state.peek("projection", ["", *PROJECTIONS, *more]) != "umap"):
        projection = state.choose(
            st.segmented_control,
            "Projection",
            "projection",
            [name for name in (*PROJECTIONS, *more) if umap or name != "umap"],
            format_func=lambda v: blocks.plain((PROJECTIONS | more).get(v, v)),
            help=help_on("UMAP", "cluster"),
        )
    titles = COLOURS | {OF_ATTRIBUTE + a: a for a in audit.summary.attributes}
    titles |= {name: f"Cluster{words.removeprefix('Spectral')}" for name, words in more.items()}
    colour = state.choose(
        st.selectbox,
        "Colour",
        "colour",
        list(titles),
        default=_first_colour(audit) if class_idx is None else "alpha",
        format_func=lambda v: titles.get(v, v),
        help=help_on("alpha", "spuriosity"),
    )
    candidate = _candidate(audit, class_idx) if colour == "alpha" else None
    return View(scope, class_idx, found, projection, colour, candidate)


def _first_colour(audit: Audit) -> str:
    """Of all images: by class, unless there are so many that nearly all would be grey."""
    return "class" if len(audit.classes) <= 2 * len(CLASSES) else "correct"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _candidate(audit: Audit, class_idx: int | None) -> Candidate | None:
    """Choose the component or neuron whose alpha colours the points."""
    if class_idx is None:
        names = blocks.class_names(audit)
        label = state.choose(
            st.selectbox,
            "Of class",
            "class",
            names,
            resets=["component"],
        )
        class_idx = audit.class_facts(label).class_idx
    table = opened.class_table(audit, class_idx).sort_values("order", kind="stable")
    named = {key.short: key for key in keys_in(table, audit.head.outputs[class_idx])}
    if not named:
        return None
    titles = tagged.names(audit)
    chosen = state.choose(
        st.selectbox,
        "Component or neuron",
        "component",
        list(named),
        format_func=lambda v: titles.heading(named[v]) if v in named else v,
    )
    return opened.candidate(audit, named[chosen])


def chart(audit: Audit, view: View) -> list[str]:
    """Draw the map; returns the ids of the selected images, sorted like the map."""
    token = f"{audit.id}/{view.scope}/{view.found.facts.key}"
    rows = drawn(audit, view.found)
    chosen = rows.index.isin(_selected(audit, token))
    shown = colours(audit, view, rows)

    def select(ids: list[str]) -> None:
        st.session_state[SELECTED] = {"of": token, "ids": ids}
        state.put("saved", "")
        state.put("group", "")  # the class with most images of the new group

    clicked = scatter(
        _points(audit, view),
        rows.index.tolist(),
        _words(audit, view.found),
        shown,
        chosen=chosen,
        axes=_axes(view),
        label=f"Map of {count_of(len(rows), 'image')} by {_projection(view)}, "
        f"coloured by {shown.title}",
        revision=f"{token}/{view.projection}",
        key=CHART,
        photo=_photo(audit),
        on_select=select,
    )
    if clicked:
        state.go("pages/image.py", image=clicked)
    _below(audit, view, int(chosen.sum()))
    return [str(image_id) for image_id in rows.index[chosen]]


def _points(audit: Audit, view: View) -> FloatArray:
    """Coordinates of the drawn images."""
    if view.class_idx is not None and view.projection.startswith(spectral.OF_SPACE):
        return spectral.points(audit, view.class_idx, view.projection, view.found.shown)
    return view.found.points(view.projection)


def _projection(view: View) -> str:
    return PROJECTIONS.get(view.projection, "spectral coordinates")


def _selected(audit: Audit, token: str) -> list[str]:
    """What a lasso chose, or the saved group that the address names."""
    kept = st.session_state.get(SELECTED) or {}
    if kept.get("of") == token and not state.get("saved"):
        return list(kept["ids"])
    group = getattr(audit, "groups", {}).get(state.get("saved"))
    return list(group.image_ids or ()) if group else []


def _clear() -> None:
    state.put("saved", "")
    st.session_state[SELECTED] = None


def _below(audit: Audit, view: View, selected: int) -> None:
    """How many are drawn, what the projection is, and the button that clears the selection."""
    facts = view.found.facts
    text = f"{facts.shown:,} of {count_of(facts.n, 'image')} shown"
    if facts.shown < facts.n:
        text += " (a sample in which every class has its share)"
    if view.projection == "umap":
        text += " · UMAP: neighbours are similar; distances between far groups mean little"
    elif view.class_idx is not None and view.projection.startswith(spectral.OF_SPACE):
        text += " · the two eigenvectors that tell clusters apart"
        if lacking := spectral.lacking(audit, view.class_idx, view.projection):
            text += (
                f"; in the corner: {count_of(lacking, 'image')} without an explanation of this kind"
            )
    else:
        kept = _percent(sum(facts.shares))
        text += f" · PCA: these two components hold {kept} of the variance"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(" · ".join([text, *map(blocks.plain, facts.notes)]))
        st.space("stretch")
        st.button(
            "Clear the selection",
            key="map_clear",
            icon=":material/deselect:",
            on_click=_clear,
            disabled=not selected,
        )
    if view.colour == "spuriosity" and not spurious(audit):
        st.caption(
            "No class has a cue that is tagged as spurious yet: tag some on the page Components, "
            "or on the cards below a group that you select here."
        )


@lru_cache(maxsize=4)
def _words(audit: Audit, found: ImageMap) -> tuple[pd.Categorical, ...]:
    """What is shown on pointing at an image: its class, and the prediction where it is another."""
    rows = drawn(audit, found)
    wrong = rows["verdict"] == "wrong"
    predicted = ("predicted " + rows["predicted"].astype("str")).where(wrong, "")
    return pd.Categorical(rows["name"]), pd.Categorical(predicted)


def _photo(audit: Audit) -> tuple[str, str]:
    """What stands before and after an id in the address of its photo."""
    before, _, after = pictures.photo_url(
        audit, "ID", PHOTO, digest=opened.version(audit)
    ).partition("/ID.")
    return f"{before}/", f".{after}"


def _axes(view: View) -> tuple[str, str]:
    """Titles; what UMAP draws has no axes that mean anything."""
    if view.projection != "pca":
        return "", ""
    shares = [*view.found.facts.shares, 0, 0]
    return (
        f"principal component 1 ({_percent(shares[0])} of the variance)",
        f"principal component 2 ({_percent(shares[1])})",
    )
