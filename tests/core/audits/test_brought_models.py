"""Networks that are no plain classifiers, audited from start to finish."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.run import run_audit
from core.data.preprocess import apply
from core.storage.workspace import Workspace


def audited(tmp_path: Path, name: str, network: nn.Module) -> Audit:
    """An audit of noisy red and green images with saved weights."""
    rng = np.random.default_rng(0)
    for channel, label in enumerate(("green", "red")):
        (tmp_path / "d" / label).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 60, (40, 40, 3), np.uint8)
            pixels[..., 1 - channel] += 150
            Image.fromarray(pixels).save(tmp_path / "d" / label / f"{i}.png")
    torch.save(network.state_dict(), tmp_path / "a.pth")
    request = AuditRequest(str(tmp_path / "d"), name, name="a", checkpoint=tmp_path / "a.pth")
    return run_audit(request, Workspace(tmp_path / "w"))


@pytest.mark.parametrize("kind", ["test_vit", "test_vit4"])
def test_an_encoder_without_a_classifier_gets_a_probe(tmp_path: Path, kind: str) -> None:
    audit = audited(tmp_path, f"timm:{kind}", timm.create_model(kind, num_classes=0))
    assert audit.manifest.head.mode == "fit"
    assert [facts.label for facts in audit.classes] == ["green", "red"]
    assert audit.load_model().weights_hash == audit.manifest.parts.weights


def test_an_encoder_as_of_dinov2_gets_a_probe(tmp_path: Path) -> None:
    """Patches of 14 pixels, four registers, scaled layers, positions of another size; no head."""
    torch.manual_seed(0)
    kind = "vit_small_patch14_reg4_dinov2"
    network = timm.create_model(kind, num_classes=0, img_size=56).eval()
    audit = audited(tmp_path, f"timm:{kind}", network)
    notes = "\n".join(audit.manifest.model.notes)
    assert "56" in notes
    assert audit.manifest.preprocess.input_size == (56, 56)
    assert (audit.manifest.head.mode, audit.head.weight.shape) == ("fit", (2, 384))
    image = audit.images.index[0]
    seen = apply(audit.preprocess, Image.open(audit.path(image)).convert("RGB"))
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in (audit.preprocess.mean, audit.preprocess.std)
    )
    pixels = (torch.from_numpy(seen).permute(2, 0, 1) / 255 - mean) / std
    with torch.inference_mode():
        expected = network(pixels[None])
    np.testing.assert_allclose(audit.features([image]), expected.numpy(), rtol=1e-3, atol=1e-3)


def test_one_logit_is_the_second_of_two_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=1).eval()
    audit = audited(tmp_path, "timm:test_resnet", network)
    assert (audit.manifest.head.mode, audit.head.outputs) == ("keep", ["green", "red"])
    assert "one logit" in "\n".join(audit.manifest.model.notes)
    logits = audit.head.logits(audit.features(audit.images.index.tolist()))
    np.testing.assert_allclose(logits[:, 0], -logits[:, 1], atol=1e-5)
