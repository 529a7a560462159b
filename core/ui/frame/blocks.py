"""Blocks that several pages are made of: galleries, legends, empty and error states."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import streamlit as st
from pyarrow import ArrowException
from streamlit.delta_generator import DeltaGenerator

from core.audits.audit import Audit
from core.audits.class_arrays import ClassArrays
from core.candidates.above_control import side_of_control
from core.candidates.candidate import Functional
from core.candidates.key import CandidateKey
from core.candidates.kinds import found_kinds
from core.errors import SpurioscopeError
from core.storage.files import MEND
from core.storage.roles import may_run as may_run
from core.storage.roles import read_only as read_only
from core.types import FloatArray
from core.ui.frame import opened, pictures, state
from core.ui.frame.pictures import COLOURS, Look
from core.ui.kit.gallery import Picture
from core.ui.kit.palette import LOWERS, RAISES
from core.ui.kit.text import html
from core.ui.kit.text import plain as plain

Draw = TypeVar("Draw", bound=Callable[..., Any])

PARTS = {"both": "both signs", "positive": "what raises it", "negative": "what lowers it"}
RANKINGS = {
    "page": "Variance, strength and gap together",
    "gap": "Accuracy gap",
    "variance_share": "Share of the variance",
    "alpha_max": "Largest alpha",
    "component": "Eigenvalue (index)",
}


def interval(low: float, high: float) -> str:
    """An interval in percentage points."""
    return f"[{low:+.0f}, {high:+.0f}]"


def gap_text(row: pd.Series | dict[str, Any], prefix: str = "") -> str:
    """A gap with its interval and its control, or that there is none."""
    gap, control = row[f"{prefix}gap"], row.get(f"{prefix}gap_control")
    if gap is None or gap != gap:
        return "no held-out images"
    found = f"{gap:+.0f} points {interval(row[f'{prefix}gap_low'], row[f'{prefix}gap_high'])}"
    if control is None or control != control:
        return found
    return f"{found}, random directions {control:+.0f}{_beyond(row, prefix)}"


def _beyond(row: pd.Series | dict[str, Any], prefix: str) -> str:
    """Whether a gap is told from its control, in words; empty where it is not."""
    if prefix:  # of a class's largest gap
        return ", above its control" if row[f"{prefix}gap_above"] else ""
    (side,) = side_of_control(pd.DataFrame([row]))
    return {1: ", above its control", -1: ", below its control"}.get(int(side), "")


GAPS = (
    "Accuracy differs along every direction that has a share of the logit, so a core feature opens "
    "a gap, too, and the largest of many gaps is too large. Beside each stands that of random "
    "directions which follow the logit as closely."
)
"""What a gap does not say."""


LIT = "Lit: at least half of its maximum in that image, as trials cut it out"
"""What a spotlight shows, in words."""


TAKE_APART = "Take apart on the page Image"
"""What may be done with a picture that was enlarged."""


def legend(look: Look, scale: float) -> None:
    """What an overlay means; in colours, ``scale`` is drawn at full strength."""
    if look.dims:
        st.caption(LIT)
        return
    ramp = f"linear-gradient(90deg,{LOWERS},transparent,{RAISES})"
    st.html(
        '<div style="display:flex;gap:.6rem;align-items:center;font-size:.85rem" role="img" '
        f'aria-label="colours from minus {scale:.2g} to plus {scale:.2g} logits">'
        f"<span>lowers the logit {-scale:.2g}</span>"
        f'<span style="width:140px;height:12px;border-radius:6px;background:{ramp};'
        'border:1px solid rgba(128,128,128,.5)"></span>'
        f"<span>{scale:+.2g} raises it</span>"
        '<span style="opacity:.75">· white line: half of the maximum</span></div>'
    )


def empty(
    title: str,
    text: str,
    *,
    icon: str = ":material/search_off:",
    page: str = "",
    link: str = "",
) -> None:
    """Say that there is nothing here and what to do next.

    Parameters
    ----------
    text : Markdown.
    page, link : file of the page where it can be done, and what the link to it says; left out in a
        presentation, which can do nothing there.
    """
    with st.container(border=True):
        st.markdown(f"### {icon} {plain(title)}")
        st.markdown(text)
        if page and not read_only():
            st.page_link(state.ROOT / page, label=link, icon=":material/arrow_forward:")


def no_cue(what: str) -> None:
    """No class has a spurious candidate yet; ``what`` begins a sentence about those cues."""
    empty(
        "No cue is tagged as spurious yet",
        f"{what} the cues that people tagged as **spurious**. Tag some on the page **Tagging** or "
        "**Components** first.",
        icon=":material/sell:",
        page="pages/tagging.py",
        link="Tag cues",
    )


def metrics(count: int, *, width: int = 200) -> list[DeltaGenerator]:
    """Places for numbers beside each other; on a narrow screen they go below each other."""
    row = st.container(horizontal=True)
    return [row.container(width=width) for _ in range(count)]


def numbers(cells: Sequence[tuple[str, str]]) -> None:
    """Headline numbers, title and value each, as text: painted before any widget is loaded."""
    card = (
        "flex:1 1 170px;margin:0;padding:.8rem 1rem;border-radius:.5rem;"
        "border:1px solid color-mix(in srgb, currentColor 18%, transparent)"
    )
    st.html(
        '<dl style="display:flex;flex-wrap:wrap;gap:1rem;margin:0;padding:0">'
        + "".join(
            f'<div style="{card}"><dt style="font-size:.875rem;opacity:.8">{html(title)}</dt>'
            f'<dd style="margin:0;font-size:2rem;line-height:1.3">{html(value)}</dd></div>'
            for title, value in cells
        )
        + "</dl>"
    )


def kinds() -> dict[str, str]:
    """Kinds of candidates that are shown and asked about, in words."""
    return {kind: plain(words) for kind, words in found_kinds().items()}


def class_names(audit: Audit) -> dict[str, str]:
    """Label to displayed name of every audited class."""
    return audit.class_names


def photos(
    audit: Audit,
    image_ids: Sequence[str],
    *,
    candidate: Functional | None = None,
    scale: float = 1.0,
    alpha: Mapping[str, float] | None = None,
    badges: Mapping[str, str] | None = None,
    look: Look = COLOURS,
) -> tuple[Picture, ...]:
    """Images of the audit as cells of a gallery.

    Parameters
    ----------
    candidate : whose place in them is shown; colours are drawn at full strength at ``scale``.
    alpha : its alpha on each image, shown where it is known.
    badges : words in the corner.
    """
    names = opened.display(audit)
    cells = []
    for image_id, row in opened.shown(audit, image_ids).items():
        said = f"{row.prediction} {100 * row.confidence:.0f}\u00a0%"
        value = (alpha or {}).get(image_id, np.nan)
        heat = large = None
        if candidate:
            heat = pictures.overlay_url(audit, candidate, image_id, look, scale=scale)
            large = pictures.overlay_url(
                audit, candidate, image_id, look, scale=scale, size=pictures.PHOTO_SIZE
            )
        cells.append(
            Picture(
                image_id=image_id,
                photo=pictures.photo_url(audit, image_id, digest=row.digest),
                overlay=heat,
                outline=pictures.outline_url(audit, image_id) if look.outlines else None,
                caption=said if np.isnan(value) else f"α {value:+.2f} · {said}",
                alt=f"{row.path}, labelled {names.get(row.label, row.label)}",
                badge=(badges or {}).get(image_id, ""),
                good=row.correct,
                large=pictures.photo_url(audit, image_id, pictures.LARGE, digest=row.digest),
                large_overlay=large,
            )
        )
    return tuple(cells)


def overlay_scale(arrays: ClassArrays, key: CandidateKey, alpha: FloatArray) -> float:
    """Value drawn at full strength: the largest absolute value in the top images' maps.

    Parameters
    ----------
    alpha : of the candidate, where no maps of its top images are stored.
    """
    top_maps = arrays.top_maps_of(key)
    if top_maps is not None:
        return float(np.abs(top_maps).max()) or 1.0
    return float(np.nanmax(np.abs(alpha), initial=0.0) * 3) or 1.0


def table(frame: pd.DataFrame) -> None:
    """A table whose cells, columns, index and their names are shown as they are."""
    shown = frame.rename(index=plain, columns=plain).rename_axis(index=plain, columns=plain)
    st.table(shown.map(lambda cell: plain(cell) if isinstance(cell, str) else cell))


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Show an error in the place where it happens, as a sentence; a damaged audit is one, too."""
    try:
        yield
    except SpurioscopeError as error:
        say(error)
    except (OSError, ArrowException) as error:
        name = getattr(error, "filename", None)
        say(f"{name or 'A file of this audit'} cannot be read; {MEND}.")


