"""Labels, copies and cheap shortcuts of audits with what was planted in their data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from core.__main__ import main
from core.audits.audit import Audit
from core.audits.run import run_audit
from core.audits.strategies import discover, strategies
from core.candidates.cluster_search import Asked
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.commands.data_quality import _counted
from core.quality.cheap_shortcuts import LABEL, SHORTCUT, TOGETHER, cheap_shortcuts
from core.quality.data_request import PARTS
from core.quality.decodable import _centred, decodable
from core.quality.error_slices import attribute_slices, error_slices, strategy_slices
from core.quality.label_problems import (
    BY_FOLD,
    BY_HEAD,
    by_decile,
    changed,
    changed_along,
    label_problems,
    manifest_of,
    wrong_labels,
)
from core.quality.near_duplicates import near_duplicates, shared_values
from core.storage.workspace import Workspace
from core.tags.decisions import decided
from core.tags.image_verdicts import EXCLUDE, RELABEL, ImageVerdicts
from core.tags.image_verdicts import decided as decided_images
from core.tags.log import TagStore
from core.types import Tag, silent
from tests.conftest import draw, tiny_request

COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220)}
FLIPPED = ("train/red-03.jpg", "train/blue-07.jpg", "test/red-02.jpg")


def planted(root: Path, rng: np.random.Generator) -> Path:
    """Red and blue squares; three labels are wrong, and a test image is a training one again."""
    rows = []
    for split, n in (("train", 20), ("test", 12)):
        for label, colour in COLOURS.items():
            other = next(name for name in COLOURS if name != label)
            for i in range(n):
                path = f"{split}/{label}-{i:02d}.jpg"
                draw(root / path, colour, rng)
                rows.append((path, other if path in FLIPPED else label, split, f"site {i % 3}"))
    shutil.copy(root / "train/red-05.jpg", root / "test/red-05.jpg")
    table = pd.DataFrame(rows, columns=["path", "label", "split", "site"])
    table.to_csv(root / "manifest.csv", index=False)
    return root / "manifest.csv"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """An audit of such data."""
    root = tmp_path_factory.mktemp("quality")
    data = planted(root / "data", np.random.default_rng(1))
    workspace = Workspace(root / "workspace")
    run_audit(tiny_request(data), workspace)
    return workspace


@pytest.fixture
def audit(workspace: Workspace) -> Audit:
    return Audit.open(workspace, "tiny")


def test_wrong_labels_are_doubted_by_heads_that_did_not_see_them(audit: Audit) -> None:
    found = label_problems(audit)
    assert len(found) == 64
    paths = audit.images.loc[found["image_id"], "path"].to_numpy(str)
    assert {path for path in paths[found["problem"]]} == set(FLIPPED)
    by = found.set_index("image_id")["by"]
    held = audit.images.index[audit.held_out]
    assert set(by.loc[held]) == {BY_HEAD}
    assert set(by.drop(held)) == {BY_FOLD}
    assert (found["suggested"] != found["label"]).all()
    assert found["margin"].iloc[:3].max() < 0.5


def test_a_large_set_is_judged_in_closed_form(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same labels are doubted as by a fitted probe, which then is not fitted."""
    fitted = label_problems(audit)
    monkeypatch.setattr("core.models.out_of_fold.LARGEST", 0)
    monkeypatch.setattr("core.models.out_of_fold.fit_probe", None)
    found = label_problems.compute(audit, silent)
    flagged = [set(table.loc[table["problem"], "image_id"]) for table in (fitted, found)]
    assert flagged[0] == flagged[1]


