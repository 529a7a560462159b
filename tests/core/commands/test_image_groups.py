"""``groups``: saved from a file, a condition or a slice; listed, exported, taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from core.audits.audit import Audit
from core.storage.workspace import Workspace
from tests.core.conftest import unmeasured


@pytest.fixture
def audit(tiny_audit: Audit, workspace: Workspace) -> Audit:
    return unmeasured(tiny_audit, workspace.root)


def test_a_group_from_a_file_to_a_manifest(audit: Audit, cli, tmp_path: Path) -> None:
    ids = audit.images.index.tolist()
    listed = tmp_path / "ids.txt"
    listed.write_text(f"{ids[0]}\n\n{audit.images['path'].iloc[2]}\n{audit.path(ids[4])}\n")
    assert cli("groups", "list", audit.id).out.strip() == "no group was saved yet"
    done = cli("groups", "add", audit.id, "--name", "=odd", "--images", listed, "--json")
    assert json.loads(done.out)["image_ids"] == [ids[0], ids[2], ids[4]]
    label = audit.images["label"].iloc[0]
    where = ("--where", f"label={label}", "--where", "group =odd=yes")
    assert cli("groups", "add", audit.id, "--name", "both", *where).code == 0
    found = json.loads(cli("groups", "list", audit.id, "--history", "--json").out)
    assert [group["name"] for group in found["groups"]] == ["=odd", "both"]
    inside = audit.images.loc[[ids[0], ids[2], ids[4]], "label"] == label
    assert found["groups"][1]["n"] == int(inside.sum())
    out = tmp_path / "m.parquet"
    cli("groups", "export", audit.id, "--name", "=odd", "--out", out)
    assert pd.read_parquet(out)["path"].tolist() == [str(audit.path(ids[i])) for i in (0, 2, 4)]
    images = tmp_path / "i.parquet"
    cli("export", audit.id, "images", "--out", images)
    assert (pd.read_parquet(images)["group =odd"] == "yes").sum() == 3
    cli("groups", "remove", audit.id, "--name", "=odd")
    found = json.loads(cli("groups", "list", audit.id, "--history", "--json").out)
    assert [group["name"] for group in found["groups"]] == ["both"]
    assert len(found["history"]) == 3


@pytest.mark.parametrize("kind", ["coco", "fiftyone"])
def test_a_group_with_its_pictures(audit: Audit, cli, tmp_path: Path, kind: str) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text("\n".join(audit.images.index[:3]))
    cli("groups", "add", audit.id, "--name", "g", "--images", listed)
    done = cli(
        "groups", "export", audit.id, "--name", "g", "--format", kind, "--out", tmp_path / "o"
    )
    assert "wrote 3 images" in done.out
    assert len([p for p in (tmp_path / "o" / "data").rglob("*") if p.is_file()]) == 3


def test_what_is_no_group(audit: Audit, cli, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("nowhere\n")
    for asked, said in (
        (("--images", tmp_path / "ids.txt"), "has no image 'nowhere'"),
        (("--images", tmp_path / "none.txt"), "give a text file with an id or path a line"),
        (("--where", "colour=red"), "give NAME=VALUE, of label, split, correct"),
        (("--where", "label=nothing"), "the group 'g' has no image"),
    ):
        done = cli("groups", "add", audit.id, "--name", "g", *asked)
        assert done.code == 2
        assert said in done.err
    assert "there is no group 'g'" in cli("groups", "remove", audit.id, "--name", "g").err
