"""Guidance: losses against slow replicas, attributions against captum, what training changes."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, LayerGradCam, LayerGradientXActivation
from torch import nn

from benchmarks.guidance import measured
from core.corrections.guidance import (
    Guidance,
    guide,
)
from core.corrections.input_gradients import attribution
from core.corrections.layers import find_layer, layer_names, parameters_after
from core.corrections.localisation import (
    LOSSES,
    attribution_iou,
    epg,
    guidance_loss,
)
from core.corrections.training import Recipe, train, with_head
from core.errors import InputError
from core.models.linear import Correction, Head
from core.models.model import Model
from core.trials.examples import Examples, annotated, read_examples
from core.types import Preprocess
from tests.tiny import load_tiny


@pytest.fixture
def maps():
    return torch.randn(5, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def masks():
    generator = torch.Generator().manual_seed(2)
    return (torch.rand(5, 6, 7, generator=generator) > 0.6).double()


@pytest.fixture
def examples(rng):
    pixels = rng.integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)
    objects = np.zeros((12, 32, 32), bool)
    objects[:, 8:20, 8:20] = True
    return Examples(pixels, np.arange(12) % 3, objects, None, np.arange(12) % 2)


def slow(kind, a, m):
    """Rao et al. 2023, section 3.2, one image and one pixel at a time."""
    positive = [max(v, 0.0) for v in a.flatten().tolist()]
    inside = m.flatten().tolist()
    largest = max(abs(v) for v in a.flatten().tolist())
    if kind == "energy":
        return 1 - sum(p * i for p, i in zip(positive, inside, strict=True)) / sum(positive)
    hat = [p / max(positive) for p in positive]
    if kind == "l1":
        return sum(abs(h - i) for h, i in zip(hat, inside, strict=True)) / len(hat)
    if kind == "ppce":
        logs = [max(np.log(max(h, 1e-300)), -100) for h, i in zip(hat, inside, strict=True) if i]
        return -sum(logs) / len(logs)
    signed = [v / largest for v in a.flatten().tolist()]
    return sum(v * v for v, i in zip(signed, inside, strict=True) if not i)


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_equal_their_formulas(kind, maps, masks):
    expected = [slow(kind, a, m) for a, m in zip(maps, masks, strict=True)]
    assert guidance_loss(maps, masks, kind).tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_do_not_know_the_scale_and_can_be_differentiated(kind, maps, masks):
    assert torch.allclose(LOSSES[kind](maps, masks), LOSSES[kind](7.5 * maps, masks))
    maps.requires_grad_()
    loss = LOSSES[kind](maps, masks).sum()
    (slope,) = torch.autograd.grad(loss, maps, create_graph=True)
    along = (slope * maps).detach().sum((1, 2))  # along itself nothing changes
    assert float(along.abs().max()) < 1e-9
    assert torch.autograd.gradcheck(lambda a: LOSSES[kind](a, masks), maps)


def test_energy_is_one_minus_epg_and_has_its_extremes(maps, masks):
    assert torch.equal(LOSSES["energy"](maps, masks), 1 - epg(maps, masks)[0])
    assert LOSSES["energy"](maps, torch.ones_like(masks)).tolist() == pytest.approx([0] * 5)
    assert LOSSES["energy"](maps, torch.zeros_like(masks)).tolist() == [1] * 5
    constant = LOSSES["energy"](torch.ones_like(maps), masks)
    assert torch.allclose(constant, 1 - masks.mean((1, 2)))


def test_epg_of_known_maps_and_of_none():
    maps = torch.tensor([[[3.0, 1.0], [-9.0, 0.0]], [[-1.0, -1.0], [0.0, 0.0]]])
    share, defined = epg(maps, torch.tensor([[[1.0, 0.0], [1.0, 1.0]]] * 2))
    assert share.tolist() == [0.75, 0.0]
    assert defined.tolist() == [True, False]


def test_losses_are_blind_where_they_should_be(maps, masks):
    maps[:, 0, 0], masks[:, 0, 0] = 10.0, 1.0  # the largest value lies inside and stays
    elsewhere = maps.where(masks > 0, -0.3 * maps)
    within = maps.where((masks == 0) | (maps == 10), 0.5 * maps)
    assert torch.allclose(LOSSES["ppce"](maps, masks), LOSSES["ppce"](elsewhere, masks))
    assert torch.allclose(LOSSES["rrr"](maps, masks), LOSSES["rrr"](within, masks))
    assert not torch.allclose(LOSSES["rrr"](maps, masks), LOSSES["rrr"](elsewhere, masks))
    assert LOSSES["l1"](masks, masks).tolist() == [0] * 5
    assert LOSSES["ppce"](masks, masks).tolist() == [0] * 5
    assert LOSSES["rrr"](maps, torch.ones_like(masks)).tolist() == [0] * 5
    assert LOSSES["ppce"](maps, torch.zeros_like(masks)).tolist() == [0] * 5


def test_an_all_zero_map_gives_numbers_and_gradients():
    maps, masks = torch.zeros(1, 4, 4, requires_grad=True), torch.ones(1, 4, 4)
    for kind in LOSSES:
        loss = guidance_loss(maps, masks, kind).sum()
        assert bool(torch.isfinite(torch.autograd.grad(loss, maps)[0]).all())
    assert attribution_iou(maps.detach(), masks).tolist() == [0]
    assert attribution_iou(torch.ones(1, 4, 4), masks).tolist() == [1]


def test_coarse_maps_are_brought_to_the_masks(maps):
    masks = torch.zeros(5, 24, 28, dtype=torch.float64)
    masks[:, :12] = 1
    large = nn.functional.interpolate(maps[:, None], (24, 28), mode="bilinear")[:, 0]
    assert torch.allclose(guidance_loss(maps, masks, "energy"), LOSSES["energy"](large, masks))


@pytest.mark.parametrize(
    ("method", "name"), [("ixg", "input"), ("ixg", "conv"), ("gradcam", "act")]
)
def test_attributions_equal_captums(method, name, examples):
    model = load_tiny("x")
    images = model.normalise(torch.from_numpy(examples.pixels[:4]))
    classes = torch.tensor([0, 1, 2, 0])
    found, logits = attribution(
        model.network, images, classes, find_layer(model, name), method, target="logit"
    )
    layer = None if name == "input" else model.network.get_submodule(name)
    captums = {
        "input": lambda: InputXGradient(model.network),
        "conv": lambda: LayerGradientXActivation(model.network, layer),
        "act": lambda: LayerGradCam(model.network, layer),
    }[name]()
    expected = captums.attribute(images.clone().requires_grad_(), target=classes).sum(1)
    expected = expected.relu() if method == "gradcam" else expected
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(logits, model.network(images))


def test_the_margin_is_the_logit_minus_the_mean_of_the_others(examples):
    model = load_tiny("x")
    images = model.normalise(torch.from_numpy(examples.pixels[:2]))
    layer = find_layer(model, "input")
    each = [
        attribution(model.network, images, torch.full((2,), k), layer, target="logit")[0]
        for k in range(3)
    ]
    margin, _ = attribution(model.network, images, torch.zeros(2, dtype=torch.long), layer)
    assert torch.allclose(margin, each[0] - (each[1] + each[2]) / 2, atol=1e-6)


class Bcos(nn.Module):
    """A two-layer network of dynamic linear units: y = (w x) |cos(w, x)|, no bias anywhere."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 4, 4, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 3, bias=False)
        self.fixed = False

    def forward(self, images):
        made = self.conv(images)
        squares = nn.functional.conv2d(
            images.square(), torch.ones_like(self.conv.weight[:1]), None, 4
        )
        lengths = self.conv.weight.flatten(1).norm(dim=1)[:, None, None]
        cosine = made.abs() / (squares.sqrt() * lengths + 1e-6)
        made = made * (cosine.detach() if self.fixed else cosine)
        return self.fc(self.pool(made).flatten(1))

    @contextmanager
    def explanation_mode(self):
        self.fixed = True
        yield
        self.fixed = False


