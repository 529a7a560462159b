"""From what a reader listed to the image table every later station receives."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import DataError
from core.types import TRAIN, ImageTable, count_of

MASKS = ("object_mask", "cue_mask")
BOX = ("x_min", "y_min", "x_max", "y_max")
FIRST = ("path", "label", "split", *MASKS, *BOX)
"""Columns with a meaning, in the order of the table, and masks of parts; all others are attributes.
"""

PART = "part_mask_"
"""Begins the names of columns of masks of annotated parts of the object."""


def part_masks(columns: Iterable[str]) -> list[str]:
    """The columns of masks of object parts, in their order."""
    return [name for name in map(str, columns) if name.startswith(PART) and name != PART]


def part_of(column: str) -> str:
    """The part that such a column is about."""
    return column.removeprefix(PART).replace("_", " ")


def mask_columns(columns: Iterable[str]) -> list[str]:
    """Every column of masks, of objects, cues and parts."""
    names = list(map(str, columns))
    return [*(name for name in MASKS if name in names), *part_masks(names)]


NAMED = 5
"""How many things a note or an error names before it says how many more there are."""


@dataclass(frozen=True)
class Listing:
    """What a reader found, before ids are given and limits applied."""

    root: Path
    """Absolute folder that every relative path starts from."""
    frame: pd.DataFrame
    """Columns ``path`` (POSIX, relative to root), ``label``, ``split``; then optional ones."""
    notes: tuple[str, ...] = ()
    planted: Mapping[str, Any] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    """Labels in the order that the data set itself gives its classes; empty where it has none."""
    target: str = ""
    """Where images have several labels: the class that is audited against its rest."""


def image_id(path: str) -> str:
    """Name of an image that survives a move of its data set: 16 hex digits of the relative path."""
    return blake2b(path.encode(), digest_size=8).hexdigest()


def some(things: Sequence[str]) -> str:
    """Name the first few things and count the rest: ``a, b, c and 9 more``."""
    named = ", ".join(things[:NAMED])
    return f"{named} and {len(things) - NAMED:,} more" if len(things) > NAMED else named


def build_table(listing: Listing, *, source: str, limit_per_class: int | None) -> ImageTable:
    """Give ids, drop repeated paths, apply the limit and sort by label, then path.

    Parameters
    ----------
    listing : what the reader found.
    source : the DATA argument to remember, its path absolute.
    limit_per_class : largest number of images per split and label, None for all of them. Those
        with the smallest ids stay, so that images added later do not reshuffle the choice.

    Raises
    ------
    DataError
        If no image is left, or the limit is below 1.
    """
    if listing.frame.empty:
        raise DataError(f"{source} lists no image; point to data with at least one image per class")
    frame, same_names = one_spelling(listing.frame)
    frame, repeated = _without_repeats(frame)
    frame.insert(0, "image_id", [image_id(path) for path in frame["path"]])
    frame = _limited(frame, limit_per_class)
    frame = frame.sort_values(["label", "path"], kind="stable", ignore_index=True)
    known = [name for name in FIRST if name in frame.columns] + part_masks(frame.columns)
    attributes = [name for name in frame.columns if name not in ("image_id", *known)]
    return ImageTable(
        source=source,
        root=listing.root,
        frame=frame[["image_id", *known, *attributes]],
        attributes=tuple(attributes),
        notes=(
            *listing.notes,
            *same_names,
            *_label_notes(frame, repeated),
            *_table_notes(frame, limit_per_class),
        ),
        repeated=repeated,
        planted=listing.planted,
        order=listing.order,
        target=listing.target,
    )


def _without_repeats(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[tuple[str, ...], ...]]:
    again = frame["path"].duplicated(keep="first")
    dropped = frame.loc[again, ["path", "split", "label"]].itertuples(index=False, name=None)
    repeated = tuple(
        (path, f"also as split {split} / label {label}") for path, split, label in dropped
    )
    return frame.loc[~again].copy(), repeated


def one_spelling(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Labels that differ in nothing but their Unicode form are one; what else is alike is told.

    An accented letter is one character or two, and systems write folders either way.
    """
    labels = frame["label"].unique().tolist()
    composed = _alike(labels, lambda label: unicodedata.normalize("NFC", label))
    forms = {label: form for form, spelled in composed.items() for label in spelled}
    notes = []
    if forms:
        frame = frame.assign(label=frame["label"].map(lambda label: forms.get(label, label)))
        shown = some(sorted(composed))
        notes.append(f"Classes that differ in their Unicode form alone are one: {shown}.")
    loose = _alike(frame["label"].unique().tolist(), _loosely)
    if loose:
        pairs = some([" / ".join(map(repr, spelled)) for spelled in loose.values()])
        notes.append(f"Classes that are spelled alike are kept apart: {pairs}; are they the same?")
    return frame, tuple(notes)


def _alike(labels: Sequence[str], spell: Callable[[str], str]) -> dict[str, list[str]]:
    """Labels that are spelled the same, where several are."""
    found: dict[str, list[str]] = {}
    for label in sorted(labels):
        found.setdefault(spell(label), []).append(label)
    return {form: spelled for form, spelled in found.items() if len(spelled) > 1}


def _loosely(label: str) -> str:
    """Without letter case, kinds of blanks and forms of characters."""
    words = unicodedata.normalize("NFKC", label).casefold()
    return " ".join(re.sub(r"(?<=\w)[-_]", " ", words).split())


def _label_notes(frame: pd.DataFrame, repeated: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    """Images that are listed twice with different labels, and labels that no training image has."""
    known = dict(zip(frame["path"], frame["label"], strict=True)) if repeated else {}
    differing = [path for path, detail in repeated if not detail.endswith(f" {known[path]}")]
    if differing:
        yield (
            f"{count_of(len(differing), 'image is', 'images are')} listed with two labels, of "
            f"which the first counts: {some(differing)}."
        )
    elif repeated:
        paths = some([path for path, _ in repeated])
        rows = count_of(len(repeated), "row names", "rows name")
        yield f"{rows} an image again, left out: {paths}."
    train = frame["split"] == TRAIN
    strange = sorted(set(frame.loc[~train, "label"]) - set(frame.loc[train, "label"]))
    if train.any() and strange:
        yield f"No training image has what held-out ones are labelled with: {some(strange)}."


def _limited(frame: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    if limit is None:
        return frame
    if limit < 1:
        raise DataError(f"the limit per class is {limit}; give 1 or more, or leave it out")
    return frame.sort_values("image_id").groupby(["split", "label"], sort=False).head(limit)


def _table_notes(frame: pd.DataFrame, limit: int | None) -> tuple[str, ...]:
    notes = []
    counts = frame["label"].value_counts()
    lonely = sorted(counts.index[counts == 1])
    if lonely and limit != 1:
        notes.append(f"Only one image in {_classes(len(lonely))}: {some(lonely)}.")
    if not (frame["split"] == TRAIN).any():
        found = some(sorted(frame["split"].unique()))
        notes.append(f"No image is in the split '{TRAIN}'; the splits are {found}.")
    return tuple(notes)


def _classes(count: int) -> str:
    return "the class" if count == 1 else f"each of {count:,} classes"
