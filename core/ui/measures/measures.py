"""Blocks of the page Measures: every number with what it means."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.measures import decimals
from core.measures.gaps import SPURIOUS_GAP
from core.measures.measure import POINTS
from core.measures.measure_requests import MeasureRequest
from core.measures.one_audit import is_slow, parts, slow_parts, words
from core.measures.registry import MEASURES, subject_in_words
from core.measures.stored import is_stored, known
from core.storage.spreadsheet import csv_bytes
from core.ui.frame import blocks, opened, state, tagged, working
from core.ui.kit.text import html
from core.ui.measures import calibration, corruptions, factors, leant_on, ood, sets, subsets
from core.ui.measures import figures as measure_figures

PARAMETERS = [
    *("audit", "view", "part", "with", "along", "set", "looks"),
    *("what", "classes", "order", "rows", "of"),
]
DECIDES, LEANS_ON, SURE, ODD = "factors", "priors", "calibration", "ood"
ENOUGH = "subsets"
VIEWS = {
    "table": "Table",
    "gaps": "Gaps",
    "accuracy": "By accuracy",
    DECIDES: "Decides by",
    LEANS_ON: "Leans on",
    SURE: "Calibration",
    ODD: "Out of distribution",
    "sets": "Other sets",
    "corruptions": "Corruptions",
    ENOUGH: "How little is enough",
}
ALONE = {
    DECIDES: factors.measured,
    LEANS_ON: leant_on.show,
    SURE: calibration.show,
    ODD: ood.show,
    **{"sets": sets.show, "corruptions": corruptions.show},
    ENOUGH: subsets.section,
}
"""Views of a table of their own, or of an offer to measure it."""

AT_ONCE = 50
"""Classes with spurious cues up to which gaps are measured while the page waits, in a second."""

ORDERS = {"class": "Class", "high": "Value, highest first", "low": "Value, lowest first"}
ROWS = 100
"""Of the table on one screen."""


def tables(audit: Audit) -> pd.DataFrame:
    """Everything that is known with these tags; of a small audit gaps are measured at once."""
    found = tagged.decisions(audit)
    return known(audit, found, quick=len(found.spurious) <= AT_ONCE)


def at_once(audit: Audit) -> bool:
    """Whether gaps and groups are stored, or of so few classes that a page can wait for them."""
    found = tagged.decisions(audit)
    quick = [part for part in parts() if not is_slow(part)]
    return len(found.spurious) <= AT_ONCE or all(is_stored(audit, found, part) for part in quick)


def offer(audit: Audit, key: str = "run") -> None:
    """Offer to measure what is missing, each part as a job; ``key`` begins the buttons' names.

    Buttons of several stand in one menu; what runs, and why one failed, stands in sight.
    """
    found = tagged.decisions(audit)
    if not found.spurious:
        return
    some = parts() if len(found.spurious) > AT_ONCE else slow_parts()
    left = [part for part in some if not is_stored(audit, found, part)]
    asked = {part: MeasureRequest(audit.id, part) for part in left}
    still = [part for part in left if working.offered(opened.workspace(), asked[part])]
    for part in left:
        if part not in still:
            _offer(audit, asked[part], f"{key}-{part}")
    if len(still) > 1 and blocks.may_run():
        with st.popover(f"Measure more ({len(still)})", icon=":material/straighten:"):
            st.caption("Each loads the model and runs as a job; what it finds is kept.")
            for part in still:
                _offer(audit, asked[part], f"{key}-{part}")
    elif still:
        _offer(audit, asked[still[0]], f"{key}-{still[0]}")


def _offer(audit: Audit, request: MeasureRequest, key: str) -> None:
    what = words(request.what)
    working.offer(request, f"{audit.name}: {what}", f"Measure {blocks.plain(what)}", key=key)


@blocks.part
def show(audit: Audit) -> None:
    """The table or a figure of it; a choice redraws this alone."""
    table = tables(audit)
    notes = table.loc[table["measure"] == "note", "note"].unique()
    table = table[table["measure"] != "note"]
    gaps = table[table["measure"] == "spurious_gap"]
    there = {"gaps": len(gaps), "accuracy": len(gaps)}
    views = [view for view in VIEWS if there.get(view, True)]
    view = state.choose(st.segmented_control, "Show", "view", views, format_func=VIEWS.__getitem__)
    if view not in ALONE:  # which say themselves what tags have to do with it
        if tagged.decisions(audit).spurious:
            if len(notes):
                said = "\n".join(f"- {blocks.plain(text)}" for text in notes)
                st.info(said, icon=":material/info:")
        else:
            blocks.no_cue("The measures tell the cost of")
    if view in ALONE:
        found = ALONE[view](audit)
        if found is not None:
            _table(audit, found)
            _download(audit, found, view)
    elif len(table):
        if view == "table":
            _table(audit, table)
        else:
            _figure(audit, gaps, view)
        _download(audit, table)
    state.publish(PARAMETERS)


def _figure(audit: Audit, gaps: pd.DataFrame, view: str) -> None:
    """A figure of the gaps; a click on a class opens its ranking."""
    if view == "gaps":
        figure = measure_figures.ranked_gaps(gaps)
    else:
        accuracy = {facts.label: facts.accuracy for facts in audit.classes}
        figure = measure_figures.gap_and_accuracy(gaps, accuracy)
    event = st.plotly_chart(
        figure, width="stretch", key=f"measures-{view}", on_select="rerun", selection_mode="points"
    )
    corrected = f"; intervals are corrected for {len(gaps)} classes (Bonferroni)"
    st.caption(
        f"{blocks.plain(SPURIOUS_GAP.meaning)} 95 % intervals "
        f"(Newcombe){corrected if len(gaps) > 1 else ''}. {blocks.plain(SPURIOUS_GAP.source)}. "
        "Choose a point to see the class's ranking."
    )
    points = event["selection"]["points"]
    if points:
        label = points[0]["customdata"]
        state.go("pages/ranking.py", **{"class": label[0] if isinstance(label, list) else label})


def _table(audit: Audit, table: pd.DataFrame) -> None:
    """The filtered and ordered table, a screen at a time, its meaning on hover."""
    left, middle, right = st.columns([3, 3, 2])
    with left:
        chosen = state.several(
            "Measures", "what", {name: _spoken(name) for name in sorted(table["measure"].unique())}
        )
    with middle:
        names = sorted(set(table["class_name"]) - {""})
        classes = state.several("Classes", "classes", names)
    with right:
        order = state.choose(st.selectbox, "Order", "order", ORDERS)
    if chosen:
        table = table[table["measure"].isin(chosen)]
    if classes:
        table = table[table["class_name"].isin(classes)]
    if order != "class":
        table = table.sort_values("value", ascending=order == "low", kind="stable")
    first = 0
    if len(table) > ROWS:
        screens = -(-len(table) // ROWS)
        words = f"Rows, {ROWS} at a time (of {len(table):,})"
        first = ROWS * (state.number(st.number_input, words, "rows", 1, screens, 1) - 1)
    st.html(rows_html(table.iloc[first : first + ROWS]))
    with st.expander("What the measures mean"):
        for name in sorted(table["measure"].unique()):
            said = f"{MEASURES[name].meaning} Source: {MEASURES[name].source}."
            st.markdown(f"**{blocks.plain(_spoken(name))}**: {blocks.plain(said)}")


def _spoken(measure: str) -> str:
    """A measure by its name as people read it; addresses and files keep the name as it is."""
    return measure.replace("_", " ")


def rows_html(table: pd.DataFrame) -> str:
    """Rows of the table of measures, with definition, direction, n, interval, source on hover."""
    heads = ("class", "measure", "of", "value", "95 % interval", "n", "images", "reading")
    cells = "".join(f'<th scope="col" style="{_CELL}">{html(head)}</th>' for head in heads)
    body = "".join(_row_html(row) for row in table.to_dict("records"))
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse;width:100%;'
        f'font-size:.875rem"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'
    )


_CELL = (
    "text-align:left;padding:.3rem .6rem;vertical-align:top;"
    "border-bottom:1px solid color-mix(in srgb, currentColor 18%, transparent)"
)


def _row_html(row: dict[str, Any]) -> str:
    low, high, unit = row["low"], row["high"], row["unit"]
    value, interval = (
        decimals.figure(row["value"], unit, low, high),
        decimals.interval(low, high, unit),
    )
    texts = (
        *(row["class_name"] or "all classes", _spoken(row["measure"])),
        subject_in_words(str(row["subject"])),
        *(f"{value} points" if unit == POINTS else value, interval),
        *(f"{row['n']:,}", row["split"], row["reading"]),
    )
    cells = "".join(f'<td style="{_CELL}">{html(text)}</td>' for text in texts)
    lines = "\n".join(map(html, meaning_of(row, value, interval).splitlines()))
    return f'<tr title="{lines}">{cells}</tr>'


def meaning_of(row: dict[str, Any], value: str, interval: str) -> str:
    """What is shown on pointing at a row."""
    meaning = MEASURES[row["measure"]]
    lines = [
        f"{_spoken(row['measure'])} = {value} {interval}".strip(),
        meaning.text,
        f"Direction: {meaning.higher}",
        f"n = {row['n']:,}, {row['split']}" + (f"; {row['note']}" if row["note"] else ""),
        f"Source: {meaning.source}",
    ]
    return "\n".join(lines)


def _download(audit: Audit, table: pd.DataFrame, name: str = "measures") -> None:
    st.download_button(
        "Download the whole table",
        lambda: csv_bytes(table),
        file_name=f"{name}-{audit.id}.csv",
        mime="text/csv",
        icon=":material/download:",
    )
