"""Blocks of the page Mitigate: before and after, the trade-off, changed images, export."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.corrections.card import card, how_chosen, is_given
from core.corrections.corrected import (
    ADVICE,
    advised_against,
    changed,
    children_of,
    effect_table,
    facts_of,
    judgement,
    parent_of,
    tradeoff_table,
    untaken,
)
from core.corrections.methods import METHODS
from core.corrections.package import FORMATS, export_model, missing_for
from core.errors import SpurioscopeError
from core.measures.accuracy import ACCURACY
from core.measures.cue_figures import CUE_GAP
from core.measures.cue_groups import WORST
from core.measures.decimals import figure, interval
from core.measures.flips import FLIP_RATE
from core.measures.gaps import SPURIOUS_GAP
from core.measures.measure import EFFECT, LOGIT, POINTS, Measure
from core.measures.registry import MEASURES
from core.storage.audit_manifest import Manifest, Provenance
from core.storage.spreadsheet import csv_bytes
from core.types import count_of
from core.ui.frame import blocks, look, opened, pictures, state, tagged
from core.ui.frame.pictures import Look
from core.ui.kit.gallery import Picture, gallery
from core.ui.kit.text import unread

SHOWN = 12
NAMED = 8
"""Cues that are named in a sentence; of more, the others stand in a table."""
WAYS = {
    "better": "now right",
    "worse": "now wrong",
    "other": "wrong before and after",
}
PARAMETERS = ["result", "rows", "way", *look.PARAMETERS]


def said(audit: Audit) -> None:
    """What was done, in a sentence or two."""
    done = facts_of(audit)
    method = METHODS.get(done.method)
    title, how = method.title if method else done.method, how_chosen(done)
    st.markdown(
        f"**{blocks.plain(title)}** at strength **{done.strength:g}** ({how}), made from "
        f"**{blocks.plain(done.parent_name)}**, acting on "
        f"{blocks.plain(_cues(audit, done))}. Learnt from "
        f"{done.learnt_from:,} training images, told apart by "
        f"{blocks.plain(done.told_apart_by)}; figures are of "
        f"**{blocks.plain(audit.summary.held_out)}**."
    )
    lacking = [(cue_title(audit, cue), words) for cue, words in _lacking(done)]
    few = len(done.cues) <= NAMED
    known = [f"{cue}: {words}" for cue, words in lacking] if few else []
    if said := [*known, judgement(done)] if judgement(done) else known:
        st.caption(blocks.plain(" · ".join(said)))
    if not few:
        with st.expander(f"All {len(done.cues):,} cues, and how many images lack each"):
            table = pd.DataFrame(lacking, columns=["cue", "lacking"])
            if table.empty:
                table = pd.DataFrame({"cue": [cue_title(audit, cue) for cue in done.cues]})
            st.dataframe(table, hide_index=True, width="stretch")
    if advised_against(done):
        st.warning(ADVICE, icon=":material/warning:")
    if done.strength == 0 and not is_given(done):
        by_groups = " for the worst group" if judgement(done) else ""
        st.warning(
            f"No strength did better{by_groups} than leaving the model as it is, so nothing was "
            f"changed. {blocks.plain(untaken(tradeoff_table(audit)))} Try another method, or give "
            "a strength.",
            icon=":material/info:",
        )
    if concepts := done.concepts:
        with st.expander("Concept vectors of the cues"):
            st.caption(
                "Fitted on three quarters of the training images, judged on the rest. "
                "Separability: chance 0.5, best 1. Alignment: cosine with what the cue really "
                "does to the features of an image, best 1."
            )
            table = pd.DataFrame(concepts)
            table["cue"] = [cue_title(audit, cue) for cue in table["cue"]]
            st.dataframe(table, hide_index=True, width="stretch")
    if history := done.history:
        with st.expander("Loss and metrics of every epoch"):
            st.dataframe(pd.DataFrame(history), width="stretch")


def _cues(audit: Audit, done: Provenance) -> str:
    """The first of the cues acted on, and how many more there are."""
    more = len(done.cues) - NAMED
    named = ", ".join(cue_title(audit, cue) for cue in done.cues[:NAMED])
    return f"{named} and {count_of(more, 'more cue')}" if more > 0 else named


def _lacking(done: Provenance) -> list[tuple[str, str]]:
    """Cues acted on, and how many training images lack each in words."""
    return [(key, words) for key, _, words in (text.rpartition(": ") for text in done.lacking)]


def cue_title(audit: Audit, key: str) -> str:
    """A cue of a corrected model in words: ``van/pca-0`` is "van: component 1"."""
    cue, names = CandidateKey.parse(key), tagged.names_in(facts_of(audit).parent)
    return f"{opened.display(audit).get(cue.label, cue.label)}: {names.written(cue)}"


LOST = 20.0
"""Points of accuracy that a class must surely lose to be named."""


def headline(table: pd.DataFrame) -> None:
    """Accuracy, worst group, flip rate and gap, before and after; and which classes pay for it."""
    acted = table[table["acted_on"] & table["before"].notna()]
    cells = blocks.metrics(4)
    everywhere = table[table["class_idx"] < 0].set_index("measure")
    for cell, measure in zip(cells, (ACCURACY, WORST), strict=False):
        if measure.name in everywhere.index:
            _before_after(cell, measure, everywhere.loc[measure.name])
    gap = CUE_GAP if CUE_GAP.name in set(acted["measure"]) else SPURIOUS_GAP
    for cell, measure in zip(cells[2:], (FLIP_RATE, gap), strict=True):
        rows = acted[acted["measure"] == measure.name]
        if len(rows):
            _before_after(cell, measure, rows[["before", "after", "change"]].mean())
    pays = table[(table["measure"] == "accuracy") & (100 * table["change_high"] < -LOST)]
    if names := [str(name) for name in pays["class_name"] if name]:
        st.warning(
            f"**{blocks.plain(', '.join(names))}**: recognised far less often than before. A class "
            "that the model knew by its cue alone is lost with it: it then takes training images "
            "without the cue, or a weaker correction.",
            icon=":material/warning:",
        )


def _before_after(cell: Any, measure: Measure, row: pd.Series) -> None:
    points = measure.unit == POINTS
    scale, unit = (1, "") if points else (100, " %")
    sign = "+" if points else ""
    moved = round(scale * row["change"], 1) != 0
    cell.metric(
        blocks.plain(measure.title),
        f"{scale * row['before']:{sign}.0f} → {scale * row['after']:{sign}.0f}{unit}",
        f"{scale * row['change']:+.1f} points",
        delta_color={1: "normal", -1: "inverse", 0: "off"}[measure.better if moved else 0],
        border=True,
        help=blocks.plain(measure.meaning),
    )


ROWS = {
    "acted": "cues acted on",
    "others": "every other tagged cue and class",
    "all": "everything",
}


def table_of(audit: Audit, table: pd.DataFrame) -> None:
    """The table before and after, filtered, with what it cannot say."""
    which = state.choose(
        st.segmented_control,
        "Show",
        "rows",
        list(ROWS),
        default="all",
        format_func=ROWS.__getitem__,
    )
    if which != "all":
        everywhere = table["class_idx"] < 0
        table = table[everywhere | (table["acted_on"] == (which == "acted"))]
    there = table["before"].notna() | table["after"].notna()
    st.dataframe(
        in_words(table[there]),
        hide_index=True,
        width="stretch",
        height=min(36 * (int(there.sum()) + 1) + 3, 720),
        column_config=COLUMNS,
        placeholder="",
    )
    _notes("What the figures are of", "notes", table[there & (table["note"] != "")])
    _notes("What is not known, and what would tell", "empty cells", table[~there])
    with st.expander("What the measures mean"):
        st.caption("Every interval is a 95 % one by itself, on the same images before and after.")
        for measure in MEASURES.seen_in(EFFECT):
            st.markdown(f"**{blocks.plain(measure.title)}**: {blocks.plain(measure.meaning)}")
    st.download_button(
        "Download the table",
        csv_bytes(table),
        file_name=f"before-after-{audit.id}.csv",
        mime="text/csv",
        icon=":material/download:",
    )


def _number(title: str) -> Any:
    return st.column_config.TextColumn(title, alignment="right", width=70)


COLUMNS = {
    "class": st.column_config.TextColumn("Class", width=92, pinned=True),
    "measure": st.column_config.TextColumn("Measure", width=172),
    "of": st.column_config.TextColumn("Of", width=136),
    "before": _number("Before"),
    "after": _number("After"),
    "change": _number("Change"),
    "interval": st.column_config.TextColumn("Its interval", alignment="right", width=140),
    "images": st.column_config.NumberColumn("Images", width=70),
    "acted_on": st.column_config.CheckboxColumn("Acted on", width=75),
}
"""Of the table before and after; together no wider than the page."""


BY_RANK = r"the (\d+) images of highest and of lowest spuriosity"
"""How a table says that the ranking tells who shows the cue."""


def in_words(table: pd.DataFrame) -> pd.DataFrame:
    """Rows before and after for people: titles, few digits, nothing where nothing is known."""
    units = [MEASURES[name].unit if name in MEASURES else "" for name in table["measure"]]
    cells = {
        name: [
            figure(*row, sign=sign)
            for row in zip(
                table[name], units, table[f"{name}_low"], table[f"{name}_high"], strict=True
            )
        ]
        for name, sign in (("before", ""), ("after", ""), ("change", "+"))
    }
    return pd.DataFrame(
        {
            "class": table["class_name"].replace("", "all classes"),
            "measure": [_title(name) for name in table["measure"]],
            **cells,
            "interval": [
                interval(low, high, unit, sign="+")
                for low, high, unit in zip(
                    table["change_low"], table["change_high"], units, strict=True
                )
            ],
            "of": table["subject"].str.replace(BY_RANK, r"\1 images a side", regex=True),
            "images": table["n"],
            "acted_on": table["acted_on"],
        }
    )


def _title(name: str) -> str:
    """A measure in words, with its unit where that is none of shares."""
    found = MEASURES.get(name)
    if found is None:
        return name
    return f"{found.title}, {found.unit}" if found.unit in (POINTS, LOGIT) else found.title


def _notes(title: str, what: str, rows: pd.DataFrame) -> None:
    """What the notes of a table say, a line per note, the longest list of figures last."""
    if rows.empty:
        return
    with st.expander(f"{blocks.plain(title)} ({len(rows)} {blocks.plain(what)})"):
        for why, found in rows.groupby("note", sort=False):
            of = []
            for name, mine in found.groupby("measure", sort=False):
                classes = [str(c) or "all classes" for c in mine["class_name"].unique()]
                more = f" and {len(classes) - 5} more" if len(classes) > 5 else ""
                of.append(f"{_title(str(name))} ({', '.join(classes[:5])}{more})")
            st.markdown(f"**{blocks.plain(str(why))}**: {blocks.plain('; '.join(of))}")


def moved_images(parent: Audit, audit: Audit) -> str | None:
    """Images whose prediction changed, with overlays of both models; a clicked one."""
    found = changed(audit)
    way = state.choose(
        st.segmented_control,
        "Predictions that are",
        "way",
        list(WAYS),
        format_func=lambda w: f"{WAYS[w]} ({len(found[w])})",
    )
    ids = found[way][:SHOWN]
    if not ids:
        st.info(f"No held-out image is {WAYS[way]}.", icon=":material/info:")
        return None
    if len(found[way]) > SHOWN:
        st.caption(f"{SHOWN} of {len(found[way])} images")
    look.style()
    how = look.now(audit)
    legend = f" · {blocks.LIT}" if how.dims else ""
    st.caption(f"Where is what speaks for the class that the model gives the image{legend}")
    clicked = None
    for title, key, of in (("Before", "moved-before", parent), ("After", "moved-after", audit)):
        st.markdown(f"**{title}**")
        cells = _explained(of, ids, how)
        shown = gallery(
            cells,
            key=key,
            size=130,
            opacity=0.8,
            dims=how.dims,
            enlarge=blocks.TAKE_APART,
            controls=title == "Before",
            label=title,
        )
        clicked = clicked or shown
    return clicked


def _explained(audit: Audit, image_ids: list[str], how: Look) -> tuple[Picture, ...]:
    """Images with the map of the logit of the class that the model gives each of them."""
    audited = {facts.class_idx for facts in audit.classes}
    found: list[Picture] = []
    for image_id in image_ids:
        class_idx = int(audit.images_of([image_id])["prediction"].iat[0])
        candidate, scale = None, 1.0
        if class_idx in audited:
            candidate = pictures.logit_of(audit, class_idx)
            scale = logit_scale(audit, class_idx)
        found += blocks.photos(audit, [image_id], candidate=candidate, scale=scale, look=how)
    return tuple(found)


@lru_cache(maxsize=64)
def logit_scale(audit: Audit, class_idx: int) -> float:
    """Value at which the map of a class's logit is drawn at full strength."""
    arrays = opened.class_arrays(audit, class_idx)
    r = arrays.pca.basis.shape[1]
    away = np.asarray(arrays.alpha[:, :r], np.float64).sum(axis=1) + arrays.residual
    return 3 * float(np.quantile(np.abs(away), 0.9)) or 1.0


