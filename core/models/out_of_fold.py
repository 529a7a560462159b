"""What a linear head says of images that it did not see, whatever their number."""

from __future__ import annotations

import math

import numpy as np

from core.models.discriminant import held_out_logits
from core.models.head import fit_probe
from core.types import IntArray, Rows

LARGEST = 2**29
"""Images times features times classes up to which a probe is fitted, in minutes on two cores.
Beyond it heads follow from sums, and no more than a few thousand images are in memory."""


def out_of_fold(features: Rows, labels: IntArray, n_classes: int) -> Rows:
    """Logits (n, K) of images (n, D) by heads that were fitted without them.

    By a probe (:func:`core.models.head.fit_probe`); where there is much, by linear discriminants
    (:mod:`core.models.discriminant`). What is said of the only image of a class means nothing.

    Parameters
    ----------
    labels : (n,) integers in 0 .. n_classes - 1; every class must occur.

    Raises
    ------
    ModelError
        If there are fewer than two classes, a class has no image, or a feature is not finite.
    """
    if math.prod(features.shape) * n_classes > LARGEST:
        return held_out_logits(features, labels, n_classes)
    return fit_probe(features[np.arange(len(labels))], labels, n_classes).oof_logits
