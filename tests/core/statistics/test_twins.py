"""Copies among many images: found where planted, none by chance."""

from __future__ import annotations

import numpy as np

from core.statistics.twins import alike, groups, hash_signs
from core.types import FloatArray


def drawn(rng: np.random.Generator, n: int = 600) -> tuple[np.ndarray, FloatArray]:
    hashes = np.array([rng.bytes(8).hex() for _ in range(n)])
    return hashes, rng.normal(size=(n, 40)).astype(np.float32)


def test_a_copy_is_found_and_chance_is_not(rng: np.random.Generator) -> None:
    hashes, features = drawn(rng)
    assert not len(alike(hashes, features).first)
    flipped = bytes([bytes.fromhex(hashes[5])[0] ^ 3]) + bytes.fromhex(hashes[5])[1:]
    hashes = np.append(hashes, flipped.hex())
    copy = features[5] + 0.05 * rng.normal(size=40)
    found = alike(hashes, np.concatenate([features, copy[None]]).astype(np.float32))
    assert (found.first.tolist(), found.second.tolist()) == ([5], [600])
    assert found.bits.tolist() == [2]
    assert found.cosine[0] > 0.9


def test_an_image_without_a_hash_is_like_none(rng: np.random.Generator) -> None:
    hashes, features = drawn(rng, 50)
    hashes[:2], features[1] = "", features[0]
    assert not hash_signs(hashes)[:2].any()
    assert not len(alike(hashes, features).first)


def test_few_images(rng: np.random.Generator) -> None:
    for n in (1, 2):
        hashes, features = drawn(rng, n)
        assert not len(alike(hashes, features).first)


def test_pairs_make_groups() -> None:
    assert groups(5, np.array([0, 3]), np.array([2, 2])).tolist() == [0, 1, 0, 0, 2]
