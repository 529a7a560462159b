"""The worst group that training images and composites can tell, and the strength it chooses."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from core.corrections.choice import by_worst_group, sweep
from core.corrections.evidence import UNKNOWN, Cue, Evidence, Pairs
from core.corrections.pairs import REPLACED
from core.corrections.worst_group import Pasted, accuracies, groups_of, least
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
    np.testing.assert_allclose(groups.hits(head), wanted[:, 0], atol=1e-9)
    np.testing.assert_allclose(groups.totals, wanted[:, 1], atol=1e-9)
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
    assert found.shape == (cues * classes * 2,)
    assert peak < 20e6  # 8 bytes of every image and group would be 9.2e9


def test_a_group_of_too_few_images_says_nothing() -> None:
    found = accuracies(np.array([[3.0, 1.0], [6.0, 0.0]]), np.array([10.0, 2.0]))
    np.testing.assert_array_equal(found, [[0.3, np.nan], [0.6, np.nan]])
    np.testing.assert_array_equal(least(found), [0.3, 0.6])
    beyond = accuracies(np.array([[11.0, -1.0]]), np.array([10.0, 10.0]))  # a control that costs
    np.testing.assert_array_equal(beyond, [[1, 0]])
    assert np.isnan(least(np.full((2, 3), np.nan))).all()


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
