"""A scatter of many thousand points in which a group is selected by a lasso.

Painted by WebGL in ``assets/scatter.js``. Plotly, which draws everything else, takes a browser
more than a second to load and to set up before the first of its points is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from core.types import BoolArray, FloatArray
from core.ui.kit.component import component, nothing
from core.ui.kit.scales import Colours


def scatter(
    points: FloatArray,
    ids: Sequence[str],
    words: Sequence[pd.Categorical],
    colours: Colours,
    *,
    chosen: BoolArray,
    axes: tuple[str, str],
    label: str,
    revision: str,
    key: str,
    photo: tuple[str, str],
    on_select: Callable[[list[str]], None],
) -> str | None:
    """Draw points; a lasso or a box around some selects them.

    Parameters
    ----------
    points : (n, 2).
    ids : (n,) travel with the points, and come back of those that are selected.
    words : (n,) each, shown on pointing, as text whatever they contain; empty ones are left out.
    chosen : (n,) the selected ones, which stay bright.
    axes : titles; two empty texts leave the axes out.
    label : what is drawn, for those who cannot see it.
    revision : the part of the plane that is seen stays while this stays.
    key : unique on the page.
    photo : what stands before and after an id in the address of its photo.
    on_select : called with the ids inside the line, in the order of the points, before the run
        that a selection causes.

    Returns
    -------
    The id of the point that was clicked, in the one run that the click causes; otherwise None.
    """
    said = {f"words{i}": column for i, column in enumerate(words)}
    table = pd.DataFrame(
        {
            "x": points[:, 0],
            "y": points[:, 1],
            "colour": colours.codes,
            "chosen": chosen,
            "id": pd.array(ids, dtype="str"),
            **said,
        }
    )
    turn = f"{key}-turn"  # the newest selection that is known here
    data = {
        "points": table,
        "answered": st.session_state.get(turn),
        "words": list(said),
        "title": colours.title,
        "palette": colours.palette,
        "entries": colours.entries,
        "ticks": colours.ticks,
        "axes": axes,
        "label": label,
        "revision": revision,
        "photo": photo,
    }

    def selected() -> None:
        sent = st.session_state[key].get("selected") or {}
        st.session_state[turn] = sent.get("turn")
        inside = set(sent.get("ids") or ())
        on_select([image_id for image_id in ids if image_id in inside])

    draw = component("scatter")
    answer = draw(key=key, data=data, on_selected_change=selected, on_picked_change=nothing)
    picked = answer.get("picked")
    return picked if picked is not None and picked in ids else None
