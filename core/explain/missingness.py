"""What "missing" means: an image with more and more of it taken away, under several fills.

A figure that masks says something of the model and something of the fill. A convolutional network
cannot be shown less of an image; a transformer of tokens can: patches are left out after positions
were added, and nothing stands in their place (Jain, Salman et al. 2022). The curve under tokens is
what the curves under fills should be held against.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import InputError
from core.explain.explainer import Explainer, Explanation, Question, Setting
from core.explain.sis import as_tensor, fill_of, probabilities
from core.explain.subsets import grid, mask_slopes, odds_of, painted
from core.types import FloatArray, IntArray, count_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.models.model import Model

FILLS = ("mean", "black", "blur", "other")
TOKENS = "tokens"
"""Patches left out of a transformer, where nothing is filled."""

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
"""Of the patches that are taken away."""

SIDE = 14
"""Patches along either side where the network has no tokens of its own."""


def token_grid(network: nn.Module) -> tuple[int, int] | None:
    """Rows and columns of the patches that a network reads as tokens; None where it has none.

    A transformer whose blocks take any number of tokens: patches are embedded, positions added,
    blocks follow one another. One with windows or pooling between blocks is none.
    """
    found = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    blocks = getattr(network, "blocks", None)
    plain = hasattr(network, "pos_embed") and hasattr(network, "num_prefix_tokens")
    if found is None or blocks is None or not plain or getattr(network, "rope", None) is not None:
        return None
    return int(found[0]), int(found[1])


@contextmanager
def kept_tokens(network: nn.Module, kept: IntArray) -> Iterator[None]:
    """Have a transformer read some of its patches alone, in passes inside the block.

    Parameters
    ----------
    kept : (m,) patches in reading order, or in any other one; the same of every image.

    Raises
    ------
    InputError
        If the network has no tokens that can be left out.
    """
    import torch

    if token_grid(network) is None:
        raise InputError("this architecture reads no tokens that can be left out")
    parts: Any = network
    prefix = int(parts.num_prefix_tokens)
    rows = torch.from_numpy(np.concatenate([np.arange(prefix), prefix + kept]))

    def fewer(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, *rest = given
        return (first[:, rows.to(first.device)], *rest)

    hook = parts.blocks[0].register_forward_pre_hook(fewer)
    try:
        yield
    finally:
        hook.remove()


def missingness(question: Question) -> Explanation:
    """What is said of one image as patches go, under every fill and without tokens."""
    from core.models.trace import exclusive

    with exclusive(question.model.network):
        return _of(question)


def _of(question: Question) -> Explanation:
    model, pixels = question.model, question.pixels
    side = token_grid(model.network)
    if side is not None and side[0] != side[1]:
        side = None
    groups = grid((pixels.shape[0], pixels.shape[1]), side[0] if side else SIDE)
    order = patch_order(question, groups)
    counts = [round(share * len(order)) for share in SHARES]
    image = pixels.astype(np.float32) / 255
    said = {}
    for name in FILLS:
        fill = fill_of(question, name)
        shown = [painted(image, fill, _kept(order, count), groups) for count in counts]
        said[name] = probabilities([(model, _own(model))], np.stack(shown))
    if side is not None:
        said[TOKENS] = _without_tokens(model, image, order, counts)
    values = np.stack(list(said.values()))
    arrays = {
        "given": values.argmax(axis=2),
        "probability": values[:, :, question.class_idx],
        "taken_away": np.array(SHARES),
        "order": order,
    }
    facts = _facts(model, list(said), arrays)
    return Explanation(arrays, facts, _words(facts))


def pictures(explanation: Explanation, pixels: np.ndarray) -> dict[str, bytes]:
    """``taken_away``: an image side by side as ever more of it goes, black where a patch is gone.

    Several images together have none.
    """
    from core.explain.overlays import png

    if "order" not in explanation.arrays:
        return {}
    order = explanation.arrays["order"]
    groups = grid((pixels.shape[0], pixels.shape[1]), isqrt(len(order)))
    shown = [
        painted(pixels, np.zeros_like(pixels), _kept(order, round(share * len(order))), groups)
        for share in SHARES
    ]
    return {"taken_away": png(np.concatenate(shown, axis=1).astype(np.uint8))}


def _own(model: Model) -> IntArray:
    return np.arange(len(model.weight), dtype=np.int64)


def _kept(order: IntArray, count: int) -> np.ndarray:
    """(p,) what is left once the first ``count`` are gone."""
    kept = np.ones(len(order), bool)
    kept[order[:count]] = False
    return kept


def patch_order(question: Question, groups: IntArray) -> IntArray:
    """In which order patches go, (p,): by lot, or by how much the class gains by each."""
    p = int(groups.max()) + 1
    by_lot = np.random.default_rng(question.seed).permutation(p).astype(np.int64)
    if question.word("order") == "random":
        return by_lot
    model, image = question.model, question.pixels.astype(np.float32)[None] / 255
    odds = odds_of([(model, np.array([question.class_idx]))])
    hidden = fill_of(question, "mean")[None]
    gains = mask_slopes(odds, as_tensor(model, image), as_tensor(model, hidden), groups)[0]
    ranked: IntArray = np.lexsort((by_lot, -gains)).astype(np.int64)
    return ranked if question.word("order") == "most" else ranked[::-1].copy()


def _without_tokens(
    model: Model, image: FloatArray, order: IntArray, counts: Sequence[int]
) -> FloatArray:
    """Probabilities (len(counts), K) with patches left out of the tokens."""
    found = []
    for count in counts:
        with kept_tokens(model.network, np.sort(order[count:])):
            found.append(probabilities([(model, _own(model))], image[None])[0])
    return np.stack(found)


def _facts(model: Model, names: Sequence[str], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    given, probability = arrays["given"], arrays["probability"]
    fills = slice(0, len(FILLS))
    return {
        "ways": list(names),
        "taken_away": list(SHARES),
        "given": {
            name: [model.output_names[i] for i in row]
            for name, row in zip(names, given.tolist(), strict=True)
        },
        "probability": dict(zip(names, probability.tolist(), strict=True)),
        "unchanged": dict(zip(names, (given == given[:, :1]).tolist(), strict=True)),
        "fills_agree": (given[fills] == given[:1]).all(axis=0).tolist(),
        "fill_sensitivity": probability[fills].std(axis=0).tolist(),
    }


def _words(facts: Mapping[str, Any]) -> str:
    half = SHARES.index(0.5)
    each = ", ".join(f"{name} {row[half]}" for name, row in facts["given"].items())
    spread = 100 * facts["fill_sensitivity"][half]
    return f"half of the image taken away: {each}; fills differ by {spread:.0f} points"


def class_entropy(given: IntArray) -> float:
    """Entropy of the classes that images are given, in nats: 0 where all are given one.

    At most the logarithm of the number of classes. Jain, Salman et al. 2022, section 3.
    """
    _, counts = np.unique(given, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0


def summed_up(explanations: Sequence[Explanation]) -> Explanation:
    """Class entropy, and the share of images that stay as they were, as more is taken away.

    Of images of one class a fill that keeps what matters keeps the entropy low; of images of all
    classes one that draws the model to a class of its own lowers it.
    """
    names = list(explanations[0].facts["ways"])  # type: ignore[call-overload]
    given = np.stack([one.arrays["given"] for one in explanations])
    entropy = np.array(
        [[class_entropy(column) for column in row.T] for row in given.swapaxes(0, 1)]
    )
    unchanged = (given == given[:, :, :1]).mean(axis=0)
    agree = (given[:, : len(FILLS)] == given[:, :1]).all(axis=1).mean(axis=0)
    facts = {
        **{"images": len(explanations), "ways": names, "taken_away": list(SHARES)},
        "class_entropy_nats": dict(zip(names, entropy.tolist(), strict=True)),
        "unchanged": dict(zip(names, unchanged.tolist(), strict=True)),
        "fills_agree": agree.tolist(),
    }
    half = SHARES.index(0.5)
    each = ", ".join(
        f"{name} {100 * row[half]:.0f} %" for name, row in zip(names, unchanged, strict=True)
    )
    words = (
        f"{count_of(len(explanations), 'image')}, half of each taken away: still given their class "
        f"{each}; all fills agree on {100 * agree[half]:.0f} %"
    )
    return Explanation({"class_entropy": entropy, "unchanged": unchanged}, facts, words)


MISSINGNESS = Explainer(
    name="missingness",
    title="What is missing",
    text="What is said of an image as more and more of it is taken away, under several fills and, "
    "of transformers, with patches left out.",
    source="Jain, Salman et al. 2022, sections 3 and 4",
    explain=missingness,
    pictures=pictures,
    summary=summed_up,
    settings={
        "order": Setting("random", "which patches go first", ("random", "most", "least")),
    },
)
