"""Every view of audits whose every text wants the browser to fetch something, or to look other."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.audits.audit import Audit
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.corrections.mitigate_request import MitigateRequest
from core.corrections.mitigation import run_mitigation
from core.jobs import jobs
from core.measures.availability import make_trials, missing
from core.measures.factors import factor_table
from core.measures.several_audits import open_context
from core.measures.stored import measured
from core.storage.files import write_json
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Subtype, Tag
from tests.browser.conftest import Watched
from tests.conftest import tiny_request
from tests.hostile import HOST
from tests.pages.conftest import SIDE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

OTHERS = f"""[x](http://{HOST}) <img src=http://{HOST}/tag.png onerror="x"> :material/skull: :smile:
$$\\href{{http://{HOST}}}{{x}}$$ </script> url(http://{HOST}/url.png) @import %{{x}} {{{{7*7}}}}
<a href="http://{HOST}">x</a> www.{HOST} &lt;b&gt; -> a_b *c*"""


def evil(place: str) -> str:
    """A name that asks the host for ``place`` when it is read as Markdown, HTML or a template."""
    return f"![x](http://{HOST}/{place}.png) {' '.join(OTHERS.split()).replace('tag', place)}"


def draw(root: Path) -> Path:
    """A manifest of three classes whose labels, paths, attributes and splits are hostile."""
    rng, rows = np.random.default_rng(3), []
    folder = f"![x](http:/{HOST}/path.png)"
    (root / folder).mkdir(parents=True)
    for place, label in enumerate((evil("label0"), evil("label1"), "ordinary_name-1 (x)")):
        for i in range(22):
            pixels = rng.normal(110 + 40 * (i % 3), 25, (SIDE, SIDE, 3))
            pixels[20:44, 10:34, place] += 120
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[20:44, 10:34] = 255
            name = f"{folder}/<img src=x onerror=y> {place}-{i:02d}"
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / f"{name}.png")
            Image.fromarray(mask).save(root / f"{name}-mask.png")
            split = "train" if i < 14 else ("test", evil("split").lower())[i % 2]
            value = evil(f"value{i % 2}")
            rows.append((f"{name}.png", label, split, f"{name}-mask.png", value, i % 2))
    columns = ["path", "label", "split", "object_mask", evil("attribute"), "snow"]
    manifest = root / f"![x](http:{HOST}).csv"
    pd.DataFrame(rows, columns=columns).to_csv(manifest, index=False)
    return manifest


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    for path, value in changes.items():
        *way, last = path.split("__")
        place = content
        for step in way:
            place = place[step]
        place[last] = value
    write_json(file, content)


def spoil(audit: Audit, name: str) -> None:
    """Texts that an audit takes from a model, a file or another machine."""
    edit(
        audit.folder / "manifest.json",
        name=evil(name),
        model__notes=[evil("model-note")],
        model__name=evil("model"),
        data__source=evil("source"),
        head__reason=evil("reason-of-head"),
        compute__reason=evil("reason-of-device"),
    )
    summary = json.loads((audit.folder / "summary.json").read_text(encoding="utf-8"))
    for facts in summary["classes"]:
        facts["definition"] = evil("definition")
    label = summary["classes"][0]["label"]
    cue = {label: {"cue": "snow", "note": evil("planted")}}
    unread = [{"path": evil("unreadable"), "reason": evil("unreadable-reason")}]
    edit(
        audit.folder / "summary.json",
        classes=summary["classes"],
        notes=[evil("note")],
        planted=cue,
        unreadable=unread,
        duplicates=[[evil("duplicate"), evil("duplicate")]],
    )


def tag(audit: Audit, store: TagStore) -> None:
    """Two people with hostile names agree and differ, and say why."""
    labels = [facts.label for facts in audit.classes]
    people = ((evil("anna"), Tag.CORE), (evil("ben"), Tag.SPURIOUS))
    for who, doubt in people:
        for label in labels[:2]:
            store.add(
                *(who, audit.id, CandidateKey(label, PCA, 0), Tag.SPURIOUS),
                subtype=Subtype.BACKGROUND,
                reason=evil("why"),
            )
        store.add(who, audit.id, CandidateKey(labels[2], PCA, 0), doubt, reason=evil("doubt"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two audits and a corrected model, tagged and measured, and a job that failed."""
    root = tmp_path_factory.mktemp("hostile")
    data, workspace = draw(root / "data"), Workspace(root / "workspace")
    store = TagStore.open(workspace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.corrections.choice.fold_head", lambda head, _: head)
        audits = [
            run_audit(tiny_request(data, model=f"tiny:page-{i}", name=name), workspace)
            for i, name in enumerate(("first", "second"))
        ]
        for audit in audits:
            tag(audit, store)
        request = MitigateRequest("first", "projection", "fixed", strength=2.0)
        fixed = run_mitigation(request, workspace)
        context = open_context(audits, workspace)
        for audit in audits:
            measured(audit, workspace)
            factor_table(audit)
            decisions = context.decisions[audit.id]
            make_trials(audit, decisions, missing(audit, decisions))
    for audit, name in zip((*audits, fixed), ("first", "second", "fixed"), strict=True):
        spoil(audit, name)
    edit(fixed.folder / "manifest.json", mitigation__parent_name=evil("parent"))
    jobs.start(workspace, ["audit", "--data", f"/{evil('job')}", "--model", "x"], evil("title"))
    while any(job.state in ("waiting", "running") for job in jobs.jobs(workspace)):
        time.sleep(0.1)
    return workspace


VIEWS: dict[str, dict[str, str]] = {
    "overview": {"plot": "1"},
    "findings": {},
    "findings 2": {"finding": "2"},
    "components": {},
    "image": {"image": "IMAGE", "explain": "LABEL"},
    "image 2": {"which": "wrong"},
    "compare": {"view": "table"},
    "compare 2": {"view": "classes", "of": "tagged"},
    "compare 3": {"view": "classes", "of": "widest"},
    "compare 4": {"view": "robustness"},
    "compare 5": {"view": "tags"},
    "compare 6": {"view": "pair"},
    "compare 7": {"view": "image", "image": "IMAGE"},
    "map": {"colour": "class"},
    "map 2": {"colour": "ATTRIBUTE"},
    "tagging": {"others": "1"},
    "agreement": {},
    "ranking": {},
    "measures": {"view": "table"},
    "measures 2": {"view": "gaps"},
    "measures 3": {"view": "accuracy"},
    "measures 4": {"view": "factors"},
    "report": {"audits": "SECOND", "title": evil("report"), "author": evil("author")},
    "mitigate": {},
    "mitigate 2": {"AUDIT": "FIXED", "result": "FIXED"},
    "new": {},
    "glossary": {"word": evil("word")},
}
LEFT = f"""() => {{
  const found = [];
  const search = (root) => {{
    for (const node of root.querySelectorAll("*")) {{
      if (node.shadowRoot) search(node.shadowRoot);
      if (node.contentDocument) search(node.contentDocument);
      for (const name of ["src", "href", "srcset", "style", "poster", "action", "data"]) {{
        const value = node.getAttribute(name) ?? "";
        if (value.includes("{HOST}")) found.push(`${{node.tagName}} ${{name}}=${{value}}`);
      }}
      if (node.matches('[aria-label="skull icon"]')) found.push(node.outerHTML);
    }}
  }};
  search(document);
  return found;
}}"""
"""Whatever leads to the host, and what a name has been made into."""

READ = """() => {
  const found = [];
  const search = (root) => {
    found.push(root.body ? root.body.innerText : root.textContent);
    for (const node of root.querySelectorAll("*")) if (node.shadowRoot) search(node.shadowRoot);
    for (const node of root.querySelectorAll("input")) found.push(node.value);
  };
  search(document);
  return found.join("\\n");
}"""
"""Everything that can be read on a page."""


@pytest.fixture(scope="module")
def visit(chrome: Browser, started: Callable[..., str], workspace: Workspace) -> Watched:
    context = chrome.new_context(viewport={"width": 1600, "height": 1400})
    return Watched(context.new_page(), started(workspace.root))


def address(workspace: Workspace, view: str) -> str:
    """The page and its parameters."""
    first, second, fixed = sorted(
        (Audit(workspace.folder(m.id)) for m in workspace.manifests()),
        key=lambda audit: ["first", "second", "fixed"].index(
            re.search(r"/(\w+)\.png", audit.name)[1]
        ),
    )
    known = {
        "IMAGE": first.images.index[0],
        "LABEL": first.classes[0].label,
        "ATTRIBUTE": f"attribute:{first.summary.attributes[0]}",
        **{"SECOND": second.id, "FIXED": fixed.id, "AUDIT": "audit"},
    }
    given = {known.get(k, k): known.get(v, v) for k, v in VIEWS[view].items()}
    return f"{view.split()[0]}?{urlencode({'audit': first.id, **given})}"


def look_around(visit: Watched) -> None:
    """Open what is closed, and point at what says something then."""
    page = visit.page
    page.evaluate(
        "document.querySelectorAll('details:not([open]) > summary').forEach(s => s.click())"
    )
    for icon in page.locator('[data-testid="stTooltipIcon"]').all()[:8]:
        icon.hover(force=True)
        page.wait_for_timeout(100)
    for drag in page.locator(".js-plotly-plot .draglayer").all()[:2]:
        box = drag.bounding_box() or {"x": 0, "y": 0, "width": 0, "height": 0}
        for step in range(8):
            page.mouse.move(
                box["x"] + box["width"] * (step + 0.5) / 8, box["y"] + box["height"] / 2
            )
            page.wait_for_timeout(60)
    for canvas in page.locator(".scatter canvas").all()[:1]:
        for x in range(100, 700, 60):
            canvas.hover(position={"x": x, "y": 200}, force=True)
    for popover in page.locator('[data-testid="stPopover"] button').all():
        popover.click()
        page.keyboard.press("Escape")
    visit.settle()


@pytest.mark.parametrize("view", VIEWS)
def test_no_name_is_more_than_text(visit: Watched, workspace: Workspace, view: str) -> None:
    visit.errors.clear()
    visit.foreign.clear()
    visit.page.goto(f"{visit.address}/{address(workspace, view)}")
    visit.page.locator("h1").first.wait_for()
    visit.settle()
    look_around(visit)
    assert visit.page.evaluate(LEFT) == []
    visit.clean()
    read = visit.page.evaluate(READ)
    assert "\\[" not in read
    assert "\\!" not in read
    assert ":small[" not in read
    assert "💀" not in read
    assert "😄" not in read
