"""Parts of a stored audit add up to the margin of every image."""

from __future__ import annotations

import numpy as np
import pytest

from core.audits.audit import Audit
from core.candidates.part_kind import PART, Part
from core.candidates.parts import margin
from core.tags.decisions import linear_piece


def whole(audit: Audit, label: str) -> tuple[np.ndarray, float]:
    outputs = tuple(facts.class_idx for facts in audit.classes)
    head, output = audit.head, audit.class_facts(label).class_idx
    weight, bias = np.asarray(head.weight, np.float64), np.asarray(head.bias, np.float64)
    return margin(weight, bias, output, outputs)


def test_stored_alphas_and_the_rest_are_the_margin(tiny_audit: Audit) -> None:
    for facts in tiny_audit.classes:
        arrays = tiny_audit.class_arrays(facts.class_idx)
        found = arrays.of_kind(PART)
        assert len(found.numbers)
        weight, offset = whole(tiny_audit, facts.label)
        logits = tiny_audit.head.logits(tiny_audit.features(arrays.image_ids))
        others = [c.class_idx for c in tiny_audit.classes if c.class_idx != facts.class_idx]
        expected = logits[:, facts.class_idx] - logits[:, others].mean(axis=1)
        said = found.alpha.sum(axis=1) + np.asarray(found.arrays["rest"]) + offset
        np.testing.assert_allclose(said, expected, atol=1e-4)
        np.testing.assert_allclose(found.arrays["weight"], weight)


def test_maps_of_a_part_average_to_its_alpha_on_any_image(tiny_audit: Audit) -> None:
    part = tiny_audit.class_arrays(0).candidate(PART, 0)
    assert isinstance(part, Part)
    ids = tiny_audit.images.index.tolist()
    maps = tiny_audit.heatmaps(part, ids)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), tiny_audit.alpha(part, ids), atol=1e-5)


def test_parts_are_numbered_by_their_mean_alpha(tiny_audit: Audit) -> None:
    arrays = tiny_audit.class_arrays(0)
    means = np.asarray(arrays.of_kind(PART).alpha)[np.asarray(arrays.fitting)].mean(axis=0)
    assert (np.diff(means) <= 1e-6).all()


def test_the_linear_piece_has_its_mean(tiny_audit: Audit) -> None:
    arrays = tiny_audit.class_arrays(0)
    part = arrays.candidate(PART, 0)
    ids = [i for i, fit in zip(arrays.image_ids, arrays.fitting, strict=True) if fit]
    linear = linear_piece(tiny_audit, part)
    assert linear.alpha(tiny_audit.features(ids)).mean() == pytest.approx(
        tiny_audit.alpha(part, ids).mean(), abs=1e-5
    )
