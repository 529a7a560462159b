"""Parts of a stored audit add up to the margin of every image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.run import run_audit
from core.candidates.part_kind import PART, Part, parts_of
from core.candidates.parts import margin
from core.errors import InputError
from core.storage.workspace import Workspace
from core.tags.decisions import linear_piece
from tests.conftest import tiny_request


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


def stored(audit: Audit) -> dict[str, tuple[int, bytes]]:
    """Time and content of every file that parts have no share in."""
    kept = (*audit.files.classes.glob("*/*"), *audit.files.shards.rglob("*"))
    paths = [path for path in kept if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def numbers(audit: Audit) -> list[int]:
    return [len(audit.class_arrays(c.class_idx).of_kind(PART).numbers) for c in audit.classes]


def test_another_number_finds_parts_again_and_nothing_else(
    folder: Path, workspace: Workspace
) -> None:
    first = run_audit(tiny_request(folder), workspace)
    by_rule, kept = numbers(first), stored(first)
    two = run_audit(AuditRequest.again(first.manifest, parts=2), workspace)
    assert two.id == first.id
    assert numbers(two) == [2, 2]
    assert stored(two) == kept
    assert len(two.candidates.query("kind == 'part'")) == 4
    summary = two.files.summary.stat().st_mtime_ns
    run_audit(AuditRequest.again(first.manifest, parts=2), workspace)
    assert two.files.summary.stat().st_mtime_ns == summary
    same = run_audit(tiny_request(folder), workspace)
    assert numbers(same) == [2, 2]
    again = run_audit(tiny_request(folder, parts=0), workspace)
    assert numbers(again) == by_rule
    assert again.manifest.counts is None
    assert stored(again) == kept


def test_more_parts_than_there_are_is_said(folder: Path, workspace: Workspace) -> None:
    audit = run_audit(tiny_request(folder, parts=400), workspace)
    for facts in audit.classes:
        found = audit.class_arrays(facts.class_idx).of_kind(PART)
        assert 0 < len(found.numbers) < 400
        assert parts_of(found).note.startswith("400 parts were asked for; ")
        values = found.alpha.sum(axis=1) + found.arrays["rest"]
        weight, _ = whole(audit, facts.label)
        features = audit.features(audit.class_arrays(facts.class_idx).image_ids)
        np.testing.assert_allclose(values, features @ weight, atol=1e-4)


@pytest.mark.parametrize("number", [-1, -3])
def test_fewer_than_no_parts_cannot_be_asked_for(number: int) -> None:
    with pytest.raises(
        InputError, match=f"--parts {number}: must be at least 1, or 0 for the rule"
    ):
        AuditRequest("data", "tiny:net", parts=number)
