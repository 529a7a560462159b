"""The scripts of pages without a browser: processor time and memory, as one JSON document.

``python -m benchmarks.page_scripts WORKSPACE AUDIT [PAGE …]``, in a process of its own: a page is
opened, then run again. Processor time: a busy machine does not change it.
"""

from __future__ import annotations

import json
import os
import subprocess
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


def mapped() -> float:
    """How much of it files stand behind: libraries, and arrays that are read where they lie."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * os.sysconf("SC_PAGE_SIZE")


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


IMPORTED = """
import contextlib, importlib, sys
for name in sys.stdin.read().split():
    with contextlib.suppress(Exception):
        importlib.import_module(name)
from benchmarks.page_scripts import mapped, resident
print(resident() - mapped())
"""


def libraries() -> float:
    """Bytes of another process that imports what this one has, no file behind them."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        input="\n".join(name for name in sys.modules if not name.startswith("__")),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def held(audit_id: str) -> dict[str, float]:
    """Bytes by what holds them; ``freed`` is what this process had not handed back yet."""
    import gc

    from pyarrow import total_allocated_bytes

    from core.storage.memory import hand_back
    from core.ui.frame.opened import open_audit

    audit, before = open_audit(audit_id), resident()
    gc.collect()
    hand_back()
    names = sum(plan.names.nbytes for plan in audit.store.plans)
    places = 2 * 4 * len(audit.images)  # of the table and of the shards, 32 bits each
    numbers = audit.images.select_dtypes("number").memory_usage(index=False).sum()
    return {
        "interpreter and libraries, their objects": libraries(),
        "mapped files, of libraries and of arrays": mapped(),
        "texts of tables (images, candidates, labels), by Arrow": float(total_allocated_bytes()),
        "numbers of the table of images": float(numbers),
        "names and places of images": float(names + places),
        "freed, not handed back": max(before - resident(), 0.0),
    }


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
    holds = held(audit_id)
    memory["explained"] = sum(holds.values()) / memory["memory"]
    print(json.dumps({"pages": found, **memory, "held": holds}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
