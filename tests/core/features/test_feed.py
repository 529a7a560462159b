"""Batches that travel: how often, in which order, and what is done where memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from core.audits.run import run_audit
from core.features import feed as feeds
from core.features.feed import Feed, Here, fitting, is_out_of_memory, replicas, transfers_of
from core.models.model import Encoded, Model
from core.storage.workspace import Workspace
from tests.conftest import tiny_request
from tests.tiny import HALF, load_tiny

Log = list[tuple[str, int]]


class Counted:
    """Transfers that write down what they do, as a device does: one batch ahead."""

    ahead = 1

    def __init__(self, log: Log) -> None:
        self.log = log
        self.batches = 0

    def stage(self, batch: Tensor) -> Tensor:
        assert batch.dtype == torch.uint8, "images travel as bytes"
        self.batches += 1
        self.log.append(("to", self.batches))
        return batch.clone()

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        number = self.batches
        self.log.append(("from", number))

        def wait() -> Tensor:
            self.log.append(("wait", number))
            return tensor.clone()

        return wait


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (10, *HALF.input_size, 3), np.uint8)


def test_what_comes_back_is_what_was_asked(pixels: np.ndarray) -> None:
    model, log = load_tiny().to("cpu"), Log()
    feed = Feed([model], 4, lambda _: Counted(log))
    found = [feed.put(pixels[start : start + 4]) for start in (0, 4, 8)]
    results = [each.result() for each in found]
    assert [len(each.features) for each in results] == [4, 4, 2]  # without the padding
    exact = model.encode(torch.from_numpy(pixels))
    maps = torch.cat([each.maps for each in results if each.maps is not None])
    assert torch.allclose(torch.cat([each.features for each in results]), exact.features, atol=1e-6)
    assert exact.maps is not None
    assert torch.allclose(maps, exact.maps, atol=1e-6)
    assert [kind for kind, _ in log].count("to") == 3
    assert [kind for kind, _ in log].count("from") == 6  # features and maps, once each


def test_the_pass_hands_over_the_next_batch_before_it_waits(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = run_audit(tiny_request(folder, name="here"), workspace)
    log = Log()
    monkeypatch.setattr(feeds, "transfers_of", lambda _: Counted(log))
    audit = run_audit(tiny_request(folder), workspace)
    places = {entry: place for place, entry in reversed(list(enumerate(log)))}
    batches = max(number for kind, number in log if kind == "to")
    assert batches == 9  # 36 images, four at a time, each once
    for number in range(1, batches):
        assert places["to", number + 1] < places["wait", number]
    for number in range(1, batches - 1):
        assert places["wait", number] < places["to", number + 2]  # memory holds two
    ids = exact.images.index.tolist()
    assert np.array_equal(audit.features(ids), exact.features(ids))
    assert np.array_equal(audit.store.maps(ids), exact.store.maps(ids))


def test_several_devices_take_turns(pixels: np.ndarray) -> None:
    first, second, log = load_tiny().to("cpu"), load_tiny().to("cpu"), Log()
    feed = Feed([first, second], 2, lambda _: Counted(log))
    assert feed.ahead == 2
    seen: list[int] = []
    for number, model in enumerate((first, second)):
        monkey = model.encode

        def encode(batch: Tensor, number: int = number, own: Callable[..., Encoded] = monkey):
            seen.append(number)
            return own(batch)

        model.encode = encode  # type: ignore[method-assign]
    found = [feed.put(pixels[start : start + 2]) for start in range(0, 10, 2)]
    assert seen == [0, 1, 0, 1, 0]
    features = torch.cat([each.result().features for each in found])
    assert torch.equal(features[8:], second.encode(torch.from_numpy(pixels[8:])).features)
    assert replicas(first) == [first]  # a CPU is one device


def short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int, words: str) -> list[int]:
    """A device that holds so many images; sizes of the batches that it was given."""
    seen, encode = list[int](), Model.encode

    def encoded(model: Model, batch: Tensor) -> Encoded:
        seen.append(len(batch))
        if len(batch) > most:
            raise RuntimeError(words)
        return encode(model, batch)

    monkeypatch.setattr(Model, "encode", encoded)
    return seen


@pytest.mark.parametrize(
    "words",
    ["CUDA out of memory. Tried to allocate 2 GiB", "DefaultCPUAllocator: can't allocate memory"],
)
def test_a_batch_is_halved_where_memory_runs_out_and_no_shard_is_lost(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    exact = run_audit(tiny_request(folder, name="exact", batch_size=8), workspace)
    seen = short_of_memory(monkeypatch, 2, words)
    audit = run_audit(tiny_request(folder, batch_size=8), workspace)
    assert seen[:6] == [8, 4, 2, 2, 2, 2]
    assert set(seen[6:]) == {2}  # what was learnt is kept for the whole pass
    ids = exact.images.index.tolist()
    assert np.allclose(audit.features(ids), exact.features(ids), atol=1e-6)
    assert audit.manifest.compute.batch_size == 8


def test_other_errors_and_a_single_image_too_large_are_raised(
    pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny().to("cpu")
    seen = short_of_memory(monkeypatch, 0, "CUDA out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        Feed([model], 4).put(pixels[:4])
    assert seen == [4, 2, 1]
    short_of_memory(monkeypatch, 0, "shapes differ")
    with pytest.raises(RuntimeError, match="shapes differ"):
        Feed([model], 4).put(pixels[:4])
    assert is_out_of_memory(MemoryError())


def test_a_batch_that_fits_is_found_by_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_tiny().to("cpu")
    assert fitting(model, 256) == 256
    short_of_memory(monkeypatch, 70, "CUDA out of memory")
    assert fitting(model, 256) == 64
    assert isinstance(transfers_of(model), Here)