class BiasFree(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, bias=False), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 3, bias=False)

    def forward(self, images):
        return self.fc(self.pool(self.body(images)).flatten(1))


def as_model(network):
    return Model("x", network, Preprocess((32, 32), 1.0, "bilinear", (0.5,) * 3, (0.25,) * 3))


@pytest.mark.parametrize("network", [Bcos, BiasFree])
def test_without_biases_the_maps_sum_to_the_logit_and_can_be_guided(network, examples):
    model = as_model(network())
    images = model.normalise(torch.from_numpy(examples.pixels[:4]))
    classes = torch.tensor([0, 1, 2, 1])
    found, logits = attribution(
        model.network, images, classes, find_layer(model, "input"), target="logit"
    )
    own = logits.gather(1, classes[:, None])[:, 0]
    assert torch.allclose(found.sum((1, 2)), own, atol=1e-5)
    guided = guide(model, examples, Guidance("energy"), Recipe(epochs=4, rate=1e-2))
    first, last = (guided.history[epoch]["localisation"] for epoch in (0, -1))
    assert last < first


class Biased(nn.Module):
    """Two convolutions, each with biases, a batch norm between them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(3, 6, 4, 4), nn.BatchNorm2d(6)
        self.second, self.act = nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 3)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.3)

    def forward(self, images):
        made = self.act(self.second(self.norm(self.first(images)).relu()))
        return self.fc(self.pool(made).flatten(1))


def pulled(kind, name, target, examples):
    """A network in double precision and its localisation loss as a function of nothing."""
    network, layer = Biased().double().eval(), find_layer(as_model(Biased()), name)
    images = torch.from_numpy(examples.pixels[:3]).permute(0, 3, 1, 2).double() / 255 - 0.4
    masks = torch.from_numpy(examples.objects[:3]).double()
    classes = torch.tensor([0, 1, 2])

    def loss():
        found, _ = attribution(network, images, classes, layer, target=target, create_graph=True)
        return guidance_loss(found, masks, kind).mean()

    return network, loss


@pytest.mark.parametrize("target", ["margin", "logit"])
@pytest.mark.parametrize("name", ["input", "norm", "act"])
@pytest.mark.parametrize("kind", LOSSES)
def test_the_guided_gradient_is_that_of_finite_differences(kind, name, target, examples):
    network, loss = pulled(kind, name, target, examples)
    names, weights = zip(*network.named_parameters(), strict=True)
    slopes = torch.autograd.grad(loss(), weights, allow_unused=True)
    generator = torch.Generator().manual_seed(3)
    for which, weight, slope in zip(names, weights, slopes, strict=True):
        step = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        step *= 1e-7 / step.norm()
        values = []
        for sign in (1, -2):
            with torch.no_grad():
                weight += sign * step
            values.append(float(loss().detach()))
        with torch.no_grad():
            weight += step
        along = 0.0 if slope is None else float((slope.detach() * step).sum() / 1e-7)
        measured = (values[0] - values[1]) / 2e-7
        assert along == pytest.approx(measured, rel=1e-4, abs=1e-5), which


@pytest.mark.parametrize(
    ("name", "reached"),
    [
        ("input", {"first.weight", "norm.weight", "second.weight", "fc.weight"}),
        (
            "act",
            {
                "first.weight",
                "first.bias",
                "norm.weight",
                "norm.bias",
                "second.weight",
                "second.bias",
                "fc.weight",
            },
        ),
    ],
)
def test_at_the_image_no_bias_is_reached_and_at_the_last_layer_all_but_the_heads(
    name, reached, examples
):
    network, loss = pulled("rrr", name, "margin", examples)
    names, weights = zip(*network.named_parameters(), strict=True)
    slopes = torch.autograd.grad(loss(), weights, allow_unused=True)
    moved = {n for n, s in zip(names, slopes, strict=True) if s is not None and s.abs().max() > 0}
    assert moved == reached


def test_a_background_can_decide_through_a_bias_without_any_attribution():
    """Water is where no land is: the unit that says so has a bias and no input."""
    network = BiasFree()
    network.body[0] = nn.Conv2d(3, 8, 1)
    network.fc = nn.Linear(8, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.body[0].weight[0, 2], network.body[0].bias[0] = -1.0, 1.0  # no blue: unit 0
        network.body[0].weight[1, 0] = 0.01  # the object's red: unit 1
        network.fc.weight[0, :2] = 1.0
        network.fc.bias[1] = 0.5
    model, masks = as_model(network), torch.zeros(2, 32, 32)
    images = torch.zeros(2, 3, 32, 32)
    images[1, 2] = 1.0  # the same object on another ground
    masks[:, 8:16, 8:16], images[:, 0, 8:16, 8:16] = 1.0, 1.0
    classes = torch.zeros(2, dtype=torch.long)
    found, logits = attribution(network, images, classes, find_layer(model, "input"))
    assert logits.argmax(1).tolist() == [0, 1]  # the ground decides
    assert epg(found.detach(), masks)[0].tolist() == pytest.approx([1, 1])  # says the map
    found, _ = attribution(network, images, classes, find_layer(model, "last"))
    assert float(epg(found.detach(), masks)[0][0]) < 0.07  # the last layer's map does not


def test_inverted_guidance_leaves_the_masked_region(examples):
    model = load_tiny("x")
    away = Guidance(inverted=True)
    scores = measured(model, examples, away)
    assert scores["epg"] == pytest.approx(measured(model, examples)["epg_off"], abs=1e-6)


def test_a_fraction_is_stratified_nested_and_never_empty(examples):
    labels = np.repeat([0, 1], [300, 20])
    rows = np.arange(320)
    small, large = (annotated(rows, labels, f) for f in (0.01, 0.1))
    assert (labels[small] == 0).sum() == 3
    assert (labels[small] == 1).sum() == 1
    assert len(large) == 32
    assert set(small) <= set(large)
    assert annotated(rows, labels, 1.0).tolist() == rows.tolist()
    with pytest.raises(InputError, match="fraction 0"):
        annotated(rows, labels, 0.0)


def test_only_the_chosen_parts_move(examples):
    model = load_tiny("x")
    old = model.network.state_dict()
    moved = guide(model, examples, Guidance(layer="conv"), Recipe(epochs=1, parts="head")).state
    assert torch.equal(moved["conv.weight"], old["conv.weight"])
    assert not torch.equal(moved["fc.weight"], old["fc.weight"])
    assert parameters_after(model, find_layer(model, "conv")) == ["fc.weight", "fc.bias"]
    assert len(parameters_after(model, find_layer(model, "input"))) == 4


def test_layers_are_named_by_those_that_have_positions():
    model = load_tiny("x")
    assert list(layer_names(model)) == ["conv", "act"]
    with pytest.raises(InputError, match="no layer 'conf' with positions.*conv"):
        find_layer(model, "conf")


def test_a_head_is_put_into_the_network(rng):
    model = load_tiny("x")
    weight, bias = rng.normal(size=(2, 12)).astype(np.float32), np.float32([1, -1])
    head = Head(weight, bias, ["a", "b"], ["A", "B"], "fit")
    made = with_head(model, head)
    assert np.array_equal(made.weight, weight)
    assert made.outputs == ("a", "b")
    assert model.weight.shape == (3, 12)
    one, zero = np.ones((1, 12), np.float32), np.zeros((2, 1), np.float32)
    rectified = Head(weight, bias, ["a", "b"], ["A", "B"], "fit", Correction(one, one[0, :1], zero))
    with pytest.raises(InputError, match="rectified correction"):
        with_head(model, rectified)


def test_images_are_read_with_masks_or_boxes(tmp_path, rng):
    from PIL import Image

    pixels = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    mask = np.zeros((40, 40), np.uint8)
    mask[4:8, 4:8] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    preprocess = Preprocess((20, 20), 1.0, "bilinear", (0.5,) * 3, (0.25,) * 3)
    box = {"x_min": 0.0, "y_min": 0.0, "x_max": 20.0, "y_max": 40.0}
    none = dict.fromkeys(box, float("nan"))
    rows = [
        {"path": "a.png", "object_mask": "m.png", "cue_mask": "", **none},
        {"path": "a.png", "object_mask": "", "cue_mask": "m.png", **box},
        {"path": "a.png", "object_mask": "", "cue_mask": "", **none},
    ]
    found = read_examples(rows, tmp_path, preprocess, np.array([0, 1, 1]))
    assert found.objects.sum(axis=(1, 2)).tolist() == [4, 200, 0]
    assert found.cues.sum(axis=(1, 2)).tolist() == [0, 4, 0]
    assert found.with_objects("x").tolist() == [0, 1]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda e: Guidance("enrgy"), "guidance loss 'enrgy'"),
        (lambda e: Guidance(weight=-1), "weight -1"),
        (lambda e: Guidance(fraction=2), "fraction 2"),
        (lambda e: Guidance(attribution="lrp"), "attribution 'lrp'"),
        (lambda e: Recipe(epochs=0), "above 0"),
        (lambda e: Recipe(optimiser="adamw"), "optimiser 'adamw'"),
        (lambda e: guide(load_tiny("x"), Examples(e.pixels, e.labels)), "guidance needs masks"),
        (lambda e: Guidance(target="loss"), "target 'loss'"),
        (lambda e: Examples(e.pixels, e.labels[:3]), r"labels \(3,\)"),
        (lambda e: Examples(e.pixels / 2, e.labels), "uint8"),
    ],
)
def test_wrong_input_is_named(build, message, examples):
    with pytest.raises(InputError, match=message):
        build(examples)


def test_no_image_and_an_infinite_loss_are_named(examples):
    model = load_tiny("x")
    with pytest.raises(InputError, match="no image to train on"):
        guide(model, examples.take(np.zeros(0, np.int64)), Guidance(weight=0.0))
    with pytest.raises(InputError, match="lower the learning rate"):
        train(model, examples, lambda n, r: (torch.tensor(float("inf")), {}), Recipe(epochs=1))


def test_why_two_losses_leave_a_background_in_charge() -> None:
    """A peak raised on the object pays all of RRR*, and PPCE never sees what is off it."""
    masks = torch.zeros(1, 8, 8)
    masks[:, :4] = 1
    maps = torch.full((1, 8, 8), 0.1)
    maps[:, 4:] = 1.0
    off = maps[:, 4:].sum()
    raised = maps.clone()
    raised[:, 0, 0] = 10.0
    before, after = (guidance_loss(m, masks, "rrr") for m in (maps, raised))
    assert float(after) == pytest.approx(float(before) / 100)
    assert float(raised[:, 4:].sum()) == float(off)  # what the background adds is what it was
    assert float(raised[:, :4].sum()) < float(off)
    louder = maps.clone()
    louder[:, 5:] = 0.5  # other places off the object, below the peak
    one, other = (guidance_loss(m, masks, "ppce") for m in (maps, louder))
    assert float(one) == float(other)
    energies = [float(guidance_loss(m, masks, "energy")) for m in (maps, raised)]
    assert energies[1] > 0.6 * energies[0]  # a peak buys little of Energy
