"""When a class is called harmed: by what its tagged candidates do, never by a gap alone.

A gap is opened by every direction that has a share of the logit, a core feature included. So a
class is harmed only where a candidate that people judged spurious, put into images of other classes
with pixels, turns more of them into the class than the same shape from elsewhere in the class does,
or where the class loses its own images once the candidate's region is filled in the maps.

Both members of a donor's pair, its region and the same shape from elsewhere, could be swapped if
the candidate did nothing: that is tested by every way to swap them (:mod:`core.statistics.swaps`).

Candidates are chosen by looking at figures, and the largest of many is too large. Every bound here
is therefore adjusted for the choice, whatever figure it was made by: R of M candidates, each at the
level 1 - 0.05 R / M (Benjamini & Yekutieli 2005: at most 5 % of such intervals are expected to
miss). A verdict is as good as its tag: a core feature that is tagged spurious turns images, too.
So does a random mixture of the class's components with a large share of the logit, which lies on
what the class is told by as they do: with the share of the first component 3 of 10 classes of real
photos would be called harmed by one. It is no control: where a cue is planted, a mixture with the
share of the cue lies on the cue and turns as many images. What turns no more than its control in
other images is hardly ever called harm, the one of 64 that seems to turn most included
(``python -m benchmarks claims``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.candidates.key import CandidateKey, keys_in
from core.config import CONFIDENCE
from core.statistics.estimates import NOTHING, Bounds
from core.statistics.intervals import critical, newcombe
from core.statistics.swaps import swap_least
from core.statistics.two_way import TwoWay
from core.trials.latent import within

SPARED = 0.1
"""Share of a class's right images that the loss has to exceed. Any region that speaks for a class
is needed a little: filled by random directions of the same share of the logit .01 to .11 of the
images are lost (photos of ten classes, and blurred ones), by a region that is moved .00 to .05."""


@dataclass(frozen=True)
class Choice:
    """How many candidates are tagged spurious, and of how many that could have been chosen."""

    tagged: int
    among: int
    """Those that were tried in the maps, of all classes, and the tagged ones."""

    @property
    def error(self) -> float:
        """Chance, above 0, that each bound may miss."""
        return (1 - CONFIDENCE) * max(self.tagged, 1) / max(self.among, self.tagged, 1)

    @property
    def level(self) -> float:
        """Confidence level, below 1, of each interval."""
        return 1 - self.error

    def __add__(self, other: Choice) -> Choice:
        return Choice(self.tagged + other.tagged, self.among + other.among)


@dataclass(frozen=True)
class Done:
    """What one tagged candidate does; shares in [0, 1] and their differences, NaN where untried."""

    key: CandidateKey
    put_in: float
    """Of targets x donors that are given the class with the donor's region, with pixels."""
    control: float
    """With the same shape from elsewhere in the class."""
    lean: Bounds
    """The difference, with a lower bound by swaps and an upper one by Student's t."""
    targets: int
    taken_away: float
    """Of the class's right images that are lost once their own region is filled, in the maps."""
    spared: float
    """With the region moved at random."""
    loss: Bounds
    """The difference, with its interval."""
    own: int
    obstacle: str
    """Why it was not put in, in words; empty where it was."""

    @property
    def turns(self) -> float:
        """Points of other classes' images that it turns at least, beyond its control; 0: none."""
        return 100 * max(self.lean[1], 0.0) if self.lean[1] > 0 else 0.0

    @property
    def takes(self) -> float:
        """Points of the class's right images that are lost at least without it; 0: none."""
        return 100 * self.loss[1] if self.loss[1] > SPARED else 0.0

    @property
    def harms(self) -> bool:
        """Whether a class with this candidate is harmed; that is so nowhere else."""
        return self.turns > 0 or self.takes > 0


def done(table: pd.DataFrame, label: str, choice: Choice) -> tuple[Done, ...]:
    """What the candidates of a class do, those that do most first.

    Parameters
    ----------
    table : :data:`core.trials.tagged_trial.COLUMNS`, of one class.
    """
    rows = zip(keys_in(table, label), table.to_dict("records"), strict=True)
    found = [_done(key, row, choice.error) for key, row in rows]
    return tuple(sorted(found, key=lambda each: (-each.turns, -each.takes, str(each.key))))


def _done(key: CandidateKey, row: dict[Any, Any], error: float) -> Done:
    return Done(
        key,
        put_in=row["put_in"],
        control=row["control"],
        lean=_lean(row, error),
        targets=0 if row["obstacle"] else int(row["targets"]),
        taken_away=row["taken_away"],
        spared=row["taken_away_control"],
        loss=_loss(row, error),
        own=int(row["own"]) if row["own"] == row["own"] else 0,
        obstacle=row["obstacle"],
    )


def _lean(row: dict[Any, Any], error: float) -> Bounds:
    """By swaps of the donors' pairs; where these are too few for the error, by Student's t."""
    if row["obstacle"]:
        return NOTHING
    mean = TwoWay(row["lean"], row["error"], int(row["donors"]) - 1)
    low, high = within(mean, 1 - error, -1)
    by_donor = np.asarray(row["by_donor"], np.float64)
    if 2.0 ** -len(by_donor) <= error:
        low = swap_least(by_donor, error)
    return row["lean"], low, high


def _loss(row: dict[Any, Any], error: float) -> Bounds:
    """Newcombe's interval, as if both were of different images: too wide rather than too narrow."""
    lost, spared, n = row["taken_away"], row["taken_away_control"], row["own"]
    if lost != lost or not n:
        return NOTHING
    z = critical((1 - CONFIDENCE) / error)
    low, high = newcombe(np.array(lost * n), np.array(spared * n), int(n), z=z)
    return lost - spared, float(low), float(high)
