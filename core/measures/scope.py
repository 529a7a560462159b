"""Whose model is asked, on which images, about which cues: what every figure is sampled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.folds import unseen_logits
from core.errors import InputError
from core.features.places import Places
from core.statistics.intervals import class_probability, side_size
from core.storage.table_columns import as_names
from core.tags.decisions import Decisions, spuriosity_of
from core.trials.noise import SIGMA
from core.trials.outcomes import Outcomes
from core.trials.pasted_composites import Composites, held_out_composites
from core.types import BoolArray, FloatArray, IntArray, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

NOT_ASKED = "needs pictures, which --quick left out: run the same command without it"

FALSE = {"", "0", "0.0", "false", "no", "none", "nan"}
"""Values of an attribute, in small letters, that say an image lacks it."""


@dataclass(frozen=True, eq=False)
class Scope:
    """One model, some images, the tagged cues."""

    audit: Audit
    """Whose model is asked."""
    decisions: Decisions
    parent: Audit | None = None
    """Whose tags and candidates these are, where before and after is measured: both models are
    asked about the parent's."""
    images: pd.Index | None = None
    """What figures are measured on; by default the held-out images."""
    sigma: float = SIGMA
    """Of the noise."""
    attribute: str | None = None
    """Says who shows the cue, where people asked for it."""
    pictures: bool = True
    """Whether images may be decoded."""
    same_encoder: bool = True
    """Whether the parent's encoder sees images as the audit's does."""
    made: Outcomes | None = None
    """The audit's outcomes, where they are at hand."""
    models: dict[str, Model] = field(default_factory=dict)
    """Loaded models by audit id, filled where one is needed."""
    report: Reporter = silent
    _ranked: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def owner(self) -> Audit:
        """Whose tags and candidates these are."""
        return self.parent or self.audit

    @property
    def split(self) -> str:
        """The held-out images, in words."""
        return self.audit.summary.held_out

    @cached_property
    def outcomes(self) -> Outcomes:
        """What is stored of the trials of this audit."""
        return self.made or Outcomes(self.audit, self.decisions)

    @cached_property
    def held(self) -> pd.Index:
        """Ids of the images that figures are measured on."""
        return self.audit.images.index[self.audit.held_out] if self.images is None else self.images

    @cached_property
    def _held(self) -> Places:
        return Places(as_names(self.held))

    def among(self, image_ids: Sequence[str]) -> BoolArray:
        """(n,) whether each image is one of those that figures are measured on."""
        return np.asarray(self._held.of(image_ids) >= 0)

    def mine(self, label: str = "") -> list[str]:
        """Those of a class; all of them without one."""
        return list(self.held[self._of_class.get(label, [])] if label else self.held)

    @cached_property
    def _of_class(self) -> Mapping[str, IntArray]:
        """Rows of ``held`` by label: a thousand classes ask for theirs."""
        labels = self.owner.images_of(self.held)["label"].to_numpy(object)
        found: Mapping[str, IntArray] = pd.Series(labels).groupby(labels).indices
        return found

    def correct(self, image_ids: Sequence[str]) -> FloatArray:
        """(n,) 1 where the model is right, out of fold where a head was fitted on the image."""
        found: FloatArray = self.audit.images_of(image_ids)["fair"].to_numpy(np.float64)
        return found

    def probability(self, image_ids: Sequence[str], output: int) -> FloatArray:
        """(n,) probability of an output on images of the audit, by their stored features.

        Out of fold where a head was fitted on all of them.
        """
        return class_probability(unseen_logits(self.audit, image_ids), output)

    def ranked(self, label: str) -> pd.DataFrame:
        """Images of a class that have a spuriosity, highest first: ``image_id``, ``spuriosity``."""
        if label not in self._ranked:
            table = spuriosity_of(self.owner, label, self.decisions.spurious[label])
            there = self.among(table["image_id"]) & table["spuriosity"].notna()
            self._ranked[label] = table.loc[there, ["image_id", "spuriosity"]]
        return self._ranked[label]

    def shows(self, label: str) -> tuple[pd.Series, str]:
        """Which images of a class show its cue, and how that is known.

        Returns
        -------
        shows : pandas booleans by id of the class's images; missing where nothing is said. By the
            attribute where people asked for one; else the k images of highest and of lowest
            spuriosity.
        basis : the same in words.
        """
        ids = self.mine(label)
        if self.attribute is not None:
            return has(self.owner, self.attribute).loc[ids], f"attribute {self.attribute}"
        ranked = self.ranked(label)["image_id"]
        k, found = side_size(len(ranked)), pd.Series(pd.NA, ids, dtype="boolean")
        found.loc[ranked.iloc[:k]] = True
        found.loc[ranked.iloc[len(ranked) - k :]] = False
        return found, f"the {k} images of highest and of lowest spuriosity"

    def composites(self, label: str) -> Composites:
        """The class's cue on images of the others, as the audit's encoder sees them."""
        seen_by = None if self.same_encoder else self.audit
        return held_out_composites(
            self.owner, label, self.decisions, seen_by=seen_by, models=self.models,
            report=self.report,
        )  # fmt: skip


def has(audit: Audit, attribute: str) -> pd.Series:
    """Whether every image has an attribute, as pandas booleans; missing where nothing is said.

    ``NAME=VALUE`` asks for one value, ``NAME`` for any that is not zero, empty or false.

    Raises
    ------
    InputError
        If the data has no such attribute; those it has are named.
    """
    whole = attribute in audit.summary.attributes  # whatever stands in its name
    name, equals, value = (attribute, "", "") if whole else attribute.partition("=")
    if name not in audit.summary.attributes:
        known = ", ".join(audit.summary.attributes) or "none"
        raise InputError(f"the data has no attribute {name!r}; it has: {known}")
    column = audit.images[name]
    text = column.astype(str)
    found = text == value if equals else ~text.str.lower().isin(FALSE)
    return found.astype("boolean").mask(column.isna())
