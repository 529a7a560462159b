"""A plug-in that cannot be loaded, in several ways."""

from __future__ import annotations

from dataclasses import replace

from core.corrections.methods import METHODS, register


def twice() -> None:
    register(METHODS["spufix"])


def half() -> None:
    register(replace(METHODS["spufix"], name="half-way"))
    raise KeyError("half way")


def leaving() -> None:
    raise SystemExit("no licence")


NOTHING = 1
