"""Where images come from, by name: what reads a DATA argument, and which paths it names.

A source is chosen by the word before a colon (``hf:NAME?key=value``) or by the shape of a path. It
says which of its values are paths: the guard (:mod:`core.storage.guard`) judges those before
anything is read, and every file of the listing after it. Another package adds one by
:func:`register`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core.types import Registry, Reporter, silent

if TYPE_CHECKING:
    from core.data.table import Listing

NAME = "NAME"
"""In ``Source.paths``: what follows the colon is itself a path."""


@dataclass(frozen=True)
class Asked:
    """One data set that a source is asked for; its paths are absolute and may be read."""

    name: str
    """What follows the colon, without options; the path where a source is chosen by shape."""
    workspace: Path
    """What must be downloaded or rendered first goes below its folder ``data``."""
    options: Mapping[str, str] = field(default_factory=dict)
    moved: Path | None = None
    """Folder that the relative paths start from, where the data has been moved."""
    report: Reporter = silent


Read = Callable[[Asked], "Listing"]
"""Lists every image; decodes none that is a file already."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One place that images come from."""

    name: str
    """The word before the colon, unless it ``takes`` paths."""
    form: str
    """How a user writes it."""
    text: str
    """What it is, and its options, in a sentence."""
    read: Read
    takes: Callable[[Path], bool] | None = None
    """Whether it reads an existing path, by its shape; None: it is chosen by its word."""
    paths: tuple[str, ...] = ()
    """Its values that are paths: options by name, or NAME."""
    writes: Callable[[Mapping[str, str]], bool] = lambda _: False
    """Whether, with these options, it writes where one of its paths leads."""


SOURCES: Registry[Source] = Registry(
    "source of data",
    (
        "core.data.folder:FOLDER",
        "core.data.parquet_pictures:SHARDS",
        "core.data.manifest:MANIFEST",
        "core.data.zoo:TORCHVISION",
        "core.data.hub:HUB",
        "core.demos.catalogue:DEMO",
    ),
)
register = SOURCES.register


def named(text: str) -> Source | None:
    """The source whose word stands before the colon of a DATA argument.

    One that takes paths by their shape is written so where it has options (``folder:PATH?…``).
    """
    word, colon, _ = text.partition(":")
    source = SOURCES.get(word) if colon else None
    return source if source and (source.takes is None or NAME in source.paths) else None


def taking(path: Path) -> Source | None:
    """The source that reads an existing path; those of other packages are asked first."""
    known = reversed(list(SOURCES.values()))
    return next((source for source in known if source.takes and source.takes(path)), None)


def forms() -> str:
    """How DATA may be written, in a line."""
    *others, last = (source.form for source in SOURCES.values())
    return f"{', '.join(others)} or {last}"


def listed() -> str:
    """Every form and what it is, a line each."""
    return "\n".join(f"  {source.form}\n      {source.text}" for source in SOURCES.values())
