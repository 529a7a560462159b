"""Drawn features: the truth they are drawn by, the audit made of them, and a disk too small."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from core.__main__ import main
from core.audits import synthetic
from core.audits.audit import Audit
from core.audits.integrity import verify
from core.audits.synth_request import SynthRequest
from core.audits.synthetic import needed, run_synth
from core.errors import InputError, WorkspaceError
from core.features.spectra import CUE_RANK, EXPONENT, LEANING, Spectra, scattered
from core.statistics.intervals import auroc
from core.storage.workspace import Workspace

SIZE = {"images": 900, "classes": 3, "dim": 96}


def test_a_class_has_the_spectrum_it_is_drawn_by() -> None:
    spectra, n = Spectra(40_000, 2, 32, seed=3), 20_000
    features = spectra.features(0, n).astype(np.float64)
    values = np.linalg.eigvalsh(np.cov(features.T))[::-1]
    law = np.arange(1, 33) ** -EXPONENT
    assert np.allclose(values / (32 * law / law.sum()), 1, atol=0.06)
    slope = np.polyfit(np.log(np.arange(1, 33)), np.log(values), 1)[0]
    assert slope == pytest.approx(-EXPONENT, abs=0.02)
    law_of = spectra.law(0)
    assert np.abs(features.mean(axis=0) - law_of.mean).max() < 0.1
    shown = spectra.shows(np.arange(n))
    assert 0.48 < shown.mean() < 0.52
    apart = features[shown].mean(axis=0) - features[~shown].mean(axis=0)
    assert np.abs(apart - 2 * law_of.cue_features).max() < 0.1
    assert np.square(law_of.cue_features).sum() == pytest.approx(32 * law[CUE_RANK] / law.sum())
    logits = features @ spectra.weight().T
    assert logits[shown, 0].mean() - logits[~shown, 0].mean() == pytest.approx(2 * LEANING, abs=0.1)


def test_any_image_can_be_drawn_by_itself() -> None:
    spectra, rows = Spectra(**SIZE, seed=1), np.arange(900)
    assert Spectra.of_source(spectra.source) == spectra
    assert Spectra.of_source("demo:cues") is None
    features = spectra.features(290, 20)  # over the border of two classes
    assert np.array_equal(features, spectra.features(290, 20))
    maps = spectra.maps(np.arange(290, 310), features)
    assert np.abs(maps.mean(axis=(2, 3)) - features).max() < 1e-4
    assert np.bincount(spectra.class_of(rows)).tolist() == [300, 300, 300]
    assert np.bincount(spectra.class_of(rows)[spectra.fitting(rows)]).tolist() == [210] * 3
    assert not spectra.shows(rows)[300:600].any()  # every second class has no cue
    slow = [(row + 2 * 0x9E3779B97F4A7C15) & (2**64 - 1) for row in range(5)]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        slow = [((z ^ (z >> shift)) * factor) & (2**64 - 1) for z in slow]
    assert scattered(rows[:5], 1).tolist() == slow
    with_cue, without = (
        np.asarray(spectra.picture(int(np.flatnonzero(spectra.shows(rows) == on)[0])), int)
        for on in (True, False)
    )
    assert with_cue.shape == (224, 224, 3)
    assert (with_cue[210:, 210:] != without[210:, 210:]).any()


def test_an_audit_of_drawn_features(workspace: Workspace, tmp_path: Path) -> None:
    where = ["--out", str(workspace.root), "--name", "drawn"]
    size = ["--images", "900", "--classes", "3", "--dim", "96"]
    assert main(["synth", *size, *where]) == 0
    audit = Audit.open(workspace, "drawn")
    assert len(audit.images) == 900
    assert audit.store.features(["0" * 16]).dtype == np.float32
    assert not verify(audit.folder).damaged
    for number in (0, 2):  # the planted cue is found, and what it opens
        arrays = audit.class_arrays(number)
        cue = audit.images.loc[arrays.image_ids, "cue"].to_numpy() == 1
        areas = [auroc(np.asarray(arrays.alpha[:, c], np.float64), cue) for c in range(5)]
        assert max(areas) > 0.95
        table = audit.candidates.query(f"class_idx == {number} and kind == 'pca'")
        assert table.set_index("component").loc[int(np.argmax(areas)), "gap"] > 15
    assert list(audit.summary.planted) == ["class 0000", "class 0002"]
    ids = arrays.image_ids[:3]
    overlays = audit.heatmaps(audit.candidate("class 0002/pca-0"), ids)
    assert overlays.shape == (3, 7, 7)
    assert np.abs(overlays.mean(axis=(1, 2)) - arrays.alpha[:3, 0]).max() < 0.01
    assert audit.image(ids[0]).size == (224, 224)
    assert audit.pixels(ids[0]).shape == (224, 224, 3)
    with pytest.raises(InputError, match="has no network to run"):
        audit.load_model()
    for command in (["list"], ["show", "drawn"]):
        assert main([*command, "--workspace", str(workspace.root)]) == 0
    table = tmp_path / "images.csv"
    assert main(["export", "drawn", "images", "--out", str(table), *where[:1]] + ["x"]) == 2
    assert main(["export", "drawn", "images", "--out", str(table), "--workspace", where[1]]) == 0
    assert len(table.read_text().splitlines()) == 901


def test_one_that_was_stopped_goes_on_with_the_same_bytes(workspace: Workspace) -> None:
    request = SynthRequest(**SIZE, name="b", maps=30)
    audit = run_synth(request, workspace)
    folder = audit.store.shards[1].files.folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    audit.files.summary.unlink()
    workspace.update(audit.id, state="running")
    again = run_synth(request, workspace)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    ids = [name for name in again.images.index if again.store.mapped([name])[0]]
    assert len(ids) == 10 + 3 * 6  # a third of the room is for held-out images
    means = again.store.maps(ids).mean(axis=(2, 3))
    assert np.abs(means - again.features(ids)).max() < 0.01  # half floats
    with pytest.raises(WorkspaceError, match="exists with other settings"):
        run_synth(SynthRequest(**{**SIZE, "dim": 97}, name="b"), workspace)


def test_a_disk_too_small_says_what_fits(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SynthRequest(images=1_280_000, classes=1000, dim=2048)
    assert 5.2e9 < needed(request) < 8e9
    disk = SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=4 * 10**9))
    monkeypatch.setattr(synthetic, "shutil", disk)
    words = r"1,280,000 images of 2,048 features take 6\.\d GB, and the disk .* 3\.5 GB to spare"
    with pytest.raises(WorkspaceError, match=rf"{words}: about 6\d\d,000 such images fit"):
        run_synth(request, workspace)
    assert workspace.manifests() == []
    for wrong, said in (({"classes": 0}, "--classes 0"), ({"images": 5}, "--images 5: .* 6")):
        with pytest.raises(InputError, match=said):
            SynthRequest(**{**SIZE, **wrong})


@pytest.mark.parametrize(("images", "classes"), [(512, 4), (600, 30)])
def test_what_is_announced_is_enough_for_what_is_written(
    workspace: Workspace, images: int, classes: int
) -> None:
    """Of many small classes, too, whose tables take more than their images."""
    request = SynthRequest(images, classes, 64, "drawn", components=8)
    files = [path for path in run_synth(request, workspace).folder.rglob("*") if path.is_file()]
    assert needed(request) / 3 < sum(path.stat().st_size for path in files) <= needed(request)
