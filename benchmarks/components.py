"""Class PCA against the published way: np.cov and a full eigh."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from benchmarks.measure import Line, fastest


def published(features: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Eigenvectors of the whole covariance (Neuhaus et al. 2023, released code)."""
    psi = features * weight
    values, vectors = np.linalg.eigh(np.cov(psi.T))
    return vectors[:, np.argsort(-values)][:, :64]


def run() -> list[Line]:
    """Speed ratios at the shapes of a small data set, of ImageNet, and above."""
    from core.candidates.pca import class_pca

    lines = []
    for n, d in ((150, 1280), (1300, 2048), (3000, 1280)):
        rng = np.random.default_rng(n)
        scale = rng.gamma(0.5, 1, d)
        features = np.abs(rng.normal(size=(n, d)) * scale)
        weight = rng.normal(size=d)
        ours = fastest(lambda f=features, w=weight: class_pca(f, w, 64))
        theirs = fastest(lambda f=features, w=weight: published(f, w), 2)
        ratio = theirs / ours
        name = f"class PCA, {n} images of {d} features"
        if n < d:
            lines.append(Line(name, ratio, ">= 4", "x", ratio >= 4))
        else:  # both solve the same covariance; only the eigenpairs left out are saved
            lines.append(Line(name, ratio, "", "x"))
    return [*lines, *imagenet()]


CLASSES, IMAGES, FEATURES = 1000, 1300, 2048
MEASURED = 20
"""Classes that are computed; all are alike."""

_CLASSES = """
import sys, time
import numpy as np
from benchmarks.measure import peak_memory
from core.candidates.pca import class_pca
rng = np.random.default_rng(0)
n, d, classes = map(int, sys.argv[1:])
hidden = rng.normal(size=(200, d)).astype(np.float32)
began, seconds, bound = time.perf_counter(), 0.0, 0.0
for _ in range(classes):
    causes = rng.normal(size=(n, 200)) * np.arange(1, 201) ** -0.6
    features = np.maximum(causes @ hidden + 0.3 * rng.normal(size=(n, d)), 0).astype(np.float32)
    began = time.perf_counter()
    bound = max(bound, class_pca(features, rng.normal(size=d), 64).bound)
    seconds += time.perf_counter() - began
print(seconds, peak_memory() / 2**30, bound)
"""


def imagenet() -> list[Line]:
    """Minutes and memory of every class of ImageNet, in a process of its own."""
    command = [sys.executable, "-c", _CLASSES, *map(str, (IMAGES, FEATURES, MEASURED))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak, bound = map(float, done.stdout.split())
    minutes = seconds / MEASURED * CLASSES / 60
    shape = f"{CLASSES:,} x {IMAGES:,} x {FEATURES:,}"
    return [
        Line(
            f"class PCA of {shape}, from {MEASURED} classes", minutes, "< 15", "min", minutes < 15
        ),
        Line("its peak memory", peak, "<= 4", "GiB", peak <= 4),
        Line(
            "its largest bound, relative to the first eigenvalue", bound, "< 1e-8", "", bound < 1e-8
        ),
    ]
