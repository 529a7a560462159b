"""An audit of odd data: unreadable images, single classes, duplicates, bad requests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import core.features.feed
from core.audits.analysis import require_two_classes
from core.audits.audit_requests import AuditRequest
from core.audits.run import run_audit
from core.errors import DataError, InputError, ModelError
from core.storage.workspace import Workspace
from tests.conftest import draw, tiny_request
from tests.core.run_fixture import manifest_of


def test_unreadable_images_are_listed(folder: Path, workspace: Workspace) -> None:
    whole = (folder / "train/red/00.jpg").read_bytes()
    (folder / "train/red/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "train/red/empty.jpg").touch()
    (folder / "train/red/text.jpg").write_text("no image")
    Image.open(folder / "train/red/00.jpg").save(folder / "train/red/png-inside.jpg", "PNG")
    audit = run_audit(tiny_request(folder), workspace)
    listed = {entry.path: entry.reason for entry in audit.summary.unreadable}
    assert listed.keys() == {f"train/red/{n}.jpg" for n in ("cut", "empty", "text")}
    assert "cut off or damaged" in listed["train/red/cut.jpg"]
    assert "is empty" in listed["train/red/empty.jpg"]
    assert "not an image" in listed["train/red/text.jpg"]
    assert audit.summary.images == 40
    assert len(audit.images) == audit.summary.readable == 37


def test_an_unreadable_image_that_was_repaired(folder: Path, workspace: Workspace) -> None:
    whole = (folder / "train/red/00.jpg").read_bytes()
    (folder / "train/red/00.jpg").write_bytes(whole[:100])
    assert len(run_audit(tiny_request(folder), workspace).summary.unreadable) == 1
    (folder / "train/red/00.jpg").write_bytes(whole)
    assert run_audit(tiny_request(folder), workspace).summary.unreadable == ()


def infinite(monkeypatch: pytest.MonkeyPatch, rows: slice) -> None:
    """Some images of every batch have features that are not finite."""
    result = core.features.feed.Pending.result

    def broken(*arguments: Any) -> Any:
        encoded = result(*arguments)
        features = encoded.features.clone()
        features[rows, 3], features[rows, 4] = float("nan"), float("inf")
        return type(encoded)(features, encoded.maps)

    monkeypatch.setattr(core.features.feed.Pending, "result", broken)


def test_images_without_finite_features_are_listed(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    infinite(monkeypatch, slice(1))
    audit = run_audit(tiny_request(folder), workspace)
    assert len(audit.images) == 27
    assert {e.reason for e in audit.summary.unreadable} == {
        "the network's features are not finite on it"
    }
    shard = audit.store.shards[0].files.folder
    assert all(np.isfinite(np.load(shard / f"{name}.npy")).all() for name in ("features", "maps"))


def test_a_network_without_finite_features_is_refused(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    infinite(monkeypatch, slice(None))
    (folder / "train/red/00.jpg").write_bytes(b"")
    with pytest.raises(
        ModelError, match=r"tiny:net: its features are not finite on any of 35 images \(fp32 on"
    ):
        run_audit(tiny_request(folder), workspace)


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_no_readable_image(folder: Path, workspace: Workspace, precision: str) -> None:
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"data: (no|none of).*empty\); check the files"):
        run_audit(tiny_request(folder, precision=precision), workspace)


def test_a_class_with_one_image(
    folder: Path, workspace: Workspace, rng: np.random.Generator
) -> None:
    draw(folder / "train/green/only.png", (40, 220, 40), rng)
    audit = run_audit(tiny_request(folder), workspace)
    facts = audit.class_facts("green")
    assert (facts.n_fitted, facts.n_components, facts.accuracy) == (1, 0, None)
    assert any("Only one image in the class: green" in note for note in audit.summary.notes)
    arrays = audit.class_arrays(facts.class_idx)
    assert arrays.residual == pytest.approx([0], abs=1e-5)
    found = audit.candidates.query("class_name == 'green'")
    assert (found["kind"] == "neuron").sum() == 12
    assert (found["kind"] == "part").sum() == audit.count(facts, "part") > 0


@pytest.mark.parametrize("head", ["fit", "auto"])
def test_one_class_only(
    folder: Path, workspace: Workspace, head: str, counts: dict[str, int]
) -> None:
    shutil.rmtree(folder / "train/red")
    words = r"data: a head needs training images of at least two classes, .* only 'blue'; add"
    with pytest.raises(DataError, match=words):
        run_audit(tiny_request(folder, head=head), workspace)
    assert counts["encoded"] == 0


def test_one_class_left_after_reading(folder: Path, workspace: Workspace) -> None:
    for path in (folder / "train/red").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="at least two classes"):
        run_audit(tiny_request(folder), workspace)


def test_no_class_at_all_has_a_sentence() -> None:
    with pytest.raises(DataError, match="there is only none; add another class"):
        require_two_classes("x", pd.DataFrame({"label": []}))


def test_the_only_image_of_a_class_is_never_held_out(
    folder: Path, workspace: Workspace, rng: np.random.Generator
) -> None:
    shutil.rmtree(folder / "test")
    draw(folder / "train/green/only.png", (40, 220, 40), rng)
    audit = run_audit(tiny_request(folder), workspace)
    assert audit.summary.held_out == "out-of-fold"
    facts = audit.class_facts("green")
    assert (facts.n_held_out, facts.accuracy, facts.top_gap) == (0, None, None)
    assert audit.class_facts("red").n_held_out == 12


def test_one_image_per_class(folder: Path, workspace: Workspace) -> None:
    audit = run_audit(tiny_request(folder / "train", limit_per_class=1), workspace)
    assert audit.summary.accuracy is None
    assert len(audit.images) == 2


def test_a_class_missing_in_train(
    folder: Path, workspace: Workspace, rng: np.random.Generator
) -> None:
    for i in range(3):
        draw(folder / f"test/green/{i}.png", (40, 220, 40), rng)
    audit = run_audit(tiny_request(folder), workspace)
    assert [facts.label for facts in audit.classes] == ["blue", "red"]
    assert any("was not audited: green" in note for note in audit.summary.notes)
    green = audit.images.query("label == 'green'")
    assert green["loss"].isna().all()
    assert not green["correct"].any()


def test_no_train_split_at_all(folder: Path, workspace: Workspace) -> None:
    manifest = manifest_of(folder)
    manifest.write_text(manifest.read_text().replace(",train", ",val"))
    audit = run_audit(tiny_request(manifest), workspace)
    assert audit.summary.held_out == "out-of-fold"
    assert audit.class_facts("red").n_fitted == 18


def test_unsorted_rows_and_ragged_batches_change_nothing(
    folder: Path, workspace: Workspace
) -> None:
    from_folder = run_audit(tiny_request(folder), workspace)
    request = tiny_request(manifest_of(folder), name="m", batch_size=7)
    from_manifest = run_audit(request, workspace)
    assert from_manifest.images.index.equals(from_folder.images.index)
    ids = from_folder.images.index.tolist()
    assert np.allclose(from_folder.features(ids), from_manifest.features(ids), atol=1e-5)


def test_attributes_called_like_columns_of_ours(folder: Path, workspace: Workspace) -> None:
    clashing = {name: 1 for name in core.audits.run.OWN_COLUMNS}
    audit = run_audit(tiny_request(manifest_of(folder, **clashing, place="x")), workspace)
    assert "width (data)" in audit.summary.attributes
    assert "place" in audit.summary.attributes
    assert any("Attributes renamed" in note for note in audit.summary.notes)
    assert set(audit.images["width"]) == {64}


def test_a_new_attribute_needs_no_pass(
    folder: Path, workspace: Workspace, counts: dict[str, int]
) -> None:
    run_audit(tiny_request(manifest_of(folder)), workspace)
    counts.update(decoded=0, encoded=0)
    audit = run_audit(tiny_request(manifest_of(folder, place="sea")), workspace)
    assert counts["encoded"] == 0
    assert set(audit.images["place"]) == {"sea"}


def test_limit_per_class(folder: Path, workspace: Workspace, counts: dict[str, int]) -> None:
    audit = run_audit(tiny_request(folder, limit_per_class=3), workspace)
    assert counts["encoded"] == 12
    assert audit.images.groupby(["split", "label"]).size().tolist() == [3] * 4


def test_duplicates_are_listed(folder: Path, workspace: Workspace) -> None:
    shutil.copy(folder / "train/red/00.jpg", folder / "train/red/same.jpg")
    shutil.copy(folder / "train/red/01.jpg", folder / "test/red/same.jpg")
    audit = run_audit(tiny_request(folder), workspace)
    assert list(map(list, audit.summary.duplicates)) == [
        ["test/red/same.jpg", "train/red/01.jpg"],
        ["train/red/00.jpg", "train/red/same.jpg"],
    ]
    assert audit.summary.in_two_splits == (("test/red/same.jpg", "train/red/01.jpg"),)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"components": 0}, "--components 0: must be at least 1"),
        ({"batch_size": -1}, "--batch-size -1: must be"),
        ({"head": "new"}, "--head 'new': choose auto, keep, fit"),
        ({"precision": "fp8"}, "--precision 'fp8': choose auto, fp32, tf32, fp16, bf16"),
        ({"name": "a/b"}, "'a/b' cannot be the name of an audit"),
    ],
    ids=str,
)
def test_bad_requests(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_request(Path("x"), **wrong)


def test_head_keep_without_the_classes(folder: Path, workspace: Workspace) -> None:
    with pytest.raises(InputError, match="--head keep: .*use --head fit"):
        run_audit(tiny_request(folder, head="keep"), workspace)


@pytest.mark.parametrize(
    ("data", "model", "name"),
    [
        ("/x/photos/", "timm:resnet18.a1", "photos-resnet18.a1"),
        ("/x/v1.0", "timm:a", "v1.0-a"),
        ("/x/m.csv", "timm:a", "m-a"),
        ("demo:cues?strength=0.5", "packaged:b", "demo-cues-b"),
        ("hf:who/what", "timm:a", "hf-who-what-a"),
        ("/x/a:b?c", "timm:a", "a-b?c-a"),
        ("/x/.hidden", "timm:a", "hidden-a"),
        ("/", "timm:a", "a"),
    ],
)
def test_default_names(data: str, model: str, name: str) -> None:
    from core.storage.workspace import check_name

    assert check_name(AuditRequest(data, model).default_name) == name
