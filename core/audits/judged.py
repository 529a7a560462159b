"""How far maps of a class can be trusted: what was judged on some of its images, averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.explained import Asked, drawn, stored
from core.errors import SpurioscopeError
from core.explain.explainer import Explanation
from core.explain.heatmaps import energy_share
from core.statistics.estimates import Mean

FIGURES = (
    *("completeness", "soundness", "mean_completeness", "mean_soundness", "insertion"),
    *("deletion", "fill_sensitivity", "stability", "seconds"),
)
"""Of :class:`core.explain.trust.Judged`."""

ENERGY = "energy"
"""Share of the map's positive energy in the mask of the cue, else of the object, over its area."""

IMAGES = 8
"""Held-out images of a class that are judged."""


def judged(audit: Audit, label: str, count: int = IMAGES, seed: int = 0) -> pd.DataFrame:
    """:func:`table_of` of those images that were judged and are stored."""
    asked = Asked.of("trust", label, seed=seed)
    found = {i: stored(audit, asked, i) for i in drawn(audit, label, count, seed)}
    return table_of(audit, {i: said for i, said in found.items() if said is not None})


def table_of(audit: Audit, said: Mapping[str, Explanation]) -> pd.DataFrame:
    """A row per attribution and figure, of images by id with what was judged of them.

    Returns
    -------
    ``method``, ``figure`` (of ``FIGURES``, or ``energy`` where images have masks), ``value``,
    ``low`` and ``high`` (95 %, by bootstrap over images; NaN of one image), ``n``.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for image_id, one in said.items():
        for name, figures in _judged(one).items():
            for figure in FIGURES:
                found.setdefault((name, figure), []).append(figures[figure])
            share = energy(audit, image_id, one.arrays[f"map-{name}"])
            found.setdefault((name, ENERGY), []).append(share)
    rows = [_row(name, figure, values) for (name, figure), values in found.items()]
    return pd.DataFrame(rows, columns=["method", "figure", "value", "low", "high", "n"])


def _judged(said: Explanation) -> dict[str, dict[str, float]]:
    every = said.facts["judged"]
    assert isinstance(every, dict)
    return every


def _row(name: str, figure: str, values: Sequence[float]) -> dict[str, object]:
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    value, low, high = Mean().of(known)
    if len(known) < 2:
        low = high = float("nan")
    return {
        "method": name,
        "figure": figure,
        "value": value,
        "low": low,
        "high": high,
        "n": len(known),
    }


def energy(audit: Audit, image_id: str, heatmap: np.ndarray) -> float:
    """Share of a map's positive energy in the image's mask over the mask's area.

    1 is what a map that knows nothing has. Of the cue's mask where there is one, else of the
    object's; NaN without either, or where a file of it cannot be read.
    """
    from core.data.masks import crop_mask, mask_on_grid, read_mask

    row = audit.images_of([image_id]).iloc[0]
    for name in ("cue_mask", "object_mask"):
        if name not in audit.summary.masks or not row[name]:
            continue
        try:
            mask = read_mask(audit.root / row[name], (int(row["width"]), int(row["height"])))
        except SpurioscopeError:
            continue
        inside = mask_on_grid(crop_mask(mask, audit.preprocess), heatmap.shape)
        if inside.mean() > 0:
            return energy_share(heatmap, inside) / float(inside.mean())
    return float("nan")
