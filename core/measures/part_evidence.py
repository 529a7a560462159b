"""How a class's evidence is shared out over annotated parts of its object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.candidates.candidate import heatmaps_of
from core.data.masks import mask_on_grid
from core.data.table import part_masks, part_of
from core.errors import InputError
from core.explain.heatmaps import energy_share
from core.measures.measure import SHARE, Measure, Rows
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import OnDemand
from core.measures.pointing import MAPS, no_exact_maps
from core.measures.rows import corrected, row
from core.statistics.estimates import StudentMean
from core.tags.decisions import Decisions
from core.trials.encoder import mask_in_view
from core.trials.paste import sample
from core.types import FloatArray, Progress, Reporter

if TYPE_CHECKING:
    from core.candidates.candidate import Candidate
    from core.models.model import Model

BATCH = 32
"""Images whose maps are held at once."""

FEWEST = 4
"""Images with a mask of a part at least."""

LOGIT = "the class"

SHARED = Measure(
    "part_evidence",
    "Evidence on object parts",
    "Share of the positive part of a map, the class's or a tagged candidate's, that lies on an "
    "annotated part of the object; mean over held-out images that have a mask of it.",
    unit=SHARE,
    direction="beside the part's area: above it the part is evidence, below it is passed over",
    source="Wang et al. 2020 (Score-CAM), section 4.2; on parts as in Sitawarin et al. 2023",
    views=(),
    part="evidence",
)


def lacking(audit: Audit) -> str:
    """Why nothing can be shared out, with the remedy; empty where it can."""
    if not part_masks(audit.images.columns):
        return (
            f"audit {audit.name!r} has no masks of object parts: add a column part_mask_NAME for "
            "every part to the manifest, with the path of the image's mask of it, and audit it"
        )
    return "" if audit.exact_maps else no_exact_maps(audit)


def _rows(audit: Audit, decisions: Decisions, request: MeasureRequest, report: Reporter) -> Rows:
    del request
    if why := lacking(audit):
        raise InputError(why)
    images, columns = audit.images[audit.held_out], part_masks(audit.images.columns)
    drawn = images[(images[columns].fillna("") != "").any(axis=1)]
    labels = [f for f in audit.classes if (drawn["label"] == f.label).sum() >= FEWEST]
    rows, model = Rows(), None
    for place, facts in enumerate(labels):
        report(Progress("Sharing evidence out", place, len(labels), "classes"))
        ids = sample(drawn.index[drawn["label"] == facts.label].tolist(), MAPS)
        if model is None and not audit.store.has_maps(ids):
            model = audit.load_model()
        spurious = decisions.spurious.get(facts.label, [])
        rows += _class_rows(audit, decisions, facts, ids, spurious, model, tests=len(labels))
    return rows


def _class_rows(
    audit: Audit,
    decisions: Decisions,
    facts: AuditedClass,
    ids: Sequence[str],
    spurious: Sequence[Candidate],
    model: Model | None,
    *,
    tests: int,
) -> Rows:
    columns = part_masks(audit.images.columns)
    shares, areas = shared_out(audit, facts.class_idx, ids, columns, spurious, model)
    whose = [LOGIT, *(decisions.names.written(candidate.key) for candidate in spurious)]
    rows = Rows()
    for place, column in enumerate(columns):
        area = areas[:, place]
        for number, name in enumerate(whose):
            known = ~np.isnan(shares[:, number, place])
            if known.sum() < FEWEST:
                continue
            values = shares[known, number, place]
            value, low, high = StudentMean((0.0, 1.0)).of(values, tests)
            beyond = StudentMean((-1.0, 1.0)).of(values - area[known], tests)
            said = corrected(tests, "classes")
            note = f"the part covers {100 * area[known].mean():.0f} % of these images"
            rows.append(
                row(
                    facts,
                    SHARED,
                    value,
                    interval=(low, high),
                    n=int(known.sum()),
                    subject=f"{part_of(column)}, {name}",
                    split=audit.summary.held_out,
                    reading=_reading(beyond[1], beyond[2]),
                    note=f"{note}; {said}" if said else note,
                )
            )
    return rows


def _reading(low: float, high: float) -> str:
    """Whether a part has more of the evidence than its area."""
    if low > 0:
        return "more than its area"
    return "less than its area" if high < 0 else "as its area"


def shared_out(
    audit: Audit,
    class_idx: int,
    image_ids: Sequence[str],
    columns: Sequence[str],
    candidates: Sequence[Candidate],
    model: Model | None,
) -> tuple[FloatArray, FloatArray]:
    """Shares (n, 1 + m, p) of the maps of a class and m candidates on p parts, and areas (n, p).

    NaN where an image has no mask of a part, or a map nothing that is positive.
    """
    shares = np.full((len(image_ids), 1 + len(candidates), len(columns)), np.nan)
    areas = np.full((len(image_ids), len(columns)), np.nan)
    level = float(audit.class_arrays(class_idx).facts.logit_mean)
    for start in range(0, len(image_ids), BATCH):
        ids = list(image_ids[start : start + BATCH])
        maps = audit.maps(ids, model)
        slopes, constants = audit.head.piece(audit.features(ids), class_idx)
        logit = np.einsum("nd,ndhw->nhw", slopes, maps) + constants[:, None, None] - level
        heats = [logit[:, None], *([heatmaps_of(candidates, maps)] if candidates else [])]
        every = np.concatenate(heats, axis=1)
        for i, image_id in enumerate(ids):
            for place, column in enumerate(columns):
                mask = mask_in_view(audit, image_id, column)
                if mask is None:
                    continue
                inside = mask_on_grid(mask, every.shape[2:])
                areas[start + i, place] = float(np.mean(inside))
                shares[start + i, :, place] = [energy_share(one, inside) for one in every[i]]
    return shares, areas


EVIDENCE = OnDemand("evidence", "evidence on annotated object parts", _rows)
