"""The images of tagged classes with everything said about them, for tools that show labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from core.audits.audit import Audit
from core.candidates.candidate import Candidate
from core.data.masks import read_mask
from core.data.preprocess import crop_box
from core.errors import DataError
from core.explain.heatmaps import half_maximum, upsample
from core.report.findings import labels
from core.report.material import Evidence
from core.statistics.intervals import side_size
from core.statistics.order import falling
from core.tags.called import Names
from core.tags.decisions import spuriosity_of, values_of
from core.types import BoolArray, FloatArray, Tag

if TYPE_CHECKING:
    import pandas as pd

    from core.models.model import Model

STEP = 64
"""Images whose maps are in memory at once."""

Box = tuple[float, float, float, float]
"""``x_min, y_min, x_max, y_max`` in pixels of the upright source image."""


@dataclass(frozen=True)
class Region:
    """Something in an image."""

    name: str
    """The class for an object, ``class: component 1 (spurious)`` for a cue."""
    kind: str
    """``object``, ``core`` or ``spurious``."""
    box: Box


@dataclass(frozen=True)
class Labelled:
    """One image of a tagged class."""

    image_id: str
    path: str
    """POSIX, relative to the root of the data; the id where the image lies outside of it."""
    width: int
    height: int
    label: str
    """Raw label of its class."""
    facts: dict[str, str | float | bool | None]
    """split, held_out, prediction, confidence, correct, spuriosity, rank; None where unknown."""
    regions: tuple[Region, ...]
    place: int = 0
    """Of its class in the data set's own order; 0 for all where it has none."""


def labelled(evidence: Evidence, classes: Sequence[str] = ()) -> list[Labelled]:
    """Every image of the classes with a decided candidate, by class and descending spuriosity.

    A cue's region is the box around the largest part of its overlay above half of the maximum, on
    the images of its class with the largest alpha (:func:`core.statistics.intervals.side_size` of
    them, all splits). Objects come from the boxes or masks of the data, where it has some.
    """
    audit, decisions = evidence.audit, evidence.decisions
    wanted = labels(audit, classes)
    found: list[Labelled] = []
    for label in sorted(({*decisions.spurious, *decisions.core}) & wanted):
        tagged = [
            (candidate, tag.value)
            for tag, those in ((Tag.SPURIOUS, decisions.spurious), (Tag.CORE, decisions.core))
            for candidate in those.get(label, [])
        ]
        cues = _cues(audit, label, tagged, decisions.names)
        table = spuriosity_of(audit, label, decisions.spurious.get(label, []))
        found += [_image(audit, label, row, cues) for _, row in table.iterrows()]
    return found


def labelled_images(audit: Audit, image_ids: Sequence[str]) -> list[Labelled]:
    """Some images with their labels and objects, in the order of the audit; no cue is marked."""
    unknown = {"spuriosity": float("nan"), "rank": float("nan")}
    images = audit.images.assign(held_out=audit.held_out, **unknown)
    images["prediction"] = np.array(audit.head.outputs, object)[images["prediction"]]
    chosen = images[images.index.isin(list(image_ids))].reset_index()
    return [_image(audit, str(row["label"]), row, {}) for _, row in chosen.iterrows()]


def _image(audit: Audit, label: str, row: pd.Series, cues: dict[str, list[Region]]) -> Labelled:
    image_id = row["image_id"]
    image = audit.images_of([image_id]).iloc[0]
    size = (int(image["width"]), int(image["height"]))
    own = object_box(audit, image, size)
    name = next((facts.name for facts in audit.classes if facts.label == label), label)
    objects = [Region(name, "object", own)] if own else []
    known = row["spuriosity"] == row["spuriosity"]
    facts: dict[str, str | float | bool | None] = {
        "split": str(row["split"]),
        "held_out": bool(row["held_out"]),
        "prediction": str(row["prediction"]),
        "confidence": float(row["confidence"]),
        "correct": bool(row["correct"]),
        "spuriosity": float(row["spuriosity"]) if known else None,
        "rank": int(row["rank"]) if known else None,
    }
    regions = (*objects, *cues.get(image_id, []))
    path, own_order = inside(image_id, str(image["path"])), audit.manifest.data.classes
    place = own_order.index(label) if label in own_order else 0
    return Labelled(image_id, path, *size, label, facts, regions, place)


def inside(image_id: str, path: str) -> str:
    """A path that stays inside whatever folder it is copied to."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        return f"{image_id}{parts.suffix}"
    return path


def object_box(audit: Audit, image: Any, size: tuple[int, int]) -> Box | None:
    """The object's box from the data: given, else around its mask; None where there is neither."""
    names = ("x_min", "y_min", "x_max", "y_max")
    if "x_min" in image.index and image["x_min"] == image["x_min"]:
        x0, y0, x1, y1 = (float(image[name]) for name in names)
        return x0, y0, x1, y1
    if image.get("object_mask"):
        try:
            return around(read_mask(audit.root / image["object_mask"], size))
        except DataError:
            return None
    return None


def around(mask: BoolArray) -> Box | None:
    """The smallest box around a mask (h, w); None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def largest_part(mask: BoolArray) -> BoolArray:
    """The largest connected part of a mask (h, w); the first where several are equal."""
    from scipy.ndimage import label as connected

    parts, count = connected(mask)
    if count < 2:
        return mask
    found: BoolArray = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return found


def _cues(
    audit: Audit, label: str, tagged: Sequence[tuple[Candidate, str]], names: Names
) -> dict[str, list[Region]]:
    """Regions of the tagged candidates of a class by image."""
    arrays = audit.arrays_of(label)
    values = values_of(audit, label, [candidate for candidate, _ in tagged])
    name = audit.class_facts(label).name
    found: dict[str, list[Region]] = {}
    model: Model | None = None
    for place, (candidate, tag) in enumerate(tagged):
        top = falling(values[:, place])[: side_size(len(values))]
        ids = [arrays.image_ids[i] for i in top if values[i, place] > 0]
        if model is None and not (audit.exact_maps and audit.store.has_maps(ids)):
            model = audit.load_model()
        for image_id, heat in _maps(audit, candidate, ids, model):
            if box := _source_box(audit, image_id, heat):
                region = Region(f"{name}: {names.written(candidate.key)} ({tag})", tag, box)
                found.setdefault(image_id, []).append(region)
    return found


def _maps(
    audit: Audit, candidate: Candidate, ids: Sequence[str], model: Model | None
) -> Iterator[tuple[str, FloatArray]]:
    for start in range(0, len(ids), STEP):
        part = ids[start : start + STEP]
        yield from zip(part, audit.heatmaps(candidate, part, model), strict=True)


def _source_box(audit: Audit, image_id: str, heat: FloatArray) -> Box | None:
    """The box of a map in pixels of the upright source image."""
    view = around(largest_part(half_maximum(upsample(heat, audit.preprocess.input_size))))
    if view is None:
        return None
    image = audit.images_of([image_id]).iloc[0]
    width, height = int(image["width"]), int(image["height"])
    x0, y0, x1, y1 = crop_box(audit.preprocess, width, height)
    tall, wide = audit.preprocess.input_size
    across, down = (x1 - x0) / wide, (y1 - y0) / tall
    left, top = max(x0 + view[0] * across, 0), max(y0 + view[1] * down, 0)
    right, bottom = min(x0 + view[2] * across, width), min(y0 + view[3] * down, height)
    return (left, top, right, bottom) if right > left and bottom > top else None
