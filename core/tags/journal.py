"""What SQLite passes over in silence: entries in the log beside a file that it cannot believe.

Until it is taken over into the file, what was written stands in ``tags.sqlite-wal``, in frames
with checksums. SQLite reads them up to the first whose checksum is wrong, as if nothing followed;
where a disk has spoilt one, everything after it is gone without a word. The format is described
at sqlite.org/walformat.html. What is cut off at the end cannot be told from what was never
written.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

from core.errors import WorkspaceError

MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
"""How a log begins, and the byte order of its checksums."""

HEAD, FRAME = 32, 24
"""Bytes of the head of a log, and of a frame before its page."""

TRIES, PAUSE = 5, 0.1
"""A log that seems spoilt may be one that is being written just now: looks, and seconds between."""


def check_journal(path: Path) -> None:
    """Look at the log beside the database ``path`` before SQLite does.

    Only the log is opened: whoever closes one of the other files ends the locks that SQLite holds
    on it in this process.

    Raises
    ------
    WorkspaceError
        If entries of the log cannot be believed though others follow them.
    """
    log = Path(f"{path}-wal")
    for _ in range(TRIES):
        try:
            content = log.read_bytes()
        except FileNotFoundError:
            return
        if not spoilt(content):
            return
        time.sleep(PAUSE)
    raise WorkspaceError(
        f"the tags in {path}: the newest of them are in {log}, which is damaged; restore both "
        f"files from a backup, or keep only what can be read: sqlite3 {path} 'PRAGMA "
        "wal_checkpoint(TRUNCATE)'"
    )


def spoilt(log: bytes) -> bool:
    """Whether a log holds a frame that cannot be believed before one that ends a transaction."""
    if len(log) < HEAD + FRAME:
        return False
    magic, _, size, _, salt, *sums = struct.unpack(">4I8s2I", log[:HEAD])
    if magic not in MAGIC or _sums(log[:24], MAGIC[magic], (0, 0)) != tuple(sums):
        return True
    running = (sums[0], sums[1])
    for start in range(HEAD, _end(log, size + FRAME, salt), size + FRAME):
        head, salts, *sums = struct.unpack_from(">8s8s2I", log, start)
        page = log[start + FRAME : start + FRAME + size]
        running = _sums(head + page, MAGIC[magic], running)
        if salts != salt or running != tuple(sums):
            return True
    return False


def _end(log: bytes, step: int, salt: bytes) -> int:
    """Where the last frame that ends a transaction of the log's present round begins, plus one."""
    last = 0
    for start in range(HEAD, len(log) - step + 1, step):
        size, salts = struct.unpack_from(">4xI8s", log, start)
        last = start + 1 if size and salts == salt else last
    return last


def _sums(content: bytes, order: str, begin: tuple[int, int]) -> tuple[int, int]:
    """SQLite's checksum of a multiple of 8 bytes that follows others."""
    first, second = begin
    for a, b in struct.iter_unpack(f"{order}2I", content):
        first = (first + a + second) & 0xFFFFFFFF
        second = (second + b + first) & 0xFFFFFFFF
    return first, second
