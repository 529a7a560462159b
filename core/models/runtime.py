"""What runs the forward pass: torch, or ONNX Runtime where it computes the same and is faster.

Both compute in fp32 and differ by its rounding. The other runtime is taken by itself only where
its graph was held against torch on a sample of the training images, and measured to be faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ModelError
from core.models.precision import Decide, tried
from core.storage.audit_manifest import Compute
from core.types import FloatArray, Runtime

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Encoded, Model

RUNTIMES: tuple[Runtime, ...] = ("eager", "onnx")

AGREES = 1e-4
"""Largest distance from torch, relative to the deviation, of the features and maps of any image of
the sample. Measured: 3e-6."""

FEWEST = 256
"""Images below which no other runtime is tried."""

PAYS = 20.0
"""Seconds of forward passes by torch below which exporting, checking and measuring, 3 to 5 s, cost
more than a runtime that is a third faster saves."""

LONG = 120.0
"""Seconds of them above which every measurement is made three times instead of once."""

FASTER = 1.05
"""How many times as fast something has to be to be taken instead of what is there."""

SIZES: Mapping[Runtime, tuple[int, ...]] = {"eager": (32, 16, 8), "onnx": (32,)}
"""Batches that are tried on a CPU: larger ones leave its caches. A graph takes images one by one,
whatever the batch."""

TIMED = 32
"""Images of one measurement."""


@dataclass(frozen=True)
class Compared:
    """What ONNX Runtime did to a sample of images, against torch."""

    images: int
    distance: float
    """Of the features, the largest over the images, as in :class:`core.models.precision.Tried`."""
    maps: float
    """The same of the maps; 0 where there are none."""
    differing: int
    """Images that are decided otherwise."""

    @property
    def holds(self) -> bool:
        """Whether the figures are those of torch."""
        return max(self.distance, self.maps) <= AGREES and self.differing == 0

    @property
    def sentence(self) -> str:
        """What it does, in words."""
        return (
            f"ONNX Runtime moves the features of {self.images} sample images by "
            f"{self.distance:.1g} of their deviation and their maps by {self.maps:.1g} (at most "
            f"{AGREES:g} is taken) and changes {self.differing} of {self.images} decisions"
        )


def compared(
    model: Model, batch: Tensor, deciding: Callable[[FloatArray], Decide], size: int
) -> Compared:
    """Hold the graph of a model against torch.

    Parameters
    ----------
    batch : (n, h, w, 3) uint8 images; size : of the batches that they are run in.
    deciding : makes of torch's features (n, D) what decides by features.

    Raises
    ------
    NoGraphError
        If there is none.
    """
    graph = model.graph()
    exact, maps = _arrays(model.encode_by_torch(part) for part in _parts(batch, size))
    ours, our_maps = _arrays(graph(part) for part in _parts(batch, size))
    features = tried("fp32", exact, ours, deciding(exact))
    apart = 0.0
    if maps is not None and our_maps is not None:
        apart = tried("fp32", maps, our_maps, lambda each: np.zeros(len(each), np.int64)).distance
    return Compared(len(batch), features.distance, apart, features.differing)


def _arrays(encoded: Iterator[Any]) -> tuple[FloatArray, FloatArray | None]:
    """Features (n, D) and maps (n, D * h * w), None without any, of batches."""
    found = [_pair(each) for each in encoded]
    features = np.concatenate([first for first, _ in found])
    if found[0][1] is None:
        return features, None
    return features, np.concatenate([maps for _, maps in found if maps is not None])


def _pair(encoded: Encoded | tuple[Tensor, Tensor | None]) -> tuple[FloatArray, FloatArray | None]:
    features, maps = encoded if isinstance(encoded, tuple) else (encoded.features, encoded.maps)
    return features.numpy(), None if maps is None else maps.flatten(1).numpy()


def _parts(batch: Tensor, size: int) -> Iterator[Tensor]:
    return (batch[start : start + size] for start in range(0, len(batch), size))


def speeds(
    model: Model, batch: Tensor, sizes: Mapping[Runtime, Sequence[int]], turns: int
) -> dict[tuple[Runtime, int], float]:
    """Images per second of runtimes in batches of some sizes, the best of several turns."""
    graph, images = model.graph(), batch[:TIMED]
    run: dict[Runtime, Callable[[Tensor], object]]
    run = {"eager": model.encode_by_torch, "onnx": graph}
    found: dict[tuple[Runtime, int], float] = {}
    for _ in range(turns):
        for runtime, each in sizes.items():
            for size in each:
                rate = len(images) / _seconds(run[runtime], images, size)
                found[runtime, size] = max(found.get((runtime, size), 0.0), rate)
    return found


def _seconds(run: Callable[[Tensor], object], images: Tensor, size: int) -> float:
    began = time.perf_counter()
    for part in _parts(images, size):
        run(part)
    return max(time.perf_counter() - began, 1e-9)


def seconds_by_torch(model: Model, batch: Tensor, images: int) -> float:
    """How long torch takes for the forward passes of so many images, from those of a few."""
    model.encode_by_torch(batch)  # what is made on the first call is no part of it
    return images * _seconds(model.encode_by_torch, batch, len(batch)) / len(batch)


def fastest(
    found: Mapping[tuple[Runtime, int], float], first: tuple[Runtime, int]
) -> tuple[Runtime, int]:
    """The fastest runtime and batch, where it is faster than the ``first`` by enough to matter."""
    best = max(found, key=found.__getitem__)
    return best if found[best] >= FASTER * found[first] else first


def require_runtime(model: Model, compute: Compute, name: str) -> None:
    """Refuse to go on with an audit by another runtime than its own.

    Raises
    ------
    ModelError
        If it is ONNX Runtime, which cannot run the network here.
    """
    if compute.runtime == "onnx" and (reason := why_not(model)):
        raise ModelError(
            f"audit {name!r} is computed by ONNX Runtime, which does not run {model.name} here "
            f"({reason}), and the last bits of two runtimes must not be mixed: make it run, or "
            "start another audit with --runtime eager and another --name"
        )


def why_not(model: Model) -> str:
    """Why ONNX Runtime does not run a model here; empty where it does."""
    try:
        model.graph()
    except ModelError as error:
        return str(error)
    return ""
