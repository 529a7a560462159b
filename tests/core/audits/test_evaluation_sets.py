"""Named evaluation sets: their labels, their figures, and that nothing else of an audit changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.__main__ import main
from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.evaluation_set import evaluation_set, evaluation_sets
from core.audits.integrity import verify
from core.audits.run import run_audit
from core.audits.set_pass import add_sets
from core.data.named_sets import KNOWN, imagenet_classes, known_set, restricted_as
from core.errors import InputError
from core.models.architecture import Architecture
from core.statistics.intervals import clopper_pearson
from core.storage.workspace import Workspace
from core.types import Preprocess
from tests.core.audits.test_head_outputs import SIDE, Nearest, colours, draw
from tests.core.audits.test_run import content
from tests.tiny import NETWORKS

NAMES = tuple(f"class {letter}" for letter in "abcdefghijklmn")
"""14: two of their numbers have two digits before the others as text."""


@pytest.fixture
def audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Audit]:
    """An audit of drawn classes by a network with these outputs, one of a colour each."""
    plain = Preprocess((SIDE, SIDE), 1.0, "bilinear", (0.0,) * 3, (1.0,) * 3)

    def run(labels: Sequence[str], outputs: Sequence[str] | None = None) -> Audit:
        prototypes, names = colours(len(outputs or labels)), tuple(outputs) if outputs else None
        made = lambda: Architecture(Nearest(prototypes).eval(), plain, names)  # noqa: E731
        monkeypatch.setitem(NETWORKS, "set", made)
        root = draw(tmp_path / "images", labels)
        request = AuditRequest(str(root), "tiny:set", head="keep", name="a", precision="fp32")
        return run_audit(request, Workspace(tmp_path / "w"))

    return run


def remade(root: Path, folders: Sequence[str], own: Sequence[int], seed: int = 3) -> Path:
    """Six blurred colours a folder, so that some are taken for others."""
    rng = np.random.default_rng(seed)
    for folder, colour in zip(folders, colours(18)[list(own)], strict=True):
        (root / folder).mkdir(parents=True)
        for i in range(6):
            value = np.clip(colour + rng.normal(0, 0.25, 3), 0, 1)
            pixel = tuple(int(v) for v in np.rint(255 * value))
            Image.new("RGB", (SIDE, SIDE), pixel).save(root / folder / f"{i}.png")
    return root


def truth(images: Path, audit: Audit, outputs: dict[str, int]) -> float:
    """Accuracy of the nearest colour, by what the pictures show."""
    hits = []
    for folder, output in outputs.items():
        for path in sorted((images / folder).iterdir()):
            pixel = np.asarray(Image.open(path), np.float64)[0, 0] / 255
            logits = 2 * pixel @ colours(18).T - (colours(18) ** 2).sum(axis=1)
            hits.append(logits[: len(audit.head.outputs)].argmax() == output)
    return float(np.mean(hits))


def test_numbers_are_read_as_numbers(audited: Callable[..., Audit], tmp_path: Path) -> None:
    """The layout of ImageNetV2: the same photos in numbered folders give the same accuracy."""
    audit, workspace = audited(NAMES), Workspace(tmp_path / "w")
    own = range(len(NAMES))
    named = remade(tmp_path / "named", NAMES, own)
    numbered = remade(tmp_path / "v2", [str(i) for i in own], own)
    wrong = sorted(map(str, own))  # what a loader makes of these folders' names
    asked = {"named": str(named), "v2": str(numbered)}
    sets = add_sets(audit, asked, workspace)
    right = truth(named, audit, {name: i for i, name in enumerate(NAMES)})
    assert 0.3 < right < 0.9
    assert sets["named"].correct.mean() == sets["v2"].correct.mean() == right
    assert sets["v2"].facts.notes == (
        "Its 14 labels are numbers and read as numbers of the model's outputs.",
    )
    assert sets["named"].facts.notes == ()
    mixed = remade(tmp_path / "mixed", [str(wrong.index(str(i))) for i in own], own)
    note = add_sets(audit, {"mixed": str(mixed)}, workspace)["mixed"].facts.notes[-1]
    assert note.startswith("Its numbers fit the predictions far better read as places in a list")


def test_imagenet_s_numbers_are_found_by_its_classes(
    audited: Callable[..., Audit], tmp_path: Path
) -> None:
    """Ten classes of ImageNet's thousand, called by their ids or by their names."""
    numbers = [0, 217, 482, 491, 497, 566, 569, 571, 574, 701]
    ids = [imagenet_classes()[n] for n in numbers]
    audit, workspace = audited(ids, ids), Workspace(tmp_path / "w")
    folders = [str(n) for n in numbers]
    sets = add_sets(
        audit,
        {
            "v2": str(remade(tmp_path / "v2", [*folders, "1"], range(11))),
            "ids": str(remade(tmp_path / "ids", ids, range(10))),
            "words": str(remade(tmp_path / "words", ["Tench", "church"], [0, 4])),
        },
        workspace,
    )
    assert sets["v2"].facts.known == "imagenetv2" or not sets["v2"].facts.known
    assert sets["v2"].correct.mean() == sets["ids"].correct.mean()
    assert (len(sets["v2"].images), sets["v2"].judged.sum()) == (66, 60)
    assert "1 of 11 labels is no output" in sets["v2"].facts.notes[1]
    assert set(sets["words"].facts.outputs.values()) == {ids[0], ids[4]}


