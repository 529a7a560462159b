"""Which numbers can be the mean and the std that images are normalised with."""

from __future__ import annotations

from collections.abc import Sequence

LIMITS = {"mean": (-1000.0, 1000.0), "std": (1e-4, 1000.0)}
"""What images of values in [0, 1] are normalised with: numbers beyond these are no statistics of
pixels, whose steps are 1/255 (some networks want the values 0 to 255), and end in infinity or 0."""

THREE = {part: f"three numbers from {low:g} to {high:g}" for part, (low, high) in LIMITS.items()}


def usable(part: str, values: Sequence[float]) -> bool:
    """Whether numbers can be the ``mean`` or the ``std`` that images are normalised with."""
    low, high = LIMITS[part]
    return len(values) == 3 and all(low <= value <= high for value in values)
