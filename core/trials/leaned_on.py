"""What every class leans on: the strongest of its candidates that nobody tagged core.

A candidate that turns images of other classes into the class, and more of them than the same shape
from elsewhere in the class does, is *leaned on*. That is no harm: a core feature is leaned on, too.
Only a person can say whether it should matter.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import nan
from typing import Any, Literal

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.candidates.key import CandidateKey
from core.tags.called import NAMELESS, Names
from core.trials.confirmed import confirmed
from core.trials.leaning import KEYS, leaning

Block = Literal["confirmed", "maps", "rest"]
"""Above its control with pixels, in the maps alone, or nothing that is."""

BLOCKS: dict[Block, str] = {
    "confirmed": "confirmed with pixels, above the control",
    "maps": "above the control in maps only, not confirmed with pixels yet",
    "rest": "nothing above its control, refuted with pixels, or not tried",
}


BY_RANK: tuple[Block, ...] = ("rest", "maps", "confirmed")


@dataclass(frozen=True)
class LeanedOn:
    """One class and the candidate that it leans on most."""

    facts: AuditedClass
    block: Block
    key: CandidateKey | None = None
    """None where no candidate could be tried."""
    lean: float = nan
    """Share in [-1, 1] that is turned by the candidate and not by its control."""
    low: float = nan
    high: float = nan
    """Its interval, corrected over all candidates of all kinds and classes."""
    put_in: float = nan
    """Share of other classes' images that are given the class with the candidate's region."""
    control: float = nan
    """The same with the same shape from elsewhere in the class."""
    taken_away: float = nan
    """Share of the class's right images that are lost without the candidate's region."""
    area: float = nan
    """Share of the grid in the region."""
    in_pixels: bool = False
    """Whether lean, put in and control are of pixels and not of the maps."""
    obstacle: str = ""
    """Why nothing was tried, in words."""

    @property
    def per_area(self) -> float:
        """What is put in per area: small regions that turn many images come first."""
        return self.put_in / self.area if self.area else nan

    @property
    def reason(self) -> str:
        """:meth:`said` without names."""
        return self.said(NAMELESS)

    def said(self, names: Names) -> str:
        """Why the class stands where it does, in words."""
        if self.key is None:
            return self.obstacle or "not tried yet"
        how = ", pasted as pixels," if self.in_pixels else " alone"
        figures = (
            f"turns {self.put_in:.0%} of others into it, the same shape from elsewhere "
            f"{self.control:.0%}"
        )
        return f"its {names.written(self.key)}{how} {figures.replace('%', ' %')}"

    def to_json(self, names: Names = NAMELESS) -> dict[str, Any]:
        """As scripts read it, beside what is known of the class."""
        key = self.key
        return {
            "harm": _number(self.lean),
            "harm_low": _number(self.low),
            "harm_high": _number(self.high),
            "by": names.written(key) if key else None,
            "kind": key.kind if key else None,
            "number": key.number if key else None,
            "confirmed": self.in_pixels,
        }


def _number(value: float) -> float | None:
    return None if value != value else value


def leaned_on(audit: Audit, core: Collection[CandidateKey] = ()) -> list[LeanedOn]:
    """Every class with what it leans on, the strongest lean first.

    Classes with a candidate that pixels confirm stand before those that are above their control in
    the maps alone, and these before all others; within a block by lean, then by the largest gap.

    Parameters
    ----------
    core : candidates that are decided core, which are meant to matter.
    """
    strongest = _strongest(audit, core)
    found = [_of_class(facts, strongest.get(facts.class_idx)) for facts in audit.classes]
    return sorted(found, key=_order)


def _strongest(audit: Audit, core: Collection[CandidateKey]) -> dict[int, dict[str, Any]]:
    """The figures of the strongest open candidate by class; above its control before others."""
    table = leaning(audit)
    labels = {facts.class_idx: facts.label for facts in audit.classes}
    meant = {(key.label, key.kind, key.number) for key in core}
    keys = zip(table["class_idx"].map(labels), table["kind"], table["component"], strict=True)
    table = table.loc[np.array([key not in meant for key in keys], bool)]
    table = _with_pixels(table, confirmed(audit))
    by = ["class_idx", "rank", "lean"]
    table = table.sort_values(by, ascending=[True, False, False], kind="stable")
    first = table.drop_duplicates("class_idx").to_dict("records")
    return {int(row["class_idx"]): row for row in first}


def _with_pixels(table: pd.DataFrame, tried: pd.DataFrame) -> pd.DataFrame:
    """The table with ``rank`` and ``in_pixels``, and the figures of pixels where there are any.

    Rank 2: confirmed; 1: above its control in the maps, and not tried with pixels; 0: the rest,
    refuted ones included.
    """
    names = {"put_in": "put_in", "control": "put_in_control", "lean": "lean"}
    names |= {"lean_low": "lean_low", "lean_high": "lean_high"}
    found = table.merge(tried[[*KEYS, *names]], on=KEYS, how="outer", suffixes=("", "_pixels"))
    found["obstacle"] = found["obstacle"].fillna("")
    found["in_pixels"] = found["lean_pixels"].notna()
    found["rank"] = (found["lean_low"] > 0).astype(int)
    for theirs, mine in names.items():
        pixels = found[theirs if theirs == "control" else f"{theirs}_pixels"]
        found[mine] = found[mine].where(~found["in_pixels"], pixels)
    sure = 2 * (found["lean_low"] > 0).astype(int)
    found["rank"] = found["rank"].where(~found["in_pixels"], sure)
    return found


def _order(found: LeanedOn) -> tuple[int, float, float, str]:
    lean = -found.lean if found.lean == found.lean else 2.0
    return list(BLOCKS).index(found.block), lean, -(found.facts.top_gap or 0), found.facts.label


def _of_class(facts: AuditedClass, row: dict[str, Any] | None) -> LeanedOn:
    if row is None or row["obstacle"]:
        return LeanedOn(facts, "rest", obstacle=row["obstacle"] if row else "")
    return LeanedOn(
        facts,
        BY_RANK[int(row["rank"])],
        CandidateKey(facts.label, str(row["kind"]), int(row["component"])),
        lean=float(row["lean"]),
        low=float(row["lean_low"]),
        high=float(row["lean_high"]),
        put_in=float(row["put_in"]),
        control=float(row["put_in_control"]),
        taken_away=float(row["taken_away"]),
        area=float(row["area"]),
        in_pixels=bool(row["in_pixels"]),
    )
