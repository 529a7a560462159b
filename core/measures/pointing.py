"""Where a class's logit comes from: the share of its map that lies on the object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.audits.audit import Audit
from core.measures.measure import EFFECT, Measure, Sample
from core.measures.scope import NOT_ASKED, Scope
from core.statistics.estimates import Mean
from core.types import FloatArray

if TYPE_CHECKING:
    from core.models.model import Model

MAPS = 100
"""Images per class whose maps are held against the object's mask."""


NO_MASKS = (
    "needs object masks in the data: add the column object_mask to the manifest, and audit it"
)


def no_exact_maps(audit: Audit) -> str:
    """Why a share of a map cannot be told for an architecture, and what to do instead."""
    return (
        f"{audit.manifest.model.name} has no exact maps: its head does not read the mean of "
        "one layer's maps, and of an approximation the share would say as much about the "
        "approximation as about the model. Audit a network that ends in average pooling and one "
        "linear layer, or judge by the flip rate and the sensitivity"
    )


def _shares(scope: Scope, label: str) -> Sample | str:
    """Energy-based pointing game of the class's logit on the object's mask."""
    if "object_mask" not in scope.owner.images.columns:
        return NO_MASKS
    if not scope.audit.exact_maps:
        return no_exact_maps(scope.owner)
    if not scope.pictures:
        return NOT_ASKED
    ids, output = scope.mine(label)[:MAPS], scope.owner.class_facts(label).class_idx
    shares = object_shares(scope.audit, ids, output, scope.models)
    if np.isnan(shares).all():
        return "no held-out image of the class has a mask"
    return Sample(ids, shares)


def object_shares(
    audit: Audit, image_ids: list[str], class_idx: int, models: dict[str, Model]
) -> FloatArray:
    """Share (n,) of the positive part of a class's map on the object; NaN without a mask.

    The map averages to the corrected logit minus the class's mean logit, as everywhere in the app:
    gradient times pooled maps, with a correction that of the linear piece that the image lies in.
    """
    from core.data.masks import mask_on_grid
    from core.explain.heatmaps import energy_share
    from core.trials.encoder import mask_in_view

    found = np.full(len(image_ids), np.nan)
    masks = [mask_in_view(audit, i, "object_mask") for i in image_ids]
    there = [i for i, mask in enumerate(masks) if mask is not None]
    ids = [image_ids[i] for i in there]
    if not ids:
        return found
    if not audit.store.has_maps(ids) and audit.id not in models:
        models[audit.id] = audit.load_model()
    slopes, constants = audit.head.piece(audit.features(ids), class_idx)
    level = float(audit.class_arrays(class_idx).facts.logit_mean)
    for start in range(0, len(ids), 32):
        part = range(start, min(start + 32, len(ids)))
        maps = audit.maps([ids[i] for i in part], models.get(audit.id))
        for i, of_image in zip(part, maps, strict=True):
            heat = np.tensordot(slopes[i], of_image, axes=1) + constants[i] - level
            mask = masks[there[i]]
            assert mask is not None
            inside = mask_on_grid(mask, (heat.shape[0], heat.shape[1]))
            found[there[i]] = energy_share(heat, inside)
    return found


EPG = Measure(
    "epg",
    "Share of the map on the object",
    "Share of the positive part of the class's map that lies on the object.",
    better=1,
    source="Wang et al. 2020 (Score-CAM), section 4.2",
    views=(EFFECT,),
    sample=_shares,
    estimate=Mean(),
)
