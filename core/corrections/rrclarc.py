"""RR-ClArC at the head: penalise what the head answers to a cue.

Dreyer, Pahde et al.: "From Hope to Safety" (AAAI 2024): cross-entropy plus lambda times the
squared product of the gradient with the concept vector. On a linear head the gradient of logit k
is w_k, for every image, so that the penalty over all classes is |W V|^2, a ridge on a few
directions of the head: no double backward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.corrections.clarc import ANCHOR, concepts
from core.corrections.concepts import KINDS
from core.corrections.evidence import HIDDEN, Evidence
from core.corrections.head_methods import BIAS
from core.corrections.methods import Method
from core.corrections.rectified import shrunk, with_weights
from core.corrections.softmax import SUBSAMPLE, Penalty, fit_softmax, sample_rows
from core.errors import InputError
from core.models.linear import Head
from core.types import FloatArray, IntArray

if TYPE_CHECKING:
    import torch

TARGETS = ("all_logits_random", "all_logits", "max_logit", "target_logit", "logprobs")
"""What the gradient is taken of. ``all_logits_random`` (published default) has random signs per
image and step, whose expectation is the sum over all classes: that sum is what is used here."""
FORMS = ("l2", "l1", "cosine")


def rrclarc(
    head: Head,
    evidence: Evidence,
    strength: float,
    *,
    cav: str = "auto",
    fit: str = "kept",
    target: str = "all_logits_random",
    form: str = "l2",
) -> Head:
    """The head with a penalty on its answer to the cues.

    Parameters
    ----------
    strength : lambda, at least 0; without unit: weights are scaled by the features' spread, and
        concept vectors have length 1.
    cav : kind of concept vector. ``shifts``: every pair's own difference instead of one vector per
        cue; ``auto`` is that where there are pairs, else ``signal``.
    fit : ``kept``: least change of the given head with the penalty, in closed form
        (:func:`core.corrections.rectified.shrunk`). ``refit`` (published): cross-entropy with the
        penalty from the given head on, which relearns a redundant cue from other directions.
    target, form : of the published penalty; for ``refit``. Only ``all_logits_random`` with ``l2``
        has a closed form.
    """
    if strength == 0:
        return head
    directions, origin = penalised(evidence, cav)
    if fit == "kept":
        if (target, form) != (TARGETS[0], FORMS[0]):
            raise InputError(f"fit=kept has target={TARGETS[0]} and form={FORMS[0]} alone")
        return shrunk(head, directions, origin, strength)
    rows = sample_rows(evidence.labels, SUBSAMPLE, evidence.seed)
    x, labels = evidence.features[rows], evidence.labels[rows]
    if (target, form) == (TARGETS[0], FORMS[0]):
        penalty = closed(directions, strength)
    else:
        penalty = automatic(directions, strength, x, labels, head, target, form)
    return with_weights(head, *fit_softmax(x, labels, head, anchor=ANCHOR, penalty=penalty))


def penalised(evidence: Evidence, cav: str) -> tuple[FloatArray, FloatArray]:
    """Directions (R, D) with squared lengths summing to 1 per cue, and where logits stay (D,).

    Logits stay at the mean of the images that hide the cues.
    """
    pairs = evidence.pairs
    if cav == "shifts" and pairs is None:
        raise InputError("shifts need images with and without the cue; choose signal")
    parts = []
    if pairs is not None and cav in ("auto", "shifts"):
        shifts = pairs.shown.astype(np.float64) - pairs.hidden
        cues = [pairs.cue == m for m in range(len(evidence.cues))]
        parts = [shifts[rows] / np.linalg.norm(shifts[rows]) for rows in cues if rows.any()]
    else:
        parts = [concept.vector[None] for concept in concepts(evidence, cav)]
    states = [evidence.rows(m, HIDDEN) for m in range(len(evidence.cues))]
    rows = np.unique(np.concatenate(states))
    hidden = evidence.features[rows] if len(rows) else evidence.features
    return np.concatenate(parts), hidden.mean(axis=0, dtype=np.float64)


def closed(directions: FloatArray, strength: float) -> Penalty:
    """The penalty strength |V D^T|^2 and its gradient, for directions D (R, D)."""

    def penalty(v: FloatArray) -> tuple[float, FloatArray]:
        answer = v @ directions.T
        return strength * float(np.sum(answer**2)), 2 * strength * answer @ directions

    return penalty


def automatic(
    directions: FloatArray,
    strength: float,
    features: FloatArray,
    labels: IntArray,
    head: Head,
    target: str,
    form: str,
) -> Penalty:
    """Any published target and form, differentiated by torch.

    Softmax and predictions that a target needs are those of the given head.
    """
    import torch

    mix = torch.from_numpy(_mixture(features, labels, head, target))
    lines = torch.from_numpy(np.asarray(directions, np.float64))

    def penalty(v: FloatArray) -> tuple[float, FloatArray]:
        weight = torch.from_numpy(v).requires_grad_()
        value = strength * rr_penalty(mix @ weight, lines, form)
        value.backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None
        return float(value.detach()), weight.grad.numpy()

    return penalty


def rr_penalty(gradients: torch.Tensor, directions: torch.Tensor, form: str) -> torch.Tensor:
    """Mean over images of the answer to each direction, summed over directions.

    ``l2``: (g . v)^2; ``l1``: |g . v|; ``cosine``: |cos(g, v)|, 0 where g is 0.

    Parameters
    ----------
    gradients : (n, D) of each image's target; directions : (R, D).

    Raises
    ------
    InputError
        If the form is unknown.
    """
    if form not in FORMS:
        raise InputError(f"form {form!r}: choose {', '.join(FORMS)}")
    answer = gradients @ directions.T
    if form == "l2":
        answer = answer**2
    elif form == "cosine":
        norms = gradients.norm(dim=1, keepdim=True) * directions.norm(dim=1)
        answer = answer / norms.clamp_min(1e-12)
    return answer.abs().mean(0).sum()


def _mixture(features: FloatArray, labels: IntArray, head: Head, target: str) -> FloatArray:
    """(n, K): the target's gradient in each image is this times the weight."""
    from scipy.special import softmax

    logits = head.logits(features).astype(np.float64)
    n, k = logits.shape
    eye = np.eye(k)
    if target == "target_logit":
        return np.asarray(eye[labels])
    if target == "max_logit":
        return np.asarray(eye[logits.argmax(axis=1)])
    if target == "all_logits":
        return np.ones((n, k))
    if target == "all_logits_random":
        return np.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (n, k)))
    if target != "logprobs":
        raise InputError(f"target {target!r}: choose {', '.join(TARGETS)}")
    p = softmax(logits, axis=1)
    share = p / (p + 1e-5) / k  # d mean log(p + 1e-5) = sum share (e_k - p)
    return np.asarray(share - share.sum(axis=1, keepdims=True) * p)


RRCLARC = Method(
    name="rrclarc",
    title="RR-ClArC: penalty on the answer to the cue",
    fit=rrclarc,
    strengths=(0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0),
    published=100.0,
    source="Dreyer et al. 2024",
    remark="Refitting (published) relearns a redundant cue; the kept head does not.",
    options={
        "cav": ("auto", "shifts", *KINDS),
        "fit": ("kept", "refit"),
        "bias": BIAS,
        "target": TARGETS,
        "form": FORMS,
    },
    published_options={"cav": "signal", "fit": "refit", "bias": "kept"},
)
