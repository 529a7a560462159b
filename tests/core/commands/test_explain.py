"""``explain``: what is said is stored, exported and said again; what cannot be is left out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.audits.explained import Asked, drawn, explain
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.errors import InputError, UnreadableImageError
from core.explain.explainer import Explanation
from core.storage.files import read_json
from core.storage.workspace import Workspace

SMALL = ("--set", "grid=4", "--set", "k=4", "--set", "tau=0.3")


@pytest.fixture
def mine(tiny_audit: Audit, tmp_path: Path) -> Workspace:
    shutil.copytree(tiny_audit.folder.parents[1], tmp_path / "mine")
    return Workspace(tmp_path / "mine")


def test_it_is_stored_exported_and_said_again(
    mine: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit.open(mine, "tiny")
    facts = audit.classes[0]
    out = mine.root.parent / "out"
    ask = ["explain", "tiny", "--class", facts.name, "--count", "2", "--json", *SMALL]
    ask += ["--workspace", str(mine.root)]
    assert main([*ask, "--out", str(out)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == read_json(out / "sis.json")
    assert (said["class"], said["method"], said["left_out"]) == (facts.label, "sis", [])
    assert len(said["explained"]) == 2
    for one in said["explained"]:
        files = one["files"]
        with np.load(files["arrays"]) as arrays:
            assert arrays["order"].shape == (4, 4)
            assert arrays["confidence"][0] == one["facts"]["probability"]
        assert all(Path(files[name]).read_bytes()[1:4] == b"PNG" for name in ("subset", "order"))
        assert Path(one["path"]).exists()
    assert said["summary"]["facts"]["images"] == 2
    assert Path(said["summary"]["files"]["where"]).exists()
    monkeypatch.setattr(Audit, "load_model", lambda _: pytest.fail("all of it is stored"))
    assert main(ask) == 0
    again = json.loads(capsys.readouterr().out)["explained"]
    assert [one["facts"] for one in again] == [one["facts"] for one in said["explained"]]
    assert main(["verify", "tiny", "--workspace", str(mine.root)]) == 0


def test_images_without_a_subset_are_said_to_have_none_and_nothing_is_drawn(
    mine: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = Audit.open(mine, "tiny")
    name, other = (facts.label for facts in audit.classes[:2])
    others = ",".join(audit.arrays_of(other).image_ids[:2])
    out = mine.root.parent / "out"
    ask = ["explain", "tiny", "--class", name, "--images", others, "--out", str(out)]
    ask += ["--set", "grid=4", "--set", "tau=0.999", "--workspace", str(mine.root)]
    assert main(ask) == 0
    *_, said, note = capsys.readouterr().out.splitlines()
    assert said.startswith("none of 2 images has a subset")
    assert "no picture of where subsets lie" in note
    summary = read_json(out / "sis.json")["summary"]
    assert (summary["facts"]["with_a_subset"], [*summary["files"]]) == (0, ["arrays"])
    assert list(out.glob("*where*.png")) == []


def test_an_image_that_is_gone_is_left_out_and_the_rest_goes_on(
    mine: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit.open(mine, "tiny")
    first, second = audit.images.index[:2]
    seen = Audit.path

    def path(self: Audit, image_id: str) -> Path:
        return Path("/nowhere/gone.png") if image_id == first else seen(self, image_id)

    monkeypatch.setattr(Audit, "path", path)
    ask = ["explain", "tiny", "--class", audit.classes[0].name, "--images", f"{first},{second}"]
    assert main([*ask, "--json", *SMALL, "--workspace", str(mine.root)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["image_id"] for one in said["left_out"]] == [first]
    assert "is not there any more" in said["left_out"][0]["reason"]
    assert [one["image_id"] for one in said["explained"]] == [second]


def test_images_that_go_along_are_the_next_that_can_be_read(
    mine: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit.open(mine, "tiny")
    label, seen = audit.classes[0].label, Audit.pixels
    (image_id,) = drawn(audit, label, 1)
    asked, lost = list[str](), set[str]()

    def pixels(self: Audit, of: str) -> np.ndarray:
        asked.append(of)
        if of in lost:
            raise UnreadableImageError(f"{of} is gone")
        return seen(self, of)

    def said(method: str, **given: str) -> str:
        key = CandidateKey(label, PCA, 0) if method == "attack" else None
        of = "" if method == "attack" else image_id
        ((_, found),) = explain(audit, Asked.of(method, label, key, given), [of])
        return found.words if isinstance(found, Explanation) else f"refused: {found}"

    monkeypatch.setattr(Audit, "pixels", pixels)
    assert "refused" not in said("sis", grid="4", k="4", fill="other")
    first = asked[1]
    lost.add(first)
    asked.clear()
    assert "refused" not in said("sis", grid="4", k="5", fill="other")
    assert [asked[:2], len(asked)] == [[image_id, first], 3]
    lost |= {*audit.images.index} - {image_id}
    assert "no image of another class to mask with" in said("trust")
    assert "no training image of the class of" in said("attack")


def test_several_models_are_explained_together_where_they_see_alike(mine: Workspace) -> None:
    from core.audits.explained import _outputs

    audit = Audit.open(mine, "tiny")
    label, image_id = audit.classes[0].label, audit.images.index[0]
    given = {"grid": "4", "k": "4"}
    ((_, alone),) = explain(audit, Asked.of("sis", label, given=given), [image_id])
    ((_, both),) = explain(audit, Asked.of("sis", label, given=given, also=[audit]), [image_id])
    assert both.arrays["confidence"] == pytest.approx(alone.arrays["confidence"], abs=1e-6)
    cut = replace(audit.preprocess, crop_pct=0.5)
    other = cast("Audit", SimpleNamespace(id="other", name="other", preprocess=cut))
    with pytest.raises(InputError, match="'tiny' and 'other' see images at another size or cut"):
        _outputs(audit, other)
    own = audit.head.outputs
    fewer = SimpleNamespace(outputs=own[1:], index=lambda x: -1 if x == own[0] else own.index(x))
    other = cast("Audit", SimpleNamespace(name="few", preprocess=audit.preprocess, head=fewer))
    with pytest.raises(InputError, match=f"'few' has no output '{own[0]}' as 'tiny' has"):
        _outputs(audit, other)
    spelt = ("guided_backprop", "Grad-CAM", "IG", "integrated_gradients", "InputxGradient")
    assert [Asked.of(name, label).method for name in spelt] == [
        *("guided_backpropagation", "grad_cam", "ig", "ig", "input_x_gradient")
    ]
    with pytest.raises(InputError, match="there is no method 'magic'; choose sis"):
        Asked.of("magic", label)


@pytest.mark.parametrize("method", ["lrp", "ig", "exact", "occlusion"])
def test_attributions_are_methods(
    mine: Workspace, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = Audit.open(mine, "tiny")
    out = mine.root.parent / "out"
    ask = ["explain", "tiny", "--class", audit.classes[0].name, "--component", "0"]
    ask += ["--method", method, "--count", "1", "--out", str(out), "--json"]
    assert main([*ask, "--workspace", str(mine.root)]) == 0
    (one,) = json.loads(capsys.readouterr().out)["explained"]
    found, facts = np.load(one["files"]["arrays"])["map"], one["facts"]
    alpha = audit.alpha(audit.candidate(f"{audit.classes[0].label}/pca-0"), [one["image_id"]])[0]
    offset = audit.candidate(f"{audit.classes[0].label}/pca-0").offset
    assert facts["number"] == pytest.approx(alpha + offset, abs=1e-4)
    whole = {"lrp": found.sum(), "exact": found.mean()}.get(method, facts["number"])
    assert whole == pytest.approx(facts["number"], abs=1e-3)
    assert Path(one["files"]["map"]).read_bytes()[1:4] == b"PNG"
    lost = facts.get("lost_by_fill", {})
    assert list(lost) == (["mean", "black", "blur"] if method == "occlusion" else [])
    if lost:
        assert facts["fill_sensitivity"] == pytest.approx(np.std(list(lost.values())))
        assert one["notes"][0].startswith("it masks with the model's mean colour; its best tenth")


@pytest.mark.parametrize("command", ["explain", "confirm", "suggest"])
def test_a_candidate_of_another_class_is_refused(
    command: str, mine: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (facts.label for facts in Audit.open(mine, "tiny").classes[:2])
    ask = [command, "tiny", "--class", first, "--candidate", f"{second}/pca-0"]
    assert main([*ask, "--workspace", str(mine.root)]) == 2
    said = capsys.readouterr().err
    assert f"this is a candidate of class {second!r}, and --class names {first!r}" in said


def test_several_methods_of_several_candidates_are_one_answer(
    mine: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit.open(mine, "tiny")
    label, image_id, out = audit.classes[0].label, audit.images.index[0], mine.root.parent / "out"
    loads: list[Audit] = []
    load = Audit.load_model
    monkeypatch.setattr(Audit, "load_model", lambda a: (loads.append(a), load(a))[1])
    ask = ["explain", "tiny", "--class", label, "--images", image_id, "--json", "--out", str(out)]
    ask += ["--workspace", str(mine.root), "--method", "lrp,crp"]
    assert main([*ask, "--candidate", "pca-0,part-0"]) == 0
    said = json.loads(capsys.readouterr().out)
    pairs = [(one["method"], one["candidate"]) for one in said["answers"]]
    assert pairs == [("lrp", "pca-0"), ("lrp", "part-0"), ("crp", "pca-0"), ("crp", "part-0")]
    assert len(loads) == 1
    for one in said["answers"]:
        assert one == read_json(out / one["candidate"] / f"{one['method']}.json")
        assert Path(one["explained"][0]["files"]["map"]).parent.name == one["candidate"]
        assert one["explained"][0]["facts"]["without_rule"] == []
    assert main([*ask[:-1], "crp,look", "--component", "0"]) == 2
    assert "some of these explain images and others" in capsys.readouterr().err


def test_why_there_is_nothing_to_say_is_kept_for_those_who_only_look(mine: Workspace) -> None:
    from core.audits.explained import refused, stored

    audit = Audit.open(mine, "tiny")
    image_id = audit.images.index[0]
    asked = Asked.of("crp", audit.classes[0].label, given={"channel": "99"})
    assert refused(audit, asked, image_id) == ""
    ((_, why),) = explain(audit, asked, [image_id])
    assert refused(audit, asked, image_id) == str(why)
    assert "have 12 channels" in str(why)
    assert stored(audit, asked, image_id) is None
    assert main(["verify", "tiny", "--workspace", str(mine.root)]) == 0
