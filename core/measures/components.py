"""Which components of two models belong together, and what sets their logits apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.class_arrays import ClassArrays
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.candidates.pca import match_directions
from core.errors import InputError
from core.explain.single import Decomposition, logit_sum
from core.statistics.intervals import correlation
from core.tags.called import NAMELESS, Names
from core.types import FloatArray


def match_components(a: Audit, b: Audit, label: str) -> pd.DataFrame:
    """For every component of a class in ``a``, its counterpart in ``b``, best matched first.

    The direction of ``b`` with the largest covariance
    (:func:`core.candidates.pca.match_directions`), fitted on the class's shared training images.

    Returns
    -------
    Columns: ``component_a``; ``quality``, the correlation of its alpha with the alpha of the
    matched direction, in [-1, 1]; ``component_b``, the component of ``b`` whose alpha correlates
    most with it, and that ``correlation``; ``share_a``, ``share_b``, shares of the logit's
    variance in either model.

    Raises
    ------
    InputError
        If the class has fewer than three shared training images.
    """
    alpha_a, alpha_b, arrays_b, right = _shared_alphas(a, b, label)
    r_a = alpha_a.shape[1]
    psi = b.store.features([arrays_b.image_ids[i] for i in right]) * arrays_b.pca.weight
    _, matched = match_directions(alpha_a, psi)
    between = correlation(alpha_a, alpha_b)
    best = between.argmax(axis=1)
    share = {
        side: audit.candidates.query("class_idx == @index and kind == 'pca'")[
            "variance_share"
        ].to_numpy()
        for side, audit in (("a", a), ("b", b))
        for index in [audit.class_facts(label).class_idx]
    }
    table = pd.DataFrame(
        {
            "component_a": np.arange(r_a),
            "quality": np.diag(correlation(alpha_a, matched)),
            "component_b": best,
            "correlation": between[np.arange(r_a), best],
            "share_a": share["a"],
            "share_b": share["b"][best],
        }
    )
    return table.sort_values("correlation", ascending=False, kind="stable", ignore_index=True)


def _shared_alphas(
    a: Audit, b: Audit, label: str
) -> tuple[FloatArray, FloatArray, ClassArrays, list[int]]:
    """Alphas of the components of both models on the class's shared training images.

    Returns them with the class in ``b`` and the places of those images there.
    """
    arrays_a = a.arrays_of(label)
    arrays_b = b.arrays_of(label)
    place = {image_id: i for i, image_id in enumerate(arrays_b.image_ids)}
    rows = [
        (i, place[image_id])
        for i, image_id in enumerate(arrays_a.image_ids)
        if arrays_a.fitting[i] and image_id in place
    ]
    if len(rows) < 3:
        raise InputError(
            f"class {label!r} has {len(rows)} shared training images; matching needs at least 3"
        )
    left, right = (list(part) for part in zip(*rows, strict=True))
    r_a, r_b = arrays_a.pca.basis.shape[1], arrays_b.pca.basis.shape[1]
    alpha_a = np.asarray(arrays_a.alpha[:, :r_a])[left].astype(np.float64)
    alpha_b = np.asarray(arrays_b.alpha[:, :r_b])[right].astype(np.float64)
    return alpha_a, alpha_b, arrays_b, right


TOGETHER = 0.5
"""Smallest correlation at which two components are called counterparts."""


def counterparts(a: Audit, b: Audit, label: str) -> list[tuple[int, int, float]]:
    """Pairs of components of a class, one to one, with their correlation; best first.

    The assignment with the largest sum of correlations; weaker pairs than TOGETHER are none.

    Raises
    ------
    InputError
        If the class has fewer than three shared training images.
    """
    from scipy.optimize import linear_sum_assignment

    alpha_a, alpha_b, *_ = _shared_alphas(a, b, label)
    between = correlation(alpha_a, alpha_b)
    rows, columns = linear_sum_assignment(between, maximize=True)
    pairs = [(int(i), int(j), float(between[i, j])) for i, j in zip(rows, columns, strict=True)]
    return sorted((p for p in pairs if p[2] >= TOGETHER), key=lambda p: -p[2])


@dataclass(frozen=True)
class Term:
    """One part of a logit, or of a margin between two, in both models; logit units."""

    label: str
    """Class whose logit it belongs to."""
    component_a: int | None
    component_b: int | None
    """None where the model has no counterpart; both None for ``what``."""
    what: str
    """``component``, ``class mean`` or ``residual``."""
    a: float
    b: float

    @property
    def change(self) -> float:
        """What it adds to the difference, ``b`` minus ``a``."""
        return self.b - self.a

    def written(self, a: Names = NAMELESS, b: Names = NAMELESS) -> str:
        """In words, with what people call the components of either audit."""
        if self.what != "component":
            return self.what
        sides = [
            f"{side} {names.written(CandidateKey(self.label, PCA, number))}"
            for side, names, number in (("A", a, self.component_a), ("B", b, self.component_b))
            if number is not None
        ]
        return " ~ ".join(sides) if len(sides) == 2 else f"only {sides[0]}"


def logit_terms(a: Audit, b: Audit, image_id: str, label: str) -> list[Term]:
    """A class's logit of one image in both models, part by part, largest difference first.

    The ``a`` of all terms sum to model A's logit and the ``b`` to model B's, exactly: the class
    mean, components paired by :func:`counterparts`, components of one model alone, and what the
    kept components miss.
    """
    sum_a, sum_b = _logit_sum(a, image_id, label), _logit_sum(b, image_id, label)
    pairs = counterparts(a, b, label)
    terms = [
        Term(label, None, None, "class mean", sum_a.start, sum_b.start),
        Term(label, None, None, "residual", sum_a.residual, sum_b.residual),
    ]
    for i, j, _ in pairs:
        terms.append(Term(label, i, j, "component", float(sum_a.alpha[i]), float(sum_b.alpha[j])))
    for i in sorted(set(range(len(sum_a.alpha))) - {i for i, *_ in pairs}):
        terms.append(Term(label, i, None, "component", float(sum_a.alpha[i]), 0.0))
    for j in sorted(set(range(len(sum_b.alpha))) - {j for _, j, _ in pairs}):
        terms.append(Term(label, None, j, "component", 0.0, float(sum_b.alpha[j])))
    return sorted(terms, key=lambda term: -abs(term.change))


def margin_terms(a: Audit, b: Audit, image_id: str, label: str, against: str) -> list[Term]:
    """The logit of one class minus that of another, part by part, largest difference first.

    What turns a prediction: it is positive where the first class wins. Parts of the other class
    count with the opposite sign.
    """
    other = [replace(term, a=-term.a, b=-term.b) for term in logit_terms(a, b, image_id, against)]
    terms = logit_terms(a, b, image_id, label) + other
    return sorted(terms, key=lambda term: -abs(term.change))


def _logit_sum(audit: Audit, image_id: str, label: str) -> Decomposition:
    arrays = audit.arrays_of(label)
    phi = np.asarray(audit.features([image_id]), np.float64)
    logit = float(audit.head.logits(phi)[0, arrays.facts.class_idx])
    return logit_sum(arrays.pca, arrays.facts.logit_mean, logit, phi[0])
