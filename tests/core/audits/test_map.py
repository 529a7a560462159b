from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import shutil
import sys
import types
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tqdm import tqdm

from core.audits.audit import Audit
from core.audits.audit_requests import MapRequest
from core.audits.map import alpha_of, compute_map, make_map, map_key, read_map, scope_images
from core.candidates.linear_kinds import NEURON, PCA
from core.commands import maps as map_commands
from core.errors import InputError, WorkspaceError
from core.explain import embedding
from core.explain.embedding import (
    chance_reach,
    contrast,
    neighbours,
    principal_plane,
    stratified_sample,
    umap_plane,
)
from core.statistics.intervals import auroc
from core.storage.files import locked, write_frame
from core.storage.workspace import Workspace
from core.types import Progress


class FakeUmap:
    """Stands in for umap-learn, whose import alone takes half a minute on a busy machine."""

    asked: list[dict[str, object]] = []

    def __init__(self, **settings: object) -> None:
        self.bar = settings.pop("tqdm_kwds")
        self.asked.append(settings)

    def fit_transform(self, values: np.ndarray) -> np.ndarray:
        for _ in tqdm(range(3), **self.bar):
            pass
        found = values[:, :2].astype(np.float32) * 2
        found[0] = np.nan  # what UMAP gives a point without neighbours
        return found


