"""Digests beside what an audit stores, so that damage is noticed.

::

    digests.json    in every folder of an audit: size, digest of the whole and of the first block
                    of each file beside it

A file is compared with its digest when it is opened: wholly if it is small, else its size and its
first block; all of it by ``python -m core verify``, before a report, and when the same audit is
run again. Folders written by earlier versions have no digests; their files open as they are.

Many processes, and in a bucket many machines, write the digests of one folder. Whoever adds his own
holds the audit's lock among the processes that see the folder, reads the document itself and not
what it knew of it, and in a bucket writes it only where it is still what was read (``If-Match``),
else reads it again: none is lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
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

PAUSE = 0.05
"""Seconds at most before digests that another machine changed meanwhile are read again."""

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


Known = Mapping[str, tuple[Digest, ...]]
"""Digests of the files of a folder, by name."""


class Running:
    """The digest of a file as it is written."""

    def __init__(self) -> None:
        self._whole, self._start, self._size = _hash(b""), b"", 0

    def add(self, content: bytes | memoryview) -> None:
        """What is written next."""
        if len(self._start) < BLOCK:
            self._start += bytes(content[: BLOCK - len(self._start)])
        self._whole.update(content)
        self._size += len(content)

    @property
    def digest(self) -> Digest:
        """Of what was written so far."""
        return Digest(self._size, self._whole.hexdigest(), _hash(self._start).hexdigest())


def digest_of(path: Path) -> Digest:
    """Read a whole file."""
    mirror.bring([path])
    running = Running()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            running.add(chunk)
    return running.digest


def digest_of_bytes(content: bytes) -> Digest:
    """The same of what a file will hold."""
    return Digest(len(content), _hash(content).hexdigest(), _hash(content[:BLOCK]).hexdigest())


def _hash(content: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(content, digest_size=16)


def known(folder: Path) -> Known:
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
def _read(path: str, *_: int) -> Known:
    try:
        return _parsed(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged") from error


def _parsed(content: bytes) -> Known:
    """Digests of a document; raises ValueError where it is none."""
    try:
        found = json.loads(content)
        digests = {name: tuple(Digest(*row) for row in rows) for name, rows in found.items()}
    except (AttributeError, TypeError, RecursionError) as error:
        raise ValueError("no digests") from error
    if not all(rows and all(map(_is_whole, rows)) for rows in digests.values()):
        raise ValueError("no digests")
    return digests


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
    if not _is_kept(path):
        _name(temporary, path)
        return
    with alone(path):
        put_alone(temporary, path)


def put_alone(temporary: Path, path: Path) -> None:
    """The same, by whoever is :func:`alone` with it."""
    if not _is_kept(path):
        _name(temporary, path)
        return
    with replacing_digest(path, digest_of(temporary)):
        _name(temporary, path)


def _is_kept(path: Path) -> bool:
    """Whether the digest of a file is kept beside it."""
    return audit_of(path) is not None or (path.parent / NAME).exists()


@contextlib.contextmanager
def replacing_digest(path: Path, new: Digest) -> Iterator[None]:
    """Keep a file's digest as it will be; until the block has given it its name, both are right."""

    def either(found: Known) -> Known:
        rows = found.get(path.name, ())
        return found if rows in ((), (new,)) else {**found, path.name: (new, *rows)[:3]}

    _change(path.parent, either)
    yield
    _change(path.parent, lambda found: {**found, path.name: (new,)})


def withdraw(path: Path, new: Digest) -> None:
    """Take back the digest of what a file did not become."""

    def without(found: Known) -> Known:
        rows = tuple(row for row in found.get(path.name, ()) if row != new)
        return {**found, path.name: rows} if rows else found

    _change(path.parent, without)


def _name(temporary: Path, path: Path) -> None:
    """Give a complete file its final name, which it has in its bucket first."""
    mirror.publish(temporary, path)
    os.replace(temporary, path)


def seal(folder: Path, found: Mapping[str, Digest] = MappingProxyType({})) -> None:
    """Keep the digests of every file of a folder that is not used yet.

    Parameters
    ----------
    found : of files that were digested as they were written, by name; they are not read again.
    """
    names = [path.name for path in folder.iterdir() if is_data(path)]
    _write(folder, {name: (found.get(name) or digest_of(folder / name),) for name in names})


def adopt(paths: Sequence[Path]) -> None:
    """Keep the digests of files of one folder that have none, as they are."""
    for path in paths:
        mirror.publish(path, path)
    new = {path.name: (digest_of(path),) for path in paths}
    with alone(paths[0]):
        _change(paths[0].parent, lambda found: {**found, **new})


def take_along(source: Path, target: Path) -> None:
    """Keep the digest of a file for its copy or hard link, which is damaged where it is."""
    if rows := _known_or_none(source.parent).get(source.name):
        with alone(target):
            _change(target.parent, lambda found: {**found, target.name: rows})


def forget(path: Path) -> None:
    """Drop the digest of a file that is about to be deleted on purpose.

    In a bucket another machine may have written it, and what is known here may not say so yet.
    """
    if is_known(path) or mirror.mirror_of(path) is not None:
        with alone(path):
            _change(path.parent, lambda found: {n: r for n, r in found.items() if n != path.name})
            mirror.look(path.parent / NAME)


def is_data(path: Path) -> bool:
    """Whether something in an audit's folder is a file with a digest of its own."""
    hidden = path.name.startswith(".") or path.name in (NAME, "lock") or path.suffix == ".lock"
    return not hidden and path.is_file()


def _known_or_none(folder: Path) -> dict[str, tuple[Digest, ...]]:
    try:
        return dict(known(folder))
    except ValueError:
        return {}


def _change(folder: Path, change: Callable[[Known], Known]) -> None:
    """Change the digests of a folder; what is written is never older than what was read.

    Parameters
    ----------
    change : called again with what there is then, where another machine was faster.
    """
    path = folder / NAME
    there = mirror.mirror_of(path)
    while True:
        tag, content = there.bucket.tagged(there.name(path)) if there else ("", _content(path))
        before = _parsed_or_none(content)
        after = change(before)
        if after == before:
            return
        if there is None:
            _write(folder, after)
            return
        if there.exchange(path, _written(after), tag):
            _read.cache_clear()
            return
        time.sleep(PAUSE * random.random())


def _content(path: Path) -> bytes:
    """A document as it is now: opening a file asks the file system of another machine, too."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return b""


def _parsed_or_none(content: bytes) -> Known:
    """Digests of a document; none where there is no document, or it is damaged."""
    try:
        return _parsed(content)
    except ValueError:
        return {}


def _write(folder: Path, digests: Known) -> None:
    with replacing(folder / NAME, put=_name) as temporary:
        temporary.write_bytes(_written(digests))
    _read.cache_clear()  # a file may be replaced twice within a tick of the clock


def _written(digests: Known) -> bytes:
    return f"{json.dumps(digests, indent=1, sort_keys=True)}\n".encode()


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process that sees the folder writes digests of the same audit."""
    from filelock import FileLock

    lock = (audit_of(path) or path.parent) / LOCK
    with FileLock(lock, poll_interval=0.005, fallback_to_soft=False):
        yield
