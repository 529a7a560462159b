"""Blocks of the page Findings: one class per screen, in the order of what classes lean on."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import streamlit as st

from core.audits.audit import Audit
from core.candidates.candidate import Candidate
from core.report import material as evidence
from core.report import sentences as words
from core.report.document import compose
from core.report.findings import Finding, Question, Verdict
from core.trials.leaned_on import BLOCKS, LeanedOn
from core.ui.frame import blocks, cards, look, opened, state, tagged
from core.ui.frame.words import help_on
from core.ui.kit.gallery import gallery
from core.ui.report import State, state_of, wait_for_gaps

PARAMETERS = ["audit", "finding", *look.PARAMETERS]
SHOWN = 6
SIGNS = {
    Verdict.HARMED: ":material/warning:",
    Verdict.OPEN: ":material/help:",
    Verdict.TOO_FEW: ":material/hourglass_empty:",
}


Screen = Finding | Question | LeanedOn


def findings(audit: Audit) -> tuple[Screen, ...]:
    """What the report finds, what nobody has judged, and what is leaned on, a class each.

    In the order of Overview: by what classes lean on.
    """
    return _found(audit, state_of(audit))


@lru_cache(maxsize=16)
def _found(audit: Audit, known: State) -> tuple[Screen, ...]:
    del known  # part of the key only
    ranked = tagged.leaned_on(audit)
    gathered = evidence.gather(audit, opened.workspace(), with_model=False)
    (section,) = compose([gathered]).sections
    said: dict[str, Screen] = {f.label: f for f in section.findings}
    said |= {q.label: q for q in section.questions if q.candidates}
    found = [said.get(one.facts.label, one) for one in ranked]
    return tuple(one for one in found if not isinstance(one, LeanedOn) or one.block != "rest")


@blocks.part
def browse(audit: Audit) -> None:
    """One finding; the arrow keys bring the one before and after it."""
    if wait_for_gaps([audit]):
        state.publish(["audit"])
        return
    found = findings(audit)
    if not found:
        state.publish(["audit"])
        blocks.empty(
            "No finding",
            "No candidate is above its control, and none was decided to be spurious. That is not "
            "proof that there is none: few images say little.",
            page="pages/components.py",
            link="Look at the components",
        )
        return
    at = state.peek_number("finding", 1, len(found), 1)
    _paging(at, len(found))
    _show(audit, found[at - 1])
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
        st.markdown(f"**Finding {at:d} of {total:d}**")


def _show(audit: Audit, found: Screen) -> None:
    if isinstance(found, Finding):
        st.header(
            blocks.plain(f"{found.name}: {words.cue(found)}"),
            help=help_on("spurious gap", "spurious", "component", "neuron"),
        )
        _judged(found)
        if found.cues:
            _pictures(audit, found.label, found.cues[0])
    elif isinstance(found, LeanedOn):
        _leaned_on(audit, found)
    else:
        st.header(
            blocks.plain(f"{found.name}: {found.title}"),
            help=help_on("accuracy gap", "above its control", "component", "neuron"),
        )
        st.markdown(":material/help: **not judged yet**")
        st.markdown(blocks.plain(words.of_question(found)))
        _pictures(audit, found.label, _candidate(audit, found))


def _leaned_on(audit: Audit, found: LeanedOn) -> None:
    """A class that leans on something, whether or not it opens a gap."""
    assert found.key is not None  # nothing without a candidate is above its control
    names = tagged.names(audit)
    st.header(
        blocks.plain(f"{found.facts.name}: {names.written(found.key)}"),
        help=help_on("leaned on", "lean", "put in", "part"),
    )
    st.markdown(f":material/help: **{blocks.plain(BLOCKS[found.block])}**")
    st.markdown(
        f"{blocks.plain(f'{found.facts.name}: {found.said(names)}')}. A core feature is leaned on, "
        "too: whether it should matter is for people to say."
    )
    _pictures(audit, found.facts.label, opened.candidate(audit, found.key))


def _judged(found: Finding) -> None:
    """Verdict and sentences about a class whose cue people decided is spurious."""
    cost = f", costs at least {found.cost:.0f} points" if found.cost > 0 else ""
    st.markdown(f"{SIGNS[found.verdict]} **{blocks.plain(found.verdict.words)}**{cost}")
    for sentence in words.of_finding(found)[1:] or [words.verdict(found)]:
        st.markdown(blocks.plain(sentence.text))


def _candidate(audit: Audit, found: Question) -> Candidate:
    """The candidate that a question is about."""
    assert found.key is not None  # a question with candidates
    return opened.candidate(audit, found.key)


def _pictures(audit: Audit, label: str, candidate: Candidate) -> None:
    """The images that show a candidate most beside those that show it least."""
    look.style()
    chosen = look.now(audit)
    shown = cards.card_pictures(audit, candidate, chosen, top=SHOWN, weakest=SHOWN)
    ends = {
        "Shows it most": tuple(p for p in shown if not p.badge),
        "Shows it least": tuple(replace(p, badge="") for p in shown if p.badge),
    }
    clicked = None
    for column, (title, cells) in zip(st.columns(2, gap="large"), ends.items(), strict=True):
        with column:
            st.subheader(title)
            key = f"finding-{title}"
            picked = gallery(
                cells,
                key=key,
                columns=3,
                size=140,
                opacity=0.8,
                dims=chosen.dims,
                enlarge=blocks.TAKE_APART,
                label=title,
            )
            clicked = picked or clicked
    if clicked:
        name = candidate.key.short
        state.go("pages/image.py", image=clicked, component=name, explain=label)
