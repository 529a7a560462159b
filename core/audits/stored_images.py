"""The images of a class of a stored audit, as candidates of further kinds are found in them."""

from __future__ import annotations

import numpy as np

from core.audits.audit import Audit
from core.audits.class_arrays import ClassArrays
from core.candidates.linear_kinds import PCA
from core.candidates.search import ClassFeatures, ClassImages


def class_images(audit: Audit, arrays: ClassArrays) -> ClassImages:
    """All images of a class, every split; maps are those that are kept."""
    ids, class_idx = arrays.image_ids, arrays.class_idx
    place = audit.rows_of(ids)
    given = ClassFeatures(
        audit.features(ids),
        audit.head.weight[class_idx],
        float(audit.head.bias[class_idx]),
        train=np.asarray(arrays.fitting, bool),
        held_out=audit.held_out[place],
        correct=audit.images["fair"].to_numpy(bool)[place],
    )
    return ClassImages(
        given,
        ids,
        class_idx,
        np.asarray(audit.head.weight, np.float64),
        np.asarray(audit.head.bias, np.float64),
        tuple(facts.class_idx for facts in audit.classes),
        audit.store.mapped(ids) if audit.exact_maps else np.zeros(len(ids), bool),
        audit.store.stored_maps,
        np.asarray(arrays.of_kind(PCA).alpha),
    )
