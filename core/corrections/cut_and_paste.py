"""Cut and paste in the stored maps: the head learns that a region is neither reason nor loss.

The region of a tagged candidate, a part above all, is taken away from images of its class, whose
label stays, and put into images of others, whose label stays. With pooling before the head all of
these are known from the maps of the pass: no image is decoded and no network is run.
"""

from __future__ import annotations

import numpy as np

from core.corrections.evidence import Evidence, Pairs
from core.corrections.methods import Method
from core.corrections.pairs import CUT, REPLACED
from core.corrections.rectified import with_weights
from core.corrections.rrclarc import closed
from core.corrections.softmax import SUBSAMPLE, fit_softmax, sample_rows
from core.errors import InputError
from core.models.linear import Head
from core.types import FloatArray, IntArray

ANCHOR = 0.1
"""Penalty on leaving the given head (:func:`core.corrections.softmax.fit_softmax`): strong, since
there are fewer images than features, and composites do not show all that a cue adds."""

REGIONS = (CUT, REPLACED)


def cut_and_paste(head: Head, evidence: Evidence, strength: float, *, region: str = CUT) -> Head:
    """The head fitted on images and composites, with a penalty on what a pair's difference does.

    Minimises the cross-entropy over images and composites, every class and kind of image counting
    alike, plus strength * |W D^T|^2 over the differences D of the same images with and without the
    region, plus a penalty on leaving the given head.

    Parameters
    ----------
    strength : weight of the differences, without unit; 0 leaves the head as it is.
    region : what is put in place of the region on images of the class: ``cut`` leaves it out,
        ``replaced`` has the same places of another class's image.

    Raises
    ------
    InputError
        If there are no stored maps to cut and paste in.
    """
    pasted, erased = evidence.pairs, evidence.erased.get(region)
    if pasted is None or erased is None:
        raise InputError(
            "parts cuts and pastes in stored maps, and none are kept of these training images: run "
            "the same audit again, which keeps those of a sample, or choose pclarc"
        )
    if not strength:
        return head
    rows = sample_rows(evidence.labels, SUBSAMPLE, evidence.seed)
    x = np.concatenate([evidence.features[rows], pasted.shown, erased.hidden])
    labels = np.concatenate([evidence.labels[r] for r in (rows, pasted.rows, erased.rows)])
    kind = np.repeat(np.arange(3), [len(rows), len(pasted.rows), len(erased.rows)])
    penalty = closed(np.concatenate([differences(pasted), differences(erased)]), strength)
    weights = alike(3 * labels + kind)
    found = fit_softmax(x, labels, head, anchor=ANCHOR, penalty=penalty, weights=weights)
    return with_weights(head, *found)


def differences(pairs: Pairs) -> FloatArray:
    """Differences (P, D) of all pairs, their squared lengths summing to 1 per cue."""
    shifts = pairs.shown.astype(np.float64) - pairs.hidden
    for cue in np.unique(pairs.cue):
        rows = pairs.cue == cue
        shifts[rows] /= max(float(np.linalg.norm(shifts[rows])), 1e-12)
    return shifts


def alike(groups: IntArray) -> FloatArray:
    """Weights (n,) that sum to 1 over every group."""
    _, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    found: FloatArray = 1 / counts[place.reshape(-1)]
    return found


PARTS = Method(
    name="parts",
    title="Cut and paste of the region",
    fit=cut_and_paste,
    strengths=(0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
    published=10.0,
    source="this project, on stored maps",
    remark="Also where every image of the class shows the cue; needs stored maps, and moves the "
    "head further than a projection.",
    options={"region": REGIONS},
)
