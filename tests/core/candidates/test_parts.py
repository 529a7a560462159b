"""Parts against a slow replica, their identities, and what is asked of them at the edges."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.decomposition import NMF

import core.candidates.parts
from core.candidates.parts import (
    FEWEST,
    GROWTH,
    MOST,
    Parts,
    coefficients,
    find_parts,
    margin,
    rest_share,
    sampled_positions,
)
from core.types import FloatArray

N, D, SIDE = 24, 20, 4
IDS = [f"{i:016x}" for i in range(N)]


def images(rng: np.random.Generator, n: int = N, blobs: int = 5) -> FloatArray:
    """Maps of images in which a few channels go together, with a little of either sign."""
    patterns = rng.gamma(0.5, 1, (blobs, D))
    amounts = rng.gamma(0.3, 1, (n, blobs, SIDE, SIDE))
    found = np.einsum("nbhw,bd->ndhw", amounts, patterns)
    return (found + rng.normal(0, 0.1, found.shape)).astype(np.float32)


@pytest.fixture
def maps(rng: np.random.Generator) -> FloatArray:
    return images(rng)


@pytest.fixture
def weight(rng: np.random.Generator) -> FloatArray:
    return rng.normal(0.5, 1, D)


def slow_coefficients(dictionary: FloatArray, z: FloatArray) -> FloatArray:
    """The best of the least squares fits over every subset of the parts."""
    k, best, least = len(dictionary), np.zeros(len(dictionary)), float(z @ z)
    for size in range(1, k + 1):
        for chosen in combinations(range(k), size):
            u = np.linalg.lstsq(dictionary[list(chosen)].T, z, rcond=None)[0]
            error = float(np.sum((z - u @ dictionary[list(chosen)]) ** 2))
            if (u >= 0).all() and error < least:
                best, least = np.zeros(k), error
                best[list(chosen)] = u
    return best


def test_maps_and_shares_equal_a_slow_replica(maps: FloatArray, weight: FloatArray) -> None:
    parts, alpha = find_parts(maps[:6], IDS[:6], weight, count=4)
    found, shares, slope = (f(maps[:6]) for f in (parts.maps_of, parts.shares, parts.slope))
    dictionary = parts.dictionary.astype(np.float64)
    for i in range(6):
        sums, slopes = np.zeros(5), np.zeros((4, D))
        for y in range(SIDE):
            for x in range(SIDE):
                place = maps[i, :, y, x].astype(np.float64)
                z = np.array([max(weight[d] * place[d], 0) for d in range(D)])
                amounts = slow_coefficients(dictionary, z) * dictionary.sum(axis=1)
                total = amounts.sum()
                r = np.append(amounts / total, 0) if total > 0 else np.eye(5)[4]
                assert shares[i, :, y, x] == pytest.approx(r, abs=1e-5)
                assert found[i, :, y, x] == pytest.approx(r * (weight @ place), abs=1e-4)
                sums += r * (weight @ place) / SIDE**2
                slopes += r[:4, None] * weight / SIDE**2
        assert alpha[i] == pytest.approx(sums, abs=1e-5)
        assert slope[i] == pytest.approx(slopes, abs=1e-5)
    assert parts.alpha(maps[:6]) == pytest.approx(alpha[:, :4], abs=1e-12)


def test_the_dictionary_is_scikit_learns(maps: FloatArray, weight: FloatArray) -> None:
    z = np.maximum(weight.astype(np.float32)[:, None, None] * maps, 0)
    rows = z.reshape(N, D, -1).transpose(0, 2, 1).reshape(-1, D)
    fit = NMF(3, init="nndsvda", random_state=0).fit(rows[:, rows.any(axis=0)])
    parts, alpha = find_parts(maps, IDS, weight, count=3)
    live = parts.dictionary[:, rows.any(axis=0)]
    assert sorted(live.sum(axis=1)) == pytest.approx(sorted(fit.components_.sum(axis=1)), rel=1e-4)
    error = fit.reconstruction_err_**2 / np.square(rows).sum()
    assert parts.explained == pytest.approx(1 - error, abs=1e-5)
    assert (np.diff(alpha[:, :-1].mean(axis=0)) <= 0).all()


def test_coefficients_are_the_nearest(rng: np.random.Generator) -> None:
    dictionary, z = rng.gamma(0.5, 1, (4, 9)), rng.gamma(0.5, 1, (30, 9))
    found = coefficients(dictionary @ dictionary.T, z @ dictionary.T)
    for row, wanted in zip(found, z, strict=True):
        assert row == pytest.approx(slow_coefficients(dictionary, wanted), abs=1e-9)


def test_coefficients_of_twins(rng: np.random.Generator) -> None:
    twins = np.repeat(rng.gamma(0.5, 1, (1, 9)), 2, axis=0)
    found = coefficients(twins @ twins.T, twins @ twins.T)
    assert (found >= 0).all()
    assert found @ twins == pytest.approx(twins, abs=1e-9)


# Identities


def test_maps_add_up_to_the_margin(maps: FloatArray, rng: np.random.Generator) -> None:
    head, bias = rng.normal(0.3, 1, (5, D)), rng.normal(size=5)
    of = margin(head, bias, 2)
    parts, _ = find_parts(maps, IDS, of.weight)
    for some in (maps, images(rng, 9), rng.normal(size=(5, D, SIDE, SIDE))):  # of the class or not
        whole = np.einsum("d,ndhw->nhw", of.weight, some)
        assert parts.maps_of(some).sum(axis=1) == pytest.approx(whole, abs=1e-5)
        logits = some.mean(axis=(2, 3), dtype=np.float64) @ head.T + bias
        wanted = logits[:, 2] - np.delete(logits, 2, axis=1).mean(axis=1)
        assert parts.alphas(some).sum(axis=1) + of.offset == pytest.approx(wanted, abs=1e-6)
        shares = parts.shares(some)
        assert (shares >= 0).all()
        assert (shares <= 1).all()
        assert shares.sum(axis=1) == pytest.approx(np.ones_like(whole), abs=1e-6)


def test_images_may_come_in_any_order(maps: FloatArray, weight: FloatArray) -> None:
    order = np.random.default_rng(1).permutation(N)
    first, alpha = find_parts(maps, IDS, weight, count=4)
    again, moved = find_parts(maps[order], [IDS[i] for i in order], weight, count=4)
    assert moved == pytest.approx(alpha[order], abs=0.02)
    assert again.explained == pytest.approx(first.explained, abs=1e-4)


def test_channels_may_come_in_any_order(maps: FloatArray, weight: FloatArray) -> None:
    order = np.random.default_rng(1).permutation(D)
    first, alpha = find_parts(maps, IDS, weight, count=4)
    again, moved = find_parts(maps[:, order], IDS, weight[order], count=4)
    assert moved == pytest.approx(alpha, abs=0.02)
    assert again.dictionary == pytest.approx(first.dictionary[:, order], abs=0.05)


def test_one_part_is_the_whole_margin(rng: np.random.Generator) -> None:
    maps = rng.gamma(1, 1, (N, D, SIDE, SIDE)).astype(np.float32)
    weight = np.abs(rng.normal(size=D))
    parts, alpha = find_parts(maps, IDS, weight, count=1)
    whole = np.einsum("d,ndhw->nhw", weight, maps)
    assert parts.maps_of(maps)[:, 0] == pytest.approx(whole, rel=1e-5)
    assert not alpha[:, 1].any()
    assert rest_share(alpha) == 0


def test_what_gives_the_margin_nothing_is_rest(maps: FloatArray, weight: FloatArray) -> None:
    parts, _ = find_parts(maps, IDS, weight, count=4)
    against = np.broadcast_to(-np.sign(weight)[:, None, None], (D, SIDE, SIDE))
    constant = np.stack([np.zeros_like(against), against])
    shares, alphas = parts.shares(constant), parts.alphas(constant)
    assert (shares[:, -1] == 1).all()
    assert not alphas[:, :-1].any()
    assert alphas[:, -1] == pytest.approx([0, -np.abs(weight).sum()], rel=1e-6)


def test_the_same_input_gives_the_same_parts(maps: FloatArray, weight: FloatArray) -> None:
    (first, one), (again, two) = (find_parts(maps, IDS, weight) for _ in range(2))
    assert np.array_equal(first.dictionary, again.dictionary)
    assert np.array_equal(one, two)


def test_a_cue_on_every_image_is_a_part(maps: FloatArray, weight: FloatArray) -> None:
    """Two channels of its own at one place of every image: no variance, yet a part of its own."""
    weight[:2] = 2
    maps[:, :2] = 0
    planted = maps.copy()
    planted[:, :2, 1, 2] = 3
    parts, alpha = find_parts(planted, IDS, weight)
    heat = np.maximum(parts.maps_of(planted), 0).mean(axis=0)
    inside = heat[:, 1, 2] / heat.sum(axis=(1, 2)).clip(1e-9)
    assert inside.max() > 0.9
    assert alpha[:, inside.argmax()].std() < 0.1 * alpha[:, inside.argmax()].mean()
    assert parts.alpha(maps)[:, inside.argmax()].mean() < 0.2 * alpha[:, inside.argmax()].mean()


# How many, and of how much


def test_the_number_of_parts_follows_the_rule(maps: FloatArray, weight: FloatArray) -> None:
    parts, _ = find_parts(maps, IDS, weight)
    explained = {k: find_parts(maps, IDS, weight, count=k)[0].explained for k in range(4, 12)}
    wanted = next((k for k in range(FEWEST, MOST) if explained[k + 1] - explained[k] < GROWTH), 10)
    assert len(parts) == wanted
    assert parts.explained == explained[wanted]
    assert not parts.note


def test_twelve_things_are_no_more_than_ten_parts(rng: np.random.Generator) -> None:
    which = rng.integers(0, 12, (N, SIDE, SIDE))
    maps = (which[:, None] == np.arange(12)[:, None, None]).astype(np.float32)
    assert len(find_parts(maps, IDS, np.ones(12))[0]) == MOST
    assert len(find_parts(maps, IDS, np.ones(12), count=12)[0]) == 12


def test_more_parts_than_positions(maps: FloatArray, weight: FloatArray) -> None:
    few = maps[:1].copy()
    few[:, :, 1:] = 0
    few[:, :, 0, 1:] = 0
    parts, _ = find_parts(few, IDS[:1], weight, count=7)
    assert len(parts) == 1
    assert parts.note.startswith("7 parts were asked for; the 1 position ")
    assert len(find_parts(few, IDS[:1], weight)[0]) == 1


def test_one_image(maps: FloatArray, weight: FloatArray) -> None:
    parts, alpha = find_parts(maps[:1], IDS[:1], weight)
    assert len(parts) >= FEWEST
    assert alpha.sum() == pytest.approx(weight @ maps[0].mean(axis=(1, 2)), abs=1e-5)


@pytest.mark.parametrize("n", [0, 3])
def test_nothing_to_share_out(n: int, weight: FloatArray) -> None:
    parts, alpha = find_parts(np.zeros((n, D, SIDE, SIDE)), IDS[:n], weight, count=5)
    assert (len(parts), alpha.shape) == (0, (n, 1))
    assert np.isnan(parts.explained)
    assert np.isnan(rest_share(alpha))
    assert "hold 0" in parts.note
    ones = np.ones((2, D, SIDE, SIDE))
    assert parts.alphas(ones)[:, 0] == pytest.approx(np.full(2, weight.sum()), rel=1e-6)
    assert parts.alpha(ones).shape == (2, 0)


# The sample, blocks and the margin


def test_the_sample_is_bounded_and_of_every_image(
    maps: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    ones = np.ones(D)
    assert len(sampled_positions(np.ones_like(maps), IDS, ones)) == N * SIDE**2
    monkeypatch.setattr(core.candidates.parts, "POSITIONS", 3 * N)
    numbered = np.broadcast_to(np.arange(1, N + 1)[:, None, None, None], maps.shape)
    sample = sampled_positions(numbered, IDS, ones)
    assert np.bincount(sample[:, 0].astype(int)).tolist() == [0] + [3] * N
    monkeypatch.setattr(core.candidates.parts, "POSITIONS", 10)
    few = sampled_positions(numbered, IDS, ones)
    assert len(set(few[:, 0])) == len(few) == 10
    order = np.arange(N)[::-1]
    again = sampled_positions(numbered[order], [IDS[i] for i in order], ones)
    assert sorted(again[:, 0]) == sorted(few[:, 0])
    assert set(few[:, 0]) != set(sampled_positions(numbered, IDS, ones, seed=1)[:, 0])


def test_blocks_change_nothing(
    maps: FloatArray, weight: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, alpha = find_parts(maps, IDS, weight)
    sizes = []

    class Read:
        def __len__(self) -> int:
            return len(maps)

        def __getitem__(self, part: slice) -> FloatArray:
            sizes.append(len(maps[part]))
            return maps[part]

    monkeypatch.setattr(core.candidates.parts, "NUMBERS", 5 * D * SIDE**2)
    again, apart = find_parts(Read(), IDS, weight)
    assert max(sizes) == 5
    assert again.dictionary == pytest.approx(parts.dictionary, abs=1e-6)
    assert apart == pytest.approx(alpha, abs=1e-6)


def test_the_margin_by_the_classes_there_are(rng: np.random.Generator) -> None:
    head, bias = rng.normal(size=(6, D)), rng.normal(size=6)
    two = margin(head[:2], bias[:2], 1)
    assert two.weight == pytest.approx(head[1] - head[0])
    assert two.offset == pytest.approx(bias[1] - bias[0])
    kept = margin(head, bias, 3, [0, 3, 5])
    assert kept.weight == pytest.approx(head[3] - (head[0] + head[5]) / 2)
    alone = margin(head, bias, 3, [3])
    assert alone.weight == pytest.approx(margin(head, bias, 3).weight)
    assert alone.offset == pytest.approx(bias[3] - np.delete(bias, 3).mean())
    single = margin(head[:1], bias[:1], 0)
    assert (single.weight.tolist(), single.offset) == (head[0].tolist(), bias[0])


def test_a_part_without_places_shares_nothing(maps: FloatArray, weight: FloatArray) -> None:
    empty = Parts(weight, np.zeros((0, D), np.float32), float("nan"))
    assert (empty.shares(maps) == 1).all()
    assert empty.alphas(maps)[:, 0] == pytest.approx(maps.mean(axis=(2, 3)) @ weight, abs=1e-5)
    assert empty.alphas(maps[:0]).shape == (0, 1)
