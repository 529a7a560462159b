"""What people leave in an audit after some days: tags of two, a map, looks at the data, a model.

Made by the command line, as they would; what is there already is found, not made again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.clicks import ROOT

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.storage.workspace import Workspace

CLASSES = 100
"""Classes whose candidates both people tag; every fourth answer is not the same."""
TAGS = ("spurious", "core")
PEOPLE = ("one", "another")
MEASURES = ("gap", "groups")
"""Those that need no network, which drawn features have none of."""
LOOKS = ("labels", "shortcuts", "attributes", "slices", "combinations")
"""Of drawn features: there are no pictures to be copies, and no strategies without maps."""


def fill(workspace: Workspace, name: str) -> dict[str, float]:
    """Fill the audit of a name; seconds of every command, of none where it is filled already."""
    from core.audits.audit import Audit

    corrected = f"{name}-spufix"
    if workspace.named(corrected):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        tags = Path(folder) / "tags.json"
        tags.write_text(json.dumps({"tags": list(_answers(Audit.open(workspace, name)))}))
        return {
            "tags": _core(workspace, "tags", "import", name, str(tags)),
            "map": _core(workspace, "map", name),
            **{f"data, {look}": _core(workspace, "data", name, "--what", look) for look in LOOKS},
            "measure": _core(workspace, "measure", name, *_each("--what", MEASURES)),
            "mitigate": _core(
                workspace, "mitigate", name, "--method", "spufix", "--name", corrected, "--quick"
            ),
        }


def _each(flag: str, values: Sequence[str]) -> Iterator[str]:
    for value in values:
        yield from (flag, value)


def _answers(audit: Audit) -> Iterator[dict[str, object]]:
    for number, facts in enumerate(audit.classes[:CLASSES]):
        for component in range(2):
            of = {"label": facts.label, "kind": "pca", "component": component}
            for person in PEOPLE:
                other = person != PEOPLE[0] and number % 4 == 3
                yield {**of, "annotator": person, "tag": TAGS[(component + other) % 2]}


def _core(workspace: Workspace, *arguments: str) -> float:
    """Seconds of a command."""
    command = [sys.executable, "-m", "core", *arguments, "--workspace", str(workspace.root)]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments[:2])}: {done.stderr.strip()[-400:]}")
    return time.perf_counter() - began
