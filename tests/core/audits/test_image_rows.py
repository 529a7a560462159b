"""The table of an audit's images: audits of the same images hold what is not predicted once."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.audits import image_rows
from core.audits.audit import Audit
from core.errors import WorkspaceError
from core.storage.documents import PREDICTED
from core.storage.files import read_frame, write_frame


@pytest.fixture
def two(tiny_audit: Audit, tmp_path: Path) -> tuple[Audit, Audit]:
    """Two audits of the same images, whose predictions differ."""
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        shutil.copytree(tiny_audit.folder, folder)
    # no other test's table may be at hand
    images = read_frame(folders[0] / "images.parquet").assign(reason="of this test")
    for folder in folders:
        write_frame(folder / "images.parquet", images)
    predictions = read_frame(folders[1] / "predictions.parquet")
    write_frame(folders[1] / "predictions.parquet", predictions.assign(confidence=0.25))
    return Audit(folders[0]), Audit(folders[1])


def held(frame: pd.DataFrame, column: str) -> np.ndarray:
    return frame[column].to_numpy()


def test_audits_of_the_same_images_share_what_is_not_predicted(
    two: tuple[Audit, Audit], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, read, plain = two[0].images, [], image_rows.read_frame

    def counted(path: Path, **more: Any) -> pd.DataFrame:
        read.append(path.name)
        return plain(path, **more)

    monkeypatch.setattr(image_rows, "read_frame", counted)
    second = two[1].images
    assert read == ["predictions.parquet"]
    assert np.shares_memory(held(first, "width"), held(second, "width"))
    assert list(second.columns) == list(first.columns)
    assert (second["confidence"] == 0.25).all()
    others = [name for name in first.columns if name not in PREDICTED]
    pd.testing.assert_frame_equal(first[others], second[others])
    assert (first["confidence"] != 0.25).any()


def test_damage_is_noticed_though_another_audit_has_the_table(two: tuple[Audit, Audit]) -> None:
    first, path = two[0].images, two[1].files.images
    path.write_bytes(b"PAR0" + path.read_bytes()[4:])
    with pytest.raises(WorkspaceError, match=r"images\.parquet"):
        _ = two[1].images
    assert len(first)


def test_a_table_that_nobody_holds_is_given_up(two: tuple[Audit, Audit]) -> None:
    one = Audit(two[0].folder)
    digest = one.images_digest
    assert len(one.images)
    assert digest in image_rows._read
    del one
    gc.collect()
    assert digest not in image_rows._read
