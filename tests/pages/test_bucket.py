"""Pages of a workspace in a bucket: as of a folder, tags and jobs on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.audits.audit import Audit
from core.candidates.linear_kinds import PCA
from core.jobs import jobs
from core.storage import mirror
from core.storage.mirror import is_far
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag
from core.ui.frame import access, pictures
from core.ui.frame import opened as held
from tests.core.storage.servers import memory
from tests.pages.conftest import Open, healthy
from tests.pages.test_pictures import asked


@pytest.fixture
def far(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The prepared audits in a bucket, which the app opens with an empty folder of its own."""
    driver = memory(monkeypatch)
    monkeypatch.setattr(mirror, "_mirrors", {})
    monkeypatch.setattr(mirror, "SMALL", 4096)
    monkeypatch.setenv(mirror.INHERITED, "")
    monkeypatch.setenv("SPURIOSCOPE_WORKSPACE", "memory://pages/team")
    monkeypatch.setenv("SPURIOSCOPE_LOCAL", str(tmp_path / "local"))
    driver.put(f"{prepared / 'audits'}/", "/pages/team/audits/", recursive=True)
    return Workspace.default()


def test_the_app_opens_a_bucket_tags_here_and_asks_for_jobs_of_it(
    far: Workspace, opened: Open
) -> None:
    audit = held.open_audit(Audit.open(far, "first").id)
    maps = [shard.maps for shard in audit.files.every_shard()]
    assert all(map(is_far, maps))
    healthy(opened("overview", audit=audit.id), "first")
    healthy(opened("components", audit=audit.id), "Components of a class")
    candidate = held.class_arrays(audit, 0).candidate(PCA, 0)
    image = str(audit.images.index[0])
    url = pictures.heat_url(audit, candidate, image, scale=0.5)
    assert url.startswith("/pictures/")  # of the app, not of the bucket
    assert pictures.render(*asked(url)) is not None
    TagStore.open(far).add("ann", audit.id, candidate.key, Tag.SPURIOUS)
    assert (far.root / "tags.sqlite").is_file()
    assert not any("tags" in name for name in far._mirror.bucket.every())
    assert far.arguments == ["--workspace", "memory://pages/team", "--local", str(far.root)]
    assert jobs.jobs(far) == []
    assert access.kept(far) == (
        f" Tags are kept in {far.root}, on this machine only; jobs and copies of what is read in "
        f"{far.root}."
    )
