"""What the tags of an audit amount to: candidates decided core or spurious, and spuriosity."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.candidates.candidate import Candidate, LinearFunctional, alpha_along
from core.candidates.key import CandidateKey
from core.errors import InputError
from core.statistics.spuriosity import ranking, spuriosity
from core.tags.called import NAMELESS, Names, names_of
from core.tags.log import TagStore, standing
from core.tags.votes import KEYS, answers, count_votes
from core.types import FloatArray, Tag


class Tagged(Mapping[str, list[Candidate]]):
    """Decided candidates by raw label of their class; a class is read when it is asked for.

    Parameters
    ----------
    keys : every decided candidate, by raw label; all of them exist.
    """

    def __init__(self, audit: Audit, keys: dict[str, list[CandidateKey]]) -> None:
        self.keys_of = keys
        self._audit = audit
        self._read: dict[str, list[Candidate]] = {}

    def __getitem__(self, label: str) -> list[Candidate]:
        keys = self.keys_of[label]
        if label not in self._read:
            arrays = self._audit.arrays_of(label)
            self._read[label] = [arrays.candidate(key.kind, key.number) for key in keys]
        return self._read[label]

    def __contains__(self, label: object) -> bool:
        return label in self.keys_of

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys_of)

    def __len__(self) -> int:
        return len(self.keys_of)

    @property
    def plain(self) -> dict[str, list[tuple[str, int]]]:
        """The keys without their class, as fingerprints of what was stored hold them."""
        return {
            label: [(key.kind, key.number) for key in keys] for label, keys in self.keys_of.items()
        }


@dataclass(frozen=True)
class Decisions:
    """The candidates that enough people gave the same tag."""

    spurious: Tagged
    core: Tagged
    notes: tuple[str, ...] = ()
    """Decided tags that could not be used, in words."""
    names: Names = NAMELESS
    """What people call the audit's candidates, decided or not."""


def decided(audit: Audit, store: TagStore, threshold: int | None = None) -> Decisions:
    """The candidates of an audit that are decided core or spurious.

    Parameters
    ----------
    threshold : votes that decide (:func:`core.tags.votes.needed`).

    Raises
    ------
    InputError
        If the threshold is below 1.
    """
    if threshold is not None and threshold < 1:
        raise InputError(f"threshold {threshold}: must be at least 1")
    history = store.history(audit.id)
    votes = count_votes(answers(standing(history)), threshold=threshold)
    classes = {facts.label: facts for facts in audit.classes}
    found: dict[str, dict[str, list[CandidateKey]]] = {Tag.SPURIOUS: {}, Tag.CORE: {}}
    notes = []
    votes = votes[votes["decision"].isin([*found])]
    for label, kind, component, decision in votes[[*KEYS, "decision"]].itertuples(index=False):
        facts = classes.get(label)
        key = CandidateKey(label, kind, int(component))
        there = 0 if facts is None else audit.count(facts, key.kind)
        if 0 <= key.number < there:
            found[decision].setdefault(label, []).append(key)
            continue
        why = "the class is not audited" if facts is None else "there is none"
        if there:
            why = f"it has numbers 0 to {there - 1}"
        notes.append(f"the tag on {kind} {component} of {label!r} is left out: {why}")
    spurious, core = (Tagged(audit, found[tag]) for tag in (Tag.SPURIOUS, Tag.CORE))
    return Decisions(spurious, core, tuple(notes), names_of(history))


def values_of(audit: Audit, label: str, candidates: Sequence[Candidate]) -> FloatArray:
    """Alpha (n, m) float64 of some candidates on every image of their class.

    NaN of an image whose maps a candidate needs, and which has none.
    """
    arrays = audit.arrays_of(label)
    columns = []
    for candidate in candidates:
        stored = arrays.alpha_of(candidate.key)
        columns.append(audit.known_alpha(candidate, arrays.image_ids) if stored is None else stored)
    return np.stack(columns, axis=1) if columns else np.zeros((len(arrays.image_ids), 0))


def linear_piece(audit: Audit, candidate: Candidate) -> LinearFunctional:
    """A candidate as a direction: itself, or the mean slope over its class's training images.

    Its offset makes the mean over these images that of the candidate's alpha.

    Raises
    ------
    InputError
        If it needs maps, and none of these images has any.
    """
    if isinstance(candidate, LinearFunctional):
        return candidate
    arrays = audit.class_arrays(candidate.class_idx)
    known = np.isfinite(values_of(audit, candidate.key.label, [candidate])[:, 0])
    rows = np.flatnonzero(np.asarray(arrays.fitting, bool) & known)
    fitted = [arrays.image_ids[i] for i in rows]
    direction = audit.slope(candidate, fitted).mean(axis=0, dtype=np.float64)
    plain = alpha_along(audit.features(fitted), direction, 0.0)
    offset = float(np.mean(plain - audit.alpha(candidate, fitted)))
    return LinearFunctional(candidate.class_idx, direction, offset)


def spuriosity_of(audit: Audit, label: str, candidates: Sequence[Candidate]) -> pd.DataFrame:
    """Every image of a class, highest spuriosity first.

    Parameters
    ----------
    candidates : the class's spurious ones (``decided(…).spurious[label]``); by z-score of alpha,
        so that higher always means more evidence for the class.

    Returns
    -------
    Columns: ``image_id``, ``split``, ``held_out`` (figures are measured on it), ``spuriosity``
    (NaN without a candidate that varies), ``rank`` (1 is the highest), ``correct`` (out of fold
    where a probe was fitted on it), ``confidence``, ``prediction`` (raw label).
    """
    facts = audit.class_facts(label)
    arrays = audit.class_arrays(facts.class_idx)
    values = values_of(audit, facts.label, candidates)
    scores = spuriosity(values, np.asarray(arrays.fitting, bool))
    rows = audit.rows_of(arrays.image_ids)
    images = audit.images.iloc[rows]
    table = pd.DataFrame(
        {
            "image_id": arrays.image_ids,
            "split": images["split"].to_numpy(),
            "held_out": audit.held_out[rows],
            "spuriosity": scores,
            "rank": 0,
            "correct": images["fair"].to_numpy(dtype=bool),
            "confidence": images["confidence"].to_numpy(dtype=np.float64),
            "prediction": np.array(audit.head.outputs, object)[images["prediction"].to_numpy()],
        }
    )
    table = table.iloc[ranking(scores)].reset_index(drop=True)
    table["rank"] = np.arange(1, len(table) + 1)
    return table


TENTHS = 10


def tenths_of_cues(
    audit: Audit, decisions: Decisions, among: Collection[str] | None = None
) -> pd.Series:
    """Tenth of its class that an image is in by spuriosity, 1 to 10, by image id.

    1 shows least of the tagged cues of its class. Of images of classes with tagged cues alone;
    without any there is none.

    Parameters
    ----------
    among : images that are ranked; default all.
    """
    placed = [_tenths(audit, decisions, label, among) for label in decisions.spurious]
    return pd.concat(placed) if placed else pd.Series(dtype=np.int64, name="tenth")


def _tenths(
    audit: Audit, decisions: Decisions, label: str, among: Collection[str] | None
) -> pd.Series:
    ranked = spuriosity_of(audit, label, decisions.spurious[label]).dropna(subset="spuriosity")
    if among is not None:
        ranked = ranked[ranked["image_id"].isin(among)]
    place = np.arange(len(ranked))[::-1]
    tenth = place * TENTHS // max(len(ranked), 1) + 1
    return pd.Series(tenth, index=ranked["image_id"], name="tenth", dtype=np.int64)
