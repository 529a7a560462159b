"""Pictures inside a Parquet file, and tables that are already in memory."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.data.decode import read_image
from core.data.manifest import save_manifest
from core.data.open import open_data
from core.errors import DataError
from tests.core.data.data_fixture import rows, touch


def encoded(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (level,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("struct", [False, True], ids=["bytes", "struct"])
def test_pictures_inside(tmp_path: Path, struct: bool) -> None:
    data = [encoded(level) for level in (10, 20, 30)]
    cells = [{"bytes": d, "path": f"{i}.png"} for i, d in enumerate(data)] if struct else data
    table = pa.table({"image": cells, "label": [1, 0, 1]})
    features = {"label": {"names": ["owl", "cat"], "_type": "ClassLabel"}}
    said = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(said), tmp_path / "test-00000-of-00001.parquet")
    for _ in range(2):
        found = open_data(str(tmp_path / "test-00000-of-00001.parquet"), workspace=tmp_path / "w")
        assert rows(found, "label", "split") == [("cat", "test")] * 2 + [("owl", "test")]
        assert found.order == ("owl", "cat")
        levels = [
            np.asarray(read_image(found.root / p).image)[0, 0, 0] for p in found.frame["path"]
        ]
        assert levels == [10, 30, 20]


def test_pictures_without_a_class_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [encoded(1)], "kind": ["a"]}), tmp_path / "p.parquet")
    with pytest.raises(DataError, match="holds pictures, but no column called label"):
        open_data(str(tmp_path / "p.parquet"), workspace=tmp_path / "w")


def test_a_frame_is_a_manifest(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "2.jpg")
    frame = pd.DataFrame({"path": ["1.jpg", "2.jpg"], "label": ["a", "b"]}, index=[4, 7])
    found = open_data(str(save_manifest(frame, tmp_path / "m.parquet")), workspace=tmp_path / "w")
    assert rows(found, "path", "label") == [("1.jpg", "a"), ("2.jpg", "b")]
    with pytest.raises(DataError, match=r"must end in \.parquet"):
        save_manifest(frame, tmp_path / "m.csv")


def shard(file: Path, levels: list[int], labels: list[int]) -> None:
    """A file as the library datasets writes it; its column of classes has a name of its own."""
    table = pa.table({"img": [{"bytes": encoded(n), "path": None} for n in levels], "fine": labels})
    features = {"fine": {"names": ["owl", "cat"], "_type": "ClassLabel"}}
    said = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(said), file)


def test_a_folder_of_files(tmp_path: Path) -> None:
    data = tmp_path / "hub" / "data"
    shard(data / "train-00000-of-00003.parquet", [10, 20], [1, 0])
    shard(data / "train-00002-of-00003-0a1b2c.parquet", [30], [1])
    shard(data / "test-00000-of-00001.parquet", [40, 50, 60], [0, -1, 1])
    shard(data / "odd_one-00000-of-00001.parquet", [70], [0])
    found = open_data(str(tmp_path / "hub"), workspace=tmp_path / "w")
    levels = [
        int(np.asarray(read_image(found.root / p).image)[0, 0, 0]) for p in found.frame["path"]
    ]
    assert sorted(zip(levels, *found.frame[["label", "split"]].to_numpy().T, strict=True)) == [
        (10, "cat", "train"),
        (20, "owl", "train"),
        (30, "cat", "train"),
        (40, "owl", "test"),
        (60, "cat", "test"),
        (70, "owl", "odd_one"),
    ]
    assert found.order == ("owl", "cat")
    assert {
        "1 of 3 Parquet files of train are not there.",
        "1 row of test without a picture or a class: left out.",
    } <= set(found.notes)


def test_folders_per_split_and_files_that_do_not_fit(tmp_path: Path) -> None:
    shard(tmp_path / "hub" / "train" / "0000.parquet", [10], [1])
    shard(tmp_path / "hub" / "validation" / "0000.parquet", [20], [0])
    found = open_data(str(tmp_path / "hub"), workspace=tmp_path / "w")
    assert rows(found, "label", "split") == [("cat", "train"), ("owl", "val")]
    (tmp_path / "hub" / "train" / "0001.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="0001.parquet is no Parquet file, or damaged"):
        open_data(str(tmp_path / "hub"), workspace=tmp_path / "w")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "hub" / "train" / "0001.parquet")
    with pytest.raises(DataError, match="holds no pictures"):
        open_data(str(tmp_path / "hub"), workspace=tmp_path / "w")
