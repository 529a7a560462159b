"""How little of an image is enough (:mod:`core.explain.subsets`), as a method of its own."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError
from core.explain.explainer import Explainer, Explanation, Question, Setting
from core.explain.fills import AUTO, FILLS, FLAT, WORDS, Given, filled, least_telling
from core.explain.narrowing import narrowed
from core.explain.subsets import MOST, Order, areas, batched, border, exact, grid, odds_of, painted
from core.statistics.estimates import StudentMean
from core.types import BoolArray, FloatArray, IntArray, count_of

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model

PATCHES, PIXELS = 4, 100
"""Groups that a step takes away, of patches and of single pixels (Carter et al. 2021)."""

SIDE = 14
"""Patches along either side: 196, small enough for a page."""

TAU = 0.9
"""Confidence that is enough, as published."""

BEST = 0.05
"""Share of the groups that the model is asked about by itself, as published for CIFAR."""

COARSE, GRADIENTS, EXACT = "coarse", "gradients", "exact"
"""Ways to find the order."""

OTHERS = ("mean", "grey", "black", "blur")
"""Fills that the same subset is looked at under, to say what the fill does."""


def sis(question: Question) -> Explanation:
    """The order of the groups of an image, the curve of confidence, and the subset at ``tau``."""
    from core.models.trace import exclusive

    with exclusive(question.model.network):
        return _of(question)


def _of(question: Question) -> Explanation:
    model, pixels = question.model, question.pixels
    groups = grid((pixels.shape[0], pixels.shape[1]), int(question.value("grid")))
    chosen = chosen_fill(question)
    fills = different({name: fill_of(question, name) for name in (chosen, *OTHERS)})
    fill = fills[chosen]
    image = pixels.astype(np.float32) / 255
    began = perf_counter()
    whole = probabilities(_models(question), image[None])[0]
    pass_seconds = perf_counter() - began
    target = question.class_idx if question.word("of") == "class" else int(whole.argmax())
    share = float(whole[target]) if question.settings["relative"] else 1.0
    tau, search = question.value("tau") * share, search_of(question, groups)
    order = _order(question, groups, fill, target, search, tau)
    size = order.size(tau)
    best = max(round(BEST * len(order.removed)), 1)
    probes = [painted(image, fill, order.kept(best), groups)]
    if size > 0:
        probes += [painted(image, each, order.kept(size), groups) for each in fills.values()]
    said = probabilities(_models(question), np.stack(probes))
    under = dict(zip(fills, said[1:, target].tolist(), strict=True)) if size > 0 else {}
    facts = {
        **{"output": model.output_names[target], "tau": tau, "size": size},
        **{"groups": len(order.removed), "fill": chosen},
        **{"search": search, "exact": search == EXACT},
        **shares_of(order, groups, size),
        "given": model.output_names[int(whole.argmax())],
        "probability": float(order.confidence[0]),
        "probability_of_fill": float(order.confidence[-1]),
        "best": {
            **{"groups": best, "share": best / len(order.removed)},
            **{"probability": float(said[0, target]), "same": int(said[0].argmax()) == target},
        },
        "probability_by_fill": under,
        "exact_seconds": pass_seconds * len(order.removed) * (len(order.removed) + 1) / 2,
        "fill_sensitivity": float(np.std(list(under.values()))) if under else None,
    }
    return Explanation(
        _arrays(order, groups, size), facts, words_of(facts), notes_of(facts, question)
    )


def _models(question: Question) -> list[tuple[Model, IntArray]]:
    """Every model, with which of its outputs those of the first one are."""
    own = np.arange(len(question.model.weight), dtype=np.int64)
    return [(question.model, own), *question.more]


def search_of(question: Question, groups: IntArray) -> str:
    """How the order is found; of more groups than can be tried one by one with gradients."""
    if question.settings["exact"]:
        return EXACT
    asked = question.word("search")
    return GRADIENTS if asked == COARSE and int(groups.max()) >= MOST else asked


def _order(
    question: Question, groups: IntArray, fill: FloatArray, target: int, search: str, tau: float
) -> Order:
    odds = odds_of([(model, outputs[[target]]) for model, outputs in _models(question)])
    image, hidden = (
        as_tensor(question.model, each)
        for each in (question.pixels.astype(np.float32)[None] / 255, fill[None])
    )
    if search == EXACT:
        return exact(odds, image[0], hidden[0], groups, question.report)
    if search == COARSE:
        return narrowed(odds, image[0], hidden[0], groups, tau, question.report)
    step = int(question.value("k")) or (PATCHES if question.value("grid") else PIXELS)
    return batched(odds, image, hidden, groups, step=step, seed=question.seed)[0]


def as_tensor(model: Model, images: FloatArray) -> Tensor:
    """Images (n, h, w, 3) in [0, 1] as a network takes them, (n, 3, h, w) on its device."""
    import torch

    return torch.from_numpy(images).permute(0, 3, 1, 2).to(model.device)


def chosen_fill(question: Question) -> str:
    """The fill that was asked for, or the flat one that tells the models least."""
    asked = question.word("fill")
    if asked != AUTO:
        return asked
    flat = {name: fill_of(question, name)[None] for name in FLAT}
    return least_telling({n: probabilities(_models(question), f) for n, f in flat.items()})


def different(fills: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Fills without those that are the same as an earlier one, as grey may be the mean colour."""
    found: dict[str, FloatArray] = {}
    for name, fill in fills.items():
        if not any(np.allclose(fill, other, atol=1e-3) for other in found.values()):
            found[name] = fill
    return found


