"""What the tagged candidates of a class do, in pixels and in the maps: what harm is judged by."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.errors import InputError, WorkspaceError
from core.trials.confirmed import (
    Confirmed,
    keep,
    pairs_of,
    possible,
    trial_of,
    turned_in_pixels,
)
from core.trials.encoder import Encoder, Seen
from core.trials.leaning import KEYS, is_possible, tried
from core.types import Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

PIXELS = ("put_in", "low", "high", "control", "lean", "lean_low", "lean_high", "error", "donors")
"""Figures of :class:`core.trials.confirmed.Confirmed`."""

MAPS = ("taken_away", "taken_away_low", "taken_away_high", "taken_away_control", "own")
"""Figures of :class:`core.trials.latent.Latent`."""

COLUMNS = [*KEYS, *PIXELS, "targets", "by_donor", *MAPS, "obstacle"]
"""Shares in [0, 1] or their differences, NaN where there are none; ``by_donor`` is the lean of each
donor, which verdicts are tested with; ``obstacle`` says why nothing was put in with pixels, empty
where it was."""


FURTHER = ("fill_sensitivity", "left_out_sensitivity")
"""By how much "taken away" differs where the places are filled from another image, and where they
are left out of the mean, in [0, 1]; what earlier versions stored may lack such a column."""


def tagged_trial(
    audit: Audit, keys: Sequence[CandidateKey], model: Model, report: Reporter = silent
) -> pd.DataFrame:
    """Try candidates of one class (COLUMNS), a row each.

    Put in with pixels (:mod:`core.trials.confirmed`), which is kept for pages that show it, and
    taken away in the maps (:mod:`core.trials.latent`) where those are kept.
    """
    maps = pd.DataFrame(columns=KEYS) if is_possible(audit) else tried(audit, keys, audit, report)
    lost = {tuple(row[name] for name in KEYS): row for row in maps.to_dict("records")}
    pixels = _Pixels(audit, model)
    rows = []
    for key in keys:
        place = (audit.class_facts(key.label).class_idx, key.kind, key.number)
        known = lost.get(place, {})
        rows.append(
            {
                **dict(zip(KEYS, place, strict=True)),
                **pixels.of(key, report),
                **{name: known.get(name, float("nan")) for name in (*MAPS, *FURTHER)},
            }
        )
    return pd.DataFrame(rows, columns=[*COLUMNS, *FURTHER])


class _Pixels:
    """Puts candidates in with pixels."""

    def __init__(self, audit: Audit, model: Model) -> None:
        self.audit = audit
        self._trial, self._encoder, self._seen = (
            trial_of(audit, model),
            Encoder(audit, model),
            Seen(audit),
        )

    def of(self, key: CandidateKey, report: Reporter) -> dict[str, Any]:
        """What one does, or why it cannot be put in."""
        try:
            possible(self.audit)
            pairs = pairs_of(self._trial, self.audit.candidate(key))
            turned = turned_in_pixels(self._trial, self._encoder, self._seen, pairs, report)
        except InputError as error:
            return {"obstacle": " ".join(str(error).split()), "by_donor": []}
        found = Confirmed.of(*turned)
        with contextlib.suppress(WorkspaceError):  # a workspace that only shows
            keep(self.audit, pairs.candidate, found)
        by_donor = (turned[0].astype(np.float64) - turned[1]).mean(axis=1)
        figures = {name: getattr(found, name) for name in (*PIXELS, "targets")}
        return {"obstacle": "", "by_donor": by_donor.tolist(), **figures}
