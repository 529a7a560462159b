"""Regions put in and taken away in the maps: a slow replica, identities, planted and clean data."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import norm, t

import core.trials.latent
from core.candidates.parts import find_parts, margin
from core.models.linear import Correction, Head
from core.statistics.intervals import wilson
from core.statistics.multiplicity import corrected
from core.trials.latent import (
    FEWEST_DONORS,
    Ground,
    Latent,
    Pool,
    Reader,
    donors_of,
    latent_trial,
    taken_away,
    turned,
)
from core.types import FloatArray, IntArray

D, H, W, CLASSES = 6, 3, 4, 3
TRAIN, HELD = 20, 12
"""Images of a class in either split."""


class Data(NamedTuple):
    """Images of three classes in either split, and a head."""

    head: Head
    train: FloatArray
    """(3, TRAIN, D, H, W)."""
    held: FloatArray
    """(3 HELD, D, H, W), class after class."""

    @property
    def labels(self) -> IntArray:
        return np.repeat(np.arange(CLASSES), HELD)

    def ground(self, output: int = 0, *, seed: int = 0) -> Ground:
        reader = Reader.of(self.head, range(len(self.head.bias)))
        pool = Pool(reader, reader.read(self.held), self.labels)
        others = np.delete(self.train, output, axis=0).reshape(-1, D, H, W)
        fill = reader.rows @ others.mean(axis=(0, 2, 3))
        return Ground(pool, output, (H, W), reader.read(self.train[output]), fill, seed)


def head_of(weight: FloatArray, bias: FloatArray, correction: Correction | None = None) -> Head:
    names = [str(i) for i in range(len(weight))]
    return Head(weight.astype(np.float32), bias.astype(np.float32), names, names, "fit", correction)


def data(rng: np.random.Generator, *, cue: float = 0, noise: float = 1) -> Data:
    """Every class has a channel of its own that is a little higher at all of its places; images of
    class 0 have a cue in channel 3 at one place each, of height ``cue``."""
    weight = np.concatenate([np.eye(3) - 1 / 3, np.array([[1, -0.5, -0.5]]).T], axis=1)
    weight = np.concatenate([weight, rng.normal(0, 0.05, (3, D - 4))], axis=1)
    train, held = (rng.normal(0, noise, (3, n, D, H, W)) for n in (TRAIN, HELD))
    for images in (train, held):
        for k in range(3):
            images[k, :, k] += 0.8
        for image in images[0]:
            image[3, rng.integers(H), rng.integers(W)] += cue
    return Data(head_of(weight, np.zeros(3)), train, held.reshape(-1, D, H, W))


def heat_of(images: FloatArray, channel: int) -> FloatArray:
    return images[:, channel]


@pytest.fixture
def some(rng: np.random.Generator) -> Data:
    return data(rng, cue=2)


def test_put_in_and_taken_away_equal_a_slow_replica(some: Data) -> None:
    check(some)


def test_a_corrected_head_is_read_as_it_decides(some: Data, rng: np.random.Generator) -> None:
    correction = Correction(*(rng.normal(size=s).astype("f4") for s in ((2, D), 2, (3, 2))))
    check(some._replace(head=replace(some.head, correction=correction)))


def check(some: Data) -> None:
    ground = some.ground()
    own_images = some.held[ground.own]
    heat, own_heat = heat_of(some.train[0], 3), heat_of(own_images, 3)
    found = latent_trial(ground, heat, own_heat)

    def given(image: FloatArray) -> int:
        return int(some.head.logits(image.mean(axis=(1, 2))[None])[0].argmax())

    def region(one: FloatArray) -> FloatArray:
        return (one >= one.max() / 2) & (one.max() > 0)

    donors = sorted(range(TRAIN), key=lambda i: -heat[i].mean())[:16]
    targets = [i for i in range(len(some.held)) if some.labels[i] != 0 and given(some.held[i]) != 0]
    others, shifts = ground.controls
    put, control = np.zeros((2, 16, len(targets)))
    for row, donor in enumerate(donors):
        places = region(heat[donor])
        rolled = np.roll(some.train[0][others[donor]], shifts[donor], axis=(1, 2))
        for column, target in enumerate(targets):
            for cells, source in ((put, some.train[0][donor]), (control, rolled)):
                cells[row, column] = given(np.where(places, source, some.held[target])) == 0
    difference = put - control
    of_donors = difference.mean(axis=1).var(ddof=1) / 16
    of_targets = difference.mean(axis=0).var(ddof=1) / len(targets)
    both = of_donors + of_targets - difference.var(ddof=1) / difference.size
    error = np.sqrt(max(both, of_donors, of_targets, 1 / (len(targets) + 1) ** 2))
    half = t.ppf(0.975, 15) * error
    assert 0 < put.mean() < 1
    assert (found.donors, found.targets, found.own) == (16, len(targets), len(own_images))
    assert found.put_in == pytest.approx(put.mean())
    assert found.put_in_control == pytest.approx(control.mean())
    assert found.lean == pytest.approx(difference.mean())
    assert (found.lean_low, found.lean_high) == pytest.approx(
        (max(difference.mean() - half, -1), min(difference.mean() + half, 1))
    )
    assert found.put_in_low <= found.put_in <= found.put_in_high
    assert found.area == pytest.approx(np.mean([region(heat[i]).mean() for i in donors]))

    fill = some.train[1:].mean(axis=(0, 1, 3, 4))[:, None, None]
    by, moves = ground.fillers
    lost = np.zeros((4, len(own_images)))
    for row, image in enumerate(own_images):
        places = region(own_heat[row])
        moved = np.roll(places, moves[row], axis=(0, 1))
        for which, changed in enumerate(
            (
                np.where(places, fill, image),
                np.where(moved, fill, image),
                np.where(places, some.held[by[row]], image),
                np.where(places, image[:, ~places].mean(axis=1)[:, None, None], image),
            )
        ):
            lost[which, row] = given(changed) != 0
    away, moved_away, by_other, left_out = lost.mean(axis=1)
    assert found.taken_away == pytest.approx(away)
    assert found.taken_away_control == pytest.approx(moved_away)
    assert found.fill_sensitivity == pytest.approx(abs(away - by_other))
    assert found.left_out_sensitivity == pytest.approx(abs(away - left_out))
    low, high = wilson(lost[0].sum(), len(own_images), z=norm.ppf(0.975))
    assert (found.taken_away_low, found.taken_away_high) == pytest.approx((low, high))


# Identities


def test_an_empty_region_turns_nothing(some: Data) -> None:
    ground = some.ground()
    put, control = turned(ground, np.arange(5), np.zeros((5, H * W), bool))
    assert not put.any()
    assert not control.any()
    before = Latent(0.0, 5, len(ground.targets), len(ground.own))
    nothing = taken_away(before, ground, np.zeros((len(ground.own), H * W), bool))
    assert nothing.taken_away == nothing.fill_sensitivity == nothing.left_out_sensitivity == 0


def test_the_whole_grid_is_the_donor(some: Data) -> None:
    ground = some.ground()
    put, control = turned(ground, np.arange(TRAIN), np.ones((TRAIN, H * W), bool))
    donors = some.head.logits(some.train[0].mean(axis=(2, 3))).argmax(axis=1) == 0
    assert (put == donors[:, None]).all()
    assert (control == donors[ground.controls[0]][:, None]).all()  # a shift changes no mean


def test_the_same_input_gives_the_same_figures(some: Data) -> None:
    ground, again, other = some.ground(), some.ground(), some.ground(seed=1)
    heat, own = heat_of(some.train[0], 3), heat_of(some.held[ground.own], 3)
    assert latent_trial(ground, heat, own) == latent_trial(again, heat, own)
    assert (ground.controls[1] != other.controls[1]).any()
    assert (ground.controls[0] != np.arange(TRAIN)).all()


def test_few_at_once_change_nothing(some: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    ground = some.ground()
    heat, own = heat_of(some.train[0], 3), heat_of(some.held[ground.own], 3)
    found = latent_trial(ground, heat, own)
    monkeypatch.setattr(core.trials.latent, "NUMBERS", 1)
    assert latent_trial(some.ground(), heat, own) == found


# Planted and clean


def trials_of_parts(some: Data, dictionary: FloatArray | None = None) -> list[Latent]:
    """Every part of the class's margin tried, those found or of a dictionary."""
    ground = some.ground()
    of = margin(some.head.weight, some.head.bias, 0)
    parts, _ = find_parts(some.train[0], [str(i) for i in range(TRAIN)], of.weight)
    parts = parts if dictionary is None else replace(parts, dictionary=dictionary)
    heat, own = parts.maps_of(some.train[0]), parts.maps_of(some.held[ground.own])
    return [latent_trial(ground, heat[:, c], own[:, c]) for c in range(len(parts))]


