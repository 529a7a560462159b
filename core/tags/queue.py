"""What to tag next: the candidates that matter most, untagged ones first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from core.candidates.above_control import side_of_control
from core.tags.people import person

T = TypeVar("T")

PER_CLASS = 8
"""Candidates of every class and kind in the queue; the pages show all of them."""

GOLD_EVERY = 8
"""Places of a person's queue of which one is a gold question, as long as there are any."""

COLUMNS = ["class_idx", "kind", "component", "gap", "variance_share"]


def tagging_queue(
    candidates: pd.DataFrame,
    tagged: Collection[tuple[int, str, int]],
    *,
    kinds: Collection[str],
    per_class: int = PER_CLASS,
) -> pd.DataFrame:
    """The candidates to tag, in the order to tag them.

    Of every class and kind the first ``per_class`` in page order; then the untagged before the
    tagged, candidates whose lean is above its control before the others, larger leans before
    smaller ones; where none was tried, gaps above or below their control before the others,
    larger gaps (either sign) before smaller ones, and larger shares of variance before smaller
    ones.

    Parameters
    ----------
    candidates : :attr:`core.audits.audit.Audit.candidates`; with what they do where it was tried
        (:func:`core.trials.leaning.with_leaning`).
    tagged : (class_idx, kind, component) that this annotator has tagged.

    Returns
    -------
    COLUMNS and ``tagged``, RangeIndex.
    """
    shown = candidates[candidates["kind"].isin(kinds) & (candidates["order"] < per_class)]
    keys = list(zip(shown["class_idx"], shown["kind"], shown["component"], strict=True))
    gap = shown["gap"].fillna(0).abs()
    beyond = side_of_control(shown) != 0
    found = shown[COLUMNS].assign(tagged=[key in tagged for key in keys])
    tried = shown.reindex(columns=["lean", "lean_low"]).astype(float)
    lean, clear = tried["lean"].fillna(-1), tried["lean_low"] > 0
    last = [shown["component"], -shown["variance_share"], -gap, ~beyond]
    order = np.lexsort([*last, -lean, ~clear, found["tagged"]])
    return found.iloc[order].reset_index(drop=True)


def mixed(order: Sequence[T], gold: Collection[T], who: str) -> list[T]:
    """A queue with its gold questions spread over it, at places that differ from person to person.

    One of every GOLD_EVERY places, in the order of ``gold`` shuffled for ``who``; gold questions
    that are left over when the queue ends follow at its end. Without any the queue as it is.

    Parameters
    ----------
    order : the queue; entries that are gold questions are taken out of their own place.
    """
    rng = np.random.default_rng([*person(who).encode()])
    left = sorted(set(gold), key=str)
    left = [left[i] for i in rng.permutation(len(left))]
    rest = [item for item in order if item not in set(left)]
    found: list[T] = []
    for start in range(0, len(rest), GOLD_EVERY - 1):
        part = rest[start : start + GOLD_EVERY - 1]
        if left:
            part.insert(int(rng.integers(0, len(part) + 1)), left.pop())
        found += part
    return [*found, *left]
