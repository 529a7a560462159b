"""One tag set for all models: a tagged cue is found again in another model and tagged there.

A candidate of the source becomes, in the target, the direction that varies most with it on the
class's shared training images (Neuhaus et al. 2023, section 5). The direction is kept with the
target's audit and tagged in the log of tags like any other candidate, under a name that says where
the tag comes from; rankings, gaps and trials then need nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.audits.audit import Audit
from core.audits.class_files import carry_direction
from core.candidates.candidate import Candidate, alpha_along, functional
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import CARRIED
from core.candidates.pca import match_directions
from core.errors import InputError
from core.statistics.intervals import correlation
from core.statistics.seeds import image_seed
from core.storage.files import locked
from core.tags.called import names_of, titled
from core.tags.decisions import values_of
from core.tags.log import TagEvent, TagStore, standing
from core.tags.votes import answers, count_votes
from core.types import BoolArray, FloatArray, Subtype, Tag

FEWEST = 10
"""Images that a match is fitted on, and as many others that it is judged on."""

QUALITY = 0.5**0.5
"""Smallest correlation with the source's alpha on images that the match was not fitted on: at
least half of the variance is shared."""

ANNOTATOR = "carried from "
"""How the name of an annotator begins who is no person but another audit."""


@dataclass(frozen=True)
class Match:
    """A tagged candidate of the source and its counterpart in the target."""

    label: str
    tag: Tag
    subtype: Subtype | None
    candidate: Candidate
    """Of the source."""
    quality: float
    """Correlation of both alphas on ``n_judged`` images that it was not fitted on, in [-1, 1]."""
    n_fitted: int
    n_judged: int
    direction: FloatArray
    """(D,) in the target's features."""
    offset: float
    nearest: int
    """The target's own component that correlates most with it, for orientation; -1 if none."""
    nearest_correlation: float
    refused: str
    """Why the tag is not carried over; empty where it is."""
    names: Sequence[str] = ()
    """What people call the source's candidate, the most frequent name first."""

    @property
    def title(self) -> str:
        """The source's candidate in words."""
        return titled(self.candidate.title, self.names)

    @property
    def called(self) -> str:
        """The name that comes along; empty where there is none."""
        return next(iter(self.names), "")


def annotator_of(source: Audit) -> str:
    """Name under which tags of an audit are carried over."""
    return f"{ANNOTATOR}{source.name}"[:120]


def match_tags(source: Audit, target: Audit, store: TagStore) -> list[Match]:
    """Every decided tag of the source, matched in the target; nothing is written.

    Tags that were carried to the source themselves are left alone.

    Raises
    ------
    InputError
        If source and target are the same audit, or nothing of the source is decided.
    """
    if source.id == target.id:
        raise InputError("tags are carried over to another audit, not to the one that has them")
    history = store.history(source.id)
    votes, names = count_votes(answers(standing(history))), names_of(history)
    votes = votes[votes["decision"].isin([Tag.CORE.value, Tag.SPURIOUS.value])]
    rows = votes[votes["kind"] != CARRIED].to_dict("records")
    if not rows:
        raise InputError(
            f"audit {source.name!r} has no candidate decided core or spurious; tag some first"
        )
    found = [_match(source, target, row, store) for row in rows]
    return [replace(match, names=names.given.get(match.candidate.key, ())) for match in found]


def _match(source: Audit, target: Audit, row: dict[str, Any], store: TagStore) -> Match:
    label, tag = row["label"], Tag(row["decision"])
    subtype = Subtype(row["subtype"]) if row["subtype"] else None
    theirs = source.arrays_of(label)
    candidate = theirs.candidate(row["kind"], int(row["component"]))

    def refuse(why: str) -> Match:
        nothing = np.zeros(0)
        return Match(
            label, tag, subtype, candidate, float("nan"), 0, 0, nothing, 0.0, -1, float("nan"), why
        )

    if label not in {facts.label for facts in target.classes}:
        return refuse(f"class {label!r} is not audited in {target.name!r}")
    if _tagged_by_people(target, label, store):
        return refuse(f"people tagged class {label!r} of {target.name!r} themselves")
    mine = target.arrays_of(label)
    ids, left, right, fitting = _pairs(theirs, mine)
    if min(fitting.sum(), (~fitting).sum()) < FEWEST:
        return refuse(
            f"{len(ids)} shared images, {int(fitting.sum())} of them for the match; it needs "
            f"{FEWEST} and as many others"
        )
    alpha = values_of(source, label, [candidate])[left]
    features = np.asarray(target.features(ids), np.float64)
    direction, offset = largest_covariance(alpha[fitting], features[fitting], mine.pca.weight)
    judged = alpha_along(features[~fitting], direction, offset)
    quality = float(correlation(alpha[~fitting], judged[:, None])[0, 0])
    r = mine.pca.basis.shape[1]
    own = np.asarray(mine.alpha[:, :r], np.float64)[right][~fitting]
    near = correlation(alpha[~fitting], own)[0] if r else np.zeros(0)
    return Match(
        label,
        tag,
        subtype,
        candidate,
        quality,
        int(fitting.sum()),
        int((~fitting).sum()),
        direction,
        offset,
        int(near.argmax()) if r else -1,
        float(near.max(initial=0)),
        _refusal(quality),
    )


