"""What a torch file unpacks to, looked at before anything of it is read.

torch.save writes a zip of uncompressed records with checksums; torch.load unpacks compressed ones
as well and compares no checksum. Before 2020 it wrote pickles one after the other.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from core.errors import CheckpointError

NESTING = 64
"""Deepest tuple in a pickle. torch.save nests four; Python crashes on the hash of a million."""

HOLES = 16
"""A file that is this many times larger than what the disk holds of it is a hole, not weights:
they are noise, which no file system shrinks to a sixteenth."""

MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")
"""The number in the first pickle of a torch file of before 2020."""

LEGACY_PICKLES = 5
"""Number, protocol, system, content, keys: what such a file has in front of its tensors."""

PACKED = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x89HDF": "an HDF5 file of Keras",
}
"""First bytes of files that are taken for checkpoints: what they are."""

STANDS_FOR = {
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself with git lfs pull",
    b"<!doctype": "a web page: download the file itself, not the page that shows it",
    b"<html": "a web page: download the file itself, not the page that shows it",
    b"<?xml": "an answer in XML, likely a refusal: download the file itself",
    b"gguf": "a GGUF file of a language model: give a state dict of a classifier",
}
"""First bytes, small letters, of files that only stand for a checkpoint: what they are."""

CHUNK = 1 << 20

MALFORMED = (
    *(BadZipFile, OSError, EOFError, ValueError, LookupError, TypeError, RuntimeError),
    *(MemoryError, OverflowError, struct.error),
)
"""What zipfile and pickletools are known to raise for files that are damaged."""


def damaged(path: Path) -> CheckpointError:
    """The error of a file that does not follow its format."""
    return CheckpointError(
        f"{path} cannot be read: it is damaged, cut off or no checkpoint. Download or save it "
        "again."
    )


def check_holes(path: Path) -> None:
    """Refuse a file that is mostly a hole: it would be read as zeros of any size.

    Raises
    ------
    CheckpointError
        If the disk holds some of it, but less than a sixteenth.
    """
    found = path.stat()
    written = getattr(found, "st_blocks", 0) * 512
    if 0 < written < found.st_size / HOLES:
        raise CheckpointError(
            f"{path} is {found.st_size:,} bytes long, but only {written:,} of them were ever "
            "written: its download was not finished. Download or save it again."
        )


def check_archive(path: Path) -> None:
    """Refuse a torch file that would unpack to more than it is, or that was damaged.

    Raises
    ------
    CheckpointError
        If the file is an archive of another kind, has compressed or overlapping records, a
        record that differs from its checksum, or a pickle that is a bomb.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
            file.seek(0)
            _check_kind(path, start)
            if start.startswith(b"PK\x03\x04"):
                _check_zip(path, file)
            else:
                _check_pickles(path, file, LEGACY_PICKLES if MAGIC in start[:32] else 1)
    except MALFORMED as error:
        raise damaged(path) from error


def _check_kind(path: Path, start: bytes) -> None:
    text = start.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for mark, what in STANDS_FOR.items():
        if text.startswith(mark):
            raise CheckpointError(f"{path} is {what}.")
    kinds = [kind for mark, kind in PACKED.items() if start.startswith(mark)]
    kinds += ["an ONNX graph"] if start[:1] == b"\x08" and b"\x12" in start[2:4] else []
    kinds += ["a tar archive"] if start[257:262] == b"ustar" else []
    if kinds:
        raise CheckpointError(
            f"{path} is {kinds[0]}, not a checkpoint: unpack it, or save the model's state dict "
            "with torch.save(model.state_dict(), path)."
        )


