"""A cue of one model in the features of another: the direction of largest covariance."""

from __future__ import annotations

import numpy as np

from core.candidates.pca import match_directions
from core.corrections.evidence import Cue
from core.errors import InputError
from core.types import FloatArray


def matched_cue(values: FloatArray, features: FloatArray, weight: FloatArray, output: int) -> Cue:
    """The cue that varies most with some values on a class's shared training images.

    v is proportional to sum_x value(x) (psi(x) - mean psi) (Neuhaus et al. 2023, section 5). With
    the alpha of a component of the same model it is that component, and alpha is the same; with a
    0/1 attribute it is the difference of means.

    Parameters
    ----------
    values : (n,) alpha in the other model, or an attribute.
    features : (n, D) of the same images in this model.
    weight : (D,) row of this model's head.
    output : column of this model's head.

    Raises
    ------
    InputError
        If nothing covaries with the values, as when they are constant.
    """
    psi = np.multiply(features, weight, dtype=np.float64)
    directions, _ = match_directions(np.asarray(values, np.float64)[:, None], psi)
    if not directions.any():
        raise InputError(f"no feature varies with the cue of output {output}; give other images")
    return Cue(output, directions[0], np.asarray(weight, np.float64), psi.mean(axis=0))
