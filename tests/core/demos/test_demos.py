"""Rendered and chosen demo data: same bytes for the same seed, exact masks, planted rates."""

import csv
import inspect
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.demos import DEMOS, cues, prepare, scenes, solar
from core.errors import DataError
from core.types import Progress


def read(manifest):
    with manifest.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def scene(label="minibus", number=0):
    split = "train"
    return cues.scene_of(cues.Entry(label, split, number, snow=False, ball=False), 0)


def grey(picture):
    return np.asarray(picture.pixels, dtype=int)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return prepare("cues", workspace=tmp_path_factory.mktemp("work"), per_class=20, seed=3)


def test_every_demo_is_described_and_can_be_written():
    assert len(DEMOS) == 6
    for demo in DEMOS.values():
        assert demo.text.endswith(".")
        options = list(inspect.signature(demo.write).parameters.values())[2:]
        assert {option.name: option.default for option in options} == demo.options


def test_same_seed_gives_same_bytes(drawn, tmp_path):
    again = prepare("demo:cues", workspace=tmp_path, per_class="20", seed="3")
    assert again.parent.name == drawn.parent.name == "demo-cues-seed3-per_class20"
    assert contents(again.parent) == contents(drawn.parent)


def test_another_seed_gives_other_pictures():
    one, other = (scenes.sample("van", np.random.default_rng(seed)) for seed in (1, 2))
    pixels = [grey(scenes.render(s, snow=False, ball=False)) for s in (one, other)]
    assert np.abs(pixels[0] - pixels[1]).mean() > 5


def test_manifest_names_files_that_exist(drawn):
    rows = read(drawn)
    assert tuple(rows[0]) == cues.COLUMNS
    assert len(rows) == 4 * 20
    assert {row["label"] for row in rows} == set(cues.OWNERS)
    for row in rows:
        for column in ("path", "object_mask", "cue_mask"):
            assert not row[column] or (drawn.parent / row[column]).is_file()
        with Image.open(drawn.parent / row["path"]) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (224, 224))
        with Image.open(drawn.parent / row["object_mask"]) as mask:
            assert mask.size == (224, 224)
            assert 0.02 < np.asarray(mask).mean() < 0.2


def test_cue_mask_is_that_of_the_own_cue_or_of_all_for_a_clean_class(drawn):
    for row in read(drawn):
        own = cues.OWNERS[row["label"]]
        shown = [row[own]] if own else [row[cue] for cue in cues.CUES]
        assert bool(row["cue_mask"]) == ("1" in shown)


def test_prepared_data_are_not_written_again(drawn, monkeypatch):
    unwritable = replace(DEMOS["cues"], write=None)
    monkeypatch.setattr(DEMOS, "_found", {**DEMOS, "cues": unwritable})
    workspace = drawn.parents[2]
    assert prepare("cues", workspace=workspace, per_class=20, seed=3) == drawn


def test_progress_counts_every_image(tmp_path):
    seen: list[Progress] = []
    prepare("cues", workspace=tmp_path, report=seen.append, per_class=10)
    assert [step.done for step in seen] == list(range(1, 41))
    assert {step.total for step in seen} == {40}


def test_interrupted_writing_leaves_nothing(tmp_path):
    def stop(progress):
        if progress.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("cues", workspace=tmp_path, report=stop, per_class=10)
    assert list((tmp_path / "data").iterdir()) == []
    assert prepare("cues", workspace=tmp_path, per_class=10).is_file()


def test_a_leftover_folder_without_manifest_is_replaced(tmp_path):
    folder = tmp_path / "data" / "demo-cues-per_class10"
    (folder / "images").mkdir(parents=True)
    assert prepare("cues", workspace=tmp_path, per_class=10).parent == folder


@pytest.mark.parametrize("number", range(4))
def test_snow_changes_the_masked_pixels_and_nothing_else(number):
    without, snowy = (scenes.render(scene(number=number), snow=on, ball=True) for on in (0, 1))
    change = np.abs(grey(snowy) - grey(without)).max(axis=2)
    assert not without.snow.any()
    assert (change[snowy.snow] > 8).mean() > 0.95
    inside = _eroded(snowy.object | snowy.ball)
    assert (change[inside] > 1).mean() < 0.01


@pytest.mark.parametrize("number", range(4))
def test_ball_changes_the_masked_pixels_and_its_shadow_only(number):
    without, balled = (
        scenes.render(scene("van", number), snow=False, ball=on) for on in (False, True)
    )
    change = np.abs(grey(balled) - grey(without)).max(axis=2)
    assert not without.ball.any()
    assert (change[balled.ball] > 8).mean() > 0.9
    assert 0.015 < balled.ball.mean() < 0.06
    rows, columns = np.nonzero(balled.ball)
    far = np.ones_like(balled.ball)
    far[rows.min() - 8 : rows.max() + 24, max(0, columns.min() - 24) : columns.max() + 28] = False
    assert change[far].max() <= 1
    assert not (balled.ball & balled.object).any()


def _eroded(mask, by=3):
    for _ in range(by):
        inner = mask.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                inner &= np.roll(mask, step, axis)
        mask = inner
    return mask


def rates(entries, cue):
    table = {}
    for entry in entries:
        table.setdefault((entry.label, entry.split), []).append(getattr(entry, cue))
    return {key: np.mean(shown) for key, shown in table.items()}


