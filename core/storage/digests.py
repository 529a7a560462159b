"""Digests beside what an audit stores, so that damage is noticed.

::

    digests.json    in every folder of an audit: size, digest of the whole and of the first block
                    of each file beside it

A file is compared with its digest when it is opened: wholly if it is small, else its size and its
first block; all of it by ``python -m core verify``, before a report, and when the same audit is
run again. Folders written by earlier versions have no digests; their files open as they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from core.storage import mirror
from core.storage.disk import replacing
from core.storage.layout import DIGESTS, MANIFEST

NAME = DIGESTS

LOCK = ".digests.lock"
"""In the audit's folder; held while a file and its digest are written."""

BLOCK = 4096
"""Bytes of a large file that are compared when it is opened."""

SMALL = 2**20
"""Bytes up to which a file is compared wholly when it is opened."""

CHUNK = 2**22
"""Bytes in memory at a time."""


class Digest(NamedTuple):
    """What is known of a file."""

    size: int
    """Bytes."""
    whole: str
    """BLAKE2b of everything, 32 hex digits."""
    start: str
    """BLAKE2b of the first BLOCK bytes."""


def digest_of(path: Path) -> Digest:
    """Read a whole file."""
    mirror.bring([path])
    whole, size, start = _hash(b""), 0, ""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            start = start or _hash(chunk[:BLOCK]).hexdigest()
            whole.update(chunk)
            size += len(chunk)
    return Digest(size, whole.hexdigest(), start or whole.hexdigest())


