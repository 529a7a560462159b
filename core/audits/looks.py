"""Pictures of several candidates of a class, in the order of the class's probability on them.

Neuhaus et al. 2023 (section 4.2) draw the first 128 components of a class and keep those whose
pictures the model is surest about; here any kind of candidates is drawn, by any method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.audits.audit import Audit
from core.audits.explained import Asked, explain, stored
from core.candidates.key import CandidateKey, keys_in
from core.candidates.linear_kinds import PCA
from core.errors import SpurioscopeError
from core.explain.explainer import Explanation
from core.types import Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

HIGH = 0.99
"""Quantile of real images that a picture is held against."""


class Look(NamedTuple):
    """One candidate and its picture."""

    key: CandidateKey
    alpha: float
    """On the picture; NaN where there is none."""
    real: float
    """The 99th percentile of alpha over the class's training images."""
    probability: float
    """Of the class on the picture; NaN where there is none."""
    words: str
    """What was done, or why there is no picture."""

    @property
    def lifted(self) -> bool:
        """Whether alpha is above that of nearly all real images."""
        return self.alpha > self.real


def leading_keys(audit: Audit, label: str, kind: str, count: int) -> list[CandidateKey]:
    """The first candidates of a kind: components by eigenvalue, others as on the page."""
    facts = audit.class_facts(label)
    table = audit.candidates
    mine = table[(table["class_idx"] == facts.class_idx) & (table["kind"] == kind)]
    by = "component" if kind == PCA else "order"
    return keys_in(mine.sort_values(by, kind="stable").head(count), facts.label)


def draw(
    audit: Audit,
    keys: Sequence[CandidateKey],
    method: str,
    *,
    seed: int = 0,
    model: Model | None = None,
    report: Reporter = silent,
) -> list[Look]:
    """Draw candidates, those that are stored not again; the class's probability first.

    Parameters
    ----------
    method : one of :mod:`core.explain.visualisation`.
    model : the loaded model, to save loading it here.
    """
    found = []
    for done, key in enumerate(keys):
        report(Progress("Drawing candidates", done, len(keys), "pictures"))
        asked = Asked.of(method, key.label, key, seed=seed)
        if stored(audit, asked) is None:
            model = model or audit.load_model()
        ((_, said),) = explain(audit, asked, model=model)
        found.append(look_of(audit, key, said))
    return sorted(found, key=lambda one: -np.nan_to_num(one.probability, nan=-1))


def drawn(audit: Audit, key: CandidateKey, method: str, seed: int = 0) -> Explanation | None:
    """The stored picture of a candidate; None where it was not drawn."""
    return stored(audit, Asked.of(method, key.label, key, seed=seed))


def look_of(audit: Audit, key: CandidateKey, said: Explanation | SpurioscopeError) -> Look:
    """A picture beside the real images of its class."""
    arrays = audit.arrays_of(key.label)
    alpha = arrays.alpha_of(key)
    alpha = audit.known_alpha(audit.candidate(key), arrays.image_ids) if alpha is None else alpha
    known = alpha[np.asarray(arrays.fitting, bool) & np.isfinite(alpha)]
    real = float(np.quantile(known, HIGH)) if len(known) else float("nan")
    if isinstance(said, SpurioscopeError):
        return Look(key, float("nan"), real, float("nan"), str(said))
    high, odds = (float(str(said.facts[name])) for name in ("alpha", "probability"))
    return Look(key, high, real, odds, said.words)
