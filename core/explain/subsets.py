"""Sufficient input subsets: how little of an image is enough for the model to be sure.

Groups of pixels, patches of a grid or single ones, are taken away one after the other, those first
whose loss hurts the confidence least; the last ones left that still reach a threshold are a
sufficient subset (Carter, Mueller, Jain & Gifford 2019). Exactly, every group that is left is tried
at every step, p (p + 1) / 2 passes for p groups. With gradients (Carter, Jain, Mueller & Gifford
2021) a step takes one pass and its gradient by the mask, and k groups go at once.

Groups are ranked by the change of the log-odds, which is that of the probability but for a factor
that all groups of an image share, and does not vanish where the probability is 1 to the last bit (a
departure). Ties are broken by the seed; the published code adds noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError, ModelError
from core.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model

Odds = Callable[["Tensor"], "Tensor"]
"""Images (B, 3, h, w) float32 in [0, 1] to log-odds (B,) of what is explained of each."""

MOST = 256
"""Groups that the exact search takes: beyond, its passes take hours."""

PASSES = 32
"""Images of a pass of the exact search."""


@dataclass(frozen=True)
class Order:
    """In which order the groups of an image were taken away, and what was left of confidence."""

    removed: IntArray
    """(p,) groups, the first one taken away first; the last ones are the sufficient ones."""
    confidence: FloatArray
    """(T + 1,) probability before every step, the whole image first and the fill alone last."""
    left: IntArray
    """(T + 1,) groups that are left where the confidence was measured."""

    def kept(self, count: int) -> BoolArray:
        """(p,) the last ``count`` groups, exactly as many; larger subsets hold smaller ones."""
        found = np.zeros(len(self.removed), bool)
        found[self.removed[len(self.removed) - count :]] = True
        return found

    @property
    def steps(self) -> IntArray:
        """(p,) at which step every group goes, in the order of ``removed``."""
        return np.repeat(np.arange(len(self.left) - 1), -np.diff(self.left))

    def size(self, tau: float) -> int:
        """Groups of the sufficient subset, or -1 where the whole image does not reach ``tau``.

        Groups are put back from the last one taken away until the confidence first reaches it, as
        published: confidence does not only fall on the way.
        """
        if self.confidence[0] < tau:
            return -1
        return int(self.left[np.flatnonzero(self.confidence >= tau)[-1]])


def evenly(groups: int, step: int) -> IntArray:
    """(T + 1,) groups that are left where ``step`` go at once; the last step may have fewer."""
    return np.append(np.arange(groups, 0, -step, dtype=np.int64), 0)


def grid(size: tuple[int, int], side: int) -> IntArray:
    """Groups of pixels (h, w), 0 to p - 1 in reading order: ``side`` x ``side`` patches.

    Parameters
    ----------
    side : patches along either side, as equal as they can be; 0: every pixel by itself.
    """
    rows, columns = (
        np.arange(n) if not side else np.minimum(np.arange(n) * side // n, side - 1) for n in size
    )
    found: IntArray = rows[:, None] * (int(columns[-1]) + 1) + columns
    return found.astype(np.int64)


def border(groups: IntArray) -> BoolArray:
    """(p,) groups at the edge: patches that touch it, single pixels of the outer fourteenth."""
    single = int(groups.max()) + 1 == groups.size
    deep = max(min(groups.shape) // 14, 1) if single else 1
    edge = np.ones(groups.shape, bool)
    edge[deep:-deep, deep:-deep] = False
    found = np.zeros(int(groups.max()) + 1, bool)
    found[groups[edge]] = True
    return found


def areas(groups: IntArray) -> FloatArray:
    """(p,) share of the image that every group covers."""
    found: FloatArray = np.bincount(groups.ravel()) / groups.size
    return found


def batched(
    odds: Odds, images: Tensor, fill: Tensor, groups: IntArray, *, step: int, seed: int = 0
) -> list[Order]:
    """The order of every image (n, 3, h, w), by gradients; ``step`` groups go at once.

    Parameters
    ----------
    fill : (n, 3, h, w) what stands where something is taken away; both float32 in [0, 1].
    groups : (h, w) which group every pixel belongs to.

    Raises
    ------
    ModelError
        If the network has no gradients here.
    """
    import torch

    n, p = len(images), int(groups.max()) + 1
    where = torch.from_numpy(groups.ravel()).to(images.device)
    kept = torch.ones((n, p), device=images.device)
    chance = np.broadcast_to(np.random.default_rng(seed).permutation(p), (n, p))
    removed = np.zeros((n, p), np.int64)
    confidence = []
    for start in range(0, p, step):
        value, slope = _slopes(odds, images, fill, kept, where)
        confidence.append(value)
        going = _lowest(slope, kept.cpu().numpy() > 0, chance, min(step, p - start))
        removed[:, start : start + step] = going
        kept.scatter_(1, torch.from_numpy(going).to(kept.device), 0.0)
    with torch.no_grad():
        confidence.append(probability(odds(fill)))
    curves = np.stack(confidence, axis=1)
    return [Order(removed[i], curves[i], evenly(p, step)) for i in range(n)]


def _lowest(slope: FloatArray, kept: BoolArray, chance: IntArray, count: int) -> IntArray:
    """Of every row (n, p) the kept groups of lowest slope, the lowest first, (n, count)."""
    ranked = np.lexsort((chance, np.where(kept, slope, np.inf)), axis=1)
    found: IntArray = ranked[:, :count].astype(np.int64)
    return found


def _slopes(
    odds: Odds, images: Tensor, fill: Tensor, kept: Tensor, where: Tensor
) -> tuple[FloatArray, FloatArray]:
    """Probability (n,) with the kept groups alone, and log-odds' change by each, (n, p)."""
    import torch

    mask = kept.clone().requires_grad_()
    try:
        with torch.enable_grad():
            found = odds(masked(images, fill, mask, where))
            (slope,) = torch.autograd.grad(found.sum(), mask)
    except (RuntimeError, NotImplementedError) as error:
        raise ModelError(
            f"the network has no gradients on its device at its precision ({_line(error)}): use "
            "--set exact=true, which needs none"
        ) from error
    if not slope.isfinite().all():
        raise ModelError(
            "the network's gradients are not finite at its precision: use --set exact=true, which "
            "needs none"
        )
    return probability(found.detach()), slope.double().cpu().numpy()