def export(audit: Audit) -> None:
    """The model as a file, and its card."""
    names = tagged.names_in(facts_of(audit).parent)
    with st.container(horizontal=True):
        for kind, ending in FORMATS.items():
            lacking = blocks.plain(" ".join(missing_for(kind)))
            st.download_button(
                f"{ending}",
                _file(audit, kind),
                file_name=f"{audit.id}{ending}",
                mime="application/octet-stream",
                icon=":material/download:",
                disabled=bool(lacking),
                help=f"pip install {lacking}" if lacking else _FORMAT_HELP[kind],
                key=f"export-{kind}",
            )
        st.download_button(
            "Model card",
            lambda: card(audit, names),
            file_name=f"{audit.id}.card.md",
            mime="text/markdown",
            icon=":material/description:",
        )
    box = st.expander("The model card", key="card", on_change="rerun")
    if box.open:
        with box:
            st.markdown(unread(card(audit, names)))


_FORMAT_HELP = {
    "safetensors": "Weights with the correction; give them to --checkpoint.",
    "pt2": "torch.export; images in [0, 1] in, logits out.",
    "onnx": "ONNX; images in [0, 1] in, logits out.",
}


def _file(audit: Audit, kind: str) -> Callable[[], bytes]:
    """Exports when the button is pressed, not before."""

    def content() -> bytes:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / f"model{FORMATS[kind]}"
            export_model(audit, kind, out)
            return out.read_bytes()

    return content


