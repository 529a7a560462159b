"""The files of a report: how large, tagged, printable, the same twice; its appendix."""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
import zlib
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest

from core.errors import InputError, SpurioscopeError
from core.report import appendix, document, pdf
from core.report import charts as figures
from core.report import prints as pictures
from core.report.document import Report, render
from tests.core.report.conftest import alone

HOSTILE = "<script>alert(1)</script>\"'&<img src=https://evil.example/x>"


def test_twenty_noisy_findings_fit_into_a_mail(rng: np.random.Generator) -> None:
    from PIL import Image

    noise = rng.integers(0, 255, (pictures.SIDE, pictures.SIDE, 3), dtype=np.uint8)
    size = len(pictures.data_uri(Image.fromarray(noise)))
    assert pictures.PICTURED * 3 * pictures.SHOWN * size < 7 * 2**20


def test_many_findings_stay_small(report: Report) -> None:
    (section,) = report.sections
    (finding,) = section.findings
    many = tuple(replace(finding, name=f"leaf {i}") for i in range(60))
    html = render(replace(report, sections=(replace(section, findings=many),)))
    page = alone(html)
    told, listed = page.named("article"), [r for r in page.named("tr") if "data-label" in r]
    assert [len(told), len(listed)] == [document.DETAILED, 60 - document.DETAILED]
    assert all(f"leaf {i}" in page.text for i in range(60))
    assert len(page.named("img")) == pictures.PICTURED * 3 * pictures.SHOWN
    assert len(html.encode()) < 8 * 2**20


def test_where_an_overlay_is_strongest() -> None:
    heat = np.zeros((7, 7))
    heat[6, 0] = 1
    assert pictures.region(heat) == "in the lower left"
    assert pictures.region(heat.T) == "in the upper right"


def test_the_appendix_is_readable_and_its_bytes_are_fixed(report: Report) -> None:
    content = appendix.appendix(report)
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        assert {info.date_time for info in file.infolist()} == {appendix.EPOCH}
        names = file.namelist()
        folder = report.sections[0].evidence.audit.id
        for name in ("findings", "measures", "ranking", "classes", "tags"):
            both = [f"{folder}/{name}.csv", f"{folder}/{name}.parquet"]
            assert set(both) <= set(names)
            csv, parquet = (file.read(n) for n in both)
            assert len(pd.read_csv(io.BytesIO(csv))) == len(pd.read_parquet(io.BytesIO(parquet)))
        said = json.loads(file.read("statements.json"))
        ranking = pd.read_parquet(io.BytesIO(file.read(f"{folder}/ranking.parquet")))
        people = pd.read_csv(io.BytesIO(file.read(f"{folder}/tags.csv")))["annotator"]
    assert said["audits"][0]["findings"][0]["verdict"] == "harmed"
    (finding,) = report.sections[0].findings
    assert set(ranking.loc[ranking["affected"], "image_id"]) == set(finding.affected)
    assert (ranking["side"] == "high").sum() == finding.accuracy_high.n
    assert set(people) == {"person 1"}


def test_figures_escape_names(report: Report) -> None:
    (finding,) = report.sections[0].findings
    hostile = replace(finding, name=HOSTILE[:20])
    for figure in (figures.gaps([hostile]), figures.flips(hostile)):
        assert "<script" not in figure
        assert "&lt;script" in figure


@pytest.mark.slow
def test_the_summary_of_many_findings_is_one_page(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    weasyprint = pytest.importorskip("weasyprint", exc_type=ImportError)
    monkeypatch.setattr(pictures, "PICTURED", 0)
    section = report.sections[0]
    (finding,) = section.findings
    long = "hard disc, hard disk, fixed disk, disk drive, Winchester"
    many = tuple(replace(finding, name=f"{i} {long}", others=()) for i in range(10))
    html = render(replace(report, sections=(replace(section, findings=many),)))
    pages = weasyprint.HTML(string=html).render().pages
    assert "findings-1" in pages[1].anchors
    assert not pages[0].anchors.keys() & {"findings-1", "methods"}


@pytest.mark.slow
def test_the_pdf_is_tagged_and_its_bytes_are_fixed(html: str) -> None:
    pytest.importorskip("weasyprint", exc_type=ImportError)
    content, by = pdf.to_pdf(html)
    assert by.startswith("WeasyPrint")
    assert content.startswith(b"%PDF-")
    streams = re.findall(rb"stream\n(.*?)\nendstream", content, re.S)
    assert any(b"/StructTreeRoot" in zlib.decompress(s) for s in streams if s[:1] == b"x")
    assert pdf.to_pdf(html)[0] == content


def test_the_pdf_asks_nothing_of_others() -> None:
    pytest.importorskip("weasyprint", exc_type=ImportError)
    asked: list[str] = []

    class Listening(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            asked.append(self.path)
            self.send_error(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), Listening) as server:
        Thread(target=server.serve_forever).start()
        there = f"http://127.0.0.1:{server.server_port}"
        style = f"@import url({there}/a.css); p {{background: url({there}/b.png)}}"
        content, by = pdf.to_pdf(
            f'<html lang="en"><link rel="stylesheet" href="{there}/c.css"><style>{style}</style>'
            f'<p><img src="{there}/d.png" alt="x"><svg><image href="{there}/e.png"/></svg>'
            f'<object data="{there}/f.png"></object><embed src="{there}/g.svg"></p></html>'
        )
        server.shutdown()
    assert by.startswith("WeasyPrint")
    assert content.startswith(b"%PDF-")
    assert asked == []


def test_without_a_printer_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    monkeypatch.setattr(pdf.shutil, "which", lambda _: None)
    with pytest.raises(InputError, match="pip install weasyprint"):
        pdf.to_pdf("<p>x</p>")


@pytest.mark.parametrize(("ending", "works"), [("cp $page $out", True), ("echo no >&2", False)])
def test_a_browser_prints_where_there_is_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, works: bool
) -> None:
    browser = tmp_path / "chromium"
    browser.write_text(
        "#!/bin/sh\nfor a; do case $a in --print-to-pdf=*) out=${a#*=};; "
        f"file://*) page=${{a#file://}};; esac; done\n{ending}\n"
    )
    browser.chmod(0o755)
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    monkeypatch.setattr(pdf.shutil, "which", lambda name: str(tmp_path / name))
    if works:
        assert pdf.to_pdf("<p>x</p>") == (b"<p>x</p>", "chromium")
    else:
        with pytest.raises(SpurioscopeError, match="did not print the report: .*no"):
            pdf.to_pdf("<p>x</p>")