def say(error: object) -> None:
    """Show an error as a sentence."""
    st.error(plain(error), icon=":material/error:")


def part(draw: Draw, *, run_every: float | None = None) -> Draw:
    """A fragment whose errors are shown in its place as a sentence."""

    @functools.wraps(draw)
    def guarded(*args: Any, **kwargs: Any) -> None:
        with sentences():
            draw(*args, **kwargs)

    return st.fragment(guarded, run_every=run_every)  # type: ignore[return-value]


def ranked(
    table: pd.DataFrame, kind: str, ranking: str, values: Sequence[tuple[int, float]] = ()
) -> pd.DataFrame:
    """The candidates of one kind in the chosen order.

    Parameters
    ----------
    values : of candidates by their number, where the table does not hold what they are ranked by;
        those without any come last.
    """
    rows = table[table["kind"] == kind]
    if ranking not in ("page", *table.columns):
        rows = rows.assign(**{ranking: rows["component"].map(dict(values)).astype(np.float64)})
    if ranking == "page":
        return rows.sort_values("order", kind="stable")
    return rows.sort_values(ranking, ascending=ranking == "component", kind="stable")


def html_list(items: Sequence[str]) -> str:
    """A bullet list with every item escaped."""
    return "<ul>" + "".join(f"<li>{html(item)}</li>" for item in items) + "</ul>"
