"""Make the pictures of README and guide: ``python docs/make_screenshots.py [WORKSPACE]``.

Without a workspace the demo is prepared in a temporary one. Needs requirements-dev.txt and a
Chromium of the system.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.clicks import browser, server  # noqa: E402 - the project is not installed
from core.audit import Audit  # noqa: E402
from core.run import AuditRequest, run_audit  # noqa: E402
from core.store import Workspace  # noqa: E402

OUT = Path(__file__).resolve().parent / "screenshots"


def main() -> None:
    """Prepare the demo and photograph every page, light and dark."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder))
        audit = demo(workspace)
        facts = next(c for c in audit.classes if c["name"] == "van")
        table = audit.candidates
        best = table[(table["class_idx"] == facts["class_idx"]) & (table["order"] == 0)].iloc[0]
        views = {
            "overview": f"?audit={audit.id}",
            "components": f"components?audit={audit.id}&class=van",
            "image": f"image?audit={audit.id}&image={best['top_image_ids'][0]}"
            f"&component=pca-{best['component']}&explain=van",
            "new-audit": "new",
        }
        OUT.mkdir(exist_ok=True)
        with server(str(workspace.root)) as url, browser() as page:
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                for name, view in views.items():
                    photograph(page, f"{url}/{view}", OUT / f"{name}-{scheme}.png")


def demo(workspace: Workspace) -> Audit:
    """The demo's audit, prepared unless it is there."""
    return run_audit(
        AuditRequest("demo:cues", "packaged:efficientnet-lite0", name="demo-cues", head="fit"),
        workspace,
    )


def photograph(page: Any, url: str, out: Path) -> None:
    """One page, as high as its content but no higher than 1,500 pixels."""
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(url)
    page.wait_for_timeout(6000)
    height = page.evaluate("() => document.querySelector('[data-testid=\"stMain\"]').scrollHeight")
    page.set_viewport_size({"width": 1440, "height": min(int(height), 1500)})
    page.wait_for_timeout(2500)
    page.screenshot(path=str(out))


if __name__ == "__main__":
    main()
