from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.data.names import lemmas
from core.errors import InputError
from core.models.text_image import TextImageModel
from core.storage.files import remove
from core.tags.suggested import leading
from core.trials import crop_words
from tests.core.conftest import unmeasured, workspace_of
from tests.core.text_model import save_text_model
from tests.core.trials.test_crop_words import network


@pytest.fixture
def own(tiny_audit: Audit, tmp_path: Path) -> Audit:
    return unmeasured(tiny_audit, tmp_path / "workspace")


def suggest(audit: Audit, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    capsys.readouterr()
    where = ["--workspace", str(workspace_of(audit).root)]
    code = main(["suggest", audit.name, *more, *where])
    out, err = capsys.readouterr()
    if code:
        return err.splitlines()[-1]
    return json.loads(out) if "--json" in more else out


def test_leading_candidates_of_every_class(own: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    found = suggest(own, capsys, "--json")
    asked = [(c["class"], c["kind"], c["number"]) for c in found["candidates"]]
    keys = [key for facts in own.classes for key in leading(own, facts.class_idx)]
    assert asked == [(key.label, key.kind, key.number) for key in keys]
    words = [one for of in found["candidates"] for one in of["suggestions"]]
    assert all(one["figure"] > one["control"] for one in words)
    assert {*words[0]} == {"word", "route", "figure", "control", "others"}


def test_one_candidate_and_the_network(
    own: Audit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load() -> Any:
        loaded.append("")
        return network()

    monkeypatch.setattr("core.trials.crop_words._network", load)
    more = ("--class", "red", "--candidate", "pca-0", "--json")
    found = suggest(own, capsys, *more, "--network")
    assert [(c["kind"], c["number"]) for c in found["candidates"]] == [("pca", 0)]
    assert suggest(own, capsys, *more) == found  # it is kept
    assert len(loaded) == 1


def test_an_older_audit_is_looked_at_first(own: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    for shard in own.store.shards:
        remove(shard.files.properties)
    assert np.isnan(Audit(own.folder).properties["brightness"]).all()
    suggest(own, capsys, "--class", "red")
    assert not np.isnan(Audit(own.folder).properties["brightness"]).any()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--candidate", "pca-0"), "suggest needs --class NAME with --candidate"),
        (("--class", "green"), "has no class 'green'"),
        (("--class", "red", "--candidate", "pca"), "'pca' names no candidate"),
        (("--class", "red", "--candidate", "pca-999"), "component 999 of class 'red' does not"),
    ],
)
def test_a_bad_request_is_a_sentence(
    own: Audit, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], words: str
) -> None:
    assert words in suggest(own, capsys, *more)


def test_an_image_text_model_chooses_among_words(
    own: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.data.names.lemmas", lambda: ["fence", "grass", "hand", "sky"])
    asked: list[list[str]] = []
    ask = crop_words.ask_texts

    def noted(audit: Any, candidate: Any, model: Any, words: list[str], report: Any) -> Any:
        asked.append(words)
        return ask(audit, candidate, model, words, report)

    monkeypatch.setattr(crop_words, "ask_texts", noted)
    folder = save_text_model(tmp_path / "model")
    more = ("--class", "red", "--candidate", "pca-0", "--json")
    more_words = ("--text-model", str(folder), "--words", "beach ball, snow,, fence")
    found = suggest(own, capsys, *more, *more_words)
    assert asked == [["beach ball", "fence", "grass", "hand", "sky", "snow"]]
    assert suggest(own, capsys, *more) == found  # what was said is kept


def test_texts_are_never_shown_without_a_control(own: Audit, tmp_path: Path) -> None:
    model = TextImageModel(save_text_model(tmp_path / "model"))
    candidate = own.candidate(CandidateKey("red", "pca", 0))
    words = [f"word {i}" for i in range(40)]
    said = crop_words.ask_texts(own, candidate, model, words)
    assert all(one.route == "text" and one.figure > one.control for one in said)
    assert crop_words.text_words(own, candidate) == said
    with pytest.raises(InputError, match="there is no word to choose from"):
        crop_words.ask_texts(own, candidate, model, [])


def test_the_bank_holds_imagenets_words() -> None:
    found = lemmas()
    assert {"beach", "fence"} <= set(found)
    assert found == sorted(set(found))
    assert 15_000 < len(found) <= 21_841
