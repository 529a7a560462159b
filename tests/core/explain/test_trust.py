"""Whether a map can be trusted: identities of the figures, and planted truth."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from core.audits.audit import Audit
from core.audits.explained import Asked, drawn, explain
from core.audits.judged import FIGURES, energy, judged
from core.errors import ModelError
from core.explain import trust
from core.explain.attribution import ATTRIBUTIONS, attribute
from core.explain.faithfulness import best, completeness, composed, order_of, soundness
from core.explain.trust import Case, judge
from core.measures.heatmap_figures import BY_FIGURE, HEATMAPS, IMAGES
from core.measures.measure_requests import MeasureRequest
from core.models.model import Model
from core.storage.workspace import Workspace
from core.tags.decisions import decided
from core.tags.log import TagStore
from tests.tiny import load_tiny


def test_as_many_pixels_are_kept_as_the_share_says_nested_and_by_the_map() -> None:
    heat = np.array([[3.0, 1.0], [2.0, -1.0]], np.float32)
    order = order_of(heat, (2, 2))
    assert order.tolist() == [0, 2, 1, 3]
    shares = [best(order, (2, 2), share) for share in (0, 0.25, 0.5, 1)]
    assert [int(kept.sum()) for kept in shares] == [0, 1, 2, 4]
    assert all((a <= b).all() for a, b in zip(shares, shares[1:], strict=False))
    assert shares[2].tolist() == [[True, False], [True, False]]
    flat = order_of(np.zeros((2, 2), np.float32), (3, 3))
    assert flat.tolist() == list(range(9))


def test_all_kept_is_the_image_and_none_the_fill(rng: np.random.Generator) -> None:
    image, fill = rng.random((2, 4, 4, 3))
    assert np.array_equal(composed(image, fill, np.ones((4, 4), bool)), image)
    assert np.array_equal(composed(image, fill, np.zeros((4, 4), bool)), fill)


def test_ratios_are_one_where_nothing_changes_and_below_either_way() -> None:
    f = np.array([0.8, 0.1, 1e-9])
    assert completeness(f, f, 4).tolist() == soundness(f, f, 4).tolist() == [1, 1, 1]
    g = np.array([0.4, 0.5, 1e-3])
    assert completeness(f, g, 4) == pytest.approx([0.5, 1, 1])
    assert soundness(f, g, 4) == pytest.approx([1, 0.5, 1])  # both held at 1/4 or above
    assert soundness(np.array([0.0]), np.array([0.5]), 1000) == pytest.approx([0.002])


@pytest.fixture
def case(tiny_audit: Audit) -> Case:
    from core.data.preprocess import apply

    model = load_tiny().use_head(tiny_audit.head)
    first = tiny_audit.images.index[0]
    pixels = apply(tiny_audit.preprocess, tiny_audit.image(first))
    fills = [np.full(pixels.shape, level, np.float32) for level in (0.4, 0.6)]
    directions = {k: np.asarray(model.weight[k], float) for k in range(len(model.weight))}
    return Case(model, pixels, fills, directions)


def test_a_map_upside_down_is_less_complete_than_the_map(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.explain import trust

    right, heat = judge(case, "exact")
    assert heat.shape == case.model.map_grid
    for name, value in vars(right).items():
        assert np.isfinite(value), name
    assert 0 <= right.completeness <= right.mean_completeness <= 1
    assert 0 <= right.soundness <= right.mean_soundness <= 1
    monkeypatch.setattr(trust, "attribute", lambda *given: -attribute(*given))
    wrong, _ = judge(case, "exact")
    assert wrong.insertion < right.insertion
    assert wrong.deletion > right.deletion
    assert wrong.completeness < right.completeness


def test_one_fill_has_no_sensitivity_and_no_noise_is_stable(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.explain import trust

    monkeypatch.setattr(trust, "NOISE", 0)
    found, _ = judge(Case(case.model, case.pixels, case.fills[:1], case.directions), "lrp")
    assert found.fill_sensitivity == 0
    assert found.stability == pytest.approx(1)


def test_a_learnt_mask_lies_on_what_the_number_rests_on(tiny_audit: Audit) -> None:
    model = load_tiny().use_head(tiny_audit.head)
    pixels = np.full((32, 32, 3), 128, np.uint8)
    pixels[8:16, 8:16] = 255, 0, 0
    import torch

    both = torch.from_numpy(np.stack([pixels, np.full_like(pixels, 128)]))
    shown, plain = model.encode(both).features.numpy().astype(float)
    mask = attribute(model, pixels, shown - plain, "learned_mask")
    assert mask.shape == (14, 14)
    assert 0 <= mask.min() <= mask.max() <= 1
    assert mask[4:6, 4:6].mean() > 0.7 > 0.4 > mask[10:, 10:].mean()


@pytest.fixture
def mine(tiny_audit: Audit, tmp_path: Path) -> Audit:
    shutil.copytree(tiny_audit.folder, tmp_path / "mine")
    return Audit(tmp_path / "mine")


def test_a_class_is_judged_image_by_image_and_averaged(mine: Audit) -> None:
    label, model = mine.classes[0].label, Model.use_head(load_tiny(), mine.head)
    assert judged(mine, label).empty
    asked, ids = Asked.of("trust", label), drawn(mine, label, 2)
    for _, said in explain(mine, asked, ids, model):
        assert not isinstance(said, Exception)
        assert set(said.facts["judged"]) == set(ATTRIBUTIONS)
        assert len(said.facts["labels"]) == len(set(said.facts["labels"])) == 2
        assert "fills: the model's mean colour" in said.notes[0]
    table = judged(mine, label, 2).set_index(["method", "figure"])
    assert len(table) == len(ATTRIBUTIONS) * (len(FIGURES) + 1)
    row = table.loc[("lrp", "insertion")]
    assert row["low"] <= row["value"] <= row["high"]
    assert row["n"] == 2
    assert table.loc[("lrp", "energy"), "n"] == 0  # without masks


def test_energy_in_a_mask_over_its_area(planted: Audit) -> None:
    image_id = next(i for i, name in planted.images["cue_mask"].items() if name)
    assert energy(planted, str(image_id), np.ones((4, 4))) == pytest.approx(1, abs=0.02)


def test_a_candidate_is_not_judged(mine: Audit) -> None:
    from core.candidates.key import CandidateKey

    label = mine.classes[0].label
    asked = Asked.of("trust", label, CandidateKey(label, "pca", 0))
    ((_, said),) = explain(mine, asked, drawn(mine, label, 1), load_tiny().use_head(mine.head))
    assert "leave the candidate" in str(said)


def test_a_class_is_judged_as_a_table_of_measures(
    mine: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only of some methods here; what fails is told once, and what is stored is not judged anew."""
    monkeypatch.setattr("core.measures.heatmap_figures.sample", lambda labels, _: labels[:1])
    monkeypatch.setattr("core.explain.trust._names", lambda _: ["exact", "input_x_gradient"])
    judged_one = trust.judge

    def judge(case: Case, method: str) -> object:
        if method == "input_x_gradient":
            raise ModelError("it has no slope")
        return judged_one(case, method)

    monkeypatch.setattr(trust, "judge", judge)
    decisions = decided(mine, TagStore.open(Workspace(tmp_path)))
    table = HEATMAPS.table(mine, decisions, MeasureRequest(mine.id, "trust"))
    (said,) = table.loc[table["measure"] == "note", "note"]
    assert said == "input_x_gradient: it has no slope"
    rows = table[table["measure"] != "note"]
    assert set(rows["subject"]) == {"Exact map"}
    assert set(rows["label"]) == {mine.classes[0].label}
    known = judged(mine, mine.classes[0].label, IMAGES).set_index("figure")["value"]
    for row in rows.to_dict("records"):
        assert row["value"] == known[row["measure"].removeprefix("heatmap_")]
        assert "filled with the mean colour, a blur and another image" in row["note"]
    assert {m.name for m in BY_FIGURE.values()} >= set(rows["measure"])
