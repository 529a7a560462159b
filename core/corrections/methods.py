"""Every method by name: those of the head, and those that train the network on images.

A method of the head (:mod:`core.corrections.head_methods`) works on stored features. A method of
the network (:mod:`core.corrections.network_methods`) gets the audit itself and returns new
weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import core.corrections.head_methods as heads
from core.corrections.network_methods import NETWORK
from core.corrections.task import NetworkMethod
from core.errors import InputError

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
