"""What a head says of images that it was not fitted on, where it was fitted on every image.

Without a further split the audit's probe knows all images and their labels. What it says of them is
told by the fold that left each out; of a changed image by the same fold, which is fitted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.audits.audit import Audit
from core.audits.subject import fitting_rows
from core.errors import SpurioscopeError
from core.models.head import fit_folds
from core.models.linear import FACTS
from core.storage.files import read_array, read_json, there
from core.types import FloatArray, IntArray

ALIKE = 0.02
"""Largest mean difference of a probability between the folds and what they said at the audit."""


def fitted_on_all(audit: Audit) -> bool:
    """Whether the audit's head, or the one that it corrects, was fitted on every image."""
    return audit.head.mode == "fit" and bool(fitting_rows(audit.images).all())


def unseen_logits(audit: Audit, image_ids: Sequence[str]) -> FloatArray:
    """Logits (n, K) of images of the audit; out of fold where the head was fitted on all of them.

    Of a corrected head they are the parent's out of fold, and what the correction adds to them.
    """
    path = audit.files.head.out_of_fold
    if not fitted_on_all(audit) or not there(path):
        return audit.head.logits(audit.features(image_ids))
    rows = audit.rows_of(image_ids)
    found: FloatArray = read_array(path, mapped=True)[rows].astype(np.float64)
    return found


def said_of(audit: Audit) -> str:
    """Which images figures of :func:`unseen_logits` are of, and whether the head knows them."""
    if fitted_on_all(audit) and not there(audit.files.head.out_of_fold):
        return "train (the head was fitted on these images)"
    return audit.summary.held_out


@dataclass(frozen=True)
class FoldHeads:
    """The heads of the folds of the audit whose head was fitted."""

    audit: Audit
    weight: FloatArray
    """(F, K, D)."""
    bias: FloatArray
    """(F, K)."""
    fold: IntArray
    """(N,) the fold that did not see each image of the audit; -1 for none."""

    def change(self, image_ids: Sequence[str], features: FloatArray) -> FloatArray:
        """What to add to the head's logits (n, K) of changed images, so that they are out of fold.

        Parameters
        ----------
        image_ids : (n,) the images that were changed; features : (n, D), rows of NaN stay so.
        """
        fold = self.fold[self.audit.rows_of(image_ids)]
        found = np.zeros((len(fold), self.bias.shape[1]))
        for number in np.unique(fold[fold >= 0]):
            rows = fold == number
            logits = features[rows] @ self.weight[number].T + self.bias[number]
            found[rows] = logits - self.audit.head.logits(features[rows])
        return found


def fold_heads(audit: Audit) -> FoldHeads | None:
    """The folds behind an audit's head, fitted again, which takes seconds; None where unknown.

    They are known where they say of the images what they said at the time of the audit.
    """
    root = _fitted(audit)
    return None if root is None else _again(root.folder, root.head_key)


def _fitted(audit: Audit) -> Audit | None:
    """The audit whose head was fitted: itself, or what it was corrected from, step by step."""
    while audit.manifest.mitigation is not None:
        try:
            audit = Audit(audit.folder.parent / audit.manifest.mitigation.parent)
        except SpurioscopeError:
            return None
    known = fitted_on_all(audit) and there(audit.files.head.out_of_fold)
    return audit if known else None


@lru_cache(maxsize=4)
def _again(folder: Path, key: str) -> FoldHeads | None:
    audit = Audit(folder)
    probe = read_json(audit.files.head.facts, FACTS).get("probe", {})
    if "C" not in probe:
        return None
    labels = np.array([audit.head.index(label) for label in audit.images["label"]], np.int64)
    ids = audit.images.index.tolist()
    features = audit.features(ids)
    found = fit_folds(features, labels, len(audit.head.outputs), float(probe["C"]))
    heads = FoldHeads(audit, found.weight, found.bias, found.fold)
    return heads if _agree(heads, ids, features) else None


def _agree(heads: FoldHeads, ids: Sequence[str], features: FloatArray) -> bool:
    """Whether the folds say of the images what is stored."""
    from scipy.special import softmax

    again = heads.audit.head.logits(features) + heads.change(ids, features)
    known = heads.fold >= 0
    away = softmax(again[known], axis=1) - softmax(unseen_logits(heads.audit, ids)[known], axis=1)
    return bool(np.abs(away).mean() < ALIKE)
