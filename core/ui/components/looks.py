"""What the candidates of the page look like: pictures beside their images, and how they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import streamlit as st

from core.audits.audit import Audit
from core.audits.audit_requests import DiscoverRequest
from core.audits.audited import AuditedClass
from core.candidates.key import CandidateKey
from core.explain.overlays import png
from core.ui.frame import blocks, pictures, state, tagged, working
from core.ui.frame.words import help_on
from core.ui.kit.gallery import Card, Picture, gallery, inline

SWITCH, METHOD = "looks", "drawn_by"
"""Parameters of the address."""

METHODS = {
    "look": "what fits the network",
    "npfv": "plain ascent",
    "fourier": "regularised",
    "attack": "from real images",
}

DRAWN = "drawn"
"""Stands for the id of a picture that is no image of the audit."""

RANKING = "picture"
"""Of candidates, by the probability of the class on their pictures."""


def method() -> str:
    """By which pictures are drawn, before that is chosen on the page."""
    return state.peek(METHOD, list(METHODS))


def with_looks(audit: Audit, label: str, built: tuple[Card, ...]) -> tuple[Card, ...]:
    """Cards with the pictures that were drawn of their candidates before their images."""
    if not state.peek_toggle(SWITCH):
        return built
    keys = [CandidateKey.parse(card.name, label=label) for card in built]
    return tuple(
        replace(card, pictures=(*_cells(audit, key), *card.pictures))
        for card, key in zip(built, keys, strict=True)
    )


def _cells(audit: Audit, key: CandidateKey) -> list[Picture]:
    from core.audits.looks import drawn

    said = drawn(audit, key, method())
    if said is None:
        return []
    alphas = said.arrays["alpha"][:, -1].tolist()
    return [
        Picture(
            DRAWN,
            pictures.look_url(audit, key, method(), i),
            None,
            None,
            f"drawn, α {alpha:.2f}",
            f"A drawn picture that raises alpha of {key.title} to {alpha:.2f}",
            badge="drawn",
        )
        for i, alpha in enumerate(alphas)
    ]


def by_probability(audit: Audit, label: str, kind: str) -> tuple[tuple[int, float], ...]:
    """Numbers of the candidates of a kind with the class's probability on their pictures."""
    from core.audits.looks import drawn

    numbers = audit.arrays_of(label).of_kind(kind).numbers.tolist()
    said = {number: drawn(audit, CandidateKey(label, kind, number), method()) for number in numbers}
    return tuple((n, float(str(s.facts["probability"]))) for n, s in said.items() if s is not None)


def section(audit: Audit, facts: AuditedClass, kind: str, names: Sequence[str]) -> None:
    """A switch; behind it how the pictures came to be, and a button for those that are missing.

    Parameters
    ----------
    names : short keys of the candidates that the page shows.
    """
    if not state.toggle("What they look like", SWITCH, help=help_on("feature visualisation")):
        return
    chosen = state.choose(st.segmented_control, "Drawn by", METHOD, METHODS, width="content")
    keys = [CandidateKey.parse(name, label=facts.label) for name in names]
    lacking = [key for key in keys if not _shown(audit, key, chosen)]
    if not lacking:
        return
    count = len(audit.arrays_of(facts.label).of_kind(kind).numbers)
    working.offer(
        DiscoverRequest(
            audit.id, method=chosen, class_name=facts.label, kind=kind, count=min(count, 10)
        ),
        f"Pictures of {facts.name}",
        "Draw the leading candidates of this class",
        key=f"draw-{facts.class_idx}-{kind}-{chosen}",
        icon=":material/brush:",
        help="Up to 200 passes through the network and back for each of 10: minutes",
    )


def _png(pixels: np.ndarray) -> bytes:
    return png(np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]))


def _shown(audit: Audit, key: CandidateKey, method: str) -> bool:
    """The way to a picture and what it is held against; whether it is there."""
    from core.audits.looks import drawn, look_of

    said = drawn(audit, key, method)
    if said is None:
        return False
    found, frames = look_of(audit, key, said), said.arrays["frames"]
    side = "above" if found.lifted else "not above"
    st.markdown(
        f"**{blocks.plain(tagged.names(audit).heading(key))}**: {blocks.plain(found.words)}; "
        f"α is {side} the 99th percentile of the class's training images ({found.real:.2f})."
    )
    steps = said.arrays["steps"].tolist()
    gallery(
        [
            Picture(str(step), inline(_png(frame)), None, None, f"step {step}", f"At step {step}")
            for step, frame in zip(steps, frames, strict=True)
        ],
        key=f"steps-{key.short}",
        size=110,
        enlarge="",
        label=f"Steps of the picture of {key.title}",
    )
    for note in said.notes:
        st.caption(blocks.plain(f"{note[0].upper()}{note[1:]}."))
    return True