@pytest.mark.parametrize("seed", range(3))
def test_a_cue_on_every_image_is_leaned_on(seed: int) -> None:
    some = data(np.random.default_rng(seed), cue=20, noise=0.5)
    found = trials_of_parts(some)
    best = max(found, key=lambda trial: trial.lean)
    assert best.lean > 0.5
    assert corrected([trial.p for trial in found], "bonferroni")[found.index(best)] < 0.001
    assert best.area < 0.2


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_leaned_on_where_all_places_are_alike(seed: int) -> None:
    found = trials_of_parts(data(np.random.default_rng(seed), noise=0.1))
    adjusted = corrected([trial.p for trial in found], "fdr_bh")
    assert not any(p <= 0.05 and t.lean > 0 for p, t in zip(adjusted, found, strict=True))
    assert max(trial.at(1 - 0.05 / len(found)).lean_low for trial in found) <= 0


@pytest.mark.parametrize("seed", range(3))
def test_clean_parts_are_leaned_on_no_more_than_parts_at_random(seed: int) -> None:
    some = data(np.random.default_rng(seed), noise=0.5)
    random = np.random.default_rng(seed).random((4, D), np.float32)
    found, by_chance = trials_of_parts(some), trials_of_parts(some, random)
    certain = max(trial.at(1 - 0.05 / len(found)).lean_low for trial in found)
    assert certain <= np.nanmax([trial.lean for trial in by_chance])


