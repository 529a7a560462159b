"""Blocks of the page Mitigate: the shape of one class, the texture of another, another background.

An audit's mask, foreground and background networks are trained by a job, looked at with three
sliders, and taken along.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from core.audits.audit import Audit
from core.corrections.audit_generator import (
    AuditGenerator,
    GeneratorFacts,
    exported,
    obstacle,
    png,
    read_generator,
    settings_of,
)
from core.corrections.generator_request import AUTO, SETTINGS, STEPS, TEXTURES, GeneratorRequest
from core.report.appendix import archive
from core.types import IntArray
from core.ui.frame import blocks, opened, state, working
from core.ui.kit.gallery import Picture, gallery, inline

Pixels = NDArray[np.uint8]
Draw = tuple[int, str]
"""A seed, and whose textures are drawn."""

PARAMETERS = ["shape", "texture", "behind", "drawn", "textures", "settings", "steps"]
PARTS = {"shape": "Shape of", "texture": "Texture of", "behind": "Background of"}
"""What the three sliders choose, by their parameters."""

WHOSE = {"taken": "of training images", "made": "of the networks"}
"""Whose textures and backgrounds are drawn, by TEXTURES."""

DRAWS = 6
"""Images of one choice."""

MOST = 10
"""Classes whose shapes and textures are set against each other."""

LARGE = 4
"""How much larger than they are made images are shown."""

EXPORTED = 200
FEWEST_STEPS, MOST_STEPS = 50, 4000


def version(audit: Audit) -> int:
    """Changes whenever networks are trained; 0 without any."""
    path = audit.files.generator.facts
    return path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=4)
def trained(audit: Audit, version: int) -> AuditGenerator | None:
    """The audit's networks, read once."""
    return read_generator(audit) if version else None


def counterfactuals(audit: Audit) -> None:
    """Everything about them: train, look, take along."""
    found = trained(audit, version(audit))
    why = obstacle(audit)
    if found is None and why:
        st.info(f"Not for these images: {blocks.plain(why)}.", icon=":material/info:")
        return
    st.caption(
        "Three networks learn from the training images what makes the shape, the texture and the "
        "background of a class, and put those of different classes together. The method Training "
        "on generated counterfactuals trains on such images (Sauer & Geiger 2021)."
    )
    if not why:
        _offer(audit, found)
    if found is not None:
        _choose(audit, found)


