"""A plug-in that cannot be loaded, in two ways."""

from __future__ import annotations

from core.corrections.methods import METHODS, register


def twice() -> None:
    register(METHODS["spufix"])


def leaving() -> None:
    raise SystemExit("no licence")


NOTHING = 1
