"""Blocks of the page Overview."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.models.overrides import in_words as preprocess_words
from core.models.precision import in_words
from core.storage.json_values import as_json
from core.trials.leaned_on import BLOCKS, Block
from core.ui.frame import opened, state, tagged
from core.ui.frame.blocks import empty, gap_text, numbers, plain, ranked, table
from core.ui.frame.words import help_on
from core.ui.overview import leans

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def headline(audit: Audit) -> None:
    """The numbers that stand for the audit, and how it was computed."""
    summary, manifest = audit.summary, audit.manifest
    found = [one for one in tagged.leaned_on(audit) if one.block != "rest"]
    accuracy = summary.accuracy  # None where every class has one image, which is fitted on
    numbers(
        [
            ("Images", f"{summary.readable:,}"),
            ("Classes", f"{len(audit.classes):,}"),
            (
                f"Accuracy on {summary.held_out}",
                "–" if accuracy is None else f"{100 * accuracy:.1f} %",
            ),
            ("Classes that lean on something", f"{len(found):,} of {len(audit.classes):,}"),
        ]
    )
    st.caption(
        "A class leans on a part, component or neuron that turns more images of other classes "
        "into it than the same shape from elsewhere in the class does. A core feature does so, "
        "too: only a tag says whether it should matter."
    )
    compute, head = manifest.compute, manifest.head
    heads = {"keep": "the model's own head", "fit": "a linear probe fitted on the train split"}
    how = (
        f"{manifest.data.source} · {manifest.model.name} with {heads[head.mode]} "
        f"({head.reason}) · images as {preprocess_words(manifest.preprocess)} · "
        f"{compute.device}, {in_words(compute)} · "
        f"fingerprint {manifest.fingerprint}"
    )
    with st.expander("How it was computed"):
        st.markdown(plain(how))


def prepare(audit: Audit) -> None:
    """Compute what the page shows and keep it."""
    _planted(audit)
    tagged.leaned_on(audit)


def planted_truth(audit: Audit) -> None:
    """For rendered data: what was planted, beside what the audit found."""
    rows = _planted(audit)
    if rows is not None:
        st.subheader("Planted truth and what was found")
        table(rows)


@lru_cache(maxsize=16)
def _planted(audit: Audit) -> pd.DataFrame | None:
    import pandas as pd

    rows = [_found(audit, label, truth) for label, truth in audit.summary.planted.items()]
    found = [row for row in rows if row]
    return pd.DataFrame(found).set_index("class") if found else None


def _found(audit: Audit, label: str, truth: Mapping[str, Any]) -> dict[str, str] | None:
    """The first of the page's candidates that separates the planted cue best."""
    facts = next((c for c in audit.classes if c.label == label), None)
    if facts is None:
        return None
    row = {
        "class": facts.name,
        "planted cue": truth.get("cue") or "none",
        "what was planted": truth.get("note", ""),
    }
    cue, names = truth.get("cue"), tagged.names(audit)
    if not cue or cue not in audit.images:
        row["what the audit found"] = (
            f"largest gap: {gap_text(vars(facts), 'top_')} by "
            f"{names.said(facts.label, facts.top_candidate)}"
        )
        return row
    from core.statistics.intervals import auroc

    images = opened.class_images(audit, facts.class_idx)
    shown = images[cue].astype(str).isin(["1", "True", "true", "1.0"]).to_numpy()
    arrays = opened.class_arrays(audit, facts.class_idx)
    first = ranked(opened.class_table(audit, facts.class_idx), "pca", "page").head(5)
    scores = {
        place: auroc(arrays.alpha[:, int(c["component"])], shown)
        for place, (_, c) in enumerate(first.iterrows(), 1)
    }
    place = max(scores, key=lambda p: scores[p])
    best = first.iloc[place - 1]
    row["what the audit found"] = (
        f"{names.written(CandidateKey(facts.label, PCA, int(best['component'])))}, number {place} "
        "on its page: AUROC "
        f"{scores[place]:.2f} against the planted cue, gap {gap_text(best)}"
    )
    return row


