"""One audit from start to finish: what is computed how often, interruptions, moves, odd data."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core.audits.run
import core.features.feed
from core.audits.audit import Audit
from core.audits.run import run_audit
from core.errors import WorkspaceError
from core.features.extract import encode_padded
from core.storage.files import locked, read_json
from core.storage.workspace import Workspace
from tests.conftest import Server, draw, tiny_request
from tests.core.run_fixture import by_id


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.features.shards.SHARD_SIZE", 4)
    monkeypatch.setattr("core.audits.analysis.SHARD_SIZE", 4)


def content(folder: Path) -> dict[str, Any]:
    """Everything an audit holds, but for the moment it was made."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in (".npy", ".parquet"):
            found[name] = path.read_bytes()
        elif path.suffix == ".json":
            facts = read_json(path)
            if name == "manifest.json":
                del facts["created"]
            if name == "digests.json":
                facts.pop("manifest.json", None)
            found[name] = facts
        elif path.is_file():
            found[name] = None
    return found


# What is computed how often


def test_every_image_is_decoded_and_encoded_once(
    folder: Path, workspace: Workspace, counts: dict[str, int]
) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    assert counts == {"decoded": 36, "encoded": 36}
    before, written = content(audit.folder), (audit.folder / "summary.json").stat().st_mtime_ns
    again = run_audit(tiny_request(folder), workspace)
    assert counts == {"decoded": 36, "encoded": 36}
    assert again.id == audit.id
    assert content(audit.folder) == before
    assert (audit.folder / "summary.json").stat().st_mtime_ns == written


