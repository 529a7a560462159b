"""Batches on their way to a network and its results back, while it computes another one.

To a GPU images travel as bytes, through pinned memory and on a stream of their own, and are
normalised there; results come back the same way. The next batch is handed over before the results
of the last are waited for, so that the GPU never waits, and several GPUs take turns. On a CPU
nothing travels; a graph is given the next batch while cores still finish the last. Where memory
runs out a batch is run in halves.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Encoded, Model

ERRORS = (RuntimeError, MemoryError, ModelError)
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "failed to allocate memory")
"""What torch says on a GPU, torch on a CPU, and ONNX Runtime."""


class Transfers(Protocol):
    """How tensors come to a device and back."""

    ahead: int
    """Batches that are handed over before the results of the first are waited for."""

    def stage(self, batch: Tensor) -> Tensor:
        """The batch where the network is."""
        ...

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Begin to bring a tensor back; what is returned waits until it is there."""
        ...


class Here:
    """The network is where the images are."""

    ahead = 0

    def stage(self, batch: Tensor) -> Tensor:
        """The batch itself."""
        return batch

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """The tensor itself."""
        return tensor.cpu


class Beside(Here):
    """The same for a graph, whose cores take images of two batches."""

    ahead = 1


class Pinned:
    """To and from a CUDA device, beside what it computes."""

    ahead = 1

    def __init__(self, device: str) -> None:
        import torch

        self.device, self._stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def stage(self, batch: Tensor) -> Tensor:
        """Bytes on the device; the network's stream waits for them, nobody else does."""
        import torch

        with torch.cuda.stream(self._stream):
            there = batch.pin_memory().to(self.device, non_blocking=True)
        stream = torch.cuda.current_stream(self.device)
        stream.wait_stream(self._stream)
        there.record_stream(stream)  # its memory is not handed out again before that has read it
        return there

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """A copy in pinned memory, there once its event has passed."""
        import torch

        back = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        with torch.cuda.device(self.device):
            back.copy_(tensor, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self.device))

        def wait() -> Tensor:
            event.synchronize()
            return back

        return wait


def transfers_of(model: Model) -> Transfers:
    """How a model's images come to it."""
    if model.device.startswith("cuda"):
        return Pinned(model.device)
    return Beside() if model.runtime == "onnx" else Here()


@dataclass(frozen=True)
class Pending:
    """What a batch will say."""

    encoded: Callable[[], Encoded]
    count: int
    """Images of it that are no padding."""

    def result(self) -> Encoded:
        """Features and maps on the CPU, once they are there."""
        from core.models.model import Encoded

        found = self.encoded()
        maps = None if found.maps is None else found.maps[: self.count]
        return Encoded(found.features[: self.count], maps)


class Feed:
    """Networks that are given batches of one size in turn.

    Parameters
    ----------
    models : one, or the same on several devices.
    size : images per batch; smaller ones are padded. Kernels are chosen by shape, so only equal
        shapes make an image's result independent of how many others went with it.
    """

    def __init__(
        self,
        models: Sequence[Model],
        size: int,
        transfers: Callable[[Model], Transfers] | None = None,
    ) -> None:
        self.models, self.size = list(models), size
        self.transfers = [(transfers or transfers_of)(model) for model in self.models]
        self.ahead = sum(each.ahead for each in self.transfers)
        self.pieces = 1
        """In how many parts a batch is run, since memory ran out."""
        self._turn = 0
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="feed")

    def put(self, pixels: np.ndarray) -> Pending:
        """Hand over up to ``size`` images (n, h, w, 3) uint8."""
        import torch

        batch = np.zeros((self.size, *pixels.shape[1:]), np.uint8)
        batch[: len(pixels)] = pixels
        model, transfers = self.models[self._turn], self.transfers[self._turn]
        self._turn = (self._turn + 1) % len(self.models)
        whole = torch.from_numpy(batch)
        if isinstance(transfers, Beside):
            later = self._threads.submit(self._encoded, model, transfers, whole)
            return Pending(lambda: later.result(), len(pixels))
        found = self._encoded(model, transfers, whole)
        return Pending(_returning(transfers, found), len(pixels))

    def _encoded(self, model: Model, transfers: Transfers, batch: Tensor) -> Encoded:
        while True:
            try:
                step = -(-len(batch) // self.pieces)
                parts = [batch[start : start + step] for start in range(0, len(batch), step)]
                return _joined([model.encode(transfers.stage(each)) for each in parts])
            except ERRORS as error:
                if not is_out_of_memory(error) or step == 1:
                    raise
            self.pieces *= 2
            _free()


def _returning(transfers: Transfers, found: Encoded) -> Callable[[], Encoded]:
    """Begin to bring results back; what is returned waits until they are there."""
    features = transfers.fetch(found.features)
    maps = None if found.maps is None else transfers.fetch(found.maps)
    return lambda: type(found)(features(), maps and maps())


def _joined(parts: Sequence[Encoded]) -> Encoded:
    import torch

    if len(parts) == 1:
        return parts[0]
    maps = [part.maps for part in parts if part.maps is not None]
    features = torch.cat([part.features for part in parts])
    return type(parts[0])(features, torch.cat(maps) if maps else None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a device or here."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in OUT_OF_MEMORY)


def _free() -> None:
    """Give back what the device's allocator keeps."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def replicas(model: Model) -> list[Model]:
    """A model on every CUDA device of the machine; itself alone elsewhere."""
    if model.device != "cuda":
        return [model]
    import torch

    others = [f"cuda:{number}" for number in range(1, torch.cuda.device_count())]
    return [model, *(copy.deepcopy(model).to(device, model.precision) for device in others)]


def fitting(model: Model, size: int) -> int:
    """Images of a batch that memory holds: ``size``, or a half, a quarter and so on of it."""
    height, width = model.preprocess.input_size
    feed = Feed([model], size)
    feed.put(np.zeros((size, height, width, 3), np.uint8)).result()
    return -(-size // feed.pieces)
