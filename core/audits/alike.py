"""Which images of an audit are like some others, or like a text, most alike first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.errors import InputError
from core.features.embeddings import Embeddings, embed
from core.types import FloatArray, Reporter, silent

if TYPE_CHECKING:
    from core.models.text_image import TextImageModel

BLOCK = 4096
"""Images whose features are in memory at a time."""

COLUMNS = ["image_id", "likeness"]


def more_like(
    audit: Audit, image_ids: Sequence[str], count: int, among: Sequence[str] | None = None
) -> pd.DataFrame:
    """The images whose features point most in the direction of those of some images.

    By the cosine of features from which the mean of all images looked at is taken away, since all
    features of a network that ends in a ReLU lie in one corner.

    Parameters
    ----------
    image_ids : images of the audit, or one that was uploaded; they are left out.
    among : where to look; by default all images.

    Returns
    -------
    At most ``count`` rows (:data:`COLUMNS`), likeness in [-1, 1].
    """
    ids = _others(audit, image_ids, among)
    if not ids:
        return pd.DataFrame(columns=COLUMNS)
    parts = [ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK)]
    total = sum(audit.features(part).sum(axis=0, dtype=np.float64) for part in parts)
    mean = np.asarray(total) / len(ids)
    wanted = _unit(audit.features(image_ids).astype(np.float64) - mean).mean(axis=0)
    wanted = _unit(wanted[None])[0]
    found = [_unit(audit.features(part).astype(np.float64) - mean) @ wanted for part in parts]
    return _first(ids, np.concatenate(found), count)


def matching(
    audit: Audit,
    model: TextImageModel,
    text: str,
    count: int,
    among: Sequence[str] | None = None,
    report: Reporter = silent,
) -> pd.DataFrame:
    """The images that an image-text model finds most like a text; embedded where they were not.

    Returns
    -------
    As for :func:`more_like`.

    Raises
    ------
    InputError
        If the text is empty.
    """
    if not text.strip():
        raise InputError("the text to search for is empty; write what is to be seen")
    known = embed(model, audit.root, audit.store, report)
    return best(audit, known, model.texts([text])[0], count, among)


def best(
    audit: Audit,
    known: Embeddings,
    wanted: FloatArray,
    count: int,
    among: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The images whose embeddings go best with a vector (E,), as for :func:`more_like`."""
    ids = _others(audit, (), among)
    vectors = known.of(ids)
    if not ids:
        return pd.DataFrame(columns=COLUMNS)
    return _first(ids, vectors @ wanted, count)


def _others(audit: Audit, image_ids: Sequence[str], among: Sequence[str] | None) -> list[str]:
    wanted = set(image_ids)
    every = audit.images.index if among is None else among
    return [str(name) for name in every if name not in wanted]


def _unit(rows: FloatArray) -> FloatArray:
    """Rows (n, D) of length one; those of length zero stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    found: FloatArray = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return found


def _first(ids: Sequence[str], likeness: FloatArray, count: int) -> pd.DataFrame:
    order = np.argsort(-np.nan_to_num(likeness, nan=-np.inf), kind="stable")[:count]
    order = order[np.isfinite(likeness[order])]
    return pd.DataFrame({"image_id": [ids[i] for i in order], "likeness": likeness[order]})
