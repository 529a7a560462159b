"""The scripts of pages without a browser: processor time and memory, as one JSON document.

``python -m benchmarks.page_scripts WORKSPACE AUDIT [PAGE …]``, in a process of its own: a page is
opened, then run again. Processor time: a busy machine does not change it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AGAIN = 5
"""Times that a page is run after it was opened."""


def resident() -> float:
    """Memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measured(audit_id: str, page: str) -> tuple[float, float]:
    """Processor seconds of a page as it is opened and, in the middle, as it is run again."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600)
    times = []
    for turn in range(AGAIN + 1):
        began = time.process_time()
        if turn == 0 and page != "overview":
            app.switch_page(f"pages/{page}.py")
        app.query_params["audit"] = audit_id  # a change of page forgets the address
        app.run()
        times.append(time.process_time() - began)
        assert app.query_params.get("audit", audit_id) in (audit_id, [audit_id])
        assert not app.exception, [each.value for each in app.exception]
    return times[0], sorted(times[1:])[AGAIN // 2]


def every_page() -> list[str]:
    """Every page that shows an audit, in the order of the files."""
    names = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
    return [name for name in names if name not in ("glossary", "new_audit")]


def main(workspace: str, name: str, *pages: str) -> int:
    """Open pages of an audit by its name and print what they took."""
    os.environ["SPURIOSCOPE_WORKSPACE"] = workspace
    from core.storage.workspace import Workspace

    audit_id = Workspace(Path(workspace)).find(name).id
    before = resident()
    measured(audit_id, "glossary")  # what every page imports, and the frame
    started = resident()
    found = {page: measured(audit_id, page) for page in pages or every_page()}
    memory = {"memory": resident(), "before": before, "started": started}
    print(json.dumps({"pages": found, **memory}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
