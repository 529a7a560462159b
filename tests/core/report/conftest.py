"""The planted audit, its report, and what may be asserted of a document."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON
from core.models.load import load_model
from core.models.model import Model
from core.report import material as evidence
from core.report.document import Report, compose, render
from core.tags.log import TagStore
from core.types import Tag
from tests.core.audits import test_planted
from tests.core.measures.test_table import GREEN, RED, workspace_of

N = 96


@pytest.fixture(scope="session")
def untagged(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """An audit whose class "leaf" leans on the patch; nothing is tagged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_planted, "N", {"train": N, "test": N})
        return test_planted.audited(tmp_path_factory.mktemp("report"), 0.7)


def copied(audit: Audit, tmp_path: Path) -> Audit:
    """The audit in a workspace of its own."""
    shutil.copytree(audit.folder, tmp_path / "workspace" / "audits" / audit.id)
    return Audit(tmp_path / "workspace" / "audits" / audit.id)


@pytest.fixture(scope="session")
def tagged(untagged: Audit, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """The same with the patch tagged spurious and the leaf's colour tagged core."""
    audit = copied(untagged, tmp_path_factory.mktemp("tagged"))
    store = TagStore.open(workspace_of(audit))
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, RED), Tag.SPURIOUS, reason="red patch")
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, GREEN), Tag.CORE)
    return audit


def counting(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every loading of a model from now on."""
    calls: list[object] = []

    def counted(*arguments: Any, **more: Any) -> Model:
        calls.append(arguments)
        return load_model(*arguments, **more)

    monkeypatch.setattr("core.models.load.load_model", counted)
    return calls


def gathered(audit: Audit, **more: object) -> evidence.Evidence:
    return evidence.gather(audit, workspace_of(audit), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def proof(tagged: Audit) -> evidence.Evidence:
    return gathered(tagged)


@pytest.fixture(scope="session")
def report(proof: evidence.Evidence) -> Report:
    return compose([proof], title="A report", author="An author")


@pytest.fixture(scope="session")
def html(report: Report) -> str:
    return render(report)


class Page(HTMLParser):
    """Tags, attributes and visible text of a document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._skip = "", False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._skip = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.text += data

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def alone(html: str) -> Page:
    """Assert that a document refers to nothing outside itself and runs nothing."""
    page = Page(html)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action", "data", "poster", "background"):
                assert str(value).startswith(("data:image/", "#"))
    for style in re.findall(r"<style>(.*?)</style>", html, re.S):
        assert "url(" not in style
        assert "@import" not in style
    assert "http://" not in html
    assert "https://" not in html
    return page
