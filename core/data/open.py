"""The DATA argument: a folder, a manifest, or a named data set, as one image table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath

from core.data.bucket_folder import is_bucket, permitted_folder, read_bucket_folder
from core.data.far_images import address_of, require_all_allowed
from core.data.manifest import SUFFIXES
from core.data.source import NAME, SOURCES, Asked, Source, forms, named, taking
from core.data.table import Listing, build_table, mask_columns
from core.errors import DataError, InputError
from core.storage.bucket import is_address
from core.storage.guard import confined, permitted, permitted_files
from core.types import ImageTable, Reporter, silent


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
    source : a path, a folder in a bucket, or ``word:NAME?key=value``, as one of
        :data:`core.data.source.SOURCES` reads.
    workspace : folder for what must be downloaded or rendered first.
    data_root : where the relative paths start from when the data has been moved.
    limit_per_class : at most this many images per split and label, those with the smallest ids.
    report : receives progress.

    Raises
    ------
    DataError
        If no source reads it, or it holds no image. The message says what to give instead.
    InputError
        If this process is confined to some folders (:mod:`core.storage.guard`) and the source, an
        image or a mask lies outside of them.
    """
    moved = _moved(data_root)
    source = canonical(source)
    known = named(source)
    if is_bucket(source):
        listing = read_bucket_folder(source, workspace.absolute())
    elif known:
        name, options = _parse(source)
        listing = known.read(Asked(name, workspace, options, moved, report))
        listing = replace(listing, root=moved) if moved else listing
    else:
        listing = _of_path(source, moved).read(Asked(source, workspace, {}, moved, report))
    laid = workspace / "data"
    ours = known or listing.root.is_relative_to(laid)
    require_all_allowed(_files(listing))
    local = (name for name in _files(listing) if not is_address(name))
    permitted_files(listing.root, local, own=laid if ours else None)
    return build_table(listing, source=source, limit_per_class=limit_per_class)


def canonical(source: str) -> str:
    """The DATA argument with absolute paths, each judged by the guard of paths.

    Raises
    ------
    InputError
        If a path in it may not be read (:mod:`core.storage.guard`), or in a confined process a
        value looks like a path that its source did not say it reads.
    DataError
        If it names a data set in no known form.
    """
    if is_bucket(source):
        return permitted_folder(source)
    known = named(source)
    if known is None:
        return str(permitted(source))
    name, options = _parse(source)
    values = {NAME: name, **options}
    given = [key for key in values if key in known.paths]
    for key in given:
        values[key] = str(permitted(values[key]))
        if confined() and known.writes(options):
            raise InputError(
                f"{source}: others' folders are not written to; give it without {key}="
            )
    _refuse_hidden_paths(source, {key: v for key, v in values.items() if key not in given})
    if not given:
        return source
    name = values.pop(NAME)
    pairs = "&".join(f"{key}={value}" for key, value in values.items())
    return f"{known.name}:{name}" + (f"?{pairs}" if pairs else "")


def _refuse_hidden_paths(source: str, values: dict[str, str]) -> None:
    """Raise InputError where nobody judged a path, in a process that reads some folders alone."""
    for key, value in values.items() if confined() else ():
        if re.match(r"[/\\~.]|[A-Za-z]:|file:", value) or ".." in PurePath(value).parts:
            raise InputError(
                f"{source}: {key} is no path to this source of data, and an app that serves other "
                "machines opens none that it did not judge; give a name"
            )


def _files(listing: Listing) -> Iterator[str]:
    """Every file that the rows name, images and masks."""
    for column in ("path", *mask_columns(listing.frame.columns)):
        yield from filter(None, listing.frame[column])


def _moved(data_root: Path | None) -> Path | None:
    if data_root is None:
        return None
    root = permitted(data_root)
    if not root.is_dir():
        raise DataError(f"the data root {data_root} is no folder; give the one the data moved to")
    return root


def _parse(source: str) -> tuple[str, dict[str, str]]:
    name, _, query = source.partition(":")[2].partition("?")
    if not name:
        raise DataError(f"{source} names no data set; give {forms()}")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    if not all(key and value for key, _, value in pairs):
        raise DataError(f"{source}: options look like ?key=value&key=value")
    return name, {key: value for key, _, value in pairs}


def _of_path(source: str, moved: Path | None) -> Source:
    """What reads a path; a folder of images need not be there any more when it has moved."""
    if address := address_of(path := Path(source)):
        raise DataError(
            f"{address} is no folder: give a manifest of this machine, .csv or .parquet, whose "
            "column path holds such addresses, and allow them with --allow-images"
        )
    if known := taking(path):
        return known
    if path.exists():
        raise DataError(f"{source} is neither a folder nor a manifest; give {forms()}")
    if moved and path.suffix.lower() not in SUFFIXES:
        return SOURCES["folder"]
    raise DataError(f"{source!r} does not exist; give {forms()}")
