"""Group DRO and JTT on stored features: the head trained on what it gets wrong.

Sagawa, Koh, Hashimoto, Liang: Distributionally robust neural networks for group shifts (ICLR 2020),
algorithm 1. Liu et al.: Just train twice (ICML 2021), algorithm 1. Both train a whole network when
published; here the head alone, near the one that it starts from.
"""

from __future__ import annotations

import numpy as np

from core.corrections.evidence import Evidence
from core.corrections.grouping import grouping, towards
from core.corrections.head_methods import SHARES
from core.corrections.methods import Method
from core.corrections.softmax import SUBSAMPLE, feature_scale, fit_softmax, sample_rows
from core.errors import InputError
from core.models.linear import Head
from core.types import BoolArray, FloatArray, IntArray

ROUNDS, MOMENTUM = 500, 0.9
"""Steps of the weights of groups and of the head, in turns; of the head with momentum (Nesterov
1983), since all images make one step here."""

RATES = (0.1, 0.01, 0.03)
"""Step of the groups' weights, in log; published .01."""

PENALTIES = (1e-3, 1e-2, 1e-1, 1e-4)
"""Penalty on leaving the head; strong, or every group is fitted and none is worst any more."""

UPWEIGHTS = (20, 5, 50)
FIRST_PENALTY = 1e-1
"""Of JTT's first head, so strong that it learns what is easiest: its early stopping."""


def groupdro(
    head: Head, evidence: Evidence, strength: float, *, rate: float = 0.1, penalty: float = 1e-3
) -> Head:
    """The head of the least worst loss over groups, by exponentiated weights of the groups.

    Parameters
    ----------
    strength : share of the way from the head to the trained one; 1 is published.
    rate : eta, step of the weights; penalty : on leaving the head, of weights scaled by the
        features' spread.

    Raises
    ------
    InputError
        If fewer than two groups have images.
    """
    groups = grouping(evidence)
    present = groups.wanted[groups.sizes() > 0]
    if len(present) < 2:
        raise InputError("groupdro needs images of two groups of class and cue at least")
    if not strength:
        return head
    rows = np.flatnonzero(groups.of >= 0)
    rows = rows[sample_rows(groups.of[rows], SUBSAMPLE, evidence.seed)]
    member = groups.of[rows][:, None] == present
    weight, bias = _robust(
        head, evidence.features[rows], evidence.labels[rows], member, rate, penalty
    )
    return towards(head, weight, bias, strength)


def _robust(
    head: Head, x: FloatArray, labels: IntArray, member: BoolArray, rate: float, penalty: float
) -> tuple[FloatArray, FloatArray]:
    """Weight and bias after ROUNDS steps; ``member`` (n, G) says who is in which group."""
    scale, mean = feature_scale(x), x.mean(axis=0, dtype=np.float64)
    z = (np.asarray(x, np.float64) - mean) / scale
    first = np.asarray(head.weight, np.float64) * scale
    v, bias = first.copy(), np.asarray(head.bias, np.float64) + head.weight @ mean
    step = 1.0 / (0.5 * (1 + float(np.square(z).sum(axis=1).max())) + penalty)
    shares = np.full(member.shape[1], 1 / member.shape[1])
    sizes, rows = member.sum(axis=0), np.arange(len(labels))
    moved, shifted = np.zeros_like(v), np.zeros_like(bias)
    for _ in range(ROUNDS):
        ahead, level = v + MOMENTUM * moved, bias + MOMENTUM * shifted
        logits = z @ ahead.T + level
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        odds /= odds.sum(axis=1, keepdims=True)
        losses = -np.log(np.maximum(odds[rows, labels], 1e-300)) @ member / sizes
        shares *= np.exp(rate * losses)
        shares /= shares.sum()
        odds[rows, labels] -= 1
        odds *= (member @ (shares / sizes))[:, None]
        moved = MOMENTUM * moved - step * (odds.T @ z + penalty * (ahead - first))
        shifted = MOMENTUM * shifted - step * odds.sum(axis=0)
        v, bias = v + moved, bias + shifted
    weight = v / scale
    return weight, bias - weight @ mean


def jtt(
    head: Head, evidence: Evidence, strength: float, *, upweight: int = 20, penalty: float = 1e-3
) -> Head:
    """Train twice: images that a first, hardly trained head gets wrong count more in the second.

    Needs no groups and no tags: which images are wrong has to tell the cue by itself.

    Parameters
    ----------
    strength : share of the way from the head to the trained one; 1 is published.
    upweight : lambda, times that such an image counts.
    """
    if not strength:
        return head
    rows = sample_rows(evidence.labels, SUBSAMPLE, evidence.seed)
    x, labels = evidence.features[rows], evidence.labels[rows]
    wrong = first_errors(head, x, labels)
    weights = np.where(wrong, float(upweight), 1.0)
    weight, bias = fit_softmax(x, labels, head, anchor=penalty, weights=weights)
    return towards(head, weight, bias, strength)


def first_errors(head: Head, x: FloatArray, labels: IntArray) -> BoolArray:
    """(n,) images that the first head, trained from zero with a strong penalty, gets wrong."""
    blank = towards(head, np.zeros_like(head.weight), np.zeros_like(head.bias), 1.0)
    weight, bias = fit_softmax(x, labels, blank, anchor=FIRST_PENALTY)
    return np.asarray((x @ weight.T + bias).argmax(axis=1) != labels)


GROUPDRO = Method(
    name="groupdro",
    title="Group DRO: the worst group's loss",
    fit=groupdro,
    strengths=SHARES,
    published=1.0,
    source="Sagawa et al. 2020, algorithm 1, on the head",
    remark="Groups from an attribute, or estimated from the tags; a group without images stays as "
    "it is.",
    options={"rate": RATES, "penalty": PENALTIES},
    published_options={"rate": 0.01},
)
JTT = Method(
    name="jtt",
    title="JTT: what a first head gets wrong counts more",
    fit=jtt,
    strengths=SHARES,
    published=1.0,
    source="Liu et al. 2021, algorithm 1, on the head",
    remark="Needs neither tags nor groups to train; where the first head gets nothing wrong that "
    "lacks the cue, it changes nothing about it.",
    options={"upweight": UPWEIGHTS, "penalty": PENALTIES},
)
