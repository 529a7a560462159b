"""Every picture of the app has an address; this draws what is behind it, once.

Addresses hold everything a picture depends on, the audit's state included, so that browsers may
keep them for good; what was drawn is kept in the audit's folder as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast, get_args

import numpy as np

from core.audits.audit import Audit
from core.candidates.candidate import Candidate, Functional, LinearFunctional
from core.candidates.key import CandidateKey
from core.errors import InputError, SpurioscopeError
from core.explain.overlays import (
    CONCEPTS,
    Parts,
    Style,
    atlas_png,
    heat_png,
    jpeg,
    outline_png,
    png,
    region_png,
    spotlight_png,
)
from core.storage.workspace import fingerprint
from core.types import BoolArray, FloatArray
from core.ui.frame import opened
from core.ui.frame.drawn import drawn
from core.ui.frame.media import media_url
from core.ui.kit.figures import histogram_svg

if TYPE_CHECKING:
    from core.audits.explained import Asked

ID = "[0-9a-f]{12}"
"""Of an audit, in an address."""

LARGE = 640
PHOTO_SIZE = 320
HEAT_SIZE = 160
LOGIT = "logit"
EXACT = "exact"
"""The map that averages to the number, where others are approximations with names of their own."""

DRAWN = "3"
"""Version of what is drawn, a part of every address: maps of version 1 may be those of another
picture that was asked for at the same moment; lines of version 2 had another threshold."""


class Look(NamedTuple):
    """How it is shown on photos where something is."""

    style: Style = "spotlight"
    parts: Parts = "both"
    contour: bool = True
    """Whether colours have a line around what trials cut out."""
    outlines: bool = False
    """Whether masks and boxes are outlined where the data has them."""

    @property
    def dims(self) -> bool:
        """Whether a photo is darkened, and not painted over."""
        return self.style == "spotlight"


COLOURS = Look("colour")


def photo_url(
    audit: Audit, image_id: str, size: int = PHOTO_SIZE, *, digest: str | None = None
) -> str:
    """Address of what the encoder sees of an image; ``digest`` of its content, if it is known."""
    if digest is None:
        digest = _photo_version(audit, image_id)
    return media_url("photo", f"{audit.id}/{image_id}.jpg", {"v": digest, "size": str(size)})


def heat_url(
    audit: Audit,
    candidate: Functional,
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
            "v": _version(audit),
        },
    )


def spotlight_url(
    audit: Audit,
    candidate: Functional,
    image_id: str,
    *,
    parts: Parts = "both",
    method: str = EXACT,
    size: int = HEAT_SIZE,
) -> str:
    """Address of what dims a photo but for where a candidate is in it, by a method."""
    name = f"{audit.id}/{_target_path(candidate)}/{method}/{image_id}.png"
    return media_url("spotlight", name, {"parts": parts, "size": str(size), "v": _version(audit)})


def overlay_url(
    audit: Audit,
    candidate: Functional,
    image_id: str,
    look: Look,
    *,
    scale: float,
    size: int = HEAT_SIZE,
) -> str:
    """Address of what lies over a photo to show where a candidate is."""
    if look.dims:
        return spotlight_url(audit, candidate, image_id, parts=look.parts, size=size)
    return heat_url(
        audit, candidate, image_id, scale=scale, parts=look.parts, contour=look.contour, size=size
    )


def outline_url(audit: Audit, image_id: str) -> str | None:
    """Address of the outlines of an image's masks and box; None where the data has none."""
    if not audit.summary.masks:
        return None
    return media_url("outline", f"{audit.id}/{image_id}.png", {"v": _version(audit)})


def attribution_url(audit: Audit, candidate: Functional, image_id: str, method: str) -> str:
    """Address of a gradient or perturbation map of a candidate, or of the logit."""
    name = f"{audit.id}/{_target_path(candidate)}/{method}/{image_id}.png"
    return media_url("attribution", name, {"v": _version(audit)})


def method_url(
    audit: Audit,
    label: str,
    key: CandidateKey | None,
    image_id: str,
    method: str,
    look: Look,
    *,
    scale: float,
    size: int = HEAT_SIZE,
) -> str:
    """Address of what lies over a photo to show a map by a method, of a candidate or the logit."""
    if key is None:
        target = logit_of(audit, audit.class_facts(label).class_idx, image_id)
    else:
        target = opened.candidate(audit, key)
    if method == EXACT:
        return overlay_url(audit, target, image_id, look, scale=scale, size=size)
    if look.dims:
        return spotlight_url(audit, target, image_id, parts=look.parts, method=method, size=size)
    return attribution_url(audit, target, image_id, method)


