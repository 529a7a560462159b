"""A figure: what it is, how it is sampled, how its interval and its difference are made.

One record says everything about a figure; the table of one audit, the comparison of several, before
and after, the report and the glossary are loops over the records (:mod:`core.measures.registry`).
A figure that is made of the images of each tagged class needs a ``sample`` and an ``estimate``, and
every view follows from these. The exceptions make their own rows (``rows``, ``everywhere``),
figures (``figure``) or changes (``changes``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.statistics.estimates import Bounds, Estimate, Proportion
from core.types import FloatArray

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.measures.cells import Context, Figure
    from core.measures.scope import Scope

POINTS, SHARE, PLAIN, LOGIT = "points", "share", "", "logits"

ONE, SEVERAL, EFFECT = "one audit", "several audits", "before and after"
"""The views: a table of one audit, the comparison, before and after."""

MCNEMAR, BOOTSTRAP, TIMED, EXACT = "McNemar", "paired bootstrap", "not tested", "exact"
BOTH = "both intervals"
"""How a difference of models is tested."""

TAGGED, EVERY, ALL = "tagged classes", "every class", "all classes"
"""What a figure before and after is about."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Sample:
    """The images behind a figure of one class, and what a model makes of each."""

    ids: Sequence[str]
    values: FloatArray
    """(n,) or (n, 2), as the estimate takes them; NaN where an image says nothing."""
    subject: str = ""
    note: str = ""
    split: str = ""
    """Which images these are; empty: the held-out ones."""
    size: int | None = None
    """Images that the figure is of, where they are fewer than ``ids``."""
    tests: int = 1
    over: str = "classes"
    """Comparisons that the interval in the table of one audit is corrected for, and of what."""
    stratum: str = ""
    """Figures with the same one are resampled together, class by class."""
    key: str = ""
    """The cue that it is about, as a text, where it is about one alone."""


Samples = Sample | Sequence[Sample] | str | None
"""Some samples, or why there is none; None where that is already said of another figure."""


@dataclass(frozen=True)
class Measure:
    """A figure."""

    name: str
    title: str
    text: str
    """What it is, in a sentence."""
    unit: str = SHARE
    direction: str = ""
    """What higher means, where ``better`` does not say enough."""
    better: int = 0
    """1: higher is better; -1: lower is better; 0: neither."""
    source: str = "this project"
    views: Sequence[str] = (ONE, SEVERAL, EFFECT)
    part: str = ""
    """What it is measured and stored with; empty: by itself, under its own name."""
    needs: Sequence[str] = ()
    """Outcomes that it is made of (:mod:`core.trials.outcomes`); none: of what is stored."""
    sample: Callable[[Scope, str], Samples] | None = None
    """Of a class, by its raw label; empty where it is about all classes."""
    estimate: Estimate = field(default_factory=Proportion)
    reading: Callable[[Scope, str, Bounds], str] | None = None
    """What the interval of a class says, in words."""
    averaged: bool = False
    """Whether the table of one audit has the mean over its classes, too."""
    lacking: str = "no tagged class has what it takes"
    """Why the comparison has no figure where no class has a sample."""
    about: Sequence[str] = (TAGGED,)
    test: str = BOOTSTRAP
    version: int = 1
    """Of the formula; another one measures again what is stored by itself."""
    rows: Callable[[Scope, str], Rows | str | None] | None = None
    """Rows of a class in the table of one audit, in place of those of the samples."""
    everywhere: Callable[[Scope], Rows] | None = None
    """Further rows of that table, after those of the classes."""
    figure: Callable[[Context, Audit], Figure | str] | None = None
    """Of a model compared, in place of the mean over the tagged classes; or why there is none."""
    changes: Callable[[Scope, Scope], Sequence[Change]] | None = None
    """Before and after, in place of those of the samples."""

    @property
    def meaning(self) -> str:
        """What it is and what higher means, as sentences."""
        higher = self.higher
        return f"{self.text} {higher[0].upper()}{higher[1:]}." if higher else self.text

    @property
    def higher(self) -> str:
        """What higher means."""
        plain = {1: "higher is better", -1: "lower is better", 0: ""}
        return self.direction or plain[self.better]

    @property
    def measured_with(self) -> str:
        """The part of the table of one audit that it belongs to."""
        return self.part or self.name

    def samples(self, scope: Scope, label: str) -> list[Sample] | str:
        """Those of a class, or why there are none; empty where nothing is to be said."""
        found = self.sample(scope, label) if self.sample else None
        if isinstance(found, Sample):
            return [found]
        return found if isinstance(found, str) else list(found or [])


@dataclass(frozen=True)
class Change:
    """A figure before and after."""

    label: str
    before: Bounds
    after: Bounds
    change: Bounds | None
    """None: the plain difference, without an interval."""
    n: int
    subject: str = ""
    note: str = ""
