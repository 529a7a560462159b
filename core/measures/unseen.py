"""What a model, or the mean of several, says of labelled images that it did not see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.audits.audit import Audit
from core.audits.folds import said_of, unseen_logits
from core.audits.subject import fitting_rows
from core.errors import InputError
from core.measures.shared_images import shared_images
from core.statistics.estimates import Bounds
from core.statistics.forecasts import fitted_temperature, mean_probability
from core.storage.files import read_array, there
from core.storage.workspace import Workspace
from core.types import FloatArray, IntArray

VAL = ("val", "valid", "validation")
"""Splits that a temperature is fitted on, where others are held out beside them."""

NUMBERS = 5_000_000
"""Logits that a temperature is fitted on at most: 5,000 images of 1,000 classes."""

FEWEST = 20
"""Images that a temperature is fitted on."""


class Said(NamedTuple):
    """What is said of n images."""

    ids: list[str]
    logits: FloatArray
    """(n, K)."""
    labels: IntArray
    """(n,) output of each label."""
    split: str
    """Which images these are."""


def said(audit: Audit) -> Said:
    """The held-out images whose label is an output.

    Raises
    ------
    InputError
        If there is none.
    """
    ids, labels = _labelled(audit, audit.images.index[audit.held_out].tolist())
    if not ids:
        raise InputError(
            f"no held-out image of audit {audit.name!r} has a label among the model's outputs, "
            "so that nothing is known of its calibration"
        )
    return Said(ids, unseen_logits(audit, ids), labels, said_of(audit))


def _labelled(audit: Audit, ids: Sequence[str]) -> tuple[list[str], IntArray]:
    """Those of some images whose label is an output, and these outputs."""
    places = {label: index for index, label in enumerate(audit.head.outputs)}
    labels = audit.images_of(list(ids))["label"].map(places).dropna()
    return labels.index.tolist(), labels.to_numpy(np.int64)


def members_of(audit: Audit, names: Sequence[str]) -> list[Audit]:
    """The other models of an ensemble, from the audit's workspace."""
    workspace = Workspace(audit.folder.parent.parent)
    return [Audit.open(workspace, name) for name in names]


def ensemble(audit: Audit, members: Sequence[Audit]) -> tuple[Said, Said]:
    """The audit alone, and the mean of all probabilities, as :func:`each_and_mean`."""
    alone, *_, together = each_and_mean([audit, *members])
    return alone, together


def each_and_mean(audits: Sequence[Audit]) -> list[Said]:
    """Every model alone and, last, the mean of all probabilities, on the images held out in all.

    Raises
    ------
    InputError
        If they share no such image, or a member does not choose among the audit's classes.
    """
    audit, *members = audits
    shared = shared_images(audits)
    ids, labels = _labelled(audit, shared.held.index.tolist())
    if not ids:
        raise InputError("no shared held-out image has a label among the outputs of the models")
    parts = [unseen_logits(audit, ids)]
    for member in members:
        if set(member.head.outputs) != set(audit.head.outputs):
            raise InputError(
                f"audit {member.name!r} has other classes than {audit.name!r}: probabilities can "
                "be averaged where the outputs are the same"
            )
        order = [member.head.index(label) for label in audit.head.outputs]
        parts.append(unseen_logits(member, ids)[:, order])
    split = said_of(audit)
    return [Said(ids, part, labels, split) for part in (*parts, mean_probability(parts))]


class Cooled(NamedTuple):
    """A temperature, and what to divide the logits of images by that it was not fitted on."""

    value: float
    low: float
    high: float
    n: int
    """Images that it was fitted on."""
    on: str
    """Which these are."""
    of_images: FloatArray
    """(m,) of every image that is asked about, fitted on other images; NaN where there is none."""


def cooled(audit: Audit, asked: Said, *, alone: bool = True) -> Cooled | None:
    """The temperature of the images, fitted on a split for validation where there is one.

    Else on the training images, out of fold, where a probe was fitted on them; else on either half
    of the images for the other half. None of too few.

    Parameters
    ----------
    alone : whether it is the audit's own model that is asked, and no ensemble.
    """
    splits = audit.images_of(asked.ids)["split"].astype(str)
    own = splits.isin(VAL).to_numpy(bool)
    if FEWEST <= own.sum() < len(own):
        found = _fitted(asked.logits[own], asked.labels[own])
        names = " + ".join(sorted(splits[own].unique()))
        at = np.where(own, np.nan, found[0])
        return Cooled(*found, int(own.sum()), f"split {names}", at)
    if alone and (training := _out_of_fold(audit)) is not None:
        found = _fitted(*training)
        at = np.full(len(own), found[0])
        return Cooled(*found, len(training[1]), "training images, out of fold", at)
    return _halves(asked) if len(own) >= 2 * FEWEST else None


def _fitted(logits: FloatArray, labels: IntArray) -> Bounds:
    """The temperature of these images, of a fixed random part where they are many."""
    most = max(NUMBERS // logits.shape[1], FEWEST)
    if len(labels) <= most:
        return fitted_temperature(logits, labels)
    rows = np.sort(np.random.default_rng(0).choice(len(labels), most, replace=False))
    return fitted_temperature(logits[rows], labels[rows])


def _out_of_fold(audit: Audit) -> tuple[FloatArray, IntArray] | None:
    """Logits out of fold and labels of training images, where there are others to ask about."""
    fitting, path = fitting_rows(audit.images), audit.files.head.out_of_fold
    if fitting.all() or not there(path) or fitting.sum() < FEWEST:
        return None
    labels = [audit.head.index(label) for label in audit.images["label"][fitting]]
    return read_array(path, mapped=True).astype(np.float64), np.array(labels, np.int64)


def _halves(asked: Said) -> Cooled:
    """Either half, drawn at random, has the temperature of the other one."""
    n = len(asked.ids)
    first = np.isin(np.arange(n), np.random.default_rng(0).permutation(n)[: n // 2])
    at = np.empty(n)
    for half in (first, ~first):
        at[~half] = _fitted(asked.logits[half], asked.labels[half])[0]
    found = _fitted(asked.logits, asked.labels)
    return Cooled(*found, n, "either half of the held-out images, for the other", at)
