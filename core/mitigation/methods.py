"""Every method by name: those of the head, and those that train the network on images.

A method of the head (:mod:`core.mitigate.methods`) works on stored features. A method of the
network gets the audit itself and returns new weights (:class:`core.mitigation.derived.Corrected`);
it registers itself in :data:`NETWORK`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import core.mitigate.methods as heads
from core.audit import Audit
from core.errors import InputError
from core.mitigate.evidence import Evidence
from core.mitigation.derived import Corrected
from core.mitigation.findings import Findings
from core.types import IntArray, Reporter


@dataclass(frozen=True)
class Task:
    """What a method of the network works on."""

    parent: Audit
    findings: Findings
    evidence: Evidence
    """Stored features and pseudo-labels of the images that may be learnt from."""
    rows: IntArray
    """Their rows in ``parent.images``."""
    strength: float | None
    """None: the method chooses, on a part of these images."""
    options: Mapping[str, Any]
    seed: int = 0


Apply = Callable[[Task, Reporter], Corrected]
"""Trains; ``Corrected.facts`` holds the strength that was used under ``strength``."""


@dataclass(frozen=True)
class NetworkMethod:
    """A method that needs images and may change the encoder."""

    name: str
    title: str
    apply: Apply
    strengths: tuple[float, ...]
    """The first leaves the model as it is, the last is the strongest allowed."""
    published: float
    source: str
    remark: str
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    needs_pairs: bool = False


NETWORK: dict[str, NetworkMethod] = {}
"""By name."""

Method = heads.Method | NetworkMethod


def methods() -> dict[str, Method]:
    """Every method by name, those of the head first."""
    return {**heads.METHODS, **NETWORK}


def method(name: str) -> Method:
    """A method by name.

    Raises
    ------
    InputError
        If there is none of that name; all are named.
    """
    known = methods()
    if name not in known:
        raise InputError(f"--method {name!r}: choose {', '.join(known)}")
    return known[name]


def checked(chosen: Method, given: Mapping[str, str]) -> dict[str, Any]:
    """Options as the method takes them, from text.

    Raises
    ------
    InputError
        If the method has no such option or value.
    """
    found: dict[str, Any] = {}
    for name, text in given.items():
        values = chosen.options.get(name, ())
        match = [value for value in values if str(value).lower() == text.lower()]
        if not match:
            known = "; ".join(
                f"{option}={'|'.join(map(str, v))}" for option, v in chosen.options.items()
            )
            raise InputError(f"--option {name}={text}: {chosen.name} has {known or 'no options'}")
        found[name] = match[0]
    return found
