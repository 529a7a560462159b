"""What other packages add: entry points that register themselves, loaded once per process.

An entry point of one of ``GROUPS`` names a module, which registers what it adds when it is
imported, or a callable, which does so when it is called without arguments. One that fails is
skipped, with all that it registered until then; the tool goes on without it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from types import ModuleType

from core.errors import InputError
from core.types import Registry

GROUPS = tuple(
    f"spurioscope.{noun}"
    for noun in (
        *("candidates", "measures", "corrections", "attributions", "explainers"),
        *("sources", "models"),
    )
)
_LOADING = threading.Lock()


@dataclass(frozen=True)
class Plugin:
    """One entry point of another package."""

    group: str
    """What it adds, one of ``GROUPS``."""
    name: str
    package: str
    """Its distribution and version."""
    adds: tuple[str, ...] = ()
    """What it registered, as ``method spufix``."""
    failure: str = ""
    """Why it was skipped; empty where it was loaded."""

    def __str__(self) -> str:
        told = f"{self.group}: {self.name} of {self.package}"
        if self.failure:
            return f"{told} was skipped: {self.failure}"
        return f"{told} adds {', '.join(self.adds) or 'nothing'}"


def load() -> tuple[Plugin, ...]:
    """Every plug-in that is installed, by group.

    They are loaded when first asked for; each that fails is then named on standard error.
    """
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> tuple[Plugin, ...]:
    found = tuple(_attempt(entry) for entry in _entries())
    for plugin in found:
        if plugin.failure:
            sys.stderr.write(f"warning: the plug-in {plugin}\n")
    return found


def _entries() -> Iterator[metadata.EntryPoint]:
    """Each entry point once: an installation in place may be listed twice."""
    known = metadata.entry_points()
    for group in GROUPS:
        found = {(entry.name, entry.value): entry for entry in known.select(group=group)}
        yield from (found[key] for key in sorted(found))


def _attempt(entry: metadata.EntryPoint) -> Plugin:
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
    found, before = Plugin(entry.group, entry.name, package), len(Registry.journal)
    try:
        _register(entry)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises, the tool goes on
        Registry.take_back(before)
        return replace(found, failure=" ".join(f"{type(error).__name__}: {error}".split()))
    new = Registry.journal[before:]
    return replace(found, adds=tuple(f"{registry.noun} {name}" for registry, name in new))


def _register(entry: metadata.EntryPoint) -> None:
    found = entry.load()
    if isinstance(found, ModuleType):
        return
    if not callable(found):
        raise InputError(f"{entry.value} is neither a module nor a callable that registers itself")
    found()
