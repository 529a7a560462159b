"""Every path that a visitor can name, against every trick that leads out of the shared folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from core.audits.audit_requests import AuditRequest
from core.data.open import canonical, open_data
from core.errors import InputError, SpurioscopeError
from core.measures.scores import _image_files
from core.storage.guard import CONFINED, permitted, permitted_files

REFUSED = "reads only below the folders|NUL byte|no data set of the hub|has no option"


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shared folder beside a secret one; this process may read the first alone."""
    share, secret = tmp_path / "share", tmp_path / "secret"
    for label in ("cat", "dog"):
        photo(share / "pets" / label / "1.png")
        photo(secret / "pets" / label / "1.png")
    (secret / "payroll.csv").write_text("name,salary\nAnn,1\n")
    (secret / "model.pth").write_bytes(b"x")
    (share / "out").symlink_to(secret)
    (share / "file.png").symlink_to(secret / "pets" / "cat" / "1.png")
    (share / "que?ry").mkdir()
    monkeypatch.setenv(CONFINED, str(share))
    monkeypatch.chdir(share)
    return share


TRICKS = (
    "{secret}/pets",
    "{secret}/payroll.csv",
    "../secret/payroll.csv",
    "{share}/../secret/pets",
    "{share}/nosuch?/../../secret/payroll.csv",
    "{share}/que?ry/../../secret/payroll.csv",
    "{share}/out/pets",
    "{share}/out/payroll.csv",
    "{share}/pets/../out/payroll.csv",
    "{share}-other/../secret/payroll.csv",
    "{share}2",
    "~/photos",
    "~root",
    "/",
    "/etc",
    "/etc/passwd",
    "/proc/self/environ",
    "/proc/self/cwd/../secret/pets",
    "/dev/stdin",
    "{share}/pets\0.csv",
    "\0",
)


def spelt(trick: str, share: Path) -> str:
    return trick.format(share=share, secret=share.parent / "secret")


FIELDS: dict[str, Callable[[str, Path], object]] = {
    "data": lambda path, work: open_data(path, workspace=work),
    "root of a torchvision data set": lambda path, work: open_data(
        f"torchvision:FakeData?root={path}", workspace=work
    ),
    "root of a demo": lambda path, work: open_data(f"demo:imagenette?root={path}", workspace=work),
    "data root": lambda path, work: open_data("pets", workspace=work, data_root=Path(path)),
    "checkpoint": lambda path, work: AuditRequest("pets", "timm:resnet18", checkpoint=Path(path)),
    "folder of cue images": lambda path, work: _image_files(Path(path)),
    "the form's data": lambda path, work: canonical(path),
    "the form's folders": lambda path, work: permitted(path),
}


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("field", FIELDS)
def test_no_field_leads_out_of_the_shared_folder(
    share: Path, tmp_path: Path, field: str, trick: str
) -> None:
    with pytest.raises(InputError, match=REFUSED) as refused:
        FIELDS[field](spelt(trick, share), tmp_path / "work")
    assert "salary" not in str(refused.value)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("column", ["path", "object_mask", "cue_mask"])
@pytest.mark.parametrize(
    "trick",
    [
        "../secret/pets/cat/1.png",
        "pets/../../secret/pets/cat/1.png",
        "{secret}/pets/cat/1.png",
        "out/pets/cat/1.png",
        "file.png",
        "/etc/passwd",
        "pets/cat/..",
    ],
)
def test_no_row_of_a_manifest_leads_out(
    share: Path, tmp_path: Path, column: str, trick: str
) -> None:
    row = {"path": "pets/cat/1.png", "label": "cat", "object_mask": "", "cue_mask": ""}
    row[column] = spelt(trick, share)
    lines = [",".join(row), "pets/dog/1.png,dog,,", ",".join(row.values())]
    (share / "manifest.csv").write_text("\n".join(lines) + "\n")
    if trick == "pets/cat/..":  # the folder of the share itself: nothing to hide
        open_data("manifest.csv", workspace=tmp_path / "work")
        return
    with pytest.raises(InputError, match=REFUSED):
        open_data("manifest.csv", workspace=tmp_path / "work")


def test_a_link_among_the_images_of_a_folder_is_refused(share: Path, tmp_path: Path) -> None:
    (share / "pets" / "cat" / "2.png").symlink_to(share.parent / "secret/pets/cat/1.png")
    with pytest.raises(InputError, match=REFUSED):
        open_data("pets", workspace=tmp_path / "work")
    with pytest.raises(InputError, match=REFUSED):
        _image_files(share / "pets")


@pytest.mark.parametrize(
    "source", ["hf:/etc", "hf:../secret", "hf:pets", "hf:.", "hf:a/b/c", "hf:~"]
)
def test_a_data_set_of_the_hub_is_no_folder(
    share: Path, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpurioscopeError, match="no data set of the hub|NAME is no path to this"):
        open_data(source, workspace=tmp_path / "work")
    monkeypatch.delenv(CONFINED)
    with pytest.raises(SpurioscopeError, match="no data set of the hub"):
        open_data(source, workspace=tmp_path / "work")


@pytest.mark.parametrize("option", ["workspace", "report", "name", "root"])
def test_a_demo_has_no_option_that_says_where(share: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(SpurioscopeError, match="without root=|is no path to this source"):
        open_data(f"demo:cues?{option}={share}", workspace=tmp_path / "work")


@pytest.mark.parametrize("source", ["torchvision:Imagenette?download=1", "demo:imagenette?seed=1"])
def test_nobody_has_a_shared_folder_written_to(share: Path, tmp_path: Path, source: str) -> None:
    with pytest.raises(InputError, match="without root="):
        open_data(f"{source}&root={share}", workspace=tmp_path / "work")


def test_a_name_that_the_system_does_not_take_is_said(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in ("a" * 5000, f"{tmp_path}/{'b' * 300}", f"{tmp_path}/loop/x"):
        with pytest.raises(SpurioscopeError, match="is no path|does not exist"):
            open_data(path, workspace=tmp_path)


def test_what_lies_inside_is_read(share: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    for source in ("pets", str(share / "pets"), f"{share}/que?ry/../pets"):
        assert open_data(source, workspace=work).source == str(share / "pets")
    (share / "inside").symlink_to(share / "pets")
    assert open_data("inside", workspace=work).labels == ["cat", "dog"]
    assert permitted("que?ry") == share / "que?ry"
    demo = open_data("demo:cues?per_class=10", workspace=work)  # laid by us, not named by anybody
    assert len(demo.frame) == 40


def test_without_confinement_everything_may_be_named(
    share: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CONFINED)
    assert len(open_data(str(share / "out" / "pets"), workspace=tmp_path).frame) == 2
    permitted_files(share, ["../secret/payroll.csv"])
    with pytest.raises(InputError, match="NUL byte"):
        permitted("a\0b")


def test_no_folder_at_all_leaves_the_demos(
    share: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONFINED, "")
    with pytest.raises(InputError, match=r"named at its start \(none\); set SPURIOSCOPE_DATA"):
        open_data("pets", workspace=tmp_path / "work")
    assert len(open_data("demo:cues?per_class=10", workspace=tmp_path / "work").frame) == 40
