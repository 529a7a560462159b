"""Where images stand, by their ids: against a dictionary, and of several plans the newest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import WorkspaceError
from core.features.places import Places
from core.storage.files import write_frame
from core.storage.table_columns import as_names, outline_of_frame, read_names


@pytest.mark.parametrize("width", ["{:016x}", "{}", "é{}"], ids=["hex", "ragged", "not ASCII"])
def test_places_are_those_of_a_dictionary(width: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [width.format(int(number)) for number in rng.integers(0, 300, 400)]
    slow = {name: place for place, name in enumerate(ids)}  # of equal names the last
    places = Places(as_names(ids))
    wanted = [*dict.fromkeys(ids), "nobody", "", width.format(10**6)]
    assert places.of(wanted).tolist() == [slow.get(name, -1) for name in wanted]
    assert places.of([]).tolist() == []
    frame = pd.DataFrame({"image_id": ids, "other": 1})
    write_frame(tmp_path / "t.parquet", frame)
    assert read_names(tmp_path / "t.parquet", "image_id").tolist() == as_names(ids).tolist()
    assert as_names(frame["image_id"].iloc[3:9]).tolist() == [name.encode() for name in ids[3:9]]
    assert outline_of_frame(tmp_path / "t.parquet") == (400, ["image_id", "other"])
    halves = pd.concat([frame.iloc[:150], frame.iloc[150:]])["image_id"]  # held in two pieces
    assert as_names(pd.Index(halves)).tolist() == as_names(ids).tolist()
    with pytest.raises(WorkspaceError, match=r"t\.parquet lacks the column 'none'"):
        read_names(tmp_path / "t.parquet", "none")


def test_without_names_there_is_no_place() -> None:
    places = Places(as_names([]))
    assert len(places) == 0
    assert places.of(["a"]).tolist() == [-1]


def test_an_index_copies_no_name() -> None:
    ids = pd.Index([f"{number:016x}" for number in range(100)], dtype="str")
    names = as_names(ids)
    assert np.shares_memory(names, as_names(ids))  # both lie where the table has its letters
    assert np.shares_memory(Places(names).names, names)
    assert as_names(ids[40:50]).tolist() == [name.encode() for name in ids[40:50]]
    assert Places(as_names(ids[40:50])).of(ids[35:45]).tolist() == [-1] * 5 + [0, 1, 2, 3, 4]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 8, 9, 33])
def test_places_of_any_number_of_names(length: int) -> None:
    ids = [f"{number:04d}" for number in np.random.default_rng(length).permutation(length)]
    slow = {name: place for place, name in enumerate(ids)}
    wanted = [f"{number:04d}" for number in range(-1, length + 1)]
    assert Places(as_names(ids)).of(wanted).tolist() == [slow.get(name, -1) for name in wanted]


def test_the_same_names_in_the_same_order_are_not_looked_for() -> None:
    """A million images of two audits of the same data; of equal names the last is meant."""
    ids = [f"{number:016x}" for number in range(50)]
    places = Places(as_names(ids))
    assert places._distinct
    places.order = np.zeros(50, np.int32)  # whoever looked would find the first
    assert places.of(ids).tolist() == list(range(50))
    twice = ["aa", "bb", "aa"]
    assert Places(as_names(twice)).of(twice).tolist() == [2, 1, 2]
