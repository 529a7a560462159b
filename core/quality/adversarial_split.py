"""The same images divided anew: trained on where a cue goes with its class, tested where not.

Atanov et al., Task Discovery (NeurIPS 2022), section 5: a split that differs from a random one by
nothing but the choice of images, which a model that leans on the cue fails. No pixel and no label
is changed. Images low along *any* direction that the class's logit follows are harder, whatever it
means: what such a split does is held against splits by random directions that the logit follows as
closely.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.feature_rows import feature_rows
from core.data.far_images import full_name
from core.errors import InputError
from core.statistics.gap_control import directions_like
from core.statistics.learnability import fitted_head
from core.statistics.seeds import image_seed
from core.tags.decisions import Decisions, linear_piece, spuriosity_of
from core.types import BoolArray, FloatArray, blocks

TRAIN, TEST = "train", "test"

EACH, CLASSES = 200, 16
"""Images of a class, and classes, that heads are tried on at most."""

CONTROLS = 10
"""Random directions that a class is divided by."""

Ranked = Mapping[str, pd.Series]
"""How much every image of a class shows of its cue, by image id, by raw label."""


def cues_shown(audit: Audit, decisions: Decisions) -> dict[str, pd.Series]:
    """Spuriosity of the images of every class with tagged cues, by image id.

    Raises
    ------
    InputError
        If no candidate is decided spurious.
    """
    if not decisions.spurious:
        raise InputError(
            f"no candidate of audit {audit.name!r} is decided spurious, and a split is adversarial "
            "to a cue; tag one on the page Components or Tagging, or: python -m core tags add"
        )
    found = {}
    for label, candidates in decisions.spurious.items():
        ranked = spuriosity_of(audit, label, candidates).set_index("image_id")["spuriosity"]
        found[label] = ranked.dropna()
    return found


def shown_elsewhere(audit: Audit, decisions: Decisions) -> pd.Series:
    """Whether each image of another class shows a cue as the upper half of its class does."""
    images, found = audit.images, pd.Series(False, index=audit.images.index)
    features = feature_rows(audit, images.index)
    for label, candidates in decisions.spurious.items():
        own = (images["label"] == label).to_numpy(bool)
        values = np.zeros(len(images))
        for candidate in candidates:
            of_each = linear_piece(audit, candidate)
            alpha = np.concatenate([of_each.alpha(features[rows]) for rows in blocks(len(images))])
            values += (alpha - alpha[own].mean()) / (float(alpha[own].std()) or 1.0)
        found |= ~own & (values > np.median(values[own]))
    return found


def divided(audit: Audit, ranked: Ranked, elsewhere: pd.Series) -> pd.Series:
    """Whether each image is trained on, by image id: half of every class.

    Of a class that is ranked the upper half; of the others as few as can be that show a cue
    (``elsewhere``), drawn by their ids.
    """
    train = pd.Series(False, index=audit.images.index)
    for label, ids in audit.images.groupby("label").groups.items():
        if str(label) in ranked:
            order = ranked[str(label)].sort_values(ascending=False, kind="stable").index
        else:
            order = sorted(ids, key=lambda i: (bool(elsewhere[i]), image_seed(i, 3), i))
        train[order[: len(order) // 2]] = True
    return train


def adversarial(audit: Audit, decisions: Decisions) -> pd.Series:
    """Whether each image is trained on in the split that is adversarial to the tagged cues."""
    return divided(audit, cues_shown(audit, decisions), shown_elsewhere(audit, decisions))


def manifest_of_split(audit: Audit, train: pd.Series) -> pd.DataFrame:
    """The images as a manifest: ``path`` (absolute), ``label``, ``split`` and the attributes."""
    table = audit.images[["path", "label", "split", *audit.summary.attributes]].copy()
    table["path"] = [full_name(audit.root, str(path)) for path in table["path"]]
    table["split"] = np.where(train.loc[table.index], TRAIN, TEST)
    return table.reset_index(drop=True)


class Tried(NamedTuple):
    """What heads recognise of a class whose training images were chosen."""

    split: BoolArray
    """(n,) whether each image of the class is recognised that shows less of the cue than those
    trained on."""
    drawn: BoolArray
    """(m,) the same of a random half."""
    control: FloatArray
    """(CONTROLS,) share recognised of the lower half along random directions; empty of none."""


def tried(audit: Audit, decisions: Decisions, label: str) -> Tried:
    """Try the split of a class on stored features, with a sample of the images.

    Raises
    ------
    InputError
        If nothing is decided spurious.
    """
    ids = _sampled(audit, label)
    ranked = cues_shown(audit, decisions)[label]
    ranked = ranked[ranked.index.isin(ids)]
    at_random = pd.Series([image_seed(i, 4) for i in ranked.index], ranked.index, dtype=np.float64)
    by_chance = [
        _recognised(audit, label, ids, pd.Series(values, ranked.index)).mean()
        for values in controls(audit, label, ranked).T
    ]
    return Tried(
        _recognised(audit, label, ids, ranked),
        _recognised(audit, label, ids, at_random),
        np.array(by_chance),
    )


def controls(audit: Audit, label: str, ranked: pd.Series, count: int = CONTROLS) -> FloatArray:
    """Values (n, count) of ranked images of a class along random directions."""
    arrays = audit.arrays_of(label)
    rows = pd.Index(arrays.image_ids).get_indexer(ranked.index)
    components = np.asarray(arrays.alpha[rows, : arrays.components], np.float64)
    logit = components.sum(axis=1) + np.asarray(arrays.residual, np.float64)[rows]
    found = directions_like(ranked.to_numpy(np.float64), logit, components, count)
    return np.zeros((len(ranked), 0)) if found is None else found


def _sampled(audit: Audit, label: str) -> list[str]:
    """Images that heads are tried on: of the class, and of some others."""
    others = _some([f.label for f in audit.classes if f.label != label], CLASSES - 1)
    groups = audit.images.groupby("label").groups
    return [i for name in (label, *others) for i in _some(groups.get(name, ()), EACH)]


def _some(names: Iterable[str], size: int) -> list[str]:
    """At most so many, by the names alone."""
    return sorted(names, key=lambda i: (image_seed(i), i))[:size]


def _recognised(audit: Audit, label: str, ids: list[str], ranked: pd.Series) -> BoolArray:
    """Whether the lower half of a class is recognised by a head fitted on its upper half.

    Other classes are divided by their ids.
    """
    order = ranked.sort_values(ascending=False, kind="stable").index
    half = len(order) // 2
    asked = order[half:].tolist()
    others = audit.images_of(ids)["label"]
    others = others[others != label]
    rest = [i for i in others.index if image_seed(i, 3) % 2]
    fitted = [*order[:half], *rest]
    labels = audit.images_of(fitted)["label"].to_numpy(str)
    said = fitted_head(audit.features(fitted), labels)(audit.features(asked))
    found: BoolArray = said == label
    return found
