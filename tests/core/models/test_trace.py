"""Heads and maps found by watching one forward pass, on random weights of many architectures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.errors import ModelError
from core.models.model import Model
from core.models.trace import captured, find_head, resize_head, trace_network
from core.types import Preprocess

SIDE = 64


def _timm(name: str, **options: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=7, **options)

    return build


def _densenet() -> nn.Module:
    from torchvision.models import DenseNet

    return DenseNet(8, (2, 2), 16, num_classes=7)


def _torchvision(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision import models

        return models.get_model(name, weights=None, num_classes=7)

    return build


VIT = {"img_size": SIDE, "depth": 2}
SWIN = {"img_size": SIDE, "window_size": 4, "depths": (1, 1), "embed_dim": 24, "num_heads": (2, 2)}

CASES: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, int] | None, str]] = {
    "resnet10t": (_timm("resnet10t"), "exact", (2, 2), "NCHW"),
    "torchvision resnet18": (_torchvision("resnet18"), "exact", (2, 2), "NCHW"),
    "regnet": (_timm("regnetx_002"), "exact", (2, 2), "NCHW"),
    "efficientnet": (_timm("efficientnet_lite0"), "exact", (2, 2), "NCHW"),
    "densenet": (_densenet, "exact", (8, 8), "NCHW"),
    "convnext": (_timm("convnext_atto"), "frozen_norm", (2, 2), "NCHW"),
    "vit average": (
        _timm("vit_tiny_patch16_224", global_pool="avg", **VIT),
        "frozen_norm",
        (4, 4),
        "NLC",
    ),
    "vit average of normed tokens": (
        _timm("vit_tiny_patch16_224", global_pool="avg", fc_norm=False, **VIT),
        "exact",
        (4, 4),
        "NLC",
    ),
    "swin": (_timm("swin_tiny_patch4_window7_224", **SWIN), "exact", (8, 8), "NHWC"),
    "vit class token": (_timm("vit_tiny_patch16_224", **VIT), "none", None, "NLC"),
    "mobilenetv3": (_timm("mobilenetv3_small_050"), "none", None, "NCHW"),
}


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[str, Model]:
    torch.manual_seed(0)
    network = CASES[request.param][0]()
    _liven(network)
    return request.param, Model(request.param, network, _preprocess())


def _liven(network: nn.Module) -> None:
    """Give norms and heads weights that a wrong formula cannot hide behind."""
    for module in network.modules():
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)


def _preprocess(side: int = SIDE) -> Preprocess:
    return Preprocess((side, side), 0.875, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def _images(count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def test_kind_grid_and_layout(case: tuple[str, Model]) -> None:
    name, model = case
    _, kind, grid, order = CASES[name]
    assert (model.map_kind, model.map_grid) == (kind, grid)
    assert model.grad_layout is not None
    assert model.grad_layout.order == order


def test_features_are_the_mean_of_the_maps(case: tuple[str, Model]) -> None:
    _, model = case
    encoded = model.encode(_images())
    if model.map_kind == "none":
        assert encoded.maps is None
        return
    assert encoded.maps is not None
    assert encoded.maps.shape == (3, model.n_features, *(model.map_grid or ()))
    torch.testing.assert_close(encoded.maps.mean((2, 3)), encoded.features, rtol=1e-6, atol=1e-7)


def test_logits_are_the_networks_own(case: tuple[str, Model]) -> None:
    _, model = case
    logits = torch.from_numpy(model.logits(model.encode(_images()).features.numpy()))
    assert _relative(logits, model.network(model.normalise(_images()))) < 1e-4


def test_differentiable_features_equal_the_encoded(case: tuple[str, Model]) -> None:
    _, model = case
    features = model.features_of(model.normalise(_images()))
    assert _relative(features, model.encode(_images()).features) < 1e-4


def test_cam_tensor_receives_gradient_at_positions(case: tuple[str, Model]) -> None:
    _, model = case
    cam = model.cam_tensor(model.normalise(_images()))
    (gradient,) = torch.autograd.grad(cam.features.square().sum(), cam.tensor)
    maps = cam.layout.to_maps(gradient)
    assert maps.shape[2:] == cam.layout.grid
    assert maps.ne(0).any()


def test_no_hook_stays(case: tuple[str, Model]) -> None:
    _, model = case
    assert _hooks(model.network) == 0


def _hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def test_class_token_reads_the_last_blocks_first_norm() -> None:
    torch.manual_seed(0)
    cam = trace_network(CASES["vit class token"][0]().eval(), (SIDE, SIDE)).cam
    assert cam is not None
    assert (cam.site.module, cam.layout.prefix) == ("blocks.1.norm1", 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_torchvision("squeezenet1_1"), "no linear head: its output comes from classifier.3"),
        (_timm("deit_tiny_distilled_patch16_224", **VIT), "no linear head: its output comes from"),
    ],
    ids=["squeezenet", "two heads"],
)
def test_no_linear_head_is_refused(build: Callable[[], nn.Module], message: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=message):
        trace_network(build().eval(), (SIDE, SIDE))


class _Tiny(nn.Module):
    def __init__(self, after: Callable[[Tensor], object] = lambda x: x) -> None:
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(3, 5, 3, 2, 1), nn.BatchNorm1d(5), nn.Linear(5, 2)
        self.after = after

    def forward(self, x: Tensor) -> object:
        return self.after(self.fc(self.bn(torch.relu(self.conv(x)).mean((2, 3)))))


def test_functional_relu_and_batch_norm_behind_the_pooling() -> None:
    network = _Tiny().eval()
    network.bn.running_mean = torch.linspace(-1, 1, 5)
    network.bn.running_var = torch.linspace(0.5, 2, 5)
    model = Model("tiny", network, _preprocess(8))
    assert model.trace.maps is not None
    assert model.map_kind == "frozen_norm"
    assert (model.trace.maps.relu, model.trace.maps.site.module) == (True, "conv")


def test_other_outputs_than_logits_are_refused() -> None:
    with pytest.raises(ModelError, match="it returns a tuple"):
        trace_network(_Tiny(lambda x: (x, x)).eval(), (8, 8))
    with pytest.raises(ModelError, match=r"comes from fc \(Linear\)"):
        trace_network(_Tiny(torch.tanh).eval(), (8, 8))


def test_weights_that_are_not_finite_are_named() -> None:
    network = _Tiny(lambda x: x).eval()
    with torch.no_grad():
        network.fc.weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"1 of its tensors hold NaN .* first fc\.weight"):
        trace_network(network, (8, 8))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5, 0.5, 0.5), (0.2, 0.0, 0.2), "tiny normalises images with std .*from 0.0001 to 1000"),
        ((0.5, 0.5, 0.5), (0.2, -0.2, 0.2), "tiny normalises images with std"),
        ((0.5, 0.5, 0.5), (0.2, 1e-30, 0.2), "tiny normalises images with std"),
        ((0.5, float("nan"), 0.5), (0.2, 0.2, 0.2), "tiny normalises images with mean"),
        ((0.5,), (0.2, 0.2, 0.2), "tiny normalises images with mean .*three numbers"),
    ],
)
def test_images_that_cannot_be_normalised_are_refused(
    mean: tuple[float, ...], std: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        Model("tiny", _Tiny(), Preprocess((8, 8), 0.875, "bicubic", mean, std))


def test_hooks_go_after_an_exception() -> None:
    def fail(_: Tensor) -> object:
        raise RuntimeError("broken network")

    network = _Tiny(fail).eval()
    with pytest.raises(ModelError, match="takes no images of 8 x 8") as raised:
        trace_network(network, (8, 8))
    assert "broken network" in str(raised.value.__cause__)
    assert _hooks(network) == 0
    model = Model("tiny", _Tiny().eval(), _preprocess(8))
    model.network.after = fail  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="broken network"):
        model.encode(torch.zeros(1, 8, 8, 3, dtype=torch.uint8))
    assert _hooks(model.network) == 0


def test_captured_tells_calls_of_one_module_apart() -> None:
    from core.models.trace import Site

    relu = nn.ReLU()
    network = nn.Sequential(relu, nn.Linear(2, 2), relu)
    sites = [Site("0", "output", call) for call in (0, 1)]
    with captured(network, sites) as caught:
        out = network(torch.ones(1, 2))
    assert torch.equal(caught[sites[0]], torch.ones(1, 2))
    assert torch.equal(caught[sites[1]], out)


def test_resized_head_is_the_head() -> None:
    network = CASES["mobilenetv3"][0]().eval()
    resize_head(network, find_head(network, (SIDE, SIDE)), 3)
    assert len(Model("m", network, _preprocess()).bias) == 3


def test_wrong_batches_and_labels_are_refused() -> None:
    model = Model("tiny", _Tiny(), _preprocess(8))
    with pytest.raises(ModelError, match="give uint8 images"):
        model.encode(torch.zeros(1, 8, 8, 3))
    with pytest.raises(ModelError, match="2 outputs but 3 output labels"):
        Model("tiny", _Tiny(), _preprocess(8), outputs=["a", "b", "c"])


def test_normalise_and_hash_by_hand() -> None:
    model = Model("tiny", _Tiny(), _preprocess(8))
    white = model.normalise(torch.full((1, 8, 8, 3), 255, dtype=torch.uint8))
    np.testing.assert_allclose(white[0, :, 0, 0], [2.5, 2.0, 1.75], rtol=1e-6)
    before = model.weights_hash
    model.network.fc.bias += 1
    assert Model("tiny", model.network, _preprocess(8)).weights_hash != before


def test_bf16_keeps_the_identity_and_does_not_go_back() -> None:
    torch.manual_seed(0)
    model = Model("convnext", CASES["convnext"][0](), _preprocess()).to("cpu", "bf16")
    encoded = model.encode(_images())
    assert encoded.maps is not None
    assert encoded.maps.dtype == torch.bfloat16
    torch.testing.assert_close(encoded.maps.float().mean((2, 3)), encoded.features)
    with pytest.raises(ModelError, match="reload it"):
        model.to("cpu", "fp32")
