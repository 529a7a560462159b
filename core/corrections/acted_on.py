"""What a mitigation acts on: cues decided spurious, and the training images that speak of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.audits.audit import Audit
from core.audits.subject import fitting_rows
from core.candidates.candidate import Candidate, factors
from core.candidates.kinds import KINDS
from core.candidates.linear_kinds import Units
from core.corrections.evidence import HIDDEN, SHOWN, UNKNOWN, Cue, Evidence, high_against_low
from core.errors import InputError
from core.measures.scope import has
from core.storage.workspace import Workspace
from core.tags.decisions import Decisions, decided, linear_piece, values_of
from core.tags.log import TagStore
from core.types import BoolArray, IntArray

REPORTED = 1 / 3
"""Share of the images of every class kept for reporting where the data has one split alone."""


@dataclass(frozen=True)
class Findings:
    """The cues that a mitigation acts on, among everything that was decided."""

    chosen: dict[str, list[Candidate]]
    """Spurious candidates to act on, by raw label of their class; never empty."""
    decisions: Decisions
    """All of them: what was not acted on is reported, too."""

    @property
    def keys(self) -> list[str]:
        """``LABEL/kind-component`` of every chosen cue."""
        return [str(candidate.key) for found in self.chosen.values() for candidate in found]


def find(
    audit: Audit,
    workspace: Workspace,
    *,
    classes: Sequence[str] = (),
    cues: Sequence[str] = (),
    threshold: int | None = None,
) -> Findings:
    """The tagged cues to act on: all, those of some classes, or the named ones.

    Parameters
    ----------
    classes : labels, displayed names or ``#index``.
    cues : keys as texts, ``van/pca-0``.
    threshold : votes that decide a tag.

    Raises
    ------
    InputError
        If nothing is decided spurious, a class has no such candidate, or a cue is not one of them.
    """
    decisions = decided(audit, TagStore.open(workspace), threshold)
    found = {label: list(candidates) for label, candidates in decisions.spurious.items()}
    remedy = "tag one on the page Components or Tagging, or: python -m core tags add"
    if not found:
        raise InputError(f"no candidate of audit {audit.name!r} is decided spurious; {remedy}")
    if classes:
        wanted = [audit.class_facts(name) for name in classes]
        for facts in wanted:
            if facts.label not in found:
                raise InputError(
                    f"class {facts.name!r} of audit {audit.name!r} has no candidate decided "
                    f"spurious; {remedy}"
                )
        found = {facts.label: found[facts.label] for facts in wanted}
    if cues:
        found = _named(found, cues)
    return Findings(found, decisions)


def _named(found: dict[str, list[Candidate]], cues: Sequence[str]) -> dict[str, list[Candidate]]:
    known = {str(c.key): c for of in found.values() for c in of}
    chosen: dict[str, list[Candidate]] = {}
    for cue in dict.fromkeys(cues):
        if cue not in known:
            raise InputError(
                f"cue {cue!r} is not decided spurious; these are: {', '.join(list(known)[:8])}"
            )
        chosen.setdefault(known[cue].key.label, []).append(known[cue])
    return chosen


def cue_of(audit: Audit, candidate: Candidate) -> Cue:
    """A candidate as the methods take it: its alpha stays what the candidate's is, where linear."""
    arrays, kind = audit.class_arrays(candidate.class_idx), KINDS.chosen(candidate.key.kind)
    weight, mean = (np.asarray(v, np.float64) for v in (arrays.pca.weight, arrays.pca.mean))
    if isinstance(kind, Units):
        return Cue(candidate.class_idx, kind.unit(arrays, candidate.key.number), weight, mean)
    linear = linear_piece(audit, candidate)
    found = factors(linear.direction, linear.offset, weight, mean)
    return Cue(candidate.class_idx, *found)


@dataclass(frozen=True)
class Gathered:
    """Evidence of an audit, and which of its images stay for reporting."""

    evidence: Evidence
    rows: IntArray
    """(N,) rows of ``audit.images`` that the evidence holds."""
    fitted_on: IntArray | None
    """The same where the data has no further split to report on; else None."""
    basis: str
    """How the images with and without the cue were told apart, in words."""


def gather(
    audit: Audit, findings: Findings, *, attribute: str | None = None, seed: int = 0
) -> Gathered:
    """Stored features and pseudo-labels of the training images; no image is decoded.

    High against low alpha within the cue's class says who shows it, or an attribute of the data
    does. Where the data has one split alone, a third of every class is held back for reporting.

    Raises
    ------
    InputError
        If the attribute is unknown.
    """
    rows = learnable(audit, seed=seed)
    images = audit.images.iloc[rows]
    labels = np.array([audit.head.index(label) for label in images["label"]], np.int64)
    pairs = [(label, c) for label, found in findings.chosen.items() for c in found]
    shows = None if attribute is None else has(audit, attribute).iloc[rows]
    columns = [
        _states(audit, label, candidate, rows) if shows is None else _of_attribute(shows)
        for label, candidate in pairs
    ]
    evidence = Evidence(
        features=audit.store.features(images.index.tolist()),
        labels=labels,
        cues=tuple(cue_of(audit, candidate) for _, candidate in pairs),
        present=np.stack(columns, axis=1),
        seed=seed,
    )
    only = fitting_rows(audit.images).all()
    basis = f"attribute {attribute}" if attribute else "high against low alpha within the class"
    return Gathered(evidence, rows, rows if only else None, basis)


def learnable(audit: Audit, *, seed: int = 0) -> IntArray:
    """Rows of ``audit.images`` that methods may learn from: training images with an output."""
    fitting = fitting_rows(audit.images)
    known = audit.images["label"].isin(audit.head.outputs).to_numpy(dtype=bool)
    if not fitting.all():
        return np.flatnonzero(fitting & known)
    return np.flatnonzero(known & ~_reported(audit.images["label"], seed))


def _reported(labels: pd.Series, seed: int) -> BoolArray:
    """(n,) a random REPORTED of every class; at least one image stays to learn from."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), bool)
    for rows in labels.groupby(labels.to_numpy()).indices.values():
        count = min(round(REPORTED * len(rows)), len(rows) - 1)
        chosen[rng.permutation(rows)[:count]] = True
    return chosen


def _states(audit: Audit, label: str, candidate: Candidate, rows: IntArray) -> NDArray[np.int8]:
    """Pseudo-labels of one cue: alpha divides its class, of other images nothing is known."""
    arrays = audit.class_arrays(candidate.class_idx)
    place = audit.rows_of(arrays.image_ids)
    alpha = values_of(audit, label, [candidate])[:, 0]
    kept = np.isin(place, rows) & np.isfinite(alpha)
    alpha = alpha[kept]
    found = np.full(len(audit.images), UNKNOWN, np.int8)
    found[place[kept]] = high_against_low(alpha)
    return found[rows]


def _of_attribute(shows: pd.Series) -> NDArray[np.int8]:
    states = shows.map({True: SHOWN, False: HIDDEN}).fillna(UNKNOWN)
    return np.asarray(states.to_numpy(), np.int8)
