"""Bytes of checkpoints that are damaged, or files of other kinds under their names."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

State = dict[str, Any]
Rng = np.random.Generator


def _flipped(data: bytes, rng: Rng) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _flipped_early(data: bytes, rng: Rng) -> bytes:
    """In the first bytes, where formats say what follows."""
    head = min(len(data), 4000)
    return _flipped(data[:head], rng) + data[head:]


def _cut(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(len(data)))]


def _zeroed(data: bytes, rng: Rng) -> bytes:
    start = int(rng.integers(len(data)))
    return (data[:start] + bytes(200) + data[start + 200 :])[: len(data)]


def _doubled(data: bytes, rng: Rng) -> bytes:
    start = int(rng.integers(len(data)))
    return data[:start] + data[start : start + 64] + data[start:]


DAMAGES = {
    "flipped": _flipped,
    "flipped early": _flipped_early,
    "cut": _cut,
    "zeroed": _zeroed,
    "doubled": _doubled,
    "longer": lambda data, rng: data + rng.bytes(500),
}


class _Code:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("ran",)


def saved(content: object, *, legacy: bool = False) -> bytes:
    """What torch writes, today or before its files were archives."""
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def _compressed(data: bytes) -> bytes:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for record in old.infolist():
            new.writestr(record.filename, old.read(record))
    return stream.getvalue()


def _zip(records: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _tar(data: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("weights.pth")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def _program() -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), stream)
    return stream.getvalue()


def _claim(shape: list[int], end: int) -> bytes:
    """Safetensors whose header names a tensor that the file does not hold."""
    header = json.dumps({"fc.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}})
    return struct.pack("<Q", len(header)) + header.encode()


def files(pickled: bytes, state: State) -> Iterator[tuple[str, bytes]]:
    """Whole files by name; the ending tells which reader they meet."""
    yield "compressed.pth", _compressed(pickled)
    yield "gzip.pth", gzip.compress(pickled, 1)
    yield "tar.pth", _tar(pickled)
    yield "script.pth", _program()
    yield "zip.pth", _zip({"readme.txt": b"hello"})
    yield "empty zip.pth", _zip({})
    yield "pickle.pth", pickle.dumps({"a": [1, 2]}, protocol=2)
    yield "plain pickle of code.pth", pickle.dumps(_Code(), protocol=2)
    yield "code.pth", saved({"state_dict": state, "config": _Code()})
    yield "deep.pth", _zip({"z/data.pkl": b"\x80\x02)" + b"\x85" * 900 + b".", "z/version": b"3"})
    yield "bytes.pth", _zip({"z/data.pkl": b"\x80\x02cbuiltins\nbytearray\nK\x09\x85R."})
    yield "empty.pth", b""
    yield "empty.safetensors", b""
    yield "text.pth", b"not a checkpoint\n" * 9
    yield "text.safetensors", b"not a checkpoint\n" * 9
    yield "pickle.safetensors", pickled
    yield "safetensors.pth", save({name: tensor.contiguous() for name, tensor in state.items()})
    yield "huge header.safetensors", struct.pack("<Q", 2**60) + b"{}"
    yield "huge claim.safetensors", _claim([10**9], 4 * 10**9)
    yield "overflow.safetensors", _claim([2**62, 2**62], 0)
    yield "deep header.safetensors", struct.pack("<Q", 10**5) + b"[" * 10**5
    yield "null.safetensors", struct.pack("<Q", 4) + b"null"
    yield "keras.pth", b"\x89HDF\r\n\x1a\n" + bytes(99)
