"""What tests of buckets share: an audit on a disk that those in buckets are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import core.features.shards
import core.storage.disk
import core.storage.files
from core.audits.audit import Audit
from core.audits.run import run_audit
from core.storage import mirror
from core.storage.workspace import Workspace
from tests.conftest import draw_folder, tiny_request


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mirror of another test, shards of four images, and no waiting for the disk."""
    monkeypatch.setattr(mirror, "_mirrors", {})
    monkeypatch.setenv(mirror.INHERITED, "")
    for module in (core.storage.disk, core.storage.files, core.features.shards):
        monkeypatch.setattr(module, "sync", lambda path: None)
    monkeypatch.setattr(core.features.shards, "SHARD_SIZE", 4)


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("far") / "data", np.random.default_rng(0))


@pytest.fixture(scope="package")
def plain(data: Path) -> Audit:
    """The audit on a disk, in shards of four images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.features.shards, "SHARD_SIZE", 4)
        return run_audit(tiny_request(data), Workspace(data.parent / "plain"))
