"""Blocks of the page Measures: accuracy, calibration and the gap along corruptions."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from core.audits.audit import Audit
from core.data.corruptions import CORRUPTIONS, SEVERITIES
from core.measures.calibrated import AT
from core.measures.corruption_figures import CLEAN, CORRUPTED, EVERY, GAP_CHANGE, subject
from core.measures.measure import POINTS
from core.measures.measure_requests import MeasureRequest
from core.measures.registry import MEASURES
from core.trials.corrupted import IMAGES, SEED, drawn, expected_minutes
from core.ui.frame import blocks, state, tagged, working
from core.ui.kit.gallery import Picture, gallery, inline
from core.ui.kit.palette import CLASSES, NEUTRAL
from core.ui.measures.figures import finished, interval

if TYPE_CHECKING:
    import plotly.graph_objects as go

FIGURES = {
    "accuracy": "Accuracy",
    "corrupted_gap": "Gap by the cue",
    "overconfidence": "Overconfidence",
    "nll": "NLL",
    "brier": "Brier score",
    "calibration_error": "Calibration error",
}


QUALITY = 90
"""Of the JPEGs that a page holds, which nobody measures anything on."""

COOLS = ("overconfidence", "nll", "brier", "calibration_error")
COOL = " The temperature is fitted on images as they were."


def show(audit: Audit) -> pd.DataFrame | None:
    """Curves along the severities, or an offer to compute them; the table where there is one."""
    decisions, request = tagged.decisions(audit), MeasureRequest(audit.id, CORRUPTED.name)
    _looks(audit)
    table = CORRUPTED.known(audit, decisions, request)
    if table is None:
        with blocks.sentences():
            minutes = expected_minutes(audit, decisions)
            blocks.empty(
                "Not measured with these tags yet",
                f"Up to {IMAGES:,} held-out images are corrupted in {len(CORRUPTIONS)} ways at "
                f"{len(SEVERITIES)} severities each and shown to the model: about "
                f"{max(minutes, 1):,.0f} min on one core without a GPU, less with one. It can be "
                "stopped and goes on where it was.",
                icon=":material/blur_on:",
            )
            working.offer(
                request,
                f"{audit.name}: {CORRUPTED.title}",
                f"Measure {blocks.plain(CORRUPTED.title)}",
                key="run-corruptions",
                primary=True,
            )
        return None
    there = [name for name in FIGURES if (table["measure"] == name).any()]
    name = state.choose(
        st.segmented_control, "Along the severities", "part", there, format_func=FIGURES.__getitem__
    )
    st.plotly_chart(curves(table, name), width="stretch", key=f"corruptions-{name}")
    meaning = MEASURES[name]
    source = f" Source: {blocks.plain(meaning.source)}." if meaning.source else ""
    st.caption(f"{blocks.plain(meaning.meaning)}{source}{COOL if name in COOLS else ''}")
    _change(table)
    return table


def _looks(audit: Audit) -> None:
    """What the corruptions do to an image, drawn where that is asked for and not kept."""
    if not state.toggle("What they look like", "looks"):
        return
    with blocks.sentences():
        image_id = drawn(audit, tagged.decisions(audit))[0][0]
        cells = corrupted_cells(audit, image_id)
        gallery(cells, key="corruptions", columns=1 + len(SEVERITIES), enlarge="", label="Kinds")
        st.caption("One image as the model sees it, left as it was; then severities 1 to 5.")


@lru_cache(maxsize=4)
def corrupted_cells(audit: Audit, image_id: str) -> tuple[Picture, ...]:
    """An image under every kind at every severity, a kind after the other."""
    pixels, name = audit.pixels(image_id), audit.images_of([image_id])["path"].iat[0]
    return tuple(
        Picture(
            f"{kind.name}-{severity}",
            inline(_jpeg(kind.of(pixels, severity, image_id, seed=SEED)), "jpeg"),
            *(None, None),
            f"{kind.words} {severity}" if severity else "as it was",
            f"{name}: {kind.words}, severity {severity}",
        )
        for kind in CORRUPTIONS.values()
        for severity in (0, *SEVERITIES)
    )


def _jpeg(pixels: np.ndarray) -> bytes:
    written = BytesIO()
    Image.fromarray(pixels).save(written, "JPEG", quality=QUALITY)
    return written.getvalue()


def _change(table: pd.DataFrame) -> None:
    """In words whether the gap between images with and without the cue moves."""
    worst = subject(EVERY, SEVERITIES[-1])
    found = table[(table["measure"] == GAP_CHANGE.name) & (table["subject"] == worst)]
    for row in found.to_dict("records"):
        st.markdown(
            f"At the highest severity the gap by the cue is {row['value']:+.1f} points "
            f"[{row['low']:+.1f}, {row['high']:+.1f}] from what it was"
            f"{' (not certain)' if row['reading'] else ''}."
        )


def along(rows: pd.DataFrame, kind: str, ends: str = "") -> pd.DataFrame:
    """Rows of one kind by their severity, 0: as the images were.

    Parameters
    ----------
    rows : of one measure, by subject. ends : what subjects end with, such as AT.
    """
    names = {0: f"{CLEAN}{ends}", **{s: f"{subject(kind, s)}{ends}" for s in SEVERITIES}}
    there = {severity: name for severity, name in names.items() if name in rows.index}
    return rows.loc[list(there.values())].set_axis(list(there), axis=0)


def curves(table: pd.DataFrame, name: str) -> go.Figure:
    """A figure along the severities, a thin line per kind and the mean of all with intervals."""
    import plotly.graph_objects as go

    rows = table[table["measure"] == name].set_index("subject")
    figure, dashes = go.Figure(), ("solid", "dash", "dot", "dashdot")
    words = {kind: corruption.words for kind, corruption in CORRUPTIONS.items()}
    cooled = f"{EVERY}{AT}"
    for place, (kind, title) in enumerate({**words, EVERY: EVERY, cooled: cooled}.items()):
        part = along(rows, *((EVERY, AT) if kind == cooled else (kind, "")))
        if len(part) < 2:
            continue
        whole = kind in (EVERY, cooled)
        style = dashes[place // len(CLASSES) % len(dashes)]
        figure.add_trace(
            go.Scatter(
                x=part.index.tolist(),
                y=part["value"],
                name=title,
                mode="lines+markers",
                error_y=interval(part) if whole else None,
                line={
                    "width": 4 if whole else 1.5,
                    "dash": {EVERY: "solid", cooled: "dot"}.get(kind, style),
                    "color": NEUTRAL if whole else CLASSES[place % len(CLASSES)],
                },
            )
        )
    unit = MEASURES[name].unit
    figure.update_xaxes(title="severity (0: as it was)", tickvals=[0, *SEVERITIES])
    title = "percentage points" if unit == POINTS else FIGURES[name].lower()
    figure.update_yaxes(title=title, zeroline=unit == POINTS)
    return finished(figure, height=460)