@pytest.fixture
def fake_umap(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    module = types.ModuleType("umap")
    module.UMAP = FakeUmap  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    FakeUmap.asked = []
    return FakeUmap.asked


@pytest.fixture
def audit(tiny_audit: Audit, tmp_path: Path) -> Audit:
    """A copy that may be written into."""
    import shutil

    target = tmp_path / "workspace" / "audits" / tiny_audit.id
    shutil.copytree(tiny_audit.folder, target)
    return Audit(target)


def blobs(rng: np.random.Generator, n: int = 60, width: int = 8) -> np.ndarray:
    values = rng.normal(size=(n, width)).astype(np.float32) * np.arange(width, 0, -1)
    values[: n // 2, 0] += 20
    return values.astype(np.float32)


@pytest.mark.parametrize(("n", "width"), [(60, 8), (5, 40), (560, 520)])
def test_components_equal_the_singular_vectors_up_to_sign(
    rng: np.random.Generator, n: int, width: int
) -> None:
    values = rng.normal(size=(n, width)) * np.geomspace(1000, 1e-3, width)
    centred = values - values.mean(axis=0)
    _, strength, axes = np.linalg.svd(centred, full_matrices=False)
    plane = principal_plane(values.copy())
    agree = np.abs(np.sum(plane.axes[:4] * axes[:4], axis=1))
    np.testing.assert_allclose(agree, 1, atol=1e-4)
    share = strength**2 / np.sum(strength**2)
    np.testing.assert_allclose(plane.shares[:4], share[:4], rtol=1e-3)
    placed = np.abs(plane.apply(values)[:, 0])
    np.testing.assert_allclose(placed, np.abs(centred @ axes[0]), rtol=1e-3, atol=1e-2)


def test_components_are_the_same_every_time(rng: np.random.Generator) -> None:
    values = rng.normal(size=(700, 600)).astype(np.float32)
    one, two = principal_plane(values.copy()), principal_plane(values.copy())
    np.testing.assert_array_equal(one.axes, two.axes)
    assert one.axes.shape == (50, 600)


@pytest.mark.parametrize("n", [1, 2, 12])
def test_images_that_are_all_the_same_lie_on_one_point(n: int) -> None:
    plane = principal_plane(np.ones((n, 5), np.float32))
    assert np.isfinite(plane.axes).all()
    assert np.isfinite(plane.shares).all()
    np.testing.assert_allclose(plane.apply(np.ones((n, 5), np.float32)), 0, atol=1e-6)


@pytest.mark.parametrize(("n", "wanted"), [(0, 0), (9, 0), (10, 9), (15, 14), (16, 15), (900, 15)])
def test_neighbours_never_exceed_the_other_points(n: int, wanted: int) -> None:
    assert neighbours(n) == wanted


def test_umap_is_asked_for_one_thread_and_a_seed(
    rng: np.random.Generator, fake_umap: list[dict[str, object]]
) -> None:
    said: list[Progress] = []
    found = umap_plane(blobs(rng, 12), seed=5, report=said.append)
    assert said[0] == Progress("UMAP of 12 images", 0, 3, "epochs")
    assert said[-1] == Progress("UMAP of 12 images", 3, 3, "epochs")
    assert fake_umap == [{"n_neighbors": 11, "random_state": 5, "n_jobs": 1}]
    assert found is not None
    assert found.shape == (12, 2)
    assert np.isfinite(found).all()
    assert umap_plane(blobs(rng, 9)) is None


@pytest.mark.slow
def test_umap_is_the_same_every_time_and_keeps_blobs_apart(rng: np.random.Generator) -> None:
    values = blobs(rng)
    one, two = umap_plane(values), umap_plane(values)
    np.testing.assert_array_equal(one, two)
    assert one is not None
    left, right = one[:30], one[30:]
    inner = np.linalg.norm(left - left.mean(axis=0), axis=1).mean()
    assert np.linalg.norm(left.mean(axis=0) - right.mean(axis=0)) > 2 * inner
    alike = umap_plane(np.ones((12, 3), np.float32))
    assert alike is not None
    assert np.isfinite(alike).all()


def test_sample_gives_every_class_its_share() -> None:
    strata = ["a"] * 600 + ["b"] * 300 + ["c"] * 99 + ["rare"]
    found = stratified_sample(strata, 100, seed=1)
    chosen = [strata[i] for i in found]
    assert len(found) == 100
    assert len(set(found)) == 100
    assert (np.diff(found) > 0).all()
    assert chosen.count("rare") == 1
    assert abs(chosen.count("a") - 60) <= 1
    assert abs(chosen.count("b") - 30) <= 1


def test_sample_is_stable_and_seeded() -> None:
    strata = ["a", "b"] * 500
    one = stratified_sample(strata, 50, seed=1)
    np.testing.assert_array_equal(one, stratified_sample(strata, 50, seed=1))
    assert (one != stratified_sample(strata, 50, seed=2)).any()


@pytest.mark.parametrize(
    ("counts", "size"), [([3, 3], 6), ([3, 3], 9), ([1, 1, 1], 2), ([5, 1, 1], 6), ([], 4)]
)
def test_sample_of_odd_sizes(counts: list[int], size: int) -> None:
    strata = [i for i, n in enumerate(counts) for _ in range(n)]
    assert len(stratified_sample(strata, size)) == min(size, len(strata))


def test_contrast_equals_the_slow_auroc(rng: np.random.Generator) -> None:
    alpha = rng.normal(size=(40, 6)).round(1)  # with ties
    alpha[:, 5] = 2.0
    inside = rng.random(40) < 0.4
    table = contrast(alpha, inside)
    for row in table.to_dict("records"):
        column = alpha[:, row["row"]]
        pairs = [(a > b) + 0.5 * (a == b) for a in column[inside] for b in column[~inside]]
        assert row["auroc"] == pytest.approx(np.mean(pairs), abs=1e-9)
        assert row["auroc"] == pytest.approx(auroc(column, inside), abs=1e-9)
        assert row["direction"] == ("shows more" if row["auroc"] >= 0.5 else "shows less")
        assert row["inside_mean"] == pytest.approx(column[inside].mean())
    strength = np.abs(table["auroc"] - 0.5).to_numpy()
    assert (np.diff(strength) <= 1e-12).all()
    assert table["row"].iloc[-1] == 5


@pytest.mark.parametrize("sign", [1, -1])
def test_contrast_names_a_planted_component_first(rng: np.random.Generator, sign: int) -> None:
    inside = np.arange(60) < 25
    alpha = rng.normal(size=(60, 30))
    alpha[inside, 17] += 3 * sign
    first = contrast(alpha, inside).iloc[0]
    assert first["row"] == 17
    assert first["direction"] == ("shows more" if sign > 0 else "shows less")
    assert abs(first["auroc"] - 0.5) > chance_reach(25, 35, 30)


@pytest.mark.parametrize("n_in", [0, 2, 8, 10])
def test_contrast_needs_three_on_either_side(n_in: int) -> None:
    table = contrast(np.arange(20.0).reshape(10, 2), np.arange(10) < n_in)
    assert table.empty
    assert list(table) == ["row", "auroc", "direction", "inside_mean", "outside_mean"]
    assert contrast(np.zeros((10, 0)), np.arange(10) < 5).empty


def test_reach_of_chance_covers_groups_drawn_by_lot(rng: np.random.Generator) -> None:
    alpha, reach = rng.normal(size=(60, 20)), chance_reach(20, 40, 20)
    beyond = 0
    for _ in range(200):
        inside = np.zeros(60, bool)
        inside[rng.permutation(60)[:20]] = True
        beyond += abs(contrast(alpha, inside)["auroc"].iloc[0] - 0.5) > reach
    assert beyond <= 20  # 5 % of 200, and some luck
    assert chance_reach(3, 3, 100) <= 0.5


def test_map_is_stored_and_read_back(audit: Audit, fake_umap: list[dict[str, object]]) -> None:
    assert read_map(audit) is None
    seen: list[Progress] = []
    made = compute_map(audit, report=seen.append)
    stored = read_map(audit)
    assert stored is not None
    assert stored.shown == made.shown == audit.images.index.tolist()
    np.testing.assert_array_equal(stored.ids, made.ids)
    np.testing.assert_array_equal(stored.pca, made.pca)
    np.testing.assert_array_equal(stored.points("umap"), made.points("umap"))
    assert stored.facts == made.facts
    assert stored.facts.umap is True
    assert {p.stage for p in seen} >= {"Reading features", "Placing images"}
    compute_map(audit)
    assert len(fake_umap) == 1  # the second call reads
    assert not list(audit.files.map_of(None).folder.parent.glob(".*"))


def test_psi_of_a_class_holds_its_images_weighted(audit: Audit) -> None:
    facts = audit.classes[1]
    made = compute_map(audit, facts.class_idx, umap=False)
    arrays = audit.class_arrays(facts.class_idx)
    assert made.shown == arrays.image_ids
    psi = audit.features(made.shown) * audit.head.weight[facts.class_idx]
    centred = psi - psi.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    wanted = np.abs(centred @ axes[:2].T)
    np.testing.assert_allclose(np.abs(made.pca), wanted, rtol=1e-3, atol=1e-5)


def test_umap_is_added_to_a_map_that_has_only_pca(
    audit: Audit, fake_umap: list[dict[str, object]]
) -> None:
    first = compute_map(audit, umap=False)
    assert first.umap is None
    assert not fake_umap
    np.testing.assert_array_equal(first.points("umap"), first.points("pca"))
    assert compute_map(audit).umap is not None
    again = compute_map(audit, umap=False)
    assert again.umap is not None  # never thrown away


def test_few_images_get_pca_and_a_sentence(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.audits.map.FEWEST", 1000)
    monkeypatch.setattr(embedding, "FEWEST", 1000)
    made = compute_map(audit)
    assert made.umap is None
    assert any("no UMAP of" in note for note in made.facts.notes)
    assert compute_map(audit).facts == made.facts


def test_a_sample_is_drawn_and_every_image_placed(
    audit: Audit, monkeypatch: pytest.MonkeyPatch, fake_umap: list[dict[str, object]]
) -> None:
    whole = make_map(audit, umap=False)
    monkeypatch.setattr("core.audits.map.SAMPLE", 20)
    monkeypatch.setattr("core.audits.map.SLICE", 7)
    made = compute_map(audit)
    assert made.facts.shown == len(made.shown) == len(made.points("umap")) == 20
    assert len(made.pca) == made.facts.n == len(audit.images)
    assert "sample of 20 of 36 images" in made.facts.notes[0]
    labels = audit.images.loc[made.shown, "label"].value_counts()
    assert labels.tolist() == [10, 10]
    np.testing.assert_array_equal(made.points("pca"), made.pca[made.sample])
    first, other = whole.pca[:, 0], made.pca[:, 0]
    assert abs(np.corrcoef(first, other)[0, 1]) > 0.9


def test_slices_change_nothing(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_map(audit, umap=False)
    monkeypatch.setattr("core.audits.map.SLICE", 5)
    np.testing.assert_allclose(make_map(audit, umap=False).pca, whole.pca, atol=1e-5)


def test_key_follows_images_and_head(audit: Audit, tmp_path: Path) -> None:
    compute_map(audit, umap=False)
    one, psi = map_key(audit, None), map_key(audit, audit.classes[0].class_idx)
    assert one != psi
    shutil.copytree(audit.folder, folder := tmp_path / "audits" / audit.folder.name)
    other = Audit(folder)
    table = pd.read_parquet(other.files.images)
    table.loc[0, "label"] = next(label for label in table["label"] if label != table["label"][0])
    write_frame(other.files.images, table)
    assert map_key(other, None) != one
    assert read_map(other) is None
    assert read_map(audit) is not None
    changed = Audit(audit.folder)
    changed.head.weight[0] += 1
    assert map_key(changed, None) == one
    assert map_key(changed, 0) != map_key(audit, 0)


def test_images_of_a_map_of_all_are_hashed_once(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pd.util.hash_pandas_object(scope_images(audit, None), index=True).to_numpy()
    expected = hashlib.blake2b(rows.tobytes(), digest_size=8).hexdigest()
    told: list[Mapping[str, object]] = []
    monkeypatch.setattr("core.audits.map.fingerprint", lambda of: told.append(of) or "")
    map_key(audit, None)
    monkeypatch.setattr(pd.util, "hash_pandas_object", None)  # nobody hashes again
    map_key(Audit(audit.folder), None)
    assert [each["images"] for each in told] == [expected] * 2


def test_the_same_map_is_not_computed_twice_at_once(audit: Audit) -> None:
    lock = audit.files.map_of(None).folder.parent / "features.lock"
    ready, done = multiprocessing.Event(), multiprocessing.Event()

    def hold() -> None:
        with locked(lock, ""):
            ready.set()
            done.wait(20)

    other = multiprocessing.get_context("fork").Process(target=hold)
    other.start()
    try:
        assert ready.wait(20)
        with pytest.raises(WorkspaceError, match="being computed already"):
            compute_map(audit, umap=False)
    finally:
        done.set()
        other.join()
    assert compute_map(audit, umap=False).facts.n == 36


def test_what_a_killed_run_left_goes_away(audit: Audit) -> None:
    left = audit.files.map_of(None).folder.parent / ".features-0123456789ab"
    left.mkdir(parents=True)
    compute_map(audit, umap=False)
    assert not left.exists()


def test_alpha_on_any_images_equals_the_stored_one(audit: Audit) -> None:
    arrays = audit.class_arrays(0)
    for candidate in (arrays.candidate(PCA, 0), arrays.candidate(NEURON, 3)):
        found = alpha_of(audit, candidate, arrays.image_ids)
        if arrays.column(candidate.key) >= 0:
            np.testing.assert_allclose(found, arrays.alpha_of(candidate.key), atol=1e-4)


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    MapRequest.add_arguments(parser)
    return parser.parse_args(arguments)


def test_command_computes_and_describes(audit: Audit, fake_umap: list[dict[str, object]]) -> None:
    workspace = Workspace(audit.folder.parent.parent)
    result, text = map_commands.run(options("tiny", "--class", "red"), workspace)
    assert (result["class"], result["n"], result["shown"], result["umap"]) == ("red", 18, 18, True)
    assert Path(result["folder"], "umap.npy").exists()
    assert "map of class red of tiny: 18 of 18 shown, UMAP and PCA" in text
    result, text = map_commands.run(options("tiny", "--pca-only"), workspace)
    assert (result["class"], result["n"], result["umap"]) == (None, 36, False)
    assert "all images" in text
    with pytest.raises(InputError, match="no class 'green'"):
        map_commands.run(options("tiny", "--class", "green"), workspace)


def test_what_the_page_starts_is_the_command() -> None:
    assert MapRequest("abc").arguments() == ["map", "abc"]
    started = MapRequest("abc", "-odd").arguments()
    assert options(*started[1:]).class_name == "-odd"
