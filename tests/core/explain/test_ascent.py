"""Pictures that raise alpha: what every method has to keep to, on a network wired by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core.__main__ import main
from core.audits.audit import Audit
from core.audits.explained import Asked, explain
from core.audits.strategies import discover
from core.candidates.cluster_search import Asked as Sought
from core.candidates.key import CandidateKey
from core.errors import ModelError
from core.explain.ascent import Hill, Schedule, feature_attack, feature_visualisation, withstands
from core.explain.explainer import EXPLAINERS
from core.models.model import Model
from tests.core.conftest import RED, load_white_box, unmeasured

SIZE = (32, 32)


def told(done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def model() -> Model:
    return load_white_box()


@pytest.fixture(scope="module")
def own(planted: Audit, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    audit = unmeasured(planted, tmp_path_factory.mktemp("climbed") / "workspace")
    discover(audit, ["leaf"], Sought(clusters=2))
    return Audit(audit.folder)


def hill(audit: Audit, key: str, model: Model) -> Hill:
    return Hill(model.use_head(audit.head), audit.candidate(key))


def test_plain_ascent_stays_in_the_ball_and_keeps_its_best(own: Audit, model: Model) -> None:
    top = hill(own, f"leaf/neuron-{RED}", model)
    path = feature_visualisation(top, SIZE, Schedule(steps=60), 3, told)
    radius = 30 * 32 / 224
    for frame in path.frames:
        assert frame.min() >= 0
        assert frame.max() <= 1
        assert np.linalg.norm(frame - 0.5) <= radius * 1.0001
    assert len(path.alpha) == 61
    assert path.alpha[-1] >= path.alpha[:-1].max() - 1e-6
    again = feature_visualisation(top, SIZE, Schedule(steps=60), 3, told)
    np.testing.assert_array_equal(path.frames, again.frames)
    other = feature_visualisation(top, SIZE, Schedule(steps=60), 4, told)
    assert not np.array_equal(path.frames, other.frames)
    red = path.frames[-1].mean(axis=(0, 1))
    assert red[0] > red[1:].max() + 0.05  # what the neuron answers to


def test_windows_are_those_of_the_published_schedule() -> None:
    """p_1 = .22, then p_(j+1) = p_j + max(p_j - p_(j-1) - .03, .06), of 100 steps."""
    expected, before, after = [], 0.0, 0.22
    while after <= 1:
        expected.append(round(np.ceil(100 * after)))
        before, after = after, after + max(after - before - 0.03, 0.06)
    assert Schedule(steps=100).windows() == expected
    assert expected[:5] == [22, 41, 58, 70, 80]


def test_an_attack_begins_with_the_image_and_takes_steps_of_one_length(
    own: Audit, model: Model
) -> None:
    image = np.full((*SIZE, 3), 0.5, np.float32) + 0.1 * np.eye(3, dtype=np.float32)[0]
    path = feature_attack(hill(own, f"leaf/neuron-{RED}", model), image, 2.0, 6, told)
    np.testing.assert_allclose(path.frames[0], image, atol=1e-6)
    steps = np.linalg.norm(np.diff(path.frames, axis=0).reshape(6, -1), axis=1)
    assert (steps <= 2 * 32 / 224 * 1.001).all()
    assert path.alpha[-1] > path.alpha[0]


@pytest.mark.parametrize("kind", ["pca", "neuron", "part", "cluster"])
def test_the_slope_is_that_of_small_changes_in_the_pixels(
    kind: str, own: Audit, model: Model, rng: np.random.Generator
) -> None:
    number = int(own.arrays_of("leaf").of_kind(kind).numbers[0])
    top = hill(own, f"leaf/{kind}-{number}", model)
    ids = own.arrays_of("leaf").image_ids[:1]
    pixels = np.asarray(own.image(ids[0]), np.float32) / 255
    start = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    alpha, slope = top(start)
    np.testing.assert_allclose(alpha, own.alpha(top.candidate, ids), rtol=1e-3, atol=1e-4)
    step = 1e-3 * slope / slope.norm().clamp_min(1e-12)
    change = float(top(start + step)[0][0] - top(start - step)[0][0])
    assert change == pytest.approx(2e-3 * float(slope.norm()), rel=0.05, abs=1e-6)


def test_every_method_says_what_it_did_and_keeps_it(
    own: Audit, model: Model, tmp_path: Path
) -> None:
    key = CandidateKey("leaf", "neuron", RED)
    alpha = own.arrays_of("leaf").alpha_of(key)
    high = float(np.quantile(alpha, 0.99))
    short = {"npfv": {"steps": "40"}, "attack": {"steps": "20"}, "fourier": {}, "look": {}}
    for name, settings in short.items():
        asked = Asked.of(name, "leaf", key, settings)
        ((_, said),) = explain(own, asked, model=model)
        assert said.facts["alpha"] > high, name
        assert 0 <= said.facts["probability"] <= 1
        pictures = EXPLAINERS[name].pictures(said, np.zeros((0, 0, 3), np.uint8))
        assert {"picture", "steps"} <= set(pictures)
        ((_, again),) = explain(own, asked, model=None)
        np.testing.assert_array_equal(again.arrays["pictures"], said.arrays["pictures"])
    assert "right predictions withstand a push" in said.words
    assert said.facts["method"] in ("npfv", "fourier")


def test_the_leading_ones_are_drawn_by_one_command_the_surest_first(
    own: Audit, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    at = ["--workspace", str(own.folder.parent.parent), "--json"]
    asked = ["discover", own.name, "--class", "leaf", "--method", "npfv"]
    assert main([*asked, "--count", "2", "--out", str(tmp_path), *at]) == 0
    written = {path.name for path in tmp_path.iterdir()}
    assert {"npfv-0-pca-1.npz", "npfv-0-pca-1-picture.png", "npfv-0-pca-0-steps.png"} <= written
    said = json.loads(capsys.readouterr().out)["pictures"]
    assert {row["key"] for row in said} == {"leaf/pca-0", "leaf/pca-1"}
    odds = [row["probability"] for row in said]
    assert odds == sorted(odds, reverse=True)
    assert all(row["lifted"] == (row["alpha"] > row["real"]) for row in said)
    assert main([*asked, "--kind", "parts", *at]) == 2
    assert "choose" in capsys.readouterr().err


def test_what_has_no_slope_says_so(own: Audit, model: Model) -> None:
    part = own.candidate("leaf/part-0")

    class Approximate(type(part)):
        needs = "contributions"

    top = Hill(model, Approximate(part.class_idx, part.key, part.parts))
    with pytest.raises(ModelError, match="part 1 has no slope in the pixels"):
        top(torch.full((1, 3, *SIZE), 0.5))


def test_a_network_without_gradients_is_named(
    own: Audit, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(batch: torch.Tensor) -> None:
        raise RuntimeError("not implemented for BFloat16")

    top = hill(own, "leaf/pca-0", model)
    monkeypatch.setattr(model, "encode_with_slope", refuse)
    grey = torch.full((1, 3, *SIZE), 0.5)
    with pytest.raises(ModelError, match=r"fp32 on cpu \(not implemented for BFloat16\): no pic"):
        top(grey)
    monkeypatch.setattr(model, "precision", "bf16")
    with pytest.raises(ModelError, match=r"has no gradients in bf16 on cpu \(.*\): audit it with"):
        top(grey)


def test_a_push_of_no_length_changes_no_prediction(own: Audit, model: Model) -> None:
    model.use_head(own.head)
    ids = own.arrays_of("leaf").image_ids[:8]
    images = np.stack([np.asarray(own.image(i), np.float32) / 255 for i in ids])
    still, there = withstands(model, 0, images, length=0)
    assert still == there > 0
    assert withstands(model, 0, images, length=300)[0] < there
