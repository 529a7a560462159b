"""Maps by name: the exact one, and approximations to hold against it.

All of them explain a linear functional of the features, target = q . phi: a candidate's alpha
(its constant changes nothing) or the logit of a class. The exact map averages to it; the maps of
LRP sum to it; no other does. Another package adds one by :func:`register`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.errors import ModelError
from core.explain.explainer import EXPLAINERS, Explainer, Explanation, Question
from core.explain.faithfulness import best, composed, order_of
from core.explain.fills import WORDS, Given, filled
from core.types import FloatArray, Registry

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model


class Map(NamedTuple):
    """A map with what has to be known of it."""

    values: FloatArray
    """(h, w)."""
    facts: Mapping[str, object]
    """As a JSON document can hold them."""
    notes: Sequence[str]


Explain = Callable[["Model", "Tensor", FloatArray], FloatArray | Map]
"""``explain(model, image, direction)``: a normalised image (1, 3, H, W) on the model's device and
the functional (D,) to a map (h, w), positive where the image raises the target. It has the network
to itself while it runs."""


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """One way to say where in an image a number comes from."""

    name: str
    """As in addresses."""
    title: str
    """As on the screen."""
    text: str
    """What it does, in a sentence."""
    source: str
    explain: Explain
    masks: str = ""
    """With what it covers parts of the image; empty where it covers none."""
    version: int = 1
    """Another one explains again what is stored."""


ATTRIBUTIONS: Registry[Attribution] = Registry(
    "attribution method",
    (
        "core.explain.exact_map:EXACT_MAP",
        "core.explain.grad_cam:GRAD_CAM",
        "core.explain.integrated_gradients:INTEGRATED_GRADIENTS",
        "core.explain.occlusion:OCCLUSION",
        "core.explain.lrp:LRP",
        "core.explain.pixel_gradients:INPUT_X_GRADIENT",
        "core.explain.gradient_shap:GRADIENT_SHAP",
        "core.explain.pixel_gradients:SALIENCY",
        "core.explain.guided_backpropagation:GUIDED_BACKPROPAGATION",
        "core.explain.learned_mask:LEARNED_MASK",
    ),
)


def register(new: Attribution) -> Attribution:
    """Add an attribution, to the page Image and as a method of the command ``explain``."""
    found = ATTRIBUTIONS.register(new)
    EXPLAINERS.register(as_explainer(found))
    return found


def attribute(model: Model, pixels: np.ndarray, direction: FloatArray, method: str) -> FloatArray:
    """The map of :func:`attributed` alone, (h, w) float32."""
    return attributed(model, pixels, direction, method).values


def attributed(model: Model, pixels: np.ndarray, direction: FloatArray, method: str) -> Map:
    """Attribution map (h, w) float32 of one image; positive: raises the target.

    Captum hooks into the network and holds several passes in memory, so one map at a time is
    computed of it (:func:`core.models.trace.exclusive`); others wait for theirs.

    Parameters
    ----------
    pixels : (h, w, 3) uint8, what the encoder sees.
    direction : (D,) the functional of the features.
    method : a name of ``ATTRIBUTIONS``.

    Raises
    ------
    InputError
        If the method is unknown, or cannot explain this architecture.
    ModelError
        If it takes gradients and the network has none here.
    """
    import torch

    from core.models.trace import exclusive

    chosen = ATTRIBUTIONS.chosen(method)
    image = model.normalise(torch.from_numpy(np.ascontiguousarray(pixels))[None])
    with exclusive(model.network), taking_gradients(chosen.title):
        made = chosen.explain(model, image, direction)
    said = made if isinstance(made, Map) else Map(made, {}, ())
    found = np.asarray(said.values, np.float32)
    if not np.isfinite(found).all():
        raise ModelError(f"{chosen.title} is not finite at the network's precision: {WITHOUT}")
    return said._replace(values=found)


WITHOUT = "use the exact map or occlusion, which need no gradients"


@contextmanager
def taking_gradients(title: str) -> Iterator[None]:
    """Says in a sentence that a network has no gradients on its device at its precision.

    Raises
    ------
    ModelError
        In place of what torch says; ``title`` is what was to be made of them.
    """
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        line = str(error).strip().partition("\n")[0][:120]
        raise ModelError(
            f"{title} cannot be made of this network on its device at its precision "
            f"({line}): {WITHOUT}"
        ) from error


def functional(model: Model, direction: FloatArray) -> Callable[[Tensor], Tensor]:
    """The target: normalised images (B, 3, H, W) to q . phi, (B,)."""
    import torch

    q = torch.from_numpy(np.asarray(direction, np.float32)).to(model.device)
    return lambda batch: model.features_of(batch) @ q


def by_pixel(found: Tensor) -> FloatArray:
    """Attributions (1, 3, H, W) of one image, summed over colour channels, (H, W) float32."""
    summed: FloatArray = found.detach().float().sum(1)[0].cpu().numpy()
    return summed


SHORT = {"integrated_gradients": "ig"}
"""Names in commands where they differ."""


def method_of(attribution: str) -> str:
    """The method that an attribution is."""
    return SHORT.get(attribution, attribution)


def as_explainer(attribution: Attribution) -> Explainer:
    """An attribution as a method."""
    return Explainer(
        name=method_of(attribution.name),
        title=attribution.title,
        text=attribution.text,
        source=attribution.source,
        explain=lambda question: explained(question, attribution.name),
        pictures=pictures,
        version=attribution.version,
    )


def explained(question: Question, name: str) -> Explanation:
    """The map of a candidate's alpha, or of the class's logit, of one image."""
    start = time.perf_counter()
    said = attributed(question.model, question.pixels, question.direction, name)
    found, seconds = said.values, time.perf_counter() - start
    number = float(question.direction @ features(question))
    whole, mean = (float(of(found, dtype=np.float64)) for of in (np.sum, np.mean))
    facts: dict[str, object] = {"number": number, "sum": whole, "seconds": seconds}
    facts |= {"mean": mean, "rows": len(found), **said.facts}
    words = (
        f"{ATTRIBUTIONS[name].title} of {number:+.3f}: sum {whole:+.3f}, mean "
        f"{mean:+.3f}, {found.shape[0]} x {found.shape[1]}, {seconds:.1f} s"
    )
    notes = list(said.notes)
    if masks := ATTRIBUTIONS[name].masks:
        covered = lost_by_fill(question, found)
        spread = float(np.std(list(covered.values())))
        facts |= {"fill": masks, "lost_by_fill": covered, "fill_sensitivity": spread}
        each = ", ".join(f"{WORDS[fill]} {lost:+.3f}" for fill, lost in covered.items())
        notes.append(
            f"it masks with {masks}; its best tenth covered, the number loses, with {each}: "
            f"standard deviation {spread:.3f}"
        )
    return Explanation({"map": found}, facts, words, notes)


COVERED, FILLED = 0.1, ("mean", "black", "blur")
"""Share of the pixels that is covered, and with what, to say what a fill does."""


def lost_by_fill(question: Question, heatmap: FloatArray) -> dict[str, float]:
    """By how much the number falls where the best of a map is covered, by fill."""
    import torch

    pixels, model = question.pixels, question.model
    size = (pixels.shape[0], pixels.shape[1])
    rest = ~best(order_of(heatmap, size), size, COVERED)
    given = Given(pixels, model.preprocess.mean, lambda: pixels)
    image = pixels.astype(np.float32) / 255
    shown = [image, *(composed(image, filled(name, given), rest) for name in FILLED)]
    tensor = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).to(model.device)
    with torch.no_grad():
        said = functional(model, question.direction)(model.normalised(tensor)).double().tolist()
    return {name: said[0] - one for name, one in zip(FILLED, said[1:], strict=True)}


def features(question: Question) -> np.ndarray:
    """Features (D,) of the image that is asked about."""
    import torch

    pixels = torch.from_numpy(np.ascontiguousarray(question.pixels))[None]
    found: np.ndarray = question.model.encode(pixels).features[0].cpu().numpy()
    return found


def pictures(explanation: Explanation, pixels: np.ndarray) -> dict[str, bytes]:
    """``map``: the image with the map over it in colours, full strength at its maximum."""
    return {"map": over(pixels, explanation.arrays["map"])}


def over(pixels: np.ndarray, heatmap: np.ndarray) -> bytes:
    """A PNG of an image (h, w, 3) uint8 with a map over it."""
    from core.explain.heatmaps import readable
    from core.explain.overlays import heat_png, over_photo

    shown = readable(heatmap)
    size = max(pixels.shape[:2])
    layer = heat_png(shown, float(np.abs(shown).max()), size=size, contour=False)
    return over_photo(pixels, layer)