@pytest.mark.parametrize("strength", [0.0, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("cue", cues.CUES)
def test_cues_are_as_frequent_as_planned_in_both_splits(strength, cue):
    entries = cues.plan(strength=strength, seed=0, per_class=300)
    for (label, _), rate in rates(entries, cue).items():
        own = cues.OWNERS[label] == cue
        expected = cues.own_rate(strength) if own else cues.BASE_RATE
        assert rate == pytest.approx(expected, abs=0.005)


def test_strength_zero_is_the_base_rate_everywhere():
    assert cues.own_rate(0) == cues.BASE_RATE
    truth = cues.planted(0.0)
    assert {entry.rate_own for entry in truth.values()} == {cues.BASE_RATE}


def test_cues_and_scenes_are_drawn_independently():
    weak, strong = (cues.plan(strength=s, seed=0, per_class=20) for s in (0.0, 1.0))
    assert [cues.scene_of(e, 0) for e in weak] == [cues.scene_of(e, 0) for e in strong]


def test_planted_truth_names_every_class_and_only_attribute_columns(drawn):
    truth = json.loads((drawn.parent / "planted.json").read_text(encoding="utf-8"))
    assert set(truth) == set(cues.OWNERS)
    assert {label: entry["cue"] for label, entry in truth.items()} == cues.OWNERS
    assert {entry["kind"] for entry in truth.values()} == {"background", "object", "none"}
    assert all({"cue", "kind", "where", "note"} <= set(entry) for entry in truth.values())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("birds", {}, "no demo 'birds'; choose one of coloured-mnist, cues"),
        ("cues", {"color": 1}, "no option 'color'; its options are strength, seed, per_class"),
        ("cues", {"strength": 1.5}, "strength 1.5 is outside 0 to 1"),
        ("cues", {"strength": float("nan")}, "strength nan is outside 0 to 1"),
        ("cues", {"strength": "much"}, "strength is 'much'; give a number"),
        ("cues", {"seed": -1}, "seed is -1; give 0 or more"),
        ("cues", {"seed": "x"}, "seed is 'x'; give a whole number"),
        ("cues", {"per_class": 3}, "per_class 3 is too small; use 10 to 10,000"),
        ("cues", {"per_class": 10**6}, "per_class 1000000 is too large; use 10 to 10,000"),
        ("solar", {"per_class": 19}, "per_class 19 is too small; use 20 to 10,000"),
        ("solar", {"bias": 0.2}, "bias 0.2 is outside 0.5 to 1"),
    ],
)
def test_bad_requests_name_the_remedy(name, options, message, tmp_path, monkeypatch):
    monkeypatch.setattr(solar, "load", made_up_cells)
    with pytest.raises(DataError, match=message):
        prepare(name, workspace=tmp_path, **options)


def made_up_cells(count=800):
    rng = np.random.default_rng(0)
    return solar.Cells(
        files=(Path(),) * count,
        label=rng.choice(solar.LABELS, count),
        cell_type=rng.choice(solar.TYPES, count),
    )


def test_solar_training_is_biased_and_test_is_not():
    chosen = solar.choose(made_up_cells(), seed=1, bias=0.9, per_class=200)
    counts = {key: len(indices) for key, indices in chosen.items()}
    for label, usual in solar.USUAL_TYPE.items():
        other = next(kind for kind in solar.TYPES if kind != usual)
        assert counts["test", label, usual] == counts["test", label, other] == 40
        assert (counts["train", label, usual], counts["train", label, other]) == (108, 12)
    indices = np.concatenate(list(chosen.values()))
    assert len(set(indices)) == len(indices) == 400


def test_solar_takes_fewer_where_cells_run_out_and_keeps_the_shares():
    chosen = solar.choose(made_up_cells(200), seed=1, bias=0.9, per_class=10_000)
    tests = {len(indices) for (split, *_), indices in chosen.items() if split == "test"}
    assert len(tests) == 1
    assert tests.pop() > 5


def test_solar_choice_follows_the_seed():
    cells = made_up_cells()
    one, same, other = (
        solar.choose(cells, seed=seed, bias=0.9, per_class=100) for seed in (1, 1, 2)
    )
    assert all((one[key] == same[key]).all() for key in one)
    assert any((one[key] != other[key]).any() for key in one)


def test_solar_without_its_package_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "elpv_dataset", None)
    with pytest.raises(DataError, match="pip install elpv-dataset"):
        prepare("solar", workspace=tmp_path)
    assert list((tmp_path / "data").iterdir()) == []


def test_solar_photographs_are_written_with_their_types(tmp_path):
    pytest.importorskip("elpv_dataset")
    manifest = prepare("solar", workspace=tmp_path, per_class=40)
    rows = read(manifest)
    assert len(rows) == 80
    train = [row for row in rows if row["split"] == "train"]
    agree = [solar.USUAL_TYPE[row["label"]] == row["cell_type"] for row in train]
    assert np.mean(agree) == pytest.approx(0.9, abs=0.05)
    with Image.open(manifest.parent / rows[0]["path"]) as image:
        assert image.size == (300, 300)
    truth = json.loads((manifest.parent / "planted.json").read_text(encoding="utf-8"))
    assert all("CC BY-NC-SA 4.0" in entry["note"] for entry in truth.values())
