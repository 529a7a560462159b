"""What an image is made of for a class: channels, components or parts with their shares in it.

And the images that stand for each: those that it mattered most to (RelMax; Achtibat et al. 2023)
beside those that show most of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.audits.audit import Audit
from core.candidates.candidate import BLOCK, Candidate, LinearFunctional
from core.candidates.key import CandidateKey
from core.candidates.kinds import KINDS
from core.candidates.linear_kinds import NEURON, PCA
from core.candidates.part_kind import Part
from core.explain.crp import relmax, strongest
from core.statistics.seeds import image_seed
from core.types import FloatArray

if TYPE_CHECKING:
    from core.models.model import Model

POOL = 20000
"""Images that are looked through for reference images at most; of more, a seeded sample."""

FEW = 4000
"""Where it may take less than a second."""


@dataclass(frozen=True)
class Concept:
    """A channel, component or part in one image."""

    key: CandidateKey
    relevance: float
    """What it adds, logit units: of a channel w_c phi_c; of a component or part alpha."""
    share: float
    """Of the sum of abs(relevance) over all of its kind and what they leave, in [-1, 1]."""
    heatmap: FloatArray
    """(h, w); its mean is the relevance where the architecture has exact maps."""


def concepts(
    audit: Audit,
    class_idx: int,
    image_id: str,
    kind: str,
    count: int,
    model: Model | None = None,
) -> list[Concept]:
    """The concepts of one kind with the largest relevance in an image, largest first.

    Parameters
    ----------
    kind : ``neuron`` for channels, ``pca``, ``part`` or another kind of candidates.
    model : loaded, where no maps of the image are kept.

    Raises
    ------
    InputError
        If the class has none of the kind.
    """
    arrays = audit.class_arrays(class_idx)
    if kind == NEURON:
        weight, _ = audit.head.piece(audit.features([image_id]), class_idx)
        given = weight[0] * audit.features([image_id])[0]
        numbers, left = np.arange(len(given)), 0.0
    else:
        numbers = np.arange(KINDS.chosen(kind).count(arrays))
        every = [arrays.candidate(kind, int(number)) for number in numbers]
        given = np.array([float(audit.alpha(c, [image_id], model)[0]) for c in every])
        left = _left(audit, every, given, image_id, model)
    size = float(np.abs(given).sum()) + abs(left) or 1.0
    found = []
    for place in strongest(given, count):
        candidate = arrays.candidate(kind, int(numbers[place]))
        heat = np.asarray(audit.heatmaps(candidate, [image_id], model, padded=False)[0])
        if kind == NEURON and isinstance(candidate, LinearFunctional) and audit.exact_maps:
            heat = heat + np.float32(candidate.offset)
        value = float(given[place])
        found.append(Concept(candidate.key, value, value / size, heat))
    return found


def _left(
    audit: Audit,
    every: Sequence[Candidate],
    given: FloatArray,
    image_id: str,
    model: Model | None,
) -> float:
    """What components leave of the logit, parts of the margin; logit units, 0 of other kinds."""
    first = every[0] if every else None
    if isinstance(first, Part):
        maps = audit.maps([image_id], model, padded=False)
        return float(first.parts.alphas(maps)[0, -1])
    if first is None or first.key.kind != PCA:
        return 0.0
    mean = float(audit.class_arrays(first.class_idx).facts.logit_mean)
    logit = float(audit.head.logits(audit.features([image_id]))[0, first.class_idx])
    return logit - mean - float(given.sum())


@dataclass(frozen=True)
class References:
    """Images that stand for a concept."""

    by_relevance: Sequence[str]
    """That are given the class, most first by the share of the concept in all of it."""
    shares: Sequence[float]
    by_activation: Sequence[str]
    """That show most of it, whatever they are given."""
    values: Sequence[float]
    """Of a channel phi_c, else alpha."""
    looked_at: int


def references(audit: Audit, key: CandidateKey, count: int, among: int = POOL) -> References:
    """Reference images of a concept, of the data the audit was made of.

    Of a kind that needs maps only images whose maps are kept are looked at.

    Parameters
    ----------
    among : images that are looked through, at most.
    """
    class_idx = audit.class_facts(key.label).class_idx
    candidate = audit.candidate(key)
    ids = pool(audit, class_idx, among)
    shown, relevance_of, size, given = [], [], [], []
    for start in range(0, len(ids), BLOCK):
        block = ids[start : start + BLOCK]
        features = np.asarray(audit.features(block), np.float64)
        weights = audit.head.weight[class_idx]
        if key.kind == NEURON:
            shown.append(features[:, key.number])
            relevance_of.append(weights[key.number] * features[:, key.number])
        else:
            shown.append(audit.known_alpha(candidate, block))
            relevance_of.append(shown[-1])
        size.append(np.abs(features * weights).sum(axis=1))
        given.append(audit.head.logits(features).argmax(axis=1) == class_idx)
    values, relevant = np.concatenate(shown), np.nan_to_num(np.concatenate(relevance_of))
    sizes, known = np.concatenate(size), np.isfinite(values)
    best = relmax(relevant, sizes, among=np.concatenate(given) & known, count=count)
    most = np.argsort(-np.where(known, values, -np.inf), kind="stable")[: min(count, known.sum())]
    return References(
        [ids[i] for i in best],
        (relevant[best] / (sizes[best] + 1e-10)).tolist(),
        [ids[i] for i in most],
        values[most].tolist(),
        int(known.sum()),
    )


def pool(audit: Audit, class_idx: int, most: int) -> list[str]:
    """Images that reference images are chosen from: those given the class before any others."""
    ids: list[str] = audit.images.index.tolist()
    if len(ids) <= most:
        return ids
    given = audit.images["prediction"].to_numpy() == class_idx
    rank = np.random.default_rng(image_seed(audit.id, 0)).permutation(len(ids))
    return [ids[i] for i in np.sort(np.lexsort((rank, ~given))[:most])]


def kinds_of(audit: Audit, class_idx: int) -> list[str]:
    """Kinds that a class can be taken apart into, channels first."""
    arrays = audit.class_arrays(class_idx)
    few = [name for name, kind in KINDS.items() if kind.found and kind.few and kind.count(arrays)]
    return [NEURON, *few]
