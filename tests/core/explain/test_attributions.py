"""Attributions: what adds up to what, against slow replicas, and networks left as they were."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import InputError, ModelError
from core.explain.attribution import ATTRIBUTIONS, attribute, attributed
from core.explain.lrp import relevance
from core.explain.relevance import Rules
from core.models.model import Model
from tests.tiny import HALF, SIZE, TinyNet


class Gated(nn.Module):
    """What networks are made of: folded norms, activations in place, gates, branches, groups."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 2, padding="valid", bias=False), nn.BatchNorm2d(8)
        self.deep, self.alone = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8)
        self.squeeze, self.last = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 12, 1)
        self.act, self.group = nn.SiLU(inplace=True), nn.GroupNorm(3, 12)
        self.out = nn.Hardswish()
        self.fc = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(F.pad(x, (0, 1, 0, 1)))))
        y = F.relu(self.deep(x), inplace=True)
        y = y * torch.sigmoid(self.squeeze(y.mean((2, 3), keepdim=True)))
        y += x
        y = self.act(self.alone(y))  # the same module again
        x = torch.cat([y[:, :4], F.max_pool2d(y[:, 4:], 3, 1, 1)], 1)
        return self.fc(self.out(self.group(self.last(x))).mean((2, 3)))


def vit() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=SIZE, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=3
    )


def torchvision_vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    shape = {"num_layers": 2, "num_heads": 2, "hidden_dim": 24, "mlp_dim": 48}
    return VisionTransformer(SIZE, 8, **shape, num_classes=3)


def convnext() -> nn.Module:
    from timm.models.convnext import ConvNeXt

    return ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=3, ls_init_value=0.5)


def made(build: Callable[[], nn.Module]) -> Model:
    """A network with weights, constants and statistics that are not those it was built with."""
    torch.manual_seed(0)
    network, draws = build(), torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            low = 0.5 if name.endswith("running_var") else 0.0
            noise = torch.randn(tensor.shape, generator=draws)
            tensor.copy_(noise.abs() + low if low else tensor + 0.2 * noise)
    return Model("test", network, HALF)


BUILT = {
    "gated": Gated,
    "tiny": TinyNet,
    "vit": vit,
    "torchvision vit": torchvision_vit,
    "convnext": convnext,
}


@pytest.fixture(params=BUILT)
def model(request: pytest.FixtureRequest) -> Model:
    return made(BUILT[request.param])


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)


@pytest.fixture
def gated() -> Model:
    return made(Gated)


