"""Damage is noticed, and the same audit run again computes exactly what is damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import core.audits.analysis
from core.audits.audit import Audit
from core.audits.class_files import carry_direction
from core.audits.integrity import mend, require_sound, verify
from core.audits.map import compute_map
from core.audits.run import run_audit
from core.errors import WorkspaceError
from core.features.shards import PLAN_COLUMNS
from core.jobs.engine import Local
from core.storage import digests
from core.storage.files import read_frame, read_json, write_frame
from core.storage.workspace import Workspace
from tests.conftest import draw, tiny_request
from tests.core.storage.test_digests import flipped, half, zeroed


@pytest.fixture
def audit(folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Audit:
    """A finished audit of three shards: 16, 16 and 4 images."""
    monkeypatch.setattr("core.features.shards.SHARD_SIZE", 16)
    return run_audit(tiny_request(folder), workspace)


@pytest.fixture
def classes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """One entry for every class that is analysed."""
    find, found = core.audits.analysis.find_candidates, []

    def counted(*arguments: Any, **more: Any) -> Any:
        found.append(arguments[0].bias)
        return find(*arguments, **more)

    monkeypatch.setattr(core.audits.analysis, "find_candidates", counted)
    return found


def content(folder: Path) -> dict[str, bytes]:
    """Every file of an audit, the moment that it was made left out."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    result = {name: path.read_bytes() for name, path in found.items()}
    manifest = read_json(found["manifest.json"])
    result["manifest.json"] = repr({**manifest, "created": ""}).encode()
    known = read_json(found["digests.json"])
    result["digests.json"] = repr({**known, "manifest.json": ""}).encode()
    return result


def test_a_sound_audit_is_sound_and_stays_as_it_is(audit: Audit, folder: Path) -> None:
    before, found = content(audit.folder), verify(audit.folder)
    assert (found.damaged, found.unknown, found.note) == ({}, [], "")
    assert found.files == len([p for p in audit.folder.rglob("*") if digests.is_data(p)])
    assert mend(audit.folder) == []
    assert content(audit.folder) == before


@pytest.mark.parametrize("damage", [half, zeroed, os.unlink], ids=lambda d: d.__name__)
def test_the_same_audit_computes_again_what_is_damaged_and_nothing_else(
    audit: Audit,
    folder: Path,
    workspace: Workspace,
    counts: dict[str, int],
    classes: list[float],
    damage: Callable[[Path], None],
) -> None:
    before, size = (
        content(audit.folder),
        {s.files.folder.name: len(s.plan) for s in audit.store.shards},
    )
    for path in sorted(audit.folder.rglob("*")):
        if not (digests.is_data(path) or path.name == digests.NAME):
            continue
        name = path.relative_to(audit.folder)
        shard = name.parts[0] == "shards"  # believed with its digests alone
        adopted = path.name == digests.NAME and damage is os.unlink and not shard
        damage(path)
        if path.name != "manifest.json" and not adopted:
            assert verify(audit.folder).damaged, name
        counts.update(decoded=0, encoded=0)
        classes.clear()
        run_audit(tiny_request(folder), workspace)
        assert content(audit.folder) == before, name
        assert counts["encoded"] == (size[name.parts[1]] if shard else 0), name
        lost = len(name.parts) == 3 and name.parts[0] == "classes" and not adopted
        assert len(classes) == lost, name
        assert verify(audit.folder).damaged == {}


def test_the_same_audit_computes_folders_again_that_are_gone(
    audit: Audit, folder: Path, workspace: Workspace, counts: dict[str, int]
) -> None:
    before = content(audit.folder)
    for name, encoded in (("shards/000-00001", 16), ("classes/00001", 0), ("head", 0), ("plan", 0)):
        shutil.rmtree(audit.folder / name)
        assert verify(audit.folder).damaged
        counts.update(decoded=0, encoded=0)
        run_audit(tiny_request(folder), workspace)
        assert counts["encoded"] == encoded
        assert content(audit.folder) == before


def test_damage_in_several_places_at_once(audit: Audit, folder: Path, workspace: Workspace) -> None:
    before = content(audit.folder)
    for name in ("shards/000-00000/maps.npy", "classes/00000/alpha.npy", "head/weight.npy"):
        zeroed(audit.folder / name)
    for name in ("images.parquet", "summary.json", "candidates.parquet"):
        half(audit.folder / name)
    run_audit(tiny_request(folder), workspace)
    assert content(audit.folder) == before


def test_a_plan_is_made_again_though_images_were_touched_or_changed(
    audit: Audit, folder: Path, workspace: Workspace, counts: dict[str, int], rng: Any
) -> None:
    for path in folder.rglob("*.jpg"):
        os.utime(path)
    draw(folder / "train/red/03.jpg", (40, 220, 40), rng)
    half(audit.folder / "plan" / "000.parquet")
    counts.update(decoded=0, encoded=0)
    run_audit(tiny_request(folder), workspace)
    assert counts["encoded"] == 1
    run_audit(tiny_request(folder), workspace)
    assert counts["encoded"] == 1


