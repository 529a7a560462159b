"""Class artefact compensation at the head: projection, augmentation, and only where it is needed.

Anders et al. 2022 (ClArC: P- and A-ClArC), Bareeva et al. 2024 (reactive), and a projection whose
reading and writing directions differ. Each acts on the pooled features, where it can be folded
into the head or becomes a rectified correction of it.
"""

from __future__ import annotations

import numpy as np

from core.corrections.concepts import KINDS, Concept, concept_of
from core.corrections.evidence import Evidence
from core.corrections.head_methods import BIAS, KEPT_FIRST, SHARES
from core.corrections.methods import Method
from core.corrections.pooled import pooled_concept
from core.corrections.rectified import with_correction, with_weights, without_directions
from core.corrections.softmax import SUBSAMPLE, fit_softmax, sample_rows
from core.models.linear import Head
from core.types import FloatArray

ANCHOR = 1e-4
"""Penalty on leaving the given head (:func:`core.corrections.softmax.fit_softmax`) in a refit:
weak, yet enough to make the fit unique where there are fewer images than features."""


BEYOND = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.2)
"""Strengths of P-ClArC: above 1 for what a cue adds beside its measured direction, which a head
that most of its class's images taught answers to as well."""


POOLED = "pooled"
"""Kind of concept vector from pairs and real images (:mod:`core.corrections.pooled`)."""


def concepts(evidence: Evidence, kind: str) -> list[Concept]:
    """The concept of every cue."""
    cues = range(len(evidence.cues))
    if kind == POOLED:
        return [pooled_concept(evidence, m) for m in cues]
    return [concept_of(evidence, m, kind) for m in cues]


def pclarc(
    head: Head, evidence: Evidence, strength: float, *, cav: str = POOLED, fit: str = "kept"
) -> Head:
    """P-ClArC: every image is seen as if it hid the cue; folded into the weights.

    phi <- phi + strength (z_clean - v . phi) v, all cues at once
    (:func:`core.corrections.rectified.without_directions`).

    Parameters
    ----------
    strength : 0 to 1.2; 1 is published.
    cav : kind of concept vector; ``signal`` is published for ClArC's successors.
    fit : ``kept`` (published: no training) or ``refit`` on the projected features, which relearns
        the cue from what is left of it.
    """
    found = concepts(evidence, cav)
    vectors, levels = np.stack([c.vector for c in found]), np.array([c.hidden for c in found])
    start = without_directions(head, vectors, levels, strength)
    if fit == "kept":
        return start
    rows = sample_rows(evidence.labels, SUBSAMPLE, evidence.seed)
    moved = to_levels(evidence.features[rows], vectors, levels, strength)
    weight, bias = fit_softmax(
        moved, evidence.labels[rows], head, anchor=ANCHOR, seen=evidence.features[rows]
    )
    return without_directions(with_weights(head, weight, bias), vectors, levels, strength)


def to_levels(
    features: FloatArray, vectors: FloatArray, levels: FloatArray, strength: float = 1.0
) -> FloatArray:
    """Features (n, D) moved so that each v_m . phi goes the share ``strength`` to its level."""
    away = np.asarray(features, np.float64) @ vectors.T - levels
    found: FloatArray = features - strength * away @ np.linalg.pinv(vectors).T
    return found


def aclarc(head: Head, evidence: Evidence, strength: float, *, cav: str = "auto") -> Head:
    """A-ClArC: refit on images that all seem to show the cue, so that it says nothing.

    phi <- phi + strength (z_art - v . phi) v while fitting, left out afterwards. The augmented
    features do not vary along v, so that what the head answers to v stays; but an image with the
    cue now looks like all training images, and one without it like none. Intercepts are those of
    images that all show the cue: ``bias=refit`` of :func:`core.corrections.head_methods.mitigate`
    fits them again to images as they are (not published). One number per class cannot learn the
    cue.

    Parameters
    ----------
    strength : 0 to 1; 1 is published.
    """
    if strength == 0:
        return head
    found = concepts(evidence, cav)
    vectors, levels = np.stack([c.vector for c in found]), np.array([c.shown for c in found])
    rows = sample_rows(evidence.labels, SUBSAMPLE, evidence.seed)
    moved = to_levels(evidence.features[rows], vectors, levels, strength)
    weight, bias = fit_softmax(
        moved, evidence.labels[rows], head, anchor=ANCHOR, seen=evidence.features[rows]
    )
    return with_weights(head, weight, bias)


