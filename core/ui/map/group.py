"""Blocks of the page Map: what a selected group is, and what sets it apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.audits.class_arrays import ClassArrays
from core.candidates.candidate import Candidate
from core.candidates.kinds import found_kinds
from core.explain.embedding import SIDE, chance_reach, contrast
from core.tags.called import Names
from core.types import count_of
from core.ui.frame import blocks, cards, likeness, look, opened, pictures, state, tagged
from core.ui.frame.saving import save_group
from core.ui.kit.gallery import Card, gallery
from core.ui.map.colours import View, drawn
from core.ui.map.map import PARAMETERS

FINDINGS = 5
PICTURES = 12


@blocks.part
def group(audit: Audit, view: View, ids: Sequence[str]) -> None:
    """What a selected group is, and what sets it apart; a tag redraws this alone."""
    rows = drawn(audit, view.found)
    counts = rows.loc[list(ids), "label"].value_counts(sort=False)
    counts = counts.iloc[np.argsort(-counts.to_numpy(), kind="stable")]
    totals = rows["label"].value_counts()
    names = opened.display(audit)
    parts = [
        f"{blocks.plain(names.get(label, label))} {n:,} of {totals[label]:,}"
        for label, n in counts.head(8).items()
    ]
    if len(counts) > 8:
        parts.append(count_of(len(counts) - 8, "more class", "more classes"))
    st.subheader(f"{count_of(len(ids), 'image')} selected")
    st.markdown(" · ".join(parts))
    save_group(audit, ids, "Selected on the map", "map")
    audited = blocks.class_names(audit)
    labels = [label for label in counts.index if label in audited]
    if not labels:
        st.info("None of these classes was audited, so nothing is known about their components.")
        return
    label = labels[0]
    if len(labels) > 1:
        label = state.choose(
            st.selectbox,
            "Class that the group is compared within",
            "group",
            labels,
            format_func=lambda v: f"{audited.get(v, v)} ({counts.get(v, 0):,} selected)",
        )
    state.publish(PARAMETERS)
    inside = [i for i in ids if rows.at[i, "label"] == label]
    outside = rows.index[(rows["label"] == label) & ~rows.index.isin(inside)].tolist()
    _apart(audit, label, inside, outside)
    likeness.more_like_these(audit, inside, label)
    state.publish(PARAMETERS)


def _apart(audit: Audit, label: str, inside: list[str], outside: list[str]) -> None:
    """The candidates that set a group apart from the rest of its class, as cards."""
    facts = audit.class_facts(label)
    arrays = opened.class_arrays(audit, facts.class_idx)
    tables = _tables(arrays, inside, outside)
    name = blocks.plain(facts.name)
    if all(table.empty for table in tables.values()):
        st.info(
            f"Of {name}, {count_of(len(inside), 'image is', 'images are')} selected and "
            f"{count_of(len(outside), 'is', 'are')} not: a comparison needs at least {SIDE} on "
            "either side."
        )
        picked = gallery(blocks.photos(audit, inside[:PICTURES]), key="map-group", label="Selected")
        if picked:
            state.go("pages/image.py", image=picked, explain=label)
        return
    names = tagged.names(audit)
    st.markdown(_headline(name, arrays, tables, names, len(inside), len(outside)))
    kind = state.choose(
        st.segmented_control,
        "What sets the group apart most",
        "kind",
        blocks.kinds(),
    )
    state.publish(PARAMETERS)
    table = tables[kind]
    st.caption(_caution(len(inside), len(outside), len(table)))
    shown = tuple(
        _card(audit, arrays, _by_row(arrays, kind, int(row["row"])), row, inside)
        for row in table.head(FINDINGS).to_dict("records")
    )
    token = f"map/{audit.id}/{facts.class_idx}/{kind}/{len(inside)}"
    clicked = cards.card_list(audit, label, shown, token, look.now(audit))
    if clicked:
        component, image_id = clicked
        state.go("pages/image.py", image=image_id, component=component, explain=label)


def _tables(
    arrays: ClassArrays, inside: Sequence[str], outside: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """The contrast over a class's candidates, by kind.

    Apart, because a component is made of neurons: one of them often separates a group as well.
    """
    place = {image_id: i for i, image_id in enumerate(arrays.image_ids)}
    rows = [place[i] for i in (*inside, *outside)]
    mine = np.arange(len(rows)) < len(inside)
    found = {}
    for kind in found_kinds():
        alpha = np.asarray(arrays.of_kind(kind).alpha)[rows]
        known = np.isfinite(alpha).all(axis=1)
        found[kind] = contrast(alpha[known], mine[known])
    return found


def _by_row(arrays: ClassArrays, kind: str, row: int) -> Candidate:
    """The candidate behind a column of a kind's alphas."""
    return arrays.candidate(kind, int(arrays.of_kind(kind).numbers[row]))


def _headline(
    name: str,
    arrays: ClassArrays,
    tables: dict[str, pd.DataFrame],
    names: Names,
    n_in: int,
    n_out: int,
) -> str:
    """The first of every kind in a sentence."""
    said: list[str] = []
    for kind, table in tables.items():
        if not table.empty:
            row = table.iloc[0]
            what = f"{row['direction'].removeprefix('shows ')} of "
            what += names.written(_by_row(arrays, kind, int(row["row"])).key)
            begin = f"of {blocks.plain(found_kinds()[kind])}, " if said else ""
            said.append(f"{begin}**{blocks.plain(what)}** (AUROC {row['auroc']:.2f})")
    return (
        f"The {n_in:,} selected images of {name} differ from the other {n_out:,} most of all in "
        f"that they show {'; '.join(said)}."
    )


def _caution(n_in: int, n_out: int, tests: int) -> str:
    """How the figures may be read."""
    reach = chance_reach(n_in, n_out, tests)
    return (
        f"{count_of(n_in, 'image')} against the other {n_out:,} of the class that are drawn. AUROC "
        f"0.5 is no difference; for a group drawn by lot, the largest of {tests:d} would stay "
        f"within 0.5 ± {reach:.2f} in 95 of 100 cases. A group chosen by eye is not drawn by lot: "
        "read this as a description of the group, not as a test."
    )


def _card(
    audit: Audit,
    arrays: ClassArrays,
    candidate: Candidate,
    row: dict[str, Any],
    inside: Sequence[str],
) -> Card:
    """One finding with its overlays on images of the group."""
    alpha = opened.alpha(audit, candidate.key)
    by_id = dict(zip(arrays.image_ids, alpha.tolist(), strict=True))
    more = row["direction"] == "shows more"
    known = [image_id for image_id in inside if np.isfinite(by_id[image_id])]
    ordered = sorted(known, key=lambda i: -by_id[i] if more else by_id[i])
    which = f"{PICTURES} of the {len(known):,}" if len(known) > PICTURES else "all"
    return Card(
        name=candidate.key.short,
        title=candidate.title.capitalize(),
        facts=f"the group {row['direction']} of it · AUROC {row['auroc']:.2f} · mean α "
        f"{row['inside_mean']:+.2f} in the group, {row['outside_mean']:+.2f} in the rest",
        pictures=blocks.photos(
            audit,
            ordered[:PICTURES],
            candidate=candidate,
            scale=blocks.overlay_scale(arrays, candidate.key, alpha),
            alpha=by_id,
            look=look.now(audit),
        ),
        figure=pictures.histogram_url(audit, candidate),
        figure_alt=f"Histogram of alpha of {candidate.title} over the whole class",
        note=f"{which} selected images, those that show it {'most' if more else 'least'} first; "
        "the histogram is of the whole class",
    )
