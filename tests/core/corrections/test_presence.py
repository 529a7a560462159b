"""How many images show a cue: planted shares, and what an attribute says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.corrections.evidence import HIDDEN, SHOWN, UNKNOWN, Evidence, Pairs
from core.corrections.pairs import CUT, REPLACED, erased_pairs, strong
from core.corrections.presence import presence
from tests.core.corrections.mitigation_fixture import D, make_evidence, make_head


def planted(share: float, *, n: int = 120, pairs: bool = True) -> tuple[Evidence, np.ndarray]:
    """Evidence whose class 0 shows a cue on a share of its images, and who truly does."""
    rng = np.random.default_rng(3)
    head = make_head(rng)
    evidence = make_evidence(rng, head, n=3 * n)
    own = evidence.labels == 0
    shift = 8.0 * (np.arange(D) == 0)
    features = rng.normal(size=(3 * n, D)) + 2 * head.weight[evidence.labels] * (np.arange(D) > 0)
    shows = np.zeros(3 * n, bool)
    shows[rng.permutation(np.flatnonzero(own))[: round(share * n)]] = True
    plain = features.astype(np.float32)
    found = (features + shows[:, None] * shift).astype(np.float32)
    rows, mine = np.flatnonzero(~own), np.flatnonzero(own)
    made, erased = None, {}
    if pairs:
        made = Pairs(plain[rows] + shift.astype(np.float32), plain[rows], 0 * rows, rows=rows)
        without = Pairs(found[mine], plain[mine], 0 * mine, rows=mine)
        erased = {CUT: without, REPLACED: without}
    return replace(evidence, features=found, pairs=made, erased=erased), shows


@pytest.mark.parametrize("share", [0.3, 0.8, 0.95, 1.0])
def test_the_number_of_images_without_the_cue_is_noticed(share: float) -> None:
    evidence, shows = planted(share)
    found = presence(evidence, 0)
    lacking = (~shows & (evidence.labels == 0)).sum()
    assert found.lacking == pytest.approx(lacking, abs=1)
    assert found.of == 120
    assert not found.told
    assert ((found.shows > 0.5) == shows).mean() > 0.99
    assert f"{lacking} of 120 training images lack the cue (estimated)" in found.words
    quarter = np.argsort(evidence.features[:, 0][evidence.labels == 0])[:30]
    hiding = ~shows[evidence.labels == 0][quarter]
    assert (hiding.mean() < 0.5) == (share > 0.8)  # what the lowest quarter would have said


def test_without_pairs_alpha_is_told_apart() -> None:
    evidence, shows = planted(0.6, pairs=False)
    found = presence(evidence, 0)
    own = evidence.labels == 0
    assert found.lacking == pytest.approx((~shows & own).sum(), abs=6)


def test_an_attribute_is_taken_at_its_word() -> None:
    evidence, shows = planted(0.8)
    known = np.where(shows, SHOWN, HIDDEN).astype(np.int8)[:, None]
    known[np.flatnonzero(evidence.labels == 0)[:5]] = UNKNOWN
    found = presence(replace(evidence, present=known), 0)
    assert found.told
    assert found.of == 115
    assert np.isnan(found.shows).sum() == 5
    assert "by the attribute" in found.words


def test_a_region_is_cut_or_replaced_place_by_place() -> None:
    rng = np.random.default_rng(1)
    own = rng.normal(size=(4, D, 3, 3)).astype(np.float32)
    others = rng.normal(size=(1, D, 3, 3)).astype(np.float32)
    overlays = rng.random((4, 3, 3))
    overlays[3] = -1  # shows nothing
    rows = np.array([5, 7, 9, 11])
    found = erased_pairs(own, overlays, others, rows, cue=2)
    where = strong(overlays)
    for pairs in found.values():
        assert pairs.rows.tolist() == [5, 7, 9]
        assert set(pairs.cue) == {2}
    for i in range(3):
        kept = own[i][:, ~where[i]]
        np.testing.assert_allclose(found["cut"].hidden[i], kept.mean(axis=1), rtol=1e-5)
        mixed = np.where(where[i], others[0], own[i]).reshape(D, -1).mean(axis=1)
        np.testing.assert_allclose(found[REPLACED].hidden[i], mixed, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            found["cut"].shown[i], own[i].reshape(D, -1).mean(axis=1), rtol=1e-4, atol=1e-6
        )
        control = found[REPLACED].control
        assert control is not None
        rolled = [
            np.where(np.roll(where[i], (y, x), (0, 1)), others[0], own[i]).reshape(D, -1)
            for y in range(3)
            for x in range(3)
        ]
        assert min(np.abs(one.mean(axis=1) - control[i]).max() for one in rolled) < 1e-6
    assert found["cut"].control is None
    assert "replaced" not in erased_pairs(own, overlays, others[:0], rows, cue=0)
