"""What commands refuse: arguments, data, models, places that cannot be; one line says why."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.__main__ import main
from core.storage.workspace import Workspace
from tests.core.commands.conftest import refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nothing"], "'nothing' names no audit in"),
        (["show", ""], "'' names no audit in"),
        (["delete", "nothing"], "'nothing' names no audit in"),
        (["rename", "tiny", "a/b"], "'a/b' cannot be the name of an audit"),
        (["export", "tiny", "images", "--out", "x.txt"], "x.txt: the name must end in .parquet"),
        (["export", "tiny", "features", "--out", "x.csv"], "x.csv: the name must end in .npz"),
        (["export", "tiny", "images", "--out", "."], "the name must end in .parquet or .csv"),
        (["export", "tiny", "heatmaps", "--out", "h.npz"], "needs --class NAME and one of"),
        (["export", "tiny", "heatmaps", "--class", "red", "--out", "h.npz"], "one of --candidate"),
        (["export", "tiny", "alpha", "--class", "rad", "--out", "a.csv"], "for example: red"),
        (["export", "tiny", "alpha", "--class", "", "--out", "a.csv"], "has no class ''"),
        (["export", "tiny", "alpha", "--class", "#9", "--out", "a.csv"], "has no class '#9'"),
        (["export", "tiny", "pictures", "--out", "a.csv"], "argument WHAT: invalid choice"),
        (["export", "tiny", "images"], "required: --out"),
        (["show", "tiny", "--data-root", "/nowhere"], "/nowhere is not a folder; name the folder"),
        (["nonsense"], "argument COMMAND: invalid choice: 'nonsense'"),
        (["list", "--nonsense"], "unrecognized arguments: --nonsense"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_arguments(cli, there: Path, arguments: list[str], message: str) -> None:
    refused(cli(*arguments, at=there), message)


def test_no_command_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "required: COMMAND" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        (["--component", "99"], "component 99 of class 'red' does not exist; it has components 0"),
        (["--component", "-1"], "component -1 of class 'red' does not exist"),
        (["--neuron", "12"], "neuron 12 of class 'red' does not exist; it has neurons 0 to 11"),
        (["--component", "0", "--neuron", "1"], "one of --candidate KEY, --component N, --neuron"),
        (["--component", "0", "--candidate", "pca-1"], "one of --candidate KEY, --component N"),
        (["--candidate", "pca"], "'pca' names no candidate; write it like pca-0"),
        (["--candidate", "green/pca-0"], "a candidate of class 'green', and --class names 'red'"),
        (["--component", "0", "--images", "x"], "audit 'tiny' holds no image 'x'"),
        (["--component", "one"], "argument --component: invalid int value: 'one'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_candidates(
    cli, there: Path, tmp_path: Path, candidate: list[str], message: str
) -> None:
    heat = ["export", "tiny", "heatmaps", "--class", "red", "--out", tmp_path / "h.npz"]
    refused(cli(*heat, *candidate, at=there), message)
    assert os.listdir(tmp_path) == []


def test_an_out_that_cannot_be_written(cli, there: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "d.csv").mkdir()
    out = tmp_path / "file" / "i.csv"
    refused(cli("export", "tiny", "images", "--out", out, at=there), "choose another --out")
    out = tmp_path / "d.csv"
    refused(cli("export", "tiny", "images", "--out", out, at=there), "choose another --out")


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("path,what\na.jpg,x\n", "has no column label; its columns are: path, what"),
        ("path,label\na.jpg,\n", "rows 1 have no label; fill them in or remove the rows"),
        ("path,label\n,x\n", "rows 1 have no path"),
        ("path,label\na.jpg,x\n", "no file such as a.jpg exists below"),
        ("path,label\n", "has a header but no rows"),
        ("", "cannot be read as a table"),
    ],
    ids=["no label column", "NaN label", "NaN path", "no file", "no row", "empty"],
)
def test_bad_manifests(cli, tmp_path: Path, csv: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(csv)
    ran = cli("audit", "--data", tmp_path / "m.csv", "--model", "tiny:net")
    refused(ran, message)
    assert "m.csv" in ran.last


def test_missing_data(cli) -> None:
    ran = cli("audit", "--data", "/nowhere/at/all", "--model", "tiny:net")
    refused(ran, "'/nowhere/at/all' does not exist; give a folder")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("timm:resnet18", "packaged:efficientnet-lite0"),
        ("timm:resnet81", "resnet"),
        ("nonsense", "write timm:NAME, torchvision:NAME, one of packaged:efficientnet-lite0"),
        ("torchvision:resnet", "resnet"),
        ("packaged:lite9", "efficientnet-lite0"),
    ],
)
def test_models_that_are_not_there(
    cli, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, message: str
) -> None:
    for name in ("HF_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    monkeypatch.setattr("core.models.downloads.TIMEOUT", 0.5)
    refused(cli("audit", "--data", folder, "--model", model), message)


class Bomb:
    def __reduce__(self) -> Any:
        return (os.mkdir, (os.environ["BOMB"],))


def test_a_pickle_bomb_is_not_executed(
    cli, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps({"state_dict": Bomb()}, protocol=2))
    ran = cli(
        *("audit", "--data", folder, "--model", "timm:resnet18"),
        *("--checkpoint", tmp_path / "bomb.pth"),
    )
    refused(ran, "bomb.pth")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [("/proc/w", "cannot make the folder /proc/w"), ("/tmp/" + "x" * 300, "file name too long")],
    ids=["nowhere", "long"],
)
def test_workspaces_that_cannot_be(
    cli, audit_command: list[object], place: str, message: str
) -> None:
    ran = cli(*audit_command, at=Path(place))
    refused(ran, "choose another folder with --workspace DIR")
    assert message in ran.last
    assert cli("list", at=Path(place)).code in (0, 2)


def test_a_sentence_stays_on_one_line(cli, folder: Path) -> None:
    (folder / "train/red").rename(folder / "train/r\ned")
    ran = cli("audit", "--data", folder, "--model", "a\nb")
    assert ran.code == 2
    assert ran.last.startswith("error: ")


def test_no_data_is_not_this_folder(cli) -> None:
    refused(cli("audit", "--data", "", "--model", "tiny:net"), "--data is empty; give a folder")


def test_a_workspace_that_is_a_file(cli, audit_command: list[object], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = cli(*audit_command, at=tmp_path / "file" / "w")
    refused(ran, "choose another folder with --workspace DIR")
    assert "cannot write to" in ran.last


def test_a_full_disk_keeps_what_is_finished(
    cli,
    audit_command: list[object],
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.features.shards.SHARD_SIZE", 8)
    save, calls = np.save, []

    def failing(*arguments: Any, **more: Any) -> None:
        calls.append(1)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", failing)
        refused(cli(*audit_command), "is full")
    (audit,) = workspace.manifests()
    assert len(os.listdir(workspace.folder(audit.id) / "shards")) == 2
    assert cli("list", "--json").json["audits"][0]["state"] == "stopped"
    assert "not finished: run the same audit command again" in cli("show", "a").out
    refused(cli("export", "a", "images", "--out", workspace.root / "i.csv"), "is not finished")
    assert cli(*audit_command).code == 0
