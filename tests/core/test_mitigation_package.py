"""Exported models give what the app gives; the card says what was done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import CheckpointError, InputError
from core.mitigation.package import export_model, missing_for, runnable, with_head, write_checkpoint
from core.models.checkpoint import read_checkpoint, read_facts, take_correction
from core.models.linear import Correction, Head
from core.models.load import _from_checkpoint, _Parts
from core.models.model import Model
from tests.tiny import FEATURES, SIZE, TinyNet, load_tiny

OUTPUTS = ["zebra", "ant", "moth", "bee"]


class Unbiased(TinyNet):
    """A head without a bias, of 1 x 1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(FEATURES, 3, 1, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.act(self.conv(images)))).flatten(1)


class FakeAudit:
    """What :func:`export_model` asks of an audit."""

    def __init__(self, model: Model, head: Head) -> None:
        self.model, self.head = model, head

    def load_model(self, *, exported: bool) -> Model:
        assert exported
        return self.model


def head_of(rng: np.random.Generator, *, corrected: bool) -> Head:
    """Another number of outputs than the network has."""
    correction = None
    if corrected:
        shapes = ((5, FEATURES), (5,), (4, 5))
        correction = Correction(*(rng.normal(size=s).astype(np.float32) for s in shapes))
    weight = rng.normal(size=(4, FEATURES)).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    return Head(weight, bias, OUTPUTS, OUTPUTS, "fit", correction)


@pytest.fixture(params=["tiny", "without bias"])
def model(request: pytest.FixtureRequest) -> Model:
    plain = load_tiny("timm:tiny")
    if request.param == "tiny":
        return plain
    return Model("timm:unbiased", Unbiased(), plain.preprocess)


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (7, SIZE, SIZE, 3), dtype=np.uint8)


def logits_of_app(model: Model, head: Head, pixels: np.ndarray) -> np.ndarray:
    return head.logits(model.encode(torch.from_numpy(pixels)).features.numpy())


def taken(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(pixels, 3, 1).astype(np.float32) / 255)


@pytest.mark.parametrize("corrected", [False, True])
def test_a_module_gives_what_the_app_gives(
    model: Model, pixels: np.ndarray, rng: np.random.Generator, corrected: bool
) -> None:
    head = head_of(rng, corrected=corrected)
    before = model.weights_hash
    found = runnable(model, head)(taken(pixels)).numpy()
    np.testing.assert_allclose(found, logits_of_app(model, head, pixels), atol=1e-4)
    from core.models.model import weights_hash

    assert weights_hash(model.network) == before


@pytest.mark.parametrize("corrected", [False, True])
def test_a_checkpoint_is_taken_back(
    model: Model, pixels: np.ndarray, rng: np.random.Generator, tmp_path: Path, corrected: bool
) -> None:
    head, path = head_of(rng, corrected=corrected), tmp_path / "m.safetensors"
    write_checkpoint(model, head, path)
    network = TinyNet() if isinstance(model.network.fc, nn.Linear) else Unbiased()
    parts = _Parts(network.eval(), model.preprocess, None)
    again = _from_checkpoint(model.name, parts, path, None)
    assert again.outputs == tuple(OUTPUTS)
    features = again.encode(torch.from_numpy(pixels)).features.numpy()
    np.testing.assert_allclose(
        again.logits(features), logits_of_app(model, head, pixels), atol=1e-4
    )
    other = Head(head.weight, head.bias, OUTPUTS, OUTPUTS, "fit", None)
    write_checkpoint(model, other, tmp_path / "n.safetensors")
    parts = _Parts(type(network)().eval(), model.preprocess, None)
    plain = _from_checkpoint(model.name, parts, tmp_path / "n.safetensors", None)
    assert (plain.weights_hash == again.weights_hash) == (not corrected)


def test_a_program_runs_without_this_package(
    model: Model, pixels: np.ndarray, rng: np.random.Generator, tmp_path: Path
) -> None:
    head, path = head_of(rng, corrected=True), tmp_path / "m.pt2"
    export_model(FakeAudit(model, head), "pt2", path)  # type: ignore[arg-type]
    program = torch.export.load(path).module()
    for n in (1, 7):  # any number of images
        found = program(taken(pixels[:n])).numpy()
        np.testing.assert_allclose(found, logits_of_app(model, head, pixels[:n]), atol=1e-4)


@pytest.mark.slow
def test_onnx_gives_what_the_app_gives(
    pixels: np.ndarray, rng: np.random.Generator, tmp_path: Path
) -> None:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    model, head, path = load_tiny("timm:tiny"), head_of(rng, corrected=True), tmp_path / "m.onnx"
    export_model(FakeAudit(model, head), "onnx", path)  # type: ignore[arg-type]
    session = runtime.InferenceSession(str(path))
    for n in (1, 7):
        (found,) = session.run(None, {"images": taken(pixels[:n]).numpy()})
        np.testing.assert_allclose(found, logits_of_app(model, head, pixels[:n]), atol=1e-4)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_the_bias_of_a_head_without_one_is_a_row_that_always_acts(
    rng: np.random.Generator,
) -> None:
    plain = Model("timm:unbiased", Unbiased(), load_tiny("timm:tiny").preprocess)
    head = head_of(rng, corrected=False)
    _, correction = with_head(plain, head)
    phi = rng.normal(size=(9, FEATURES)).astype(np.float32)
    np.testing.assert_allclose(
        correction.apply(phi, phi @ head.weight.T), head.logits(phi), atol=1e-5
    )


def test_facts_and_blocks_of_other_files(tmp_path: Path, rng: np.random.Generator) -> None:
    from safetensors.torch import save_file

    save_file({"fc.weight": torch.zeros(2, 3)}, tmp_path / "plain.safetensors")
    assert read_facts(tmp_path / "plain.safetensors") == {}
    assert read_facts(tmp_path / "other.pth") == {}
    assert take_correction(read_checkpoint(tmp_path / "plain.safetensors"), "it") is None
    whole: dict[str, Any] = {
        "correction.read": torch.ones(2, 3),
        "correction.offset": torch.ones(2),
        "correction.write": torch.ones(4, 2),
    }
    for broken in (
        {**whole, "correction.offset": torch.ones(3)},
        {**whole, "correction.write": torch.ones(4)},
        {"correction.read": torch.ones(2, 3)},
    ):
        with pytest.raises(CheckpointError, match="it has an incomplete correction"):
            take_correction(dict(broken), "it")
    del rng


def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit: Any = None
    with pytest.raises(InputError, match="--format 'h5': choose safetensors, pt2, onnx"):
        export_model(audit, "h5", tmp_path / "m.h5")
    with pytest.raises(InputError, match="must end in .pt2"):
        export_model(audit, "pt2", tmp_path / "m.onnx")
    monkeypatch.setattr("core.mitigation.package.find_spec", lambda _: None)
    assert missing_for("pt2") == []
    with pytest.raises(InputError, match="pip install onnx onnxscript onnxruntime"):
        export_model(audit, "onnx", tmp_path / "m.onnx")
