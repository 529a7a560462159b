"""What an audit says of a class, read from JSON."""

from __future__ import annotations

import dataclasses
from math import isnan

import pytest

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.storage.files import read_json

LEAST = {"class_idx": 3, "label": "van", "name": "Van", "n_images": 7}


def test_what_is_not_known_has_its_default() -> None:
    found = AuditedClass.from_json({**LEAST, "logit_mean": None, "top_gap": None})
    assert (found.class_idx, found.label, found.accuracy, found.top_gap) == (3, "van", None, None)
    assert isnan(found.logit_mean)
    assert isnan(found.top_gap_low)


def test_entries_of_another_version_are_kept() -> None:
    assert AuditedClass.from_json({**LEAST, "later": 1}).unknown == {"later": 1}


def test_a_class_is_a_value(tiny_audit: Audit) -> None:
    first = tiny_audit.classes[0]
    assert first == AuditedClass.from_json(read_json(tiny_audit.files.summary)["classes"][0])
    assert hash(first) == hash(dataclasses.replace(first))
    assert tiny_audit.class_facts(first.label) is first
    assert tiny_audit.class_facts(f"#{first.class_idx}") is first
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.label = "other"  # type: ignore[misc]


def test_every_entry_of_the_summary_is_known(tiny_audit: Audit) -> None:
    assert [facts.unknown for facts in tiny_audit.classes] == [{}] * len(tiny_audit.classes)
