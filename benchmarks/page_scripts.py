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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[1]
AGAIN = 5
"""Times that a page is run after it was opened."""
FIRST = "overview"
"""The page at the bare address."""


def resident() -> float:
    """Memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measured(audit_id: str, page: str) -> tuple[float, float]:
    """Processor seconds of a page as it is opened and, in the middle, as it is run again."""
    app = opened(audit_id, page)
    times = []
    for _ in range(AGAIN + 1):
        app.query_params["audit"] = audit_id  # a change of page forgets the address
        began = time.process_time()
        app.run()
        times.append(time.process_time() - began)
        assert not app.exception, [each.value for each in app.exception]
        assert app.query_params.get("audit") == audit_id, f"{page} shows another audit"
    return times[0], sorted(times[1:])[AGAIN // 2]


def opened(audit_id: str, page: str) -> AppTest:
    """A session about to open a page; it comes from the first one, whose run names all pages."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600)
    app.query_params["audit"] = audit_id
    if page != FIRST:
        app.run()
        app.switch_page(f"pages/{page}.py")
    return app


def every_page() -> list[str]:
    """Every page that shows an audit: the first one, then in the order of the files."""
    names = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
    return [FIRST, *(name for name in names if name not in (FIRST, "glossary", "new_audit"))]


def imported() -> None:
    """What every page imports, without an audit."""
    from streamlit.testing.v1 import AppTest

    AppTest.from_file(str(ROOT / "pages" / "glossary.py"), default_timeout=600).run()


def held(audit_id: str) -> dict[str, float]:
    """Bytes of what an opened audit holds, and of all that Arrow holds, tables of it included."""
    import pyarrow

    from core.ui.frame.opened import open_audit

    audit = open_audit(audit_id)
    tables = {"table of images": audit.images, "table of candidates": audit.controlled}
    found = {name: float(table.memory_usage().sum()) for name, table in tables.items()}
    return {**found, "Arrow, most of both": float(pyarrow.total_allocated_bytes())}


def main(workspace: str, name: str, *pages: str) -> int:
    """Open pages of an audit by its name and print what they took."""
    os.environ["SPURIOSCOPE_WORKSPACE"] = workspace
    from core.storage.workspace import Workspace

    audit_id = Workspace(Path(workspace)).find(name).id
    before = resident()
    imported()
    started = resident()
    found = {page: measured(audit_id, page) for page in pages or every_page()}
    memory = {"memory": resident(), "before": before, "started": started}
    print(json.dumps({"pages": found, **memory, "held": held(audit_id)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
