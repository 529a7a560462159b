"""Two audits over the same images: which images flip, and which components belong together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.audit import Audit
from core.discover.pca import match_directions
from core.errors import InputError
from core.types import FloatArray


def shared_images(a: Audit, b: Audit) -> pd.DataFrame:
    """The images of both audits, indexed by ``image_id``.

    Columns: path, label, split (of ``a``); ``prediction_a``, ``prediction_b`` (raw labels),
    ``confidence_a``, ``confidence_b``, ``correct_a``, ``correct_b``.
    """
    names = ["prediction", "confidence", "correct"]
    left = a.images[["path", "label", "split", *names]].copy()
    right = b.images[names].copy()
    left["prediction"] = np.array(a.head.outputs, object)[left["prediction"].to_numpy()]
    right["prediction"] = np.array(b.head.outputs, object)[right["prediction"].to_numpy()]
    left = left.rename(columns={name: f"{name}_a" for name in names})
    return left.join(right.rename(columns={name: f"{name}_b" for name in names}), how="inner")


def match_components(a: Audit, b: Audit, label: str) -> pd.DataFrame:
    """For every component of a class in ``a``, its counterpart in ``b``, best matched first.

    The direction of ``b`` with the largest covariance (:func:`core.discover.pca.match_directions`),
    fitted on the class's shared training images.

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
    in_a, in_b = a.class_facts(label)["class_idx"], b.class_facts(label)["class_idx"]
    arrays_a, arrays_b = a.class_arrays(in_a), b.class_arrays(in_b)
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
    psi = b.store.features([arrays_b.image_ids[i] for i in right]) * arrays_b.pca.weight
    _, matched = match_directions(alpha_a, psi)
    between = correlation(alpha_a, alpha_b)
    best = between.argmax(axis=1)
    share = {
        side: audit.candidates.query("class_idx == @index and kind == 'pca'")[
            "variance_share"
        ].to_numpy()
        for side, audit, index in (("a", a, in_a), ("b", b, in_b))
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


def correlation(x: FloatArray, y: FloatArray) -> FloatArray:
    """Pearson correlation (m, q) of the columns of x (n, m) and y (n, q); 0 for constant ones."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.linalg.norm(x, axis=0)[:, None] * np.linalg.norm(y, axis=0)[None]
    found: FloatArray = np.divide(x.T @ y, scale, out=np.zeros_like(scale), where=scale > 0)
    return found
