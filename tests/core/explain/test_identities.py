"""What has to be equal whatever the images: sums, means, replicas, maps of every route."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.audits.audit import Audit
from core.audits.class_arrays import ClassArrays
from core.audits.export import write_features, write_heatmaps
from core.audits.run import run_audit
from core.candidates.candidate import Candidate, heatmaps
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON, PCA
from core.config import TOP_IMAGES
from core.errors import InputError
from core.explain.single import logit_sum
from core.measures.components import match_components
from core.storage.workspace import Workspace
from tests import reference
from tests.conftest import draw, tiny_request
from tests.tiny import load_tiny


@pytest.fixture(params=[0, 1], ids=["class 0", "class 1"])
def arrays(request: pytest.FixtureRequest, tiny_audit: Audit) -> ClassArrays:
    return tiny_audit.class_arrays(request.param)


@pytest.fixture
def copied(tiny_audit: Audit, tmp_path: Path) -> Audit:
    """The same audit, to be changed."""
    shutil.copytree(tiny_audit.folder, tmp_path / "copy")
    return Audit(tmp_path / "copy")


def candidates(arrays: ClassArrays) -> list[Candidate]:
    r = arrays.pca.basis.shape[1]
    return [arrays.candidate(PCA, i) for i in range(r)] + [
        arrays.candidate(NEURON, int(j)) for j in arrays.neurons
    ]


def test_alphas_and_residual_sum_to_the_logit(tiny_audit: Audit, arrays: ClassArrays) -> None:
    r, class_idx = arrays.pca.basis.shape[1], arrays.facts.class_idx
    logits = tiny_audit.head.logits(tiny_audit.features(arrays.image_ids))[:, class_idx]
    total = np.asarray(arrays.alpha[:, :r]).sum(axis=1) + arrays.residual
    assert total == pytest.approx(logits - arrays.facts.logit_mean, abs=1e-4)


def test_the_class_mean_is_that_of_its_training_images(
    tiny_audit: Audit, arrays: ClassArrays
) -> None:
    ids = [i for i, fitted in zip(arrays.image_ids, arrays.fitting, strict=True) if fitted]
    assert set(tiny_audit.images.loc[ids, "split"]) == {"train"}
    logits = tiny_audit.head.logits(tiny_audit.features(ids))[:, arrays.facts.class_idx]
    assert logits.mean() == pytest.approx(arrays.facts.logit_mean, abs=1e-5)


def test_nothing_is_left_of_training_images_when_all_components_are_kept(
    arrays: ClassArrays,
) -> None:
    assert arrays.pca.basis.shape[1] == min(arrays.facts.n_fitted - 1, 12)
    assert np.asarray(arrays.residual)[arrays.fitting] == pytest.approx(0, abs=1e-5)


def test_a_truncated_basis_leaves_a_residual(folder: Path, workspace: Workspace) -> None:
    audit = run_audit(tiny_request(folder, components=2), workspace)
    arrays = audit.class_arrays(0)
    logits = audit.head.logits(audit.features(arrays.image_ids))[:, 0]
    total = np.asarray(arrays.alpha[:, :2]).sum(axis=1) + arrays.residual
    assert np.abs(arrays.residual).max() > 1e-4
    assert total == pytest.approx(logits - arrays.facts.logit_mean, abs=1e-4)


def test_alpha_equals_a_plain_eigh_of_the_exported_features(
    tiny_audit: Audit, arrays: ClassArrays, tmp_path: Path
) -> None:
    write_features(tiny_audit, tmp_path / "f.npz")
    file = np.load(tmp_path / "f.npz")
    ids, class_idx = file["image_id"].tolist(), arrays.facts.class_idx
    rows = [ids.index(i) for i in arrays.image_ids]
    features, weight = file["features"][rows], file["weight"][class_idx]
    mean, values, vectors = reference.class_pca(features[arrays.fitting], weight)
    r = arrays.pca.basis.shape[1]
    assert arrays.pca.eigenvalues == pytest.approx(values[:r], rel=1e-3, abs=values[0] * 1e-6)
    for component in range(r):
        expected = reference.alpha(features, weight, mean, vectors[:, component])
        scale = np.abs(expected).max()
        assert np.asarray(arrays.alpha[:, component]) == pytest.approx(expected, abs=1e-3 * scale)
    assert file["logits"] == pytest.approx(
        file["features"] @ file["weight"].T + file["bias"], abs=1e-6
    )


def test_neuron_alpha_is_its_centred_contribution(tiny_audit: Audit, arrays: ClassArrays) -> None:
    r, features = arrays.pca.basis.shape[1], tiny_audit.features(arrays.image_ids)
    for column, j in enumerate(arrays.neurons):
        phi = features[:, j].astype(np.float64)
        expected = arrays.pca.weight[j] * (phi - phi[arrays.fitting].mean())
        assert np.asarray(arrays.alpha[:, r + column]) == pytest.approx(expected, abs=1e-6)


def test_heatmaps_average_to_alpha(tiny_audit: Audit, arrays: ClassArrays) -> None:
    for candidate in candidates(arrays):
        maps = tiny_audit.heatmaps(candidate, arrays.image_ids)
        alpha = np.asarray(arrays.alpha_of(candidate.key))
        assert maps.mean(axis=(1, 2)) == pytest.approx(alpha, abs=1e-3)
        assert maps.mean(axis=(1, 2)) == pytest.approx(alpha, abs=1e-5 * max(1, np.ptp(alpha)))


def test_exported_heatmaps_average_to_alpha(tiny_audit: Audit, tmp_path: Path) -> None:
    write_heatmaps(tiny_audit, "red", PCA, 1, None, tmp_path / "h.npz")
    file, arrays = np.load(tmp_path / "h.npz"), tiny_audit.class_arrays(1)
    assert file["image_id"].tolist() == arrays.image_ids
    assert file["maps"].mean(axis=(1, 2)) == pytest.approx(np.asarray(arrays.alpha[:, 1]), abs=1e-3)
    assert file["crop_box"].tolist() == [[0, 0, 64, 64]] * 18


def test_heatmaps_equal_the_slow_replica(tiny_audit: Audit, arrays: ClassArrays) -> None:
    ids = arrays.image_ids[:2]
    maps = tiny_audit.maps(ids)
    for candidate in candidates(arrays)[:3]:
        for found, one in zip(tiny_audit.heatmaps(candidate, ids), maps, strict=True):
            expected = reference.heatmap(one, candidate.direction, candidate.offset)
            assert found == pytest.approx(expected, abs=1e-5)


def test_stored_top_maps_equal_those_on_demand(tiny_audit: Audit, arrays: ClassArrays) -> None:
    assert arrays.top_maps is not None
    table = tiny_audit.candidates.query("class_idx == @arrays.facts.class_idx and kind != 'part'")
    for candidate, top in zip(candidates(arrays), table["top_image_ids"], strict=True):
        assert len(top) == TOP_IMAGES
        stored = arrays.top_maps_of(candidate.key)[: len(top)]
        assert tiny_audit.heatmaps(candidate, list(top)) == pytest.approx(stored, abs=1e-5)


def test_top_images_are_the_training_images_with_the_largest_alpha(
    tiny_audit: Audit, arrays: ClassArrays
) -> None:
    table = tiny_audit.candidates.query("class_idx == @arrays.facts.class_idx")
    ids = np.array(arrays.image_ids)[arrays.fitting]
    for _, facts in table.iterrows():
        key = CandidateKey(arrays.label, facts["kind"], facts["component"])
        alpha = arrays.alpha_of(key)[arrays.fitting]
        top = alpha[[int(np.flatnonzero(ids == i)[0]) for i in facts["top_image_ids"]]]
        assert np.all(np.diff(top) <= 1e-6)
        assert top == pytest.approx(np.sort(alpha)[::-1][: len(top)], abs=1e-6)
        assert facts["alpha_max"] == pytest.approx(alpha.max(), abs=1e-5)


def test_maps_computed_anew_equal_those_of_the_pass(tiny_audit: Audit, copied: Audit) -> None:
    ids = tiny_audit.images.index[:7].tolist()
    stored = tiny_audit.maps(ids)
    copied.store.drop_maps()
    assert not copied.store.has_maps(ids)
    assert np.array_equal(copied.maps(ids), stored)


def test_another_model_does_not_explain_an_audit(
    copied: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = replace(copied.manifest.parts, weights="0" * 32)
    copied.manifest = replace(copied.manifest, parts=parts)
    copied.store.drop_maps()
    with pytest.raises(InputError, match="the weights of tiny:net are not those of audit 'tiny'"):
        copied.maps(copied.images.index[:1].tolist())


def test_an_uploaded_image_of_the_audit_is_that_image(copied: Audit) -> None:
    image_id = copied.images.index[5]
    model = load_tiny("tiny:net")
    upload = copied.upload(copied.path(image_id).read_bytes(), model)
    assert upload == copied.upload(copied.path(image_id).read_bytes(), model)
    assert copied.features([upload]) == pytest.approx(copied.features([image_id]), abs=1e-5)
    candidate = copied.class_arrays(0).candidate(PCA, 0)
    assert copied.heatmaps(candidate, [upload]) == pytest.approx(
        copied.heatmaps(candidate, [image_id]), abs=1e-5
    )
    assert copied.image(upload).size == (64, 64)


def test_what_is_no_image_is_not_uploaded(copied: Audit) -> None:
    with pytest.raises(InputError, match="not an image of a known format"):
        copied.upload(b"text", load_tiny("tiny:net"))
    assert not list((copied.folder / "uploads").glob("*"))


@pytest.mark.parametrize("image_id", ["", "up", "../../x", "up../x", "0" * 16])
def test_unknown_images(tiny_audit: Audit, image_id: str) -> None:
    with pytest.raises(InputError, match="holds no image"):
        tiny_audit.path(image_id)


def test_one_image_taken_apart(tiny_audit: Audit, arrays: ClassArrays) -> None:
    phi = tiny_audit.features(arrays.image_ids[3:4])
    logit = float(tiny_audit.head.logits(phi)[0, arrays.facts.class_idx])
    parts = logit_sum(arrays.pca, arrays.facts.logit_mean, logit, phi[0])
    assert parts.total == pytest.approx(logit, abs=1e-9)
    r = arrays.pca.basis.shape[1]
    assert parts.alpha == pytest.approx(np.asarray(arrays.alpha[3, :r]), abs=1e-5)
    largest, others = parts.largest(2)
    assert parts.alpha[largest].sum() + others == pytest.approx(parts.alpha.sum())


def test_an_audit_matches_itself(tiny_audit: Audit) -> None:
    table = match_components(tiny_audit, tiny_audit, "red")
    assert table["component_a"].tolist() == table["component_b"].tolist()
    assert table["correlation"].to_numpy() == pytest.approx(1, abs=1e-6)
    strong = table[table["share_a"].abs() > 1e-3]
    assert strong["quality"].to_numpy() == pytest.approx(1, abs=1e-3)


def test_shares_sum_to_one(tiny_audit: Audit, arrays: ClassArrays) -> None:
    table = tiny_audit.candidates.query("class_idx == @arrays.facts.class_idx")
    for kind, rows in table.groupby("kind"):
        rest = arrays.of_kind("part").arrays["rest"][arrays.fitting] if kind == "part" else None
        left = 0.0 if rest is None else rest_of_variance(arrays, rest)
        assert rows["variance_share"].sum() + left == pytest.approx(1, abs=1e-5)


def rest_of_variance(arrays: ClassArrays, rest: np.ndarray) -> float:
    """Share of the margin's variance that no part has."""
    alpha = np.asarray(arrays.of_kind("part").alpha, np.float64)[arrays.fitting]
    margin = alpha.sum(axis=1) + rest
    return float(np.cov(rest, margin)[0, 1] / margin.var(ddof=1))


