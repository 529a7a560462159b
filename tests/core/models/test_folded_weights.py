"""Weights that a file keeps in parts: what torch itself makes of them; what has none is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from core.errors import CheckpointError
from core.models.archive import check_archive
from core.models.checkpoint import fit_checkpoint
from tests.tiny import SIZE, TinyNet

WAYS: dict[str, Callable[[nn.Module], object]] = {
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5),
    "pruned bias": lambda layer: prune.random_unstructured(layer, "bias", amount=0.5),
    "weight norm": weight_norm,
    "weight norm over all": lambda layer: weight_norm(layer, dim=None),
    "weight norm, new": parametrizations.weight_norm,
    "spectral norm": spectral_norm,
    "spectral norm, new": parametrizations.spectral_norm,
}


def images() -> Tensor:
    return torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("part", ["conv", "fc"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_they_are_put_together(way: Callable[[nn.Module], object], part: str) -> None:
    theirs = TinyNet()
    with torch.no_grad():
        for tensor in theirs.parameters():
            tensor.mul_(1.5).add_(0.1)
    way(theirs.get_submodule(part))
    theirs.train()(images())  # what is learnt of a spectrum is no longer what it began with
    mine = TinyNet()
    state = {f"module.{name}": tensor.clone() for name, tensor in theirs.state_dict().items()}
    found = fit_checkpoint(state, mine, head="fc")
    assert found.head_loaded
    assert "are put together: module." in found.notes[0]
    with torch.inference_mode():
        expected = theirs.eval()(images()).numpy()
        np.testing.assert_allclose(mine.eval()(images()).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_what_has_no_weights_is_refused(tmp_path: Path) -> None:
    state = TinyNet().state_dict()
    adapted = {**state, "fc.lora_A.default.weight": torch.ones(2, 12)}
    with pytest.raises(CheckpointError, match=r"adapters \(LoRA\) beside its weights: merge"):
        fit_checkpoint(adapted, TinyNet(), head="fc")
    scaled = {**state, "fc.scale": torch.tensor(1.0), "fc.zero_point": torch.tensor(0)}
    with pytest.raises(CheckpointError, match="quantised weights: save the state dict"):
        fit_checkpoint(scaled, TinyNet(), head="fc")
    (tmp_path / "m.pth").write_bytes(b"\x08\x0a\x12\x07pytorch\x1a\x052.0.0:" + bytes(100))
    with pytest.raises(CheckpointError, match="is an ONNX graph"):
        check_archive(tmp_path / "m.pth")


@pytest.mark.parametrize("names", [("0.", "1."), ("", "model."), ("pixel_", "model.")])
def test_a_plain_mean_and_std_are_a_normalisation(names: tuple[str, str]) -> None:
    before, inside = names
    state = {f"{inside}{name}": tensor for name, tensor in TinyNet().state_dict().items()}
    layer = {"mean": torch.tensor([0.1, 0.2, 0.3]), "std": torch.tensor([0.4, 0.5, 0.6])}
    said = {f"{before}{part}": tensor.view(1, 3, 1, 1) for part, tensor in layer.items()}
    found = fit_checkpoint({**state, **said}, TinyNet(), head="fc")
    assert found.mean == pytest.approx((0.1, 0.2, 0.3))
    assert found.std == pytest.approx((0.4, 0.5, 0.6))
    lone = copy.copy(state) | {f"{before}mean": torch.zeros(3)}
    found = fit_checkpoint(lone, TinyNet(), head="fc")
    assert found.mean is None
    assert f"{before}mean" in found.unexpected


def test_a_network_that_repeats_names_inside_has_no_copies() -> None:
    """``bn1.weight`` and ``layer1.0.bn1.weight`` are two tensors of one network."""
    from timm import create_model

    network = create_model("test_resnet", num_classes=3)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(torch.rand_like(tensor))
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    found = fit_checkpoint(state, create_model("test_resnet", num_classes=3), head="fc")
    assert found.notes == ()
