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
from core.trials.paste import sample
from core.trials.pasted_cues import SOURCES, cues_of, encoded
from core.types import FloatArray, IntArray, Progress, Reporter, silent

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
    if not audit.exact_maps:
        return {}
    images, number = audit.images.iloc[rows], 0
    for label, spurious in findings.chosen.items():
        ids, own = _mapped(audit, images.index[images["label"] == label].tolist(), seed)
        others, _ = _mapped(audit, images.index[images["label"] != label].tolist(), seed)
        places = np.asarray(images.index.get_indexer(ids), np.int64)
        fillers = audit.store.maps(others) if others else own[:0]
        for candidate in spurious:
            if ids:
                overlays = audit.heatmaps(candidate, ids)
                made = erased_pairs(own, overlays, fillers, places, cue=number, seed=seed)
                for name, pairs in made.items():
                    found.setdefault(name, []).append(pairs)
            number += 1
    several = {name: joined(parts) for name, parts in found.items()}
    return {name: pairs for name, pairs in several.items() if pairs is not None}


def _mapped(audit: Audit, ids: list[str], seed: int) -> tuple[list[str], FloatArray]:
    """At most PAIRS of some images whose maps are kept, and their maps."""
    kept = audit.store.mapped(ids)
    chosen = sample([name for name, has in zip(ids, kept, strict=True) if has], PAIRS, seed=seed)
    nothing = np.zeros((0, audit.head.weight.shape[1], 1, 1), np.float32)
    return chosen, audit.store.maps(chosen) if chosen else nothing


def _targets(audit: Audit, label: str, rows: IntArray, seed: int) -> tuple[list[str], IntArray]:
    """Images of other classes to show a cue on, and their places among ``rows``."""
    images = audit.images.iloc[rows]
    ids = sample(images.index[images["label"] != label].tolist(), PAIRS, seed=seed)
    return ids, np.asarray(images.index.get_indexer(ids), np.int64)
