"""The DATA argument: a folder, a manifest, or a named data set, as one image table."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.data import manifest
from core.data.folder import read_folder
from core.data.hub import read_hub
from core.data.manifest import read_manifest
from core.data.table import MASKS, Listing, build_table
from core.data.zoo import read_torchvision
from core.errors import DataError, InputError
from core.storage.guard import confined, permitted, permitted_files
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
    InputError
        If this process is confined to some folders (:mod:`core.storage.guard`) and the source, an
        image or a mask lies outside of them.
    """
    moved = _moved(data_root)
    source = canonical(source)
    kind, _, rest = source.partition(":")
    if kind in NAMED:
        name, options = _parse(source, rest)
        listing = NAMED[kind](name, options, workspace, report)
        listing = replace(listing, root=moved) if moved else listing
    else:
        listing = _from_path(source, Path(source), moved, report)
    laid = workspace / "data" if kind in NAMED else None
    permitted_files(listing.root, _files(listing), own=laid)
    return build_table(listing, source=source, limit_per_class=limit_per_class)


def canonical(source: str) -> str:
    """The DATA argument with absolute paths, each judged by the guard of paths.

    Raises
    ------
    InputError
        If a path in it may not be read (:mod:`core.storage.guard`).
    DataError
        If it names a data set in no known form.
    """
    kind, colon, rest = source.partition(":")
    if not (colon and kind in NAMED):
        return str(permitted(source))
    name, options = _parse(source, rest)
    if "root" not in options:
        return source
    options["root"] = str(permitted(options["root"]))
    if confined() and (kind == "demo" or options.get("download") == "1"):
        raise InputError(f"{source}: others' folders are not written to; give it without root=")
    pairs = "&".join(f"{key}={value}" for key, value in options.items())
    return f"{kind}:{name}?{pairs}"


def _files(listing: Listing) -> Iterator[str]:
    """Every file that the rows name, images and masks."""
    for column in ("path", *MASKS):
        if column in listing.frame.columns:
            yield from filter(None, listing.frame[column])


def _moved(data_root: Path | None) -> Path | None:
    if data_root is None:
        return None
    root = permitted(data_root)
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
    if reserved := {"name", "workspace", "report"} & options.keys():
        raise DataError(f"demo:{name} has no option {', '.join(sorted(reserved))}")
    demos = importlib.import_module("core.demos")
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
