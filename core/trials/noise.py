"""Gaussian noise under heatmaps: what a model loses when a region cannot be read.

Singla & Feizi: Salient ImageNet (ICLR 2022), section 5. Departures: the noise of an image depends
on its id alone, so that batch size and order do not matter; masks are not rounded to 8 bits, the
noisy image is, since that is what the encoder takes (rounding moves a value by at most 1/510).
"""

from __future__ import annotations

import numpy as np

from core.statistics.seeds import image_seed
from core.types import FloatArray

SIGMA = 0.25
"""Standard deviation of the published noise, on values in [0, 1]."""


def noise_of(image_id: str, shape: tuple[int, ...], *, seed: int = 0) -> FloatArray:
    """The standard normal noise (h, w, 3) float32 of an image, the same under every mask."""
    rng = np.random.default_rng(image_seed(image_id, seed))
    return rng.standard_normal(shape, dtype=np.float32)


def add_noise(
    pixels: np.ndarray,
    mask: FloatArray,
    image_id: str,
    *,
    sigma: float = SIGMA,
    seed: int = 0,
    noise: FloatArray | None = None,
) -> np.ndarray:
    """Noisy pixels clip(x + sigma z m, 0, 1), z normal, before normalisation; uint8 in, uint8 out.

    With sigma 0 or where the mask is 0 the pixels stay exactly what they were.

    Parameters
    ----------
    pixels : (h, w, 3) uint8, what the encoder sees.
    mask : (h, w) in [0, 1].
    sigma : standard deviation of the noise on values in [0, 1].
    noise : that of the image (:func:`noise_of`), to save drawing it here.

    Raises
    ------
    ValueError
        If sigma is negative, or the mask has another size or leaves [0, 1].
    """
    if not sigma >= 0:
        raise ValueError(f"sigma {sigma}: must be at least 0")
    if mask.shape != pixels.shape[:2]:
        raise ValueError(f"a mask {mask.shape} does not fit an image {pixels.shape[:2]}")
    if not (mask.min(initial=0) >= 0 and mask.max(initial=0) <= 1):
        raise ValueError("a mask leaves [0, 1]")
    z = noise_of(image_id, pixels.shape, seed=seed) if noise is None else noise
    noisy = pixels.astype(np.float32) + 255 * sigma * z * mask[:, :, None]
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