def prepared(model: Model, pixels: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The normalised image, a direction, the features."""
    image = model.normalise(torch.from_numpy(pixels)[None])
    direction = np.random.default_rng(0).normal(size=model.n_features)
    with torch.no_grad():
        return image, direction, model.features_of(image)[0].numpy()


def test_relevance_adds_up_and_leaves_the_network_alone(model: Model, pixels: np.ndarray) -> None:
    image, direction, phi = prepared(model, pixels)
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    found = relevance(model, image, direction)
    assert found.number == pytest.approx(float(direction @ phi), rel=1e-4)
    size = float(np.abs(direction * phi).sum())
    assert found.pixels.sum() + found.kept == pytest.approx(found.number, abs=0.01 * size)
    assert (found.kept != 0) == ("VisionTransformer" in str(type(model.network)))
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, before[name])
    hooks = [m for m in model.network.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert hooks == []
    with torch.no_grad(), Rules():
        same = model.features_of(image)[0].numpy()
    assert same == pytest.approx(phi, abs=1e-5)


def test_maps_of_channels_and_of_places_sum_to_the_whole(gated: Model, pixels: np.ndarray) -> None:
    image, direction, _ = prepared(gated, pixels)
    whole = relevance(gated, image, direction).pixels
    groups = np.arange(12) % 3
    channels = [relevance(gated, image, direction * (groups == g)).pixels for g in range(3)]
    assert sum(channels) == pytest.approx(whole, abs=1e-5 * float(np.abs(whole).max()))
    shares = np.random.default_rng(1).dirichlet(np.ones(4), gated.map_grid).transpose(2, 0, 1)
    weights = direction[:, None, None] * shares[:, None]
    places = [relevance(gated, image, weight).pixels for weight in weights]
    assert sum(places) == pytest.approx(whole, abs=1e-5 * float(np.abs(whole).max()))
    assert np.abs(places[0] - places[1]).max() > 0.01 * np.abs(whole).max()


def test_nothing_masked_in_nothing_shown(gated: Model, pixels: np.ndarray) -> None:
    image, _, _ = prepared(gated, pixels)
    assert not relevance(gated, image, np.zeros(12)).pixels.any()


def test_relevance_without_biases_equals_the_rules_written_out() -> None:
    """A flat layer and one of the same sign, entry by entry."""
    draws = torch.Generator().manual_seed(3)
    first, second = (nn.Linear(a, b, bias=False) for a, b in ((4, 3), (3, 2)))
    for layer in (first, second):
        layer.weight.data = torch.randn(layer.weight.shape, generator=draws)
    x = torch.randn(1, 4, generator=draws).requires_grad_()
    conv = second.weight[:, :, None, None].detach()
    with Rules():
        hidden = F.relu(F.linear(x, first.weight.detach()))
        out = F.conv2d(hidden[:, :, None, None], conv)[0, :, 0, 0]
    (slope,) = torch.autograd.grad(out[0], x)
    given = np.zeros(4)
    value = out[0].item()
    parts = [(conv[0, j, 0, 0] * hidden[0, j]).item() for j in range(3)]
    alike = [z if z * value > 0 else 0.0 for z in parts]
    for z in alike:
        given += value * z / sum(alike) / 4
    assert (x * slope)[0].detach().numpy() == pytest.approx(given, rel=1e-4)


def test_what_has_no_rule_is_declined_in_a_sentence(pixels: np.ndarray) -> None:
    class Odd(TinyNet):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(torch.exp(self.conv(x)).mean((2, 3)))

    model = made(Odd)
    with pytest.raises(InputError, match="no rule for: .*Use integrated gradients"):
        attribute(model, pixels, np.ones(12), "lrp")


def test_operations_without_a_rule_are_named_where_relevance_goes_through_them(
    gated: Model, pixels: np.ndarray
) -> None:
    class Folded(TinyNet):
        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            gate = torch.sigmoid(torch.exp(y))  # a constant: what is in it is given nothing
            return self.fc((torch.abs(y) * gate).mean((2, 3)))

    model = made(Folded)
    image, direction, _ = prepared(model, pixels)
    assert relevance(model, image, direction).without == ["abs"]
    said = attributed(model, pixels, direction, "lrp")
    assert said.facts["without_rule"] == ["abs"]
    assert said.notes == ["abs has no rule of relevance propagation: the derivative stands in"]
    assert attributed(gated, pixels, np.ones(12), "lrp").facts["without_rule"] == []
    assert attributed(model, pixels, direction, "saliency").notes == ()


class Closed(TinyNet):
    """Without gradients, as some networks are at some precision on some device."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.fc(F.relu(self.conv(x)).mean((2, 3)))


def test_a_network_without_gradients_is_named(pixels: np.ndarray) -> None:
    model = made(Closed)
    with pytest.raises(InputError, match="no layer with positions"):
        attribute(model, pixels, np.ones(12), "grad_cam")
    for method in set(ATTRIBUTIONS) - {"exact", "occlusion", "grad_cam"}:
        with pytest.raises(ModelError, match=r"on its device .* use the exact map or occlusion"):
            attribute(model, pixels, np.ones(12), method)
    assert attribute(model, pixels, np.ones(12), "occlusion").any()
    image, direction, _ = prepared(model, pixels)
    with pytest.raises(ModelError, match="LRP cannot be made of this network"):
        relevance(model, image, direction)


def test_what_is_not_finite_is_no_map(gated: Model, pixels: np.ndarray) -> None:
    with pytest.raises(ModelError, match="Saliency is not finite at the network's precision"):
        attribute(gated, pixels, np.full(12, np.inf), "saliency")


def test_the_exact_map_averages_to_the_number(gated: Model, pixels: np.ndarray) -> None:
    _, direction, phi = prepared(gated, pixels)
    found = attribute(gated, pixels, direction, "exact")
    assert found.shape == gated.map_grid
    assert found.mean() == pytest.approx(direction @ phi, abs=1e-4)
    with pytest.raises(InputError, match="has no exact map"):
        attribute(made(BUILT["vit"]), pixels, np.ones(24), "exact")


def test_integrated_gradients_are_complete(gated: Model, pixels: np.ndarray) -> None:
    image, direction, phi = prepared(gated, pixels)
    with torch.no_grad():
        plain = gated.features_of(torch.zeros_like(image))[0].numpy()
    found = attribute(gated, pixels, direction, "integrated_gradients")
    assert found.sum() == pytest.approx(direction @ (phi - plain), rel=0.01)


class Plain(nn.Module):
    """Linear, without constants."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 12, 8, 8, bias=False), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize("method", ["input_x_gradient", "integrated_gradients"])
def test_of_a_linear_network_every_pixel_has_what_it_adds(method: str, pixels: np.ndarray) -> None:
    model = made(Plain)
    image, direction, phi = prepared(model, pixels)
    found = attribute(model, pixels, direction, method)
    faded = image.clone()
    faded[:, :, 5, 7] = 0
    with torch.no_grad():
        without = model.features_of(faded)[0].numpy()
    assert found[5, 7] == pytest.approx(direction @ (phi - without), abs=1e-5)
    assert found.sum() == pytest.approx(direction @ phi, rel=1e-4)


def test_expected_gradients_of_a_linear_network_are_from_the_mean_colour(
    pixels: np.ndarray,
) -> None:
    from core.explain.gradient_shap import SAMPLES

    model = made(Plain)
    image, direction, phi = prepared(model, pixels)
    colours = torch.randn(SAMPLES, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = model.features_of(colours.expand(SAMPLES, 3, SIZE, SIZE)).mean(0).numpy()
    found = attribute(model, pixels, direction, "gradient_shap")
    assert found.sum() == pytest.approx(direction @ (phi - plain), rel=1e-3)


class Rectified(nn.Module):
    """Rectifiers as modules, as captum wants them, or as functions in place."""

    def __init__(self, modules: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 12, 3, 2)
        self.one, self.two = nn.ReLU(), nn.ReLU()
        self.fc, self.modules_are_used = nn.Linear(12, 3), modules

    def forward(self, x: Tensor) -> Tensor:
        if self.modules_are_used:
            return self.fc(self.two(self.b(self.one(self.a(x)))).mean((2, 3)))
        return self.fc(F.relu_(self.b(F.relu(self.a(x), inplace=True))).mean((2, 3)))


def test_guided_backpropagation_equals_captums_and_knows_functions(pixels: np.ndarray) -> None:
    from captum.attr import GuidedBackprop

    model = made(lambda: Rectified(True))
    image, _, _ = prepared(model, pixels)
    expected = GuidedBackprop(model.network).attribute(image, target=1)[0].sum(0).numpy()
    weight = model.weight[1]
    found = attribute(model, pixels, weight, "guided_backpropagation")
    assert found == pytest.approx(expected, abs=1e-6)
    again = made(lambda: Rectified(False))
    assert attribute(again, pixels, weight, "guided_backpropagation") == pytest.approx(
        expected, abs=1e-6
    )


def test_every_method_is_deterministic_and_leaves_random_states(
    gated: Model, pixels: np.ndarray
) -> None:
    _, direction, _ = prepared(gated, pixels)
    state = torch.random.get_rng_state()
    for name in ATTRIBUTIONS:
        first, second = (attribute(gated, pixels, direction, name) for _ in range(2))
        assert first.ndim == 2
        assert np.isfinite(first).all()
        np.testing.assert_array_equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert attribute(gated, pixels, direction, "saliency").min() >= 0


def test_agreement_is_the_rank_correlation_on_the_coarser_grid(rng: np.random.Generator) -> None:
    from scipy.stats import spearmanr

    from core.explain.heatmaps import agreement

    fine, rough = rng.normal(size=(8, 8)), rng.normal(size=(4, 4))
    means = fine.reshape(4, 2, 4, 2).mean((1, 3))
    expected = spearmanr(means.ravel(), rough.ravel()).statistic
    assert agreement(fine, rough) == pytest.approx(expected, abs=1e-9)
    assert agreement(rough, fine) == pytest.approx(expected, abs=1e-9)
    assert agreement(fine, np.exp(fine)) == pytest.approx(1)
    assert np.isnan(agreement(fine, np.zeros((8, 8))))
