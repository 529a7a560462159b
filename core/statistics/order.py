"""An order of images by a value, in which ties fall where they may.

Images come sorted by path, and how hard they are often follows it: ties broken by position would
make the first of a folder the ones that show a cue.
"""

from __future__ import annotations

import numpy as np

from core.types import FloatArray, IntArray

SEED = 8_675_309
"""Of the order among equals, the same at every call."""


def falling(values: FloatArray) -> IntArray:
    """Rows of values (n,) or (n, m) by falling value, of every column; NaN last.

    Equal values stand in a random order that depends on their places alone.
    """
    values = np.asarray(values)
    drawn = np.random.default_rng(SEED).permutation(len(values))
    found: IntArray = drawn[np.argsort(-values[drawn], axis=0, kind="stable")]
    return found
