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
