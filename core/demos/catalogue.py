"""The demo data sets by name; each is written into the workspace once, whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.data.manifest import read_manifest
from core.data.source import Asked, Source
from core.data.table import Listing
from core.data.zoo import TORCHVISION
from core.errors import DataError
from core.types import Registry, Reporter, silent


@dataclass(frozen=True, kw_only=True)
class Demo:
    """One data set that comes with the tool."""

    name: str
    text: str
    """What it shows, in one sentence."""
    write: Callable[..., None]
    """``write(folder, report, **options)`` fills an empty folder: ``manifest.csv`` and, with the
    planted truth, ``planted.json``."""
    options: Mapping[str, int | float]
    """What they are when not given; their types are the types accepted."""


DEMOS: Registry[Demo] = Registry(
    "demo",
    (
        "core.demos.cues:DEMO",
        "core.demos.solar:DEMO",
        "core.demos.birds:DEMO",
        "core.demos.digits:COLOURED",
        "core.demos.digits:DOUBLE_COLOURED",
        "core.demos.digits:WILDLIFE",
    ),
)


def prepare(name: str, *, workspace: Path, report: Reporter = silent, **options: Any) -> Path:
    """Write a demo data set once and give its manifest.

    Parameters
    ----------
    name : a key of ``DEMOS``, with or without ``demo:`` in front.
    workspace : folder of the user's work; the data set lies in ``data/demo-<name>[-options]``.
    report : receives progress while images are written.
    options : see ``Demo.options``; numbers, or strings that read as numbers.

    Returns
    -------
    Path of ``manifest.csv``; ``planted.json`` beside it holds the planted truth.

    Raises
    ------
    DataError
        If the demo or an option is unknown, a value makes no sense, or the images cannot be had.
    """
    name = name.removeprefix("demo:")
    if name not in DEMOS:
        raise DataError(f"There is no demo {name!r}; choose one of {', '.join(sorted(DEMOS))}.")
    demo = DEMOS[name]
    chosen = _checked(demo, options)
    folder = workspace / "data" / _folder_name(demo, chosen)
    if not (folder / "manifest.csv").is_file():
        _write_whole(folder, lambda draft: demo.write(draft, report, **chosen))
    return folder / "manifest.csv"


def _checked(demo: Demo, options: Mapping[str, Any]) -> dict[str, int | float]:
    for key in options:
        if key not in demo.options:
            known = ", ".join(demo.options)
            raise DataError(f"demo:{demo.name} has no option {key!r}; its options are {known}.")
    return {key: _number(demo, key, options.get(key, usual)) for key, usual in demo.options.items()}


def _number(demo: Demo, key: str, value: Any) -> int | float:
    kind = type(demo.options[key])
    try:
        number = kind(value)
    except (TypeError, ValueError) as error:
        words = "a whole number" if kind is int else "a number"
        raise DataError(f"demo:{demo.name}: {key} is {value!r}; give {words}.") from error
    if kind is int and number < 0:
        raise DataError(f"demo:{demo.name}: {key} is {value!r}; give 0 or more.")
    return number


def _folder_name(demo: Demo, chosen: Mapping[str, int | float]) -> str:
    """Name every option that differs from its default, so that each choice has its own folder."""
    unusual = [f"-{key}{value:g}" for key, value in chosen.items() if value != demo.options[key]]
    return f"demo-{demo.name}{''.join(unusual)}"


def _write_whole(folder: Path, write: Callable[[Path], None]) -> None:
    """Write into a draft beside ``folder`` and rename it when it is finished."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        write(draft)
        draft.chmod(0o755)
        _move(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _move(draft: Path, folder: Path) -> None:
    if not (folder / "manifest.csv").is_file():
        shutil.rmtree(folder, ignore_errors=True)  # left over, unusable
    try:
        draft.rename(folder)
    except OSError:
        if not (folder / "manifest.csv").is_file():  # else someone finished it just before
            raise


def _read(asked: Asked) -> Listing:
    """The listing of a demo, with its planted truth."""
    if asked.name in ALIASES:
        known, more = ALIASES[asked.name]
        return TORCHVISION.read(replace(asked, name=known, options={**more, **asked.options}))
    if reserved := {"name", "workspace", "report"} & asked.options.keys():
        raise DataError(f"demo:{asked.name} has no option {', '.join(sorted(reserved))}")
    options: Mapping[str, Any] = asked.options
    file = prepare(asked.name, workspace=asked.workspace, report=asked.report, **options)
    sidecar = file.parent / "planted.json"
    planted = json.loads(sidecar.read_text("utf-8")) if sidecar.is_file() else {}
    return replace(read_manifest(file), planted=planted)


ALIASES = {"imagenette": ("Imagenette", {"download": "1"})}
"""Demos that are data sets of torchvision, with the options they need."""

DEMO = Source(
    name="demo",
    form="demo:NAME",
    text="A data set that comes with the tool and has a planted or chosen shortcut.",
    read=_read,
    paths=("root",),
    writes=lambda _: True,
)
