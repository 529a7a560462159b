"""Orders: what a file in a folder of an audit may ask another process for."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from core.audits.audit import Audit
from core.audits.shard_work import plan_key
from core.errors import InputError, WorkspaceError
from core.jobs.work import WORKS, Order
from core.storage.guard import CONFINED


def test_a_file_never_says_what_code_is_run(tmp_path: Path) -> None:
    assert list(WORKS) == ["shards", "classes", "trials"]
    order = Order("os:system", {}, 1, "0")
    with pytest.raises(InputError, match="no work 'os:system'; choose shards, classes, trials"):
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


def test_the_guard_of_paths_judges_what_an_order_leads_to(
    tiny_audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, folder = tiny_audit.root, tiny_audit.folder
    details = {"below": ".", "plans": plan_key(tiny_audit.files), "keep_maps": True}
    monkeypatch.setenv(CONFINED, str(root))
    for elsewhere in ("/etc", str(folder)):
        order = Order("shards", {**details, "root": elsewhere}, 1, version("torch"))
        with pytest.raises(InputError, match="reads only below the folders named at its start"):
            order.work(folder)
    order = Order("shards", {**details, "root": str(root)}, 1, version("torch"))
    assert order.work(folder).sizes
