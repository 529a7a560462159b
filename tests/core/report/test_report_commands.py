"""``python -m core report`` as a script sees it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON
from core.tags.log import TagStore
from core.types import Tag
from tests.core.measures.test_table import RED, workspace_of
from tests.core.report.conftest import copied


@pytest.fixture
def audit(untagged: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    audit = copied(untagged, tmp_path)
    store = TagStore.open(workspace_of(audit))
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, RED), Tag.SPURIOUS)
    return audit


def ran(audit: Audit, *arguments: object) -> int:
    return main(["report", *map(str, arguments), "--workspace", str(workspace_of(audit).root)])


def test_every_file_and_one_document(
    audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html, zipped, labels = (tmp_path / n for n in ("r.html", "r.zip", "labels"))
    asked = ["--out", html, "--appendix", zipped, "--export", "coco", labels, "--json"]
    assert ran(audit, audit.name, *asked, "--title", "T", "--author", "A") == 0
    said = json.loads(capsys.readouterr().out)
    (found,) = said["audits"]
    assert [f["verdict"] for f in found["findings"]] == ["harmed"]
    _, put_in, gap, *_ = found["findings"][0]["sentences"]
    assert put_in["numbers"][0]["measure"] == "lean"
    assert gap["numbers"][0]["measure"] == "spurious_gap"
    assert [f["path"] for f in said["files"]] == [str(html), str(zipped), str(labels)]
    assert said["files"][0]["bytes"] == html.stat().st_size
    assert said["fingerprint"] in html.read_text()
    assert zipfile.ZipFile(zipped).testzip() is None
    assert len(json.loads((labels / "labels.json").read_text())["images"]) == 192
    before = html.read_bytes()
    assert ran(audit, audit.name, "--out", html, "--title", "T", "--author", "A") == 0
    assert html.read_bytes() == before
    text = capsys.readouterr().out
    assert "The one class with tagged cues is harmed by them: “leaf”." in text
    assert f"wrote {html}" in text


def test_quick_loads_no_model(
    audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("core.models.load.load_model", refuse)
    out = tmp_path / "r.html"
    assert ran(audit, audit.id, "--out", out, "--quick") == 0
    assert "Not measured with these tags" in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "r.txt"], "r.txt: the name must end in .html or .htm"),
        (["--out", "r.html", "--pdf", "r.html"], "--pdf r.html: the name must end in .pdf"),
        (["--out", "r.html", "--appendix", "r"], "--appendix r: the name must end in .zip"),
        (["--out", "r.html", "--export", "yolo", "d"], "choose coco, cvat, fiftyone"),
        (["--out", "r.html", "--classes", "lead"], "no class 'lead'"),
        (["--out", "r.html", "--threshold", "0"], "threshold 0: must be at least 1"),
    ],
    ids=["out", "pdf", "appendix", "export", "classes", "threshold"],
)
def test_bad_input_is_one_sentence(
    audit: Audit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ran(audit, audit.name, *arguments, *(["--quick"] if len(arguments) else [])) == 2
    assert said in capsys.readouterr().err.strip().splitlines()[-1]
    assert not list(tmp_path.glob("r*"))