def test_a_and_r_choose_among_their_classes(audited: Callable[..., Audit], tmp_path: Path) -> None:
    listed = known_set("ImageNet-A").only
    ids = [*listed[:6], *(i for i in imagenet_classes() if i not in listed)][:12]
    audit, workspace = audited(ids, ids), Workspace(tmp_path / "w")
    folder = remade(tmp_path / "photos", ids[:6], range(6))
    sets = add_sets(audit, {"imagenet-a": str(folder), "mine": str(folder)}, workspace)
    one, whole = sets["imagenet-a"], sets["mine"]
    assert (one.facts.known, whole.facts.known) == ("imagenet-a", "")
    assert one.outputs.tolist() == list(range(6))
    logits = audit.head.logits(one.features(one.images.index.tolist()))
    slow = logits[:, :6].argmax(axis=1) == one.truth
    assert one.correct.tolist() == slow.tolist()
    assert one.correct.mean() > whole.correct.mean()
    inside = np.exp(logits[:, :6])
    chosen = inside.max(axis=1) / inside.sum(axis=1)
    np.testing.assert_allclose(one.predicted["confidence"], chosen, rtol=1e-5)
    ids_of, right = one.original()  # the same classes and the same choice of the audit's own images
    assert set(audit.images.loc[ids_of, "label"]) == set(ids[:6])
    assert right.all()
    assert "has 6 of the 200 classes of imagenet-a" in one.facts.notes[1]
    assert restricted_as(listed).name == "imagenet-a"
    assert restricted_as(listed[:9]) is None


def test_o_has_no_right_answer(audited: Callable[..., Audit], tmp_path: Path) -> None:
    audit = audited(NAMES[:3])
    folder = remade(tmp_path / "imagenet-o", ["n1", "n2"], [4, 5])
    one = add_sets(audit, {"out": str(folder)}, Workspace(tmp_path / "w"))["out"]
    assert (one.facts.known, one.judged.sum(), len(one.images)) == ("imagenet-o", 0, 12)
    assert "no right answer" in one.facts.notes[0]


def test_names_that_people_use() -> None:
    for name, known in {
        **{"ImageNetV2-matched-frequency": "imagenetv2", "in_v2": "imagenetv2"},
        **{"imagenet_r": "imagenet-r", "IN-O": "imagenet-o", "sketch": "imagenet-sketch"},
        **{"objectnet-1.0": "objectnet", "imagenet-w": "imagenet-w", "imagenet-x": "imagenet-x"},
    }.items():
        found = known_set(name)
        assert found is not None
        assert found.name == known
    assert known_set("mine", "photos") is None
    assert len({known.name for known in KNOWN}) == len(KNOWN)
    assert [len(known.only) for known in KNOWN if known.classes] == [200, 200]


