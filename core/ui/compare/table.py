"""The table of the page Compare: a row per measure, a column per model."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.measures.cells import Context
from core.measures.measure import Measure
from core.measures.measure_requests import CompareRequest
from core.measures.several_audits import (
    Cell,
    Table,
    change_text,
    compared,
    text_of,
    value_text,
)
from core.storage.guard import permitted
from core.storage.spreadsheet import csv_bytes
from core.ui.compare import compare
from core.ui.frame import blocks, state, working
from core.ui.kit.text import html as escape

STYLE = """<style>
.models{border-collapse:collapse;width:100%;table-layout:fixed;font-size:.875rem}
.models th,.models td{border-bottom:1px solid color-mix(in srgb,currentColor 18%,transparent);
padding:.45rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
.models thead th{font-weight:600}
.models tbody th{font-weight:500;overflow-wrap:normal}
.models small{display:block;font-size:.8125rem;opacity:.85}
.models .value{font-size:1rem;font-variant-numeric:tabular-nums}
.models .value i{font-style:normal;white-space:nowrap}
.models .value i+i{font-size:.8125rem;opacity:.85}
.models .certain{font-weight:700;opacity:1}
.models .missing{opacity:.8;font-style:italic;overflow-wrap:normal}
.models-frame{overflow-x:auto;container-type:inline-size}
.models col.measure{width:12rem}
.models.many col.measure{width:8.5rem}
.models.many th,.models.many td{padding:.4rem .3rem}
.models.many .value{font-size:.875rem}
.models.many thead th{font-size:.8125rem}
.models-frame>table{min-width:var(--least)}
.models th:first-child{position:sticky;left:0;z-index:1;background:light-dark(LIGHT,DARK);
box-shadow:inset 0 -1px color-mix(in srgb,currentColor 18%,transparent)}
@container (max-width:46rem){
.models th,.models td{padding:.4rem .4rem}
.models col.measure{width:8.5rem}
.models .value,.models .value i+i,.models small{font-size:.8125rem}
}
</style>"""

FULL = 5
"""Models up to which every cell shows all there is to say; of more, cells are short."""

LEAST = {False: 7.5, True: 5.0}
"""Width of a model's column, in rem, below which the table scrolls sideways; of short cells."""


def show(context: Context, table: Table, baseline: Audit) -> None:
    """Every figure with its interval and its difference to the baseline."""
    st.html(style() + html(context, table, baseline))
    st.caption(
        "95 % intervals. Differences: McNemar's exact test for accuracy, both intervals and what "
        "the same images do to both for average precision and calibration, a bootstrap of the same "
        "images for the others (of the cues for flip rates); p after Holm's correction over the "
        f"{table.tests:,} tests of this table, **bold** below 0.05. Intervals of differences are "
        "not corrected. Speeds are not tested: they were measured one after the other, at the load "
        "that stands beside them."
    )
    if len(context.audits) > FULL:
        st.caption(
            f"Of more than {FULL} models the table shows figures and differences (* after the "
            "correction); intervals, p and notes are shown on pointing at a cell, and stand in "
            "the file."
        )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        compare.measure_button(context)
        _cue_images(context)
        st.download_button(
            "Download the table",
            lambda: csv_bytes(frame(table)),
            file_name="comparison.csv",
            mime="text/csv",
            icon=":material/download:",
        )
    with st.expander("What the measures mean"):
        for measure in compared():
            st.markdown(f"**{blocks.plain(measure.title)}**: {blocks.plain(text_of(measure))}")


def style() -> str:
    """STYLE, the measures on the page's own ground, over which the models scroll."""
    found = STYLE
    for word, theme in (("LIGHT", "light"), ("DARK", "dark")):
        found = found.replace(word, str(st.get_option(f"theme.{theme}.backgroundColor")))
    return found


def html(context: Context, table: Table, baseline: Audit) -> str:
    """The table; everything from data is escaped.

    It fills the width that there is, every model the same part of it; only where that is less than
    LEAST for each it scrolls sideways.
    """
    short = len(context.audits) > FULL
    heads = "".join(
        f'<th scope="col">{escape(audit.name)}'
        f"<small>{escape(audit.manifest.model.name)}"
        f"{' · baseline' if audit.id == baseline.id else ''}</small></th>"
        for audit in context.audits
    )
    rows = "".join(
        _row(context, table, measure.name, measure, short=short) for measure in compared()
    )
    least = f"{8.5 + LEAST[short] * len(context.audits):g}rem"
    return (
        '<div class="models-frame" tabindex="0" role="region" aria-label="Models by measures">'
        f'<table class="models{" many" if short else ""}" style="--least:{least}">'
        f'<colgroup><col class="measure">'
        f"{'<col>' * len(context.audits)}</colgroup>"
        f'<thead><tr><th scope="col">Measure</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(context: Context, table: Table, name: str, measure: Measure, *, short: bool) -> str:
    """One measure of every model; what all of them lack is said once."""
    cells = [table.rows[name, audit.id] for audit in context.audits]
    head = (
        f'<tr><th scope="row" title="{escape(text_of(measure))}">{escape(measure.title)}'
        f"<small>{_direction(measure)}</small></th>"
    )
    if cells[0].missing and len({cell.missing for cell in cells}) == 1:
        words = f'<span class="missing">{escape(cells[0].missing)}</span>'
        return f'{head}<td colspan="{len(cells)}">{words}</td></tr>'
    make = _short_cell if short else _cell
    return head + "".join(make(cell, measure) for cell in cells) + "</tr>"


def _direction(measure: Measure) -> str:
    return {1: "higher is better", -1: "lower is better", 0: ""}[measure.better]


def _cell(cell: Cell, measure: Measure) -> str:
    if cell.missing:
        return f'<td><span class="missing">{escape(cell.missing)}</span></td>'
    value, _, interval = value_text(cell, measure.unit).partition(" ")
    change, note = change_text(cell, measure.unit).removesuffix(" *"), ""
    if cell.certain and measure.better:
        better = cell.difference * measure.better > 0
        change += " · better" if better else " · worse"
    if change:
        note = f'<small class="{"certain" if cell.certain else ""}">{escape(change)}</small>'
    more = f"<small>{escape(cell.note)}</small>" if cell.note else ""
    bounds = f" <i>{escape(interval)}</i>" if interval else ""
    return f'<td><span class="value"><i>{escape(value)}</i>{bounds}</span>{note}{more}</td>'


def _short_cell(cell: Cell, measure: Measure) -> str:
    """Figure and difference; the rest is shown on pointing at it, and in the file."""
    if cell.missing:
        why, _, _ = cell.missing.partition(":")
        words = f'<span class="missing">{escape(why)}</span>'
        return f'<td title="{escape(cell.missing)}">{words}</td>'
    whole, change = value_text(cell, measure.unit), change_text(cell, measure.unit)
    about = "; ".join(text for text in (whole, change, cell.note) if text)
    value, _, _ = whole.partition(" ")
    moved, _, _ = change.partition(" ")
    mark = " *" if cell.certain else ""
    note = f'<small class="{"certain" if mark else ""}">{escape(moved + mark)}</small>'
    return (
        f'<td title="{escape(about)}"><span class="value">{escape(value)}</span>'
        f"{note if moved else ''}</td>"
    )


def frame(table: Table) -> pd.DataFrame:
    """Every cell as a row, for a file."""
    found = pd.DataFrame([vars(cell) for cell in table.rows.values()])
    names = {audit.id: audit.name for audit in table.context.audits}
    found.insert(0, "name", found["audit"].map(names))
    return found


def _cue_images(context: Context) -> None:
    """Name a folder with images of a cue alone, and score every model with it."""
    names = blocks.class_names(context.audits[0])
    with st.popover("Images of a cue alone", icon=":material/add_photo_alternate:"):
        st.markdown("A folder of images that show the cue of a class and not its object.")
        label = state.choose(st.selectbox, "Class", "class", names)
        folder = st.text_input("Folder", placeholder="/path/to/images", key="cue-folder")
        if folder:
            path = permitted(folder)
            ids = tuple(audit.id for audit in context.audits)
            working.offer(
                CompareRequest(ids, cue_images={label: path}),
                f"Score {len(ids)} models with {path.name}",
                "Score every model",
                key="score",
            )
