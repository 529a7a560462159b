"""Commands as a script runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.storage.workspace import Workspace


class Ran:
    """What a command said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.last = err.strip().splitlines()[-1] if err.strip() else ""

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], workspace: Workspace):
    """Run a command in a fresh workspace, or in the one that is given."""

    def run(*arguments: object, at: Path = workspace.root) -> Ran:
        capsys.readouterr()
        try:
            code = main([*map(str, arguments), "--workspace", str(at)])
        except SystemExit as end:
            code = int(end.code or 0)
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def there(tiny_audit: Audit) -> Path:
    """A workspace with one finished audit, to be read only."""
    return tiny_audit.folder.parent.parent


@pytest.fixture
def audit_command(folder: Path) -> list[object]:
    return [
        *("audit", "--data", folder, "--model", "tiny:net", "--head", "fit", "--name", "a"),
        *("--batch-size", "8", "--precision", "fp32"),
    ]


def refused(ran: Ran, message: str, code: int = 2) -> None:
    """One sentence on the last line of standard error, nothing on standard output."""
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert "Traceback" not in ran.err
    assert message in ran.last