def fill_of(question: Question, name: str) -> FloatArray:
    """What an image is masked with, (h, w, 3) in [0, 1].

    Raises
    ------
    InputError
        If it is an image of another class, and none can be read.
    """
    mean = question.model.preprocess.mean
    return filled(name, Given(question.pixels, mean, lambda: _other(question)))


def _other(question: Question) -> np.ndarray:
    if found := question.others(1):
        return found[0]
    raise InputError("there is no image of another class to mask with that can be read")


def probabilities(models: Sequence[tuple[Model, IntArray]], images: FloatArray) -> FloatArray:
    """Mean probabilities (n, K) of images (n, h, w, 3) in [0, 1], in the first one's outputs."""
    import torch

    found = []
    for model, outputs in models:
        with torch.no_grad():
            scores = model.scores(model.normalised(as_tensor(model, images)))
        found.append(scores.double().softmax(1).cpu().numpy()[:, outputs])
    mean: FloatArray = np.mean(found, axis=0)
    return mean


def shares_of(order: Order, groups: IntArray, size: int) -> dict[str, float | None]:
    """Share of the image that the subset covers, and how much of it is at the border.

    ``border_area`` is what the border covers of the whole image: what a subset that lies anywhere
    would have there.
    """
    area, edge = areas(groups), border(groups)
    kept = order.kept(max(size, 0))
    covered = float(area[kept].sum())
    return {
        "share": covered if size >= 0 else None,
        "border_share": float(area[kept & edge].sum()) / covered if covered else None,
        "border_area": float(area[edge].sum()),
    }


def _arrays(order: Order, groups: IntArray, size: int) -> dict[str, np.ndarray]:
    """``order`` (rows, columns): the step at which every group goes; ``subset``: what is left."""
    shape = _shape(groups)
    steps = np.empty(len(order.removed), np.int64)
    steps[order.removed] = order.steps
    return {
        **{"order": steps.reshape(shape), "subset": order.kept(max(size, 0)).reshape(shape)},
        **{"removed": order.removed, "confidence": order.confidence, "left": order.left},
    }


def _shape(groups: IntArray) -> tuple[int, int]:
    """Rows and columns of the groups."""
    columns = int(groups[0].max()) + 1
    return (int(groups.max()) + 1) // columns, columns


def words_of(facts: Mapping[str, object]) -> str:
    """How little is enough, in a line; all but the exact search find an upper bound."""
    share, size, whole = facts["share"], facts["size"], facts["probability"]
    tau, name = 100 * _number(facts["tau"]), facts["output"]
    if share is None:
        return (
            f"no subset: the whole image gives {name} {100 * _number(whole):.0f} %, below "
            f"{tau:.0f} %"
        )
    if not size:
        return (
            f"nothing of the image is needed: {WORDS[str(facts['fill'])]} alone is given {name} "
            f"with {100 * _number(facts['probability_of_fill']):.0f} %, so how little is enough "
            "cannot be told"
        )
    said = (
        f"{'' if facts['exact'] else 'at most '}{100 * _number(share):.1f} % of the image ({size} "
        f"of {facts['groups']} groups) are enough for {tau:.0f} % {name}, filled with "
        f"{WORDS[str(facts['fill'])]}"
    )
    if facts["border_share"] is None:
        return said
    return (
        f"{said}; {100 * _number(facts['border_share']):.0f} % of them at the border, which is "
        f"{100 * _number(facts['border_area']):.0f} % of the image"
    )


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def notes_of(facts: Mapping[str, object], question: Question) -> list[str]:
    """What has to be known before a size is believed."""
    found, outputs = [], len(question.model.weight)
    alone = _number(facts["probability_of_fill"])
    if alone > 2 / outputs:
        found.append(
            f"the fill alone is given {facts['output']} with {100 * alone:.0f} %, more than twice "
            f"the {100 / outputs:.0f} % of chance: part of the size is the fill's doing; try "
            "--set fill=grey, blur or other"
        )
    if facts["given"] != facts["output"]:
        found.append(
            f"the model gives this image {facts['given']}, not {facts['output']}: for the subset "
            "of what it gives, --set of=predicted"
        )
    return found


