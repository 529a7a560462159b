"""A cue moved between images as features: where its overlay lies, without decoding an image.

With pooling before the head, phi is the mean of the maps over positions, so that pasting the
positions where a cue's exact overlay is strong from one image's maps into another's gives the
features of a composite. It sees neither the cue's edges nor what it changes elsewhere through the
network, but needs neither masks nor another forward pass.
"""

from __future__ import annotations

import numpy as np

from core.corrections.evidence import Pairs
from core.types import BoolArray, FloatArray, IntArray

STRONG = 0.3
"""Share of an overlay's maximum above which a position belongs to the cue. Half of it, the outline
on the screen, takes too little of a cue that covers much of the image."""


CUT, REPLACED = "cut", "replaced"
"""What is done with the region of a cue on images of its class, keys of ``Evidence.erased``."""


def strong(overlays: FloatArray, share: float = STRONG) -> BoolArray:
    """Positions (n, h, w) that belong to the cue; none where an overlay has no positive part."""
    peak = overlays.max(axis=(1, 2), keepdims=True)
    found: BoolArray = (overlays >= share * peak) & (peak > 0)
    return found


def pasted_features(target: FloatArray, source: FloatArray, where: BoolArray) -> FloatArray:
    """Features (n, D) float32 of target maps that have the source's positions ``where``.

    Parameters
    ----------
    target, source : (n, D, h, w) maps; where : (n, h, w).
    """
    inside = where[:, None]
    found: FloatArray = np.where(inside, source, target).mean(axis=(2, 3), dtype=np.float32)
    return found


def overlay_pairs(
    sources: FloatArray,
    overlays: FloatArray,
    targets: FloatArray,
    rows: IntArray,
    *,
    cue: int,
    share: float = STRONG,
    seed: int = 0,
) -> Pairs:
    """Images of other classes with and without a cue, the cue from its overlay.

    Parameters
    ----------
    sources : (s, D, h, w) maps of training images that show the cue.
    overlays : (s, h, w) the cue's exact overlay on them.
    targets : (P, D, h, w) maps of training images of other classes.
    rows : (P,) which images of the evidence they are.
    cue : index of the cue among those of the evidence.
    seed : of which source goes to which target.

    Returns
    -------
    Pairs whose control has the same places of another target.
    """
    where, rng = strong(overlays, share), np.random.default_rng(seed)
    usable = np.flatnonzero(where.any(axis=(1, 2)))
    p = len(targets) if len(usable) else 0
    picks = usable[rng.integers(0, max(len(usable), 1), p)]
    others = (np.arange(p) + rng.integers(1, max(p, 2), p)) % max(p, 1)
    shown, control = (np.zeros((p, targets.shape[1]), np.float32) for _ in range(2))
    for start in range(0, p, 64):
        part = slice(start, min(start + 64, p))
        pick, other = picks[part], others[part]
        shown[part] = pasted_features(targets[part], sources[pick], where[pick])
        control[part] = pasted_features(targets[part], targets[other], where[pick])
    hidden = np.asarray(targets[:p], np.float32).mean(axis=(2, 3))
    return Pairs(shown, hidden, np.full(p, cue, np.int64), "overlays", control, rows=rows[:p])


def erased_pairs(
    own: FloatArray,
    overlays: FloatArray,
    others: FloatArray,
    rows: IntArray,
    *,
    cue: int,
    share: float = STRONG,
    seed: int = 0,
) -> dict[str, Pairs]:
    """Images of the cue's class as they are, and with its region taken away in two ways.

    ``cut`` leaves the region out: the mean over the other places. ``replaced`` has the same places
    of an image of another class; its control has so the places of the region moved at random.
    Where an overlay has no positive part, nothing is taken away and the image is left out.

    Parameters
    ----------
    own : (P, D, h, w) maps of training images of the class; overlays : (P, h, w) on them.
    others : (q, D, h, w) maps of training images of other classes; none: nothing is replaced.
    rows : (P,) which images of the evidence the first are.
    """
    where = strong(overlays, share)
    usable = where.any(axis=(1, 2)) & ~where.all(axis=(1, 2))
    own, where, rows = own[usable], where[usable], rows[usable]
    shown = np.asarray(own, np.float32).mean(axis=(2, 3))
    outside = ~where[:, None]
    kept = np.where(outside, own, 0).sum(axis=(2, 3), dtype=np.float32)
    each = np.full(len(rows), cue, np.int64)
    found = {CUT: Pairs(shown, kept / outside.sum(axis=(2, 3)), each, CUT, rows=rows)}
    if len(others):
        rng = np.random.default_rng(seed)
        fillers = others[rng.integers(0, len(others), len(own))]
        hidden, control = (
            pasted_features(own, fillers, places) for places in (where, _moved(where, rng))
        )
        found[REPLACED] = Pairs(shown, hidden, each, REPLACED, control, rows=rows)
    return found


def _moved(where: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Every region (n, h, w) moved over the edge by as much as chance will have it."""
    shifts = rng.integers(0, where.shape[1:], (len(where), 2))
    pairs = zip(where, shifts, strict=True)
    found = [np.roll(one, shift, axis=(0, 1)) for one, shift in pairs]
    return np.array(found, bool).reshape(where.shape)


def joined(parts: list[Pairs]) -> Pairs | None:
    """The pairs of several cues together; None where there are none."""
    parts = [part for part in parts if len(part.rows)]
    if not parts:
        return None
    controls = [part.control for part in parts if part.control is not None]
    return Pairs(
        np.concatenate([part.shown for part in parts]),
        np.concatenate([part.hidden for part in parts]),
        np.concatenate([part.cue for part in parts]),
        parts[0].basis,
        np.concatenate(controls) if len(controls) == len(parts) else None,
        rows=np.concatenate([part.rows for part in parts]),
    )
