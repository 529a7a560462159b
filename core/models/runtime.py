"""What runs the forward pass: torch, or another program that computes the same and is faster.

On a CPU that is ONNX Runtime, on a GPU what torch's compiler makes. All compute in fp32 and differ
by its rounding. Another one is taken by itself only where it was held against torch on a sample of
the training images, and measured to be faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ModelError
from core.models.precision import RUNTIME_TITLES, Decide, tried
from core.storage.audit_manifest import Compute
from core.types import FloatArray, Runtime

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Encoded, Model

RUNTIMES: tuple[Runtime, ...] = ("eager", "onnx", "compiled")

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
whatever the batch. Elsewhere the batch is what memory holds."""

FROM: Mapping[Runtime, float] = {"onnx": PAYS, "compiled": 3 * LONG}
"""Seconds of forward passes by torch from which another runtime is tried."""

TIMED = 32
"""Images of one measurement."""


@dataclass(frozen=True)
class Compared:
    """What another runtime did to a sample of images, against torch."""

    images: int
    distance: float
    """Of the features, the largest over the images, as in :class:`core.models.precision.Tried`."""
    maps: float
    """The same of the maps; 0 where there are none."""
    differing: int
    """Images that are decided otherwise."""
    runtime: Runtime = "onnx"

    @property
    def holds(self) -> bool:
        """Whether the figures are those of torch."""
        return max(self.distance, self.maps) <= AGREES and self.differing == 0

    @property
    def sentence(self) -> str:
        """What it does, in words."""
        return (
            f"{RUNTIME_TITLES[self.runtime]} moves the features of {self.images} sample images by "
            f"{self.distance:.1g} of their deviation and their maps by {self.maps:.1g} (at most "
            f"{AGREES:g} is taken) and changes {self.differing} of {self.images} decisions"
        )


def compared(
    model: Model,
    batch: Tensor,
    deciding: Callable[[FloatArray], Decide],
    size: int,
    runtime: Runtime = "onnx",
) -> Compared:
    """Hold another runtime of a model against torch.

    Parameters
    ----------
    batch : (n, h, w, 3) uint8 images; size : of the batches that they are run in.
    deciding : makes of torch's features (n, D) what decides by features.

    Raises
    ------
    NoGraphError
        If there is none.
    """
    program = model.program(runtime)
    exact, maps = _arrays(model.encode_by_torch(part) for part in _parts(batch, size))
    ours, our_maps = _arrays(program(part) for part in _parts(batch, size))
    features = tried("fp32", exact, ours, deciding(exact))
    apart = 0.0
    if maps is not None and our_maps is not None:
        apart = tried("fp32", maps, our_maps, lambda each: np.zeros(len(each), np.int64)).distance
    return Compared(len(batch), features.distance, apart, features.differing, runtime)


def _arrays(encoded: Iterator[Any]) -> tuple[FloatArray, FloatArray | None]:
    """Features (n, D) and maps (n, D * h * w), None without any, of batches."""
    found = [_pair(each) for each in encoded]
    features = np.concatenate([first for first, _ in found])
    if found[0][1] is None:
        return features, None
    return features, np.concatenate([maps for _, maps in found if maps is not None])


def _pair(encoded: Encoded | tuple[Tensor, Tensor | None]) -> tuple[FloatArray, FloatArray | None]:
    features, maps = encoded if isinstance(encoded, tuple) else (encoded.features, encoded.maps)
    return features.cpu().numpy(), None if maps is None else maps.flatten(1).cpu().numpy()


def _parts(batch: Tensor, size: int) -> Iterator[Tensor]:
    return (batch[start : start + size] for start in range(0, len(batch), size))


def speeds(
    model: Model, batch: Tensor, sizes: Mapping[Runtime, Sequence[int]], turns: int
) -> dict[tuple[Runtime, int], float]:
    """Images per second of runtimes in batches of some sizes, the best of several turns."""
    images = batch[:TIMED] if model.device == "cpu" else batch
    run: dict[Runtime, Callable[[Tensor], object]]
    run = {r: model.encode_by_torch if r == "eager" else model.program(r) for r in sizes}
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
    _wait()
    return max(time.perf_counter() - began, 1e-9)


def _wait() -> None:
    """Until a GPU has done what it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


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
        If that cannot run the network here.
    """
    runtime = compute.runtime
    if runtime != "eager" and (reason := why_not(model, runtime)):
        raise ModelError(
            f"audit {name!r} is computed by {RUNTIME_TITLES[runtime]}, which does not run "
            f"{model.name} here ({reason}), and the last bits of two runtimes must not be mixed: "
            "make it run, or start another audit with --runtime eager and another --name"
        )


def why_not(model: Model, runtime: Runtime = "onnx") -> str:
    """Why another runtime does not run a model here; empty where it does."""
    try:
        model.program(runtime)
    except ModelError as error:
        return str(error)
    return ""
