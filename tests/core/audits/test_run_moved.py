"""Data, workspaces and audits that move."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.audits.audit import Audit
from core.audits.run import run_audit
from core.commands.relocation import relocate
from core.errors import InputError
from core.storage.workspace import Workspace
from tests.conftest import tiny_request
from tests.core.run_fixture import manifest_of


def test_moved_data(folder: Path, workspace: Workspace, counts: dict[str, int]) -> None:
    run_audit(tiny_request(folder), workspace)
    moved = folder.with_name("elsewhere")
    folder.rename(moved)
    with pytest.raises(InputError, match=r"--data-root .*/nowhere is not a folder; name"):
        relocate(workspace, workspace.find("tiny"), moved / "nowhere")
    with pytest.raises(InputError, match="is missing; name the folder that holds the images"):
        relocate(workspace, workspace.find("tiny"), workspace.root)
    relocate(workspace, workspace.find("tiny"), moved)
    audit = Audit.open(workspace, "tiny")
    assert audit.image(audit.images.index[0]).size == (64, 64)
    counts.update(decoded=0, encoded=0)
    run_audit(tiny_request(moved), workspace)
    assert counts == {"decoded": 0, "encoded": 0}


def test_moved_images_of_a_manifest_that_stays(
    folder: Path, workspace: Workspace, counts: dict[str, int]
) -> None:
    request = tiny_request(manifest_of(folder))
    run_audit(request, workspace)
    moved = folder.with_name("elsewhere")
    moved.mkdir()
    for split in ("train", "test"):
        shutil.move(folder / split, moved / split)
    relocate(workspace, workspace.find("tiny"), moved)
    counts.update(decoded=0, encoded=0)
    audit = run_audit(request, workspace)
    assert counts == {"decoded": 0, "encoded": 0}
    assert audit.root == moved


def test_moved_workspace(folder: Path, workspace: Workspace, counts: dict[str, int]) -> None:
    before = run_audit(tiny_request(folder), workspace)
    moved = Workspace(workspace.root.with_name("moved"))
    workspace.root.rename(moved.root)
    counts.update(decoded=0, encoded=0)
    after = run_audit(tiny_request(folder), moved)
    assert (after.id, counts["decoded"]) == (before.id, 0)
    assert after.heatmaps(
        after.class_arrays(0).candidate("pca", 0), after.class_arrays(0).image_ids[:2]
    ).shape == (2, 8, 8)


def test_a_copied_audit_folder_is_an_audit_of_its_own(folder: Path, workspace: Workspace) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    shutil.copytree(audit.folder, workspace.folder("c0ffee"))
    assert Audit.open(workspace, "c0ffee").folder.name == "c0ffee"
