"""One tag set for all models: a tagged cue is found again in another model and tagged there.

A candidate of the source becomes, in the target, the direction that varies most with it on the
class's shared training images (Neuhaus et al. 2023, section 5). The direction is kept with the
target's audit and tagged in the log of tags like any other candidate, under a name that says where
the tag comes from; rankings, gaps and trials then need nothing else. A part becomes the part of the
target whose maps are most like its own (:mod:`core.tags.matched_parts`), where it has any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from core.audits.audit import Audit
from core.audits.class_arrays import ClassArrays
from core.audits.class_files import carry_direction
from core.candidates.candidate import Candidate, alpha_along, functional
from core.candidates.key import CandidateKey
from core.candidates.kinds import title_of
from core.candidates.linear_kinds import CARRIED
from core.candidates.part_kind import PART
from core.candidates.pca import match_directions
from core.errors import InputError
from core.statistics.intervals import correlation
from core.statistics.seeds import image_seed
from core.storage.files import locked
from core.tags.called import names_of, titled
from core.tags.decisions import values_of
from core.tags.log import TagEvent, TagStore, standing
from core.tags.matched_parts import matched_part, matched_parts
from core.tags.votes import answers, count_votes
from core.types import BoolArray, FloatArray, IntArray, Subtype, Tag, count_of

if TYPE_CHECKING:
    import pandas as pd

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
    part: int = -1
    """Number of the target's part that it is; -1: it becomes a direction."""
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

    @property
    def becomes(self) -> str:
        """What it is in the target, in words."""
        return title_of(PART, self.part) if self.part >= 0 else "a direction"


class _Shared(NamedTuple):
    """The images that a match is made from."""

    ids: list[str]
    left: IntArray
    """(n,) places among the class's images in the source."""
    right: IntArray
    """In the target."""
    fitting: BoolArray
    """(n,) that the match is fitted on; the others judge it."""

    def only(self, wanted: BoolArray) -> _Shared:
        """Those of some rows (n,)."""
        rows = np.flatnonzero(wanted)
        return _Shared(
            [self.ids[i] for i in rows], self.left[rows], self.right[rows], self.fitting[rows]
        )


class _Counterpart(NamedTuple):
    """What a candidate becomes in the target."""

    quality: float
    direction: FloatArray
    offset: float
    part: int = -1


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
    own = [e for e in standing(history) if not e.annotator.startswith(ANNOTATOR)]
    votes, names = count_votes(answers(own)), names_of(history)
    votes = votes[votes["decision"].isin([Tag.CORE.value, Tag.SPURIOUS.value])]
    rows = votes[votes["kind"] != CARRIED].to_dict("records")
    if not rows:
        raise InputError(
            f"audit {source.name!r} has no candidate decided core or spurious; tag some first"
        )
    found = _each_part_once([_match(source, target, row, store) for row in rows])
    return [replace(match, names=names.given.get(match.candidate.key, ())) for match in found]


def _each_part_once(matches: Sequence[Match]) -> list[Match]:
    """Of several that become one part of the target, the best; the others are refused."""
    best: dict[tuple[str, int], Match] = {}
    for match in sorted(matches, key=lambda match: -match.quality):
        if match.part >= 0 and not match.refused:
            best.setdefault((match.label, match.part), match)
    return [_unless(best.get((match.label, match.part), match), match) for match in matches]


def _unless(better: Match, match: Match) -> Match:
    if better is match or match.refused:
        return match
    why = f"{better.candidate.title} is more like {match.becomes} of the other model"
    return replace(match, refused=f"{why} (correlation {better.quality:.2f})")


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
    shared, values = _pairs(theirs, mine), values_of(source, label, [candidate])
    known = np.isfinite(values[shared.left, 0])
    parts = mine.candidates(PART) if candidate.key.kind == PART else []
    if parts:
        known &= target.store.mapped(shared.ids)
    shared = shared.only(known)
    fitting = shared.fitting
    if min(fitting.sum(), (~fitting).sum()) < FEWEST:
        return refuse(
            f"{len(shared.ids)} shared images, {int(fitting.sum())} of them for the match; it "
            f"needs {FEWEST} and as many others"
        )
    alpha = values[shared.left]
    if parts:
        found = _as_part(source, candidate, target, parts, shared)
    else:
        found = _as_direction(alpha, target, mine.pca.weight, shared)
    r = mine.pca.basis.shape[1]
    own = np.asarray(mine.alpha[:, :r], np.float64)[shared.right][~fitting]
    near = correlation(alpha[~fitting], own)[0] if r else np.zeros(0)
    return Match(
        label,
        tag,
        subtype,
        candidate,
        found.quality,
        int(fitting.sum()),
        int((~fitting).sum()),
        found.direction,
        found.offset,
        int(near.argmax()) if r else -1,
        float(near.max(initial=0)),
        _refusal(found.quality),
        found.part,
    )


