"""Blocks of the page Measures: what the model leans on by construction.

Shape or texture alone, how easily the tagged cues are learnt, the strongest patch of a class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.measures.agreement_figures import CUE, LABEL, RANDOM
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import ON_DEMAND
from core.measures.part_evidence import lacking
from core.measures.prior_figures import conflicting
from core.measures.registry import MEASURES
from core.types import count_of
from core.ui.frame import blocks, state, tagged, working
from core.ui.kit.gallery import gallery
from core.ui.kit.palette import CLASSES, NEUTRAL
from core.ui.kit.text import drawn
from core.ui.measures.asked import SYMBOLS, dots
from core.ui.measures.figures import finished, interval

if TYPE_CHECKING:
    import plotly.graph_objects as go

PARTS = {
    "priors": "Shape and texture",
    "agreement": "How easily cues are learnt",
    "universal": "The strongest patch",
    "evidence": "Object parts",
}
OFFERED = {
    "priors": "Up to 60 training and 60 held-out images of 16 classes at most are shown as edges "
    "alone and as shuffled patches alone; the model is asked about both, and a head is fitted on "
    "each. Minutes without a GPU.",
    "agreement": "Pairs of heads are fitted on 4 to 64 images each, by the tagged cue, by the "
    "class and by attributes, and asked whether they agree on others. Seconds, on stored "
    "features.",
    "universal": "Of up to four classes, the tagged ones first, gradients on training images find "
    "the one patch and the one faint perturbation that turn most images into it. Minutes without a "
    "GPU; one class alone: python -m core measure AUDIT --what universal --class NAME.",
    "evidence": "The map of each class, and of its tagged candidates, is shared out over the "
    "annotated parts of the object.",
}
SHOWN = 24
"""Images that shape and texture tell different classes of, on one screen."""


def show(audit: Audit) -> pd.DataFrame | None:
    """The chosen part: its figures, or an offer to measure it; the table where there is one."""
    part = state.choose(
        st.segmented_control, "Part", "part", list(PARTS), format_func=PARTS.__getitem__
    )
    decisions = tagged.decisions(audit)
    if part == "agreement" and not decisions.spurious:
        blocks.no_cue("This tells how easily a network learns")
        return None
    if part == "evidence" and (why := lacking(audit)):
        blocks.empty("Evidence cannot be shared out", f"{blocks.plain(why[0].upper() + why[1:])}.")
        return None
    demand = ON_DEMAND[part]
    request = MeasureRequest(audit.id, part)
    table = demand.known(audit, decisions, request)
    if table is None:
        blocks.empty("Not measured with these tags yet", OFFERED[part], icon=":material/texture:")
        working.offer(
            request,
            f"{audit.name}: {demand.title}",
            f"Measure {blocks.plain(demand.title)}",
            key=f"run-{part}",
            primary=True,
        )
        return None
    _DRAWN[part](audit, table)
    return table


def _priors(audit: Audit, table: pd.DataFrame) -> None:
    """Accuracy by prior and class, the cue's gap by prior, and the images they differ on."""
    accuracy = table[table["measure"] == "prior_accuracy"]
    overall = accuracy[accuracy["label"] == ""].set_index("subject")
    blocks.numbers(
        [
            (subject[0].upper() + subject[1:], _percent(found))
            for subject, found in overall.iterrows()
            if subject.startswith("head")
        ]
    )
    heads = accuracy[accuracy["subject"].str.startswith("head")]
    heads = heads.assign(place=heads["class_name"].replace("", "all classes"))
    st.plotly_chart(
        dots(heads, "accuracy among these classes", [0, 1.02]), width="stretch", key="priors"
    )
    _said("prior_accuracy")
    gaps = table[table["measure"] == "prior_gap"]
    if len(gaps):
        st.markdown("**Accuracy where images show most of the cue minus where they show least**")
        st.plotly_chart(
            dots(gaps.assign(place=gaps["class_name"]), "percentage points", None, zero=True),
            width="stretch",
            key="prior-gaps",
        )
        for row in gaps[gaps["reading"].str.startswith("the cue")].to_dict("records"):
            st.markdown(f"**{blocks.plain(row['class_name'])}**: {blocks.plain(row['reading'])}.")
        _said("prior_gap")
    else:
        st.caption("Tag a cue as spurious to see which of the two it is in.")
    _differ(audit)


