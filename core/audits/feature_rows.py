"""Features of many images of an audit, read where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.audits.audit import Audit
from core.types import MadeRows, Rows


def feature_rows(audit: Audit, image_ids: Sequence[str]) -> Rows:
    """Features (n, D) float32 of images of an audit; of a million of them not all at once."""
    ids = np.asarray(image_ids, str)
    shape = (len(ids), audit.manifest.model.n_features)
    return MadeRows(shape, lambda rows: audit.features(ids[rows].tolist()))