def _check_zip(path: Path, file: BinaryIO) -> None:
    with ZipFile(file) as archive:
        records = archive.infolist()
        names = [record.filename for record in records]
        _check_purpose(path, names)
        _check_sizes(path, records)
        bad = [record.filename for record in records if not _intact(archive, record)]
        if bad and len(bad) < len(records):  # all of them: written without checksums
            raise CheckpointError(
                f"{path} is damaged: {bad[0]} in it differs from its checksum. Download or save "
                "it again."
            )
        for record in records:
            if record.filename.endswith("data.pkl"):
                _check_pickles(path, _at(file, record), 1)


def _check_purpose(path: Path, names: Sequence[str]) -> None:
    """Tell a state dict from programs and from other zip files."""
    if any(name.endswith(("constants.pkl", "archive_format")) for name in names):
        raise CheckpointError(
            f"{path} is a program (TorchScript or torch.export), not weights by name: save the "
            "state dict of the model it was made from, torch.save(model.state_dict(), path)."
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise CheckpointError(
            f"{path} is a zip file that torch did not write: unpack it and give the checkpoint in "
            "it."
        )


def _check_sizes(path: Path, records: Sequence[ZipInfo]) -> None:
    """The records of torch.save are stored as they are: together they cannot exceed the file."""
    packed = [record.filename for record in records if record.compress_type != ZIP_STORED]
    total, size = sum(record.file_size for record in records), path.stat().st_size
    if packed or total > size or len({record.filename for record in records}) < len(records):
        raise CheckpointError(
            f"{path} has {size:,} bytes and would unpack to {total:,}: torch.save never "
            "compresses, so this file was made by something else and was not read. Save the "
            "state dict again with torch.save(model.state_dict(), path)."
        )


def _intact(archive: ZipFile, record: ZipInfo) -> bool:
    """Whether a record has its checksum."""
    try:
        with archive.open(record) as stream:
            while stream.read(CHUNK):
                pass
    except BadZipFile:
        return False
    return True


def _at(file: BinaryIO, record: ZipInfo) -> BinaryIO:
    """The file, at the first byte of a stored record."""
    file.seek(record.header_offset + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    file.seek(name + extra, 1)
    return file


def _check_pickles(path: Path, stream: BinaryIO, count: int) -> None:
    """Refuse what unpickling would turn into a crash or into memory of any size."""
    for _ in range(count):
        for depth in _depths(path, stream):
            if depth > NESTING:
                raise CheckpointError(
                    f"{path} nests tuples more than {NESTING} deep, which no checkpoint does: it "
                    "was not read. Save the model's state dict alone, "
                    "torch.save(model.state_dict(), path)."
                )


def _depths(path: Path, stream: BinaryIO) -> Iterator[int]:
    """Depth of every tuple that one pickle builds, by following its stack without its values."""
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[object, int] = {}
    for code, argument, _ in pickletools.genops(stream):
        if code.name == "GLOBAL" and str(argument).endswith(" bytearray"):
            raise CheckpointError(
                f"{path} holds Python objects (bytearray), which a file of a few bytes can make "
                "any size: it was not read. Save the model's state dict alone, "
                "torch.save(model.state_dict(), path)."
            )
        if "PUT" in code.name or code.name == "MEMOIZE":
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif code.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif code.name == "MARK":
            marks.append(len(stack))
        else:
            inner = _popped(code, stack, marks)
            depth = 1 + max(inner, default=0) if code.name.startswith("TUPLE") else 0
            yield depth
            stack.extend([depth] * len(code.stack_after))


def _popped(code: pickletools.OpcodeInfo, stack: list[int], marks: list[int]) -> list[int]:
    """Take off the stack what an opcode takes; what lies above the mark it ends, or all of it."""
    below = list(code.stack_before)
    inner: list[int] = []
    if pickletools.markobject in below:
        start = marks.pop()
        inner = stack[start:]
        del stack[start:]
        below = below[: below.index(pickletools.markobject)]
    taken = list(islice(reversed(stack), len(below)))
    if len(taken) < len(below):
        raise ValueError("a pickle takes more than it has")
    del stack[len(stack) - len(below) :]
    return inner or taken
