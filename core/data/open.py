"""The DATA argument: a folder, a manifest, or a named data set, as one image table."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.data import manifest
from core.data.folder import read_folder
from core.data.hub import read_hub
from core.data.manifest import read_manifest
from core.data.table import Listing, build_table
from core.data.zoo import read_torchvision
from core.errors import DataError
from core.types import ImageTable, Reporter, silent

FORMS = (
    "a folder (CLASS/IMAGE or train/CLASS/IMAGE), a manifest (.csv or .parquet with path and "
    "label), torchvision:NAME, hf:NAME or demo:NAME"
)

DEMO_ALIASES = {"imagenette": ("Imagenette", {"download": "1"})}
"""Demos that are data sets of torchvision, with the options they need."""

PLANTED = "planted.json"
"""File beside a demo's manifest that says which cues were planted."""


def open_data(
    source: str,
    *,
    workspace: Path,
    data_root: Path | None = None,
    limit_per_class: int | None = None,
    report: Reporter = silent,
) -> ImageTable:
    """List every image of a data set; no image is decoded.

    Parameters
    ----------
    source : a folder, a ``.csv`` or ``.parquet`` manifest,
        ``torchvision:NAME?root=DIR&download=1``, ``hf:NAME?image=COLUMN&label=COLUMN`` or
        ``demo:NAME?key=value``.
    workspace : folder for what must be downloaded or rendered first.
    data_root : where the relative paths start from when the data has been moved.
    limit_per_class : at most this many images per split and label, those with the smallest ids.
    report : receives progress.

    Raises
    ------
    DataError
        If the source is none of these, does not exist, or holds no image. The message says what
        to give instead.
    """
    moved = _moved(data_root)
    kind, colon, rest = source.partition(":")
    if colon and kind in NAMED:
        name, options = _parse(source, rest)
        if "root" in options:
            options["root"] = str(_absolute(Path(options["root"])))
            source = f"{kind}:{name}?" + "&".join(f"{k}={v}" for k, v in options.items())
        listing = NAMED[kind](name, options, workspace, report)
        listing = replace(listing, root=moved) if moved else listing
    else:
        path = _absolute(Path(source))
        listing = _from_path(source, path, moved, report)
        source = str(path)
    return build_table(listing, source=source, limit_per_class=limit_per_class)


def _absolute(path: Path) -> Path:
    """Make a path absolute and tidy; links in it stay links."""
    return Path(os.path.abspath(path.expanduser()))


def _moved(data_root: Path | None) -> Path | None:
    if data_root is None:
        return None
    root = _absolute(data_root)
    if not root.is_dir():
        raise DataError(f"the data root {data_root} is no folder; give the one the data moved to")
    return root


def _parse(source: str, rest: str) -> tuple[str, dict[str, str]]:
    name, _, query = rest.partition("?")
    if not name:
        raise DataError(f"{source} names no data set; give {FORMS}")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    if not all(key and value for key, _, value in pairs):
        raise DataError(f"{source}: options look like ?key=value&key=value")
    return name, {key: value for key, _, value in pairs}


def _from_path(source: str, path: Path, moved: Path | None, report: Reporter) -> Listing:
    is_manifest = path.suffix.lower() in manifest.SUFFIXES
    if path.is_file() and is_manifest:
        return read_manifest(path, root=moved)
    if path.is_dir() or (moved and not path.exists() and not is_manifest):
        return read_folder(moved or path, report=report)
    if path.exists():
        raise DataError(f"{source} is neither a folder nor a manifest; give {FORMS}")
    raise DataError(f"{source!r} does not exist; give {FORMS}")


def _demo(name: str, options: dict[str, str], workspace: Path, report: Reporter) -> Listing:
    if name in DEMO_ALIASES:
        known, defaults = DEMO_ALIASES[name]
        return read_torchvision(known, {**defaults, **options}, workspace=workspace, report=report)
    demos = importlib.import_module("core.data.demos")
    file: Path = demos.prepare(name, workspace=workspace, report=report, **options)
    sidecar = file.parent / PLANTED
    planted = json.loads(sidecar.read_text("utf-8")) if sidecar.is_file() else {}
    return replace(read_manifest(file), planted=planted)


def _torchvision(name: str, options: dict[str, str], workspace: Path, report: Reporter) -> Listing:
    return read_torchvision(name, options, workspace=workspace, report=report)


def _hub(name: str, options: dict[str, str], workspace: Path, report: Reporter) -> Listing:
    return read_hub(name, options, workspace=workspace, report=report)


Reader = Callable[[str, dict[str, Any], Path, Reporter], Listing]

NAMED: dict[str, Reader] = {"torchvision": _torchvision, "hf": _hub, "demo": _demo}
"""What the word before the colon means."""
