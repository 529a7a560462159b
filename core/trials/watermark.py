"""The ImageNet-W watermark on held-out images: a shortcut that many ImageNet classifiers take.

Li et al. 2023 (A Whac-A-Mole Dilemma, section 3): photos of cartons often carry a watermark, so
that one drawn on any image turns it into a carton. The text and its font come from the optional
package ``imagenet-w``, whose licence (CC BY-NC 4.0) does not allow commercial use; nothing of it is
drawn, and nothing imitated, where it is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module, util
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.trials.encoder import Seen, predictions_of, trial_ids
from core.types import IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

PACKAGE = "imagenet_w"

MISSING = (
    "the ImageNet-W watermark is not drawn: pip install imagenet-w (optional; its licence, "
    "CC BY-NC 4.0, allows no commercial use)"
)


def available() -> bool:
    """Whether the package is installed."""
    return util.find_spec(PACKAGE) is not None


def watermark_trial(
    audit: Audit, model: Model, *, seen: Seen | None = None, report: Reporter = silent
) -> pd.DataFrame:
    """What the model says of held-out images with the watermark; needs the package.

    Returns
    -------
    Columns: ``image_id``; output indices ``truth``, ``before`` and ``after``.
    """
    ids = trial_ids(audit, outside="")
    images = audit.images_of(ids)
    return pd.DataFrame(
        {
            "image_id": pd.Series(ids, dtype=str),
            "truth": np.array([audit.head.index(label) for label in images["label"]], np.int64),
            "before": images["prediction"].to_numpy(dtype=np.int64),
            "after": _predicted(audit, ids, model, seen or Seen(audit), report),
        }
    )


def _predicted(
    audit: Audit, ids: Sequence[str], model: Model, seen: Seen, report: Reporter
) -> IntArray:
    """Predicted output (n,) of images with the watermark on what the encoder sees."""
    if not ids:
        return np.zeros(0, np.int64)
    draw = _drawer(audit.preprocess.input_size[0])
    size = audit.manifest.compute.batch_size
    pictures, parts = seen.pictures(ids), []
    for start in range(0, len(ids), size):
        report(Progress("Drawing the watermark", start, len(ids)))
        parts.append(
            predictions_of(audit, model, [draw(next(pictures)) for _ in ids[start : start + size]])
        )
    report(Progress("Drawing the watermark", len(ids), len(ids)))
    return np.concatenate(parts)


def _drawer(side: int) -> Callable[[np.ndarray], np.ndarray]:
    """The package's own transform at its own settings, on (h, w, 3) uint8."""
    from PIL import Image

    add = import_module(PACKAGE).AddWatermark(side)
    return lambda pixels: np.asarray(add(Image.fromarray(pixels)), np.uint8)
