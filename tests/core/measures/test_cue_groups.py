"""Groups of images by class and cue."""

from __future__ import annotations

import numpy as np

from core.measures.cue_groups import FEWEST, OTHERS, _by_class


def test_names_of_classes_are_text_whatever_they_hold() -> None:
    outputs = np.array([0] * FEWEST + [1], np.int64)
    right = np.ones(len(outputs), bool)
    groups = _by_class(outputs, [right, right], {0: "{0}{x}", 1: "%s"}, " with the cue of {y}")
    assert [g.name for g in groups] == [
        "{0}{x} with the cue of {y}",
        f"{OTHERS} with the cue of {{y}}",
    ]
    assert [len(g.before) for g in groups] == [FEWEST, 1]
