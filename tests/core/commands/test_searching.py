from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.__main__ import main
from core.audits.alike import more_like
from core.audits.audit import Audit
from core.models.text_image import VARIABLE
from tests.core.conftest import unmeasured, workspace_of
from tests.core.text_model import save_text_model


@pytest.fixture
def own(tiny_audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    monkeypatch.delenv(VARIABLE, raising=False)
    audit = unmeasured(tiny_audit, tmp_path / "workspace")
    monkeypatch.setenv("SPURIOSCOPE_WORKSPACE", str(workspace_of(audit).root))
    return audit


def test_images_like_others(own: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    ids = own.images.index.tolist()
    assert main(["search", own.name, "--like", f"{ids[0]},{ids[1]}", "--top", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["images"]
    assert [one["image_id"] for one in found] == more_like(own, ids[:2], 3)["image_id"].tolist()
    assert found[0]["path"] == own.images.at[found[0]["image_id"], "path"]


def test_images_like_a_text_of_one_class(
    own: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_text_model(tmp_path / "model")
    asked = ["search", own.name, "--text", "a red thing", "--class", "blue", "--top", "5", "--json"]
    assert main([*asked, "--text-model", str(folder)]) == 0
    first = capsys.readouterr().out
    assert {one["label"] for one in json.loads(first)["images"]} == {"blue"}
    monkeypatch.setenv(VARIABLE, str(folder))
    assert main(asked) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "search needs one of --text TEXT and --like ID,ID"),
        (("--text", "a", "--like", "b"), "search needs one of"),
        (("--like", "b"), "holds no image 'b'"),
        (("--text", "a"), "a text needs an image-text model: give --text-model DIR"),
        (("--text", "a", "--text-model", "/none"), "/none is not a folder"),
        (("--like", "b", "--top", "0"), "--top 0: must be at least 1"),
    ],
)
def test_a_bad_request_is_a_sentence(
    own: Audit, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], words: str
) -> None:
    assert main(["search", own.name, *more]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
