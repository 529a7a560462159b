"""Make the pictures of README and guide: ``python docs/make_screenshots.py [WORKSPACE [VIEW …]]``.

Every page, light and dark, in windows of 1440 and 900 pixels, of the rendered demo alone. Without a
workspace the demo is prepared in a temporary one; with names of views these alone are made anew, of
what is stored. Needs requirements-dev.txt and a Chromium.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.clicks import browser, server  # noqa: E402 - the project is not installed
from core.audits.audit import Audit  # noqa: E402
from core.candidates.key import CandidateKey  # noqa: E402
from core.candidates.linear_kinds import PCA  # noqa: E402
from core.storage.workspace import Workspace  # noqa: E402
from core.tags.log import TagStore  # noqa: E402
from core.types import Tag  # noqa: E402
from core.ui.compare import compare  # noqa: E402
from core.ui.data import data  # noqa: E402
from core.ui.frame.shell import PAGES  # noqa: E402
from core.ui.measures import measures  # noqa: E402

OUT = Path(__file__).resolve().parent / "screenshots"
CORRECTED = "demo-cues-corrected"
WIDTHS = (1440, 900)
HIGHEST = 1500
"""Pixels of a page that are shown."""
FROM = {"image-enough": "How little is enough"}
"""Text that a picture begins with, where what it is of lies below."""

READY = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  if (app?.dataset.testScriptState !== 'notRunning') return false;
  if (document.querySelector('[data-testid="stSkeleton"]')) return false;
  return [...document.querySelectorAll('*')].every((node) => {
    const own = node.shadowRoot?.querySelector('.gallery, .scatter');
    return !own || own.dataset.painted;
  });
}"""


