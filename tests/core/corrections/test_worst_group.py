"""The worst group that training images and composites can tell, and the strength it chooses."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.corrections.choice import by_worst_group, sweep
from core.corrections.corrected import untaken
from core.corrections.evidence import UNKNOWN, Cue, Evidence, Pairs
from core.corrections.pairs import REPLACED
from core.corrections.worst_group import CLASSES, Pasted, accuracies, groups_of, judged, least
from tests.core.corrections.mitigation_fixture import make_head
from tests.core.corrections.test_presence import planted


def replica(
    held: Evidence, shows: np.ndarray, pasted: Pasted, right: dict[str, np.ndarray], counted: float
) -> list[tuple[float, float]]:
    """Hits and totals image by image, cue by class, with before without."""
    found = []
    for m in range(len(held.cues)):
        for k in held.classes:
            for side in (True, False):
                hits = total = 0.0
                for i in range(len(held.labels)):
                    p = shows[i, m] if side else 1 - shows[i, m]
                    if held.labels[i] == k and p == p:
                        hits, total = hits + p * right["real"][i], total + p
                erased = held.erased.get(REPLACED)
                if side:
                    mine = [i for i in range(len(pasted.cue)) if pasted.labels[i] == k]
                    mine = [i for i in mine if pasted.cue[i] == m]
                    kind = "pasted"
                else:
                    assert erased is not None
                    mine = [i for i, row in enumerate(erased.rows) if held.labels[row] == k]
                    mine = [i for i in mine if erased.cue[i] == m]
                    kind = "erased"
                for i in mine:
                    w = min(counted / len(mine), 1)
                    cost = int(right[f"{kind}, plain"][i]) - int(right[f"{kind}, control"][i])
                    hits, total = hits + w * (right[kind][i] + cost), total + w
                found.append((hits, total))
    return found


def test_groups_count_images_by_how_likely_they_belong() -> None:
    held, _ = planted(0.8, n=20)
    rng = np.random.default_rng(0)
    shows = rng.random((60, 1))
    shows[3] = np.nan
    assert held.pairs is not None
    pairs, erased = (
        replace(each, control=each.hidden + rng.normal(0, 2, each.hidden.shape))
        for each in (held.pairs, held.erased[REPLACED])
    )
    held = replace(held, pairs=pairs, erased={REPLACED: erased})
    of_pasted, of_erased = (held.labels[each.rows] for each in (pairs, erased))
    pasted = Pasted(pairs.shown, of_pasted, pairs.cue, pairs.hidden, pairs.control)
    head = make_head(np.random.default_rng(9))
    groups = groups_of(held, shows, pasted, counted=7)
    sources = {
        "real": (held.features, held.labels),
        "pasted": (pairs.shown, of_pasted),
        "pasted, plain": (pairs.hidden, of_pasted),
        "pasted, control": (pairs.control, of_pasted),
        "erased": (erased.hidden, of_erased),
        "erased, plain": (erased.shown, of_erased),
        "erased, control": (erased.control, of_erased),
    }
    right = {name: head.logits(x).argmax(axis=1) == y for name, (x, y) in sources.items()}
    wanted = np.array(replica(held, shows, pasted, right, 7))
    np.testing.assert_allclose(groups.hits(head).reshape(-1), wanted[:, 0], atol=1e-9)
    np.testing.assert_allclose(groups.totals.reshape(-1), wanted[:, 1], atol=1e-9)
    drawn = groups_of(held, shows, replace(pasted, control=None), counted=7)
    assert (drawn.hits(head) != groups.hits(head)).any()


def test_many_cues_of_many_classes_take_little_memory() -> None:
    """As many groups as cues times classes times two; no array has them for every image."""
    rng, (cues, classes, n) = np.random.default_rng(0), (60, 400, 4000)
    labels = rng.permutation(np.arange(n) % classes)
    width = make_head(rng).weight.shape[1]
    some = Cue(0, np.eye(width)[0], np.ones(width), np.zeros(width))
    held = Evidence(
        features=rng.normal(size=(n, width)).astype(np.float32),
        labels=labels,
        cues=tuple(replace(some, output=m) for m in range(cues)),
        present=np.full((n, cues), UNKNOWN, np.int8),
    )
    moved = rng.integers(0, n, 20_000)
    x = held.features[moved]
    pasted = Pasted(x, labels[moved], rng.integers(0, cues, len(moved)), x)
    tracemalloc.start()
    found = groups_of(held, rng.random((n, cues)), pasted).totals
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (cues, classes, 2)
    assert peak < 20e6  # 8 bytes of every image and group would be 9.2e9


def test_a_group_of_too_few_images_says_nothing() -> None:
    found = accuracies(np.array([[3.0, 1.0], [6.0, 0.0]]), np.array([10.0, 2.0]))
    np.testing.assert_array_equal(found, [[0.3, np.nan], [0.6, np.nan]])
    np.testing.assert_array_equal(least(found), [0.3, 0.6])
    beyond = accuracies(np.array([[11.0, -1.0]]), np.array([10.0, 10.0]))  # a control that costs
    np.testing.assert_array_equal(beyond, [[1, 0]])
    assert np.isnan(least(np.full((2, 3), np.nan))).all()


def judged_one_by_one(hits: np.ndarray, totals: np.ndarray, own: np.ndarray) -> list[float]:
    """The same as :func:`judged` for one head, a group at a time."""
    groups: list[tuple[bool, int, float, float]] = []
    for m in range(own.shape[0]):
        for side in (0, 1):
            others = (0.0, 0.0)
            for k in range(own.shape[1]):
                mine = hits[m, k, side], totals[m, k, side]
                if own[m, k]:
                    groups.append((True, side, *mine))
                elif own.shape[1] <= CLASSES:
                    groups.append((False, side, *mine))
                else:
                    others = others[0] + mine[0], others[1] + mine[1]
            if own.shape[1] > CLASSES:
                groups.append((False, side, *others))
    fewest = max(4, np.log2(sum(n > 0 for *_, n in groups)))
    found = [right / n for *_, right, n in groups if n >= fewest]
    for whose in (True, False):
        for side in (0, 1):
            small = [(r, n) for o, s, r, n in groups if (o, s) == (whose, side) and n < fewest]
            right, n = np.sum(small or [(0, 0)], axis=0)
            found += [right / n] if n >= 4 else []
    return sorted(found)


@pytest.mark.parametrize(("cues", "classes"), [(1, 3), (6, CLASSES), (3, CLASSES + 1), (40, 60)])
def test_small_groups_of_many_are_judged_together(cues: int, classes: int) -> None:
    rng = np.random.default_rng(cues)
    totals = rng.gamma(1, 8, (cues, classes, 2)) * (rng.random((cues, classes, 2)) < 0.9)
    hits = rng.random((2, *totals.shape)) * totals
    own = np.arange(cues)[:, None] % classes == np.arange(classes)
    found = judged(hits, totals, own)
    for head in range(2):
        said = np.sort(found[head][np.isfinite(found[head])])
        wanted = judged_one_by_one(hits[head], totals, own)
        np.testing.assert_allclose(said, wanted, rtol=1e-12)


@pytest.mark.parametrize("cues", [1, 50])
def test_the_least_of_many_equal_groups_is_not_nothing_by_chance(cues: int) -> None:
    """A thousand classes of eight images, right in .6 of them everywhere: nobody is at 0."""
    rng = np.random.default_rng(0)
    totals = np.full((cues, 1000, 2), 8.0)
    hits = rng.binomial(8, 0.6, (1, *totals.shape)).astype(float)
    own = np.arange(cues)[:, None] == np.arange(1000)
    assert accuracies(hits.reshape(1, -1), totals.reshape(-1)).min() == 0
    assert least(judged(hits, totals, own))[0] > 0.1


def test_a_class_that_some_folds_lack_ends_no_sweep() -> None:
    evidence, _ = planted(0.5)
    few = np.flatnonzero(evidence.labels == 2)[2:]
    kept = evidence.take(np.setdiff1d(np.arange(len(evidence.labels)), few))
    found = sweep("pclarc", make_head(np.random.default_rng(3)), kept)
    assert found.worst is not None
    assert np.isfinite(found.worst).all()


def test_the_weakest_of_equals_is_taken_and_nothing_where_nothing_helps() -> None:
    assert by_worst_group(np.array([0.1, 0.5, 0.58, 0.6, 0.4])) == 2
    assert by_worst_group(np.array([0.1, 0.5, 0.55, 0.6, 0.4])) == 3
    assert by_worst_group(np.array([0.6, 0.6, 0.5])) == 0
    assert by_worst_group(np.full(3, np.nan)) is None


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_sweep_reaches_the_best_true_worst_group(share: float) -> None:
    """A class that leans on its cue: the chosen strength is about as good as any."""
    evidence, shows = planted(share)
    head = make_head(np.random.default_rng(3))
    weight = head.weight.copy()
    weight[:, 0] = (6.0, -2.0, -2.0)
    leaning = replace(head, weight=weight, bias=np.zeros(3, np.float32))
    found = sweep("pclarc", leaning, evidence)
    assert found.worst is not None
    assert found.worst.shape == found.strengths.shape
    assert found.worst[found.chosen] >= found.worst.max() - 0.03
    assert found.worst[found.chosen] > found.worst[0]
    assert found.presences[0].lacking == pytest.approx(120 * (1 - share), abs=1)


def test_pairs_of_other_images_do_not_reach_a_fold() -> None:
    evidence, _ = planted(0.8, n=20)
    kept = evidence.take(np.arange(0, 60, 2))
    for pairs in kept.erased.values():
        assert isinstance(pairs, Pairs)
        np.testing.assert_array_equal(kept.features[pairs.rows], pairs.shown)


def tradeoff_of(flips: list[float], accuracy: list[float], worst: list[float]) -> pd.DataFrame:
    unknown = np.full(len(flips), np.nan)
    return pd.DataFrame(
        {
            "strength": [0.0, 0.5, 1.0],
            "chosen_flips": flips,
            "chosen_accuracy": accuracy,
            "chosen_worst": worst or unknown,
        }
    )


def test_what_was_not_taken_is_said_with_what_it_would_have_done() -> None:
    table = tradeoff_of([0.1, 0.05, 0.01], [0.8, 0.79, 0.7], [0.3, 0.29, 0.2])
    said = untaken(table)  # strength 1 loses too much
    assert said == (
        "By strength 0.5, on training images: images turned by the cue 10.0 before, 5.0 % after; "
        "accuracy without it 80.0 before, 79.0 % after; worst group 30.0 before, 29.0 % after."
    )
    assert "worst group" not in untaken(table.assign(chosen_worst=np.nan))
    assert untaken(tradeoff_of([0.1, 0.2, 0.3], [0.8] * 3, [])) == ""
    assert untaken(tradeoff_of([np.nan] * 3, [0.8] * 3, [])) == ""
    assert untaken(None) == ""