def rclarc(head: Head, evidence: Evidence, strength: float, *, cav: str = POOLED) -> Head:
    """R-ClArC: the projection only where the cue exceeds its level without the cue.

    Parameters
    ----------
    strength : 0 to 1; 1 takes away all that exceeds the level.
    """
    found = concepts(evidence, cav)
    vectors = np.stack([c.vector for c in found])
    taken = np.asarray(head.weight, np.float64) @ np.linalg.pinv(vectors)
    return with_correction(head, vectors, np.array([c.hidden for c in found]), strength * taken)


def projection(
    head: Head, evidence: Evidence, strength: float, *, read: str = "fisher", write: str = "auto"
) -> Head:
    """Read the cue along one direction, take away another, where it exceeds its level.

    phi <- phi - strength max(r . phi - c, 0) u. The reading direction r should whiten the
    nuisance; u, what a cue adds, should be a difference of means. r is scaled so that images that
    show the cue exceed c by 1 on average, and u is as long as that difference.

    Parameters
    ----------
    strength : 1 takes away what the average image with the cue has; more for a cue that adds more
        to images of other classes than to its own.
    read, write : kinds of concept vector.
    """
    readers, writers = concepts(evidence, read), concepts(evidence, write)
    spans = np.array([max(c.shown - c.hidden, 1e-12) for c in readers])
    rows = np.stack([c.vector for c in readers]) / spans[:, None]
    offset = np.array([c.hidden for c in readers]) / spans
    shift = np.stack([c.vector * c.length for c in writers])
    taken = np.asarray(head.weight, np.float64) @ shift.T
    return with_correction(head, rows, offset, strength * taken)


PCLARC = Method(
    name="pclarc",
    title="P-ClArC: projection",
    fit=pclarc,
    strengths=BEYOND,
    published=1.0,
    source="Anders et al. 2022",
    remark="Every image is seen as if it hid the cue; refitting afterwards relearns it.",
    options={"cav": (POOLED, "auto", *KINDS), "fit": ("kept", "refit"), "bias": BIAS},
    published_options={"cav": "signal", "bias": "kept"},
)
ACLARC = Method(
    name="aclarc",
    title="A-ClArC: augmentation",
    fit=aclarc,
    strengths=SHARES,
    published=1.0,
    source="Anders et al. 2022",
    remark="The cue turns fewer images, since training shows it everywhere; images without it may "
    "lose.",
    options={"cav": ("auto", *KINDS), "bias": KEPT_FIRST},
    published_options={"cav": "signal"},
)
RCLARC = Method(
    name="rclarc",
    title="R-ClArC: projection where the cue is",
    fit=rclarc,
    strengths=SHARES,
    published=1.0,
    source="Bareeva et al. 2024",
    remark="Images without the cue are left as they are.",
    options={"cav": (POOLED, "auto", *KINDS), "bias": BIAS},
    published_options={"cav": "signal", "bias": "kept"},
)
PROJECTION = Method(
    name="projection",
    title="Projection with separate directions",
    fit=projection,
    strengths=(0.0, 0.5, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0),
    published=1.0,
    source="P-ClArC, read along the whitened and written along the plain difference of means",
    remark="Above 1 it takes away more than images of the cue's own class show.",
    options={
        "read": ("fisher", *(kind for kind in KINDS if kind != "fisher")),
        "write": ("auto", *KINDS),
        "bias": BIAS,
    },
)
