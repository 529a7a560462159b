"""Evaluation sets of an audit, as a document and as lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.types import count_of

if TYPE_CHECKING:
    from core.audits.evaluation_set import EvaluationSet


def set_facts(found: EvaluationSet) -> Mapping[str, object]:
    """A set as one JSON document."""
    from core.statistics.intervals import clopper_pearson

    n, right = int(found.judged.sum()), int(found.correct.sum())
    return {
        "name": found.name,
        "known": found.facts.known,
        "data": found.facts.source,
        "images": len(found.images),
        "judged": n,
        "outputs": len(found.outputs),
        "accuracy": right / n if n else None,
        "interval": [float(end) for end in clopper_pearson(right, n)] if n else None,
        "notes": list(found.facts.notes),
    }


def set_lines(found: Mapping[str, Any]) -> list[str]:
    """The same for people."""
    said = "no right label"
    if found["judged"]:
        low, high = (100 * end for end in found["interval"])
        said = f"accuracy {100 * found['accuracy']:.1f} % [{low:.1f}, {high:.1f}]"
        said += f" of {found['judged']:,} with a class of the model"
    line = f"  set {found['name']}: {count_of(found['images'], 'image')}, {said}"
    return [line, *(f"    note: {note}" for note in found["notes"])]