def _refusal(quality: float) -> str:
    """Why a match of this quality is none; empty for a good one."""
    if quality >= QUALITY:
        return ""
    if quality <= -QUALITY:
        return f"reversed: what raises the logit there lowers it here (correlation {quality:.2f})"
    return f"weak match: correlation {quality:.2f}, at least {QUALITY:.2f} is asked for"


def _tagged_by_people(target: Audit, label: str, store: TagStore) -> bool:
    return any(
        e.label == label and not e.annotator.startswith(ANNOTATOR) and e.tag is not Tag.UNSURE
        for e in store.current(target.id)
    )


def _pairs(theirs: Any, mine: Any) -> tuple[list[str], list[int], list[int], BoolArray]:
    """Shared images of a class: ids, places in either audit, and which the match is fitted on.

    Those that both models were fitted on; where that leaves no other image, every second one by
    its id.
    """
    place = {image_id: i for i, image_id in enumerate(mine.image_ids)}
    left = [i for i, image_id in enumerate(theirs.image_ids) if image_id in place]
    ids = [theirs.image_ids[i] for i in left]
    right = [place[image_id] for image_id in ids]
    fitting = np.asarray(theirs.fitting, bool)[left] & np.asarray(mine.fitting, bool)[right]
    neither = ~np.asarray(theirs.fitting, bool)[left] & ~np.asarray(mine.fitting, bool)[right]
    if not neither.any():
        fitting = np.array([image_seed(image_id) % 2 == 0 for image_id in ids], bool)
        return ids, left, right, fitting
    kept = np.flatnonzero(fitting | neither)
    return (
        [ids[i] for i in kept],
        [left[i] for i in kept],
        [right[i] for i in kept],
        fitting[kept],
    )


def largest_covariance(
    alpha: FloatArray, features: FloatArray, weight: FloatArray
) -> tuple[FloatArray, float]:
    """The direction (D,) in features, and its offset, whose alpha varies most with ``alpha``.

    With the alpha of a component of the same model it is that component; with a 0/1 attribute it
    is the difference of means (Neuhaus et al. 2023, section 5). Zero where nothing covaries.

    Parameters
    ----------
    alpha : (n, 1) of the other model, or an attribute, on the class's shared images.
    features : (n, D) of the same images in this model.
    weight : (D,) row of this model's head.
    """
    psi = features * weight
    direction, offset = functional(match_directions(alpha, psi)[0][0], weight, psi.mean(axis=0))
    return direction, float(offset)


def carry_tags(source: Audit, target: Audit, store: TagStore) -> list[Match]:
    """Match every decided tag of the source and record those that match; returns all of them.

    Carrying twice records nothing twice; a carried tag whose source has been taken back since, or
    no longer matches, is taken back as well.

    Raises
    ------
    InputError
        See :func:`match_tags`.
    WorkspaceError
        If tags are being carried to this audit by another process.
    """
    found = match_tags(source, target, store)
    who = annotator_of(source)
    busy = f"tags are being carried to {target.name!r} by another process; try again"
    with locked(target.files.carried_lock, busy):
        wanted = {}
        for match in found:
            if not match.refused:
                number = _number(target, match)
                wanted[CandidateKey(match.label, CARRIED, number)] = match
        now = {e.key: e for e in store.current(target.id, who)}
        for key in sorted(now.keys() - wanted.keys()):
            store.add(who, target.id, key, None)
        for key, match in wanted.items():
            if not _says(now.get(key), match):
                store.add(
                    who,
                    target.id,
                    key,
                    match.tag,
                    subtype=match.subtype,
                    reason=_reason(source, match),
                    called=match.called,
                )
    return found


def _says(event: TagEvent | None, match: Match) -> bool:
    if event is None:
        return False
    said = (event.tag, event.subtype, event.called or "")
    return said == (match.tag, match.subtype, match.called)


def _reason(source: Audit, match: Match) -> str:
    return (
        f"{match.title} of {match.label!r} in {source.name} ({source.id}): correlation "
        f"{match.quality:.3f} on {match.n_judged} images that the match was not fitted on"
    )


def _number(target: Audit, match: Match) -> int:
    class_idx = target.class_facts(match.label).class_idx
    return carry_direction(target.files.carried_to(class_idx), match.direction, match.offset)
