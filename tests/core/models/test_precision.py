"""Which arithmetic an audit is computed in, and that a lower one is taken only where it may be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.audits.audit import Audit
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.corrections.card import card
from core.corrections.mitigate_request import MitigateRequest
from core.corrections.mitigation import run_mitigation
from core.errors import ModelError
from core.measures.shared_images import shared_images
from core.models import device
from core.models.model import Model
from core.models.precision import (
    DISTANCE,
    SAMPLE,
    Tried,
    in_words,
    nearest_mean,
    spread_over_classes,
    tried,
    unlike,
)
from core.storage.audit_manifest import Compute
from core.storage.files import read_json, write_json
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Preprocess, Tag
from tests.conftest import draw, tiny_request


def slow_distance(exact: np.ndarray, lower: np.ndarray) -> float:
    """Image by image; the largest of at most a hundred is their 99th percentile."""
    mean = sum(exact) / len(exact)
    ratios = [
        np.sqrt(((b - a) ** 2).sum()) / np.sqrt(((a - mean) ** 2).sum())
        for a, b in zip(exact, lower, strict=True)
    ]
    return max(ratios)


def own(features: np.ndarray) -> np.ndarray:
    return features.argmax(axis=1)


def test_distance_is_relative_to_the_deviation(rng: np.random.Generator) -> None:
    exact = rng.normal(5, 1, (60, 7))
    lower = exact + rng.normal(0, 1e-3, exact.shape)
    found = tried("bf16", exact, lower, own)
    assert found.distance == pytest.approx(slow_distance(exact, lower))
    assert found.holds
    shifted = tried("bf16", exact + 100, lower + 100, own)
    assert shifted.distance == pytest.approx(found.distance)


@pytest.mark.parametrize(
    ("distance", "differing", "error", "holds"),
    [
        (DISTANCE, 0, "", True),
        (0.0, 0, "", True),
        (DISTANCE * 1.001, 0, "", False),
        (0.0, 1, "", False),
        (float("inf"), 0, "", False),
        (0.0, 0, "no kernel", False),
    ],
)
def test_the_rule(distance: float, differing: int, error: str, holds: bool) -> None:
    assert Tried("bf16", 64, distance, differing, error=error).holds is holds


def test_features_that_are_not_numbers_never_hold(rng: np.random.Generator) -> None:
    exact = rng.normal(size=(20, 3))
    lower = exact.copy()
    lower[7, 1] = np.nan
    assert not tried("bf16", exact, lower, own).holds
    same = np.ones((4, 3))  # nothing deviates, and nothing moves
    assert tried("bf16", same, same, own).holds
    assert not tried("bf16", same, same + 1e-6, own).holds


def test_decisions_of_a_head_yet_to_be_fitted_are_those_of_the_nearest_mean() -> None:
    features = np.array([[0.0, 0], [0, 1], [9, 9], [9, 8]])
    decide = nearest_mean(features, ["b", "b", "a", "a"])
    assert decide(features).tolist() == [1, 1, 0, 0]
    assert decide(features[::-1]).tolist() == [0, 0, 1, 1]


def test_the_sample_takes_every_class_in_turn() -> None:
    labels = ["rare"] * 2 + ["common"] * 500 + ["other"] * 100
    order = spread_over_classes(labels)
    assert sorted(order.tolist()) == list(range(len(labels)))
    first = [labels[i] for i in order[:6]]
    assert sorted(first) == sorted(["rare", "common", "other"] * 2)
    assert spread_over_classes(labels).tolist() == order.tolist()
    assert order[:SAMPLE].tolist() != sorted(order[:SAMPLE].tolist())


class Rounding(nn.Module):
    """A network whose features bf16 moves by as much as a scale of its input says."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.fc.weight.copy_(torch.eye(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # a large constant eats the bits of what deviates from it
        return self.fc(self.pool(images + self.scale).flatten(1) - self.scale)


def network(scale: float) -> Model:
    half = (0.5, 0.5, 0.5)
    return Model("rounding", Rounding(scale), Preprocess((16, 16), 1.0, "bilinear", half, half))


def flat_images(n: int) -> tuple[torch.Tensor, list[str]]:
    """Plain images in three bright colours, far from every border of decision."""
    colours = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250]], np.uint8)
    pixels = np.repeat(np.repeat(colours[np.arange(n) % 3][:, None, None], 16, 1), 16, 2)
    return torch.from_numpy(pixels), [str(i % 3) for i in range(n)]


