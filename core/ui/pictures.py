"""Every picture of the app has an address; this draws what is behind it, once.

Addresses hold everything a picture depends on, the audit's state included, so that browsers may
keep them for good; what was drawn is kept in the audit's folder as well.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.audit import Audit, Candidate
from core.errors import InputError, SpurioscopeError
from core.explain.pictures import Parts, heat_png, jpeg, outline_png
from core.store import fingerprint, replacing
from core.types import BoolArray, FloatArray, Kind
from core.ui import opened
from core.ui.figures import histogram_svg
from core.ui.media import media_url

LARGE = 640
PHOTO_SIZE = 320
HEAT_SIZE = 160
LOGIT = "logit"

_drawing: dict[str, threading.Lock] = {}
_guard = threading.Lock()
_computing = threading.Lock()
"""One picture at a time is encoded: the model uses every core, and memory for each image."""


def photo_url(
    audit: Audit, image_id: str, size: int = PHOTO_SIZE, *, digest: str | None = None
) -> str:
    """Address of what the encoder sees of an image; ``digest`` of its content, if it is known."""
    if digest is None:
        known = image_id in audit.images.index
        digest = str(audit.images.at[image_id, "digest"])[:12] if known else "0"
    return media_url("photo", f"{audit.id}/{image_id}.jpg", {"v": digest, "size": str(size)})


def heat_url(
    audit: Audit,
    candidate: Candidate,
    image_id: str,
    *,
    scale: float,
    parts: Parts = "both",
    contour: bool = True,
    size: int = HEAT_SIZE,
) -> str:
    """Address of the heatmap of a candidate on an image; ``scale`` is drawn at full strength."""
    return media_url(
        "heat",
        f"{audit.id}/{_target_path(candidate)}/{image_id}.png",
        {
            "scale": f"{scale:.4g}".replace("+", ""),
            "parts": parts,
            "contour": str(int(contour)),
            "size": str(size),
            "v": opened.version(audit),
        },
    )


def outline_url(audit: Audit, image_id: str) -> str | None:
    """Address of the outlines of an image's masks and box; None where the data has none."""
    if not audit.summary["masks"]:
        return None
    return media_url("outline", f"{audit.id}/{image_id}.png", {"v": opened.version(audit)})


def attribution_url(audit: Audit, candidate: Candidate, image_id: str, method: str) -> str:
    """Address of a gradient or perturbation map of a candidate, or of the logit."""
    name = f"{audit.id}/{_target_path(candidate)}/{method}/{image_id}.png"
    return media_url("attribution", name, {"v": opened.version(audit)})


def _target_path(candidate: Candidate) -> str:
    kind = LOGIT if candidate.component < 0 else candidate.kind.value
    return f"{candidate.class_idx}/{kind}/{max(candidate.component, 0)}"


def target(
    audit: Audit, class_idx: int, kind: str, component: str, *, image_id: str | None = None
) -> Candidate:
    """What a map is drawn of: a component, a neuron, or with kind "logit" the whole logit.

    The map of the logit averages to logit - class mean; that of a corrected head is the linear
    piece that the image lies in.

    Raises
    ------
    InputError
        If the class has no such component or the encoder no such neuron.
    """
    arrays = opened.class_arrays(audit, class_idx)
    if kind == LOGIT:
        size = audit.head.weight.shape[1]
        phi = np.zeros((1, size)) if image_id is None else audit.features([image_id])
        weight, constant = audit.head.piece(phi, class_idx)
        offset = float(arrays.facts["logit_mean"]) - float(constant[0])
        return Candidate(class_idx, Kind.PCA, -1, -1, weight[0], offset)
    if kind not in list(Kind) or not component.isdecimal():
        raise InputError(f"{kind}-{component}: neither a component nor a neuron")
    return arrays.candidate(Kind(kind), int(component))


def is_target(audit: Audit, class_idx: int, text: str) -> bool:
    """Whether ``kind-number`` names something :func:`target` finds."""
    kind, _, component = text.partition("-")
    try:
        return bool(target(audit, class_idx, kind, component))
    except InputError:
        return False


def render(kind: str, name: str, params: Mapping[str, str]) -> tuple[bytes, str] | None:
    """Draw a picture, or take it from the audit's folder if it was drawn before.

    Returns None where the address names nothing.
    """
    if kind not in _DRAW or not re.fullmatch(r"[0-9a-f]{12}", name.partition("/")[0]):
        return None
    try:
        audit = opened.open_audit(name.partition("/")[0])
        kept = _kept(audit, kind, name, params)
        with _once(str(kept)):
            if not kept.exists():
                content = _DRAW[kind](audit, name.rpartition(".")[0].split("/")[1:], params)
                with replacing(kept) as temporary:
                    temporary.write_bytes(content)
        return kept.read_bytes(), _TYPES[name.rpartition(".")[2]]
    except (SpurioscopeError, KeyError, ValueError, OSError):
        return None


def _kept(audit: Audit, kind: str, name: str, params: Mapping[str, str]) -> Path:
    key = fingerprint({"kind": kind, "name": name, "params": dict(params)})
    return audit.folder / "pictures" / kind / key[:2] / key