def atlas_url(audit: Audit, class_idx: int, kind: str, count: int, image_id: str) -> str:
    """Address of the colours of the concepts of a kind that add most at every place."""
    name = f"{audit.id}/{class_idx}/{kind}/{count}/{image_id}.png"
    return media_url("atlas", name, {"v": _version(audit)})


def _atlas(audit: Audit, parts: list[str], _: Mapping[str, str]) -> bytes:
    from core.audits.image_concepts import concepts

    class_idx, kind, count, image_id = parts
    shown = min(_number(count), len(CONCEPTS))
    model = opened.model_for_maps(audit, image_id)
    found = concepts(audit, _number(class_idx), image_id, kind, shown, model)
    return atlas_png(np.stack([c.heatmap for c in found]), CONCEPTS, size=PHOTO_SIZE)


def _target_path(target: Functional) -> str:
    """As :func:`_target` reads it: ``12/pca/0``, or ``12/logit/0``."""
    if not isinstance(target, Candidate):
        return f"{target.class_idx}/{LOGIT}/0"
    return f"{target.class_idx}/{target.key.kind}/{target.key.number}"


def _target(audit: Audit, parts: Sequence[str], image_id: str | None = None) -> Functional:
    """What a picture is drawn of, from the three parts of its address that say it.

    Raises
    ------
    InputError
        If there is no such class, component or neuron.
    """
    if parts[1:] == [LOGIT, "0"]:
        return logit_of(audit, _number(parts[0]), image_id)
    return opened.candidate(audit, CandidateKey.parse("/".join(parts), outputs=audit.head.outputs))


def logit_of(audit: Audit, class_idx: int, image_id: str | None = None) -> Functional:
    """The whole logit of a class: its map averages to logit - class mean.

    That of a corrected head is the linear piece that the image lies in.
    """
    arrays = opened.class_arrays(audit, class_idx)
    size = audit.head.weight.shape[1]
    phi = np.zeros((1, size)) if image_id is None else audit.features([image_id])
    weight, constant = audit.head.piece(phi, class_idx)
    offset = arrays.facts.logit_mean - float(constant[0])
    return LinearFunctional(class_idx, weight[0], offset)


