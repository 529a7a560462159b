"""What a cue adds, from composites and real images together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.corrections.clarc import POOLED, concepts
from core.corrections.concepts import concept_of
from core.corrections.evidence import SHOWN
from core.corrections.pooled import difference_within, pooled_concept
from tests.core.corrections.mitigation_fixture import D
from tests.core.corrections.test_presence import planted


def test_the_difference_within_classes_is_a_regression() -> None:
    evidence, shows = planted(0.7)
    found = difference_within(evidence, shows.astype(float))
    own = evidence.labels == 0
    means = [evidence.features[own & side].mean(axis=0) for side in (shows, ~shows)]
    np.testing.assert_allclose(found, means[0] - means[1], atol=1e-4)  # no other class shows it


def test_what_is_not_known_says_nothing() -> None:
    evidence, shows = planted(0.7)
    part = shows.astype(float)
    part[:30] = np.nan
    rest = evidence.take(np.arange(30, len(shows)))
    np.testing.assert_allclose(
        difference_within(evidence, part), difference_within(rest, part[30:]), atol=1e-9
    )
    assert difference_within(evidence, np.ones(len(shows))) is None


def test_the_sum_of_both_lies_nearer_than_composites_that_miss_something() -> None:
    evidence, _ = planted(0.95)
    assert evidence.pairs is not None
    true, missed = np.eye(D)[0], np.eye(D)[3]
    shown = evidence.pairs.shown + 4 * missed.astype(np.float32)
    biased = replace(evidence, pairs=replace(evidence.pairs, shown=shown))
    (found,) = concepts(biased, POOLED)
    alone = concept_of(biased, 0, "auto")
    assert found.vector @ true > alone.vector @ true + 0.02
    assert np.linalg.norm(found.vector) == pytest.approx(1)
    assert found.hidden < found.shown


def test_without_pairs_or_without_differences_it_is_as_before() -> None:
    evidence, _ = planted(0.7)
    plain = replace(evidence, pairs=None, erased={})
    np.testing.assert_array_equal(
        pooled_concept(plain, 0).vector, concept_of(plain, 0, "auto").vector
    )
    everywhere = replace(evidence, present=np.full_like(evidence.present, SHOWN))
    np.testing.assert_array_equal(
        pooled_concept(everywhere, 0).vector, concept_of(everywhere, 0, "auto").vector
    )
