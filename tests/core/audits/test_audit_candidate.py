"""A candidate of an audit by its key, or by its text."""

from __future__ import annotations

import numpy as np
import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.errors import InputError


def test_a_key_and_its_text_give_the_same(tiny_audit: Audit) -> None:
    key = CandidateKey("red", "pca", 0)
    found = tiny_audit.candidate(key)
    old = f"{tiny_audit.class_facts('red').class_idx}.pca.0"
    for text in (str(key), old):
        assert tiny_audit.candidate(text).key == found.key == key
    ids = tiny_audit.images.index[:5].tolist()
    expected = tiny_audit.arrays_of("red").candidate("pca", 0).alpha(tiny_audit.features(ids))
    np.testing.assert_array_equal(tiny_audit.alpha(found, ids), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pca-0", "names no candidate; write it like van/pca-0"),
        ("red/pca-99", "component 99 of class 'red' does not exist"),
        ("green/pca-0", "green"),
    ],
)
def test_what_is_none_is_said(tiny_audit: Audit, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_audit.candidate(text)
