"""Images in a folder: one sub-folder per class, perhaps below one folder per split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from core.data.mask_names import IMAGES, MASKS, masks_among
from core.data.optional_formats import hints, is_readable
from core.data.source import NAME, Asked, Source
from core.data.split_names import NUMBERED, kind_of, split_name
from core.data.table import Listing, some
from core.errors import DataError
from core.storage.class_list import classes_beside
from core.types import TRAIN, Progress, Reporter, silent

SUFFIXES = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "bmp", "dib", "tif", "tiff", "gif", "ico"}
    | {"ppm", "pgm", "pbm", "pnm", "pfm", "jp2", "j2k", "j2c", "jpc", "jpf", "jpx"}
    | {"avif", "avifs"}
)
"""Endings of the files that the decoder reads, lower case, without the dot."""

COLUMNS = ["path", "label", "split"]

INNER = "inner"
"""Value of the option ``classes`` by which the innermost folder is the class."""

Split = tuple[str, str, list[os.DirEntry[str]]]
"""Split name, prefix of its relative paths, its class folders."""


@dataclass
class _Walk:
    """State of one listing: folders already entered and what the user should know."""

    entered: set[tuple[int, int]] = field(default_factory=set)
    """(st_dev, st_ino) of every folder read so far."""
    again: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    undecodable: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    """Files of class folders that are no images, by their ending."""
    said: list[str] = field(default_factory=list)
    """How folders were understood, in sentences."""

    def notes(self) -> tuple[str, ...]:
        """Say in one sentence each what was left out."""
        texts = {
            "No image in the class": self.empty,
            "Left out, a link to a folder that was already read": self.again,
            "Left out, a broken link": self.broken,
            "Left out, may not be opened": self.closed,
            "Left out, the file name is not valid text": self.undecodable,
            "Left out, an image outside of any class folder": self.unlabelled,
        }
        if self.others:
            counted = [f"{n:,} {ending}" for ending, n in sorted(self.others.items())]
            texts["Left out, no image by its ending"] = counted
        left = (f"{text}: {some(found)}." for text, found in texts.items() if found)
        return tuple(filter(None, (*self.said, *left, hints(self.others))))


def read_folder(folder: Path, *, report: Reporter = silent, inner: bool = False) -> Listing:
    """List the images of a folder.

    With a sub-folder ``train`` (any letter case) that has sub-folders, or where sub-folders are
    named like splits (:mod:`core.data.split_names`), every top-level folder is a
    split and the folders in it are classes; otherwise the top-level folders are classes and all
    images are ``train``. Files lie at any depth below their class. Hidden names are left out. A
    linked folder is followed, but no real folder is read twice. Masks beside the images
    (:mod:`core.data.mask_names`) are theirs. What was understood so is noted.

    Parameters
    ----------
    folder : the folder to list; it must exist.
    report : receives the number of class folders read.
    inner : the innermost folder of an image is its class.

    Raises
    ------
    DataError
        If there is no image below any class folder.
    """
    walk = _Walk()
    root = folder.absolute()
    _enter(walk, root, ".")
    splits, beside = _splits(walk, root)
    total = sum(len(classes) for _, _, classes in splits)
    rows: list[tuple[str, str, str]] = []
    done = 0
    for split, prefix, classes in splits:
        for entry in classes:
            found = list(_files(walk, entry.path, f"{prefix}{entry.name}"))
            if not found:
                walk.empty.append(f"{prefix}{entry.name}")
            rows += [(path, entry.name, split) for path in found]
            done += 1
            report(Progress("Listing images", done, total, "folders"))
    if not rows:
        raise DataError(_nothing_found(folder, walk))
    extra = [path for entry in beside for path in _files(walk, entry.path, entry.name)]
    frame = _with_masks(walk, pd.DataFrame(rows, columns=COLUMNS, dtype="str"), extra)
    frame = _labelled(walk, frame, inner=inner)
    return Listing(root=root, frame=frame, notes=walk.notes(), order=classes_beside(root))


def _with_masks(walk: _Walk, frame: pd.DataFrame, extra: list[str]) -> pd.DataFrame:
    """Without rows that are masks of others, which get them as ``object_mask``."""
    masks = masks_among([*frame["path"], *extra])
    listed = set(frame["path"]) if masks else set()
    own = {image: mask for mask, image in masks.items() if image in listed}
    if not own:
        return frame
    images = frame[~frame["path"].isin(masks)].reset_index(drop=True)
    walk.said.append(
        f"Masks beside {len(own):,} of {len(images):,} images are taken to be of their objects."
    )
    return images.assign(object_mask=images["path"].map(own).fillna("").astype("str"))


def _labelled(walk: _Walk, frame: pd.DataFrame, *, inner: bool) -> pd.DataFrame:
    """With the innermost folder as label where that is wanted; else says where there are two."""
    folders = frame["path"].map(lambda path: path.rsplit("/", 2)[-2])
    if inner:
        return frame.assign(label=folders)
    deeper = frame.assign(inner=folders)[folders != frame["label"]]
    nested = deeper.groupby("label")["inner"].agg(lambda names: sorted(set(names)))
    several = nested[nested.map(len) > 1]
    if len(deeper) < len(frame) or len(several) < max(len(nested), 2) / 2:
        return frame
    alike = len({tuple(names) for names in nested}) == 1
    outer, names = str(several.index[0]), several.iloc[0]
    what = "Every class has the same folders inside" if alike else "Classes have folders inside"
    walk.said.append(
        f"{what} ({outer}: {some(names)}): the outer folder is the class; write "
        f"folder:PATH?classes={INNER} for the inner one."
    )
    return frame


def is_image_name(name: str) -> bool:
    """Whether a file name ends like an image, in any letter case."""
    ending = name.rpartition(".")[2].lower()
    return ending in SUFFIXES or is_readable(ending)


def _ending(name: str) -> str:
    """How a file name ends, lower case, with its dot."""
    return os.path.splitext(name)[1].lower() or "without ending"


def _nothing_found(folder: Path, walk: _Walk) -> str:
    endings = ", ".join(sorted(SUFFIXES))
    notes = " ".join(("", *walk.notes()))
    return (
        f"{folder} has no image in a class folder; expected CLASS/IMAGE or train/CLASS/IMAGE with "
        f"files ending in {endings}.{notes}"
    )


def _splits(walk: _Walk, root: Path) -> tuple[list[Split], list[os.DirEntry[str]]]:
    """Splits with their class folders, and folders of masks beside them."""
    prefix, top, beside = "", _folders(walk, str(root), ""), list[os.DirEntry[str]]()
    pair = [entry for entry in top if entry.name.lower() in IMAGES]
    if len(pair) == 1 and len(top) > 1 and {e.name.lower() for e in top} <= IMAGES | MASKS:
        beside = [entry for entry in top if entry is not pair[0]]
        prefix, top = f"{pair[0].name}/", _below(walk, pair[0], "")
    elif wrapper := _wrapper(walk, top):
        prefix = f"{wrapper.name}/"
        top = _below(walk, wrapper, "")
        walk.said.append(f"Everything lies in the folder {wrapper.name}, which is no class.")
    kinds = _kinds(top)
    if not kinds:
        return [(TRAIN, prefix, top)], beside
    return [
        (kinds[entry.name], *_inside(walk, entry, prefix, kinds))
        for entry in sorted(top, key=lambda entry: kinds[entry.name] != TRAIN)
        if _enter(walk, entry.path, f"{prefix}{entry.name}")
    ], beside


def _below(walk: _Walk, entry: os.DirEntry[str], prefix: str) -> list[os.DirEntry[str]]:
    """Folders inside of one that is read itself."""
    name = f"{prefix}{entry.name}"
    return _folders(walk, entry.path, f"{name}/") if _enter(walk, entry.path, name) else []


def _wrapper(walk: _Walk, top: list[os.DirEntry[str]]) -> os.DirEntry[str] | None:
    """The only folder, where it holds splits or several folders and no image of its own."""
    if len(top) != 1 or kind_of(top[0].name):
        return None
    try:
        with os.scandir(top[0].path) as entries:
            inside = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return None
    images = any(_kind(e) == "file" and is_image_name(e.name) for e in inside)
    names = [entry.name for entry in inside if _kind(entry) == "folder"]
    splits = any(kind_of(name) or kind_of(name, names) for name in names)
    return top[0] if not images and splits else None


def _kinds(top: list[os.DirEntry[str]]) -> dict[str, str]:
    """Split of every top-level folder, by its name; empty where they are classes."""
    names = [entry.name for entry in top]
    inside = [entry for entry in top if _has_folders(entry.path)]
    known = {name: kind_of(name) or kind_of(name, names) for name in names}
    trains = [entry.name for entry in inside if known[entry.name] == TRAIN]
    plain = any(entry.name.lower() == TRAIN for entry in inside)
    several = len([entry for entry in inside if known[entry.name]]) > 1
    if plain or (trains and several) or (inside and all(known.values())):
        return {name: split_name(name, known[name]) for name in names}
    return _numbered(inside, names)


def _numbered(inside: list[os.DirEntry[str]], names: list[str]) -> dict[str, str]:
    """Splits of folders 0, 1 and 2 that hold the same classes."""
    if set(names) not in ({"0", "1"}, {"0", "1", "2"}) or len(inside) < len(names):
        return {}
    classes = {tuple(sorted(_folder_names(entry.path))) for entry in inside}
    return {name: NUMBERED[name] for name in names} if len(classes) == 1 else {}


def _folder_names(path: str) -> list[str]:
    with os.scandir(path) as entries:
        return [e.name for e in entries if not e.name.startswith(".") and _kind(e) == "folder"]


def _inside(
    walk: _Walk, entry: os.DirEntry[str], prefix: str, kinds: Mapping[str, str]
) -> tuple[str, list[os.DirEntry[str]]]:
    """Prefix and class folders of a split; one that holds itself once more is looked into."""
    prefix = f"{prefix}{entry.name}/"
    found = _folders(walk, entry.path, prefix)
    if len(found) == 1 and found[0].name == entry.name and _has_folders(found[0].path):
        return f"{prefix}{found[0].name}/", _below(walk, found[0], prefix)
    return prefix, found


def _has_folders(path: str) -> bool:
    try:
        return bool(_folder_names(path))
    except OSError:
        return False


def _folders(walk: _Walk, path: str, prefix: str) -> list[os.DirEntry[str]]:
    """Class or split folders right below a folder, real ones before links; notes loose images."""
    found = []
    for entry in _entries(walk, path, prefix):
        kind = _kind(entry)
        if kind == "folder":
            found.append(entry)
        elif kind == "file" and is_image_name(entry.name):
            walk.unlabelled.append(f"{prefix}{entry.name}")
        elif kind == "broken":
            walk.broken.append(f"{prefix}{entry.name}")
    return found


def _files(walk: _Walk, path: str, relative: str) -> Iterator[str]:
    """Relative paths of the images at any depth below a class folder."""
    waiting = [(path, relative)]
    while waiting:
        folder, prefix = waiting.pop()
        if not _enter(walk, folder, prefix):
            continue
        below = []
        for entry in _entries(walk, folder, f"{prefix}/"):
            kind = _kind(entry)
            if kind == "folder":
                below.append((entry.path, f"{prefix}/{entry.name}"))
            elif kind == "broken":
                walk.broken.append(f"{prefix}/{entry.name}")
            elif kind == "file" and is_image_name(entry.name):
                yield f"{prefix}/{entry.name}"
            elif kind == "file":
                walk.others[_ending(entry.name)] += 1
        waiting += reversed(below)


def _enter(walk: _Walk, path: str | Path, relative: str) -> bool:
    """Remember a folder; False if it was read before or cannot be looked at."""
    try:
        status = os.stat(path)
    except OSError:
        walk.closed.append(relative)
        return False
    key = (status.st_dev, status.st_ino)
    if key in walk.entered:
        walk.again.append(relative)
        return False
    walk.entered.add(key)
    return True


def _entries(walk: _Walk, path: str, prefix: str) -> list[os.DirEntry[str]]:
    """Visible entries with decodable names: real ones first, then links, each by name."""
    try:
        with os.scandir(path) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        walk.closed.append(prefix.rstrip("/") or ".")
        return []
    decodable = [entry for entry in visible if _is_text(entry.name)]
    if len(decodable) < len(visible):
        bad = [entry.name for entry in visible if not _is_text(entry.name)]
        walk.undecodable += [f"{prefix}{_shown(name)}" for name in sorted(bad)]
    return sorted(decodable, key=lambda entry: (entry.is_symlink(), entry.name))


def _kind(entry: os.DirEntry[str]) -> str:
    """``folder``, ``file``, ``broken`` (a link to nothing or to itself) or ``other``."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        return "broken" if entry.is_symlink() else "other"
    except OSError:
        return "broken"


def _is_text(name: str) -> bool:
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _read(asked: Asked) -> Listing:
    unknown = {*asked.options} - {"classes"}
    wanted = asked.options.get("classes", "outer")
    if unknown or wanted not in ("outer", INNER):
        raise DataError(f"folder:{asked.name} takes the option classes=outer or classes={INNER}")
    folder = asked.moved or Path(asked.name)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give one that holds images")
    return read_folder(folder, report=asked.report, inner=wanted == INNER)


FOLDER = Source(
    name="folder",
    form="a folder (CLASS/IMAGE or train/CLASS/IMAGE)",
    text="One folder per class, perhaps below one folder per split; folder:PATH?classes=inner for "
    "the innermost folder.",
    read=_read,
    takes=Path.is_dir,
    paths=(NAME,),
)