def class_table(audit: Audit) -> str | None:
    """The ranked classes with search and filters; returns the label of a chosen row."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = state.text("Search", "q", placeholder="name or label of a class")
        order = state.choose(st.selectbox, "Sort by", "sort", leans.SORTS)
    only = state.toggle(
        "Only classes above their control", "only", help=help_on("leaned on", "lean")
    )
    shown = _blocks(audit, tagged.state(audit), query, order, only)
    if not shown:
        empty("No class matches", "Change the search or the filters above.")
    chosen = None
    for block, part in shown.items():
        with st.container(border=True):
            words = BLOCKS[block]
            st.markdown(f"**{plain(words[0].upper() + words[1:])}** · {len(part):,}")
            chosen = _block(part, f"classes-{audit.id}-{query}-{order}-{only}-{block}") or chosen
    return chosen


@lru_cache(maxsize=16)
def _blocks(
    audit: Audit, known: tuple[int, int, int], query: str, order: str, only: bool
) -> dict[Block, pd.DataFrame]:
    """The rows that are asked for of every block that has any, their labels as the index."""
    table = _rows(audit, known)
    if query:
        words = table["class"].str.casefold() + " " + table["label"].str.casefold()
        table = table[words.str.contains(query.casefold(), regex=False)]
    if order in leans.BY:
        column, ascending = leans.BY[order]
        table = table.sort_values(column, ascending=ascending, kind="stable")
    parts = {block: table[table["block"] == block] for block in BLOCKS}
    return {
        block: part.set_index("label")[leans.columns_of(part)]
        for block, part in parts.items()
        if len(part) and not (only and block == "rest")
    }


@lru_cache(maxsize=4)
def _rows(audit: Audit, known: tuple[int, int, int]) -> pd.DataFrame:
    del known  # part of the key only
    return leans.rows(audit, tagged.leaned_on(audit), _first_image(audit))


def _block(table: pd.DataFrame, key: str) -> str | None:
    """The rows of one block; returns the label of a chosen one."""
    event = st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        row_height=56,
        height=min(56 * len(table) + 40, 640),
        on_select="rerun",
        selection_mode="single-row",
        key=key,
        column_config=leans.configuration(table["class"]),
        placeholder="",
    )
    rows = event["selection"]["rows"]
    return str(table.index[rows[0]]) if rows else None


def _first_image(audit: Audit) -> dict[int, str]:
    """The top image of the first candidate of every class."""
    first = audit.candidates.drop_duplicates("class_idx")
    return {
        int(class_idx): ids[0]
        for class_idx, ids in zip(first["class_idx"], first["top_image_ids"], strict=True)
        if len(ids)
    }


def scatter(audit: Audit) -> None:
    """Accuracy against the largest gap, when it is asked for: plotly takes the browser a second."""
    if state.toggle("Draw accuracy against the largest gap", "plot"):
        st.plotly_chart(_scatter(audit), width="stretch", key="gap-scatter")


@lru_cache(maxsize=16)
def _scatter(audit: Audit) -> go.Figure:
    from core.ui.kit.figures import gap_scatter

    return gap_scatter(audit.classes)


def notes(audit: Audit) -> None:
    """Warnings, unreadable and repeated images."""
    summary = audit.summary
    for note in [*audit.manifest.model.notes, *summary.notes]:
        st.info(plain(note), icon=":material/info:")
    for found, title in (
        (summary.unreadable, "unreadable images"),
        (summary.duplicates, "groups of identical images"),
        (summary.in_two_splits, "identical images in two splits"),
    ):
        if found:
            with st.expander(f"{len(found)} {title}"):
                st.dataframe(as_json(found[:1000]), hide_index=True, width="stretch")