def _differ(audit: Audit) -> None:
    """Images that shape and texture tell different classes of, the surest first."""
    found = conflicting(audit, tagged.decisions(audit))
    if found.empty:
        return
    names = blocks.class_names(audit)
    st.markdown(
        f"**Where shape and texture differ** ({count_of(len(found), 'image')}, the surest first)"
    )
    shown = found.head(SHOWN)
    badges = {
        row.image_id: f"shape {names.get(str(row.shape_head), row.shape_head)} · "
        f"texture {names.get(str(row.texture_head), row.texture_head)}"
        for row in shown.itertuples()
    }
    clicked = gallery(
        blocks.photos(audit, shown["image_id"].tolist(), badges=badges),
        key="differ",
        size=170,
        label="Where shape and texture differ",
    )
    if clicked:
        state.go("pages/image.py", image=clicked)


def _agreement(audit: Audit, table: pd.DataFrame) -> None:
    """The curve of every labelling about a class, and what is lost in the split by the cue."""
    names = blocks.class_names(audit)
    labels = table["label"].unique().tolist()
    label = state.choose(st.selectbox, "Class", "of", labels, format_func=lambda v: names.get(v, v))
    mine = table[table["label"] == label]
    st.plotly_chart(_curves(mine), width="stretch", key="agreement")
    _said("agreement_score")
    split = mine[mine["measure"] == "adversarial_recall"]
    blocks.numbers([(f"Recognised, {row.subject}", _percent(row._asdict())) for row in
                    split.itertuples()])  # fmt: skip
    drop = mine[mine["measure"] == "adversarial_drop"]
    if len(drop):
        row = drop.iloc[0]
        st.markdown(
            f"Trained where the cue is and tested where it is not: {row['value']:+.0f} points "
            f"[{row['low']:+.0f}, {row['high']:+.0f}] beside splits by random directions; "
            f"{blocks.plain(row['reading'])}. As a manifest: `python -m core export AUDIT "
            "adversarial --out split.csv`."
        )
    _said("adversarial_drop")


def _curves(mine: pd.DataFrame) -> go.Figure:
    """Kappa against the number of images learnt from, a line per labelling."""
    import plotly.graph_objects as go

    scores = mine[mine["measure"] == "agreement_score"]
    scores = scores.assign(what=scores["subject"].str.rpartition(", ")[0])
    figure = go.Figure()
    for place, (what, rows) in enumerate(scores.groupby("what", sort=False)):
        plain = what == RANDOM
        figure.add_trace(
            go.Scatter(
                x=rows["n"],
                y=rows["value"],
                name=drawn(what),
                mode="lines+markers",
                error_y=interval(rows) if str(what).startswith(CUE) or what == LABEL else None,
                line={"dash": "dot" if plain else "solid"},
                marker={
                    "size": 9,
                    "symbol": SYMBOLS[place % len(SYMBOLS)],
                    "color": NEUTRAL if plain else CLASSES[place % len(CLASSES)],
                },
            )
        )
    sizes = sorted(scores["n"].unique().tolist())
    figure.update_xaxes(title="images learnt from", type="log", tickvals=sizes, ticktext=sizes)
    figure.update_yaxes(title="agreement beyond chance (kappa)", range=[-0.3, 1.05])
    return finished(figure, height=400)


def _universal(audit: Audit, table: pd.DataFrame) -> None:
    """What each class's patch, perturbation, controls and candidates turn."""
    del audit
    rows = table.assign(place=table["class_name"])
    st.plotly_chart(
        dots(rows, "share of other classes' images turned", [0, 1.02]),
        width="stretch",
        key="universal",
    )
    for row in table[table["reading"] != ""].to_dict("records"):
        name, subject, note = (blocks.plain(row[of]) for of in ("class_name", "subject", "note"))
        st.markdown(f"**{name}**, {subject}: {blocks.plain(row['reading'])} ({note}).")
    _said("universal_rate")


def _evidence(audit: Audit, table: pd.DataFrame) -> None:
    """The share of each part in the map of each class and of its tagged candidates."""
    del audit
    rows = table.assign(place=table["class_name"])
    st.plotly_chart(
        dots(rows, "share of the positive map", [0, 1.02]), width="stretch", key="evidence"
    )
    _said("part_evidence")


def _percent(found: pd.Series | dict[str, object]) -> str:
    value, low, high = (100 * float(str(found[of])) for of in ("value", "low", "high"))
    return f"{value:.0f} % [{low:.0f}, {high:.0f}]"


def _said(name: str) -> None:
    """What a measure is, what higher means and where it is from."""
    meaning = MEASURES[name]
    st.caption(f"{blocks.plain(meaning.meaning)} Source: {blocks.plain(meaning.source)}.")


_DRAWN: dict[str, Callable[[Audit, pd.DataFrame], None]] = {
    **{"priors": _priors, "agreement": _agreement, "universal": _universal, "evidence": _evidence},
}
