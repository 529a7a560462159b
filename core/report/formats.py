"""Labels in the published formats of other tools: COCO, CVAT for images, FiftyOne.

Written from the formats' public documentation: COCO's "data format" page (object detection), CVAT's
"XML annotation format" 1.1, and FiftyOne's ``LegacyFiftyOneDataset`` (``metadata.json`` and
``samples.json``; the newer ``FiftyOneDataset`` is a dump of its database). The same images give the
same bytes; ids are counted or hashed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from core import __version__
from core.audits.audit import Audit
from core.data.decode import copy_upright
from core.errors import InputError
from core.report.boxes import Box, Labelled, Region
from core.storage.files import dumps, replacing_folder

Files = dict[str, str]
"""Text of every file by its name."""

FACTS = ("split", "held_out", "prediction", "confidence", "correct", "spuriosity", "rank")


def export(audit: Audit, images: Sequence[Labelled], format_name: str, folder: Path) -> int:
    """Write images and labels into a new folder; returns the number of images.

    The images are copied under their paths below ``data/`` (COCO, FiftyOne) or ``images/`` (CVAT),
    upright (:func:`core.data.decode.copy_upright`): boxes are places in these copies, whether or
    not who reads them heeds EXIF.

    Raises
    ------
    InputError
        If the format is unknown, the folder holds something, or there is no image to write.
    """
    if format_name not in FORMATS:
        raise InputError(f"--export {format_name!r}: choose {', '.join(FORMATS)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--export {folder} exists and is not empty; choose a new folder")
    if not images:
        raise InputError(
            f"--export: no class of audit {audit.name!r} has a decided candidate; tag some first"
        )
    place, write = FORMATS[format_name]
    with replacing_folder(folder) as temporary:
        for name, text in write(audit.name, images).items():
            (temporary / name).write_bytes(text.encode("utf-8", "backslashreplace"))
        for image in images:
            _copy(audit, image, temporary / place / image.path)
    return len(images)


def _copy(audit: Audit, image: Labelled, target: Path) -> None:
    source = audit.path(image.image_id)
    if not source.exists():
        raise InputError(
            f"{source} is not there any more; if the data moved: python -m core show "
            f"{audit.name!r} --data-root NEW"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_upright(source, target)


def categories(images: Sequence[Labelled]) -> list[tuple[str, str]]:
    """Name and kind of everything that is in an image, objects first, in their classes' order."""
    found: dict[tuple[str, str], int] = {}
    for image in images:
        for r in image.regions:
            found.setdefault((r.name, r.kind), image.place if r.kind == "object" else 0)
    return sorted(found, key=lambda pair: (pair[1] != "object", found[pair], pair))


def coco(name: str, images: Sequence[Labelled]) -> Files:
    """``labels.json``: boxes with their area; facts about an image are further keys of it."""
    kinds = categories(images)
    numbers = {pair: number for number, pair in enumerate(kinds, 1)}
    annotations: list[Mapping[str, object]] = []
    for number, image in enumerate(images, 1):
        for region in image.regions:
            x0, y0, x1, y1 = region.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": numbers[region.name, region.kind],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
                    "iscrowd": 0,
                }
            )
    document = {
        "info": {"description": name, "version": f"Spurioscope {__version__}"},
        "licenses": [],
        "images": [
            {
                **{"id": number, "file_name": image.path, "width": image.width},
                **{"height": image.height, "label": image.label, **image.facts},
            }
            for number, image in enumerate(images, 1)
        ],
        "categories": [
            {"id": numbers[pair], "name": pair[0], "supercategory": pair[1]} for pair in kinds
        ],
        "annotations": annotations,
    }
    return {"labels.json": f"{dumps(document)}\n"}


