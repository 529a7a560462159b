"""Concept relevance: a class through one of its channels, components or parts, in an image.

At the head in closed form: of a logit w . phi with phi the mean of maps A(p), channel c has the
relevance w_c phi_c, the mean of w_c A_c(p). Below, by relevance propagation with everything else
masked at the features or at their maps (:mod:`core.explain.lrp`). Both are additive: over channels
that are all of the features, or over parts with their rest, the maps sum to that of the whole.
Source: Achtibat et al. 2023 (relevance of channels, conditional maps, RelMax).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from core.candidates.part_kind import Part
from core.errors import InputError
from core.explain.attribution import over
from core.explain.explainer import Explainer, Explanation, Question, Setting
from core.explain.heatmaps import area_words, readable
from core.explain.lrp import relevance
from core.types import FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 6
"""Channels that are told of where none is named."""


def crp(question: Question) -> Explanation:
    """The map of a candidate at the pixels, or those of the class's strongest channels."""
    from core.models.trace import exclusive

    with exclusive(question.model.network):
        return _candidate(question) if question.candidate else _channels(question)


def _candidate(question: Question) -> Explanation:
    found = relevance(question.model, _image(question), masked(question))
    facts = {"number": found.number, "sum": _sum(found.pixels), **found.facts}
    words = f"{found.number:+.3f} handed down to the pixels{_less(found.kept)}"
    return Explanation({"map": found.pixels}, facts, words, found.notes)


def masked(question: Question) -> FloatArray:
    """What of the features (D,), or of their maps (D, h, w), a candidate is."""
    if not isinstance(question.candidate, Part):
        return question.direction
    parts, number = question.candidate.parts, question.candidate.key.number
    maps = _maps(question)[None]
    shares: FloatArray = parts.shares(maps)[0, number]
    return np.asarray(parts.weight)[:, None, None] * shares


def _channels(question: Question) -> Explanation:
    image, weight = _image(question), question.direction
    phi = _features(question, image)
    given = weight * phi
    chosen = int(question.value("channel"))
    if chosen >= len(given):
        raise InputError(f"--set channel={chosen}: the features have {len(given)} channels")
    order = np.array([chosen]) if chosen >= 0 else strongest(given, int(question.value("count")))
    whole = relevance(question.model, image, weight)
    through = [relevance(question.model, image, only(weight, c)).pixels for c in order]
    arrays = {"map": whole.pixels, "channels": order, "relevance": given[order]}
    arrays |= {"shares": given[order] / (np.abs(given).sum() or 1.0), "pixels": np.stack(through)}
    if question.model.map_kind != "none":
        arrays["maps"] = weight[order, None, None] * _maps(question)[order]
    facts: dict[str, object] = {"number": whole.number, "sum": _sum(whole.pixels)}
    facts |= {**whole.facts, "concepts": _table(arrays)}
    told = ", ".join(f"channel {c} {given[c]:+.3f}" for c in order)
    words = f"{whole.number:+.3f}, of it {told}{_less(whole.kept)}"
    return Explanation(arrays, facts, words, whole.notes)


def _table(arrays: Mapping[str, np.ndarray]) -> list[dict[str, object]]:
    """A row a channel: what it adds, its share in [-1, 1] of all channels, and where."""
    maps = arrays.get("maps", arrays["pixels"])
    rows = zip(arrays["channels"], arrays["relevance"], arrays["shares"], maps, strict=True)
    return [
        {
            **{"channel": int(channel), "relevance": float(given), "share": float(share)},
            "where": area_words(np.asarray(one)),
        }
        for channel, given, share, one in rows
    ]


def only(weight: FloatArray, channel: int) -> FloatArray:
    """The weight (D,) of one channel alone."""
    found: FloatArray = np.where(np.arange(len(weight)) == channel, weight, 0.0)
    return found


def strongest(given: FloatArray, count: int) -> IntArray:
    """The ``count`` entries of largest size, largest first; ties by their number."""
    return np.argsort(-np.abs(given), kind="stable")[:count]


def relmax(
    relevance_of: FloatArray, size: FloatArray | None = None, *, among: FloatArray, count: int
) -> IntArray:
    """Images that a channel, component or part mattered most to, most first, at most ``count``.

    Parameters
    ----------
    relevance_of : (n,) its relevance in every image; only positive ones are reference images.
    size : (n,) sum of abs(relevance) over all channels, by which it is divided; None: as it is.
    among : (n,) whether the image is explained: given the class.
    """
    values = relevance_of if size is None else relevance_of / (size + 1e-10)
    order = np.argsort(-np.where(among, values, -np.inf), kind="stable")
    kept = order[(values[order] > 0) & np.asarray(among, bool)[order]]
    found: IntArray = kept[:count]
    return found


def _image(question: Question) -> Tensor:
    import torch

    return question.model.normalise(torch.from_numpy(np.ascontiguousarray(question.pixels))[None])


def _features(question: Question, image: Tensor) -> FloatArray:
    import torch

    with torch.no_grad():
        found: FloatArray = question.model.features_of(image)[0].cpu().numpy().astype(np.float64)
    return found


def _maps(question: Question) -> FloatArray:
    """Maps (D, h, w) of the image."""
    import torch

    with torch.no_grad():
        found: FloatArray = question.model.maps_of(_image(question))[0].float().cpu().numpy()
    return found


def _sum(pixels: FloatArray) -> float:
    return float(pixels.sum(dtype=np.float64))


def _less(kept: float) -> str:
    """What constants of the network keep, in words."""
    return f"; {kept:+.3f} stays with its constants" if kept else ""


def pictures(explanation: Explanation, pixels: np.ndarray) -> dict[str, bytes]:
    """``map`` of the whole, and one of every channel that is told of."""
    arrays = explanation.arrays
    found = {"map": over(pixels, arrays["map"])}
    for channel, through in zip(arrays.get("channels", ()), arrays.get("pixels", ()), strict=True):
        found[f"channel-{channel}"] = over(pixels, through)
    if "pixels" in arrays:
        found["atlas"] = _atlas(arrays.get("maps", arrays["pixels"]), pixels)
    return found


def _atlas(maps: FloatArray, pixels: np.ndarray) -> bytes:
    """The image with the colour of the channel that adds most at every place, in table order."""
    from core.explain.overlays import CONCEPTS, atlas_png, over_photo

    size = max(pixels.shape[:2])
    shown = [readable(one) for one in maps[: len(CONCEPTS)]]
    return over_photo(pixels, atlas_png(np.stack(shown), CONCEPTS, size=size))


CRP = Explainer(
    name="crp",
    title="Concept relevance",
    text="Where a class is in an image through one of its channels, components or parts, at the "
    "pixels; without a candidate its strongest channels with their shares.",
    source="Achtibat et al. 2023",
    explain=crp,
    pictures=pictures,
    version=3,
    settings={
        "count": Setting(SHOWN, "channels that are told of", low=1, high=64),
        "channel": Setting(-1, "one channel alone", low=-1),
    },
)
