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
import pandas as pd
import pytest
from PIL import Image

import core.features.extract
from core.analysis import require_two_classes
from core.audit import Audit
from core.audit_commands import relocate
from core.errors import DataError, InputError, WorkspaceError
from core.run import AuditRequest, run_audit
from core.store import Workspace, locked, read_json
from tests.conftest import Server, draw, tiny_request

pytestmark = pytest.mark.usefixtures("tiny_model")


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many images were decoded and encoded; set to 0 to count anew."""
    seen = {"decoded": 0, "encoded": 0}
    read, encode = core.features.extract.read_image, core.features.extract.encode_padded

    def counted_read(path: Path) -> Any:
        seen["decoded"] += 1
        return read(path)

    def counted_encode(model: Any, pixels: np.ndarray, batch_size: int) -> Any:
        seen["encoded"] += len(pixels)
        return encode(model, pixels, batch_size)

    monkeypatch.setattr(core.features.extract, "read_image", counted_read)
    monkeypatch.setattr(core.features.extract, "encode_padded", counted_encode)
    return seen


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.features.shards.SHARD_SIZE", 4)
    monkeypatch.setattr("core.analysis.SHARD_SIZE", 4)


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
            found[name] = facts
        elif path.is_file():
            found[name] = None
    return found


def by_id(audit: Audit) -> dict[str, bytes]:
    ids = audit.images.index.tolist()
    return {i: row.tobytes() for i, row in zip(ids, audit.features(ids), strict=True)}


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
    assert audit.summary["readable"] == 35
    assert audit.class_facts("red")["n_images"] == 17


# Interruptions


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("shard", [0, 1, 5, 8])
def test_an_error_in_the_pass_costs_one_shard(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, shard: int
) -> None:
    undisturbed = content(run_audit(tiny_request(folder), Workspace(workspace.root / "u")).folder)
    encode, calls = core.features.extract.encode_padded, []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == shard + 1:
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(core.features.extract, "encode_padded", failing)
    with pytest.raises(KeyboardInterrupt):
        run_audit(tiny_request(folder), workspace)
    assert workspace.find("tiny")["state"] == "running"
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
        patch.setattr(f"core.analysis.{step}", failing)
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
        patch.setattr("core.analysis.find_candidates", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_audit(tiny_request(folder), workspace)
    assert workspace.find("tiny")["state"] == "running"
    with pytest.raises(WorkspaceError, match="is not finished"):
        Audit.open(workspace, "tiny")
    assert run_audit(tiny_request(folder), workspace).summary["readable"] == 37


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments(
    folder: Path, workspace: Workspace, server: Server, kills: int
) -> None:
    command = ["audit", "--data", str(folder), "--model", "timm:tiny", "--batch-size", "4"]
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
        ({"model": "timm:else"}, "model was timm:tiny, now timm:else"),
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
    assert run_audit(again, workspace).manifest["compute"]["batch_size"] == 4


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
    choose = core.run._choose_compute

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(core.run, "_choose_compute", choose)
        run_audit(tiny_request(folder), workspace)
        return choose(*arguments)

    monkeypatch.setattr(core.run, "_choose_compute", overtaken)
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
    encode, renamed = core.features.extract.encode_padded, []

    def renaming(*arguments: Any) -> Any:
        if not renamed:
            renamed.append(workspace.rename("tiny", "better"))
        return encode(*arguments)

    monkeypatch.setattr(core.features.extract, "encode_padded", renaming)
    audit = run_audit(tiny_request(folder), workspace)
    assert (audit.name, audit.manifest["state"]) == ("better", "finished")


# Odd data


def test_unreadable_images_are_listed(folder: Path, workspace: Workspace) -> None:
    whole = (folder / "train/red/00.jpg").read_bytes()
    (folder / "train/red/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "train/red/empty.jpg").touch()
    (folder / "train/red/text.jpg").write_text("no image")
    Image.open(folder / "train/red/00.jpg").save(folder / "train/red/png-inside.jpg", "PNG")
    audit = run_audit(tiny_request(folder), workspace)
    listed = {entry["path"]: entry["reason"] for entry in audit.summary["unreadable"]}
    assert listed.keys() == {f"train/red/{n}.jpg" for n in ("cut", "empty", "text")}
    assert "cut off or damaged" in listed["train/red/cut.jpg"]
    assert "is empty" in listed["train/red/empty.jpg"]
    assert "not an image" in listed["train/red/text.jpg"]
    assert audit.summary["images"] == 40
    assert len(audit.images) == audit.summary["readable"] == 37


def test_an_unreadable_image_that_was_repaired(folder: Path, workspace: Workspace) -> None:
    whole = (folder / "train/red/00.jpg").read_bytes()
    (folder / "train/red/00.jpg").write_bytes(whole[:100])
    assert len(run_audit(tiny_request(folder), workspace).summary["unreadable"]) == 1
    (folder / "train/red/00.jpg").write_bytes(whole)
    assert run_audit(tiny_request(folder), workspace).summary["unreadable"] == []


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_no_readable_image(folder: Path, workspace: Workspace, precision: str) -> None:
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"data: (no|none of).*empty\); check the files"):
        run_audit(tiny_request(folder, precision=precision), workspace)


def test_a_class_with_one_image(
    folder: Path, workspace: Workspace, rng: np.random.Generator
) -> None:
    draw(folder / "train/green/only.png", (40, 220, 40), rng)
    audit = run_audit(tiny_request(folder), workspace)
    facts = audit.class_facts("green")
    assert (facts["n_fitted"], facts["n_components"], facts["accuracy"]) == (1, 0, None)
    assert any("Only one image in the class: green" in note for note in audit.summary["notes"])
    arrays = audit.class_arrays(facts["class_idx"])
    assert arrays.residual == pytest.approx([0], abs=1e-5)
    assert len(audit.candidates.query("class_name == 'green'")) == 12


@pytest.mark.parametrize("head", ["fit", "auto"])
def test_one_class_only(
    folder: Path, workspace: Workspace, head: str, counts: dict[str, int]
) -> None:
    shutil.rmtree(folder / "train/red")
    words = r"data: a head needs training images of at least two classes, .* only 'blue'; add"
    with pytest.raises(DataError, match=words):
        run_audit(tiny_request(folder, head=head), workspace)
    assert counts["encoded"] == 0


def test_one_class_left_after_reading(folder: Path, workspace: Workspace) -> None:
    for path in (folder / "train/red").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="at least two classes"):
        run_audit(tiny_request(folder), workspace)


def test_no_class_at_all_has_a_sentence() -> None:
    with pytest.raises(DataError, match="there is only none; add another class"):
        require_two_classes("x", pd.DataFrame({"label": []}))


def test_the_only_image_of_a_class_is_never_held_out(
    folder: Path, workspace: Workspace, rng: np.random.Generator
) -> None:
    shutil.rmtree(folder / "test")
    draw(folder / "train/green/only.png", (40, 220, 40), rng)
    audit = run_audit(tiny_request(folder), workspace)
    assert audit.summary["held_out"] == "out-of-fold"
    facts = audit.class_facts("green")
    assert (facts["n_held_out"], facts["accuracy"], facts["top_gap"]) == (0, None, None)
    assert audit.class_facts("red")["n_held_out"] == 12


def test_one_image_per_class(folder: Path, workspace: Workspace) -> None:
    audit = run_audit(tiny_request(folder / "train", limit_per_class=1), workspace)
    assert audit.summary["accuracy"] is None
    assert len(audit.images) == 2


def test_a_class_missing_in_train(
    folder: Path, workspace: Workspace, rng: np.random.Generator
) -> None:
    for i in range(3):
        draw(folder / f"test/green/{i}.png", (40, 220, 40), rng)
    audit = run_audit(tiny_request(folder), workspace)
    assert [facts["label"] for facts in audit.classes] == ["blue", "red"]
    assert any("were not audited: green" in note for note in audit.summary["notes"])
    green = audit.images.query("label == 'green'")
    assert green["loss"].isna().all()
    assert not green["correct"].any()


def test_no_train_split_at_all(folder: Path, workspace: Workspace) -> None:
    manifest = manifest_of(folder)
    manifest.write_text(manifest.read_text().replace(",train", ",val"))
    audit = run_audit(tiny_request(manifest), workspace)
    assert audit.summary["held_out"] == "out-of-fold"
    assert audit.class_facts("red")["n_fitted"] == 18


def manifest_of(folder: Path, **columns: Any) -> Path:
    paths = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.jpg"))
    frame = pd.DataFrame({"path": paths})
    frame["label"], frame["split"] = frame["path"].str.split("/").str[1], frame["path"].str[:5]
    frame = frame.assign(**columns).sample(frac=1, random_state=3)
    frame.replace({"split": {"test/": "test"}}).to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"


def test_unsorted_rows_and_ragged_batches_change_nothing(
    folder: Path, workspace: Workspace
) -> None:
    from_folder = run_audit(tiny_request(folder), workspace)
    request = tiny_request(manifest_of(folder), name="m", batch_size=7)
    from_manifest = run_audit(request, workspace)
    assert from_manifest.images.index.equals(from_folder.images.index)
    ids = from_folder.images.index.tolist()
    assert np.allclose(from_folder.features(ids), from_manifest.features(ids), atol=1e-5)


def test_attributes_called_like_columns_of_ours(folder: Path, workspace: Workspace) -> None:
    clashing = {name: 1 for name in core.run.OWN_COLUMNS}
    audit = run_audit(tiny_request(manifest_of(folder, **clashing, place="x")), workspace)
    assert "width (data)" in audit.summary["attributes"]
    assert "place" in audit.summary["attributes"]
    assert any("Attributes renamed" in note for note in audit.summary["notes"])
    assert set(audit.images["width"]) == {64}


def test_a_new_attribute_needs_no_pass(
    folder: Path, workspace: Workspace, counts: dict[str, int]
) -> None:
    run_audit(tiny_request(manifest_of(folder)), workspace)
    counts.update(decoded=0, encoded=0)
    audit = run_audit(tiny_request(manifest_of(folder, place="sea")), workspace)
    assert counts["encoded"] == 0
    assert set(audit.images["place"]) == {"sea"}


def test_limit_per_class(folder: Path, workspace: Workspace, counts: dict[str, int]) -> None:
    audit = run_audit(tiny_request(folder, limit_per_class=3), workspace)
    assert counts["encoded"] == 12
    assert audit.images.groupby(["split", "label"]).size().tolist() == [3] * 4


def test_duplicates_are_listed(folder: Path, workspace: Workspace) -> None:
    shutil.copy(folder / "train/red/00.jpg", folder / "train/red/same.jpg")
    shutil.copy(folder / "train/red/01.jpg", folder / "test/red/same.jpg")
    audit = run_audit(tiny_request(folder), workspace)
    assert audit.summary["duplicates"] == [
        ["test/red/same.jpg", "train/red/01.jpg"],
        ["train/red/00.jpg", "train/red/same.jpg"],
    ]
    assert audit.summary["in_two_splits"] == [["test/red/same.jpg", "train/red/01.jpg"]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"components": 0}, "--components 0: must be at least 1"),
        ({"batch_size": -1}, "--batch-size -1: must be"),
        ({"head": "new"}, "--head 'new': choose auto, keep, fit"),
        ({"precision": "fp16"}, "--precision 'fp16': choose auto, fp32, bf16"),
        ({"name": "a/b"}, "'a/b' cannot be the name of an audit"),
    ],
    ids=str,
)
def test_bad_requests(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_request(Path("x"), **wrong)


def test_head_keep_without_the_classes(folder: Path, workspace: Workspace) -> None:
    with pytest.raises(InputError, match="--head keep: .*use --head fit"):
        run_audit(tiny_request(folder, head="keep"), workspace)


@pytest.mark.parametrize(
    ("data", "model", "name"),
    [
        ("/x/photos/", "timm:resnet18.a1", "photos-resnet18.a1"),
        ("/x/v1.0", "timm:a", "v1.0-a"),
        ("/x/m.csv", "timm:a", "m-a"),
        ("demo:cues?strength=0.5", "packaged:b", "demo-cues-b"),
        ("hf:who/what", "timm:a", "hf-who-what-a"),
        ("/x/a:b?c", "timm:a", "a-b?c-a"),
        ("/x/.hidden", "timm:a", "hidden-a"),
        ("/", "timm:a", "a"),
    ],
)
def test_default_names(data: str, model: str, name: str) -> None:
    from core.store import check_name

    assert check_name(AuditRequest(data, model).default_name) == name


# Moves


def test_moved_data(folder: Path, workspace: Workspace, counts: dict[str, int]) -> None:
    run_audit(tiny_request(folder), workspace)
    moved = folder.with_name("elsewhere")
    folder.rename(moved)
    with pytest.raises(InputError, match=r"--data-root .*/nowhere is not a folder; name"):
        relocate(workspace, workspace.find("tiny"), moved / "nowhere")
    with pytest.raises(InputError, match="is missing; name the folder that holds the images"):
        relocate(workspace, workspace.find("tiny"), workspace.root)
    relocate(workspace, workspace.find("tiny"), moved)
    audit = Audit.open(workspace, "tiny")
    assert audit.image(audit.images.index[0]).size == (64, 64)
    counts.update(decoded=0, encoded=0)
    run_audit(tiny_request(moved), workspace)
    assert counts == {"decoded": 0, "encoded": 0}


def test_moved_images_of_a_manifest_that_stays(
    folder: Path, workspace: Workspace, counts: dict[str, int]
) -> None:
    request = tiny_request(manifest_of(folder))
    run_audit(request, workspace)
    moved = folder.with_name("elsewhere")
    moved.mkdir()
    for split in ("train", "test"):
        shutil.move(folder / split, moved / split)
    relocate(workspace, workspace.find("tiny"), moved)
    counts.update(decoded=0, encoded=0)
    audit = run_audit(request, workspace)
    assert counts == {"decoded": 0, "encoded": 0}
    assert audit.root == moved


def test_moved_workspace(folder: Path, workspace: Workspace, counts: dict[str, int]) -> None:
    before = run_audit(tiny_request(folder), workspace)
    moved = Workspace(workspace.root.with_name("moved"))
    workspace.root.rename(moved.root)
    counts.update(decoded=0, encoded=0)
    after = run_audit(tiny_request(folder), moved)
    assert (after.id, counts["decoded"]) == (before.id, 0)
    assert after.heatmaps(
        after.class_arrays(0).candidate("pca", 0), after.class_arrays(0).image_ids[:2]
    ).shape == (2, 8, 8)


def test_a_copied_audit_folder_is_an_audit_of_its_own(folder: Path, workspace: Workspace) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    shutil.copytree(audit.folder, workspace.folder("c0ffee"))
    assert Audit.open(workspace, "c0ffee").folder.name == "c0ffee"


# Maps within the budget


def test_a_pass_that_goes_on_keeps_maps_as_it_began(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, small_shards: None
) -> None:
    encode, calls = core.features.extract.encode_padded, []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(core.features.extract, "encode_padded", failing)
    with pytest.raises(KeyboardInterrupt):
        run_audit(tiny_request(folder), workspace)
    monkeypatch.setattr("core.run.MAP_BUDGET", 0)
    audit = run_audit(tiny_request(folder), workspace)
    assert audit.store.has_maps(audit.images.index.tolist())


def test_maps_beyond_the_budget_are_not_kept(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.run.MAP_BUDGET", 36 * 12 * 64 * 4 - 1)
    audit = run_audit(tiny_request(folder), workspace)
    assert not list(audit.folder.rglob("maps.npy"))
    arrays = audit.class_arrays(0)
    assert arrays.top_maps is None
    candidate = arrays.candidate("pca", 0)
    found = audit.heatmaps(candidate, arrays.image_ids)
    assert found.mean((1, 2)) == pytest.approx(np.asarray(arrays.alpha[:, 0]), abs=1e-5)