def mask_slopes(odds: Odds, images: Tensor, fill: Tensor, groups: IntArray) -> FloatArray:
    """What every group of whole images adds to the log-odds, to first order, (n, p).

    Raises
    ------
    ModelError
        If the network has no gradients here.
    """
    import torch

    kept = torch.ones((len(images), int(groups.max()) + 1), device=images.device)
    where = torch.from_numpy(groups.ravel()).to(images.device)
    return _slopes(odds, images, fill, kept, where)[1]


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:120]


def masked(images: Tensor, fill: Tensor, kept: Tensor, where: Tensor) -> Tensor:
    """Images with what is not kept filled, (n, 3, h, w)."""
    mask = kept[:, where].view(len(kept), 1, *images.shape[2:])
    return fill + mask * (images - fill)


def probability(odds: Tensor) -> FloatArray:
    """(n,) of log-odds."""
    found: FloatArray = odds.double().sigmoid().cpu().numpy()
    return found


def exact(
    odds: Odds,
    image: Tensor,
    fill: Tensor,
    groups: IntArray,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Order:
    """The order of one image (3, h, w), with every group tried at every step (BackSelect).

    A tie takes the lowest group.

    Raises
    ------
    InputError
        If there are more than :data:`MOST` groups.
    """
    import torch

    p = require_few(groups)
    where = torch.from_numpy(groups.ravel()).to(image.device)
    pictures, fills = image[None], fill[None]
    kept, removed, done = torch.ones((1, p), device=image.device), [], 0
    with torch.no_grad():
        confidence = [float(probability(odds(pictures))[0])]
        for _ in range(p):
            left = torch.nonzero(kept[0])[:, 0]
            values = torch.cat(list(_without(odds, pictures, fills, kept, left, where)))
            best = int(values.argmax())
            removed.append(int(left[best]))
            kept[0, left[best]] = 0.0
            confidence.append(float(probability(values[best : best + 1])[0]))
            done += len(left)
            report(done, p * (p + 1) // 2)
    return Order(np.array(removed, np.int64), np.array(confidence), evenly(p, 1))


def require_few(groups: IntArray) -> int:
    """How many groups there are.

    Raises
    ------
    InputError
        If there are too many to try them one by one.
    """
    p = int(groups.max()) + 1
    if p > MOST:
        raise InputError(f"the exact search takes up to {MOST} groups and was given {p}")
    return p


def _without(
    odds: Odds, image: Tensor, fill: Tensor, kept: Tensor, left: Tensor, where: Tensor
) -> Iterator[Tensor]:
    """Log-odds of one image without each of the groups that are left, PASSES at a time."""
    import torch

    for start in range(0, len(left), PASSES):
        each = left[start : start + PASSES]
        masks = kept.repeat(len(each), 1)
        masks[torch.arange(len(each)), each] = 0.0
        yield odds(masked(image, fill, masks, where))


def painted(image: FloatArray, fill: FloatArray, kept: BoolArray, groups: IntArray) -> FloatArray:
    """One image (h, w, 3) with what is not kept filled."""
    found: FloatArray = np.where(kept[groups][..., None], image, fill)
    return found


def odds_of(models: Sequence[tuple[Model, IntArray]]) -> Odds:
    """Log-odds of the mean of several models' probabilities.

    Parameters
    ----------
    models : each with the output that is explained of every image, (B,) or (1,) of all.
    """
    import torch

    def odds(images: Tensor) -> Tensor:
        pairs = [_logs(model, outputs, images) for model, outputs in models]
        yes, no = (torch.stack(part).logsumexp(0) for part in zip(*pairs, strict=True))
        return yes - no

    return odds


def _logs(model: Model, outputs: IntArray, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms (B,) of the probability of an output, and of all others together."""
    import torch

    logs = model.scores(model.normalised(images)).log_softmax(1)
    own = torch.from_numpy(np.broadcast_to(outputs, len(images)).copy()).to(logs.device)
    mine = torch.nn.functional.one_hot(own, logs.shape[1]).bool()
    return logs[mine], logs.masked_fill(mine, -torch.inf).logsumexp(1)
