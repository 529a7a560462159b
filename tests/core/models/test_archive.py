"""Checkpoint files that are bombs, damaged, odd or no checkpoints at all are refused in words."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from core.errors import CheckpointError
from core.models.archive import NESTING
from core.models.weights import read_checkpoint, read_contents

ROOT = Path(__file__).resolve().parents[3]
FOREIGN = ("Error:", "Pytorch", "deserializ", "codec", "Weights only", "storage has")
"""Words of the libraries."""


def state(width: int = 4) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {"conv.weight": torch.randn(width, 3, 3, 3), "fc.weight": torch.randn(3, width)}


def saved(path: Path, content: object, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def rezipped(
    path: Path,
    change: Callable[[str, bytes], bytes] = lambda _, data: data,
    kind: int = zipfile.ZIP_STORED,
) -> Path:
    """The same torch file, its records changed or compressed."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in records.items():
            archive.writestr(name, change(name, data))
    return path


def pickled(path: Path, content: bytes) -> Path:
    """A torch file of one pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", content)
        archive.writestr("a/version", "3\n")
    return path


def peak_of_reading(path: Path) -> tuple[int, str]:
    """Bytes that a process needs beyond what it has before it reads a file, and its error."""
    code = (
        "import resource, sys, torch\n"
        "from pathlib import Path\n"
        "from core.models.weights import read_checkpoint\n"
        "torch.ones(9).sum()\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before, said = peak(), ''\n"
        "try:\n    read_checkpoint(Path(sys.argv[1]))\n"
        "except Exception as error:\n    said = f'{type(error).__name__}: {error}'\n"
        "print(peak() - before, said)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    size, _, said = done.stdout.strip().partition(" ")
    return int(size), said


def test_a_torch_file_that_unpacks_to_a_thousand_times_its_size_is_not_unpacked(
    tmp_path: Path,
) -> None:
    path = saved(tmp_path / "a.pth", {"fc.weight": torch.zeros(10**8)})
    rezipped(path, kind=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    used, said = peak_of_reading(path)
    assert used < 50 * 2**20
    assert "CheckpointError" in said
    assert "would unpack to 400,0" in said


def test_records_that_overlap_are_not_read(tmp_path: Path) -> None:
    """Many entries of the directory for one record of data."""
    path = saved(tmp_path / "a.pth", {f"t{i}": torch.full((999,), float(i)) for i in range(9)})
    whole = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        first = next(r for r in archive.infolist() if r.filename.endswith("data/0"))
    start = 0
    while (start := whole.find(b"PK\x01\x02", start + 1)) > 0:
        name = whole[start + 46 : start + 46 + struct.unpack_from("<H", whole, start + 28)[0]]
        if name.endswith(b"data/1"):
            struct.pack_into("<II", whole, start + 20, 10**6, 10**6)
            struct.pack_into("<I", whole, start + 42, first.header_offset)
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match="would unpack to 1,0"):
        read_checkpoint(path)


def test_tensors_that_repeat_one_value_are_bounded(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"fc.weight": torch.zeros(1).expand(10**12)})
    with pytest.raises(CheckpointError, match=r"unpack to 4,000,000,000,000: .* Save contiguous"):
        read_checkpoint(path)
    tied = {f"{name}.weight": state(99)["conv.weight"] for name in "abc"}
    assert set(read_checkpoint(saved(tmp_path / "b.pth", tied))) == set(tied)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02}(" + b")" + b"\x85" * 10**6 + b"K\x01u.", f"more than {NESTING} deep"),
        (b"\x80\x02)" + b"\x85q\x00h\x00\x86" * 40 + b".", f"more than {NESTING} deep"),
        (b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x40\x85R.", "bytearray.*was not read"),
    ],
    ids=["deep", "deep by memory", "bytes of any size"],
)
def test_a_pickle_that_is_a_bomb_is_not_unpickled(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = pickled(tmp_path / "a.pth", content)
    used, said = peak_of_reading(path)  # in its own process: torch crashes or fills the memory
    assert used < 100 * 2**20
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)
    assert said.startswith("CheckpointError")


@pytest.mark.parametrize(
    "content", [b"\x80\x02" + b"\x85" * 9 + b".", b"\x80\x02h\x09.", b"(", b""]
)
def test_a_pickle_that_is_malformed_is_damage(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CheckpointError, match="damaged, cut off or no checkpoint"):
        read_checkpoint(pickled(tmp_path / "a.pth", content))


def test_a_record_that_differs_from_its_checksum_is_damage(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", state())
    whole = bytearray(path.read_bytes())
    at = whole.find(state()["fc.weight"].numpy().tobytes())
    whole[at + 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"a/data/1 in it differs from its checksum"):
        read_checkpoint(path)


def test_a_file_written_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "a.pth", state())
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_checkpoint(path)["fc.weight"], state()["fc.weight"])


def test_a_file_that_is_a_hole_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    header = b'{"fc.weight":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}'
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 4 * 10**9)
    if not 0 < path.stat().st_blocks * 512 < 10**6:
        pytest.skip("this file system keeps no holes")
    with pytest.raises(CheckpointError, match="only .* of them were ever written"):
        read_checkpoint(path)


def _tar(data: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO(data))
    return stream.getvalue()


def _zip(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.pth", b"\x1f\x8b\x08" + bytes(99), "is a gzip archive, not a checkpoint: unpack it"),
        ("a.pth", _tar(b""), "is a tar archive, not a checkpoint"),
        ("a.pth", b"\x89HDF\r\n", "is an HDF5 file of Keras"),
        ("a.pth", _zip(b"a"), "is a zip file that torch did not write"),
        ("a.pth", b"", "damaged, cut off or no checkpoint"),
        ("a.pth", pickle.dumps([1, 2], protocol=2), "damaged, cut off or no checkpoint"),
        ("a.safetensors", b"", "damaged, cut off or no checkpoint"),
        ("a.safetensors", struct.pack("<Q", 2**60), "damaged, cut off or no checkpoint"),
        ("a.safetensors", struct.pack("<Q", 9**6) + b"[" * 9**6, "damaged, cut off"),
    ],
)
def test_what_is_no_checkpoint_is_refused_without_a_word_of_a_library(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as raised:
        read_checkpoint(tmp_path / name)
    assert not [word for word in FOREIGN if word in str(raised.value)]
    assert name in str(raised.value)


def test_programs_are_told_from_weights(tmp_path: Path) -> None:
    program = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(program, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="is a program .* save the state dict"):
        read_checkpoint(tmp_path / "a.pt")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (
        tmp_path,
        tmp_path / "pipe",
        Path("/dev/zero"),
        tmp_path / "a\0b",
        tmp_path / ("a" * 999),
    ):
        with pytest.raises(CheckpointError, match="is not a file: give the path"):
            read_checkpoint(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_flipped_bytes_end_in_words(tmp_path: Path, seed: int, legacy: bool) -> None:
    import numpy as np

    rng = np.random.default_rng(seed)
    path = saved(tmp_path / "a.pth", state(), legacy=legacy)
    whole = path.read_bytes()
    said = []
    for _ in range(60):
        changed = bytearray(whole)
        changed[int(rng.integers(min(len(whole), 900)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            said.append(str(error))
    assert said
    assert not [message for message in said if any(word in message for word in FOREIGN)]


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    for name in (7, b"fc.weight", ("fc", "weight")):
        content = {**state(), name: torch.zeros(2)}
        with pytest.raises(CheckpointError, match=r"names a tensor .*, which is no text"):
            read_checkpoint(saved(tmp_path / "a.pth", content))


def test_what_is_not_read_of_a_file_is_told(tmp_path: Path) -> None:
    content = {"state_dict": state(), "model_ema": state(5), "fc.weight": torch.zeros(1), "lr": 1}
    contents = read_contents(saved(tmp_path / "a.pth", content))
    said = "Not read from the checkpoint: model_ema, fc.weight; --weights chooses another."
    assert contents.notes == (said,)
    assert torch.equal(contents.tensors["fc.weight"], state()["fc.weight"])
    listed = read_contents(saved(tmp_path / "b.pth", {**state(), "fc.bias": [0.0, 1.0, 2.0]}))
    assert listed.notes == ("Not read from the checkpoint, for they are no tensors: fc.bias.",)


def test_nested_tensors_are_refused(tmp_path: Path) -> None:
    ragged = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    path = saved(tmp_path / "a.pth", {**state(), "fc.weight": ragged})
    with pytest.raises(CheckpointError, match=r"holds nested tensors \(fc\.weight\)"):
        read_checkpoint(path)