def match_parts(source: Audit, target: Audit, label: str) -> pd.DataFrame:
    """For every part of a class its counterpart in another model, best matched first.

    Returns
    -------
    Columns: ``part_a`` and ``part_b``, 0-based; ``quality``, the correlation of their maps over
    images that the match was not made on, in [-1, 1]; ``refused``, why they are no match, empty
    for a good one.

    Raises
    ------
    InputError
        If either model has no parts of the class in exact maps, or too few shared images have
        maps.
    """
    import pandas as pd

    theirs, mine = source.arrays_of(label), target.arrays_of(label)
    both = (theirs.candidates(PART), mine.candidates(PART))
    for audit, parts in zip((source, target), both, strict=True):
        if not parts or not audit.exact_maps:
            raise InputError(f"audit {audit.name!r} has no parts of class {label!r} in exact maps")
    shared = _pairs(theirs, mine)
    shared = shared.only(source.store.mapped(shared.ids) & target.store.mapped(shared.ids))
    if min(shared.fitting.sum(), (~shared.fitting).sum()) < FEWEST:
        raise InputError(
            f"maps of {len(shared.ids)} shared images of class {label!r} are kept, "
            f"{int(shared.fitting.sum())} of them for a match of parts; it needs {FEWEST} and as "
            "many others"
        )
    found = matched_parts(source, both[0], target, both[1], shared.ids, shared.fitting)
    rows = [
        (of.key.number, both[1][one.place].key.number, one.quality, _refusal(one.quality))
        for of, one in zip(both[0], found, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["part_a", "part_b", "quality", "refused"])
    return table.sort_values("quality", ascending=False, kind="stable", ignore_index=True)


def _as_part(
    source: Audit,
    candidate: Candidate,
    target: Audit,
    parts: Sequence[Candidate],
    shared: _Shared,
) -> _Counterpart:
    """The target's part whose maps are most like those of a part of the source."""
    found = matched_part(source, candidate, target, parts, shared.ids, shared.fitting)
    return _Counterpart(found.quality, np.zeros(0), 0.0, parts[found.place].key.number)


def _as_direction(
    alpha: FloatArray, target: Audit, weight: FloatArray, shared: _Shared
) -> _Counterpart:
    """The target's direction that varies most with alpha (n, 1) of the source."""
    fitting, features = shared.fitting, np.asarray(target.features(shared.ids), np.float64)
    direction, offset = largest_covariance(alpha[fitting], features[fitting], weight)
    judged = alpha_along(features[~fitting], direction, offset)
    quality = float(correlation(alpha[~fitting], judged[:, None])[0, 0])
    return _Counterpart(quality, direction, offset)


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


def _pairs(theirs: ClassArrays, mine: ClassArrays) -> _Shared:
    """Shared images of a class, and which of them the match is fitted on.

    Those that both models were fitted on; where that leaves no other image, every second one by
    its id.
    """
    place = {image_id: i for i, image_id in enumerate(mine.image_ids)}
    left = np.array([i for i, name in enumerate(theirs.image_ids) if name in place], np.int64)
    ids = [theirs.image_ids[i] for i in left]
    right = np.array([place[image_id] for image_id in ids], np.int64)
    fitting = np.asarray(theirs.fitting, bool)[left] & np.asarray(mine.fitting, bool)[right]
    neither = ~np.asarray(theirs.fitting, bool)[left] & ~np.asarray(mine.fitting, bool)[right]
    if not neither.any():
        fitting = np.array([image_seed(image_id) % 2 == 0 for image_id in ids], bool)
        return _Shared(ids, left, right, fitting)
    return _Shared(ids, left, right, fitting).only(fitting | neither)


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
                wanted[_key(target, match)] = match
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
        f"{match.quality:.3f} on {count_of(match.n_judged, 'image')} that the match was not "
        "fitted on"
    )


def _key(target: Audit, match: Match) -> CandidateKey:
    """The target's candidate that is tagged; a new direction is kept with its audit."""
    if match.part >= 0:
        return CandidateKey(match.label, PART, match.part)
    path = target.files.carried_to(target.class_facts(match.label).class_idx)
    number = carry_direction(path, match.direction, match.offset)
    return CandidateKey(match.label, CARRIED, number)