def test_a_large_set_s_attributes_are_read_in_closed_form(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly the same areas as by a fitted probe, which then is not fitted."""
    audit = Audit.open(workspace, "tiny")
    fitted = decodable(audit)
    monkeypatch.setattr("core.models.out_of_fold.LARGEST", 0)
    monkeypatch.setattr("core.models.out_of_fold.fit_probe", None)
    found = decodable.compute(audit, silent)
    same = ["attribute", "value", "n"]
    pd.testing.assert_frame_equal(found[same], fitted[same])
    for table in (found, fitted):
        assert (table["low"] < 0.5).all()  # sites go round, whatever the image is
        assert (table["high"] > 0.5).all()


def test_what_tells_within_classes_is_centred_there(rng: np.random.Generator) -> None:
    values, classes = rng.normal(size=(60, 5)).astype(np.float32), rng.integers(0, 4, 60)
    which = rng.permutation(60)[:30]
    found = _centred(values, which, classes[which])[np.arange(30)]
    for row, image in zip(found, which, strict=True):
        alike = which[classes[which] == classes[image]]
        np.testing.assert_allclose(row, values[image] - values[alike].mean(axis=0), atol=1e-6)


def test_it_is_computed_once(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    first = label_problems(audit)

    def fails(*_: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr("core.models.out_of_fold.fit_probe", fails)
    pd.testing.assert_frame_equal(label_problems(Audit(audit.folder)), first)


def test_doubts_are_counted_along_the_tagged_cues(audit: Audit, workspace: Workspace) -> None:
    found = label_problems(audit)
    store = TagStore.open(workspace)
    assert by_decile(audit, decided(audit, store), found).empty
    store.add("ann", audit.id, CandidateKey("red", PCA, 0), Tag.SPURIOUS)
    table = by_decile(audit, decided(audit, store), found)
    assert table["decile"].tolist() == list(range(1, 11))
    assert table["n"].sum() == (found["label"] == "red").sum()
    assert table["problems"].sum() == (found["problem"] & (found["label"] == "red")).sum()
    assert ((table["low"] <= table["share"]) & (table["share"] <= table["high"])).all()
    first = found[found["problem"] & (found["label"] == "red")]["image_id"].iloc[0]
    wrong = pd.Series([True], index=[first])
    looked_at = by_decile(audit, decided(audit, store), found, wrong)
    assert looked_at["looked_at"].sum() == 1
    assert looked_at["precision"].dropna().tolist() == [1.0]


def test_what_people_decide_is_a_manifest(
    audit: Audit, workspace: Workspace, tmp_path: Path
) -> None:
    verdicts, by_path = ImageVerdicts(TagStore.open(workspace)), audit.images.reset_index()
    ids = by_path.set_index("path")["image_id"]
    for who in ("ann", "bob"):
        verdicts.add(who, audit.id, ids["train/red-03.jpg"], RELABEL, "red")
        verdicts.add(who, audit.id, ids["test/red-02.jpg"], EXCLUDE)
    said = decided_images(verdicts.standing(audit.id))
    assert wrong_labels(said).to_dict() == {
        ids["train/red-03.jpg"]: True,
        ids["test/red-02.jpg"]: True,
    }
    table = manifest_of(audit, said).set_index("path")
    assert len(table) == 63
    assert table.at[str(audit.root / "train/red-03.jpg"), "label"] == "red"
    out = tmp_path / "m.csv"
    at = ["--workspace", str(workspace.root)]
    assert main(["export", "tiny", "manifest", "--out", str(out), *at]) == 0
    run_audit(tiny_request(out, name="again"), workspace)
    again = Audit.open(workspace, "again").images
    assert len(again) == 63
    assert (again["label"] == "red").sum() == table["label"].eq("red").sum()


def test_a_copy_across_splits_is_a_leak(audit: Audit) -> None:
    found = near_duplicates(audit)
    exact = found[found["exact"]]
    assert sorted(exact["path"]) == ["test/red-05.jpg", "train/red-05.jpg"]
    assert exact["leak"].all()
    shared = shared_values(audit)
    assert shared.to_dict("records") == [
        {"attribute": "site", "values": 3, "in_two_splits": 3, "images": 64}
    ]


def drawn(root: Path, tells: bool) -> Path:
    """Labels that the colour tells in 7 of 10 images, or in 5; the site is the colour's."""
    rng, rows = np.random.default_rng(2), []
    for split, n in (("train", 20), ("test", 60)):
        for label in COLOURS:
            for i in range(n):
                usual = i % 10 < (7 if tells else 5)
                colour = label if usual else next(name for name in COLOURS if name != label)
                path = f"{split}/{list(COLOURS).index(label)}-{i:02d}.jpg"
                draw(root / path, COLOURS[colour], rng)
                rows.append((path, label, split, f"site of {colour}"))
    table = pd.DataFrame(rows, columns=["path", "label", "split", "site"])
    table.to_csv(root / "manifest.csv", index=False)
    return root / "manifest.csv"


@pytest.fixture(scope="module")
def cue(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """A model that goes by the colour of the site, where the site tells most labels."""
    data = drawn(tmp_path_factory.mktemp("quality-cue"), tells=True)
    return run_audit(tiny_request(data, name="cue"), workspace)


def test_what_tells_the_label_and_the_errors_is_a_shortcut(
    cue: Audit, workspace: Workspace, tmp_path: Path
) -> None:
    found = cheap_shortcuts(cue).set_index("property")
    assert found.at["site", "reading"] == SHORTCUT
    assert found["explained"].max() == found.at["site", "explained"]
    assert found.at["site", "accuracy"] == pytest.approx(0.7)
    assert found.at["site", "worst"] == "blue: 100 % at site of red, 0 % at site of blue"
    run_audit(tiny_request(drawn(tmp_path / "none", tells=False), name="none"), workspace)
    (told,) = decodable(cue).itertuples()
    assert (told.attribute, told.value, told.n) == ("site", "site of red", 80)
    assert told.auroc > 0.95
    assert told.within > 0.95
    assert told.low < told.auroc <= told.high
    even = cheap_shortcuts(Audit.open(workspace, "none"))
    assert not even["tells_label"].any()
    assert not set(even["reading"]) & {LABEL, SHORTCUT}


def test_classes_are_called_by_their_names(cue: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cue.__dict__, "class_names", {"blue": "a blue square"})
    found = cheap_shortcuts.compute(cue, silent).set_index("property")
    assert found.at["site", "worst"].startswith("a blue square: 100 % at")


def test_properties_are_counted_in_grammar() -> None:
    some = [LABEL, LABEL, SHORTCUT, "", "tells the errors"]
    assert _counted(some) == "2 only tell the label, 1 shortcut, 1 only tells the errors"
    assert _counted([SHORTCUT] * 2) == "2 shortcuts"
    assert _counted([""] * 3) == "none of 3 tells the label or the errors"


def photographed(photos: Path, root: Path) -> Path:
    """Real photos of two classes: one has a tint that training overstates, one is compressed.

    The tint is on 95 of 100 training photos of its class and on half of all others; the quality
    goes with the class everywhere, and independently of the tint.
    """
    rng = np.random.default_rng(0)
    labels = sorted(path.name for path in (photos / "imagenette-mini/train").iterdir())[:2]
    for split, share in (("train", 0.95), ("val", 0.5)):
        for label in labels:
            own = label == labels[0]
            for path in sorted((photos / "imagenette-mini" / split / label).iterdir())[:60]:
                with Image.open(path) as photo:
                    image = ImageOps.fit(photo.convert("RGB"), (64, 64))
                if rng.random() < (share if own else 1 - share):
                    image = Image.blend(image, Image.new("RGB", image.size, (255, 90, 0)), 0.5)
                out = root / split / label / f"{path.stem}.jpg"
                out.parent.mkdir(parents=True, exist_ok=True)
                image.save(out, quality=40 if (rng.random() < 0.9) == own else 92)
    return root


def test_real_photos_have_shortcuts_only_where_errors_are_told(
    photos: Path, workspace: Workspace, tmp_path: Path
) -> None:
    run_audit(tiny_request(photographed(photos, tmp_path / "p"), name="photos"), workspace)
    found = cheap_shortcuts(Audit.open(workspace, "photos")).set_index("property")
    assert found.at["colour", "reading"] == SHORTCUT
    assert found.at["jpeg quality", "reading"] == LABEL
    assert (found["tells_label"] & found["tells_errors"] == (found["reading"] == SHORTCUT)).all()
    every = found.loc[TOGETHER]
    assert (every["reading"], every["tells_errors"]) == (LABEL, False)
    assert every["accuracy"] > every["chance"] + 0.2


def test_chance_is_not_read_off_the_features(audit: Audit) -> None:
    found = decodable(audit)  # sites go round, whatever the image is
    assert found["value"].tolist() == ["site 0", "site 1", "site 2"]
    assert ((found["low"] < 0.5) | (found["auroc"] < 0.7)).all()
    assert found["within_low"].max() < 0.6


def test_a_class_without_errors_has_no_slice(audit: Audit) -> None:
    assert error_slices(audit).empty


def test_a_group_that_errs_is_said_in_words(cue: Audit) -> None:
    found = error_slices(cue).set_index("label")  # of either class, those of the other's colour
    assert found["certain"].all()
    assert sorted(found.index) == ["blue", "red"]
    assert found.at["blue", "words"].startswith("site: site of red")
    assert found.at["red", "errs"] > 0.8
    assert found.at["red", "rest"] == 0
    by = attribute_slices(cue).set_index("label")
    assert by["certain"].all()
    assert by["words"].to_dict() == {"blue": "site: site of red", "red": "site: site of blue"}
    assert set(by.at["red", "image_ids"]) >= set(found.at["red", "image_ids"])


def test_slices_are_one_document_when_read_again(
    cue: Audit, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    computed = error_slices(cue).set_index("label")["image_ids"]
    command = ["data", "cue", "--what", "slices", "--json", "--workspace", str(workspace.root)]
    for _ in range(2):  # a list is an array in the table that was stored
        assert main(command) == 0
        rows = json.loads(capsys.readouterr().out)["slices"]
        assert {row["label"]: row["image_ids"] for row in rows} == {
            label: list(ids) for label, ids in computed.items()
        }


def test_a_strategy_that_errs_is_found_among_clusters(workspace: Workspace) -> None:
    audit = Audit.open(workspace, "cue")
    assert strategy_slices(audit).empty  # nobody looked for any
    before = strategy_slices.path(audit)
    discover(audit, ["red"], Asked(("psi",), 2))
    audit = Audit.open(workspace, "cue")
    assert strategy_slices.path(audit) != before
    (row,) = strategy_slices(audit).itertuples()
    one = next(s for s in strategies(audit, 1) if s.key.number == row.number)
    held = audit.images.index[audit.held_out]
    assert (row.label, row.space, row.certain) == ("red", "psi", True)
    assert set(row.image_ids) == set(one.members) & set(held)
    assert row.errs > 0.8
    assert row.rest < 0.1
    assert row.words.startswith("site: site of blue")


def test_the_command_says_all_of_it(
    audit: Audit, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--workspace", str(workspace.root)]
    assert main(["data", "tiny", "--json", *at]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"audit", *PARTS}
    assert found["labels"]["looked_at"] == 64
    assert len(found["labels"]["problems"]) == 3
    assert found["slices"] == found["combinations"] == found["strategies"] == []
    assert main(["data", "tiny", "--what", "strategies", *at]) == 0
    assert "strategies: none found yet" in capsys.readouterr().out
    assert main(["data", "tiny", "--what", "combinations", *at]) == 0
    assert "combinations: no class has enough errors" in capsys.readouterr().out
    assert main(["data", "tiny", "--what", "copies", *at]) == 0
    said = capsys.readouterr().out
    assert "1 group of images that are one, 1 in two splits" in said
    assert "labels" not in said


def test_doubts_before_and_after_a_correction() -> None:
    def table(problem: list[bool], by: list[str]) -> pd.DataFrame:
        ids = [f"i{place}" for place in range(len(problem))]
        return pd.DataFrame({"image_id": ids, "label": "a", "by": by, "problem": problem})

    before = table([True] * 6 + [False, True, True], [BY_HEAD] * 8 + [BY_FOLD])
    after = table([False] * 6 + [False, True, True], [BY_HEAD] * 9)
    found = changed(before, after.iloc[::-1])
    assert found[:5] == (8, 7, 1, 6, 0)
    assert found.p == pytest.approx(2 * 0.5**6)
    assert changed(before, before)[:6] == (9, 8, 8, 0, 0, 1.0)
    tenths = pd.Series([1, 1, 1, 1, 1, 10, 10, None, 10], index=[f"i{place}" for place in range(9)])
    along = changed_along(tenths, before, after).set_index("decile")
    assert along["n"].to_dict() == {1: 5, 10: 2}  # another head judged the last one
    assert along.loc[1, ["was", "now", "change"]].tolist() == [1, 0, -100]
    assert along.loc[1, "low"] == -100 < along.loc[1, "high"] < 0
    assert along.loc[10, ["was", "now", "change"]].tolist() == [0.5, 0, -50]
    assert along.loc[10, "low"] < 0 < along.loc[10, "high"]