def _once(key: str) -> threading.Lock:
    with _guard:
        if len(_drawing) > 4096:
            _drawing.clear()
        return _drawing.setdefault(key, threading.Lock())


def _photo(audit: Audit, parts: list[str], params: Mapping[str, str]) -> bytes:
    from PIL import Image

    from core.data.preprocess import encoder_view

    size = min(int(params["size"]), LARGE)
    (image_id,) = parts
    view = encoder_view(audit.preprocess, audit.image(image_id), Image.Resampling.BICUBIC)
    if max(view.size) > size:
        view.thumbnail((size, size))
    return jpeg(view)


def _heat(audit: Audit, parts: list[str], params: Mapping[str, str]) -> bytes:
    class_idx, kind, component, image_id = parts
    candidate = target(audit, int(class_idx), kind, component, image_id=image_id)
    sign = params["parts"]
    if sign not in ("both", "positive", "negative"):
        raise InputError(f"parts {sign!r}: both, positive or negative")
    return heat_png(
        heatmap_of(audit, candidate, image_id),
        float(params["scale"]),
        size=min(int(params["size"]), LARGE),
        parts=sign,  # type: ignore[arg-type]
        contour=params["contour"] == "1",
    )


def heatmap_of(audit: Audit, candidate: Candidate, image_id: str) -> FloatArray:
    """One heatmap (h, w): the stored one of a top image, else from the maps or the model."""
    arrays = opened.class_arrays(audit, candidate.class_idx)
    if arrays.top_maps is not None and candidate.row >= 0:
        ids = top_ids(audit, candidate)
        if image_id in ids:
            return np.asarray(arrays.top_maps[candidate.row, ids.index(image_id)])
    stored = image_id.startswith("up") or audit.store.has_maps([image_id])
    needs_model = not audit.exact_maps or not stored
    if not needs_model:
        return np.asarray(audit.heatmaps(candidate, [image_id])[0])
    with _computing:
        model = opened.model_of(audit)
        return np.asarray(audit.heatmaps(candidate, [image_id], model, padded=False)[0])


def top_ids(audit: Audit, candidate: Candidate) -> list[str]:
    """Top training images of a candidate, highest alpha first."""
    table = opened.class_table(audit, candidate.class_idx)
    return list(table["top_image_ids"].iloc[candidate.row]) if candidate.row >= 0 else []


def _outline(audit: Audit, parts: list[str], _: Mapping[str, str]) -> bytes:
    (image_id,) = parts
    return outline_png(masks_of(audit, image_id), PHOTO_SIZE)


def masks_of(audit: Audit, image_id: str) -> dict[str, BoolArray]:
    """Masks (h, w) and box of an image in the encoder's view; only those that exist."""
    from core.data.masks import box_mask, crop_mask, read_mask

    row = audit.images.loc[image_id]
    size = (int(row["width"]), int(row["height"]))
    found: dict[str, BoolArray] = {}
    for name in ("object_mask", "cue_mask"):
        if name in audit.summary["masks"] and row[name]:
            found[name] = crop_mask(read_mask(audit.root / row[name], size), audit.preprocess)
    if "x_min" in audit.summary["masks"] and row["x_min"] == row["x_min"]:
        box = (row["x_min"], row["y_min"], row["x_max"], row["y_max"])
        found["box"] = crop_mask(box_mask(box, *size), audit.preprocess)
    return found


def _attribution(audit: Audit, parts: list[str], _: Mapping[str, str]) -> bytes:
    from core.data.preprocess import apply
    from core.explain.attribution import attribute

    class_idx, what, component, method, image_id = parts
    direction = target(audit, int(class_idx), what, component, image_id=image_id).direction
    pixels = apply(audit.preprocess, audit.image(image_id))
    found = attribute(opened.model_of(audit), pixels, direction, method)  # type: ignore[arg-type]
    if found.shape[0] > 32:
        found = _smooth(found)
    return heat_png(found, float(np.abs(found).max()), size=PHOTO_SIZE, contour=False)


def _smooth(values: FloatArray) -> FloatArray:
    """Block means on a grid that the eye can read."""
    step = values.shape[0] // 28 or 1
    h, w = values.shape[0] // step * step, values.shape[1] // step * step
    blocks: FloatArray = values[:h, :w].reshape(h // step, step, w // step, step).mean((1, 3))
    return blocks


def histogram_url(audit: Audit, candidate: Candidate) -> str:
    """Address of the histogram of a candidate's alpha."""
    where = f"{audit.id}/{candidate.class_idx}/{candidate.kind.value}/{candidate.component}.svg"
    return media_url("histogram", where, {"v": opened.version(audit)})


def _histogram(audit: Audit, parts: list[str], _: Mapping[str, str]) -> bytes:
    class_idx, kind, component = parts
    alpha = opened.alpha(audit, int(class_idx), kind, int(component))
    fair = opened.class_images(audit, int(class_idx))["fair"].to_numpy(dtype=bool)
    return histogram_svg(alpha, fair).encode()


_TYPES = {"jpg": "image/jpeg", "png": "image/png", "svg": "image/svg+xml"}
_DRAW = {
    "histogram": _histogram,
    "photo": _photo,
    "heat": _heat,
    "outline": _outline,
    "attribution": _attribution,
}
