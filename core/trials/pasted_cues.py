"""Cues cut out of one class and pasted on images of the others, and what a model says of those.

Every image and mask is decoded once; putting images together happens in threads beside the forward
pass, whose batches are full. An image whose cue leaves the object alone is the same image with the
cue behind the object, so it goes through the network once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.subject import fitting_rows
from core.candidates.candidate import Candidate
from core.explain.heatmaps import half_maximum
from core.features.extract import cores, in_order
from core.statistics.paired import newly_given
from core.tags.decisions import spuriosity_of
from core.trials.encoder import Encoder, Seen, region
from core.trials.paste import choose, paste
from core.types import BoolArray, FloatArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

SOURCES = 20
"""Training images whose cue is pasted: those of highest spuriosity."""

PASTES = ("after", "control", "in_front")
"""Versions of an image: the cue pasted; a region of the same shape from another image of the
image's own class; the cue pasted behind the image's own object, where that has a mask."""


@dataclass(frozen=True)
class Cues:
    """Cut-out cues of one class."""

    pixels: list[np.ndarray]
    """(h, w, 3) uint8 each."""
    masks: list[BoolArray]
    """(h, w) each, never empty."""
    kind: str
    """``cue masks`` or ``overlays above half of their maximum``."""


def cues_of(
    audit: Audit,
    label: str,
    spurious: Sequence[Candidate],
    model: Model,
    seen: Seen | None = None,
) -> Cues:
    """The cue in the class's training images of highest spuriosity.

    Its drawn mask where the data has such masks, else where the union of the candidates' overlays
    exceeds half of its maximum.
    """
    seen = seen or Seen(audit)
    table = spuriosity_of(audit, label, spurious)
    fitting = set(audit.images.index[fitting_rows(audit.images)])
    table = table[table["image_id"].isin(fitting) & table["spuriosity"].notna()]
    ids = table["image_id"].tolist()
    drawn: dict[str, BoolArray] = {}
    for image_id in ids if "cue_mask" in audit.images.columns else []:
        if (mask := seen.mask(image_id, "cue_mask")) is not None:
            drawn[image_id] = mask
        if len(drawn) == SOURCES:
            break
    if drawn:
        return Cues(list(seen.pictures(list(drawn))), list(drawn.values()), "cue masks")
    first = ids[:SOURCES]
    masks = [half_maximum(heat) for heat in region(audit, spurious, first, model)] if first else []
    kept = [(i, m) for i, m in zip(first, masks, strict=True) if m.any()]
    pixels = list(seen.pictures([i for i, _ in kept]))
    return Cues(pixels, [m for _, m in kept], "overlays above half of their maximum")


@dataclass(frozen=True)
class Pasted:
    """What the model says when a class's cue is pasted on held-out images of other classes."""

    table: pd.DataFrame
    """Columns: ``image_id``, ``label``; output indices ``truth`` and ``before``, and one per
    version (PASTES, or those that were asked for), -1 where the image has no such version."""
    kind: str
    """How the cue was cut out (:class:`Cues`)."""
    sources: int

    def others(self, class_idx: int, column: str = "after") -> pd.DataFrame:
        """The rows of images of another class that a version is known for."""
        return self.table[(self.table[column] >= 0) & (self.table["truth"] != class_idx)]

    def turned(self, class_idx: int, column: str = "after") -> BoolArray:
        """Images that are newly given a class, (m,) of those that ``column`` is known for.

        Images of that class itself cannot be turned into it and are left out.
        """
        table = self.others(class_idx, column)
        return newly_given(table["before"].to_numpy(), table[column].to_numpy(), class_idx)


def said(
    audit: Audit, ids: Sequence[str], kind: str, sources: int, features: Mapping[str, FloatArray]
) -> Pasted:
    """What the audit's head says of versions of images, by their features (T, D) per version."""
    labels = audit.images_of(list(ids))["label"].tolist()
    table = pd.DataFrame({"image_id": pd.Series(list(ids), dtype=str), "label": labels})
    table["truth"] = np.array([audit.head.index(name) for name in labels], np.int64)
    table["before"] = audit.images_of(list(ids))["prediction"].to_numpy(dtype=np.int64)
    for name, array in features.items():
        there = ~np.isnan(array[:, 0])
        now = np.full(len(ids), -1, np.int64)
        now[there] = audit.head.logits(array[there]).argmax(axis=1)
        table[name] = now
    return Pasted(table, kind, sources)


def encoded(
    audit: Audit,
    ids: Sequence[str],
    cues: Cues,
    encoder: Encoder,
    *,
    names: Sequence[str] = PASTES,
    known: FloatArray | None = None,
    seed: int = 0,
    seen: Seen | None = None,
    report: Reporter = silent,
) -> dict[str, FloatArray]:
    """Features (T, D) float32 of the changed versions of images; rows of NaN where there is none.

    Parameters
    ----------
    encoder : sees them; of this audit or of another one with the same preprocessing.
    names : some of PASTES.
    known : features of ``after`` where they are known and not asked for; the same pictures need
        not be encoded again.
    """
    found = {name: np.full((len(ids), encoder.width), np.nan, np.float32) for name in names}
    after = found.get("after", known)
    same: list[int] = []
    versions = pastes(audit, ids, cues, names=names, seed=seed, seen=seen or Seen(audit))

    def changed() -> Iterator[tuple[tuple[str, int], np.ndarray]]:
        for row, images in enumerate(versions):
            if row % encoder.size == 0:
                report(Progress("Pasting cues", row, len(ids)))
            for name, pixels in images.items():
                if name == "in_front" and pixels is images["after"] and after is not None:
                    same.append(row)
                elif name in names:
                    yield (name, row), pixels

    for (name, row), features in encoder.each(changed()):
        found[name][row] = features
    if after is not None and same:
        found["in_front"][same] = after[same]
    report(Progress("Pasting cues", len(ids), len(ids)))
    return found


def pastes(
    audit: Audit,
    ids: Sequence[str],
    cues: Cues,
    *,
    names: Sequence[str] = PASTES,
    seed: int = 0,
    seen: Seen,
) -> Iterator[dict[str, np.ndarray]]:
    """The changed versions of every image, in order, put together in threads; always ``after``.

    ``in_front`` is the very array of ``after`` where the cue hides nothing of the object.
    """
    if not ids:
        return
    labels = audit.images_of(list(ids))["label"].tolist()
    others = _others(ids, labels, seed=seed)
    picks = choose(ids, len(cues.masks), seed=seed)

    def one(row: int) -> dict[str, np.ndarray]:
        source, mask = cues.pixels[picks[row]], cues.masks[picks[row]]
        target = seen.picture(ids[row])
        found = {"after": paste(target, source, mask)}
        if "control" in names:
            found["control"] = paste(target, seen.picture(others[row]), mask)
        own = seen.mask(ids[row], "object_mask") if "in_front" in names else None
        if own is not None:
            hides = bool((mask & own).any())
            found["in_front"] = paste(target, source, mask & ~own) if hides else found["after"]
        return found

    yield from in_order(one, range(len(ids)), workers=min(8, cores()), ahead=64)


def _others(ids: Sequence[str], labels: Sequence[str], *, seed: int) -> list[str]:
    """For every image another one of its class among them; itself where it is alone."""
    members: dict[str, list[str]] = {}
    for image_id, label in zip(ids, labels, strict=True):
        members.setdefault(label, []).append(image_id)
    found = []
    for image_id, label in zip(ids, labels, strict=True):
        rest = [i for i in members[label] if i != image_id] or [image_id]
        found.append(rest[choose([image_id], len(rest), seed=seed + 1)[0]])
    return found
