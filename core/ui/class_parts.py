"""What is said of the parts of a class beside their cards."""

from __future__ import annotations

from core.audits.audit import Audit
from core.candidates.part_kind import PART
from core.ui import opened

AGAIN = "run the same audit again, which keeps them where they fit"


def lacking(audit: Audit, class_idx: int) -> str:
    """Why a class has no parts and what to do about it; empty where it has some."""
    arrays = opened.class_arrays(audit, class_idx)
    if len(arrays.of_kind(PART).numbers):
        return ""
    if not audit.exact_maps:
        return (
            f"No parts: {audit.manifest.model.name} has no exact maps, which they are found in. "
            "Audit a network that ends in average pooling and one linear layer."
        )
    trained = [i for i, fit in zip(arrays.image_ids, arrays.fitting, strict=True) if fit]
    if not audit.store.mapped(trained).any():
        return f"No parts: no maps of training images of this class are kept; {AGAIN}."
    return (
        "No parts: no place of the class's training images adds to its margin over the other "
        "classes. Look at its predictions, or choose another class."
    )
