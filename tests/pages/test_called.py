"""What people call a candidate stands with its number wherever the candidate is shown."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.corrections.card import card
from core.corrections.mitigate_request import MitigateRequest
from core.corrections.mitigation import run_mitigation
from core.markdown import escaped
from core.report import sentences as words
from core.report.appendix import appendix, statements
from core.report.document import compose, render
from core.report.material import Evidence, gather
from core.storage.workspace import Workspace
from core.tags.called import names_of
from core.tags.log import TagStore
from core.trials.leaned_on import leaned_on
from core.trials.leaning import measure_leaning
from core.types import Tag
from core.ui.kit.text import drawn, html, plain
from tests.hostile import NAMES
from tests.pages.conftest import Open

NAME = "snow *ball* <b>1</b>"
SAID = f"{NAME} (component 1)"
FORMS = (str, plain, html, drawn)
"""As it stands where it is read as text, as Markdown, as HTML, and by plotly."""


@pytest.fixture
def named(audit: Audit, workspace: Workspace) -> Audit:
    """The first audit, with a spurious component of two classes that people call by a name."""
    store = TagStore.open(workspace)
    for facts in audit.classes[:2]:
        key = CandidateKey(facts.label, PCA, 0)
        store.add("anonymous", audit.id, key, Tag.SPURIOUS, called=NAME)
        store.add("Ben", audit.id, key, Tag.SPURIOUS)
        store.add("Cas", audit.id, key, Tag.CORE)
    return audit


def texts(message: Any) -> Iterator[str]:
    """Every text of a message to the browser, those inside JSON as well."""
    for _, value in message.ListFields():
        alone = isinstance(value, str | bytes) or not hasattr(value, "__len__")
        for one in [value] if alone else value:
            if isinstance(one, str):
                yield one
                yield from of_json(one)
            elif hasattr(one, "ListFields"):
                yield from texts(one)


def of_json(text: str) -> Iterator[str]:
    if text.startswith("{"):
        waiting = [json.loads(text)]
        while waiting:
            found = waiting.pop()
            if isinstance(found, str):
                yield found
            elif isinstance(found, dict | list):
                waiting += found.values() if isinstance(found, dict) else found


def shows(app: AppTest, said_so: str = SAID) -> bool:
    assert not app.exception, [e.message for e in app.exception]
    protos = [getattr(node, "proto", None) for node in app._tree]
    said = [text for proto in protos if proto is not None for text in texts(proto)]
    said += [str(cell) for table in app.dataframe for cell in table.value.to_numpy().ravel()]
    forms = {read(said_so) for read in FORMS}
    return any(form in text for form in forms for text in said)


PAGES = {
    "components": {"class_": "{label}"},
    "tagging": {"at": "{label}/pca-0"},
    "tagging ": {"at": "{label}/pca-0", "others": "1"},
    "agreement": {},
    "ranking": {"class_": "{label}"},
    "findings": {},
    "measures": {},
    "mitigate": {},
    "map": {"colour": "alpha", "class_": "{label}", "component": "pca-0"},
    "image": {"image": "{image}", "explain": "{label}", "component": "pca-0"},
    "compare": {"view": "tags"},
    "compare ": {"view": "pair", "class_": "{label}", "pair": "0"},
    "compare  ": {"view": "image", "image": "{image}", "explain": "{label}"},
}
"""Every page that shows a candidate; blanks tell two views of one page apart."""


@pytest.mark.parametrize("page", PAGES)
def test_every_page_shows_the_name(named: Audit, opened: Open, page: str) -> None:
    label = named.classes[0].label
    image = named.class_arrays(named.classes[0].class_idx).image_ids[0]
    view = {k: v.format(label=label, image=image) for k, v in PAGES[page].items()}
    assert shows(opened(page.strip(), audit=named.id, **view))


@pytest.mark.parametrize("page", PAGES)
def test_no_page_shows_a_name_that_nobody_gave(audit: Audit, opened: Open, page: str) -> None:
    view = {k: v for k, v in PAGES[page].items() if "{" not in v}
    assert not shows(opened(page.strip(), audit=audit.id, **view))


def test_a_presentation_shows_the_name(
    named: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    assert shows(opened("findings", audit=named.id))


def test_before_and_after_show_the_name(
    named: Audit,
    workspace: Workspace,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.corrections.choice.fold_head", lambda head, _: head)
    fixed = run_mitigation(
        MitigateRequest(named.name, "projection", "fixed", strength=2.0), workspace
    )
    app = opened("mitigate", audit=named.id)
    assert any(plain(SAID) in m.value and "acting on" in m.value for m in app.markdown)
    shown = card(fixed, names_of(TagStore.open(workspace).history(named.id)))
    assert escaped(f"{named.classes[0].label}/pca-0 ({NAME})") in shown
    inherited = TagStore.open(workspace).current(fixed.id, "anonymous")
    assert {event.called for event in inherited} == {NAME}


@pytest.fixture
def evidence(named: Audit, workspace: Workspace) -> Evidence:
    return gather(named, workspace, with_model=False)


def test_sentences_and_the_appendix_say_the_name(evidence: Evidence) -> None:
    report = compose([evidence])
    (section,) = report.sections
    assert all(SAID in words.cue(finding) for finding in section.findings)
    (first, *_) = statements(report)["audits"]
    assert {cue["called"] for finding in first["findings"] for cue in finding["cues"]} == {NAME}
    with zipfile.ZipFile(io.BytesIO(appendix(report))) as file:
        tables = {
            name: pd.read_parquet(io.BytesIO(file.read(name)))
            for name in file.namelist()
            if name.endswith(".parquet")
        }
    found = {name.rpartition("/")[2]: table for name, table in tables.items()}
    assert NAME in set(found["tags.parquet"]["called"])
    assert set(found["findings.parquet"]["cue"]) == {SAID}
    assert SAID in set(found["measures.parquet"]["subject"])


@pytest.mark.parametrize("name", [NAMES[0], NAMES[3], NAMES[4]])
def test_a_hostile_name_is_text_in_a_report(audit: Audit, workspace: Workspace, name: str) -> None:
    key = CandidateKey(audit.classes[0].label, PCA, 0)
    event = TagStore.open(workspace).add("Ann", audit.id, key, Tag.SPURIOUS, called=name[:80])
    text = render(compose([gather(audit, workspace, with_model=False)]))
    assert unescape(text).count(str(event.called)) > 1
    assert "<img src=http://evil" not in text
    assert "<b>x</b>" not in text


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_exported_candidates_have_their_names(
    named: Audit, workspace: Workspace, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"components{suffix}"
    where = ["--workspace", str(workspace.root)]
    assert main(["export", named.id, "components", "--out", str(out), *where]) == 0
    table = pd.read_csv(out, keep_default_na=False) if suffix == ".csv" else pd.read_parquet(out)
    tagged = table["class_idx"].isin([c.class_idx for c in named.classes[:2]])
    tagged &= (table["kind"] == "pca") & (table["component"] == 0)
    assert set(table.loc[tagged, "called"]) == {NAME}
    assert set(table.loc[~tagged, "called"]) == {""}


def test_the_first_page_and_show_say_the_name_of_what_is_leaned_on(
    audit: Audit, workspace: Workspace, opened: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    measure_leaning(audit)
    key = next(one.key for one in leaned_on(audit) if one.key)
    said = f"{NAME} ({key.title})"
    assert not shows(opened("overview", audit=audit.id), said)
    TagStore.open(workspace).add("Ann", audit.id, key, Tag.UNSURE, called=NAME)
    assert shows(opened("overview", audit=audit.id), said)
    assert main(["show", audit.id, "--workspace", str(workspace.root)]) == 0
    assert f"its {said}" in capsys.readouterr().out
    assert main(["show", audit.id, "--json", "--workspace", str(workspace.root)]) == 0
    assert said in {one["by"] for one in json.loads(capsys.readouterr().out)["classes"]}