def next_steps(audit: Audit, parent: Audit | None) -> None:
    """Stack another method, compare, or roll back."""
    with st.container(horizontal=True):
        if blocks.may_run() and st.button(
            "Correct this one further", icon=":material/layers:", key="stack"
        ):
            state.go("pages/mitigate.py", audit=audit.id, result="", cues="", name="")
        if parent is not None and st.button(
            "Compare with its kind",
            icon=":material/compare:",
            key="both",
            help="The audit that it was made from, and everything that was made from that.",
        ):
            models = [audit.id, *(i for i in siblings(parent) if i != audit.id)]
            state.go(
                "pages/compare.py",
                audit=parent.id,
                models=",".join(models[:SIBLINGS]),
                baseline=parent.id,
            )
        if not blocks.may_run():
            return
        with st.popover("Roll back", icon=":material/undo:"):
            st.markdown(
                "Deletes this corrected model with its audit. The audit that it was made from, and "
                "all tags, stay."
            )
            if st.button("Delete the corrected model", type="primary", key="rollback"):
                _roll_back(audit, parent)


SIBLINGS = 7
"""Corrected models of one audit that are put beside each other at first."""


def siblings(parent: Audit) -> list[str]:
    """Finished audits that were made from one, newest first."""
    made = children_of(opened.workspace(), parent.id)
    return [m.id for m in made if m.state == "finished"]


def _roll_back(audit: Audit, parent: Audit | None) -> None:
    try:
        opened.workspace().delete(audit.id)
    except SpurioscopeError as error:
        blocks.say(error)
        return
    state.put("result", "")
    if parent is not None and state.get("audit") == audit.id:
        state.put("audit", parent.id)
    st.rerun()


def results(audit: Audit, derived: dict[str, Manifest]) -> Audit:
    """Choose which corrected model to look at."""
    default = audit.id if audit.id in derived else next(iter(derived))
    chosen = state.choose(
        st.selectbox,
        "Corrected model",
        "result",
        list(derived),
        default=default,
        format_func=lambda i: derived[i].name if i in derived else i,
        resets=["rows", "way"],
    )
    return opened.open_audit(chosen)


def parent(audit: Audit) -> Audit | None:
    """What a corrected model was made from, held open with the others."""
    found = parent_of(audit, opened.workspace())
    return None if found is None else opened.open_audit(found.id)


def measured(audit: Audit) -> pd.DataFrame:
    """The table before and after."""
    return tagged.names_in(facts_of(audit).parent).in_table(effect_table(audit))
