"""Networks of timm and torchvision with checkpoints as people bring them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from core.errors import ModelError
from core.models.joined_heads import JoinedHeads
from core.models.load import load_model
from core.models.model import Model
from core.models.overrides import in_words
from core.models.trace import heads_of, trace_network
from core.storage.audit_manifest import Reading


def own_logits(network: nn.Module, model: Model, batch: Tensor) -> Tensor:
    """What the network that was saved says of images prepared as the audit prepares them."""
    with torch.inference_mode():
        return network.eval()(model.normalise(batch))


def audited_logits(model: Model, batch: Tensor) -> np.ndarray:
    return model.logits(model.encode(batch).features.numpy())


def photos(model: Model) -> Tensor:
    height, width = model.preprocess.input_size
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width, 3), generator=generator, dtype=torch.uint8)


def check(network: nn.Module, name: str, path: Path, reading: Reading | None = None) -> Model:
    """Save, load, and compare the logits."""
    torch.save(network.state_dict(), path)
    model = load_model(name, checkpoint=path, reading=reading)
    batch = photos(model)
    expected = own_logits(network, model, batch).numpy()
    np.testing.assert_allclose(audited_logits(model, batch), expected, rtol=1e-3, atol=1e-4)
    return model


def test_a_sequential_head_of_torchvision(tmp_path: Path) -> None:
    network = get_model("resnet18", weights=None)
    network.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(512, 5))
    model = check(network, "torchvision:resnet18", tmp_path / "a.pth")
    assert (model.head_trained, len(model.bias), model.map_kind) == (True, 5, "exact")


def test_a_classifier_that_was_replaced_as_a_whole(tmp_path: Path) -> None:
    network = get_model("mobilenet_v3_small", weights=None)
    network.classifier = nn.Linear(576, 4)
    model = check(network, "torchvision:mobilenet_v3_small", tmp_path / "a.pth")
    assert (model.head_trained, model.n_features, len(model.bias)) == (True, 576, 4)


def test_versions_of_torchvision_s_modules(tmp_path: Path) -> None:
    network = get_model("mnasnet0_5", weights=None, num_classes=4)
    check(network, "torchvision:mnasnet0_5", tmp_path / "a.pth")


def test_auxiliary_heads_of_another_size_are_not_read(tmp_path: Path) -> None:
    network = get_model("googlenet", weights=None, num_classes=5, init_weights=False)
    network.transform_input = False
    mean = Reading(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    model = check(network, "torchvision:googlenet", tmp_path / "a.pth", mean)
    assert len(model.bias) == 5
    again = load_model("torchvision:googlenet", checkpoint=tmp_path / "a.pth", reading=mean)
    assert again.weights_hash == model.weights_hash


def test_preprocessing_inside_the_network_is_done_once(tmp_path: Path) -> None:
    network = get_model("googlenet", weights=None, num_classes=5, init_weights=False).eval()
    network.transform_input = True  # as torchvision sets it with its weights
    torch.save(network.state_dict(), tmp_path / "a.pth")
    model = load_model("torchvision:googlenet", checkpoint=tmp_path / "a.pth")
    batch = photos(model)
    preset = [
        torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    ]
    with torch.inference_mode():
        expected = network((batch.permute(0, 3, 1, 2) / 255 - preset[0]) / preset[1]).numpy()
    np.testing.assert_allclose(audited_logits(model, batch), expected, rtol=1e-3, atol=1e-4)
    assert any("transform_input" in note for note in model.notes)


def test_a_transformer_at_another_size(tmp_path: Path) -> None:
    network = timm.create_model("test_vit", num_classes=4, img_size=224)
    model = check(network, "timm:test_vit", tmp_path / "a.pth")
    assert model.preprocess.input_size == (224, 224)
    assert any("images of 224 x 224" in note for note in model.notes)


def test_a_network_is_asked_for_another_size(tmp_path: Path) -> None:
    network = timm.create_model("test_vit", num_classes=4, img_size=224)
    model = check(network, "timm:test_vit", tmp_path / "a.pth", Reading(input_size=(224, 224)))
    assert model.preprocess.input_size == (224, 224)
    with pytest.raises(ModelError, match="takes no images of 100 x 100 pixels"):
        check(network, "timm:test_vit", tmp_path / "a.pth", Reading(input_size=(100, 100)))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ModelError, match="Sequential takes no images of 8 x 8 pixels"):
        trace_network(nn.Sequential(nn.Conv2d(3, 4, 16), *head), (8, 8))


def test_windows_of_attention_at_another_size(tmp_path: Path) -> None:
    name, size = "swinv2_tiny_window16_256", Reading(input_size=(64, 64))
    kept = timm.create_model(name, num_classes=3, img_size=64)
    for tensor in kept.parameters():
        if not tensor.any():
            nn.init.normal_(tensor, std=0.05)
    grown = timm.create_model(name, num_classes=3)
    grown.load_state_dict(kept.state_dict())
    grown.set_input_size(img_size=(64, 64))
    model = check(kept, f"timm:{name}", tmp_path / "a.pth", size)
    assert any("--windows scaled" in note for note in model.notes)
    assert (model.preprocess.windows, in_words(model.preprocess)[-4:]) == ("kept", "kept")
    scaled = check(grown, f"timm:{name}", tmp_path / "a.pth", replace(size, windows="scaled"))
    assert not any("--windows" in note for note in scaled.notes)
    assert scaled.preprocess.windows == "scaled"
    network = timm.create_model("swin_tiny_patch4_window7_224", num_classes=3, img_size=64)
    model = check(network, "timm:swin_tiny_patch4_window7_224", tmp_path / "a.pth", size)
    assert model.preprocess.windows == ""  # shapes of tables say it


def test_a_network_for_grey_images(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=4, in_chans=1)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    reading = Reading(mean=(0.4,) * 3, std=(0.2,) * 3)
    model = load_model("timm:test_resnet", checkpoint=tmp_path / "a.pth", reading=reading)
    batch = photos(model)[..., :1]
    with torch.inference_mode():
        expected = network.eval()((batch.permute(0, 3, 1, 2) / 255 - 0.4) / 0.2).numpy()
    logits = audited_logits(model, batch.expand(-1, -1, -1, 3).contiguous())
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["test_vit", "eva02_tiny_patch14_224"])
def test_an_encoder_without_a_classifier_gets_a_head_to_fit(tmp_path: Path, kind: str) -> None:
    network = timm.create_model(kind, num_classes=0)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    model = load_model(f"timm:{kind}", checkpoint=tmp_path / "a.pth")
    assert not model.head_trained
    batch = photos(model)
    features = model.encode(batch).features.numpy()
    np.testing.assert_allclose(features, own_logits(network, model, batch), rtol=1e-3, atol=1e-4)


def test_the_classes_of_a_checkpoint_name_its_outputs(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=3)
    content = {"state_dict": network.state_dict(), "class_to_idx": {"b": 0, "c": 1, "a": 2}}
    torch.save(content, tmp_path / "a.pth")
    assert load_model("timm:test_resnet", checkpoint=tmp_path / "a.pth").outputs == ("b", "c", "a")


@pytest.mark.parametrize("colours", ["rgb", "bgr"])
def test_what_is_said_of_preprocessing_is_done(tmp_path: Path, colours: str) -> None:
    network = timm.create_model("test_resnet", num_classes=3).eval()
    torch.save(network.state_dict(), tmp_path / "a.pth")
    reading = Reading(
        **{"mean": (0.1, 0.2, 0.3), "std": (1 / 255,) * 3, "input_size": (64, 96), "crop": 0.5},
        **{"crop_mode": "squash", "interpolation": "bilinear", "colours": colours},
    )
    model = load_model("timm:test_resnet", checkpoint=tmp_path / "a.pth", reading=reading)
    p = model.preprocess
    assert (p.input_size, p.crop_pct, p.crop_mode, p.interpolation) == (
        *((64, 96), 0.5, "squash", "bilinear"),
    )
    batch = photos(model)
    x = batch.permute(0, 3, 1, 2) / 255
    x = x.flip(1) if colours == "bgr" else x
    x = (x - torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)) * 255
    with torch.inference_mode():
        expected = network(x).numpy()
    np.testing.assert_allclose(audited_logits(model, batch), expected, rtol=1e-3, atol=1e-3)


def test_the_mean_of_two_heads_is_one_head(tmp_path: Path) -> None:
    """A distilled transformer, also as it is saved once more with a head of its own."""
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    name = "deit_tiny_distilled_patch16_224"
    network = timm.create_model(name, num_classes=4, **small)
    assert network.head.weight.shape == (4, 16)
    heads = heads_of(network.eval(), (32, 32))
    assert heads == ("head", "head_dist")
    joined = JoinedHeads(network, heads).eval()
    x = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(joined(x), network(x))
    whole = timm.create_model(name, num_classes=4)
    model = check(whole, f"timm:{name}", tmp_path / "a.pth")
    assert (model.n_features, len(model.bias)) == (2 * 192, 4)
    again = model.network.state_dict() | {"fc.weight": torch.ones(4, 384)}
    torch.save(again, tmp_path / "b.pth")
    changed = load_model(f"timm:{name}", checkpoint=tmp_path / "b.pth")
    assert (changed.weight == 1).all()
    np.testing.assert_array_equal(changed.bias, model.bias)
