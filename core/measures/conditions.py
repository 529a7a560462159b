"""Groups of images that a figure is set against: by the cue, by split, by attribute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.tags.decisions import TENTHS, Decisions, tenths_of_cues
from core.types import IntArray

ALL, SPLIT, CUE = "all", "split", "cue"
"""Kinds of groups; further ones are called by their attribute."""

VALUES = 10
"""Values of an attribute that are groups; one of more is no few words."""

LEAST = 5
"""Images of a group at least."""


class Condition(NamedTuple):
    """Some of the images."""

    kind: str
    name: str
    """As tables call it."""
    rows: IntArray
    """Their places among the images that were given."""
    tests: int
    """How many groups of its kind there are: their intervals hold for all of them at once."""


def conditions(audit: Audit, decisions: Decisions, image_ids: Sequence[str]) -> Iterator[Condition]:
    """All of some images; by split; by tenth of their class's tagged cues; by attribute."""
    images = audit.images_of(list(image_ids))
    yield Condition(ALL, ALL, np.arange(len(images)), 1)
    splits = images["split"].astype(str)
    if splits.nunique() > 1:
        yield from _groups(SPLIT, splits)
    tenths = tenths_of_cues(audit, decisions, set(image_ids)).reindex(images.index)
    yield from _groups(CUE, tenths.map(tenth_name, na_action="ignore"), order=CUES)
    for name in audit.summary.attributes:
        values = images[name].astype(object).where(images[name].notna())
        if 2 <= values.nunique() <= VALUES:
            yield from _groups(str(name), values.map(str, na_action="ignore"))


def tenth_name(tenth: float) -> str:
    """A tenth by the cues in words."""
    return {1: "least tenth", TENTHS: "most tenth"}.get(int(tenth), f"tenth {int(tenth)}")


CUES = [tenth_name(tenth) for tenth in range(1, TENTHS + 1)]


def _groups(kind: str, values: pd.Series, order: Sequence[str] = ()) -> Iterator[Condition]:
    """The images of every value, missing ones left out."""
    places = values.reset_index(drop=True).dropna()
    sizes = places.value_counts()
    names = [name for name in order or sorted(sizes.index) if sizes.get(name, 0) >= LEAST]
    word = f"{kind}=" if kind not in (SPLIT, CUE) else f"{kind} "
    for name in names:
        rows = places.index[places == name].to_numpy(np.int64)
        yield Condition(kind, f"{word}{name}", rows, len(names))
