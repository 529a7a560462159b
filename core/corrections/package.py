"""The corrected model as a file that other programs run: weights, graph, ONNX.

``.safetensors`` holds the network's weights with the corrected head, a ``correction`` block where
the correction is no plain weight, and what the outputs are: ``--checkpoint`` takes it back.
``.pt2`` (torch.export) and ``.onnx`` take RGB images (B, 3, h, w) float32 in [0, 1], as the encoder
sees them, and give logits (B, K); normalisation, order of channels and correction are inside.
"""

from __future__ import annotations

import copy
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.audits.audit import Audit
from core.errors import InputError
from core.models.linear import CORRECTION, Correction, Head
from core.storage.files import dumps, replacing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.models.model import Model

FORMATS = {"safetensors": ".safetensors", "pt2": ".pt2", "onnx": ".onnx"}
"""Format: ending of the file."""

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
ELSEWHERE = "choose another --out"


def missing_for(kind: str) -> list[str]:
    """Packages that a format needs and this machine lacks."""
    return [n for n in ONNX_PACKAGES if find_spec(n) is None] if kind == "onnx" else []


def export_model(audit: Audit, kind: str, out: Path) -> None:
    """Write the audited model, corrected or not.

    Raises
    ------
    InputError
        If the format is unknown, the file's name ends in anything else, or a package is missing.
    """
    if kind not in FORMATS:
        raise InputError(f"--format {kind!r}: choose {', '.join(FORMATS)}")
    if out.suffix != FORMATS[kind]:
        raise InputError(f"--out {out}: the name must end in {FORMATS[kind]}")
    if lacking := missing_for(kind):
        raise InputError(f"--format {kind} needs packages: pip install {' '.join(lacking)}")
    model = audit.load_model(exported=True)
    if kind == "safetensors":
        write_checkpoint(model, audit.head, out)
        return
    network = runnable(model, audit.head)
    with replacing(out, ELSEWHERE) as temporary:
        (_write_program if kind == "pt2" else _write_onnx)(network, model, temporary)


def write_checkpoint(model: Model, head: Head, out: Path) -> None:
    """Weights of a model with another head as ``.safetensors``, in one step."""
    from safetensors.torch import save

    from core.models.weights import FACTS

    network, correction = with_head(model, head)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    if correction is not None:
        import torch

        for name in CORRECTION:
            array = np.ascontiguousarray(getattr(correction, name), np.float32)
            state[f"correction.{name}"] = torch.from_numpy(array.copy())
    facts = {
        "model": model.name,
        "outputs": list(head.outputs),
        "mean": list(model.preprocess.mean),
        "std": list(model.preprocess.std),
        "preprocess": asdict(model.preprocess),
        "correction": 0 if correction is None else len(correction.read),
    }
    content = save(_unshared(state), metadata={"format": "pt", FACTS: dumps(facts)})
    with replacing(out, ELSEWHERE) as temporary:
        temporary.write_bytes(content)


def _unshared(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share no memory: tied weights are written twice."""
    return {name: tensor.clone() for name, tensor in state.items()}


def with_head(model: Model, head: Head) -> tuple[nn.Module, Correction | None]:
    """A copy of the network with the rows of a head, and what its weights cannot hold.

    A network whose head has no bias keeps none: the bias then is a row of the correction that acts
    always (read 0, offset -1).
    """
    import torch

    from core.models.trace import resize_head

    network = copy.deepcopy(model.network)
    resize_head(network, model.trace.head, len(head.weight))
    layer: Any = network.get_submodule(model.trace.head)
    correction = head.correction
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(head.weight)).view_as(layer.weight))
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(np.array(head.bias)))
        elif np.any(head.bias):
            correction = _with_constant(correction, head)
    return network.eval().requires_grad_(False), correction


def _with_constant(correction: Correction | None, head: Head) -> Correction:
    d, k = head.weight.shape[1], len(head.bias)
    old = correction or Correction(*(np.zeros(s, np.float32) for s in ((0, d), (0,), (k, 0))))
    return Correction(
        np.concatenate([old.read, np.zeros((1, d), np.float32)]),
        np.append(old.offset, np.float32(-1)),
        np.concatenate([old.write, -np.asarray(head.bias, np.float32)[:, None]], axis=1),
    )


def runnable(model: Model, head: Head) -> nn.Module:
    """Images (B, 3, h, w) in [0, 1] to corrected logits (B, K), as one module on the CPU."""
    import torch
    from torch import nn

    network, correction = with_head(model, head)

    class CorrectedHead(nn.Module):
        """The linear head, less what the correction takes off."""

        read: Tensor
        offset: Tensor
        write: Tensor

        def __init__(self, linear: nn.Module, found: Correction) -> None:
            super().__init__()
            self.linear = linear
            for name in CORRECTION:
                array = np.array(getattr(found, name), np.float32)
                self.register_buffer(name, torch.from_numpy(array))

        def forward(self, features: Tensor) -> Tensor:
            above = torch.relu(features.flatten(1) @ self.read.T - self.offset)
            logits: Tensor = self.linear(features).flatten(1) - above @ self.write.T
            return logits

    class Classifier(nn.Module):
        """Normalisation, network, corrected head."""

        mean: Tensor
        std: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            for name in ("mean", "std"):
                values = torch.tensor(getattr(model.preprocess, name)).view(1, 3, 1, 1)
                self.register_buffer(name, values)

        def forward(self, images: Tensor) -> Tensor:
            pixels = images.flip(1) if model.preprocess.colours == "bgr" else images
            found: Tensor = self.network((pixels - self.mean) / self.std)
            return found

    if correction is not None:
        parent, _, name = model.trace.head.rpartition(".")
        place = network.get_submodule(parent)
        setattr(place, name, CorrectedHead(getattr(place, name), correction))
    return Classifier().eval().requires_grad_(False)


def _example(model: Model) -> Tensor:
    import torch

    return torch.rand(2, 3, *model.preprocess.input_size)


def _write_program(network: nn.Module, model: Model, path: Path) -> None:
    """torch.export with any number of images."""
    import torch

    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, (_example(model),), dynamic_shapes=({0: batch},))
    with path.open("wb") as file:
        torch.export.save(program, file)


def _write_onnx(network: nn.Module, model: Model, path: Path) -> None:
    """ONNX with any number of images, everything in one file."""
    import torch

    program = torch.onnx.export(
        network,
        (_example(model),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        input_names=["images"],
        output_names=["logits"],
        verbose=False,
    )
    assert program is not None
    program.save(str(path), external_data=False)
