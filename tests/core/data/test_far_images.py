"""Images that a manifest names by address: allowed at the start, read like files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.audits.audit import Audit
from core.audits.run import run_audit
from core.data.decode import file_digest, read_image, upright_size
from core.data.far_images import ALLOWED, address_of, allow, full_name, states
from core.data.file_facts import file_facts
from core.data.open import open_data
from core.errors import DataError, InputError, UnreadableImageError, WorkspaceError
from core.storage.bucket import DRIVERS, Bucket
from core.storage.workspace import Workspace
from tests.conftest import draw_folder, tiny_request


@pytest.fixture
def photos_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A manifest of images in a bucket in memory, and the folder that they are copies of."""
    fsspec = pytest.importorskip("fsspec", reason="no fsspec")
    monkeypatch.setitem(DRIVERS, "memory", "fsspec")
    monkeypatch.setenv(ALLOWED, "")
    memory = fsspec.filesystem("memory", use_listings_cache=False)
    data = draw_folder(tmp_path / "data", np.random.default_rng(0))
    rows = []
    for path in sorted(path for path in data.rglob("*") if path.is_file()):
        name = f"photos/data/{path.relative_to(data).as_posix()}"
        memory.pipe_file(f"/{name}", path.read_bytes())
        rows.append((f"memory://{name}", path.parent.name))
    pd.DataFrame(rows, columns=["path", "label"]).to_csv(tmp_path / "far.csv", index=False)
    yield data
    memory.rm("/photos", recursive=True)


def test_an_audit_of_far_images_is_that_of_the_files(photos_far: Path, tmp_path: Path) -> None:
    asked = tiny_request(tmp_path / "far.csv")
    workspace = Workspace(tmp_path / "workspace")
    with pytest.raises(InputError, match=r"memory://photos were not allowed.*--allow-images"):
        run_audit(asked, workspace)
    allow(["memory://photos"])
    far = run_audit(asked, workspace)
    near = run_audit(tiny_request(photos_far, name="near"), workspace)
    by_name = [
        audit.images.assign(name=[Path(p).name + Path(p).parent.name for p in audit.images["path"]])
        for audit in (far, near)
    ]
    by_name = [table.reset_index().set_index("name").sort_index() for table in by_name]
    assert by_name[0]["digest"].tolist() == by_name[1]["digest"].tolist()
    features = [a.store.features(t["image_id"]) for a, t in zip((far, near), by_name, strict=True)]
    assert np.array_equal(*features)
    path = far.path(str(far.images.index[0]))
    assert address_of(path).startswith("memory://photos/data/")
    assert file_facts(path).file_bytes == states([path])[0][0] > 0
    assert upright_size(path) == read_image(path).image.size
    assert len(run_audit(asked, workspace).store.shards) == len(far.store.shards)


def test_a_folder_in_a_bucket_is_listed_by_its_class_folders(
    photos_far: Path, tmp_path: Path
) -> None:
    import fsspec

    def listed(address: str) -> pd.DataFrame:
        frame = open_data(address, workspace=tmp_path).frame
        return frame.set_index("path")[["image_id", "label", "split"]].sort_index()

    with pytest.raises(InputError, match=r"memory://photos were not allowed.*--allow-images"):
        listed("memory://photos/data")
    allow(["memory://photos"])
    far, near = listed("memory://photos/data/"), listed(str(photos_far))
    own = ["image_id", "label"]
    assert far[own].equals(listed(str(tmp_path / "far.csv"))[own])
    own = ["label", "split"]
    assert far[own].to_numpy().tolist() == near[own].to_numpy().tolist()
    memory = fsspec.filesystem("memory", use_listings_cache=False)
    for name in (
        "Train/cat/1.png",
        "Train/cat/x/2.png",
        "val/dog/3.png",
        "val/dog/.4.png",
        "a.txt",
    ):
        memory.pipe_file(f"/photos/split/{name}", b"")
    found = listed("memory://photos/split")
    assert found[["label", "split"]].to_numpy().tolist() == [
        *([["cat", "train"]] * 2),
        ["dog", "val"],
    ]
    notes = open_data("memory://photos/split", workspace=tmp_path).notes
    assert notes[0] == "Left out, no image of a class folder: 2 objects."
    with pytest.raises(DataError, match=r"memory://photos/split/val/dog has no image in a class f"):
        listed("memory://photos/split/val/dog")
    again = tiny_request("memory://photos/data", name="again")
    whole = run_audit(again, Workspace(tmp_path / "workspace"))
    assert len(whole.images) == len(listed("memory://photos/data"))
    assert whole.manifest.data.source == "memory://photos/data"


def test_what_is_gone_is_one_image_and_what_is_refused_is_the_end(
    photos_far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(["memory://photos"])
    root = tmp_path / "x"
    with pytest.raises(UnreadableImageError, match="does not exist"):
        read_image(root / "memory://photos/none.png")
    assert file_digest(root / "memory://photos/none.png") == ""
    assert states([root / "memory://photos/none.png"]) == [(-1, 0)]
    assert full_name(root, "memory://photos/x.png") == "memory://photos/x.png"
    assert full_name(root, "x.png") == str(root / "x.png")
    with pytest.raises(InputError, match="s3://other were not allowed"):
        read_image(root / "s3://other/x.png")
    with pytest.raises(InputError, match="signed addresses hold secrets") as error:
        read_image(root / "memory://photos/x.png?signature=planted")
    assert "planted" not in str(error.value)
    workspace, read, left = Workspace(tmp_path / "workspace"), Bucket.read, [9]

    def expires(self: Bucket, *asked: object) -> bytes | None:
        left[0] -= 1
        with self.said():
            if left[0] < 0:
                raise PermissionError("planted-secret has expired")
        return read(self, *asked)

    monkeypatch.setattr(Bucket, "read", expires)
    with pytest.raises(WorkspaceError, match=r"refuses access.*expired.*goes on") as stopped:
        run_audit(tiny_request(tmp_path / "far.csv"), workspace)
    assert "planted" not in str(stopped.value)
    monkeypatch.setattr(Bucket, "read", read)
    assert isinstance(run_audit(tiny_request(tmp_path / "far.csv"), workspace), Audit)
