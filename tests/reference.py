"""Slow replicas of the formulas, straight from the papers, for comparison."""

from __future__ import annotations

import numpy as np


def class_pca(features: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """Neural PCA by np.cov and a full eigh (Neuhaus et al. 2023, section 3)."""
    psi = features.astype(np.float64) * weight.astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(psi.T))
    order = np.argsort(-values)
    return psi.mean(axis=0), values[order], vectors[:, order]


def alpha(features: np.ndarray, weight: np.ndarray, mean: np.ndarray, u: np.ndarray) -> np.ndarray:
    """alpha(x) = <1, u> <u, psi(x) - mean>, image by image."""
    return np.array([u.sum() * float(u @ (weight * phi - mean)) for phi in features])


def newcombe(a: int, n: int, b: int, m: int, z: float) -> tuple[float, float]:
    """Newcombe's hybrid score interval for a/n - b/m, method 10."""

    def wilson(x: int, size: int) -> tuple[float, float]:
        p = x / size
        root = z * np.sqrt(p * (1 - p) / size + z * z / (4 * size * size))
        return (
            (p + z * z / (2 * size) - root) / (1 + z * z / size),
            (p + z * z / (2 * size) + root) / (1 + z * z / size),
        )

    (l1, u1), (l2, u2), p1, p2 = wilson(a, n), wilson(b, m), a / n, b / m
    return (
        p1 - p2 - np.sqrt((p1 - l1) ** 2 + (u2 - p2) ** 2),
        p1 - p2 + np.sqrt((u1 - p1) ** 2 + (p2 - l2) ** 2),
    )


def heatmap(maps: np.ndarray, direction: np.ndarray, offset: float) -> np.ndarray:
    """q . A(p) - c at every position, position by position."""
    d, h, w = maps.shape
    found = np.zeros((h, w))
    for y in range(h):
        for x in range(w):
            found[y, x] = sum(direction[j] * maps[j, y, x] for j in range(d)) - offset
    return found
