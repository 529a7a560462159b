"""The page for people who call the tool from Python: every block runs, in order."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from core.__main__ import parser
from core.audits.audit_requests import ExplainRequest
from core.candidates.kinds import KINDS
from core.commands import plugins
from core.corrections.methods import METHODS
from core.explain.attribution import ATTRIBUTIONS
from core.explain.explainer import EXPLAINERS
from core.measures.registry import MEASURES
from core.measures.rules import read_rule

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[tuple[str, int]]:
    """Every block of a language, and the line where its text begins."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)
    return [(block[1], PAGE[: block.start(1)].count("\n")) for block in found]


def test_every_block_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is a tiny one, whatever its name: what is tested is the page."""
    monkeypatch.chdir(tmp_path)
    for registry in (KINDS, METHODS, MEASURES):
        monkeypatch.setattr(registry, "_found", dict(registry))
    names: dict[str, object] = {"__name__": "docs.python"}
    assert len(blocks("python")) >= 9
    for text, line in blocks("python"):
        exec(compile("\n" * line + text, str(ROOT / "docs/python.md"), "exec"), names)
    assert len(names["before_and_after"]) > 5
    assert names["heat"].shape[0] == 4
    assert list(names["maps"]) == list(ATTRIBUTIONS)
    assert len(names["workspace"].manifests()) == 3
    assert -1 < names["difference"] < 1
    assert set(names["table"]["measure"]) >= {"own_probability"}
    assert {ruling.audit for ruling in names["gate"].tested} == {"vehicles", "vehicles fixed"}
    assert names["gate"].code in (0, 3, 4)
    assert len(names["margin"]) == len(names["vans"]) == 15


def test_the_examples_are_short_and_their_entry_point_is_one() -> None:
    examples = [text for text, _ in blocks("python") if "\nregister(" in text]
    assert len(examples) == 3
    for example in examples:
        assert len([line for line in example.splitlines() if line]) <= 30
    (project,) = (tomllib.loads(text) for text, _ in blocks("toml"))
    assert set(project["project"]["entry-points"]) <= set(plugins.GROUPS)


def test_the_pipeline_asks_for_what_there_is() -> None:
    """Every command of the page is one, and every rule of its file is read."""
    page = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")
    asked = re.findall(r"python -m core (\w[\w-]* [^|`\n]+)", page)
    parsed = [
        parser().parse_args(shlex.split(text)).command for text in asked if "--help" not in text
    ]
    assert {"audit", "tags", "check", "report"} <= set(parsed)
    (rules,) = re.findall(r"^```text\n(.*?)^```$", page, re.M | re.S)
    bare = [line.partition("#")[0].strip() for line in rules.splitlines()]
    assert len([read_rule(line) for line in bare if line]) == 4


def test_the_page_on_why_asks_for_what_there_is() -> None:
    """Every command of the page is one; methods, their settings and facts are those there are."""
    page = (ROOT / "docs" / "why.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python -m core (.+)$", page, re.M)
    parsed = [parser().parse_args(shlex.split(text)) for text in commands]
    asked = [ExplainRequest.from_options(each) for each in parsed if each.command == "explain"]
    assert {request.method for request in asked} >= {"sis", "missingness"}
    for request in asked:
        EXPLAINERS[request.method].read(request.settings)
    named = set(re.findall(r"`(\w+)=\w+`", page))
    assert named <= {name for method in EXPLAINERS.values() for name in method.settings}
    rows = set(re.findall(r"`(subset_\w+)`", page))
    assert rows == {name for name in MEASURES if name.startswith("subset_")}


def test_every_group_is_explained() -> None:
    assert set(re.findall(r"^\| `(spurioscope\.\w+)` \|", PAGE, re.M)) == set(plugins.GROUPS)


def test_no_page_has_the_marks_of_a_conflict() -> None:
    pages = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]
    marked = re.compile(r"^(<{7} .*|={7}|>{7} .*)$", re.M)
    assert len(pages) > 10
    assert [page.name for page in pages if marked.search(page.read_text(encoding="utf-8"))] == []
