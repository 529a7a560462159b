"""Sets of images by name, as the audited model sees them: a split, an attribute, another audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.evaluation_set import evaluation_sets
from core.audits.folds import unseen_logits
from core.audits.subject import fitting_rows
from core.errors import InputError, SpurioscopeError
from core.statistics.anomaly import Known
from core.storage.files import read_array, there
from core.storage.workspace import Workspace
from core.types import BoolArray, FloatArray, IntArray

MOST, KNOWN = 20_000, 5_000
"""Images of a set that are asked about, and those that they are held against, at most: a fixed
random part."""


class ImageSet(NamedTuple):
    """Images as the audited model sees them."""

    name: str
    ids: pd.Index
    """(n,) of the audit whose images they are."""
    features: FloatArray
    """(n, D)."""
    logits: FloatArray
    """(n, K), of a head that was not fitted on them."""
    own: bool = True
    """Whether they are images of the audit itself."""


def drawn(ids: pd.Index, most: int, seed: int = 0) -> pd.Index:
    """At most so many of some images, in their order; always the same."""
    if len(ids) <= most:
        return ids
    rows = np.random.default_rng(seed).choice(len(ids), most, replace=False)
    return ids[np.sort(rows)]


def held_out(audit: Audit) -> ImageSet:
    """The images that figures are measured on."""
    return _of(audit, "held-out images", audit.images.index[audit.held_out])


def _of(audit: Audit, name: str, ids: pd.Index, most: int = MOST) -> ImageSet:
    ids = drawn(ids, most)
    listed = ids.tolist()
    return ImageSet(name, ids, audit.features(listed), unseen_logits(audit, listed))


def named(audit: Audit, name: str) -> ImageSet:
    """Images by a split, ``ATTRIBUTE=VALUE``, an evaluation set, or another audit.

    Raises
    ------
    InputError
        If there are none of that name; the remedy is named.
    """
    rows = _own(audit, name)
    if rows.any():
        return _of(audit, name, audit.images.index[rows])
    if (found := evaluation_sets(audit).get(name)) is not None:
        return _foreign(audit, found.name, found.images.index, found.features)
    return _elsewhere(audit, name)


def _own(audit: Audit, name: str) -> BoolArray:
    """(N,) the audit's images of a split, or the held-out ones of ``ATTRIBUTE=VALUE``."""
    attribute, equals, value = name.partition("=")
    if equals and attribute in audit.summary.attributes:
        rows = (audit.images[attribute].astype(str) == value).to_numpy(bool)
        return np.asarray(audit.held_out & rows)
    return np.asarray((audit.images["split"] == name).to_numpy(bool))


def set_key(audit: Audit, name: str) -> str:
    """Changes with the images that a name stands for; no feature is read.

    Raises
    ------
    InputError
        As :func:`named`.
    """
    if _own(audit, name).any() or name in evaluation_sets(audit):
        return name  # what these are is in the audit's key, and in that of its sets
    return _other(audit, name).manifest.fingerprint


def _foreign(
    audit: Audit, name: str, ids: pd.Index, features: Callable[[Sequence[str]], FloatArray]
) -> ImageSet:
    """Images that the audit's head never saw; it chooses among all of its outputs."""
    ids = drawn(ids, MOST)
    values = features(ids.tolist())
    return ImageSet(name, ids, values, audit.head.logits(values), own=False)


def _elsewhere(audit: Audit, name: str) -> ImageSet:
    """The images of another audit of the same network, as this audit's head sees them."""
    other = _other(audit, name)
    return _foreign(audit, other.name, other.images.index, other.features)


def _other(audit: Audit, name: str) -> Audit:
    """Another audit of the same network."""
    try:
        other = Audit.open(Workspace(audit.folder.parent.parent), name)
    except SpurioscopeError as error:
        splits = ", ".join(sorted(audit.images["split"].unique()))
        attributes = ", ".join(f"{of}=VALUE" for of in audit.summary.attributes) or "no attribute"
        sets = ", ".join(evaluation_sets(audit)) or "none"
        raise InputError(
            f"{name!r} names no images: give a split ({splits}), {attributes}, an evaluation set "
            f"(there is {sets}) or another audit of the same network; {error}"
        ) from None
    if (
        other.manifest.parts.weights != audit.manifest.parts.weights
        or other.preprocess != audit.preprocess
    ):
        raise InputError(
            f"audit {other.name!r} is of another network or prepares images in another way, so "
            f"that its features are none of audit {audit.name!r}"
        )
    return other


def known(audit: Audit, name: str = "") -> tuple[pd.Index, Known]:
    """What images are held against: those of a set, by default the training images.

    Logits of images that a probe was fitted on are out of fold. The ids are empty where the images
    are another audit's.
    """
    if name:
        found = named(audit, name)
        rows = pd.Index(drawn(pd.RangeIndex(len(found.ids)), KNOWN)).to_numpy(np.int64)
        ids = found.ids[rows] if found.own else found.ids[:0]
        return ids, Known(found.features[rows], found.logits[rows])
    fitting = audit.images.index[fitting_rows(audit.images)]
    ids = drawn(fitting, KNOWN)
    path = audit.files.head.out_of_fold
    if there(path):
        logits = read_array(path, mapped=True)[fitting.get_indexer(ids)].astype(np.float64)
    else:
        logits = unseen_logits(audit, ids.tolist())
    return ids, Known(audit.features(ids.tolist()), logits)


def places(ids: Sequence[str] | pd.Index, among: pd.Index) -> IntArray:
    """(n,) place of every image among others, -1 where it is not one of them."""
    found: IntArray = among.get_indexer(pd.Index(ids)).astype(np.int64)
    return found


def sets_key(audit: Audit) -> list[str]:
    """Changes with the evaluation sets of an audit."""
    every = evaluation_sets(audit).values()
    return [f"{each.name} {each.facts.source} {len(each.images)}" for each in every]
