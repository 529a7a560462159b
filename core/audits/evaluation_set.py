"""A named evaluation set of an audit: further images, apart from all that the audit was made of.

::

    sets/v2/set.json, images.parquet, plan/…, shards/…    as an audit's own, without maps
            predictions-4f0c….parquet                     what a head says of them

No figure of the audit itself looks in here: what was learnt, ranked or measured before a set came
stays as it is. A corrected model whose encoder is its parent's has the parent's sets.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from core.audits.analysis import scores_of
from core.audits.audit import Audit
from core.audits.audit_requests import check_set_names
from core.audits.folds import unseen_logits
from core.candidates.candidate import Functional, alphas_of
from core.config import SHARD_SIZE
from core.data.named_sets import KNOWN, KnownSet
from core.errors import InputError, SpurioscopeError, WorkspaceError
from core.features.shards import FeatureStore
from core.storage.documents import IMAGES
from core.storage.files import locked, read_frame, read_value, remove, write_frame
from core.storage.json_values import JsonValue
from core.storage.layout import SetFiles
from core.storage.roles import refuse_unless_may_run
from core.types import BoolArray, FloatArray, IntArray

PREDICTED = ["image_id", "prediction", "confidence", "loss", "correct"]


@dataclass(frozen=True)
class SetFacts(JsonValue):
    """What is known of a set beside its images."""

    name: str
    source: str
    """Its DATA argument."""
    root: str
    """Folder that image paths start from."""
    known: str
    """Which of the sets that people know by name it is; empty: none."""
    outputs: Mapping[str, str]
    """Label of the head's output by label of the set; labels without one have no part."""
    only: tuple[str, ...]
    """Labels of the outputs that the model chooses among; empty: all of them."""
    attributes: tuple[str, ...]
    """Columns to slice by."""
    notes: tuple[str, ...]
    """What a user should read."""


class EvaluationSet:
    """A complete set, as the head of an audit sees it.

    Parameters
    ----------
    audit : whose head is asked; files : where the set lies, in this audit or in its parent.
    facts : what is known of it, where that is not stored yet.
    """

    def __init__(self, audit: Audit, files: SetFiles, facts: SetFacts | None = None) -> None:
        self.audit, self.files = audit, files
        self.facts = facts or read_value(files.facts, SetFacts)
        self.store = FeatureStore(files.folder)

    @property
    def name(self) -> str:
        """What the user called it."""
        return self.facts.name

    @property
    def known(self) -> KnownSet | None:
        """Which of the sets that are known by name it is."""
        return next((known for known in KNOWN if known.name == self.facts.known), None)

    @cached_property
    def images(self) -> pd.DataFrame:
        """Every readable image, indexed by ``image_id``: the table's columns."""
        images = read_frame(self.files.images, needed=IMAGES)
        return images[images["readable"].astype(bool)].set_index("image_id")

    @cached_property
    def truth(self) -> IntArray:
        """(n,) the right output of every image, -1 where there is none."""
        places = {label: self._choice(out) for label, out in self.facts.outputs.items()}
        return np.array([places.get(label, -1) for label in self.images["label"]], np.int64)

    def _choice(self, label: str) -> int:
        """Output of a label, -1 where the model cannot choose it."""
        output = self.audit.head.index(label)
        return output if output in self.outputs else -1

    @cached_property
    def judged(self) -> BoolArray:
        """(n,) images that have a right output."""
        return np.asarray(self.truth >= 0)

    @cached_property
    def outputs(self) -> IntArray:
        """The outputs that the model chooses among."""
        head = self.audit.head
        if not self.facts.only:
            return np.arange(len(head.outputs))
        found = [head.index(label) for label in self.facts.only]
        return np.array([output for output in found if output >= 0], np.int64)

    def restricted(self, logits: FloatArray) -> FloatArray:
        """Logits (n, K) before any softmax, minus infinity of what cannot be chosen."""
        if len(self.outputs) == logits.shape[1]:
            return logits
        found = np.full_like(logits, -np.inf)
        found[:, self.outputs] = logits[:, self.outputs]
        return found

    def features(self, image_ids: Sequence[str]) -> FloatArray:
        """Features (n, D) float32 of some of its images."""
        return self.store.features(image_ids)

    def logits(self, image_ids: Sequence[str]) -> FloatArray:
        """Logits (n, K) of some of its images, :meth:`restricted`."""
        return self.restricted(self.audit.head.logits(self.features(image_ids)))

    @cached_property
    def predicted(self) -> pd.DataFrame:
        """What the head says of every image, indexed like ``images``, kept where it can be.

        Columns: ``prediction``, ``confidence``, ``loss``, ``correct``, as the audit's own.
        """
        path = self.files.predictions(self.audit.head_key)
        if path.exists():
            return read_frame(path, needed=PREDICTED).set_index("image_id")
        ids, parts = self.images.index.tolist(), []
        for start in range(0, len(ids), SHARD_SIZE):
            part = slice(start, start + SHARD_SIZE)
            parts.append(scores_of(self.logits(ids[part]), self.truth[part]))
        found = pd.concat(parts, ignore_index=True)
        found.insert(0, "image_id", ids)
        with contextlib.suppress(WorkspaceError):  # a workspace that only shows
            write_frame(path, found)
        return found.set_index("image_id")

    @property
    def correct(self) -> BoolArray:
        """(m,) whether the head is right, of the images that have a right output."""
        found: BoolArray = self.predicted["correct"].to_numpy(bool)[self.judged]
        return found

    def alphas(self, candidates: Sequence[Functional], image_ids: Sequence[str]) -> FloatArray:
        """Alpha (n, m) of candidates that need features alone."""
        return alphas_of(candidates, self.features(image_ids))

    def original(self) -> tuple[pd.Index, BoolArray]:
        """The audit's own held-out images of the same classes, and whether the head is right.

        The model chooses among the same outputs there, and is asked out of fold where it was fitted
        on them: otherwise two accuracies would differ by what was asked.
        """
        audit = self.audit
        classes = {audit.head.outputs[i] for i in np.unique(self.truth[self.judged])}
        mine = audit.held_out & audit.images["label"].isin(classes).to_numpy(bool)
        ids = audit.images.index[mine]
        if len(self.outputs) == len(audit.head.outputs):
            return ids, audit.images["fair"].to_numpy(bool)[mine]
        truth = np.array([audit.head.index(label) for label in audit.images["label"][mine]])
        said = [np.zeros(0, np.int64)]
        for start in range(0, len(ids), SHARD_SIZE):
            logits = unseen_logits(audit, ids[start : start + SHARD_SIZE].tolist())
            said.append(self.restricted(logits).argmax(axis=1))
        return ids, np.concatenate(said) == truth


