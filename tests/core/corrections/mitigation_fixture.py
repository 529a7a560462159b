"""A head on random features with one direction that a class leans on, for mitigation tests."""

from __future__ import annotations

import numpy as np

from core.candidates.pca import class_pca
from core.corrections.evidence import Cue, Evidence, Pairs, high_against_low
from core.corrections.pairs import CUT, REPLACED
from core.models.linear import Head

D, CLASSES = 12, 3


def make_head(rng: np.random.Generator) -> Head:
    weight = rng.normal(size=(CLASSES, D)).astype(np.float32)
    weight[:, 0] = (2.0, -0.5, -0.5)
    names, bias = ["a", "b", "c"], np.array([-14, 0, 0], np.float32)
    return Head(weight, bias, names, names, "keep")


def make_evidence(
    rng: np.random.Generator, head: Head, *, n: int = 90, cues: int = 1, pairs: bool = False
) -> Evidence:
    """Class means apart; class 0 needs a strong direction that two thirds of it have."""
    labels = np.arange(n) % CLASSES
    shift = 4.0 * (np.arange(D) == 0)
    features = rng.normal(size=(n, D)) + 2 * head.weight[labels] * (np.arange(D) > 0)
    shows = (rng.random(n) < 2 / 3) & (labels == 0)
    features += shows[:, None] * shift
    features = features.astype(np.float32)
    own = np.flatnonzero(labels == 0)
    pca = class_pca(features[own], head.weight[0], 5)
    found = tuple(Cue(0, pca.basis[:, m], pca.weight, pca.mean) for m in range(cues))
    present = np.full((n, cues), -1, np.int8)
    for m, cue in enumerate(found):
        present[own, m] = high_against_low(cue.alpha(features[own]), 0.3)
    made, erased = None, {}
    if pairs:
        rows = np.flatnonzero(labels != 0)
        moved = features[rows] + shift + rng.normal(0, 0.1, (len(rows), D))
        made = Pairs(moved.astype(np.float32), features[rows], rows * 0, rows=rows)
        plain = (features - shows[:, None] * shift).astype(np.float32)[own]
        without = Pairs(features[own], plain, own * 0, rows=own)
        erased = {CUT: without, REPLACED: without}
    return Evidence(features, labels, found, present, made, erased)
