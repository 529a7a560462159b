"""Sufficient subsets from coarse to fine: blocks of an image go first, then patches of the rest.

Every block that is left is tried at every step, as in the exact search (BackSelect; Carter et al.
2019); the last ones left that still reach the confidence are cut finer, and so on down to single
groups. Some hundred passes, where every group of 196 tried at every step takes 19,306. Of the
blocks that are tried a quarter goes at once, as long as the rest reaches the confidence without
them. Needs no gradients, which say little of so large a change as a patch that goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.explain.subsets import PASSES, Odds, Order, masked, probability, require_few
from core.types import BoolArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor

SIDES = (4, 7)
"""Blocks along either side, before groups of their own are tried."""

AT_ONCE = 0.25
"""Share of the blocks that are left that goes at once, where the rest is enough without them."""

USUAL = 400
"""Passes that are expected, for the progress of a job."""

OWN = 0.9
"""Share of the whole image's confidence that is aimed at, where that is below what was asked."""


class Step(NamedTuple):
    """What goes at once."""

    gone: IntArray
    """Groups."""
    confidence: float
    """Probability without them."""


def narrowed(
    odds: Odds,
    image: Tensor,
    fill: Tensor,
    groups: IntArray,
    tau: float,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Order:
    """The order of one image (3, h, w), from coarse to fine, for a confidence of ``tau``.

    Parameters
    ----------
    groups : (h, w) which group every pixel belongs to, as many along either side.

    Raises
    ------
    InputError
        If there are more than :data:`core.explain.subsets.MOST` groups.
    """
    require_few(groups)
    search = _Search(odds, image, fill, groups, report)
    whole = float(probability(search.ask(np.ones((1, search.p), bool)))[0])
    search.wanted = min(tau, OWN * whole)
    kept, steps = np.ones(search.p, bool), list[Step]()
    for side in (*(s for s in SIDES if s < search.side), search.side):
        last = side == search.side
        found = search.level(kept, search.blocks(side))
        enough = [i for i, step in enumerate(found) if step.confidence >= search.wanted]
        steps += found if last else found[: enough[-1] + 1 if enough else 0]
        kept = np.ones(search.p, bool)
        kept[_gone(steps)] = False
    left = search.p - np.cumsum([0, *(len(step.gone) for step in steps)])
    curve = np.array([whole, *(step.confidence for step in steps)])
    return Order(_gone(steps), curve, left.astype(np.int64))


def _gone(steps: list[Step]) -> IntArray:
    found: IntArray = np.concatenate([np.zeros(0, np.int64), *(step.gone for step in steps)])
    return found


class _Search:
    """One image, and what of it was looked at."""

    def __init__(
        self,
        odds: Odds,
        image: Tensor,
        fill: Tensor,
        groups: IntArray,
        report: Callable[[int, int], None],
    ) -> None:
        import torch

        self.odds, self.image, self.fill, self.report = odds, image[None], fill[None], report
        self.p, self.side = int(groups.max()) + 1, int(groups[0].max()) + 1
        self.where = torch.from_numpy(groups.ravel()).to(image.device)
        self.wanted, self.passes = 0.0, 0

    def blocks(self, side: int) -> IntArray:
        """(p,) which of ``side`` x ``side`` blocks every group is in."""
        rows, columns = np.divmod(np.arange(self.p), self.side)
        found: IntArray = rows * side // self.side * side + columns * side // self.side
        return found

    def ask(self, kept: BoolArray) -> Tensor:
        """Log-odds (n,) with some of the groups alone, (n, p)."""
        import torch

        found, masks = [], torch.from_numpy(kept.astype(np.float32)).to(self.image.device)
        with torch.no_grad():
            for start in range(0, len(masks), PASSES):
                part = masks[start : start + PASSES]
                found.append(self.odds(masked(self.image, self.fill, part, self.where)))
                self.passes += len(part)
                self.report(self.passes, max(self.passes, USUAL))
        return torch.cat(found)

    def level(self, kept: BoolArray, blocks: IntArray) -> list[Step]:
        """Blocks of what is kept go, those first without which the rest is surest, to the last."""
        steps, left = list[Step](), np.unique(blocks[kept])
        while len(left):
            without = self.ask(kept & (blocks != left[:, None])).double().cpu()
            order = np.argsort(-without.numpy(), kind="stable")
            best = float(probability(without)[order[0]])
            going, confidence = self._together(kept, blocks, left[order], best)
            gone = np.flatnonzero(kept & np.isin(blocks, going))
            steps.append(Step(gone, confidence))
            kept = kept & ~np.isin(blocks, going)
            left = left[~np.isin(left, going)]
        return steps

    def _together(
        self, kept: BoolArray, blocks: IntArray, ranked: IntArray, best: float
    ) -> tuple[IntArray, float]:
        """The blocks that go, of ``ranked``, and the confidence without them.

        ``best`` is that without the first alone; where it is not enough, a quarter goes anyway.
        """
        count = max(int(AT_ONCE * len(ranked)), 1)
        while count > 1:
            rest = self.ask((kept & ~np.isin(blocks, ranked[:count]))[None])
            confidence = float(probability(rest)[0])
            if confidence >= self.wanted or best < self.wanted:
                return ranked[:count], confidence
            count //= 2
        return ranked[:1], best
