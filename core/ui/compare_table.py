"""The table of the page Compare: a row per measure, a column per model."""

from __future__ import annotations

from html import escape
from pathlib import Path

import pandas as pd
import streamlit as st

from core.audit import Audit
from core.comparison.cells import Context
from core.comparison.table import MEASURES, Cell, Measure, Table, change_text, value_text
from core.ui import blocks, compare, state, working
from core.ui.new_audit import allowed

STYLE = """<style>
.models{border-collapse:collapse;width:100%;font-size:.875rem}
.models th,.models td{border-bottom:1px solid color-mix(in srgb,currentColor 18%,transparent);
padding:.45rem .7rem;text-align:left;vertical-align:top}
.models thead th{font-weight:600;white-space:nowrap}
.models tbody th{font-weight:500;min-width:11rem}
.models small{display:block;font-size:.8125rem;opacity:.85}
.models .value{font-size:1rem;font-variant-numeric:tabular-nums}
.models .certain{font-weight:700;opacity:1}
.models .missing{opacity:.8;font-style:italic}
.models-frame{overflow-x:auto}
</style>"""


def show(context: Context, table: Table, baseline: Audit) -> None:
    """Every figure with its interval and its difference to the baseline."""
    st.html(STYLE + html(context, table, baseline))
    st.caption(
        "95 % intervals. Differences: McNemar's exact test for accuracy, a bootstrap of the same "
        f"images for the others; p after Holm's correction over the {table.tests} tests of this "
        "table, **bold** below 0.05. Intervals of differences are not corrected. Speeds are not "
        "tested: they were measured one after the other, at the load that stands beside them."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        compare.measure_button(context)
        _cue_images(context)
        st.download_button(
            "Download the table",
            frame(table).to_csv(index=False),
            file_name="comparison.csv",
            mime="text/csv",
            icon=":material/download:",
        )
    with st.expander("What the measures mean"):
        for measure in MEASURES.values():
            st.markdown(f"**{measure.title}**: {blocks.plain(measure.text)}")


def html(context: Context, table: Table, baseline: Audit) -> str:
    """The table; everything from data is escaped."""
    heads = "".join(
        f'<th scope="col">{escape(audit.name)}'
        f"<small>{escape(audit.manifest['model']['name'])}"
        f"{' · baseline' if audit.id == baseline.id else ''}</small></th>"
        for audit in context.audits
    )
    rows = "".join(
        f'<tr><th scope="row" title="{escape(measure.text)}">{escape(measure.title)}'
        f"<small>{_direction(measure)}</small></th>"
        + "".join(_cell(table.rows[name, audit.id], measure) for audit in context.audits)
        + "</tr>"
        for name, measure in MEASURES.items()
    )
    return (
        '<div class="models-frame" tabindex="0" role="region" aria-label="Models by measures">'
        f'<table class="models"><thead><tr><th scope="col">Measure</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _direction(measure: Measure) -> str:
    return {1: "higher is better", -1: "lower is better", 0: ""}[measure.better]


def _cell(cell: Cell, measure: Measure) -> str:
    if cell.missing:
        return f'<td><span class="missing">{escape(cell.missing)}</span></td>'
    value = value_text(cell, measure.unit)
    change, note = change_text(cell, measure.unit).removesuffix(" *"), ""
    if cell.certain and measure.better:
        better = cell.difference * measure.better > 0
        change += " · better" if better else " · worse"
    if change:
        note = f'<small class="{"certain" if cell.certain else ""}">{escape(change)}</small>'
    more = f"<small>{escape(cell.note)}</small>" if cell.note else ""
    return f'<td><span class="value">{escape(value)}</span>{note}{more}</td>'


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
        label = state.choose(
            st.selectbox, "Class", "class", list(names), format_func=lambda v: names.get(v, v)
        )
        folder = st.text_input("Folder", placeholder="/path/to/images", key="cue-folder")
        if folder:
            allowed(folder)
            path = Path(folder).expanduser().absolute()
            ids = [audit.id for audit in context.audits]
            working.offer(
                ["compare", *ids, "--cue-images", f"{label}={path}"],
                f"Score {len(ids)} models with {path.name}",
                "Score every model",
                key="score",
            )
