"""A network as a graph that ONNX Runtime runs: images in, features and maps out.

The forward pass that a model makes by torch is exported once, with the preprocessing that torch
does on the device, and computes the same numbers to the rounding of fp32. Every image goes through
it alone, on a core of its own: that keeps what a layer writes in the core's cache, no core waits
for another, and an image's numbers depend neither on its batch nor on the number of cores. What
needs gradients has no use for it. Graphs are kept in the user's own cache
(:mod:`core.storage.own_cache`) and are read from nowhere else.
"""

from __future__ import annotations

import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from core.config import GRAPH_BUDGET
from core.errors import ModelError
from core.models.trace import FORWARD_ERRORS
from core.storage.files import dumps
from core.storage.own_cache import OwnCache

if TYPE_CHECKING:
    from core.models.model import Model

PACKAGES = ("onnx", "onnxruntime")

PROBE = 1e-4
"""Largest difference from torch, relative to the largest entry, that a graph is believed with."""

SILENCE = "ORT_DISABLE_TELEMETRY"
"""Official builds of ONNX Runtime send what they are used for unless this is set before it is
imported (its Privacy.md); nothing is sent from here."""


class NoGraphError(ModelError):
    """Why another program cannot run a network; whoever asked runs it by torch."""


class Graph:
    """An exported network, ready to run in many threads. It is never changed, so never copied.

    Parameters
    ----------
    threads : images that are computed at a time.
    """

    def __init__(self, content: bytes, threads: int) -> None:
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # it says what it thinks on standard error
        self._session = runtime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="graph")

    def __deepcopy__(self, _: object) -> Graph:
        return self

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (B, D) and maps (B, D, h, w), where there are any, of uint8 (B, h, w, 3)."""
        images = batch.numpy()
        try:
            found = list(self._threads.map(self._run, np.split(images, len(images))))
        except _runtime_errors() as error:
            raise ModelError(f"ONNX Runtime: {line_of(error)}") from error
        tensors = [torch.from_numpy(np.concatenate(each)) for each in zip(*found, strict=True)]
        return tensors[0], tensors[1] if len(tensors) > 1 else None

    def _run(self, image: np.ndarray) -> list[np.ndarray]:
        found: list[np.ndarray] = self._session.run(None, {"images": image})
        return found


class Whole(nn.Module):
    """What :meth:`core.models.model.Model.encode` does, as a module."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network, self._encoder = model.network, model

    def forward(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Features, and maps where there are any, of uint8 images (B, h, w, 3)."""
        pixels = batch.permute(0, 3, 1, 2).float() / 255
        found = self._encoder.encode_with_slope(self._encoder.normalised(pixels))
        return (found.features,) if found.maps is None else (found.features, found.maps)


def missing() -> list[str]:
    """Packages that a graph needs and this machine lacks."""
    return [name for name in PACKAGES if find_spec(name) is None]


def graph_of(model: Model) -> Graph:
    """The graph of a model in fp32 on the CPU: the one kept, else exported and kept.

    Raises
    ------
    NoGraphError
        If a package is missing, or the network cannot be exported, or computes something else.
    """
    if lacking := missing():
        raise NoGraphError(f"pip install {' '.join(lacking)}")
    cache, key = OwnCache("graphs", GRAPH_BUDGET), graph_key(model)
    content = cache.read(key)
    graph = _believed(model, content or _exported(model))
    if content is None:
        cache.write(key, graph[1])
    return graph[0]


def graph_key(model: Model) -> str:
    """32 hex digits of everything that decides what is exported."""
    p, versions = model.preprocess, [metadata.version(name) for name in ("torch", *PACKAGES)]
    of = [model.name, model.weights_hash, repr(model.trace), p.input_size, p.mean, p.std, p.colours]
    text = dumps([1, *of, *versions])
    return blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def _exported(model: Model) -> bytes:
    """The forward pass as ONNX, for batches of any size."""
    whole = Whole(model).eval()  # the exporter puts a module back into the mode it found it in
    height, width = model.preprocess.input_size
    out, names = io.BytesIO(), ["features", "maps"][: 1 + (model.trace.maps is not None)]
    example = torch.zeros((2, height, width, 3), dtype=torch.uint8)
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")  # of constants that are meant to be some
            torch.onnx.export(
                whole,
                (example,),
                out,  # type: ignore[arg-type]
                dynamo=False,
                input_names=["images"],
                output_names=names,
                dynamic_axes={name: {0: "n"} for name in ("images", *names)},
            )
    except (*FORWARD_ERRORS, ImportError, OSError, MemoryError) as error:
        raise NoGraphError(line_of(error)) from error
    return out.getvalue()


def _believed(model: Model, content: bytes) -> tuple[Graph, bytes]:
    """A graph that computes what torch computes, of two images and of one."""
    errors: tuple[type[Exception], ...] = (*_runtime_errors(), *FORWARD_ERRORS)
    height, width = model.preprocess.input_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, height, width, 3), generator=generator, dtype=torch.uint8)
    try:
        graph = Graph(content, max(1, torch.get_num_threads()))
        for batch in (images, images[:1]):
            exact = model.encode_by_torch(batch)
            pairs = zip(graph(batch), (exact.features, exact.maps), strict=True)
            if not all(same(ours, theirs) for ours, theirs in pairs):
                raise NoGraphError("its graph computes something else")
    except errors as error:
        raise NoGraphError(line_of(error)) from error
    return graph, content


def same(ours: Tensor | None, theirs: Tensor | None) -> bool:
    """Whether two programs compute the same to the rounding of fp32."""
    if ours is None or theirs is None:
        return ours is theirs
    return ours.shape == theirs.shape and bool(
        (ours - theirs).abs().max() <= PROBE * theirs.abs().max()
    )


def _runtime() -> Any:
    """The package, which is told to send nothing when ``core`` is imported, and here."""
    os.environ[SILENCE] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What it raises: classes of its own without a common one."""
    _runtime()
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found = [each for each in vars(state).values() if isinstance(each, type)]
    return tuple(each for each in found if issubclass(each, Exception))


def line_of(error: Exception) -> str:
    """The first line of what another program says."""
    return "".join(str(error).splitlines()[:1])[:160] or type(error).__name__
