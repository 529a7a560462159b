"""Deep feature reweighting: the head fitted anew on as many images of every group.

Kirichenko, Izmailov, Wilson: Last layer re-training is sufficient for robustness to spurious
correlations (ICLR 2023), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.corrections.evidence import Evidence
from core.corrections.grouping import Grouping, grouping, required, towards
from core.corrections.methods import Method
from core.errors import InputError
from core.models.linear import Head
from core.types import BoolArray, FloatArray, IntArray

DRAWS = 10
"""Balanced subsets whose heads are averaged (published)."""

PENALTIES = (1.0, 0.3, 0.1, 0.03)
"""C tried, weak penalty to strong, among the published ones."""

FEWEST = 2
"""Images that every group needs, one for either half. A handful makes a poor head (published groups
have 56 images and more); whether it is better than none, the choice of the strength says."""


def dfr(head: Head, evidence: Evidence, strength: float) -> Head:
    """Logistic regressions with an L1 penalty on group-balanced subsets, averaged.

    Features are standardised, one class against the rest is fitted, C is the one whose worst group
    is best on the half that it was not fitted on. Fitted on training images (their DFR-Tr), since
    no other split is learnt from here.

    Parameters
    ----------
    strength : share of the way from the head to the fitted one; 1 is published.

    Raises
    ------
    InputError
        If a group has too few images, or an output has none.
    """
    groups = grouping(evidence)
    required(groups, head, FEWEST, "dfr")
    if len(groups.classes) < len(head.bias):
        raise InputError(
            f"dfr fits all {len(head.bias)} outputs of the head anew, and only "
            f"{len(groups.classes)} have training images; choose groupdro, or a fitted head"
        )
    if not strength:
        return head
    weight, bias = refitted(evidence.features, evidence.labels, groups, seed=evidence.seed)
    return towards(head, weight, bias, strength)


def refitted(
    features: FloatArray, labels: IntArray, groups: Grouping, *, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Weight (K, D) and bias (K,) over the classes that have images."""
    rng, known = np.random.default_rng(seed), np.flatnonzero(groups.of >= 0)
    mean = features[known].mean(axis=0, dtype=np.float64)
    scale = features[known].std(axis=0, dtype=np.float64)
    scale[scale < 1e-12] = 1.0
    x = (features - mean) / scale
    penalty = _penalty(x, labels, groups, rng)
    fits = []
    for _ in range(DRAWS):
        rows = balanced(groups, rng)
        fits.append(one_against_rest(x[rows], labels[rows], groups.classes, penalty))
    weight, bias = (np.mean(part, axis=0) for part in zip(*fits, strict=True))
    weight = weight / scale
    return weight, bias - weight @ mean


def balanced(
    groups: Grouping, rng: np.random.Generator, among: BoolArray | None = None
) -> IntArray:
    """Rows with as many of every group, at random: as many as the smallest has.

    Parameters
    ----------
    among : (N,) images that may be taken.
    """
    free = np.ones(len(groups.of), bool) if among is None else among
    members = [np.flatnonzero((groups.of == g) & free) for g in groups.wanted]
    count = min(len(rows) for rows in members)
    return np.concatenate([rng.permutation(rows)[:count] for rows in members])


def one_against_rest(
    features: FloatArray, labels: IntArray, classes: Sequence[int] | IntArray, penalty: float
) -> tuple[FloatArray, FloatArray]:
    """Weight (K, D) and bias (K,) of L1 logistic regressions, a class against the others each."""
    from sklearn.linear_model import LogisticRegression

    weight, bias = [], []
    for k in classes:
        fit = LogisticRegression(l1_ratio=1.0, C=penalty, solver="liblinear", random_state=0)
        fit.fit(features, labels == k)
        weight.append(fit.coef_[0])
        bias.append(fit.intercept_[0])
    return np.array(weight), np.array(bias)


def _penalty(x: FloatArray, labels: IntArray, groups: Grouping, rng: np.random.Generator) -> float:
    """The C whose worst group is best on the half of each group that it was not fitted on."""
    first = np.zeros(len(labels), bool)
    for g in groups.wanted:
        rows = rng.permutation(np.flatnonzero(groups.of == g))
        first[rows[: len(rows) // 2]] = True
    rows = balanced(groups, rng, first)
    held = ~first & (groups.of >= 0)
    worst = []
    for penalty in PENALTIES:
        weight, bias = one_against_rest(x[rows], labels[rows], groups.classes, penalty)
        given = groups.classes[(x[held] @ weight.T + bias).argmax(axis=1)]
        right = given == labels[held]
        worst.append(min(right[groups.of[held] == g].mean() for g in groups.wanted))
    return PENALTIES[int(np.argmax(worst))]


DFR = Method(
    name="dfr",
    title="DFR: last layer on balanced groups",
    fit=dfr,
    strengths=(0.0, 1.0),
    published=1.0,
    source="Kirichenko et al. 2023 (DFR-Tr)",
    remark="Needs images of every class with the cue and without: good where an attribute or many "
    "images give groups, poor where a group has a handful.",
)
