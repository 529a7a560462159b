"""Blocks of the page Findings: what harms most, one finding per screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
import streamlit as st

from core.audit import Audit
from core.types import Kind
from core.ui import blocks, cards, opened, state
from core.ui.gallery import gallery
from core.ui.tagged import decisions
from core.ui.words import help_on

PARAMETERS = ["audit", "finding"]
SHOWN = 6


class Finding(NamedTuple):
    """One candidate on which accuracy hangs."""

    label: str
    kind: Kind
    component: int
    row: pd.Series
    """Of :attr:`core.audit.Audit.candidates`."""
    judged: bool
    """Whether people decided that it is spurious."""

    @property
    def harm(self) -> float:
        """Points of accuracy that certainly hang on it: the gap's bound nearer to zero, or 0."""
        low, high = float(self.row["gap_low"]), float(self.row["gap_high"])
        return max(low, -high, 0.0)


def findings(audit: Audit) -> list[Finding]:
    """What people decided is spurious, then what nobody has decided but certainly opens a gap.

    Both by harm, largest first. Of a class without a decision only its candidate of largest harm
    is a finding; what people decided is core is none. Without held-out images there is no gap, and
    only what people decided is listed.
    """
    found = [*_judged(audit), *_open(audit)]
    return sorted(found, key=lambda f: (not f.judged, -f.harm, f.label, f.component))


def _judged(audit: Audit) -> Iterator[Finding]:
    for label, candidates in decisions(audit).spurious.items():
        table = opened.class_table(audit, audit.class_facts(label)["class_idx"])
        for c in candidates:
            if c.row >= 0:  # the table knows the candidates of the audit alone
                yield Finding(label, c.kind, c.component, table.iloc[c.row], True)


def _open(audit: Audit) -> Iterator[Finding]:
    decided = decisions(audit)
    for facts in audit.classes:
        if facts["label"] in decided.spurious:
            continue
        core = {(c.kind.value, c.component) for c in decided.core.get(facts["label"], [])}
        table = opened.class_table(audit, facts["class_idx"])
        rows = [
            Finding(facts["label"], Kind(row["kind"]), int(row["component"]), row, False)
            for _, row in table.iterrows()
            if (row["kind"], int(row["component"])) not in core and row["gap"] == row["gap"]
        ]
        if rows and (worst := max(rows, key=lambda f: f.harm)).harm > 0:
            yield worst


@blocks.part
def browse(audit: Audit) -> None:
    """One finding; the arrow keys bring the one before and after it."""
    found = findings(audit)
    if not found:
        state.publish(["audit"])
        blocks.empty(
            "No finding",
            "No candidate certainly opens an accuracy gap, and none was decided to be spurious. "
            "That is not proof that there is none: few images give wide intervals.",
            page="pages/components.py",
            link="Look at the components",
        )
        return
    at = state.peek_number("finding", 1, len(found), 1)
    _paging(at, len(found))
    shown = found[at - 1]
    _show(audit, shown)
    state.put("finding", str(at))
    state.publish(PARAMETERS)


def _paging(at: int, total: int) -> None:
    def go(where: int) -> None:
        state.put("finding", str(where))

    with st.container(horizontal=True, vertical_alignment="center"):
        for text, where, key, icon in (
            ("Previous", at - 1, "left", ":material/arrow_back:"),
            ("Next", at + 1, "right", ":material/arrow_forward:"),
        ):
            st.button(
                text,
                icon=icon,
                shortcut=key,
                on_click=go,
                args=(where,),
                key=f"finding-{key}",
                disabled=not 1 <= where <= total,
            )
        st.markdown(f"**Finding {at} of {total}**")


def _show(audit: Audit, finding: Finding) -> None:
    facts = audit.class_facts(finding.label)
    arrays = opened.class_arrays(audit, facts["class_idx"])
    candidate = arrays.candidate(finding.kind, finding.component)
    st.header(
        f"{blocks.plain(facts['name'])}: {candidate.title}",
        help=help_on("accuracy gap", "component", "neuron"),
    )
    st.markdown(_sentence(finding, str(facts["name"])))
    st.caption(_status(finding))
    pictures = cards.card_pictures(audit, candidate, top=SHOWN, weakest=SHOWN)
    high = tuple(p for p in pictures if not p.badge)
    low = tuple(replace(p, badge="") for p in pictures if p.badge)
    clicked = None
    columns = st.columns(2, gap="large")
    for column, title, cells in zip(
        columns, ("Shows it most", "Shows it least"), (high, low), strict=True
    ):
        with column:
            st.subheader(title)
            key = f"finding-{title}"
            picked = gallery(cells, key=key, columns=3, size=140, opacity=0.8, label=title)
            clicked = picked or clicked
    if clicked:
        name = f"{finding.kind.value}-{finding.component}"
        state.go("pages/image.py", image=clicked, component=name, explain=finding.label)


def _sentence(finding: Finding, name: str) -> str:
    """The gap in words."""
    row = finding.row
    if row["gap"] != row["gap"]:
        return "There are no held-out images to measure a gap on."
    k = int(row["gap_k"])
    return (
        f"Of the {k} held-out images of **{blocks.plain(name)}** that show this most, "
        f"**{100 * row['accuracy_high']:.0f} %** are recognised; of the {k} that show it least, "
        f"**{100 * row['accuracy_low']:.0f} %**. The gap is "
        f"**{blocks.plain(blocks.gap_text(row))}**."
    )


def _status(finding: Finding) -> str:
    certain = "" if finding.harm > 0 else " The interval holds zero: the harm is not certain."
    if finding.judged:
        return f"People decided that this is spurious.{certain}"
    return (
        "Nobody has decided whether this is part of the object or a spurious cue: the gap says "
        "that the accuracy hangs on it, not that it should not."
    )
