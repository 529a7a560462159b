"""Images with a pasted cue, as features: every head is tried on the same.

Those of held-out images are outcomes (:class:`core.trials.pasted_composites.Composites`); these are
of the training images, which methods learn from.
"""

from __future__ import annotations

import numpy as np

from core.audits.audit import Audit
from core.corrections.acted_on import Findings
from core.corrections.evidence import Pairs
from core.corrections.pairs import erased_pairs, joined, overlay_pairs
from core.errors import InputError
from core.tags.decisions import values_of
from core.trials.encoder import Encoder, Seen
from core.trials.paste import sample_order
from core.trials.pasted_cues import SOURCES, cues_of, encoded
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter, silent

PAIRS = 180
"""Training images per cue that a cue is pasted on at most."""


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
    images = _Images(audit, rows, seed)
    for label, spurious in findings.chosen.items():
        report(Progress("Pasting cues on training images", number, len(findings.keys), "cues"))
        cues = cues_of(audit, label, spurious, model, seen)
        if cues.kind != "cue masks":
            raise InputError(f"class {label!r} has no training image with a cue mask")
        ids, places = images.some(images.labels != label)
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
    if not audit.exact_maps or not audit.store.has_some_maps:
        return None
    images, parts, number = _Images(audit, rows, seed), [], 0
    for label, spurious in findings.chosen.items():
        ids, places = images.some(images.labels != label)
        targets = audit.store.maps(ids) if ids and audit.store.has_maps(ids) else None
        arrays = audit.class_arrays(spurious[0].class_idx)
        for candidate in spurious:
            alpha = values_of(audit, label, [candidate])[:, 0]
            allowed = np.isin(audit.rows_of(arrays.image_ids), rows)
            order = np.argsort(-np.where(allowed, alpha, -np.inf), kind="stable")
            top = [arrays.image_ids[i] for i in order[: min(SOURCES, int(allowed.sum()) // 4)]]
            if targets is not None and top and audit.store.has_maps(top):
                sources, overlays = audit.store.maps(top), audit.heatmaps(candidate, top)
                parts.append(
                    overlay_pairs(sources, overlays, targets, places, cue=number, seed=seed)
                )
            number += 1
    return joined(parts)


def map_erased(
    audit: Audit, findings: Findings, rows: IntArray, *, seed: int = 0
) -> dict[str, Pairs]:
    """Training images of every cue's class with its region taken away in stored maps.

    By :func:`core.corrections.pairs.erased_pairs`; no image is decoded. Empty where the maps of the
    pass were not kept or are not exact.
    """
    found: dict[str, list[Pairs]] = {}
    if not audit.exact_maps or not audit.store.has_some_maps:
        return {}
    images, number = _Images(audit, rows, seed), 0
    kept = audit.store.mapped(images.ids)
    for label, spurious in findings.chosen.items():
        ids, places = images.some(kept & (images.labels == label))
        others, _ = images.some(kept & (images.labels != label))
        own = _maps(audit, ids)
        fillers = _maps(audit, others) if others else own[:0]
        for candidate in spurious:
            if ids:
                overlays = audit.heatmaps(candidate, ids)
                made = erased_pairs(own, overlays, fillers, places, cue=number, seed=seed)
                for name, pairs in made.items():
                    found.setdefault(name, []).append(pairs)
            number += 1
    several = {name: joined(parts) for name, parts in found.items()}
    return {name: pairs for name, pairs in several.items() if pairs is not None}


def _maps(audit: Audit, ids: list[str]) -> FloatArray:
    """Stored maps of some images, or of none."""
    nothing = np.zeros((0, audit.head.weight.shape[1], 1, 1), np.float32)
    return audit.store.maps(ids) if ids else nothing


class _Images:
    """The images that may be learnt from, of which every class is given some.

    As :func:`core.trials.paste.sample` says which; all are put in its order once.

    Parameters
    ----------
    rows : (n,) of ``audit.images``.
    """

    def __init__(self, audit: Audit, rows: IntArray, seed: int) -> None:
        images = audit.images.iloc[rows]
        self.ids = images.index.to_numpy(object)
        self.labels = images["label"].to_numpy(object)
        self._order = sample_order(self.ids, seed=seed)

    def some(self, among: BoolArray) -> tuple[list[str], IntArray]:
        """At most PAIRS of those that a mask (n,) names, and their places, ascending."""
        places = np.sort(self._order[np.asarray(among, bool)[self._order]][:PAIRS])
        return self.ids[places].tolist(), places
