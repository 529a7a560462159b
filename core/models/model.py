"""A classifier as this package sees it: an encoder, a linear head and its preprocessing."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.errors import ModelError
from core.models.compiled import Compiled, compiled_of
from core.models.device import arithmetic
from core.models.graph import Graph, NoGraphError, graph_of
from core.models.linear import Correction, Head
from core.models.normalisation import THREE, usable
from core.models.positions import Layout
from core.models.trace import MapKind, MapSource, captured, trace_network
from core.types import Precision, Preprocess, Runtime

DTYPES: dict[str, torch.dtype] = {
    **{"fp32": torch.float32, "tf32": torch.float32},
    **{"fp16": torch.float16, "bf16": torch.bfloat16},
}
"""Of the weights and activations."""

MAKING = threading.Lock()
"""Held while a graph is made: an exporter changes the network that it looks at."""

Program = Graph | Compiled
PROGRAMS: Mapping[Runtime, Callable[[Model], Program]] = {
    "onnx": lambda model: graph_of(model),
    "compiled": lambda model: compiled_of(model),
}

ROUNDED = ("fp16", "bf16")
"""Those whose weights are no longer what was loaded."""


@dataclass(frozen=True)
class Encoded:
    """What one forward pass says about a batch."""

    features: Tensor
    """(B, D) float32, the input of the linear head."""
    maps: Tensor | None
    """(B, D, h, w) at run precision; its float32 mean over positions is exactly ``features``.
    None where ``map_kind`` is ``none``."""


@dataclass(frozen=True)
class CamPass:
    """A forward pass to differentiate: features and the tensor a class activation map reads."""

    features: Tensor
    """(B, D) float32, with gradient."""
    tensor: Tensor
    """As the network lays it out; differentiate with respect to this one."""
    layout: Layout
    """``layout.to_maps`` views the tensor, or its gradient, as (B, C, h, w)."""


class Model:
    """An encoder with its linear head, ready to run.

    The logits are ``features @ weight.T + bias``, less the correction where there is one. With maps
    (``map_kind`` ``exact`` or ``frozen_norm``) the features are the mean of the maps over
    positions, so that every linear logit is the mean of a map of logits. ``frozen_norm``: a norm
    layer sits between pooling and head; its statistics are those of the pooled vector of the same
    image, held fixed at every position.

    Parameters
    ----------
    network : in fp32 on the CPU. It becomes part of the model: eval mode, weights frozen.
    outputs : K raw labels, None where nothing says what the outputs mean.
    output_names : K names for people; by default the labels, or ``output 0`` and so on.
    head_trained : False where the head has random weights and must be fitted first.
    correction : what a checkpoint takes off the linear logits.

    Raises
    ------
    ModelError
        If the network has no linear head, ``outputs`` are not as many as the head has rows, or
        images cannot be normalised with the mean or std.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        preprocess: Preprocess,
        *,
        outputs: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        head_trained: bool = True,
        notes: Sequence[str] = (),
        correction: Correction | None = None,
    ) -> None:
        _check_normalisation(name, preprocess)
        self.name = name
        self.network = network.eval()
        self.preprocess = preprocess
        self.head_trained = head_trained
        self.trace = trace_network(self.network, preprocess.input_size)
        self.network.requires_grad_(False)
        self.weight, self.bias = _head_arrays(self.network.get_submodule(self.trace.head))
        self.outputs = self.own_outputs = _checked(name, outputs, len(self.weight))
        self.output_names = tuple(output_names or self.outputs or _numbered(len(self.weight)))
        self.correction = correction
        self.weights_hash = weights_hash(self.network, correction)
        self.notes = (*notes, *_notes(self.trace.map_kind))
        self.device = "cpu"
        self.precision: Precision = "fp32"
        self.runtime: Runtime = "eager"
        self._programs: dict[Runtime, Program | NoGraphError] = {}

    @property
    def map_kind(self) -> MapKind:
        """``exact``, ``frozen_norm`` or ``none``; see the class."""
        return self.trace.map_kind

    @property
    def map_grid(self) -> tuple[int, int] | None:
        """Rows and columns of the maps."""
        return self.trace.maps.layout.grid if self.trace.maps else None

    @property
    def n_features(self) -> int:
        """D, the width of the head's input."""
        return self.trace.n_features

    @property
    def grad_layer(self) -> nn.Module | None:
        """Last module whose output has positions that the features depend on."""
        return self.network.get_submodule(self.trace.cam.site.module) if self.trace.cam else None

    @property
    def grad_layout(self) -> Layout | None:
        """Layout of ``grad_layer``'s output."""
        return self.trace.cam.layout if self.trace.cam else None

    def to(self, device: str, precision: Precision = "fp32") -> Model:
        """Move to a device and precision, in place.

        Raises
        ------
        ModelError
            If a model in bf16 or fp16 is asked back to fp32: its weights have been rounded.
        """
        if self.precision in ROUNDED and precision != self.precision:
            raise ModelError(
                f"{self.name} runs in {self.precision} and has lost its fp32 weights: reload it."
            )
        self.network.to(device=device, dtype=DTYPES[precision])
        self.network.to(memory_format=torch.channels_last)
        if device != self.device:
            self._programs.pop("compiled", None)
        self.device, self.precision, self.runtime = device, precision, "eager"
        return self

    def use_runtime(self, runtime: Runtime) -> Model:
        """Say what runs forward passes without gradients, in place, until the model is moved.

        A graph is made when the first image comes; where there can be none, torch runs them.
        """
        here = runtime == "compiled" or self.device == "cpu"
        self.runtime = runtime if here and self.precision == "fp32" else "eager"
        return self

    def program(self, runtime: Runtime) -> Program:
        """What runs the network in place of torch, made once for a device.

        Raises
        ------
        NoGraphError
            If it cannot run it here.
        """
        with MAKING:
            if runtime not in self._programs:
                try:
                    self._programs[runtime] = PROGRAMS[runtime](self)
                except NoGraphError as error:
                    self._programs[runtime] = error
        found = self._programs[runtime]
        if isinstance(found, NoGraphError):
            raise found
        return found

    def normalise(self, batch: Tensor) -> Tensor:
        """Normalised images (B, 3, h, w) float32 on the model's device, from uint8 (B, h, w, 3).

        Raises
        ------
        ModelError
            If the batch has another type or shape.
        """
        self._check(batch)
        return self.normalised(batch.to(self.device).permute(0, 3, 1, 2).float().div_(255))

    def normalised(self, pixels: Tensor) -> Tensor:
        """The same of images (B, 3, h, w) float32 in [0, 1], keeping the gradient to them."""
        if self.preprocess.colours == "bgr":
            pixels = pixels.flip(1)
        mean, std = (
            torch.tensor(values, device=self.device).view(1, 3, 1, 1)
            for values in (self.preprocess.mean, self.preprocess.std)
        )
        return (pixels.to(self.device) - mean).div_(std)

    def _check(self, batch: Tensor) -> None:
        if batch.dtype != torch.uint8 or batch.ndim != 4 or batch.shape[3] != 3:
            raise ModelError(
                f"{self.name} was given a batch {tuple(batch.shape)} of {batch.dtype}: "
                "give uint8 images (B, h, w, 3)."
            )

    def encode(self, batch: Tensor) -> Encoded:
        """Features and maps of uint8 images (B, h, w, 3), by one forward pass of its runtime."""
        if self.runtime != "eager":
            self._check(batch)
            with contextlib.suppress(NoGraphError):
                return Encoded(*self.program(self.runtime)(batch))
        return self.encode_by_torch(batch)

    def encode_by_torch(self, batch: Tensor) -> Encoded:
        """The same by torch, whatever the runtime."""
        with torch.inference_mode():
            return self.encode_with_slope(self.normalise(batch))

    def encode_with_slope(self, batch: Tensor) -> Encoded:
        """Features and maps of normalised images, keeping the gradient to the images."""
        source, entry = self.trace.maps, self.trace.features
        sites = [entry] if source is None else [source.site]
        with captured(self.network, sites) as caught:
            self._run(batch)
            if source is None:
                return Encoded(caught[entry].flatten(1).float(), None)
            maps = _maps_of(caught[source.site], source)
            return Encoded(maps.mean((2, 3), dtype=torch.float32), maps)

    def features_of(self, batch: Tensor) -> Tensor:
        """Features (B, D) float32 of normalised images, keeping the gradient to the images."""
        with captured(self.network, [self.trace.features]) as caught:
            self._run(batch)
        return caught[self.trace.features].flatten(1).float()

    def maps_of(self, batch: Tensor) -> Tensor:
        """Maps (B, D, h, w) of normalised images whose mean the features are, with the gradient.

        Raises
        ------
        ModelError
            If the features are not the mean of maps.
        """
        source = self.trace.maps
        if source is None:
            raise ModelError(f"{self.name} has no maps whose mean the features are.")
        with captured(self.network, [source.site]) as caught:
            self._run(batch)
            return _maps_of(caught[source.site], source)

    def cam_tensor(self, batch: Tensor) -> CamPass:
        """Features of normalised images together with the tensor at ``grad_layer``.

        Weights are frozen: ``batch`` is made to require a gradient so that there is a graph.

        Raises
        ------
        ModelError
            If the network has no tensor with positions.
        """
        cam, entry = self.trace.cam, self.trace.features
        if cam is None:
            raise ModelError(f"{self.name} has no layer with positions: use pixel gradients.")
        with torch.enable_grad(), captured(self.network, [cam.site, entry]) as caught:
            self._run(batch if batch.requires_grad else batch.detach().requires_grad_())
            features = caught[entry].flatten(1).float()
        return CamPass(features, caught[cam.site], cam.layout)

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (B, K) float32 of features (B, D)."""
        found: NDArray[np.float32] = np.asarray(features, np.float32) @ self.weight.T + self.bias
        return self.correction.apply(features, found) if self.correction else found

    def scores(self, batch: Tensor) -> Tensor:
        """Logits (B, K) float32 of normalised images, keeping the gradient to the images."""
        return self.scores_of(self.features_of(batch))

    def scores_of(self, features: Tensor) -> Tensor:
        """Logits (B, K) float32 of features (B, D), keeping the gradient."""
        found = features @ self._tensor(self.weight).T + self._tensor(self.bias)
        if (acts := self.correction) is None:
            return found
        above = (features @ self._tensor(acts.read).T - self._tensor(acts.offset)).relu()
        return found - above @ self._tensor(acts.write).T

    def _tensor(self, array: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.asarray(array, np.float32)).to(self.device)

    @property
    def head(self) -> Head:
        """The head that the logits are of."""
        names = list(self.output_names)
        outputs = list(self.outputs or names)
        return Head(self.weight, self.bias, outputs, names, "keep", self.correction)

    def name_outputs(self, outputs: Sequence[str]) -> None:
        """Say what the outputs mean, in place.

        Raises
        ------
        ModelError
            If there are not as many labels as outputs.
        """
        self.outputs = self.own_outputs = _checked(self.name, outputs, len(self.weight))
        self.output_names = tuple(outputs)

    def use_head(self, head: Head) -> Model:
        """Make the logits those of another head, in place; the network keeps its own."""
        self.weight, self.bias = np.asarray(head.weight), np.asarray(head.bias)
        self.correction, self.outputs = head.correction, tuple(head.outputs)
        self.output_names = tuple(head.names)
        return self

    def _run(self, batch: Tensor) -> None:
        images = batch.to(self.device, DTYPES[self.precision])
        with arithmetic(self.device, self.precision):
            self.network(images.contiguous(memory_format=torch.channels_last))


def weights_hash(network: nn.Module, correction: Correction | None = None) -> str:
    """32 hex digits from the names, types, shapes and bytes of all weights, in order of name."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (correction.read, correction.offset, correction.write) if correction else ():
        digest.update(f"correction {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array, np.float32).tobytes())
    for name, tensor in sorted(network.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _maps_of(captured_tensor: Tensor, source: MapSource) -> Tensor:
    maps = source.layout.to_maps(captured_tensor)
    if source.relu:
        maps = maps.relu()
    if source.norm is None:
        return maps
    scale, shift = source.norm.affine(maps.mean((2, 3), dtype=torch.float32))
    affine = torch.addcmul(shift[:, :, None, None], maps.float(), scale[:, :, None, None])
    return affine.to(maps.dtype)


def _head_arrays(head: nn.Module) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weight = cast(Tensor, head.weight).detach().float().flatten(1).numpy().copy()
    bias = cast(Tensor | None, head.bias)
    if bias is None:
        return weight, np.zeros(len(weight), dtype=np.float32)
    return weight, bias.detach().float().numpy().copy()


def _checked(name: str, outputs: Sequence[str] | None, rows: int) -> tuple[str, ...] | None:
    if outputs is None:
        return None
    if len(outputs) != rows:
        raise ModelError(
            f"{name} has {rows} outputs but {len(outputs)} output labels: give one per output."
        )
    return tuple(outputs)


def _check_normalisation(name: str, preprocess: Preprocess) -> None:
    for part, values in (("mean", preprocess.mean), ("std", preprocess.std)):
        if not usable(part, values):
            raise ModelError(f"{name} normalises images with {part} {values}: give {THREE[part]}.")


def _numbered(count: int) -> list[str]:
    return [f"output {index}" for index in range(count)]


def _notes(kind: MapKind) -> tuple[str, ...]:
    if kind == "frozen_norm":
        return (
            "A norm layer follows the pooling: maps hold its statistics fixed, image by image.",
        )
    if kind == "none":
        return ("The features are not a mean of maps: heatmaps come from gradients.",)
    return ()