def evaluation_sets(audit: Audit) -> dict[str, EvaluationSet]:
    """Every complete set of an audit by name: its own, and those of a parent of its encoder."""
    found: dict[str, EvaluationSet] = {}
    origin: Audit | None = audit
    while origin is not None:
        for files in origin.files.every_set():
            if files.folder.name not in found:
                found[files.folder.name] = EvaluationSet(audit, files)
        origin = _same_encoder(origin)
    return dict(sorted(found.items()))


def _same_encoder(audit: Audit) -> Audit | None:
    """What an audit was corrected from, where its encoder stayed and it is still there."""
    done = audit.manifest.mitigation
    if done is None or done.encoder_changed:
        return None
    try:
        return Audit(audit.folder.parent / done.parent)
    except SpurioscopeError:
        return None


def evaluation_set(audit: Audit, name: str) -> EvaluationSet:
    """The set of this name.

    Raises
    ------
    InputError
        If the audit has none; those it has are named.
    """
    sets = evaluation_sets(audit)
    if name not in sets:
        known = ", ".join(sets) or "none"
        raise InputError(
            f"audit {audit.name!r} has no set {name!r}; it has: {known}; add one with python -m "
            f"core audit --name {audit.name!r} --also {name}=DIR"
        )
    return sets[name]


def remove_set(audit: Audit, name: str) -> None:
    """Take a set away from an audit: its features, and what was said of them.

    Its photos stay, and so do tags and tables that were measured.

    Raises
    ------
    InputError
        If the audit has no such set, or its parent has it.
    WorkspaceError
        If the audit is being computed right now.
    """
    refuse_unless_may_run()
    check_set_names([name])
    files = audit.files.evaluation_set(name)
    if not files.folder.exists():
        evaluation_set(audit, name)  # says which there are
        raise InputError(
            f"the set {name!r} is that of the audit that {audit.name!r} was made from: remove it "
            "there"
        )
    with locked(audit.files.lock, f"audit {audit.name!r} is being computed; cancel it first"):
        remove(files.facts)  # from here on it is none
        remove(files.folder)
