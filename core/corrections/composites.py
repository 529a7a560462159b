"""Images with a pasted cue, as features: every head is tried on the same.

Those of held-out images are the outcomes that the table of measures counts its flips from
(:mod:`core.measures.outcomes`): what was measured is not encoded again, nor the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.audits.audit import Audit
from core.corrections.acted_on import Findings
from core.corrections.evidence import Pairs
from core.corrections.pairs import joined, overlay_pairs
from core.errors import InputError
from core.measures.outcomes import pasted_features
from core.models.linear import Head
from core.statistics.paired import newly_given
from core.tags.decisions import Decisions, values_of
from core.trials.encoder import Encoder, Seen
from core.trials.paste import sample
from core.trials.pasted_cues import SOURCES, cues_of, encoded
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

PAIRS = 180
"""Training images per cue that a cue is pasted on at most."""


@dataclass(frozen=True)
class Composites:
    """Held-out images of other classes with a class's cue pasted on them, as features."""

    ids: list[str]
    """(T,) the images."""
    truth: IntArray
    """(T,) their outputs, -1 where the head has none."""
    plain: FloatArray
    """(T, D) without the cue."""
    pasted: dict[str, FloatArray]
    """(T, D) by :data:`core.trials.pasted_cues.PASTES`; rows of NaN where an image has none."""
    kind: str
    sources: int

    def turned(self, head: Head, class_idx: int, name: str = "after") -> BoolArray:
        """Images that are newly given the class, of those that the version exists of."""
        rows = self.usable(class_idx, name)
        versions = self.plain[rows], self.pasted[name][rows]
        before, after = (head.logits(features).argmax(axis=1) for features in versions)
        return newly_given(before, after, class_idx)

    def usable(self, class_idx: int, name: str) -> BoolArray:
        """(T,) images of another class that the version exists of."""
        there: BoolArray = ~np.isnan(self.pasted[name][:, 0]) & (self.truth != class_idx)
        return there


def held_out_composites(
    audit: Audit,
    label: str,
    decisions: Decisions,
    *,
    seen_by: Audit | None = None,
    models: dict[str, Model] | None = None,
    report: Reporter = silent,
) -> Composites:
    """Composites of a class's cue, encoded where they are missing.

    Parameters
    ----------
    audit : whose cues are cut out, by its decisions.
    seen_by : whose encoder sees them; default ``audit``.
    models : loaded models by audit id, filled where one is needed.
    """
    seen_by, models = seen_by or audit, {} if models is None else models

    def model(of: Audit) -> Model:
        if of.id not in models:
            models[of.id] = of.load_model()
        return models[of.id]

    found, features = pasted_features(
        audit, label, decisions, model, seen_by=seen_by, report=report
    )
    ids = found.table["image_id"].tolist()
    width = seen_by.head.weight.shape[1]
    return Composites(
        ids,
        found.table["truth"].to_numpy(np.int64),
        seen_by.features(ids) if ids else np.zeros((0, width), np.float32),
        features,
        found.kind,
        found.sources,
    )


def mask_pairs(
    audit: Audit, findings: Findings, rows: IntArray, *, seed: int = 0, report: Reporter = silent
) -> Pairs:
    """Training images with and without every chosen cue, its drawn mask pasted on them.

    Parameters
    ----------
    rows : of ``audit.images`` that may be learnt from, in the order of the evidence.

    Raises
    ------
    InputError
        If the data has no cue masks: where a cue is, has to be known exactly for this.
    """
    if "cue_mask" not in audit.images.columns:
        raise InputError(
            f"audit {audit.name!r} has no cue masks: name them in the manifest's column cue_mask, "
            "or leave out --masks"
        )
    model, seen, parts, number = audit.load_model(), Seen(audit), [], 0
    for label, spurious in findings.chosen.items():
        report(Progress("Pasting cues on training images", number, len(findings.keys), "cues"))
        cues = cues_of(audit, label, spurious, model, seen)
        if cues.kind != "cue masks":
            raise InputError(f"class {label!r} has no training image with a cue mask")
        ids, places = _targets(audit, label, rows, seed)
        encoder = Encoder(audit, model)
        shown = encoded(audit, ids, cues, encoder, names=("after",), seed=seed, seen=seen)["after"]
        hidden = audit.features(ids) if ids else shown
        for cue in range(number, number + len(spurious)):
            each = np.full(len(ids), cue, np.int64)
            parts.append(Pairs(shown=shown, hidden=hidden, rows=places, cue=each))
        number += len(spurious)
    found = joined(parts)
    if found is None:
        raise InputError("there is no training image of another class to paste a cue on")
    return found


def map_pairs(audit: Audit, findings: Findings, rows: IntArray, *, seed: int = 0) -> Pairs | None:
    """Training images with and without every chosen cue, its overlay pasted between stored maps.

    No image is decoded. None where the maps of the pass were not kept or are not exact.
    """
    if not audit.exact_maps:
        return None
    parts, number = [], 0
    for label, spurious in findings.chosen.items():
        ids, places = _targets(audit, label, rows, seed)
        targets = audit.store.maps(ids) if ids and audit.store.has_maps(ids) else None
        arrays = audit.class_arrays(spurious[0].class_idx)
        for candidate in spurious:
            alpha = values_of(audit, label, [candidate])[:, 0]
            allowed = np.isin(audit.images.index.get_indexer(arrays.image_ids), rows)
            order = np.argsort(-np.where(allowed, alpha, -np.inf), kind="stable")
            top = [arrays.image_ids[i] for i in order[: min(SOURCES, int(allowed.sum()) // 4)]]
            if targets is not None and top and audit.store.has_maps(top):
                sources, overlays = audit.store.maps(top), audit.heatmaps(candidate, top)
                parts.append(
                    overlay_pairs(sources, overlays, targets, places, cue=number, seed=seed)
                )
            number += 1
    return joined(parts)


def _targets(audit: Audit, label: str, rows: IntArray, seed: int) -> tuple[list[str], IntArray]:
    """Images of other classes to show a cue on, and their places among ``rows``."""
    images = audit.images.iloc[rows]
    ids = sample(images.index[images["label"] != label].tolist(), PAIRS, seed=seed)
    return ids, np.asarray(images.index.get_indexer(ids), np.int64)