def test_a_shard_of_an_older_plan_is_not_believed(
    audit: Audit, folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is whole: found there, or stored while others are computed."""
    before = content(audit.folder)
    first, second, _ = (shard.files.folder for shard in audit.store.shards)

    def outlived() -> None:
        shutil.rmtree(second, ignore_errors=True)
        shutil.copytree(first, second)

    outlived()
    again = run_audit(tiny_request(folder), workspace)
    assert content(again.folder) == before
    shutil.rmtree(second)
    monkeypatch.setattr(Local, "run", lambda *_: outlived())
    with pytest.raises(WorkspaceError, match=r"1 shard of .* held other images than planned: a w"):
        run_audit(tiny_request(folder), workspace)
    assert not second.exists()
    monkeypatch.undo()
    assert content(run_audit(tiny_request(folder), workspace).folder) == before


def test_a_plan_that_nobody_knows_is_refused(
    audit: Audit, folder: Path, workspace: Workspace
) -> None:
    half(audit.folder / "plan" / "000.parquet")
    half(audit.folder / "shards" / "000-00001" / "rows.parquet")
    with pytest.raises(
        WorkspaceError, match=r"000\.parquet is damaged, and so are shards .*; delete the audit \("
    ):
        run_audit(tiny_request(folder), workspace)


def test_what_is_computed_on_demand_is_computed_on_demand_again(
    audit: Audit, folder: Path, workspace: Workspace, classes: list[float]
) -> None:
    compute_map(audit, umap=False)
    carry_direction(audit.files.carried_to(0), np.ones(12), 0.5)
    flipped(audit.folder / "map" / "features" / "pca.npy")
    flipped(audit.folder / "carried" / "00000.npy")
    with pytest.raises(WorkspaceError, match=r"carried over .* again, which sets it aside, and"):
        _ = audit.class_arrays(0).carried
    with pytest.raises(WorkspaceError, match=r"pca\.npy is damaged"):
        compute_map(audit, umap=False)
    classes.clear()
    again = run_audit(tiny_request(folder), workspace)
    assert classes == []
    assert again.class_arrays(0).carried == 0
    assert (audit.folder / "carried" / "00000.npy.damaged").exists()
    compute_map(again, umap=False)
    assert carry_direction(audit.files.carried_to(0), np.ones(12), 0.5) == 0
    assert verify(audit.folder).damaged == {}


def test_an_audit_of_an_earlier_version_gets_digests_when_it_is_run_again(
    audit: Audit, folder: Path, workspace: Workspace, counts: dict[str, int]
) -> None:
    (plan,) = audit.files.every_plan()
    write_frame(plan, read_frame(plan, PLAN_COLUMNS))  # it did not number its shards
    before = content(audit.folder)
    for path in [*audit.folder.rglob(digests.NAME)]:
        path.unlink()
    found = verify(audit.folder)
    assert found.damaged == {}
    assert found.note == (
        f"no digests stored: {found.files} files could only be checked for readability"
    )
    old = Audit(audit.folder)
    assert len(old.features(old.images.index.tolist())) == 36
    half(audit.folder / "shards" / "000-00002" / "rows.parquet")
    assert list(verify(audit.folder).damaged) == ["shards/000-00002/rows.parquet"]
    counts.update(decoded=0, encoded=0)
    run_audit(tiny_request(folder), workspace)
    assert counts["encoded"] == 4
    assert content(audit.folder) == before


def test_large_files_are_checked_wholly(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.digests.SMALL", 100)
    monkeypatch.setattr("core.storage.digests._sound", {})
    path = audit.store.shards[0].files.folder / "maps.npy"
    flipped(path)
    assert len(audit.maps(audit.store.shards[0].plan["image_id"].tolist())) == 16  # its limit
    assert verify(audit.folder).damaged == {
        "shards/000-00000/maps.npy": "is damaged: it no longer holds what was written"
    }
    with pytest.raises(WorkspaceError, match=r"maps\.npy is damaged: it no .*; run the same"):
        require_sound(audit.folder)


def test_a_check_that_is_repeated_reads_nothing_again(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_sound(audit.folder)
    monkeypatch.setattr("core.storage.digests.digest_of", None)
    require_sound(audit.folder)


def test_maps_that_were_dropped_are_not_missed(audit: Audit) -> None:
    audit.store.drop_maps()
    assert verify(audit.folder).damaged == {}
    ids = audit.images.index.tolist()
    assert not audit.store.has_maps(ids)
    os.unlink(audit.store.shards[0].files.folder / "features.npy")
    with pytest.raises(WorkspaceError, match=r"features\.npy is missing; run the same audit"):
        Audit(audit.folder).features(ids)


def test_images_of_a_shard_that_is_gone_are_said(audit: Audit) -> None:
    shutil.rmtree(audit.store.shards[1].files.folder)
    gone = Audit(audit.folder)
    with pytest.raises(WorkspaceError, match=r"shards lacks 16 images; run the same audit"):
        gone.features(gone.images.index.tolist())
    shutil.rmtree(audit.folder / "shards")
    gone = Audit(audit.folder)
    with pytest.raises(WorkspaceError, match=r"shards lacks 36 images; run the same audit"):
        gone.store.has_maps(gone.images.index.tolist())


def test_tables_and_arrays_that_do_not_go_together_are_refused(audit: Audit) -> None:
    (audit.folder / digests.NAME).unlink()
    predictions = audit.folder / "predictions.parquet"
    pd.read_parquet(predictions).iloc[1:].to_parquet(predictions)
    with pytest.raises(WorkspaceError, match=r"predictions\.parquet is of other images than"):
        _ = Audit(audit.folder).images
    folder = audit.folder / "classes" / "00000"
    (folder / digests.NAME).unlink()
    np.save(folder / "neurons.npy", np.arange(2))
    with pytest.raises(WorkspaceError, match="00000 holds arrays of different classes; run"):
        audit.class_arrays(0)
