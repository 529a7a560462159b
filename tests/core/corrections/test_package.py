"""Exported models give what the app gives; the card says what was done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.corrections.package import (
    export_model,
    missing_for,
    runnable,
    with_head,
    write_checkpoint,
)
from core.errors import CheckpointError, InputError
from core.models.architecture import Architecture
from core.models.checkpoint import take_correction
from core.models.linear import Correction, Head
from core.models.load import _from_checkpoint
from core.models.model import Model
from core.models.weights import read_checkpoint, read_contents
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
    plain = load_tiny("tiny:net")
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
    parts = Architecture(network.eval(), model.preprocess, None)
    again = _from_checkpoint(model.name, parts, path, None)
    assert again.outputs == tuple(OUTPUTS)
    features = again.encode(torch.from_numpy(pixels)).features.numpy()
    np.testing.assert_allclose(
        again.logits(features), logits_of_app(model, head, pixels), atol=1e-4
    )
    other = Head(head.weight, head.bias, OUTPUTS, OUTPUTS, "fit", None)
    write_checkpoint(model, other, tmp_path / "n.safetensors")
    parts = Architecture(type(network)().eval(), model.preprocess, None)
    plain = _from_checkpoint(model.name, parts, tmp_path / "n.safetensors", None)
    assert (plain.weights_hash == again.weights_hash) == (not corrected)


def test_how_images_are_read_survives_the_file(
    pixels: np.ndarray, rng: np.random.Generator, tmp_path: Path
) -> None:
    said = {"crop_pct": 0.5, "crop_mode": "squash", "interpolation": "lanczos", "colours": "bgr"}
    asked = replace(
        load_tiny("tiny:net").preprocess,
        **{"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7), "levels": (0.0, 4095.0), **said},
    )
    model, head = Model("timm:tiny", TinyNet(), asked), head_of(rng, corrected=False)
    write_checkpoint(model, head, tmp_path / "m.safetensors")
    parts = Architecture(TinyNet().eval(), load_tiny("tiny:net").preprocess, None)
    again = _from_checkpoint("timm:tiny", parts, tmp_path / "m.safetensors", None)
    assert again.preprocess == asked
    features = again.encode(torch.from_numpy(pixels)).features.numpy()
    expected = logits_of_app(model, head, pixels)
    np.testing.assert_allclose(again.logits(features), expected, atol=1e-4)
    assert np.abs(expected - logits_of_app(load_tiny("tiny:net"), head, pixels)).max() > 0.1
    np.testing.assert_allclose(runnable(model, head)(taken(pixels)).numpy(), expected, atol=1e-4)


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
    model, head, path = load_tiny("tiny:net"), head_of(rng, corrected=True), tmp_path / "m.onnx"
    export_model(FakeAudit(model, head), "onnx", path)  # type: ignore[arg-type]
    session = runtime.InferenceSession(str(path))
    for n in (1, 7):
        (found,) = session.run(None, {"images": taken(pixels[:n]).numpy()})
        np.testing.assert_allclose(found, logits_of_app(model, head, pixels[:n]), atol=1e-4)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_the_bias_of_a_head_without_one_is_a_row_that_always_acts(
    rng: np.random.Generator,
) -> None:
    plain = Model("timm:unbiased", Unbiased(), load_tiny("tiny:net").preprocess)
    head = head_of(rng, corrected=False)
    _, correction = with_head(plain, head)
    phi = rng.normal(size=(9, FEATURES)).astype(np.float32)
    np.testing.assert_allclose(
        correction.apply(phi, phi @ head.weight.T), head.logits(phi), atol=1e-5
    )


def test_facts_and_blocks_of_other_files(tmp_path: Path, rng: np.random.Generator) -> None:
    from safetensors.torch import save_file

    save_file({"fc.weight": torch.zeros(2, 3)}, tmp_path / "plain.safetensors")
    assert read_contents(tmp_path / "plain.safetensors").facts is None
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


def correction_of(k: int = 4, m: int = 2, d: int = FEATURES) -> dict[str, torch.Tensor]:
    return {
        "correction.read": torch.ones(m, d),
        "correction.offset": torch.zeros(m),
        "correction.write": torch.ones(k, m),
    }


def saved_again(target: Path, state: dict[str, torch.Tensor], facts: object = None) -> Path:
    """A corrected model saved by another program: other tensors, another header or none."""
    from safetensors.torch import save_file

    metadata = None if facts is None else {"spurioscope": json.dumps(facts)}
    if target.suffix == ".safetensors":
        save_file({n: t.contiguous() for n, t in state.items()}, target, metadata)
    else:
        torch.save(state, target)
    return target


def load(path: Path) -> Model:
    plain = load_tiny("tiny:net")
    return _from_checkpoint(
        "tiny:net", Architecture(TinyNet().eval(), plain.preprocess, None), path, None
    )


@pytest.fixture
def exported(rng: np.random.Generator, tmp_path: Path) -> Path:
    path = tmp_path / "exported.safetensors"
    write_checkpoint(load_tiny("tiny:net"), head_of(rng, corrected=True), path)
    return path


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("prefix", ["", "module.", "wrapped.by.hand."])
def test_a_correction_without_its_header_is_applied_and_told(
    exported: Path, pixels: np.ndarray, name: str, prefix: str
) -> None:
    state = {
        (prefix if "correction" in part else "") + part: t
        for part, t in read_checkpoint(exported).items()
    }
    again = load(saved_again(exported.with_name(name), state))
    whole = load(exported)
    features = whole.encode(torch.from_numpy(pixels)).features.numpy()
    np.testing.assert_allclose(again.logits(features), whole.logits(features), atol=1e-5)
    assert again.weights_hash == whole.weights_hash
    assert any("lost its header: its correction of 5 rows is applied" in n for n in again.notes)


def test_a_correction_beside_the_weights_of_a_pickle_is_applied(exported: Path) -> None:
    state = read_checkpoint(exported)
    parts = {name: state.pop(name) for name in list(state) if "correction" in name}
    short = {name.removeprefix("correction."): tensor for name, tensor in parts.items()}
    for content in (
        {"state_dict": state, **parts},
        {"model": state, "correction": short},
        {**state, "correction": short},
    ):
        torch.save(content, exported.with_suffix(".pth"))
        assert load(exported.with_suffix(".pth")).weights_hash == load(exported).weights_hash


def test_a_correction_that_its_header_promises_must_be_there(exported: Path) -> None:
    state = {n: t for n, t in read_checkpoint(exported).items() if "correction" not in n}
    facts = json.loads(header_of(exported))
    assert facts["correction"] == 5
    path = saved_again(exported.with_name("a.safetensors"), state, facts)
    with pytest.raises(CheckpointError, match="correction of 5 rows by its header, but has 0"):
        load(path)
    fewer = state | correction_of()
    with pytest.raises(CheckpointError, match="correction of 5 rows by its header, but has 2"):
        load(saved_again(path, fewer, facts))
    with pytest.raises(CheckpointError, match="correction of 0 rows by its header, but has 2"):
        load(saved_again(path, fewer, {**facts, "correction": 0}))


def test_headers_older_than_the_entry_of_the_correction_are_read(exported: Path) -> None:
    facts = json.loads(header_of(exported))
    del facts["correction"]
    path = exported.with_name("a.safetensors")
    again = load(saved_again(path, read_checkpoint(exported), facts))
    assert again.weights_hash == load(exported).weights_hash
    assert again.outputs == tuple(OUTPUTS)
    assert again.notes == load(exported).notes


def header_of(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return str(file.metadata()["spurioscope"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"outputs": ["ant", "ant", "moth", "bee"]}, "its outputs must be different labels"),
        ({"outputs": None}, "its outputs must be different labels, not None"),
        ({"outputs": "abcd"}, "its outputs must be different labels"),
        ({"outputs": [1, 2, 3, 4]}, "its outputs must be different labels"),
        ({"outputs": ["ant", "moth"]}, "names 2 outputs in its header, but its head has 4"),
        ({"mean": None}, "its mean must be three numbers"),
        ({"mean": [0.1, 0.2]}, "its mean must be three numbers"),
        ({"mean": [0.1, 0.2, float("nan")]}, "its mean must be three numbers"),
        ({"std": 0.5}, "its std must be three numbers"),
        ({"std": ["0.1", "0.1", "0.1"]}, "its std must be three numbers"),
        ({"std": [0.1, 0.0, 0.1]}, "its std must be three numbers from 0.0001"),
        ({"std": [0.1, -0.1, 0.1]}, "its std must be three numbers from 0.0001"),
        ({"std": [True, True, True]}, "its std must be three numbers"),
        ({"correction": "yes"}, "its correction must be a number of rows"),
        ({"correction": True}, "its correction must be a number of rows"),
        ({"correction": -1}, "its correction must be a number of rows"),
    ],
)
def test_headers_that_cannot_be_right_are_refused(
    exported: Path, changed: dict[str, object], message: str
) -> None:
    facts = {**json.loads(header_of(exported)), **changed}
    path = exported.with_name("a.safetensors")
    with pytest.raises(CheckpointError, match=f"a.safetensors.*{message}.*xport the corrected"):
        load(saved_again(path, read_checkpoint(exported), facts))


@pytest.mark.parametrize("text", ["[]", "3", "{}", "null", "", "{", "[" * 10**5])
def test_headers_of_another_kind_are_refused(exported: Path, text: str) -> None:
    from safetensors.torch import save_file

    path = exported.with_name("a.safetensors")
    save_file(read_checkpoint(exported), path, {"spurioscope": text})
    with pytest.raises(CheckpointError, match="has a damaged header"):
        load(path)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (correction_of(k=3), "correction of 12 features and 3 outputs for a head of 12 and 4"),
        (correction_of(d=7), "correction of 7 features and 4 outputs for a head of 12 and 4"),
        ({**correction_of(), "correction.read": torch.ones(1, FEATURES)}, "incomplete correction"),
        ({**correction_of(), "correction.offset": torch.tensor([0, torch.nan])}, "NaN or infinity"),
        ({**correction_of(), "correction.write": torch.ones(4, 2) / 0}, "NaN or infinity"),
        ({**correction_of(), "correction.read": torch.ones(2, FEATURES).int()}, "as int32"),
        ({**correction_of(), "module.correction.read": torch.zeros(2, FEATURES)}, "that differ in"),
    ],
)
def test_corrections_that_fit_no_head_or_are_not_finite_are_refused(
    exported: Path, block: dict[str, torch.Tensor], message: str
) -> None:
    state = {n: t for n, t in read_checkpoint(exported).items() if "correction" not in n}
    path = exported.with_name("a.safetensors")
    with pytest.raises(CheckpointError, match=f"a.safetensors.*{message}"):
        load(saved_again(path, state | block))


def test_a_corrected_model_without_its_head_is_refused(exported: Path) -> None:
    state = {n: t for n, t in read_checkpoint(exported).items() if not n.startswith("fc.")}
    path = exported.with_name("a.safetensors")
    for facts in (None, json.loads(header_of(exported))):
        with pytest.raises(CheckpointError, match="a corrected model without its head"):
            load(saved_again(path, state, facts))


def test_a_network_with_a_module_named_correction_keeps_it() -> None:
    state = {"correction.read": torch.ones(2, 3), "module.correction.write": torch.ones(4, 2)}
    kept = dict(state)
    assert take_correction(state, "it", ("correction.read", "correction.write")) is None
    assert state == kept


def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit: Any = None
    with pytest.raises(InputError, match="--format 'h5': choose safetensors, pt2, onnx"):
        export_model(audit, "h5", tmp_path / "m.h5")
    with pytest.raises(InputError, match="must end in .pt2"):
        export_model(audit, "pt2", tmp_path / "m.onnx")
    monkeypatch.setattr("core.corrections.package.find_spec", lambda _: None)
    assert missing_for("pt2") == []
    with pytest.raises(InputError, match="pip install onnx onnxscript onnxruntime"):
        export_model(audit, "onnx", tmp_path / "m.onnx")
