"""Orders: what a file in a folder of an audit may ask another process for."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from core.audits.audit import Audit
from core.errors import InputError, WorkspaceError
from core.jobs.work import WORKS, Order


def test_a_file_never_says_what_code_is_run(tmp_path: Path) -> None:
    assert list(WORKS) == ["shards", "classes"]
    order = Order("os:system", {}, 1, "0")
    with pytest.raises(InputError, match="no work 'os:system'; choose shards, classes"):
        order.work(tmp_path)


@pytest.mark.parametrize(
    "below", ["..", "sets/..", "sets/../..", "sets/a/b", "sets/", "sets", "/etc", "shards", ""]
)
def test_a_file_never_leads_out_of_its_audit(tiny_audit: Audit, below: str) -> None:
    order = Order("shards", {"below": below}, 1, version("torch"))
    with pytest.raises(WorkspaceError, match=f"shards in '{below}', which is none of its sets"):
        order.work(tiny_audit.folder)
    for inside in (".", "sets/v2"):  # these are looked into, and hold other plans
        order = Order("shards", {"below": inside, "plans": "others"}, 1, version("torch"))
        with pytest.raises(WorkspaceError, match="are planned otherwise"):
            order.work(tiny_audit.folder)