# Bounds, and where there is no figure


def test_few_donors_give_no_figure(some: Data) -> None:
    ground, heat = some.ground(), heat_of(some.train[0], 3).copy()
    order = np.argsort(-heat.mean(axis=(1, 2)))
    heat[order[FEWEST_DONORS - 1 :]] = -1
    found = latent_trial(ground, heat, heat_of(some.held[ground.own], 3))
    assert found.obstacle == "3 training images show it; 4 are needed"
    assert np.isnan([found.put_in, found.lean, found.lean_high, found.p]).all()
    assert found.donors == 3
    assert found.taken_away >= 0
    assert found.at(0.999) is found
    nothing = latent_trial(ground, np.zeros_like(heat), np.zeros((len(ground.own), H, W)))
    assert (nothing.donors, np.isnan(nothing.area), nothing.taken_away) == (0, True, 0)


def test_donors_come_by_alpha_and_those_that_show_nothing_not_at_all() -> None:
    heat = np.zeros((20, 1, 4))
    heat[:, 0, 1] = np.arange(20) - 5
    heat[:, 0, 2] = heat[:, 0, 1] / 2
    heat[:, 0, 3] = heat[:, 0, 1] / 2 - 0.1
    donors, regions = donors_of(heat)
    assert donors.tolist() == list(range(19, 5, -1))
    assert regions.tolist() == [[False, True, True, False]] * 14


def test_a_head_with_one_output_says_so(some: Data) -> None:
    single = some._replace(head=head_of(some.head.weight[:1], some.head.bias[:1]))
    ground = single.ground()
    found = latent_trial(ground, heat_of(some.train[0], 3), heat_of(some.held[ground.own], 3))
    assert found.obstacle.startswith("the head has a single output")
    assert found.taken_away == 0


def test_without_targets_or_own_images(some: Data) -> None:
    ground = some.ground()
    alone = replace(ground, pool=replace(ground.pool, labels=np.zeros(3 * HELD, np.int64)))
    found = latent_trial(alone, heat_of(some.train[0], 3), heat_of(some.held[alone.own], 3))
    assert (found.targets, np.isnan(found.fill_sensitivity)) == (0, True)
    assert found.obstacle == "no held-out image of another class is given another one"
    none = replace(ground, pool=replace(ground.pool, labels=np.ones(3 * HELD, np.int64)))
    found = latent_trial(none, heat_of(some.train[0], 3), np.zeros((0, H, W)))
    assert (found.own, np.isnan(found.taken_away), found.put_in >= 0) == (0, True, True)


def test_a_wider_level_gives_a_wider_interval(some: Data) -> None:
    ground = some.ground()
    found = latent_trial(ground, heat_of(some.train[0], 3), heat_of(some.held[ground.own], 3))
    wide = found.at(0.999)
    assert wide.lean_low < found.lean_low < found.lean < found.lean_high < wide.lean_high <= 1
    assert replace(wide, lean_low=found.lean_low, lean_high=found.lean_high) == found


def test_targets_are_bounded(some: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.trials.latent, "TARGETS", 5)
    ground = some.ground()
    assert len(ground.targets) == 5
    assert ground.targets.tolist() == some.ground().targets.tolist()
    assert (some.labels[ground.targets] != 0).all()
    assert (
        latent_trial(ground, heat_of(some.train[0], 3), heat_of(some.held[ground.own], 3)).targets
        == 5
    )


def test_only_the_outputs_given_compete(some: Data) -> None:
    reader = Reader.of(some.head, [2, 0])
    logits = some.head.logits(some.held.mean(axis=(2, 3)))[:, [2, 0]]
    read = reader.read(some.held)
    assert read.shape == (3 * HELD, H * W, 2)
    assert (reader.given(read.sum(axis=1), H * W) == logits.argmax(axis=1)).all()
    assert reader.read(some.held[:0]).shape == (0, 0, 2)
