"""A quick look at a data set before an audit: what is unreadable or twice there, and how fast."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from core.data.decode import file_digest, large_alone, read_image
from core.data.far_images import address_of, states
from core.data.levels import in_bits, levels_of
from core.data.regions import region_notes
from core.errors import UnreadableImageError
from core.types import ImageTable

SIZED = 200_000
"""Files whose size is looked up in the search for duplicates."""

HASHED = 20_000
"""Files of equal size that are read in the search for duplicates."""


@dataclass(frozen=True)
class DataCheck:
    """What a user should know before starting an audit."""

    images: int
    classes: int
    splits: dict[str, int]
    """Images per split."""
    sampled: int
    """Images that were decoded."""
    unreadable: tuple[tuple[str, str], ...]
    """Path and reason of the sampled images that cannot be decoded."""
    duplicates: tuple[tuple[str, ...], ...]
    """Groups of paths whose files have equal bytes."""
    all_compared: bool
    """False if there were too many files to look for every duplicate."""
    notes: tuple[str, ...]
    """How deep images, masks and boxes are read, and what is odd about them."""
    seconds_per_image: float
    """Mean time to read and decode one image on one core; NaN if none could be."""


def check_data(table: ImageTable, *, sample: int = 200) -> DataCheck:
    """Decode a fixed sample of the images and look for equal files.

    Parameters
    ----------
    table : the data set.
    sample : number of images to decode; those with the smallest ids, so always the same ones.
    """
    frame = table.frame.sort_values("image_id")
    paths = frame["path"].tolist()
    unreadable, seconds = _decode(table.root, paths[:sample])
    duplicates, all_compared = _duplicates(table.root, paths)
    return DataCheck(
        images=len(frame),
        classes=frame["label"].nunique(),
        splits={str(split): int(n) for split, n in frame["split"].value_counts().items()},
        sampled=min(sample, len(paths)),
        unreadable=unreadable,
        duplicates=duplicates,
        all_compared=all_compared,
        notes=(*_deep(table), *region_notes(table)),
        seconds_per_image=seconds,
    )


def _deep(table: ImageTable) -> Iterator[str]:
    """What is black and white in images of more than 8 bits, where a scale of its own is needed."""
    if levels := levels_of(table):
        yield f"Images of more than 8 bits are scaled alike: {in_bits(levels)} are black to white."


def _decode(root: Path, paths: Sequence[str]) -> tuple[tuple[tuple[str, str], ...], float]:
    """Unreadable images with their reasons, and mean seconds per readable one."""
    unreadable = []
    total, readable = 0.0, 0
    for path in paths:
        try:
            with large_alone(root / path):  # several visitors may check at once
                start = time.perf_counter()
                read_image(root / path)
        except UnreadableImageError as error:
            unreadable.append((path, str(error)))
            continue
        total += time.perf_counter() - start
        readable += 1
    return tuple(unreadable), total / readable if readable else float("nan")


def _duplicates(root: Path, paths: Sequence[str]) -> tuple[tuple[tuple[str, ...], ...], bool]:
    sizes = _grouped(_sizes(root, paths[:SIZED]))
    candidates = [path for group in sizes for path in group]
    digests = _grouped({path: _digest(root / path) for path in candidates[:HASHED]})
    complete = len(paths) <= SIZED and len(candidates) <= HASHED
    return tuple(sorted(tuple(sorted(group)) for group in digests)), complete


def _grouped(keys: Mapping[str, object]) -> list[list[str]]:
    """Paths that share a key with another path; those without a key are left out."""
    groups: dict[object, list[str]] = {}
    for path, key in keys.items():
        if key is not None:
            groups.setdefault(key, []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def _sizes(root: Path, paths: Sequence[str]) -> dict[str, int | None]:
    found = states([root / path for path in paths])
    return {path: size if size >= 0 else None for path, (size, _) in zip(paths, found, strict=True)}


def _digest(path: Path) -> bytes | str | None:
    digest = blake2b(digest_size=16)
    if address_of(path):
        return file_digest(path) or None
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return digest.digest()