def _number(text: str) -> int:
    """A number of an address, which writes it in one way only."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,8}", text):
        raise InputError(f"{text!r} is no number of a class")
    return int(text)


def render(kind: str, name: str, params: Mapping[str, str]) -> tuple[bytes, str] | None:
    """Draw a picture, or take it from the audit's folder if it was drawn before.

    Returns None where the address names nothing; nothing is kept of it then.
    """
    path, _, ending = name.rpartition(".")
    audit_id, *parts = path.split("/")
    if (ending, set(params)) != _FORMS.get(kind) or not re.fullmatch(ID, audit_id):
        return None
    try:
        audit = opened.open_audit(audit_id)
        chosen = _canonical(audit, kind, parts, params)
        key = fingerprint({"kind": kind, "parts": parts, "params": chosen})
        return drawn(audit.files.pictures, key, lambda: _DRAW[kind](audit, parts, chosen)), _TYPES[
            ending
        ]
    except (SpurioscopeError, KeyError, ValueError, OSError):
        return None


def _canonical(
    audit: Audit, kind: str, parts: list[str], params: Mapping[str, str]
) -> dict[str, str]:
    """The parameters as they are drawn: one text for everything that gives the same picture.

    Raises
    ------
    InputError
        If one is none that a picture can be drawn with.
    """
    found = {**params, "v": _content(audit, kind, parts)}
    if "size" in found:
        if not 1 <= int(found["size"]) <= LARGE:
            raise InputError(f"size {found['size']}: 1 to {LARGE} pixels")
        found["size"] = str(int(found["size"]))
    if "scale" in found:
        if not math.isfinite(float(found["scale"])):
            raise InputError(f"scale {found['scale']}: a number of logits")
        found["scale"] = f"{float(found['scale']):.4g}"
    return found


def _content(audit: Audit, kind: str, parts: list[str]) -> str:
    """What a picture shows, whatever version its address names."""
    if kind != "photo":
        return _version(audit)
    (image_id,) = parts
    return _photo_version(audit, image_id)


def _version(audit: Audit) -> str:
    return f"{opened.version(audit)}-{DRAWN}"


def _photo_version(audit: Audit, image_id: str) -> str:
    row = audit.rows_of([image_id])[0]
    return str(audit.images["digest"].iat[row])[:12] if row >= 0 else "0"


def _photo(audit: Audit, parts: list[str], params: Mapping[str, str]) -> bytes:
    from PIL import Image

    from core.data.preprocess import encoder_view

    size = int(params["size"])
    (image_id,) = parts
    view = encoder_view(audit.preprocess, audit.image(image_id), Image.Resampling.BICUBIC)
    if max(view.size) > size:
        view.thumbnail((size, size))
    return jpeg(view)


def _heat(audit: Audit, parts: list[str], params: Mapping[str, str]) -> bytes:
    *what, image_id = parts
    candidate = _target(audit, what, image_id)
    contour = params["contour"]
    if contour not in ("0", "1"):
        raise InputError(f"contour {contour!r}: 0 or 1")
    return heat_png(
        heatmap_of(audit, candidate, image_id),
        float(params["scale"]),
        size=int(params["size"]),
        parts=_sign(params["parts"]),
        contour=contour == "1",
    )


def _sign(text: str) -> Parts:
    """Which signs of a map are drawn."""
    if text not in get_args(Parts):
        raise InputError(f"parts {text!r}: one of {', '.join(get_args(Parts))}")
    return cast(Parts, text)


def _spotlight(audit: Audit, parts: list[str], params: Mapping[str, str]) -> bytes:
    *what, method, image_id = parts
    if method == EXACT:
        heat = heatmap_of(audit, _target(audit, what, image_id), image_id)
    else:
        heat = _attributed(audit, what, method, image_id)
    return spotlight_png(heat, size=int(params["size"]), parts=_sign(params["parts"]))


def heatmap_of(audit: Audit, candidate: Functional, image_id: str) -> FloatArray:
    """One heatmap (h, w): the stored one of a top image, else from the maps or the model."""
    if isinstance(candidate, Candidate):
        arrays = opened.class_arrays(audit, candidate.class_idx)
        top_maps, ids = arrays.top_maps_of(candidate.key), top_ids(audit, candidate)
        if top_maps is not None and image_id in ids:
            return np.asarray(top_maps[ids.index(image_id)])
    model = opened.model_for_maps(audit, image_id)
    return np.asarray(audit.heatmaps(candidate, [image_id], model, padded=False)[0])


def top_ids(audit: Audit, candidate: Candidate) -> list[str]:
    """Top training images of a candidate, highest alpha first."""
    figures = opened.figures(audit, candidate.key)
    return [] if figures is None else list(figures["top_image_ids"])


def _outline(audit: Audit, parts: list[str], _: Mapping[str, str]) -> bytes:
    (image_id,) = parts
    return outline_png(masks_of(audit, image_id), PHOTO_SIZE)


def masks_of(audit: Audit, image_id: str) -> dict[str, BoolArray]:
    """Masks (h, w) and box of an image in the encoder's view; only those that exist."""
    from core.data.masks import box_mask, crop_mask, read_mask

    row = audit.images_of([image_id]).iloc[0]
    size = (int(row["width"]), int(row["height"]))
    found: dict[str, BoolArray] = {}
    for name in ("object_mask", "cue_mask"):
        if name in audit.summary.masks and row[name]:
            found[name] = crop_mask(read_mask(audit.root / row[name], size), audit.preprocess)
    if "x_min" in audit.summary.masks and row["x_min"] == row["x_min"]:
        box = (row["x_min"], row["y_min"], row["x_max"], row["y_max"])
        found["box"] = crop_mask(box_mask(box, *size), audit.preprocess)
    return found


def _attribution(audit: Audit, parts: list[str], _: Mapping[str, str]) -> bytes:
    *what, method, image_id = parts
    found = _attributed(audit, what, method, image_id)
    return heat_png(found, float(np.abs(found).max()), size=PHOTO_SIZE, contour=False)


def _attributed(audit: Audit, what: list[str], method: str, image_id: str) -> FloatArray:
    """A gradient or perturbation map as it was made, on a grid that the eye can read."""
    from core.audits.explained import stored
    from core.explain.attribution import method_of
    from core.explain.heatmaps import readable

    label = audit.head.outputs[_number(what[0])]
    key = None if what[1:] == [LOGIT, "0"] else CandidateKey(label, what[1], _number(what[2]))
    said = stored(audit, method_asked(method_of(method), label, key), image_id)
    if said is None:
        raise InputError(f"image {image_id!r} is not explained by {method!r} yet")
    return readable(said.arrays["map"])


