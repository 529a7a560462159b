"""The images that several audits have in common, and what every model says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.subject import fitting_rows
from core.errors import InputError
from core.models.precision import unlike
from core.statistics.intervals import log_softmax
from core.storage.files import read_array, there
from core.types import BoolArray, FloatArray, IntArray, count_of


@dataclass(frozen=True)
class Shared:
    """Images with the same id, content and label in every audit."""

    audits: tuple[Audit, ...]
    images: pd.DataFrame
    """Indexed by ``image_id``, by label, then id. Columns: ``path``, ``label``, ``split``,
    ``held_out`` (in every audit), then one per attribute; as the first audit has them."""
    notes: tuple[str, ...]
    """What was left out, in words."""
    _kept: dict[str, FloatArray] = field(default_factory=dict, repr=False)

    @cached_property
    def held(self) -> pd.DataFrame:
        """The rows that every figure is measured on."""
        return self.images[self.images["held_out"]]

    def correct(self, audit: Audit) -> BoolArray:
        """(n,) whether a model is right on every held-out image, out of fold where fitted on it."""
        return self._of(audit, "correct").astype(bool)

    def confidence(self, audit: Audit) -> FloatArray:
        """(n,) its probability of what it predicts there."""
        return self._of(audit, "confidence")

    def _of(self, audit: Audit, what: str) -> FloatArray:
        key = f"{audit.id}/{what}"
        if key not in self._kept:
            values = _fair_confidence(audit) if what == "confidence" else audit.images["fair"]
            rows = audit.rows_of(self.held.index)
            self._kept[key] = values.to_numpy(dtype=np.float64)[rows]
        return self._kept[key]

    @cached_property
    def labels(self) -> list[str]:
        """Labels of the held-out images, sorted."""
        return sorted(self.held["label"].unique().tolist())

    def rows(self, label: str) -> IntArray:
        """Places among the held-out images of those of a class."""
        return self._places.get(label, np.zeros(0, np.int64))

    @cached_property
    def _places(self) -> dict[str, IntArray]:
        labels = self.held["label"]
        return {
            str(label): rows for label, rows in labels.groupby(labels.to_numpy()).indices.items()
        }


def _fair_confidence(audit: Audit) -> pd.Series:
    """Probability of the prediction; out of fold where a probe was fitted on the image."""
    found = audit.images["confidence"].copy()
    path = audit.files.head.out_of_fold
    fitting = fitting_rows(audit.images)
    if there(path) and fitting.all():
        found[:] = np.exp(log_softmax(read_array(path)).max(axis=1))
    return found


def images_of(audit: Audit) -> Shared:
    """The images of one audit, as those that it shares with itself."""
    names = ["path", "label", "split", *audit.summary.attributes]
    table = audit.images[names].assign(held_out=audit.held_out).sort_index(kind="stable")
    return Shared((audit,), table.sort_values("label", kind="stable"), ())


def shared_images(audits: Sequence[Audit]) -> Shared:
    """What several audits have in common.

    Raises
    ------
    InputError
        If fewer than two audits are given, one of them twice, or they share no held-out image.
    """
    if len(audits) < 2 or len({audit.id for audit in audits}) < len(audits):
        raise InputError("a comparison needs two or more different audits; name each of them once")
    first = audits[0]
    names = ["path", "label", "split", "digest", *first.summary.attributes]
    table = first.images[names].assign(held_out=first.held_out)
    notes = [note for note in [unlike([audit.manifest for audit in audits])] if note]
    for audit in audits[1:]:
        rows = audit.rows_of(table.index)
        table, rows = table[rows >= 0], rows[rows >= 0]
        other = audit.images[["label", "digest"]].iloc[rows]
        same = np.all([table[of].to_numpy() == other[of].to_numpy() for of in other], axis=0)
        if changed := int((~same).sum()):
            n = count_of(changed, "image has", "images have")
            notes.append(f"{n} another content or label in {audit.name!r}: left out")
        table = table.assign(held_out=table["held_out"] & audit.held_out[rows])[same]
    if not table["held_out"].any():
        listed = ", ".join(repr(audit.name) for audit in audits)
        raise InputError(
            f"the audits {listed} share {count_of(len(table), 'image')}, none held out in all; "
            "audit the same data with each model"
        )
    fewest = min(len(audit.images) for audit in audits)
    if len(table) < fewest:
        notes.append(
            f"{count_of(len(table), 'image is', 'images are')} shared; the smallest audit has "
            f"{fewest}"
        )
    table = table.drop(columns="digest").sort_index(kind="stable")
    return Shared(tuple(audits), table.sort_values("label", kind="stable"), tuple(notes))


def both_predictions(a: Audit, b: Audit) -> pd.DataFrame:
    """The images of both audits, indexed by ``image_id``.

    Columns: path, label, split (of ``a``); ``prediction_a``, ``prediction_b`` (raw labels),
    ``confidence_a``, ``confidence_b``, ``correct_a``, ``correct_b`` of the model as it is, which
    may know the image; ``fair_a``, ``fair_b``, whether a head that did not see it is right, and
    ``held_out_a``, ``held_out_b``, whether figures are measured on it.
    """
    names = ["prediction", "confidence", "correct", "fair"]
    left = a.images[["path", "label", "split", *names]].assign(held_out=a.held_out)
    right = b.images[names].assign(held_out=b.held_out)
    names = [*names, "held_out"]
    left["prediction"] = np.array(a.head.outputs, object)[left["prediction"].to_numpy()]
    right["prediction"] = np.array(b.head.outputs, object)[right["prediction"].to_numpy()]
    left = left.rename(columns={name: f"{name}_a" for name in names})
    return left.join(right.rename(columns={name: f"{name}_b" for name in names}), how="inner")