def _offer(audit: Audit, found: AuditGenerator | None) -> None:
    """Train, or train again with other settings."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = state.choose(
            st.selectbox,
            "Settings",
            "settings",
            [AUTO, *SETTINGS],
            format_func=lambda n: f"what the data says: {settings_of(audit)}" if n == AUTO else n,
        )
        steps = state.number(
            st.number_input, "Steps", "steps", FEWEST_STEPS, MOST_STEPS, STEPS, step=50
        )
        request = GeneratorRequest(audit.id, settings=name, steps=steps)
        working.offer(
            request,
            f"{audit.name}: mask, foreground and background",
            "Train the networks" if found is None else "Train again",
            key="train-generator",
            icon=":material/category:",
            help=f"{STEPS} steps take about two minutes of one core.",
            primary=found is None,
        )


def _choose(audit: Audit, found: AuditGenerator) -> None:
    names, labels = opened.display(audit), list(found.facts.labels)
    _trained_on(found.facts)
    columns, chosen = st.columns(3), {}
    for place, (column, (name, title)) in enumerate(zip(columns, PARTS.items(), strict=True)):
        with column:
            chosen[name] = state.choose(
                st.select_slider,
                title,
                name,
                labels,
                default=labels[place % len(labels)],
                format_func=lambda label: blocks.plain(names.get(label, label)),
            )
    with st.container(horizontal=True):
        seed = state.number(st.slider, "Another draw", "drawn", 0, 50, 0)
        whose = state.choose(
            st.segmented_control,
            "Textures and backgrounds",
            "textures",
            TEXTURES,
            format_func=WHOSE.__getitem__,
            width="content",
        )
    places = np.array([[labels.index(label) for label in chosen.values()]], np.int64)
    said = {name: names.get(label, label) for name, label in chosen.items()}
    gallery(
        _row(audit, version(audit), places, (seed, whose), tuple(said.values())),
        key="generated-row",
        columns=DRAWS,
        size=96,
        label="Images, then mask, texture and background of the first",
    )
    some = labels[:MOST]
    st.markdown(
        f"Shapes (rows) and textures (columns) of {len(some)} classes, on the background of "
        f"**{blocks.plain(said['behind'])}**"
    )
    st.image(
        _sheet(audit, version(audit), len(some), labels.index(chosen["behind"]), (seed, whose))
    )
    st.caption(
        "In the order " + blocks.plain(", ".join(names.get(label, label) for label in some)) + "."
    )
    st.download_button(
        f"Download {EXPORTED} images, masks and a manifest",
        lambda: archive(exported(found, EXPORTED, seed=seed, textures=whose)),
        file_name=f"counterfactuals-{audit.id}.zip",
        mime="application/zip",
        icon=":material/download:",
        help="Parts are of classes drawn independently. The manifest can be audited like any data.",
    )


def _trained_on(facts: GeneratorFacts) -> None:
    losses = ", ".join(f"{name} {value:.2g}" for name, value in (facts.losses or {}).items())
    st.markdown(
        f"Trained for {facts.steps:,d} steps on {facts.images:,d} images, {facts.masked:,d} of "
        f"them with a drawn object; settings {blocks.plain(facts.settings)}. Last losses: "
        f"{blocks.plain(losses)}."
    )


@lru_cache(maxsize=64)
def _drawn(
    audit: Audit, version: int, labels: tuple[tuple[int, ...], ...], draw: Draw
) -> tuple[Pixels, ...]:
    """Images, masks, foregrounds and backgrounds of labels."""
    found = trained(audit, version)
    assert found is not None  # the version says that there is one
    seed, whose = draw
    made = found.made(np.array(labels, np.int64), seed=seed, textures=whose)
    return made.pixels, made.masks, made.foregrounds, made.backgrounds


def _row(
    audit: Audit, version: int, labels: IntArray, draw: Draw, said: Sequence[str]
) -> tuple[Picture, ...]:
    """Draws of one choice, then the parts of the first."""
    wanted = tuple(map(tuple, np.repeat(labels, DRAWS, axis=0).tolist()))
    pixels, masks, fronts, backs = _drawn(audit, version, wanted, draw)
    shape, texture, background = said
    whole = f"shape of {shape}, texture of {texture}, background of {background}"
    short = " · ".join(said)
    cells = [_picture(f"image-{i}", image, short, whole) for i, image in enumerate(pixels)]
    parts = (
        ("mask", masks[0], f"shape of {shape}"),
        ("foreground", fronts[0], f"texture of {texture}"),
        ("background", backs[0], f"background of {background}"),
    )
    return (*cells, *(_picture(name, image, text, text) for name, image, text in parts))


def _picture(name: str, pixels: Pixels, caption: str, alt: str) -> Picture:
    photo = inline(png(_enlarged(pixels)))
    return Picture(name, photo, overlay=None, outline=None, caption=caption, alt=alt)


def _enlarged(pixels: Pixels) -> Pixels:
    """Every pixel as a square of LARGE pixels."""
    return pixels.repeat(LARGE, axis=0).repeat(LARGE, axis=1)


@lru_cache(maxsize=64)
def _sheet(audit: Audit, version: int, classes: int, background: int, draw: Draw) -> bytes:
    """All shapes by all textures on one background, as one picture."""
    labels = tuple(
        (shape, texture, background) for shape, texture in product(range(classes), repeat=2)
    )
    pixels, *_ = _drawn(audit, version, labels, draw)
    side = pixels.shape[1]
    rows = pixels.reshape(classes, classes, side, side, 3).transpose(0, 2, 1, 3, 4)
    return png(_enlarged(rows.reshape(classes * side, classes * side, 3))[::2, ::2].copy())