@pytest.mark.parametrize(("scale", "holds"), [(0.0, True), (8.0, False), (1024.0, False)])
@pytest.mark.parametrize("keep_head", [True, False])
def test_a_network_passes_or_fails_by_what_happens_to_its_features(
    scale: float, holds: bool, keep_head: bool
) -> None:
    model = network(scale)
    batch, labels = flat_images(SAMPLE)
    (found,) = device.choose_precision(model, ["bf16"], batch, labels, keep_head=keep_head)
    assert found.holds is holds
    assert model.precision == "fp32"
    assert found.images == SAMPLE if holds or found.typical <= DISTANCE else 16


def test_fp16_is_taken_where_bf16_does_not_hold(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, labels = flat_images(SAMPLE)
    found = device.choose_precision(network(8.0), ["bf16", "fp16"], batch, labels, keep_head=True)
    assert [(each.precision, each.holds) for each in found] == [("bf16", False), ("fp16", True)]
    monkeypatch.setattr(device, "supports", lambda _, precision: precision in ("fp32", "fp16"))
    audit = run_audit(tiny_request(folder, precision="auto"), workspace)
    (entry,) = audit.manifest.compute.tried
    assert entry["precision"] == "fp16"
    ids = audit.images.index.tolist()
    if audit.manifest.compute.precision == "fp16":
        means = audit.store.maps(ids).mean(axis=(2, 3))
        assert np.allclose(means, audit.features(ids), atol=1e-4)
    with pytest.raises(ModelError, match="runs in fp16 and has lost its fp32 weights"):
        network(0.0).to("cpu", "fp16").to("cpu", "fp32")


def test_a_precision_that_most_images_fail_is_given_up_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, int]] = []
    encode = Model.encode

    def counted(model: Model, batch: torch.Tensor) -> Any:
        seen.append((model.precision, len(batch)))
        return encode(model, batch)

    monkeypatch.setattr(Model, "encode", counted)
    batch, labels = flat_images(SAMPLE)
    device.choose_precision(network(1024.0), ["bf16"], batch, labels, keep_head=True)
    assert sum(n for precision, n in seen if precision == "bf16") == 16
    assert sum(n for precision, n in seen if precision == "fp32") == SAMPLE


def test_a_network_that_does_not_run_in_a_precision_stays_in_fp32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel for this\nmore")

    model = network(0.0)
    batch, labels = flat_images(8)
    monkeypatch.setattr(Model, "to", refuse)
    (found,) = device.choose_precision(model, ["bf16"], batch, labels, keep_head=True)
    assert not found.holds
    assert found.sentence == "bf16 does not run this model: no kernel for this"


def test_tf32_is_off_but_where_it_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    flags: list[bool] = []
    monkeypatch.setattr(device, "_allow_tf32", flags.append)
    with device.arithmetic("cuda", "fp32"):
        pass
    with device.arithmetic("cuda", "tf32"):
        pass
    with device.arithmetic("cpu", "fp32"):
        pass
    assert flags == [False, False, True, False]


