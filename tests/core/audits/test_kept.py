"""Keys of what depends on every image: those of before, kept, and never of other images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.audits.audit import Audit
from core.audits.kept import key_with_rows
from core.audits.synth_request import SynthRequest
from core.audits.synthetic import run_synth
from core.storage.files import read_json, write_frame
from core.storage.workspace import Workspace, fingerprint
from core.tags.saved_groups import SavedGroup, with_groups


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = Workspace(tmp_path_factory.mktemp("kept"))
    return run_synth(SynthRequest(60, 3, 4, "kept", components=2), workspace).folder


def key(audit: Audit) -> str:
    return key_with_rows(audit, {"version": 1}, "rows", ["label", *audit.summary.attributes])


def hashed(audit: Audit) -> str:
    """The key as it was made before any was kept."""
    told = audit.images[["label", *audit.summary.attributes]].astype(str)
    rows = pd.util.hash_pandas_object(told, index=True).to_numpy()
    return fingerprint({"version": 1, "rows": rows.tobytes().hex()})


def test_a_key_is_made_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hashed(Audit(made))
    assert key(Audit(made)) == expected
    monkeypatch.setattr(pd.util, "hash_pandas_object", None)  # nobody hashes again
    again = Audit(made)
    assert key(again) == expected
    assert "images" not in vars(again), "the images were not even read"


def test_other_images_have_another_key(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, folder := tmp_path / "audits" / made.name)
    before, opened = key(Audit(folder)), Audit(folder)
    table = pd.read_parquet(opened.files.images)
    cue = np.where(np.arange(len(table)) == 7, 1 - table["cue"], table["cue"])
    assert len(opened.images) == len(table)
    write_frame(opened.files.images, table.assign(cue=cue))
    changed = Audit(folder)
    assert key(changed) == hashed(changed) != before
    assert key(opened) == before, "whoever read the images before says what they were"


def test_what_people_add_is_not_kept(made: Path) -> None:
    plain = Audit(made)
    group = SavedGroup(1, "", "ann", plain.id, "few", "", tuple(plain.images.index[:3]))
    before = key(plain), read_json(plain.files.image_keys)
    grouped = with_groups(made, {"few": group})
    assert key(grouped) == hashed(grouped) != before[0]
    assert read_json(plain.files.image_keys) == before[1]
