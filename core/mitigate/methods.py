"""Every mitigation of the head by name: one call, ``(head, evidence, strength) -> head``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import InputError
from core.mitigate.evidence import Evidence
from core.models.linear import Head

Fit = Callable[..., Head]
"""``fit(head, evidence, strength, **options) -> Head``; the head given stays as it is."""


@dataclass(frozen=True)
class Method:
    """One way to make a head ignore tagged cues."""

    name: str
    """As on the command line."""
    title: str
    """As on the screen."""
    fit: Fit
    strengths: tuple[float, ...]
    """What a sweep tries, ascending; the first leaves the head as it is."""
    published: float
    """Strength that amounts to the published method."""
    source: str
    """Paper and section."""
    remark: str
    """One sentence that a user should read before choosing it."""
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Further keyword arguments and their values, the default first."""
    needs_pairs: bool = False
    """Whether it needs ``evidence.pairs``, hence masks or cut-out cues."""


METHODS: dict[str, Method] = {}
"""By name."""


def method(name: str) -> Method:
    """A method by name.

    Raises
    ------
    InputError
        If there is none of that name; all are named.
    """
    if name not in METHODS:
        raise InputError(f"there is no method {name!r}; choose {', '.join(METHODS)}")
    return METHODS[name]


def mitigate(name: str, head: Head, evidence: Evidence, strength: float, **options: Any) -> Head:
    """The corrected head; outputs, names and mode are kept.

    Raises
    ------
    InputError
        If the method, an option or a value is unknown, the strength is out of range, no cue is
        given, or the method needs pairs and there are none.
    """
    chosen = method(name)
    if not evidence.cues:
        raise InputError(f"{name} needs a cue: tag a candidate as spurious first")
    if chosen.needs_pairs and evidence.pairs is None:
        raise InputError(f"{name} needs images with and without the cue: give cue masks")
    low, high = chosen.strengths[0], chosen.strengths[-1]
    if not low <= strength <= high:
        raise InputError(f"strength {strength:g} of {name}: must be from {low:g} to {high:g}")
    for option, value in options.items():
        known = chosen.options.get(option)
        if known is None or value not in known:
            values = ", ".join(f"{o}={'|'.join(map(str, v))}" for o, v in chosen.options.items())
            raise InputError(f"{name} has no option {option}={value}; it has {values or 'none'}")
    return chosen.fit(head, evidence, strength, **options)