def cvat(name: str, images: Sequence[Labelled]) -> Files:
    """``annotations.xml``: the class as a tag with the facts as attributes, regions as boxes."""
    root = ElementTree.Element("annotations")
    _add(root, "version", "1.1")
    task = _add(_add(root, "meta"), "task")
    for key, text in (("name", name), ("size", str(len(images))), ("mode", "annotation")):
        _add(task, key, text)
    known = _add(task, "labels")
    # an object's box and its image's tag may have the same name: CVAT joins labels by name
    for label in sorted({image.label for image in images}):
        _label(known, label, "any", FACTS)
    tags = {image.label for image in images}
    for title, _ in categories(images):
        if title not in tags:
            _label(known, title, "rectangle", ())
    for number, image in enumerate(images):
        size = {"width": str(image.width), "height": str(image.height)}
        element = _add(root, "image", id=str(number), name=image.path, **size)
        tag = _add(element, "tag", label=image.label, source="manual")
        for key in FACTS:
            _add(tag, "attribute", _word(image.facts[key]), name=key)
        for region in image.regions:
            _add(
                element,
                "box",
                label=region.name,
                source="auto",
                occluded="0",
                **_corners(region.box),
                z_order="0",
            )
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return {"annotations.xml": f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'}


def _add(parent: ElementTree.Element, tag: str, text: str = "", **attributes: str) -> Any:
    element = ElementTree.SubElement(parent, tag, {k: printable(v) for k, v in attributes.items()})
    element.text = printable(text)
    return element


def _label(parent: Any, name: str, kind: str, facts: Sequence[str]) -> None:
    label = _add(parent, "label")
    _add(label, "name", name)
    _add(label, "type", kind)
    attributes = _add(label, "attributes")
    for fact in facts:
        attribute = _add(attributes, "attribute")
        for key, text in (
            ("name", fact),
            ("mutable", "False"),
            ("input_type", "text"),
            ("default_value", ""),
            ("values", ""),
        ):
            _add(attribute, key, text)


def _corners(box: Box) -> dict[str, str]:
    names = ("xtl", "ytl", "xbr", "ybr")
    return {key: f"{value:.2f}" for key, value in zip(names, box, strict=True)}


def _word(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def printable(text: str) -> str:
    """Text without the characters that XML 1.0 forbids; names of files may hold any."""
    return _FORBIDDEN.sub("\ufffd", text)


_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def fiftyone(name: str, images: Sequence[Labelled]) -> Files:
    """``metadata.json`` and ``samples.json``: classifications, detections, facts as fields."""
    metadata = {
        "name": name,
        "media_type": "image",
        "info": {"written_by": f"Spurioscope {__version__}"},
    }
    samples = [_sample(image) for image in images]
    return {
        "metadata.json": f"{dumps(metadata)}\n",
        "samples.json": f"{dumps({'samples': samples})}\n",
    }


def _sample(image: Labelled) -> Mapping[str, object]:
    facts = image.facts
    found: dict[str, object] = {
        "_id": {"$oid": _oid(image.image_id)},
        "filepath": f"data/{image.path}",
        "tags": sorted({r.kind for r in image.regions if r.kind != "object"}),
        "ground_truth": _classification(image, "truth", image.label, None),
        "predictions": _classification(
            image, "prediction", str(facts["prediction"]), facts["confidence"]
        ),
        "regions": {
            "_cls": "Detections",
            "detections": [_detection(image, place, r) for place, r in enumerate(image.regions)],
        },
    }
    return found | {key: facts[key] for key in FACTS if key not in ("prediction", "confidence")}


def _classification(
    image: Labelled, what: str, label: str, confidence: object
) -> Mapping[str, object]:
    found: dict[str, object] = {
        "_id": {"$oid": _oid(f"{image.image_id} {what}")},
        "_cls": "Classification",
    }
    return found | {"tags": [], "label": label, "confidence": confidence, "logits": None}


def _detection(image: Labelled, place: int, region: Region) -> Mapping[str, object]:
    """A region with its box as shares of the image: left, top, width, height."""
    x0, y0, x1, y1 = region.box
    box = [x0 / image.width, y0 / image.height]
    box += [(x1 - x0) / image.width, (y1 - y0) / image.height]
    return {
        **{"_id": {"$oid": _oid(f"{image.image_id} {place}")}, "_cls": "Detection"},
        **{"tags": [region.kind], "attributes": {}, "label": region.name, "bounding_box": box},
        **{"mask": None, "confidence": None, "index": None},
    }


def _oid(text: str) -> str:
    """24 hex digits, as MongoDB has them."""
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


FORMATS: dict[str, tuple[str, Callable[[str, Sequence[Labelled]], Files]]] = {
    "coco": ("data", coco),
    "cvat": ("images", cvat),
    "fiftyone": ("data", fiftyone),
}
"""Folder of the images, and the writer, of every format."""