def main() -> None:
    """Prepare the demo and photograph every page."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder))
        names = sys.argv[2:]
        audits = as_they_are(workspace) if names else prepared(workspace)
        OUT.mkdir(exist_ok=True)
        with server(str(workspace.root)) as url, browser() as page:
            page.add_init_script("localStorage.setItem('spurioscope-tour', 'ended')")
            shown = views(*audits)
            for name, view in {name: shown[name] for name in names or shown}.items():
                for width in WIDTHS:
                    photograph(page, f"{url}/{view}", width, name)


def as_they_are(workspace: Workspace) -> tuple[Audit, Audit]:
    """What an earlier run prepared."""
    return Audit.open(workspace, "demo-cues"), Audit.open(workspace, CORRECTED)


def prepared(workspace: Workspace) -> tuple[Audit, Audit]:
    """Three models compared, the first one measured and corrected; what is there is used."""
    command(workspace, "demo", "compare")
    first = Audit.open(workspace, "demo-cues")
    second_opinion(workspace, first)
    command(workspace, "measure", first.name)
    command(workspace, "factors", first.name)
    further_set(workspace, first)
    for what in UNDER_SHIFT:
        command(workspace, "measure", first.name, "--what", what)
    command(workspace, "discover", first.name)
    command(workspace, "groups", "add", first.name, "--name", "snow", "--where", "snow=1")
    command(workspace, "data", first.name)
    asked = ("explain", first.name, "--class", "van", "--images", leading(first))
    command(workspace, *asked, *ENOUGH)
    command(workspace, *asked, "--method", BESIDE, "--candidate", f"pca-{first_of(first)}")
    command(workspace, "discover", first.name, "--class", "van", "--method", "look", "--count", "3")
    if workspace.named(CORRECTED) is None:
        command(workspace, "mitigate", first.name, "--method", "pclarc", "--name", CORRECTED)
    command(workspace, "compare", first.name, CORRECTED)
    return first, Audit.open(workspace, CORRECTED)


UNDER_SHIFT = ("calibration", "ood", "sets", "priors", "agreement", "universal", "corruptions")
"""What is measured where it is asked for; corruptions take minutes."""


def further_set(workspace: Workspace, found: Audit) -> None:
    """The held-out images without snow, once more, as a set of their own."""
    images = found.images[found.held_out & (found.images["snow"].astype(str) == "0")]
    table = images[["path", "label"]].assign(split="test")
    table["path"] = [str(found.root / path) for path in table["path"]]
    manifest = workspace.root / "without-snow.csv"
    table.to_csv(manifest, index=False)
    command(workspace, "audit", "--name", found.name, "--also", f"without-snow={manifest}")


ENOUGH = ("--method", "sis", "--set", "relative=true")
"""As the page Image asks how little is enough."""


BESIDE = "exact,lrp,ig,input_x_gradient"
"""Methods that the page shows side by side where none is chosen."""


def first_of(found: Audit) -> int:
    """The component of the vans that the page shows first."""
    return int(_best(found)["component"])


def leading(found: Audit) -> str:
    """The image that shows most of it."""
    return str(_best(found)["top_image_ids"][0])


def _best(found: Audit) -> Any:
    facts = next(c for c in found.classes if c.name == "van")
    table = found.candidates
    return table[(table["class_idx"] == facts.class_idx) & (table["order"] == 0)].iloc[0]


def command(workspace: Workspace, *words: str) -> None:
    """What a user would type."""
    command = [sys.executable, "-m", "core", *words, "--workspace", str(workspace.root)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def second_opinion(workspace: Workspace, found: Audit) -> None:
    """Another person agrees about the planted cues and is in doubt about a third candidate."""
    store = TagStore.open(workspace)
    given = store.current(found.id)
    if "ben" in {tag.annotator for tag in given}:
        return
    for tag in given:
        if tag.tag is Tag.SPURIOUS:
            store.add("ben", found.id, tag.key, Tag.SPURIOUS)
    store.add("anna", found.id, CandidateKey("van", PCA, 1), Tag.CORE)
    store.add("ben", found.id, CandidateKey("van", PCA, 1), Tag.UNSURE)


def views(found: Audit, corrected: Audit) -> dict[str, str]:
    """Every page, with something on it; the views of a page beside each other."""
    image = leading(found)
    more = {
        "components": "&class=van",
        "ranking": "&class=van",
        "map": "&colour=attribute:snow",
        "image": f"&image={image}&component=pca-{first_of(found)}&explain=van",
        "mitigate": f"&result={corrected.id}",
    }
    pages = [entry[3] for entries in PAGES.values() for entry in entries]
    shown = {page: f"{page}?audit={found.id}{more.get(page, '')}" for page in pages}
    for page, names in (("compare", compare.VIEWS), ("measures", measures.VIEWS)):
        for name in list(names)[1:]:
            shown[f"{page}-{name}"] = f"{shown[page]}&view={name}"
    for view in list(data.VIEWS)[1:]:
        shown[f"data-{view}"] = f"{shown['data']}&look_at={view}"
    shown["components-looks"] = f"{shown['components']}&looks=1"
    shown["components-strategies"] = f"{shown['components']}&kind=cluster&strategies=1"
    shown["map-spectral"] = f"map?audit={found.id}&scope=psi:van&projection=spectral-psi"
    shown["measures-calibration-severity"] = (
        f"{shown['measures-calibration']}&along=severity of corruption"
    )
    shown["measures-corruptions-looks"] = f"{shown['measures-corruptions']}&looks=1"
    shown["compare-image"] += f"&image={image}"
    for section in ("methods", "concepts", "enough"):
        shown[f"image-{section}"] = f"{shown['image']}&{section}=1&look=colour"
    return shown


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
        if name in FROM:
            page.get_by_text(FROM[name], exact=True).first.evaluate(
                "node => node.scrollIntoView({block: 'start'})"
            )
            page.wait_for_timeout(500)
        picture = Image.open(io.BytesIO(page.screenshot()))
        picture.save(OUT / f"{name}-{scheme}-{width}.webp", quality=72, method=6)


if __name__ == "__main__":
    main()
