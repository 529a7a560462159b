"""What works on systems without ``fcntl`` and ``resource``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HIDDEN = "import sys\nfor name in ('fcntl', 'resource'):\n    sys.modules[name] = None\n"


def without_them(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code where neither module can be imported."""
    command = [sys.executable, "-c", HIDDEN + code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_module_of_core_can_be_imported() -> None:
    paths = (ROOT / "core").rglob("*.py")
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in paths]
    modules = sorted({name.removesuffix(".__init__") for name in names} - {"core.__main__"})
    assert len(modules) > 200
    code = "import importlib\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    done = without_them(code, *modules)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("from core.jobs.jobs import hold\nhold(Path('{lock}'))", "jobs need Linux or macOS"),
        (
            "from core.data.foreign import main\nmain(['x'], sys.stderr.buffer)",
            "this system cannot bound the memory of a decoder",
        ),
    ],
)
def test_what_such_systems_lack_is_said(code: str, said: str, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    done = without_them(f"from pathlib import Path\n{code.format(lock=lock)}")
    assert said in done.stderr


def test_a_full_disk_is_told_without_a_bound_of_files() -> None:
    code = (
        "import errno\nfrom core.storage.disk import _cut_short\n"
        "assert _cut_short(OSError('8 requested and 4 written')) == errno.ENOSPC\n"
    )
    assert without_them(code).returncode == 0
