"""Files that say what outputs mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import InputError
from core.storage.class_list import classes_beside, classes_of, read_classes

WANTED = ("cat", "dog", "emu")


@pytest.mark.parametrize(
    "content",
    [
        "cat\ndog\nemu\n",
        "\ufeffcat\r\ndog\r\nemu\r\n\r\n",
        json.dumps(WANTED),
        '{"dog": 1, "emu": 2, "cat": 0}',
        '{"1": "dog", "2": "emu", "0": "cat"}',
        '{"model": "x", "id2label": {"1": "dog", "2": "emu", "0": "cat"}}',
    ],
    ids=["lines", "Windows", "list", "class_to_idx", "id2label", "config"],
)
def test_every_form_gives_the_same(tmp_path: Path, content: str) -> None:
    (tmp_path / "classes.json").write_text(content, encoding="utf-8")
    assert read_classes(tmp_path / "classes.json") == WANTED
    assert classes_beside(tmp_path) == WANTED


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cat\ncat\n", "'cat' stands there twice"),
        ("cat\n\ndog", "label of its own"),
        ("", "label of its own"),
        ('{"cat": 0, "dog": 2}', "no object of labels and the numbers 0 to K - 1"),
        ('{"cat": true}', "no list of classes"),
        ("[1, 2]", "no list of classes"),
        ("{cat: 0}", "is no JSON"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "c").write_text(content)
    with pytest.raises(InputError, match=message):
        read_classes(tmp_path / "c")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_classes(tmp_path / "c")
    (tmp_path / "c").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no UTF-8 text"):
        read_classes(tmp_path / "c")


def test_numbers_as_keys_may_be_numbers() -> None:
    assert classes_of({0: "cat", 1: "dog", 2: "emu"}) == WANTED
    assert classes_of({"cat": 0, "dog": 0}) is None