def summed_up(explanations: Sequence[Explanation]) -> Explanation:
    """Mean sizes of images that are given their class and of others, and where subsets lie."""
    reached = [one for one in explanations if one.facts["share"] is not None]
    sides = {name: _sizes(reached, right=name == "right") for name in ("right", "wrong")}
    bounds = {name: StudentMean((0.0, 1.0)).of(values) for name, values in sides.items()}
    border = [_number(one.facts["border_share"]) for one in reached if one.facts["border_share"]]
    ends = ("value", "low", "high")
    facts = {
        **{"images": len(explanations), "with_a_subset": len(reached)},
        **{f"share_{name}": dict(zip(ends, of, strict=True)) for name, of in bounds.items()},
        **{f"images_{name}": len(values) for name, values in sides.items()},
        "border_share": float(np.mean(border)) if border else None,
        "border_area": explanations[0].facts["border_area"],
    }
    where = np.mean([one.arrays["subset"] for one in explanations], axis=0)
    if not reached:
        words = (
            f"none of {len(explanations)} images has a subset: the model is not sure enough of any "
            "as it is"
        )
        notes = ["there is no picture of where subsets lie; for smaller demands, --set tau=…"]
        return Explanation({"where": where}, facts, words, notes)
    each = "; ".join(_side(name, bounds[name], len(sides[name])) for name in sides)
    words = f"what is enough, {len(reached)} of {count_of(len(explanations), 'image')}: {each}"
    return Explanation({"where": where}, facts, words)


def _sizes(explanations: Sequence[Explanation], *, right: bool) -> FloatArray:
    """Share of the image that is enough, of images that are given what is explained, or not."""
    mine = [
        _number(one.facts["share"])
        for one in explanations
        if (one.facts["given"] == one.facts["output"]) == right
    ]
    return np.array(mine)


def _side(name: str, bounds: tuple[float, float, float], n: int) -> str:
    if not n:
        return f"no {name} image has a subset"
    value, low, high = (100 * end for end in bounds)
    interval = f" [{low:.1f}, {high:.1f}]" if low == low else ""
    return f"{n} {name} ones {value:.1f} %{interval} of the image"


def pictures(explanation: Explanation, pixels: np.ndarray) -> dict[str, bytes]:
    """``subset``: the image, grey where it is not needed; ``order``: what went last is white.

    An image without a subset has the order alone.
    Of several images ``where``: how often a patch is in the subset, white is always; none where it
    never is.
    """
    from PIL import Image

    from core.explain.overlays import png

    if "where" in explanation.arrays:
        if not explanation.arrays["where"].any():
            return {}
        light = np.round(255 * explanation.arrays["where"]).astype(np.uint8)
        return {"where": png(np.kron(light, np.ones((16, 16), np.uint8)))}
    size = (pixels.shape[1], pixels.shape[0])
    order = explanation.arrays["order"]
    light = np.round(255 * order / max(int(order.max()), 1)).astype(np.uint8)
    grey = Image.fromarray(light).resize(size, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    grey.save(buffer, "PNG")
    inside = enlarged(explanation.arrays["subset"], (pixels.shape[0], pixels.shape[1]))
    shown = np.where(inside[..., None], pixels, 128).astype(np.uint8)
    subset = {"subset": png(shown)} if inside.any() else {}
    return {**subset, "order": buffer.getvalue()}


def order_of(said: Explanation) -> Order:
    """The order behind a stored explanation."""
    return Order(*(said.arrays[name] for name in ("removed", "confidence", "left")))


def enlarged(subset: BoolArray, size: tuple[int, int]) -> BoolArray:
    """Groups (rows, columns) as pixels of an image, ``size`` is its height and width."""
    groups = grid(size, subset.shape[0] if subset.shape != size else 0)
    found: BoolArray = subset.ravel()[groups]
    return found


SETTINGS: Mapping[str, Setting] = {
    "fill": Setting(
        AUTO,
        "what stands where something is taken away; auto: the flat one that tells least",
        (AUTO, *FILLS),
    ),
    "tau": Setting(TAU, "confidence that is enough", low=0.01, high=0.999),
    "relative": Setting(False, "whether that is a share of the whole image's confidence"),
    "grid": Setting(SIDE, "patches along either side; 0: single pixels", low=0, high=64),
    "search": Setting(
        COARSE,
        "blocks first, then the groups of the rest (up to 256, else by gradients); the slopes of "
        "gradients; or every group at every step",
        (COARSE, GRADIENTS, EXACT),
    ),
    "k": Setting(
        0, "groups that go at once by gradients; 0: 4 patches or 100 pixels", low=0, high=10000
    ),
    "exact": Setting(False, "the same as search=exact"),
    "of": Setting("class", "whose probability", ("class", "predicted")),
}

SIS = Explainer(
    name="sis",
    title="How little is enough",
    text="The smallest part of an image that the model is still sure of, and in which order the "
    "rest went.",
    source="Carter et al. 2019; Carter et al. 2021, section 3",
    explain=sis,
    pictures=pictures,
    summary=summed_up,
    settings=SETTINGS,
    several=True,
    version=2,
)
