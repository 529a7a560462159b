"""In which arithmetic an audit is computed, and what a lower one would do to its figures.

``fp32`` is the reference. A lower precision is taken by itself only where the figures hold in it:
on a sample of the training images its features move by little and no decision changes.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.storage.audit_manifest import Compute, Manifest
from core.types import FloatArray, IntArray, Precision

PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16")
"""``tf32``: fp32 whose products a GPU rounds to ten bits; ``fp16``, ten bits and no number above
65,504, and ``bf16``, seven bits: all of the network in it."""

RUNTIME_TITLES: Mapping[str, str] = {
    "eager": "torch",
    "onnx": "ONNX Runtime",
    "compiled": "torch's compiler",
}
"""What runs a network, in words."""

SAMPLE = 64
"""Images that a lower precision is tried on; all training images where there are fewer."""

FIRST = 16
"""Of them, those after which a precision is given up if most of them move too far already."""

DISTANCE = 0.01
"""Largest distance of the features that leaves the figures as they are, see :class:`Tried`. With
.04 (bf16 on EfficientNet-Lite) gaps of the leading components moved by up to 36 points."""

QUANTILE = 0.99
"""Share of the sample's images whose distance has to be within the limit."""


@dataclass(frozen=True)
class Tried:
    """What a precision did to a sample of images, against fp32."""

    precision: Precision
    images: int
    distance: float
    """Over the images, the 99th percentile of |phi - phi32| / |phi32 - mean of phi32|."""
    differing: int
    """Images that are decided otherwise."""
    typical: float = 0.0
    """The median of those distances."""
    error: str = ""
    """Why the network does not run in it; empty where it does."""

    @property
    def holds(self) -> bool:
        """Whether the figures are those of fp32."""
        return not self.error and self.distance <= DISTANCE and self.differing == 0

    @property
    def sentence(self) -> str:
        """What it does, in words."""
        if self.error:
            return f"{self.precision} does not run this model: {self.error}"
        return (
            f"{self.precision} moves the features of {self.images} sample images by "
            f"{self.distance:.2g} of their deviation (99th percentile, at most {DISTANCE:g} is "
            f"taken) and changes {self.differing} of {self.images} decisions"
        )


Encode = Callable[[FloatArray], FloatArray]
"""Images (b, h, w, 3) uint8 to features (b, D) float32."""

Decide = Callable[[FloatArray], IntArray]
"""Features (n, D) to the class decided for each, (n,)."""


def tried(precision: Precision, exact: FloatArray, lower: FloatArray, decide: Decide) -> Tried:
    """Hold features (n, D) of a lower precision against those of fp32."""
    exact, lower = np.asarray(exact, np.float64), np.asarray(lower, np.float64)
    moved = np.linalg.norm(lower - exact, axis=1)
    spread = np.linalg.norm(exact - exact.mean(axis=0), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(moved == 0, 0.0, moved / spread)
    ratio = np.where(np.isfinite(ratio), ratio, np.inf)
    typical, distance = np.quantile(ratio, [0.5, QUANTILE], method="higher")
    differing = int((decide(exact) != decide(lower)).sum())
    return Tried(precision, len(exact), float(distance), differing, float(typical))


def nearest_mean(features: FloatArray, labels: Sequence[str]) -> Decide:
    """Decisions of a head that is yet to be fitted: the class whose mean is nearest."""
    codes = np.unique(np.asarray(labels), return_inverse=True)[1]
    means = np.stack([features[codes == k].mean(axis=0) for k in range(codes.max() + 1)])

    def decide(values: FloatArray) -> IntArray:
        return np.asarray(((values[:, None] - means) ** 2).sum(axis=2).argmin(axis=1))

    return decide


def spread_over_classes(labels: Sequence[str], *, seed: int = 0) -> IntArray:
    """Positions (n,) in the order in which a sample is taken: every class in turn, seeded."""
    rng = np.random.default_rng(seed)
    _, codes, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(codes))
    by_class = shuffled[np.argsort(codes[shuffled], kind="stable")]
    starts = np.cumsum(counts) - counts
    place = np.arange(len(codes)) - np.repeat(starts, counts)
    turn = rng.permutation(len(counts))[codes[by_class]]
    return np.asarray(by_class[np.lexsort((turn, place))], np.int64)


def in_words(compute: Compute) -> str:
    """The arithmetic of an audit, with what is known of its distance from fp32."""
    precision = compute.precision
    text = f"{precision} ({compute.reason.rstrip('.')})"
    measured = any(entry["precision"] == precision for entry in compute.tried)
    if precision != "fp32" and not measured:
        text += "; how far its figures are from those of fp32 was not measured"
    if compute.shrunk:
        text += f", {compute.shrunk}"
    if not compute.runtime_reason:
        return text
    return f"{text}, run by {RUNTIME_TITLES[compute.runtime]} ({compute.runtime_reason})"


def unlike(manifests: Sequence[Manifest]) -> str:
    """That audits were computed in different arithmetic, and what makes them alike; else empty."""
    precisions = [manifest.compute.precision for manifest in manifests]
    if len(set(precisions)) < 2:
        return _by_several(manifests)
    named = ", ".join(
        f"{manifest.name} in {precision}"
        for manifest, precision in zip(manifests, precisions, strict=True)
    )
    again = [m for m, precision in zip(manifests, precisions, strict=True) if precision != "fp32"]
    commands = "; ".join(_again(manifest) for manifest in again)
    return (
        f"Computed in different arithmetic ({named}): small differences may be rounding alone. "
        f"Alike are: {commands}"
    )


def _by_several(manifests: Sequence[Manifest]) -> str:
    """That several programs computed in the same arithmetic, and how far apart they are."""
    computes = [manifest.compute for manifest in manifests]
    if len({compute.runtime for compute in computes}) < 2:
        return ""
    named = ", ".join(
        f"{each.name} by {RUNTIME_TITLES[each.compute.runtime]}" for each in manifests
    )
    apart = max((each.compared or {}).get("distance", 0.0) for each in computes)
    return (
        f"Run by different programs in {computes[0].precision} ({named}): on a sample their "
        f"features differ by at most {apart:.1g} of the deviation and no decision does, far less "
        "than any figure shows"
    )


def _again(manifest: Manifest) -> str:
    """The command that computes an audit in fp32 beside the one there is."""
    parts, name = manifest.parts, f"{manifest.name}-fp32"
    if manifest.mitigation:
        return f"a correction of the same audit made again in fp32 instead of {manifest.name}"
    words = ["python", "-m", "core", "audit", "--data", parts.data]
    words += ["--model", parts.model, "--head", parts.head]
    if checkpoint := manifest.model.checkpoint:
        words += ["--checkpoint", checkpoint]
    if limit := parts.limit_per_class:
        words += ["--limit-per-class", str(limit)]
    return shlex.join([*words, "--precision", "fp32", "--name", name])
