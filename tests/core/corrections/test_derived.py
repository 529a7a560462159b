"""Audits of corrected models: what is computed, linked, gone on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core.data.decode
import core.features.extract
import core.features.feed
import core.models.checkpoint
import core.models.load
from core.audits.audit import Audit
from core.audits.integrity import verify
from core.corrections.corrected import effect_table, is_derived, parent_of
from core.corrections.derived import link
from core.errors import InputError, WorkspaceError
from core.models.linear import Correction, Head, read_head, store_head
from core.storage.digests import is_data
from core.storage.files import read_json, write_json
from core.storage.workspace import Workspace
from tests.core.corrections.conftest import QUICK, cell, run

pytestmark = pytest.mark.usefixtures("unfitted_folds")


@pytest.mark.parametrize(
    "method", ["spufix", "head", "pclarc", "aclarc", "rclarc", "projection", "rrclarc"]
)
def test_a_method_of_the_head_decodes_no_image_and_loads_no_model(
    workspace: Workspace, parent: Audit, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def refused(*arguments: Any, **_: Any) -> Any:
        calls.append(arguments)
        raise AssertionError("an image was decoded or a model loaded")

    monkeypatch.setattr(core.data.decode, "read_image", refused)
    monkeypatch.setattr(core.features.extract, "picture_seen", refused)
    monkeypatch.setattr(core.features.feed.Feed, "put", refused)
    monkeypatch.setattr(core.models.load, "load_model", refused)
    audit = run(workspace, parent, method, **QUICK)
    assert not calls
    assert is_derived(audit)
    assert audit.manifest.mitigation.encoder_changed is False
    assert parent_of(audit, workspace).id == parent.id
    ids = audit.images.index.tolist()
    np.testing.assert_array_equal(audit.features(ids), parent.features(ids))
    assert "needs pictures" in cell(audit, "flip_rate")["note"]


def test_shards_are_linked_and_outlive_the_parent(workspace: Workspace, parent: Audit) -> None:
    audit = run(workspace, parent, **QUICK)
    mine = sorted(audit.folder.glob("shards/*/features.npy"))
    theirs = sorted(parent.folder.glob("shards/*/features.npy"))
    assert mine
    assert [p.stat().st_ino for p in mine] == [p.stat().st_ino for p in theirs]
    workspace.delete(parent.id)
    again = Audit(audit.folder)
    assert len(again.features(again.images.index.tolist())) == len(again.images)
    assert parent_of(again, workspace) is None


def test_a_link_falls_back_to_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("core.storage.files.os.link", refused)
    (tmp_path / "a").write_text("words")
    link(tmp_path / "a", tmp_path / "b" / "c")
    assert (tmp_path / "b" / "c").read_text() == "words"
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["c"]


def test_the_same_command_opens_what_is_there(
    workspace: Workspace, parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = run(workspace, parent, **QUICK)
    monkeypatch.setattr("core.corrections.mitigation.derive", None)
    monkeypatch.setattr("core.corrections.mitigation.effects", None)
    assert run(workspace, parent, **QUICK).id == audit.id
    with pytest.raises(WorkspaceError, match="exists with other settings: mitigation method was"):
        run(workspace, parent, "spufix", **QUICK)
    with pytest.raises(InputError, match="is the audit itself"):
        run(workspace, parent, name=parent.name)


def test_a_run_that_was_stopped_goes_on(
    workspace: Workspace, parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("core.corrections.derived.analyse", killed)
        with pytest.raises(KeyboardInterrupt):
            run(workspace, parent, **QUICK)
    assert workspace.named("fixed").state == "running"
    audit = run(workspace, parent, **QUICK)
    assert audit.manifest.state == "finished"
    with monkeypatch.context() as patch:
        patch.setattr("core.corrections.mitigation.effects", killed)
        with pytest.raises(KeyboardInterrupt):
            run(workspace, parent, name="other", **QUICK)
    with pytest.raises(InputError, match="no table before and after yet"):
        effect_table(Audit.open(workspace, "other"))
    assert len(effect_table(run(workspace, parent, name="other", **QUICK)))


@pytest.mark.parametrize(
    "name",
    ["predictions.parquet", "summary.json", "head/weight.npy", "head/head.json", "digests.json"]
    + ["classes/00000/alpha.npy", "mitigation/effect.parquet", "mitigation/changed.json"]
    + ["mitigation/tradeoff.parquet", "images.parquet", "manifest.json"],
)
def test_the_same_command_mends_what_is_damaged(
    workspace: Workspace, parent: Audit, name: str
) -> None:
    folder = run(workspace, parent, **QUICK).folder
    files = [p for p in folder.rglob("*") if is_data(p) and p.name != "manifest.json"]
    before = {path: path.read_bytes() for path in files}
    facts = {**read_json(folder / "manifest.json"), "created": ""}
    damaged = (folder / name).read_bytes()[:-5]
    (folder / name).unlink()  # the file of the parent may be the same one
    (folder / name).write_bytes(damaged)
    assert name in verify(folder).damaged
    assert run(workspace, parent, **QUICK).folder == folder
    assert {path: path.read_bytes() for path in before} == before
    assert {**read_json(folder / "manifest.json"), "created": ""} == facts
    assert verify(folder).damaged == {}


def test_what_is_shared_with_the_parent_is_mended_there_first(
    workspace: Workspace, parent: Audit
) -> None:
    folder = run(workspace, parent, **QUICK).folder
    (shard, *_) = sorted((folder / "shards").iterdir())
    whole = (shard / "features.npy").read_bytes()
    (shard / "features.npy").write_bytes(whole[:-7])
    with pytest.raises(WorkspaceError, match=rf"{parent.id}/shards/.*npy is damaged: it has"):
        run(workspace, parent, **QUICK)
    (parent.folder / "shards" / shard.name / "features.npy").write_bytes(whole)
    run(workspace, parent, **QUICK)
    assert verify(folder).damaged == {}


def test_the_loaded_model_is_the_corrected_one(workspace: Workspace, parent: Audit) -> None:
    audit = run(workspace, parent, "spufix", strength=1.0, **QUICK)
    assert audit.head.correction is not None
    model, ids = audit.load_model(), audit.images.index[:5].tolist()
    phi = audit.features(ids)
    np.testing.assert_array_equal(model.logits(phi), audit.head.logits(phi))
    assert np.abs(model.logits(phi) - parent.load_model().logits(phi)).max() >= 0
    assert (audit.images["prediction"] != parent.images["prediction"]).any()


def test_pieces_are_the_logits(rng: np.random.Generator) -> None:
    correction = Correction(
        rng.normal(size=(4, 6)).astype(np.float32),
        rng.normal(size=4).astype(np.float32),
        rng.normal(size=(3, 4)).astype(np.float32),
    )
    weight, bias = rng.normal(size=(3, 6)), rng.normal(size=3)
    phi = rng.normal(size=(20, 6))
    head = Head(weight, bias, list("abc"), list("abc"), "fit", correction)
    for candidate in (head, replace(head, correction=None)):
        for k in range(3):
            slope, constant = candidate.piece(phi, k)
            found = np.einsum("nd,nd->n", slope, phi) + constant
            np.testing.assert_allclose(found, candidate.logits(phi)[:, k], atol=1e-4)


def test_a_stored_head_is_read_back(rng: np.random.Generator, tmp_path: Path) -> None:
    head = Head(
        rng.normal(size=(2, 3)).astype(np.float32),
        np.zeros(2, np.float32),
        ["a", "b"],
        ["A", "B"],
        "fit",
        Correction(*(np.ones(s, np.float32) for s in ((1, 3), (1,), (2, 1)))),
    )
    store_head(tmp_path, head, {"key": "k"}, np.zeros((4, 2)))
    found = read_head(tmp_path)
    assert (found.outputs, found.names, found.mode) == (head.outputs, head.names, head.mode)
    np.testing.assert_array_equal(found.weight, head.weight)
    np.testing.assert_array_equal(found.correction.read, head.correction.read)


def test_a_parent_with_new_images_is_another_one(workspace: Workspace, parent: Audit) -> None:
    run(workspace, parent, **QUICK)
    path = parent.folder / "head" / "head.json"
    write_json(path, {**read_json(path), "key": "0123456789abcdef"})
    with pytest.raises(WorkspaceError, match="exists with other settings: parent was"):
        run(workspace, Audit(parent.folder), **QUICK)
