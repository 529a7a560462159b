"""SpuFix: take the positive part of tagged components off their class's logit.

Neuhaus, Augustin, Boreiko, Hein: Spurious Features Everywhere (ICCV 2023), section 5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.corrections.evidence import HIDDEN, Evidence
from core.corrections.head_methods import KEPT_FIRST, SHARES
from core.corrections.methods import Method
from core.corrections.rectified import with_correction
from core.errors import InputError
from core.models.linear import Head
from core.types import FloatArray


def spufix(head: Head, evidence: Evidence, strength: float, *, reference: str = "mean") -> Head:
    """f_k <- f_k - strength * sum_i max(beta_i, 0) for the cues v_i of class k.

    beta_i = <1, v_i> lambda_i with lambda = (V^T V)^-1 V^T (psi_k - reference), the non-orthogonal
    projection; one product for every class instead of the published loop over classes. Nothing
    but the cue's class changes, and its logit never rises. Since it falls on images without the
    cue as well, where these exceed the reference by chance, the class may be predicted too seldom:
    ``bias=refit`` of :func:`core.corrections.head_methods.mitigate` then fits the intercepts of all
    classes again (not published), after which neither of the two holds.

    Parameters
    ----------
    strength : 0 to 1; 1 is published.
    reference : ``mean`` takes off what exceeds the class's mean (published), which leaves a cue
        that most images show; ``low`` what exceeds the mean of the images that hide it.

    Raises
    ------
    InputError
        If the reference is ``low`` and no image hides a cue.
    """
    terms = [_terms(evidence, members, reference) for members in by_output(evidence)]
    read = np.concatenate([rows for rows, _ in terms])
    offset = np.concatenate([values for _, values in terms])
    outputs = [evidence.cues[m].output for members in by_output(evidence) for m in members]
    write = np.zeros((len(head.bias), len(outputs)))
    write[outputs, np.arange(len(outputs))] = strength
    return with_correction(head, read, offset, write)


def by_output(evidence: Evidence) -> list[list[int]]:
    """Indices of the cues, together where they belong to one class."""
    outputs = [cue.output for cue in evidence.cues]
    return [[m for m, o in enumerate(outputs) if o == output] for output in sorted(set(outputs))]


def _terms(
    evidence: Evidence, members: Sequence[int], reference: str
) -> tuple[FloatArray, FloatArray]:
    """Rows read (m, D) and offsets (m,) of the cues of one class."""
    cues = [evidence.cues[m] for m in members]
    units = np.stack([cue.unit for cue in cues])
    projector = units.sum(axis=1)[:, None] * np.linalg.pinv(units.T)
    levels = np.stack([_level(evidence, m, reference) for m in members])
    read = projector * np.stack([cue.weight for cue in cues])
    return read, np.einsum("md,md->m", projector, levels)


def _level(evidence: Evidence, m: int, reference: str) -> FloatArray:
    """(D,) weighted activations that count as no cue."""
    cue = evidence.cues[m]
    if reference == "mean":
        return cue.mean
    rows = evidence.rows(m, HIDDEN)
    if not len(rows):
        raise InputError(f"no image of output {cue.output} hides its cue; use reference=mean")
    found: FloatArray = evidence.features[rows].mean(axis=0, dtype=np.float64) * cue.weight
    return found


SPUFIX = Method(
    name="spufix",
    title="SpuFix",
    fit=spufix,
    strengths=SHARES,
    published=1.0,
    source="Neuhaus et al. 2023, section 5",
    remark="Takes off only what exceeds the reference: by the class's mean, a cue that most of its "
    "images show stays; weights of other classes stay in any case.",
    options={"reference": ("mean", "low"), "bias": KEPT_FIRST},
)
