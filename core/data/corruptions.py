"""Pictures made worse in a dozen ways, each at five severities.

In the manner of Hendrycks & Dietterich (ICLR 2019), whose images these are not: the kinds are
common ones, the strengths this project's own, so that figures compare with each other and with no
published table. What is random belongs to the image, its kind and a seed, and is the same at every
severity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from core.statistics.seeds import image_seed
from core.types import FloatArray

SEVERITIES = (1, 2, 3, 4, 5)
"""From hardly to hardly recognisable."""

SIDE = 224
"""Pixels a side that lengths below are for; on others they go with the square root of the side, so
that a picture of 32 pixels is still blurred."""

Change = Callable[[np.ndarray, float, np.random.Generator], FloatArray | np.ndarray]
"""From pixels (h, w, 3) uint8 and a strength to values between 0 and 255."""


@dataclass(frozen=True)
class Corruption:
    """One way."""

    name: str
    words: str
    change: Change
    strengths: Sequence[float]
    """At each of SEVERITIES."""

    def of(self, pixels: np.ndarray, severity: int, image_id: str, *, seed: int = 0) -> np.ndarray:
        """An image (h, w, 3) uint8 as it is at a severity, 1 to 5; 0: as it was."""
        if not severity:
            return pixels
        number = image_seed(f"{self.name}:{image_id}", seed)
        found = self.change(pixels, self.strengths[severity - 1], np.random.default_rng(number))
        rounded: np.ndarray = np.clip(np.rint(found), 0, 255).astype(np.uint8)
        return rounded


def _gaussian_noise(pixels: np.ndarray, sigma: float, rng: np.random.Generator) -> FloatArray:
    noise: FloatArray = rng.standard_normal(pixels.shape, np.float32)
    return pixels + 255 * sigma * noise


def _shot_noise(pixels: np.ndarray, photons: float, rng: np.random.Generator) -> FloatArray:
    """So many photons of white; the noise of light that is counted."""
    found: FloatArray = rng.poisson(pixels / 255 * photons) * (255 / photons)
    return found


def _impulse_noise(pixels: np.ndarray, share: float, rng: np.random.Generator) -> FloatArray:
    """A share of the values becomes black or white; more at a higher severity, never others."""
    drawn = rng.random(pixels.shape)
    return np.where(drawn < share / 2, 0.0, np.where(drawn > 1 - share / 2, 255.0, pixels))


def _length(pixels: np.ndarray) -> float:
    return float(np.sqrt(min(pixels.shape[:2]) / SIDE))


def _gaussian_blur(pixels: np.ndarray, sigma: float, _: np.random.Generator) -> FloatArray:
    from scipy.ndimage import gaussian_filter

    radius = sigma * _length(pixels)
    found: FloatArray = gaussian_filter(
        pixels.astype(np.float32), (radius, radius, 0), mode="nearest"
    )
    return found


def _convolved(pixels: np.ndarray, kernel: FloatArray) -> FloatArray:
    """Every channel with a kernel of sum 1, edges repeated."""
    from scipy.signal import fftconvolve

    reach = kernel.shape[0] // 2
    around = np.pad(pixels.astype(np.float32), ((reach, reach), (reach, reach), (0, 0)), "edge")
    found: FloatArray = fftconvolve(
        around, kernel[:, :, None].astype(np.float32), mode="valid", axes=(0, 1)
    )
    return found


def _defocus(pixels: np.ndarray, radius: float, _: np.random.Generator) -> FloatArray:
    """A disc, as of a lens out of focus; its edge is soft."""
    wanted = max(radius * _length(pixels), 0.5)
    reach = int(np.ceil(wanted))
    away = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    disc = np.clip(wanted + 0.5 - away, 0, 1)
    return _convolved(pixels, disc / disc.sum())


def _motion(pixels: np.ndarray, length: float, rng: np.random.Generator) -> FloatArray:
    """A line in a random direction."""
    half, angle = max(length * _length(pixels) / 2, 0.5), rng.uniform(0, np.pi)
    reach = int(np.ceil(half))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    line = np.clip(half + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    return _convolved(pixels, line / line.sum())


def _fog(pixels: np.ndarray, thickness: float, rng: np.random.Generator) -> FloatArray:
    """White in clouds of all sizes; the image behind keeps its contrast in part."""
    clouds = _clouds(pixels.shape[:2], rng)[:, :, None]
    white = thickness * (0.5 + 0.5 * clouds)
    return pixels * (1 - white) + 255 * white


def _clouds(shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    """Noise (h, w) in [0, 1] of every scale, the larger the stronger."""
    from PIL import Image

    found, (height, width) = np.zeros(shape, np.float32), shape
    for level in range(1, 6):
        coarse = rng.random((2**level + 1, 2**level + 1)).astype(np.float32)
        fine = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        found += np.asarray(fine) / 2**level
    low, high = float(found.min()), float(found.max())
    return (found - low) / max(high - low, 1e-9)


def _brightness(pixels: np.ndarray, more: float, _: np.random.Generator) -> FloatArray:
    return pixels + 255 * more


def _contrast(pixels: np.ndarray, kept: float, _: np.random.Generator) -> FloatArray:
    mean = pixels.mean(axis=(0, 1), keepdims=True)
    found: FloatArray = mean + kept * (pixels - mean)
    return found


def _saturation(pixels: np.ndarray, kept: float, _: np.random.Generator) -> FloatArray:
    """Colours nearer to the grey of the same brightness, or, above 1, farther from it."""
    grey = (pixels @ np.array([0.299, 0.587, 0.114]))[:, :, None]
    found: FloatArray = grey + kept * (pixels - grey)
    return found


def _jpeg(pixels: np.ndarray, quality: float, _: np.random.Generator) -> np.ndarray:
    from PIL import Image

    written = BytesIO()
    Image.fromarray(pixels).save(written, "JPEG", quality=int(quality))
    return np.asarray(Image.open(written))


def _pixelate(pixels: np.ndarray, share: float, _: np.random.Generator) -> np.ndarray:
    """So much of either side, drawn large."""
    from PIL import Image

    height, width = pixels.shape[:2]
    few = (max(int(width * share), 1), max(int(height * share), 1))
    small = Image.fromarray(pixels).resize(few, Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST))


CORRUPTIONS: Mapping[str, Corruption] = {
    each.name: each
    for each in (
        Corruption(
            "gaussian_noise", "Gaussian noise", _gaussian_noise, (0.06, 0.1, 0.16, 0.24, 0.36)
        ),
        Corruption("shot_noise", "shot noise", _shot_noise, (80, 35, 15, 7, 4)),
        Corruption("impulse_noise", "impulse noise", _impulse_noise, (0.02, 0.05, 0.1, 0.17, 0.28)),
        Corruption("gaussian_blur", "Gaussian blur", _gaussian_blur, (1, 1.8, 2.8, 4, 6)),
        Corruption("defocus", "defocus", _defocus, (2, 3.5, 5, 7, 10)),
        Corruption("motion_blur", "motion blur", _motion, (7, 12, 18, 26, 38)),
        Corruption("fog", "fog", _fog, (0.25, 0.4, 0.55, 0.7, 0.82)),
        Corruption("brightness", "brightness", _brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
        Corruption("contrast", "contrast", _contrast, (0.6, 0.4, 0.25, 0.15, 0.08)),
        Corruption("saturation", "saturation", _saturation, (0.6, 0.3, 0.0, 3.0, 6.0)),
        Corruption("jpeg", "JPEG", _jpeg, (30, 20, 12, 8, 5)),
        Corruption("pixelate", "pixelate", _pixelate, (0.5, 0.36, 0.26, 0.18, 0.12)),
    )
}
"""By name, in the order of tables."""
