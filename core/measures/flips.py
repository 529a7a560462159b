"""Rows about pasted cues: whether a cue alone turns images of other classes into its class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.analysis import fitting_rows
from core.audit import Audit, Candidate
from core.explain.heatmaps import half_maximum
from core.measure.paste import choose, paste
from core.measures.decisions import Decisions, spuriosity_of
from core.measures.gaps import Rows, share
from core.measures.rows import note, row
from core.measures.trials import (
    mask_in_view,
    pictures,
    predictions_of,
    region,
    trial_ids,
    trial_split,
)
from core.types import BoolArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

SOURCES = 20
"""Training images whose cue is pasted: those of highest spuriosity."""


@dataclass(frozen=True)
class Cues:
    """Cut-out cues of one class."""

    pixels: list[np.ndarray]
    """(h, w, 3) uint8 each."""
    masks: list[BoolArray]
    """(h, w) each, never empty."""
    kind: str
    """``cue masks`` or ``overlays above half of their maximum``."""


def cues_of(audit: Audit, label: str, spurious: Sequence[Candidate], model: Model) -> Cues:
    """The cue in the class's training images of highest spuriosity.

    Its drawn mask where the data has such masks, else where the union of the candidates' overlays
    exceeds half of its maximum.
    """
    table = spuriosity_of(audit, label, spurious)
    fitting = set(audit.images.index[fitting_rows(audit.images)])
    table = table[table["image_id"].isin(fitting) & table["spuriosity"].notna()]
    ids = table["image_id"].tolist()
    drawn: dict[str, BoolArray] = {}
    for image_id in ids if "cue_mask" in audit.images.columns else []:
        if (mask := mask_in_view(audit, image_id, "cue_mask")) is not None:
            drawn[image_id] = mask
        if len(drawn) == SOURCES:
            break
    if drawn:
        return Cues(list(pictures(audit, list(drawn))), list(drawn.values()), "cue masks")
    first = ids[:SOURCES]
    masks = [half_maximum(heat) for heat in region(audit, spurious, first, model)] if first else []
    kept = [(i, m) for i, m in zip(first, masks, strict=True) if m.any()]
    pixels = list(pictures(audit, [i for i, _ in kept]))
    return Cues(pixels, [m for _, m in kept], "overlays above half of their maximum")


PASTES = ("after", "control", "in_front")


@dataclass(frozen=True)
class Pasted:
    """What the model says when a class's cue is pasted on held-out images of other classes."""

    table: pd.DataFrame
    """Columns: ``image_id``, ``label``; output indices ``truth`` and ``before``; ``after``: the
    cue pasted; ``control``: a region of the same shape from another image of the image's own class;
    ``in_front``: the cue pasted behind the image's own object, -1 where it has no object mask."""
    kind: str
    """How the cue was cut out (:class:`Cues`)."""
    sources: int

    def turned(self, class_idx: int, column: str = "after") -> BoolArray:
        """Images that are newly given a class, (m,) of those that ``column`` is known for.

        Images of that class itself cannot be turned into it and are left out.
        """
        table = self.table[(self.table[column] >= 0) & (self.table["truth"] != class_idx)]
        now, before = table[column].to_numpy(), table["before"].to_numpy()
        turned: BoolArray = (now == class_idx) & (before != class_idx)
        return turned


def pasted(
    audit: Audit, label: str, spurious: Sequence[Candidate], model: Model, *, seed: int = 0
) -> Pasted:
    """Paste the cue of a class on held-out images of the other classes and predict."""
    cues = cues_of(audit, label, spurious, model)
    ids = trial_ids(audit, outside=label) if cues.masks else []
    now = np.full((len(ids), len(PASTES)), -1, np.int64)
    for part, trial in pastes(audit, ids, cues, seed=seed):
        for column, name in enumerate(PASTES):
            there = [i for i, images in zip(part, trial, strict=True) if name in images]
            changed = [images[name] for images in trial if name in images]
            now[there, column] = predictions_of(audit, model, changed)
    labels = audit.images.loc[ids, "label"].tolist()
    table = pd.DataFrame({"image_id": ids, "label": labels})
    table["truth"] = [audit.head.index(name) for name in labels]
    table["before"] = audit.images.loc[ids, "prediction"].to_numpy(dtype=np.int64)
    table[list(PASTES)] = now
    return Pasted(table, cues.kind, len(cues.masks))


def pastes(
    audit: Audit, ids: Sequence[str], cues: Cues, *, seed: int = 0
) -> Iterator[tuple[range, list[dict[str, np.ndarray]]]]:
    """The changed versions of images, by PASTES, in batches of the audit's size."""
    if not ids:
        return
    labels = audit.images.loc[list(ids), "label"].tolist()
    picks = choose(ids, len(cues.masks), seed=seed)
    size = audit.manifest["compute"]["batch_size"]
    targets = pictures(audit, ids)
    others = pictures(audit, _others(ids, labels, seed=seed))
    for start in range(0, len(ids), size):
        part = range(start, min(start + size, len(ids)))
        yield (
            part,
            [_pastes(audit, ids[i], next(targets), next(others), cues, picks[i]) for i in part],
        )


def _pastes(
    audit: Audit, image_id: str, target: np.ndarray, other: np.ndarray, cues: Cues, pick: int
) -> dict[str, np.ndarray]:
    """The changed versions of one image, by PASTES."""
    source, mask = cues.pixels[pick], cues.masks[pick]
    found = {"after": paste(target, source, mask), "control": paste(target, other, mask)}
    own = mask_in_view(audit, image_id, "object_mask")
    if own is not None:
        found["in_front"] = paste(target, source, mask & ~own)
    return found


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


def flip_rows(
    audit: Audit, decisions: Decisions, model: Model, *, report: Reporter = silent
) -> Rows:
    """How often the cue of a class, pasted on other classes' images, turns them into it."""
    rows: Rows = []
    tests = len(decisions.spurious)
    for done, (label, spurious) in enumerate(decisions.spurious.items()):
        report(Progress("Pasting cues", done, tests, "classes"))
        facts = audit.class_facts(label)
        found = pasted(audit, label, spurious, model)
        if found.table.empty:
            rows.append(note("no cue to paste, or no image of another class", facts=facts))
            continue
        rows += _flip_class(audit, facts, found, tests)
    report(Progress("Pasting cues", tests, tests, "classes"))
    return rows


def _flip_class(audit: Audit, facts: dict[str, Any], found: Pasted, tests: int) -> Rows:
    class_idx, split = int(facts["class_idx"]), trial_split(audit)
    already = float((found.table["before"] == class_idx).mean())
    said = [f"{found.sources} {found.kind}", f"{100 * already:.1f} % had the class before"]
    if tests > 1:
        said.append(f"interval corrected for {tests} classes (Bonferroni)")
    names = ("flip_rate", "flip_rate_control", "flip_rate_object_in_front")
    rows: Rows = []
    for measure, column in zip(names, PASTES, strict=True):
        turned = found.turned(class_idx, column)
        if n := len(turned):
            hits = float(turned.sum())
            rows.append(
                row(facts, measure, hits / n, interval=share(hits, n, tests), n=n, split=split,
                    note="; ".join(said))
            )  # fmt: skip
    above = rows[0]["low"] > rows[1]["high"]
    rows[0]["reading"] = "the cue triggers the class" if above else "not certain"
    return rows
