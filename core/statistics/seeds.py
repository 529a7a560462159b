"""Random numbers that belong to one image, whatever else is drawn."""

from __future__ import annotations

from hashlib import blake2b


def image_seed(image_id: str, seed: int = 0) -> int:
    """A number that belongs to one image."""
    return int.from_bytes(blake2b(f"{seed}:{image_id}".encode(), digest_size=8).digest(), "big")