def test_a_position_without_anything_contributes_minus_the_offset() -> None:
    found = heatmaps(np.zeros((1, 3, 2, 4), np.float32), np.ones((2, 3)), np.array([1.0, -2.0]))
    assert found[0, :, 1, 3].tolist() == [-1, 2]
    assert found.shape == (1, 2, 2, 4)


def test_images_that_are_not_square(
    folder: Path, workspace: Workspace, rng: np.random.Generator
) -> None:
    from PIL import Image

    wide = rng.integers(0, 255, (40, 90, 3), dtype=np.uint8)
    Image.fromarray(wide).save(folder / "train/red/wide.png")
    draw(folder / "train/red/big.png", (0, 0, 0), rng, size=300)
    audit = run_audit(tiny_request(folder), workspace)
    arrays = audit.class_arrays(1)
    found = audit.heatmaps(arrays.candidate(PCA, 0), arrays.image_ids)
    assert found.mean(axis=(1, 2)) == pytest.approx(np.asarray(arrays.alpha[:, 0]), abs=1e-4)
    image_id = audit.images.query("path == 'train/red/wide.png'").index[0]
    write_heatmaps(audit, "red", PCA, 0, [image_id], folder / "h.npz")
    assert np.load(folder / "h.npz")["crop_box"].tolist() == [[25, 0, 65, 40]]
