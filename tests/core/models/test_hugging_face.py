"""Classifiers that transformers saved to a folder; skipped where it is not installed."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core.audits.audit_requests import AuditRequest
from core.audits.run import run_audit
from core.data.preprocess import apply
from core.errors import ModelError
from core.models.hugging_face import _geometry, _normalisation
from core.models.load import load_model
from core.storage.workspace import Workspace

LABELS = {0: "red", 1: "green", 2: "blue"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"size": {"height": 32, "width": 48}}, ((32, 48), 1.0, "squash")),
        ({"size": 224}, ((224, 224), 1.0, "squash")),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224},
            ((224, 224), 0.875, "center"),
        ),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, ((224, 224), 0.875, "center")),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, ((384, 384), 1.0, "squash")),
    ],
)
def test_the_processor_s_geometry(said: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert _geometry(said) == expected


def test_the_processor_s_range() -> None:
    mean, std = _normalisation({"image_mean": [0.1] * 3, "image_std": [0.2] * 3})
    assert (mean, std) == (pytest.approx((0.1,) * 3), pytest.approx((0.2,) * 3))
    mean, std = _normalisation({"do_rescale": False, "do_normalize": False})
    assert (mean, std) == ((0.0,) * 3, pytest.approx((1 / 255,) * 3))
    assert _normalisation({"image_mean": None})[0] == (0.5,) * 3


def test_a_folder_that_is_none() -> None:
    with pytest.raises(ModelError, match="is no folder: give one that save_pretrained wrote"):
        load_model("hf:/nowhere/at/all")


def test_without_transformers_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ModelError, match="pip install transformers"):
        load_model(f"hf:{tmp_path}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny transformer with random weights and its processor."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        **{"intermediate_size": 32, "image_size": 32, "patch_size": 8},
        **{"id2label": LABELS, "label2id": {v: k for k, v in LABELS.items()}},
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "m")
    said = {"do_resize": True, "size": {"height": 32, "width": 32}, "resample": 3}
    said |= {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (tmp_path / "m" / "preprocessor_config.json").write_text(json.dumps(said))
    return tmp_path / "m"


def test_a_saved_classifier_gives_its_own_logits(folder: Path) -> None:
    from transformers import ViTForImageClassification

    model = load_model(f"hf:{folder}")
    assert model.outputs == ("red", "green", "blue")
    assert (model.preprocess.input_size, model.preprocess.interpolation) == ((32, 32), "bicubic")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    pixels = apply(model.preprocess, picture)
    logits = model.logits(model.encode(torch.from_numpy(pixels)[None]).features.numpy())
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    x = (x - torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)) / torch.tensor([0.4, 0.5, 0.6]).view(
        1, 3, 1, 1
    )
    with torch.inference_mode():
        expected = ViTForImageClassification.from_pretrained(folder)(pixel_values=x).logits
    np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-3, atol=1e-4)


def test_it_is_audited_end_to_end(folder: Path, tmp_path: Path) -> None:
    for label in LABELS.values():
        (tmp_path / "d" / label).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (32, 32), label).save(tmp_path / "d" / label / f"{i}.png")
    request = AuditRequest(str(tmp_path / "d"), f"hf:{folder}", name="hf", head="keep")
    audit = run_audit(request, Workspace(tmp_path / "w"))
    assert audit.manifest.head.mode == "keep"
    assert len(audit.classes) == 3


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub whose ``lab/tiny`` is the folder; what was asked for."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError
    from transformers.utils import hub as theirs

    asked: list[str] = []

    def download(repository: str, filename: str, **_: object) -> str:
        assert repository == "lab/tiny"
        asked.append(filename)
        if not (folder / filename).exists():
            raise EntryNotFoundError(f"no {filename}")
        kept = tmp_path / "hub" / "models--lab--tiny"
        copied, commit = kept / "snapshots" / ("0" * 40) / filename, kept / "refs" / "main"
        for place in (copied, commit):
            place.parent.mkdir(parents=True, exist_ok=True)
        commit.write_text("0" * 40)
        shutil.copy(folder / filename, copied)
        return str(copied)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for module in (huggingface_hub, theirs):
        monkeypatch.setattr(module, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: None)
    return asked


def test_a_name_on_the_hub_is_what_its_folder_is(folder: Path, hub: list[str]) -> None:
    named, local = load_model("hf:lab/tiny"), load_model(f"hf:{folder}")
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= set(hub)
    assert (named.outputs, named.preprocess) == (local.outputs, local.preprocess)
    one, other = (model.network.state_dict() for model in (named, local))
    assert all(torch.equal(one[name], other[name]) for name in one)
    (folder / "preprocessor_config.json").unlink()
    assert load_model("hf:lab/tiny").preprocess.mean == (0.5,) * 3


def test_without_a_network_a_name_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")

    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    said = "The weights of hf:lab/none are not on this machine and could not be downloaded"
    with pytest.raises(ModelError, match=said):
        load_model("hf:lab/none")


def test_weights_that_are_pickled_are_refused(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError):
        load_model(f"hf:{folder}")
