"""Which pixels stand out from what surrounds the images of their class.

The published mechanisms are steered by a network that was trained on drawn masks (U2-Net). Here the
boundary prior takes its place (Wei et al., *Geodesic Saliency Using Background Priors*, ECCV 2012):
what is at the frame of an image is background. It uses images and labels and nothing else, and
fails where objects touch the frame or have the colours of their backgrounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.types import BoolArray, FloatArray, IntArray

FRAME = 3
"""Pixels from the border that are background. MNIST digits keep 4 of 28."""
BINS = 16
"""Bins per colour channel."""
BLUR = 0.7
"""Deviation of the smoothing of histograms (bins) and of log odds (pixels)."""
LARGEST = 0.5
"""Share of the pixels inside the frame that can stand out: foreground means the smaller part."""
CERTAIN = 4.0
"""Log odds are cut here, so that no single colour settles its surroundings."""
FLOOR = 1e-3
"""Pixels that every bin has before any are counted."""


def frame_saliency(pixels: NDArray[np.uint8], labels: IntArray) -> FloatArray:
    """Probability that a pixel is not of the background of its class, (n, h, w) in [0, 1].

    Per class, the colours inside the frame are a mixture of the frame's own and of others. Most
    colours of a background are of the background alone, so the median over its pixels of how much
    rarer they are inside is the background's share there; what exceeds it is the others.

    Parameters
    ----------
    pixels : (n, h, w, 3) uint8; every class is taken by itself.
    labels : (n,).

    Raises
    ------
    InputError
        If nothing is left inside the frame.
    """
    frame = np.ones(pixels.shape[1:3], bool)
    frame[FRAME:-FRAME, FRAME:-FRAME] = False
    if frame.all():
        raise InputError(
            f"images {pixels.shape[1]} x {pixels.shape[2]}: saliency needs more than "
            f"{2 * FRAME} pixels a side"
        )
    found = np.zeros(pixels.shape[:3], np.float32)
    for label in np.unique(labels):
        mine = labels == label
        found[mine] = _of_class(_bins(pixels[mine]), frame)
    return found


def _bins(pixels: NDArray[np.uint8]) -> IntArray:
    """The bin of every pixel's colour, (n, h, w)."""
    step = (pixels // (256 // BINS)).astype(np.int64)
    found: IntArray = (step[..., 0] * BINS + step[..., 1]) * BINS + step[..., 2]
    return found


def _of_class(bins: IntArray, frame: BoolArray) -> FloatArray:
    from scipy.ndimage import gaussian_filter
    from scipy.special import expit

    background, everything = _histogram(bins[:, frame]), _histogram(bins[:, ~frame])
    ratios = np.sort((everything / background)[bins[:, frame]], axis=None)
    share = float(np.clip(1 - ratios[len(ratios) // 2], 1 / bins.size, LARGEST))
    other = np.maximum(everything - (1 - share) * background, FLOOR / bins.size)
    log_odds = np.log(other / ((1 - share) * background)).clip(-CERTAIN, CERTAIN)
    found: FloatArray = expit(2 * gaussian_filter(log_odds[bins], (0, BLUR, BLUR)))
    found[:, frame] = 0
    return found


def _histogram(bins: IntArray) -> FloatArray:
    """Smoothed distribution over the bins, (BINS ** 3,), nowhere 0."""
    from scipy.ndimage import gaussian_filter

    counts = np.bincount(bins.ravel(), minlength=BINS**3).astype(np.float64)
    smooth = gaussian_filter(counts.reshape((BINS,) * 3), BLUR).ravel() + FLOOR
    found: FloatArray = smooth / smooth.sum()
    return found