def method_asked(method: str, label: str, key: CandidateKey | None, **given: str) -> Asked:
    """What a method is asked of a candidate, or of the class's logit."""
    from core.audits.explained import Asked

    return Asked.of(method, label, key, given)


def kept_url(audit: Audit, way: str, class_idx: int, image_id: str, count: int, look: Look) -> str:
    """Address of what marks the last groups of an image that a class's probability lives on."""
    name = f"{audit.id}/{class_idx}/{way}/{image_id}.png"
    return media_url(
        "kept", name, {"groups": str(count), "dims": str(int(look.dims)), "v": _version(audit)}
    )


def subset_settings(way: str) -> dict[str, str]:
    """Settings of how little of an image is enough, as the pages ask it: of its own confidence.

    Parameters
    ----------
    way : a fill or ``auto``; where every group is tried ``exact-`` and the fill; then the ids of
        the audits whose models are explained together with the audit's, after underscores.
    """
    fill, *_ = way.split("_")
    given = {"fill": fill.removeprefix("exact-"), "relative": "true"}
    return {**given, "exact": "true"} if fill.startswith("exact-") else given


def asked_of(audit: Audit, class_idx: int, way: str) -> Asked:
    """The same as a question."""
    from core.audits.explained import Asked

    _, *names = way.split("_")
    if wrong := [name for name in names if not re.fullmatch(ID, name)]:
        raise InputError(f"{wrong[0]!r} is no audit")
    also = tuple(opened.open_audit(name) for name in names)
    return Asked.of("sis", audit.head.outputs[class_idx], given=subset_settings(way), also=also)


def _kept(audit: Audit, parts: list[str], params: Mapping[str, str]) -> bytes:
    from core.audits.explained import stored
    from core.explain.sis import enlarged, order_of

    class_idx, way, image_id = parts
    said = stored(audit, asked_of(audit, _number(class_idx), way), image_id)
    if said is None:
        raise InputError(f"image {image_id!r} is not explained yet")
    order = order_of(said)
    count = min(_number(params["groups"]), len(order.removed))
    kept = order.kept(count).reshape(said.arrays["order"].shape)
    height, width = audit.preprocess.input_size
    return region_png(enlarged(kept, (height, width)), dims=params["dims"] == "1")


def look_url(audit: Audit, key: CandidateKey, method: str, number: int = 0) -> str:
    """Address of a picture that raises a candidate's alpha, as it was drawn."""
    class_idx = audit.class_facts(key.label).class_idx
    name = f"{audit.id}/{class_idx}/{key.kind}/{key.number}/{method}/{number}.png"
    return media_url("look", name, {"v": _version(audit)})


def _look(audit: Audit, parts: list[str], _: Mapping[str, str]) -> bytes:
    from core.audits.looks import drawn as look

    *of, method, number = parts
    key = CandidateKey.parse("/".join(of), outputs=audit.head.outputs)
    said = look(audit, key, method)
    if said is None:
        raise InputError(f"{key.title} was not drawn yet")
    pixels = said.arrays["pictures"][_number(number)]
    return png(np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]))


def histogram_url(audit: Audit, candidate: Candidate) -> str:
    """Address of the histogram of a candidate's alpha."""
    name = f"{audit.id}/{_target_path(candidate)}.svg"
    return media_url("histogram", name, {"v": _version(audit)})


def _histogram(audit: Audit, parts: list[str], _: Mapping[str, str]) -> bytes:
    key = CandidateKey.parse("/".join(parts), outputs=audit.head.outputs)
    alpha = opened.alpha(audit, key)
    fair = opened.class_images(audit, _number(parts[0]))["fair"].to_numpy(dtype=bool)
    return histogram_svg(alpha, fair).encode()


_FORMS = {
    "histogram": ("svg", {"v"}),
    "photo": ("jpg", {"v", "size"}),
    "heat": ("png", {"v", "size", "scale", "parts", "contour"}),
    "spotlight": ("png", {"v", "size", "parts"}),
    "kept": ("png", {"v", "groups", "dims"}),
    **{kind: ("png", {"v"}) for kind in ("outline", "attribution", "atlas", "look")},
}
"""Ending and parameters that an address of each kind has, no more and no less."""
_TYPES = {"jpg": "image/jpeg", "png": "image/png", "svg": "image/svg+xml"}
_DRAW = {
    **{"histogram": _histogram, "photo": _photo, "heat": _heat, "spotlight": _spotlight},
    **{"outline": _outline, "kept": _kept, "attribution": _attribution},
    **{"atlas": _atlas, "look": _look},
}
