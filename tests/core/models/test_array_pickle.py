"""Arrays are read out of a pickle; whatever else it names is refused and never looked up."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import CheckpointError
from core.models.array_pickle import read_arrays

KERNEL = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)


def old(content: object) -> bytes:
    """As NumPy before version 2 names what rebuilds an array."""
    return pickle.dumps(content, protocol=3).replace(b"numpy._core.multi", b"numpy.core.multi")


class Calls:
    """Reduces to a call of something."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call, self.arguments


def written(folder: Path, content: bytes) -> Path:
    path = folder / "weights.pkl"
    path.write_bytes(content)
    return path


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    layers = {"conv": [KERNEL, np.zeros(4, np.float32)], "head": (KERNEL[0].T,)}
    found = read_arrays(written(tmp_path, old(layers)))
    assert list(found) == ["conv", "head"]
    np.testing.assert_array_equal(found["conv"][0], KERNEL)
    np.testing.assert_array_equal(found["head"][0], KERNEL[0].T)


@pytest.mark.parametrize(
    ("call", "arguments", "named"),
    [
        (os.system, ("touch {made}",), "posix.system"),
        (eval, ("open('{made}', 'w')",), "builtins.eval"),
        (getattr, ("text", "upper"), "builtins.getattr"),
        (np.load, ("{made}",), "numpy.load"),
        (np.frombuffer, (b"12345678",), "numpy"),
        (np.random.default_rng, (1,), "numpy.random"),
    ],
    ids=["system", "eval", "getattr", "load", "frombuffer", "rng"],
)
def test_what_it_names_else_is_refused_unseen(
    tmp_path: Path, call: Any, arguments: tuple[Any, ...], named: str
) -> None:
    made = tmp_path / "made"
    given = [a.replace("{made}", str(made)) if isinstance(a, str) else a for a in arguments]
    content = old({"conv": [KERNEL, Calls(call, *given)]})
    with pytest.raises(CheckpointError, match=f"it names {named}.*only arrays"):
        read_arrays(written(tmp_path, content))
    assert not made.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        old({"conv": [KERNEL]})[:-40],
        old({"conv": [Calls(np.ndarray, (2**40, 2**20))]}),
        old({"conv": [Calls(np.dtype, "no such type")]}),
        b"(" * 100_000,
    ],
    ids=["empty", "text", "cut", "huge", "type", "deep"],
)
def test_what_is_damaged_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        read_arrays(written(tmp_path, content))


@pytest.mark.parametrize(
    "content",
    [
        [KERNEL],
        {"conv": KERNEL.tolist()},
        {"conv": [KERNEL.astype(np.int64)]},
        {"conv": [np.array([None, 1], object)]},
        {3: [KERNEL]},
    ],
    ids=["list", "numbers", "integers", "objects", "key"],
)
def test_what_holds_something_else_is_a_sentence(tmp_path: Path, content: object) -> None:
    with pytest.raises(CheckpointError, match="something else"):
        read_arrays(written(tmp_path, old(content)))


def test_a_file_that_is_gone_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        read_arrays(tmp_path / "none.pkl")
    monkeypatch.setattr("core.models.array_pickle.LARGEST", 10)
    with pytest.raises(CheckpointError, match="more than 10 bytes"):
        read_arrays(written(tmp_path, old({"conv": [KERNEL]})))