def test_an_audit_that_is_renamed_while_it_starts_keeps_that_name(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_audit(tiny_request(folder), workspace)
    prepare = core.audits.run._prepare

    def renamed(*of: Any) -> Any:
        made = prepare(*of)
        workspace.rename("tiny", "other")
        return made

    monkeypatch.setattr("core.audits.run._prepare", renamed)
    run_audit(tiny_request(folder), workspace)
    assert [manifest.name for manifest in workspace.manifests()] == ["other"]


def test_new_images_alone_are_computed(
    folder: Path, workspace: Workspace, counts: dict[str, int], rng: np.random.Generator
) -> None:
    old = by_id(run_audit(tiny_request(folder), workspace))
    counts.update(decoded=0, encoded=0)
    draw(folder / "train/red/new.jpg", (220, 40, 40), rng)
    draw(folder / "val/blue/new.jpg", (40, 40, 220), rng)
    audit = run_audit(tiny_request(folder), workspace)
    assert counts == {"decoded": 2, "encoded": 2}
    new = by_id(audit)
    assert len(new) == 38
    assert {i: new[i] for i in old} == old
    fresh = run_audit(tiny_request(folder), Workspace(workspace.root / "other"))
    assert by_id(fresh) == new
    assert np.allclose(
        fresh.class_arrays(0).alpha, audit.class_arrays(0).alpha, rtol=1e-5, atol=1e-6
    )


def test_changed_bytes_alone_are_computed_anew(
    folder: Path, workspace: Workspace, counts: dict[str, int], rng: np.random.Generator
) -> None:
    old = by_id(run_audit(tiny_request(folder), workspace))
    counts.update(decoded=0, encoded=0)
    draw(folder / "train/red/03.jpg", (40, 220, 40), rng)
    new = by_id(run_audit(tiny_request(folder), workspace))
    assert counts == {"decoded": 1, "encoded": 1}
    assert sum(new[i] != old[i] for i in old) == 1
    assert by_id(run_audit(tiny_request(folder), Workspace(workspace.root / "other"))) == new


def test_touched_but_identical_images_are_not_computed(
    folder: Path, workspace: Workspace, counts: dict[str, int]
) -> None:
    run_audit(tiny_request(folder), workspace)
    counts.update(decoded=0, encoded=0)
    for path in folder.rglob("*.jpg"):
        os.utime(path)
    run_audit(tiny_request(folder), workspace)
    assert counts == {"decoded": 0, "encoded": 0}


def test_removed_images_leave_the_audit(
    folder: Path, workspace: Workspace, counts: dict[str, int]
) -> None:
    run_audit(tiny_request(folder), workspace)
    counts.update(decoded=0, encoded=0)
    (folder / "test/red/00.jpg").unlink()
    audit = run_audit(tiny_request(folder), workspace)
    assert counts == {"decoded": 0, "encoded": 0}
    assert "test/red/00.jpg" not in set(audit.images["path"])
    assert audit.summary.readable == 35
    assert audit.class_facts("red").n_images == 17


# Interruptions


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("shard", [0, 1, 5, 8])
def test_an_error_in_the_pass_costs_one_shard(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, shard: int
) -> None:
    undisturbed = content(run_audit(tiny_request(folder), Workspace(workspace.root / "u")).folder)
    encode, calls = core.features.feed.Feed.put, []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == shard + 1:
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(core.features.feed.Feed, "put", failing)
    with pytest.raises(KeyboardInterrupt):
        run_audit(tiny_request(folder), workspace)
    assert workspace.find("tiny").state == "running"
    audit = run_audit(tiny_request(folder), workspace)
    assert len(calls) == 9 + 1
    assert content(audit.folder) == undisturbed


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("step", ["find_candidates", "fit_probe", "summarise"])
def test_an_error_in_the_analysis_repeats_no_pass(
    folder: Path,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    counts: dict[str, int],
    step: str,
) -> None:
    undisturbed = content(run_audit(tiny_request(folder), Workspace(workspace.root / "u")).folder)

    def failing(*arguments: Any, **more: Any) -> Any:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(f"core.audits.analysis.{step}", failing)
        with pytest.raises(RuntimeError, match="power cut"):
            run_audit(tiny_request(folder), workspace)
    with pytest.raises(WorkspaceError, match="'tiny' is not finished; run the same audit command"):
        Audit.open(workspace, "tiny")
    counts.update(decoded=0, encoded=0)
    assert content(run_audit(tiny_request(folder), workspace).folder) == undisturbed
    assert counts == {"decoded": 0, "encoded": 0}


def test_half_an_analysis_of_more_images_is_not_shown_as_finished(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    run_audit(tiny_request(folder), workspace)
    draw(folder / "train/red/new.jpg", (220, 40, 40), rng)
    with monkeypatch.context() as patch:
        patch.setattr("core.audits.analysis.find_candidates", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_audit(tiny_request(folder), workspace)
    assert workspace.find("tiny").state == "running"
    with pytest.raises(WorkspaceError, match="is not finished"):
        Audit.open(workspace, "tiny")
    assert run_audit(tiny_request(folder), workspace).summary.readable == 37


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments(
    folder: Path, workspace: Workspace, server: Server, kills: int
) -> None:
    command = ["audit", "--data", str(folder), "--model", "tiny:net", "--batch-size", "4"]
    command += ["--precision", "fp32", "--name", "tiny", "--workspace"]
    undisturbed = Workspace(workspace.root / "u")
    server.start([*command, str(workspace.root / "warm")])
    assert server.end()[0] == 0
    began = time.monotonic()
    server.start([*command, str(undisturbed.root)])
    assert server.end()[0] == 0
    whole, killed, moments = time.monotonic() - began, 0, random.Random(kills)
    while killed < kills:
        pid = server.start([*command, str(workspace.root)])
        time.sleep(moments.uniform(0, whole))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        code, *_ = server.end()
        killed += code == -signal.SIGKILL
        if code == 0:  # it was done before; begin anew
            shutil.rmtree(workspace.audits)
    server.start([*command, str(workspace.root)])
    assert server.end()[0] == 0
    (name,) = os.listdir(workspace.audits)
    assert content(workspace.folder(name)) == content(undisturbed.folder(name))


# The same name for something else


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"components": 3}, "components was 64, now 3"),
        ({"model": "tiny:twin"}, "model was tiny:net, now tiny:twin"),
        ({"limit_per_class": 2}, "limit per class was None, now 2"),
        ({"batch_size": 8}, "batch size was 4, now 8"),
        ({"precision": "bf16"}, "precision was fp32, now bf16"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_settings_under_the_same_name(
    folder: Path, workspace: Workspace, other: dict[str, Any], what: str
) -> None:
    before = content(run_audit(tiny_request(folder), workspace).folder)
    with pytest.raises(WorkspaceError, match=f"'tiny' exists with other settings: {what}. Choose"):
        run_audit(tiny_request(folder, **other), workspace)
    assert content(Audit.open(workspace, "tiny").folder) == before


def test_other_data_under_the_same_name(
    folder: Path, workspace: Workspace, rng: np.random.Generator
) -> None:
    run_audit(tiny_request(folder), workspace)
    shutil.copytree(folder, folder.with_name("copy"))
    with pytest.raises(WorkspaceError, match=r"data was .*/data, now .*/copy.*--data-root"):
        run_audit(tiny_request(folder.with_name("copy")), workspace)


def test_what_is_not_said_stays_as_it_was(folder: Path, workspace: Workspace) -> None:
    run_audit(tiny_request(folder), workspace)
    again = tiny_request(folder, batch_size=None, precision="auto", device="auto", workers=None)
    assert run_audit(again, workspace).manifest.compute.batch_size == 4


def test_two_at_once(folder: Path, workspace: Workspace) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    with (
        locked(audit.folder / "lock", "x"),
        pytest.raises(WorkspaceError, match="'tiny' is being computed by another process"),
    ):
        run_audit(tiny_request(folder), workspace)


def test_two_beginning_at_once_make_one_audit(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = core.audits.run.choose_compute

    def overtaken(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(core.audits.run, "choose_compute", choose)
        run_audit(tiny_request(folder), workspace)
        return choose(*arguments, **more)

    monkeypatch.setattr(core.audits.run, "choose_compute", overtaken)
    with pytest.raises(WorkspaceError, match="is being computed by another process"):
        run_audit(tiny_request(folder), workspace)
    assert len(workspace.manifests()) == 1


def test_a_folder_without_manifest_is_used_again(folder: Path, workspace: Workspace) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    before = content(audit.folder)
    shutil.rmtree(audit.folder)
    (audit.folder / ".manifest.json-1").mkdir(parents=True)
    (audit.folder / "lock").touch()
    assert content(run_audit(tiny_request(folder), workspace).folder) == before


def test_renamed_while_it_runs(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, renamed = core.features.feed.Feed.put, []

    def renaming(*arguments: Any) -> Any:
        if not renamed:
            renamed.append(workspace.rename("tiny", "better"))
        return encode(*arguments)

    monkeypatch.setattr(core.features.feed.Feed, "put", renaming)
    audit = run_audit(tiny_request(folder), workspace)
    assert (audit.name, audit.manifest.state) == ("better", "finished")


# Maps within the budget


def test_a_pass_that_goes_on_keeps_maps_as_it_began(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, small_shards: None
) -> None:
    encode, calls = core.features.feed.Feed.put, []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(core.features.feed.Feed, "put", failing)
    with pytest.raises(KeyboardInterrupt):
        run_audit(tiny_request(folder), workspace)
    monkeypatch.setattr("core.audits.run.MAP_BUDGET", 0)
    audit = run_audit(tiny_request(folder), workspace)
    assert audit.store.has_maps(audit.images.index.tolist())


def test_maps_beyond_the_budget_are_not_kept(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.audits.run.MAP_BUDGET", 12 * 64 * 4 - 1)
    audit = run_audit(tiny_request(folder), workspace)
    assert not list(audit.folder.rglob("maps.npy"))
    arrays = audit.class_arrays(0)
    assert arrays.top_maps is None
    candidate = arrays.candidate("pca", 0)
    found = audit.heatmaps(candidate, arrays.image_ids)
    assert found.mean((1, 2)) == pytest.approx(np.asarray(arrays.alpha[:, 0]), abs=1e-5)


def test_decoding_smaller_is_part_of_what_an_audit_is(
    folder: Path, workspace: Workspace, rng: np.random.Generator
) -> None:
    for path in folder.rglob("*.jpg"):
        draw(path, (200, 60, 60) if path.parent.name == "red" else (60, 60, 200), rng, size=512)
    plain = run_audit(tiny_request(folder, name="plain"), workspace)
    audit = run_audit(tiny_request(folder, shrink=True), workspace)
    assert audit.manifest.fingerprint != plain.manifest.fingerprint
    assert "shrink" not in plain.manifest.parts.preprocessing.to_json()
    assert "large JPEGs decoded smaller" in audit.manifest.compute.shrunk
    assert set(audit.images["width"]) == {512}
    first = audit.images.index[0]
    model = audit.load_model()
    again = encode_padded(model, audit.pixels(first)[None], 4).features[0].numpy()
    assert np.array_equal(again, audit.features([first])[0])
    assert not np.array_equal(again, plain.features([first])[0])
    draw(folder / "test" / "red" / "new.jpg", (255, 0, 0), rng, size=512)
    assert run_audit(tiny_request(folder), workspace).preprocess.shrink  # goes on as it began
    with pytest.raises(WorkspaceError, match="preprocessing shrink was None, now True"):
        run_audit(tiny_request(folder, name="plain", shrink=True), workspace)