@pytest.fixture
def extra(folder: Path, tmp_path: Path) -> Path:
    """The test images once more, and a class that the audit has not."""
    shutil.copytree(folder / "test", tmp_path / "extra")
    shutil.copytree(folder / "test/red", tmp_path / "extra/green")
    return tmp_path / "extra"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_nothing_of_the_audit_changes(
    folder: Path,
    extra: Path,
    workspace: Workspace,
    counts: dict[str, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = ("--workspace", str(workspace.root))
    new = ("--data", str(folder), "--model", "tiny:net", "--name", "a", "--batch-size", "4")
    made = said(capsys, "audit", *new, *at)
    audit = Audit.open(workspace, "a")
    held = audit.held_out.tolist()
    before, shown = content(audit.folder), said(capsys, "show", "a", *at)
    counts.update(decoded=0, encoded=0)
    added = said(capsys, "audit", "--name", "a", "--also", f"more={extra}", *at)
    assert counts == {"decoded": 18, "encoded": 18}
    after = content(audit.folder)
    assert {k: v for k, v in after.items() if not k.startswith("sets/")} == before
    again = said(capsys, "show", "a", *at)
    assert {k: v for k, v in again.items() if k != "sets"} == shown
    assert shown == {k: v for k, v in made.items() if k != "seconds"}
    assert added["sets"] == again["sets"]
    opened = Audit.open(workspace, "a")
    assert opened.held_out.tolist() == held
    assert len(opened.images) == len(held)
    row = again["sets"][0]
    assert (row["name"], row["images"], row["judged"]) == ("more", 18, 12)
    right = opened.images.loc[opened.held_out, "correct"].sum()
    assert row["accuracy"] == right / 12
    assert row["interval"] == [float(end) for end in clopper_pearson(int(right), 12)]
    said(capsys, "audit", *new, "--also", f"more={extra}", *at)
    assert counts == {"decoded": 18, "encoded": 18}
    assert content(audit.folder) == after
    gone = said(capsys, "delete", "a", "--set", "more", *at)
    assert (gone["set"], gone["deleted"]) == ("more", True)
    assert content(audit.folder) == before
    assert said(capsys, "show", "a", *at) == shown
    assert sum(path.is_file() for path in extra.rglob("*")) == 18
    assert main(["delete", "a", "--set", "more", *at]) == 2
    assert "has no set 'more'; it has: none" in capsys.readouterr().err


def test_a_damaged_set_is_computed_again(
    folder: Path, extra: Path, workspace: Workspace, counts: dict[str, int]
) -> None:
    from tests.conftest import tiny_request

    audit = run_audit(tiny_request(folder), workspace)
    one = add_sets(audit, {"more": str(extra)}, workspace)["more"]
    was = content(audit.folder)
    features = one.store.shards[0].files.features
    content_of = bytearray(features.read_bytes())
    content_of[-9] ^= 1
    features.write_bytes(bytes(content_of))
    assert [name for name in verify(audit.folder).damaged if name.startswith("sets/more/shards")]
    counts.update(decoded=0, encoded=0)
    again = run_audit(tiny_request(folder), workspace)
    assert counts["encoded"] == 0
    add_sets(again, {}, workspace)
    assert counts == {"decoded": 18, "encoded": 18}
    assert content(audit.folder) == was


def test_what_cannot_be_a_set_is_refused(
    folder: Path, extra: Path, workspace: Workspace, tmp_path: Path
) -> None:
    from tests.conftest import tiny_request

    audit = run_audit(tiny_request(folder), workspace)
    with pytest.raises(InputError, match=r"call a set by letters"):
        add_sets(audit, {"../x": str(extra)}, workspace)
    strangers = shutil.copytree(extra / "green", tmp_path / "s/green").parent
    with pytest.raises(InputError, match=r"none of its 1 label is an output.*'green'.*'blue'"):
        add_sets(audit, {"s": str(strangers)}, workspace)
    assert evaluation_sets(audit) == {}
    add_sets(audit, {"s": str(extra)}, workspace)
    with pytest.raises(InputError, match="the audit has a set 's' of .*extra; choose another"):
        add_sets(audit, {"s": str(folder)}, workspace)
    with pytest.raises(InputError, match="has no set 't'; it has: s; add one with"):
        evaluation_set(audit, "t")
    for wrong in ({"also": {"a": "b"}}, {"name": "a"}):
        with pytest.raises(InputError, match="--data is empty"):
            AuditRequest(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="--also 'v2': give NAME=VALUE"):
        AuditRequest.parse(["audit", "--name", "a", "--also", "v2"])


def test_a_training_split_is_no_part_of_a_set(folder: Path, workspace: Workspace) -> None:
    from tests.conftest import tiny_request

    audit = run_audit(tiny_request(folder), workspace)
    one = add_sets(audit, {"whole": str(folder)}, workspace)["whole"]
    assert set(one.images["split"]) == {"test"}
    assert "split train (24 images) is left out" in one.facts.notes[0]
    assert isinstance(one.predicted, pd.DataFrame)
