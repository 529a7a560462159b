"""Pairs of images that are alike beyond chance, by a hash of 64 bits and by features; plain arrays.

Two measurements of one pair: how many bits differ, and the cosine of centred features. Chance shows
as many pairs as differ in so few bits, times the chance of such a cosine among pairs that are
composed alike but are no copies: golf balls on a lawn agree in both, and so do pictures that are
drawn before one of a few backdrops.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from core.types import FloatArray, IntArray

BITS = 64
COMPOSED = (18, 24)
"""Different bits of images that are composed alike: copies that were cut by a twentieth have 16."""

MOST = 20
"""Different bits above which nobody looks at the features."""

LIKELY = 2_000_000
"""Pairs of different images that are looked at by chance, at most."""

EXPECTED = 0.05
"""Pairs that are found by chance in a whole set, at most on average."""

SAMPLE = 3000
"""Images whose pairs say what is usual."""

BLOCK = 4096
"""Rows that are compared together."""


class Pairs(NamedTuple):
    """Pairs of rows that are alike beyond chance."""

    first: IntArray
    """(m,) below ``second``."""
    second: IntArray
    bits: IntArray
    """(m,) different bits of 64."""
    cosine: FloatArray
    """(m,) of the centred features, in [-1, 1]."""
    expected: FloatArray
    """(m,) pairs as alike as this one that chance would show in the whole set."""


def hash_signs(hashes: np.ndarray) -> FloatArray:
    """(n, 64) -1 and 1 of hashes in 16 hexadecimal digits; 0 of an empty one."""
    known = np.array([len(text) == BITS // 4 for text in hashes], bool)
    raw = np.frombuffer(bytes.fromhex("".join(hashes[known])), np.uint8).reshape(-1, BITS // 8)
    found = np.zeros((len(hashes), BITS), np.float32)
    found[known] = 2.0 * np.unpackbits(raw, axis=1) - 1
    return found


def alike(hashes: np.ndarray, features: FloatArray, *, seed: int = 0) -> Pairs:
    """Pairs of which chance would show at most :data:`EXPECTED` in the whole set.

    Parameters
    ----------
    hashes : (n,) texts (:func:`core.data.file_facts.perceptual_hash`); features : (n, D).
    """
    from scipy.stats import norm

    signs, n = hash_signs(hashes), len(hashes)
    total = n * (n - 1) / 2
    rng = np.random.default_rng(seed)
    some = rng.choice(n, min(n, SAMPLE), replace=False)
    bits, above = _bits(signs[some], signs[some]), np.triu(np.ones((len(some), len(some)), bool), 1)
    middle, spread = _bulk(bits[above])
    unit = _directions(features)
    composed = above & (bits >= COMPOSED[0]) & (bits <= COMPOSED[1])
    usual = np.sort((unit[some] @ unit[some].T)[composed])
    most = int(np.clip(middle + spread * norm.ppf(min(1.0, LIKELY / max(total, 1))), 0, MOST))
    first, second, apart = _near(signs, most)
    cosine = np.einsum("md,md->m", unit[first], unit[second])
    as_high = (1 + len(usual) - np.searchsorted(usual, cosine)) / (1 + len(usual))
    expected = _pairs_as_near(apart) * as_high
    kept = expected <= EXPECTED
    return Pairs(first[kept], second[kept], apart[kept], cosine[kept], expected[kept])


def _pairs_as_near(apart: IntArray) -> FloatArray:
    """Pairs (m,) that differ in as few bits, or fewer, counted as makes :data:`EXPECTED` hold.

    Where pairs are called whose number here times the chance of their cosine is at most e, then e
    of them are called by chance on average, over all numbers of bits.
    """
    counts = np.bincount(apart, minlength=BITS + 1)
    total = counts.cumsum()
    levels = float((counts / np.maximum(total, 1)).sum())
    found: FloatArray = total[apart] * max(levels, 1.0)
    return found


def _bulk(bits: IntArray) -> tuple[float, float]:
    """Middle and spread of different bits by quartiles, which copies do not move."""
    low, middle, high = np.quantile(bits, (0.25, 0.5, 0.75)) if len(bits) else (32.0, 32.0, 32.0)
    return float(middle), max(float(high - low) / 1.349, 1.0)


def _directions(features: FloatArray) -> FloatArray:
    """Centred rows of length 1; 0 where all are alike."""
    centred = np.asarray(features - features.mean(axis=0), np.float32)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    found: FloatArray = centred / np.maximum(lengths, 1e-12)
    return found


def _bits(left: FloatArray, right: FloatArray) -> IntArray:
    """Different bits of every pair of rows; half of them where one has no hash."""
    return np.rint((BITS - left @ right.T) / 2).astype(np.int16)


def _near(signs: FloatArray, most: int) -> tuple[IntArray, IntArray, IntArray]:
    """Every pair of at most so many different bits, in blocks."""
    found = list(_blocks(signs, most))
    first, second, apart = (np.concatenate(part) for part in zip(*found, strict=True))
    return first, second, apart


def _blocks(signs: FloatArray, most: int) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    for start in range(0, max(len(signs), 1), BLOCK):
        rows = signs[start : start + BLOCK]
        for other in range(start, max(len(signs), 1), BLOCK):
            agree = rows @ signs[other : other + BLOCK].T
            i, j = np.nonzero(agree >= BITS - 2 * most)
            later = i + start < j + other
            i, j = i[later], j[later]
            yield i + start, j + other, np.rint((BITS - agree[i, j]) / 2).astype(np.int64)


def groups(n: int, first: IntArray, second: IntArray) -> IntArray:
    """(n,) number of the group of every row that pairs connect, from 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(n, n))
    found: IntArray = connected_components(graph, directed=False)[1].astype(np.int64)
    return found