def _hash(content: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(content, digest_size=16)


def known(folder: Path) -> Mapping[str, tuple[Digest, ...]]:
    """Digests of the files in a folder by name; empty where none are stored.

    A file that was being replaced when its process was killed has two: one of them is right.

    Raises
    ------
    ValueError
        If they are damaged themselves.
    """
    path = folder / NAME
    mirror.bring([path])
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return _read(str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=4096)
def _read(path: str, *_: int) -> Mapping[str, tuple[Digest, ...]]:
    try:
        found = json.loads(Path(path).read_bytes())
        digests = {name: tuple(Digest(*row) for row in rows) for name, rows in found.items()}
        if not all(rows and all(map(_is_whole, rows)) for rows in digests.values()):
            raise ValueError(path)
        return digests
    except (OSError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged") from error


def _is_whole(digest: Digest) -> bool:
    texts = isinstance(digest.whole, str) and isinstance(digest.start, str)
    return texts and isinstance(digest.size, int)


def whole_of(path: Path) -> str:
    """The digest of all of a file; empty where it is not known, or is about to change."""
    try:
        rows = known(path.parent).get(path.name, ())
    except ValueError:
        return ""
    return rows[0].whole if len(rows) == 1 else ""


def is_known(path: Path) -> bool:
    """Whether a digest says that there is such a file."""
    try:
        return path.name in known(path.parent)
    except ValueError:
        return False


_sound: dict[str, tuple[tuple[int, int, int], bool]] = {}
"""Files that this process has compared: their state on disk, and whether wholly."""


def fault(path: Path, *, wholly: bool = False, again: bool = False, far: bool = True) -> str:
    """What is wrong with a file, in words; empty where its digest is right, or there is none.

    Parameters
    ----------
    wholly : compare all of it, whatever its size.
    again : read it even if this process has compared it before.
    far : fetch it where it is only in a bucket so far; else only its size is compared there.
    """
    if far:
        mirror.bring([path])
    found = _fault(path, wholly, again)
    if found and far:
        mirror.renew(path)
    return found and _fault(path, wholly, again)  # another process may just have replaced it


def _fault(path: Path, wholly: bool, again: bool) -> str:
    try:
        expected = known(path.parent).get(path.name)
        if expected is None:
            return ""
        stat = path.stat()
        state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stat.st_mtime_ns < 0:
            return _another_size(stat.st_size, expected)
        wholly = wholly or stat.st_size <= SMALL
        before = _sound.get(str(path))
        if not again and before is not None and before[0] == state and before[1] >= wholly:
            return ""
        if found := _difference(path, stat.st_size, expected, wholly):
            return found
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({os.strerror(error.errno or 5).lower()})"
    except ValueError:
        if path.name == MANIFEST:  # without it the audit could not be run again to mend the rest
            return ""
        return f"cannot be checked, since {NAME} beside it is damaged"
    _sound[str(path)] = (state, wholly)
    return ""


def _difference(path: Path, size: int, expected: tuple[Digest, ...], wholly: bool) -> str:
    if found := _another_size(size, expected):
        return found
    same = [digest for digest in expected if digest.size == size]
    if wholly:
        good = digest_of(path) in same
    else:
        with path.open("rb") as file:
            start = _hash(file.read(BLOCK)).hexdigest()
        good = start in {digest.start for digest in same}
    return "" if good else "is damaged: it no longer holds what was written"


def _another_size(size: int, expected: tuple[Digest, ...]) -> str:
    if size in {digest.size for digest in expected}:
        return ""
    return f"is damaged: it has {size:,} bytes instead of {expected[0].size:,}"


def would_be(path: Path, content: bytes) -> bool:
    """Whether some content is what a file held when it was written."""
    try:
        expected = known(path.parent).get(path.name, ())
    except ValueError:
        return False
    return _hash(content).hexdigest() in {digest.whole for digest in expected}


def audit_of(path: Path) -> Path | None:
    """The audit's folder that a file lies or will lie in; None for other files."""
    for folder in path.parents[:5]:  # a shard of a set lies deepest
        if folder.parent.name == "audits":
            there = path.name == MANIFEST or (folder / MANIFEST).exists()
            return None if folder.name.startswith(".") or not there else folder
        if folder.name.startswith("."):
            return None
    return None


def begins_with(path: Path, start: bytes) -> bool:
    """Whether a file is one that begins with this block, or with whatever where nobody knows."""
    expected = known(path.parent).get(path.name, ())
    return not expected or _hash(start[:BLOCK]).hexdigest() in {each.start for each in expected}


def put(temporary: Path, path: Path) -> None:
    """Give a complete file its final name, and keep its digest if it belongs to an audit."""
    if audit_of(path) is None and not (path.parent / NAME).exists():
        _name(temporary, path)
        return
    new = digest_of(temporary)
    with _alone(path):
        digests = _known_or_none(path.parent)
        before = digests.get(path.name, ())
        if before and before != (new,):  # until it has its name, both are right
            _write(path.parent, {**digests, path.name: (new, *before)[:3]})
        _name(temporary, path)
        if before != (new,):
            _write(path.parent, {**digests, path.name: (new,)})


def _name(temporary: Path, path: Path) -> None:
    """Give a complete file its final name, which it has in its bucket first."""
    mirror.publish(temporary, path)
    os.replace(temporary, path)


def seal(folder: Path) -> None:
    """Keep the digests of every file of a folder that is not used yet."""
    _write(folder, {p.name: (digest_of(p),) for p in folder.iterdir() if is_data(p)})


def adopt(paths: Sequence[Path]) -> None:
    """Keep the digests of files of one folder that have none, as they are."""
    for path in paths:
        mirror.publish(path, path)
    new = {path.name: (digest_of(path),) for path in paths}
    with _alone(paths[0]):
        _write(paths[0].parent, {**_known_or_none(paths[0].parent), **new})


def take_along(source: Path, target: Path) -> None:
    """Keep the digest of a file for its copy or hard link, which is damaged where it is."""
    if rows := _known_or_none(source.parent).get(source.name):
        with _alone(target):
            _write(target.parent, {**_known_or_none(target.parent), target.name: rows})


def forget(path: Path) -> None:
    """Drop the digest of a file that is about to be deleted on purpose."""
    if is_known(path):
        with _alone(path):
            digests = _known_or_none(path.parent)
            _write(path.parent, {n: rows for n, rows in digests.items() if n != path.name})


def is_data(path: Path) -> bool:
    """Whether something in an audit's folder is a file with a digest of its own."""
    hidden = path.name.startswith(".") or path.name in (NAME, "lock") or path.suffix == ".lock"
    return not hidden and path.is_file()


def _known_or_none(folder: Path) -> dict[str, tuple[Digest, ...]]:
    try:
        return dict(known(folder))
    except ValueError:
        return {}


def _write(folder: Path, digests: Mapping[str, tuple[Digest, ...]]) -> None:
    with replacing(folder / NAME, put=_name) as temporary:
        temporary.write_text(f"{json.dumps(digests, indent=1, sort_keys=True)}\n", "utf-8")
    _read.cache_clear()  # a file may be replaced twice within a tick of the clock


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process writes digests of the same audit."""
    from filelock import FileLock

    lock = (audit_of(path) or path.parent) / LOCK
    with FileLock(lock, poll_interval=0.005, fallback_to_soft=False):
        mirror.renew(path.parent / NAME)
        yield
