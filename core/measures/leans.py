"""What single candidates do, as figures that a rule can be about.

Of tagged candidates the table of measures has them, put in with pixels; of others they stand on the
first page and beside the candidates (:mod:`core.trials.leaning`, :mod:`core.trials.confirmed`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from core.candidates.key import keys_in
from core.measures.measure import ONE, Measure, Rows
from core.measures.rows import row
from core.statistics.estimates import NOTHING, Bounds
from core.trials.confirmed import Confirmed, confirmed, confirmed_of
from core.trials.leaning import KEYS, is_possible, tried
from core.trials.outcomes import LEANS
from core.trials.tagged_trial import FURTHER
from core.types import Reporter, silent

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.candidates.key import CandidateKey
    from core.measures.scope import Scope

FIGURES = {
    "put_in": ("put_in", "low", "high", "control", "targets"),
    "lean": ("lean", "lean_low", "lean_high", "control", "targets"),
    "taken_away": (*(f"taken_away{end}" for end in ("", "_low", "_high", "_control")), "own"),
}
"""Value, interval, control and images of each, as :mod:`core.trials.tagged_trial` calls them."""


def tagged_rows(scope: Scope, label: str, *, name: str) -> Rows | str | None:
    """A figure of every spurious candidate of a class; why there is none is said with the first."""
    table = scope.outcomes.leans(label)
    assert table is not None  # what the part needs was made
    value, low, high, control, n = FIGURES[name]
    known = table[table[value].notna()]
    if known.empty:
        return "; ".join(dict.fromkeys(table["obstacle"])) or None if name == "put_in" else None
    said = "with pixels" if name != "taken_away" else "in the maps"
    keys = keys_in(known, label)
    return [
        row(
            scope.owner.class_facts(label),
            _BY_NAME[name],
            found[value],
            interval=(found[low], found[high]),
            n=int(found[n]),
            subject=key.title,
            split=scope.split,
            note=f"{said}; control {found[control]:.3f}; interval of this candidate alone"
            f"{_by_fill(name, found)}",
        )
        for key, found in zip(keys, known.to_dict("records"), strict=True)
    ]


def _by_fill(name: str, found: Mapping[Any, Any]) -> str:
    """What other fills change of what is taken away, those that were tried."""
    if name != "taken_away":
        return ""
    other, left_out = (found.get(column, float("nan")) for column in FURTHER)
    said = f"; filled from other images instead, {other:.3f} away" if other == other else ""
    return f"{said}; left out instead, {left_out:.3f} away" if left_out == left_out else said


PUT_IN = Measure(
    "put_in",
    "Put in",
    "Share of other classes' images that are given the class once the region of one of its "
    "candidates is put into them: with pixels where that was confirmed, else in the maps.",
    better=-1,
    views=(ONE,),
    part="lean",
    needs=(LEANS,),
    rows=partial(tagged_rows, name="put_in"),
)
LEAN = Measure(
    "lean",
    "Lean",
    "The same minus what the same shape from elsewhere in the class does.",
    direction="above 0 the class leans on the candidate",
    better=-1,
    views=(ONE,),
    part="lean",
    needs=(LEANS,),
    rows=partial(tagged_rows, name="lean"),
)
TAKEN_AWAY = Measure(
    "taken_away",
    "Taken away",
    "Share of the class's right images that are lost once the candidate's region is filled with "
    "the mean of other classes, in the maps.",
    better=-1,
    views=(ONE,),
    part="lean",
    needs=(LEANS,),
    rows=partial(tagged_rows, name="taken_away"),
)
_BY_NAME = {measure.name: measure for measure in (PUT_IN, LEAN, TAKEN_AWAY)}


class Leaned(NamedTuple):
    """A figure of one candidate, or why there is none."""

    key: CandidateKey
    bounds: Bounds = NOTHING
    n: int = 0
    """Images behind it: targets, or those of the class."""
    how: str = ""
    """Where it was tried, or why it was not."""


class Trials:
    """Trials of some candidates: read where they were made, made in the maps where not.

    Parameters
    ----------
    owner : whose candidates these are: the audit itself, or the one that its model was corrected
        from; then both models are asked about the same regions of the same images.
    """

    def __init__(
        self,
        audit: Audit,
        keys: Sequence[CandidateKey],
        owner: Audit,
        report: Reporter = silent,
    ) -> None:
        self.keys, self._owner = keys, owner
        self._obstacle = is_possible(audit) or is_possible(owner)
        table = tried(audit, [] if self._obstacle else keys, owner, report)
        self._rows = {tuple(row[name] for name in KEYS): row for row in table.to_dict("records")}
        self._pixels = confirmed(audit) if owner is audit else None

    def figures(self, measure: Measure) -> list[Leaned]:
        """One of the figures above, of every candidate."""
        return [self._of(key, measure) for key in self.keys]

    def _of(self, key: CandidateKey, measure: Measure) -> Leaned:
        place = (self._owner.class_facts(key.label).class_idx, key.kind, key.number)
        if self._pixels is not None and measure is not TAKEN_AWAY:
            seen = confirmed_of(self._pixels, *place)
            if seen is not None:
                return _in_pixels(measure, key, seen)
        return _in_maps(measure, key, self._rows.get(place), self._obstacle)


def _in_pixels(measure: Measure, key: CandidateKey, seen: Confirmed) -> Leaned:
    bounds = (seen.put_in, seen.low, seen.high)
    if measure is LEAN:
        bounds = (seen.lean, seen.lean_low, seen.lean_high)
    return Leaned(key, bounds, seen.targets, "with pixels")


def _in_maps(
    measure: Measure, key: CandidateKey, row: dict[Any, Any] | None, obstacle: str
) -> Leaned:
    if row is None:
        return Leaned(key, how=obstacle or "no maps of its class's training images are kept")
    value, low, high = (float(row[f"{measure.name}{end}"]) for end in ("", "_low", "_high"))
    if value != value:
        return Leaned(key, how=row["obstacle"] or "no held-out image of the class is right")
    n = int(row["own" if measure is TAKEN_AWAY else "targets"])
    return Leaned(key, (value, low, high), n, "in the maps")
