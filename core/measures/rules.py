"""Rules of a gate: what must not be, written ``lean > 0.2``. They are read and never evaluated.

A rule is broken where the end of the interval that lies nearer to what is allowed says so: of
``>`` the lower end has to be above the number, of ``<`` the upper end below. What may or may not be
so breaks nothing, and is said (:attr:`Outcome.OPEN`).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from core.errors import InputError
from core.measures.measure import Measure
from core.measures.registry import MEASURES
from core.statistics.estimates import Bounds

SIGNS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
"""How a figure may be compared with a number; the longer ones first, as they are read."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RULE = re.compile(rf"\s*(\w+)\s*({'|'.join(SIGNS)})\s*({_NUMBER})\s*")


class Outcome(StrEnum):
    """What a rule says of one figure."""

    BROKEN = "broken"
    UNTESTED = "not tested"
    OPEN = "holds, not certain"
    HOLDS = "holds"


@dataclass(frozen=True)
class Rule:
    """What no figure of a measure may be."""

    name: str
    """Of the measure."""
    sign: str
    """One of SIGNS."""
    number: float
    """In the measure's unit: points, or a share in [0, 1]."""

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {self.number:g}"

    @property
    def measure(self) -> Measure:
        """The figure."""
        return MEASURES[self.name]

    def judged(self, bounds: Bounds) -> Outcome:
        """What a figure and its 95 % interval amount to; without an interval the figure alone."""
        value, *ends = bounds
        if value != value:
            return Outcome.UNTESTED
        low, high = (value if end != end else end for end in ends)
        is_so = SIGNS[self.sign]
        sure, may_be = (low, high) if self.sign in (">", ">=") else (high, low)
        if is_so(sure, self.number):
            return Outcome.BROKEN
        return Outcome.OPEN if is_so(may_be, self.number) else Outcome.HOLDS


def read_rule(text: str) -> Rule:
    """The rule that a text writes.

    Raises
    ------
    InputError
        If it is none, or no measure is called so; those there are are named.
    """
    found = _RULE.fullmatch(text)
    if not found:
        raise InputError(
            f"rule {text!r}: write MEASURE, one of {', '.join(SIGNS)}, and a number: lean > 0.2"
        )
    return Rule(MEASURES.chosen(found[1]).name, found[2], float(found[3]))


def read_rules(texts: Iterable[str] = (), path: Path | None = None) -> list[Rule]:
    """Rules as texts, and those of a file, one a line; ``#`` begins a comment. Each once.

    Raises
    ------
    InputError
        If one is no rule, the file cannot be read, or there is none at all.
    """
    lines = [] if path is None else _lines(path)
    found = [read_rule(text) for text in (*texts, *lines)]
    if not found:
        raise InputError('there is no rule to check: give --fail-on "lean > 0.2" or --rules FILE')
    return list(dict.fromkeys(found))


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise InputError(f"--rules {path}: cannot be read as text ({error})") from error
    bare = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in bare if line]