@pytest.fixture
def has_bf16(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The switch of the processor's capability."""
    return lambda yes: monkeypatch.setattr(device, "supports_bf16", lambda _: yes)


def findings(audit: Audit) -> tuple[list[str], list[int]]:
    """Order of the classes by their largest gap, and the leading component of each."""
    table = audit.candidates[audit.candidates["kind"] == "pca"]
    lead = table.sort_values(["class_idx", "order"]).groupby("class_idx").first()
    classes = sorted(audit.classes, key=lambda c: c.label)
    return [c.label for c in classes], lead["component"].tolist()


def test_two_kinds_of_machines_find_the_same(
    folder: Path, workspace: Workspace, has_bf16: Any
) -> None:
    audits = []
    for yes in (False, True):
        has_bf16(yes)
        request = tiny_request(folder, precision="auto", name=f"bf16-{yes}")
        audits.append(run_audit(request, workspace))
    without, with_it = audits
    assert without.manifest.compute.precision == "fp32"
    assert without.manifest.compute.tried == ()
    (entry,) = with_it.manifest.compute.tried
    assert entry["precision"] == "bf16"
    assert with_it.manifest.compute.precision == ("bf16" if Tried(**entry).holds else "fp32")
    assert findings(without) == findings(with_it)


def test_images_held_out_do_not_change_the_choice(
    folder: Path, workspace: Workspace, has_bf16: Any, rng: np.random.Generator
) -> None:
    has_bf16(True)
    before = run_audit(tiny_request(folder, precision="auto", name="before"), workspace)
    for label in ("red", "blue"):
        for i in range(60):
            draw(folder / "test" / label / f"more{i}.jpg", (255, 255, 255), rng)
    after = run_audit(tiny_request(folder, precision="auto", name="after"), workspace)
    assert after.manifest.compute == before.manifest.compute


def learnt(audit: Audit) -> dict[str, bytes]:
    """What was learnt from the training images: the head and the components."""
    names = {"weight", "bias", "basis", "eigenvalues", "mean", "neurons"}
    paths = [*audit.folder.glob("head/*.npy"), *audit.folder.glob("classes/*/*.npy")]
    return {
        str(path.relative_to(audit.folder)): path.read_bytes()
        for path in paths
        if path.stem in names
    }


@pytest.mark.parametrize("anew", [False, True], ids=["the same audit", "another audit"])
def test_images_held_out_change_nothing_in_what_was_learnt(
    folder: Path, workspace: Workspace, rng: np.random.Generator, anew: bool
) -> None:
    before = learnt(run_audit(tiny_request(folder), workspace))
    for label in ("red", "blue"):
        for i in range(60):
            draw(folder / "test" / label / f"more{i}.jpg", (90, 90, 90), rng)
    audit = run_audit(tiny_request(folder, name="other" if anew else "tiny"), workspace)
    assert len(audit.images) > 120
    after = learnt(audit)
    assert any(name.endswith("basis.npy") for name in after)
    assert after == before


@pytest.mark.parametrize("method", ["pclarc", "rrclarc", "spufix"])
def test_images_held_out_change_no_correction(
    folder: Path, workspace: Workspace, rng: np.random.Generator, method: str
) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    TagStore.open(workspace).add("ann", audit.id, CandidateKey("red", PCA, 0), Tag.SPURIOUS)

    def corrected(name: str) -> dict[str, bytes]:
        request = MitigateRequest("tiny", method, name=name, pictures=False)
        made = run_mitigation(request, workspace)
        return {path.name: path.read_bytes() for path in made.folder.glob("head/*.npy")}

    before = corrected("before")
    for label in ("red", "blue"):
        for i in range(60):
            draw(folder / "test" / label / f"more{i}.jpg", (90, 90, 90), rng)
    run_audit(tiny_request(folder), workspace)
    assert corrected("after") == before


def test_bf16_for_those_who_ask_says_what_it_does(folder: Path, workspace: Workspace) -> None:
    audit = run_audit(tiny_request(folder, precision="bf16"), workspace)
    compute = audit.manifest.compute
    assert compute.precision == "bf16"
    assert "chosen by the user; bf16 moves the features of" in compute.reason
    words = in_words(compute)
    assert "was not measured" not in words
    assert words in card(audit).replace("\\", "")


def test_an_old_audit_in_bf16_says_that_nobody_measured_it() -> None:
    facts = {"device": "cpu", "precision": "bf16", "batch_size": 32}
    old = Compute.from_json({**facts, "reason": "agrees on 16 of 16."})
    assert in_words(old) == (
        "bf16 (agrees on 16 of 16); how far its figures are from those of fp32 was not measured"
    )
    assert in_words(replace(old, precision="fp32")) == "fp32 (agrees on 16 of 16)"


def test_an_audit_goes_on_only_in_its_own_arithmetic(
    folder: Path, workspace: Workspace, has_bf16: Any, rng: np.random.Generator
) -> None:
    has_bf16(True)
    audit = run_audit(tiny_request(folder, precision="bf16"), workspace)
    has_bf16(False)
    run_audit(tiny_request(folder, precision="auto"), workspace)  # nothing is to be computed
    draw(folder / "test" / "red" / "new.jpg", (255, 0, 0), rng)
    with pytest.raises(ModelError, match="'tiny' is computed in bf16, which this cpu has no"):
        run_audit(tiny_request(folder, precision="auto"), workspace)
    path = audit.folder / "manifest.json"
    manifest = read_json(path)
    manifest["compute"]["hardware"] = False  # begun where bf16 was emulated already
    write_json(path, manifest)
    assert run_audit(tiny_request(folder, precision="auto"), workspace).manifest.state


def test_models_in_different_arithmetic_are_said_to_be_so(
    folder: Path, workspace: Workspace
) -> None:
    exact = run_audit(tiny_request(folder, name="exact"), workspace)
    rounded = run_audit(tiny_request(folder, name="it's bf16", precision="bf16"), workspace)
    (note,) = shared_images([exact, rounded]).notes
    assert note.startswith("Computed in different arithmetic (exact in fp32, it's bf16 in bf16)")
    assert f"--data {folder} --model tiny:net --head fit" in note
    assert note.endswith("""--precision fp32 --name 'it'"'"'s bf16-fp32'""")
    assert unlike([exact.manifest, exact.manifest]) == ""
