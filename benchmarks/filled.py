"""What people leave in an audit after some days: tags of two, a map, looks at the data, a model.

Made by the command line, as they would; what is there already is found, not made again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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
MEASURES = ("gap", "groups", "flip")
"""Those that need no network, which drawn features have none of."""
LOOKS = ("labels", "shortcuts", "attributes", "slices", "combinations")
"""Of drawn features: there are no pictures to be copies, and no strategies without maps."""


def fill(workspace: Workspace, name: str) -> str:
    """Fill the audit of a name; the name of the corrected one that was made of it."""
    from core.audits.audit import Audit
    from core.tags.log import TagStore

    audit = Audit.open(workspace, name)
    if not TagStore.open(workspace).current(audit.id):
        _tags(workspace, audit, name)
    _core(workspace, "map", name)
    _core(workspace, "data", name, *(word for look in LOOKS for word in ("--what", look)))
    _core(workspace, "measure", name, *(word for what in MEASURES for word in ("--what", what)))
    corrected = f"{name}-spufix"
    _core(workspace, "mitigate", name, "--method", "spufix", "--name", corrected, "--quick")
    return corrected


def _tags(workspace: Workspace, audit: Audit, name: str) -> None:
    """Tags of the first two components of some classes, by two people, read from a file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tags.json"
        file.write_text(json.dumps({"tags": list(_answers(audit))}))
        _core(workspace, "tags", "import", name, str(file))


def _answers(audit: Audit) -> Iterator[dict[str, object]]:
    for number, facts in enumerate(audit.classes[:CLASSES]):
        for component in range(2):
            of = {"label": facts.label, "kind": "pca", "component": component}
            for person in PEOPLE:
                other = person != PEOPLE[0] and number % 4 == 3
                yield {**of, "annotator": person, "tag": TAGS[(component + other) % 2]}


def _core(workspace: Workspace, *arguments: str) -> None:
    command = [sys.executable, "-m", "core", *arguments, "--workspace", str(workspace.root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments[:2])}: {done.stderr.strip()[-400:]}")
