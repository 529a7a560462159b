"""Identities of the corrections of the head, as the largest difference of both sides."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.measure import Line

WITHIN = 1e-5


def run() -> list[Line]:
    """Every identity on the wired network with the patch on 40 % of class 0."""
    from benchmarks.whitebox import fixture

    found = fixture(0.4, n=1200)
    errors = {
        "SpuFix matched on its own model, component": matched(found)[0],
        "SpuFix matched on its own model, beta and alpha": matched(found)[1],
        "SpuFix, fused and image by image": fused(found),
        "RR-ClArC, closed form and autograd, relative": penalties(found),
        "signal vector and difference of means": signal(found),
        "P-ClArC once and twice, relative": twice(found),
    }
    return [
        Line(what, error, f"<= {WITHIN:g}", "", error <= WITHIN) for what, error in errors.items()
    ]


def matched(f: Any) -> tuple[float, float]:
    """The component and its alpha on other images, found again by largest covariance."""
    from core.candidates.pca import match_directions
    from core.tags.carry import largest_covariance

    cue = f.evidence.cues[0]
    own = f.evidence.features[f.evidence.labels == 0]
    alpha = cue.alpha(own)[:, None]
    unit = match_directions(alpha, own * cue.weight)[0][0]
    apart = np.abs(np.sign(unit @ cue.unit) * unit - cue.unit).max()
    direction, offset = largest_covariance(alpha, own.astype(np.float64), cue.weight)
    found = f.features @ direction - offset
    return float(apart), float(np.abs(found - cue.alpha(f.features)).max())


def fused(f: Any) -> float:
    """One product against the projection of every image, relative to the largest logit."""
    from core.corrections.head_methods import mitigate

    cue, features = f.evidence.cues[0], f.features
    fast = mitigate("spufix", f.head, f.evidence, 1.0).logits(features)[:, 0]
    slow = f.head.logits(features)[:, 0].astype(np.float64)
    for n, phi in enumerate(features):
        beta = cue.unit.sum() * (cue.unit @ (cue.weight * phi - cue.mean))
        slow[n] -= max(beta, 0)
    return float(np.abs(fast - slow).max() / np.abs(slow).max())


def penalties(f: Any) -> float:
    """|W V|^2 against the mean squared gradient along v, summed over classes."""
    import torch

    from core.corrections.rrclarc import closed

    weight = f.head.weight.astype(np.float64)
    vector = np.random.default_rng(0).normal(size=(1, weight.shape[1]))
    phi = torch.tensor(f.features[:50], dtype=torch.float64, requires_grad=True)
    slow = 0.0
    for row in torch.tensor(weight):
        (gradient,) = torch.autograd.grad((phi @ row).sum(), phi)
        slow += float(((gradient @ torch.tensor(vector[0])) ** 2).mean())
    return abs(closed(vector, 1.0)(weight)[0] - slow) / slow


def signal(f: Any) -> float:
    """The regression slope cov(a, t) / var(t) against the difference of means."""
    from core.corrections.concepts import concept_of
    from core.corrections.evidence import HIDDEN, SHOWN

    rows = [f.attribute.rows(0, state) for state in (SHOWN, HIDDEN)]
    a = np.concatenate([f.attribute.features[r] for r in rows]).astype(np.float64)
    t = np.arange(len(a)) < len(rows[0])
    slope = ((a - a.mean(0)) * (t - t.mean())[:, None]).mean(0) / t.var()
    found = concept_of(f.attribute, 0, "signal")
    return float(np.abs(found.vector * found.length - slope).max())


def twice(f: Any) -> float:
    """The projected head against the head projected again, relative to the largest weight."""
    from core.corrections.head_methods import mitigate

    once = mitigate("pclarc", f.head, f.attribute, 1.0)
    again = mitigate("pclarc", once, f.attribute, 1.0)
    return float(np.abs(again.weight - once.weight).max() / np.abs(once.weight).max())
