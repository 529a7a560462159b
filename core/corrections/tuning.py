"""Head tuning on images of low spuriosity.

Moayeri, Wang, Singla, Feizi: Spuriosity Rankings (NeurIPS 2023), section on closing the gap. The
published form tunes on the annotated classes alone and stops on the images that it reports; here
other classes are replayed, and tuning, stopping and reporting have images of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.corrections.evidence import HIDDEN, SHOWN, Evidence
from core.corrections.head_methods import SHARES
from core.corrections.methods import Method
from core.corrections.rectified import with_weights
from core.errors import InputError
from core.models.linear import Head
from core.types import BoolArray, FloatArray, IntArray

SIDE = 100
"""Images of lowest alpha per cue (published)."""
EPOCHS, BATCH, MOMENTUM = 20, 128, 0.9
"""As published."""
RATES = (1e-3, 1e-2, 1e-1, 1.0)
"""Step sizes; the first is published, for features of an ImageNet encoder."""
GAP = 0.05
"""Tuning stops when the gap, accuracy at high minus at low alpha, is below."""
STOPPING = 4
"""One image in so many is kept for stopping."""
VARIANTS = ("low", "contrast")


@dataclass(frozen=True)
class Tuned:
    """A tuned head and how it came about."""

    head: Head
    gaps: tuple[float, ...]
    """Gap on the stopping images before tuning and after every epoch, largest over the cues, in
    [-1, 1]; NaN where a side has no image."""
    rows: IntArray
    """Images that were tuned on."""


def tune_head(
    head: Head,
    evidence: Evidence,
    *,
    variant: str = "low",
    rate: float = RATES[0],
    epochs: int = EPOCHS,
    batch: int = BATCH,
    gap: float | None = GAP,
) -> Tuned:
    """Go on training the head, by SGD, on images that hide the cues.

    A quarter of the evidence is kept for stopping; figures are reported on other splits. Closing
    the gap is not unlearning the cue: without images that show it, nothing tells the head to
    ignore it, and a pasted cue may trigger the class as before.

    Parameters
    ----------
    variant : ``low`` is published; ``contrast`` adds images of other classes of the highest alpha,
        which do show the cue.
    rate : step size on raw features.
    gap : stop below it; None: run all epochs.

    Raises
    ------
    InputError
        If the variant is unknown or no image hides a cue.
    """
    import torch

    if variant not in VARIANTS:
        raise InputError(f"variant {variant!r}: choose {', '.join(VARIANTS)}")
    stop = np.arange(len(evidence.labels))
    rows = tuning_rows(evidence, variant)
    if gap is not None:
        kept, stop = next(iter(evidence.fold_rows(STOPPING)))
        rows = tuning_rows(evidence, variant, kept)
    x = torch.from_numpy(np.asarray(evidence.features[rows], np.float32))
    y = torch.from_numpy(evidence.labels[rows])
    layer = torch.nn.Linear(*reversed(head.weight.shape))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(head.weight)))
        layer.bias.copy_(torch.from_numpy(np.array(head.bias)))
    taken = torch.from_numpy(_taken(head, x.numpy()))
    steps = torch.optim.SGD(layer.parameters(), lr=rate, momentum=MOMENTUM)
    order = torch.Generator().manual_seed(evidence.seed)
    gaps = [gap_of(head, evidence, stop)]
    for _ in range(epochs):
        if gap is not None and gaps[-1] < gap:
            break
        for part in torch.split(torch.randperm(len(x), generator=order), batch):
            steps.zero_grad()
            loss = torch.nn.functional.cross_entropy(layer(x[part]) - taken[part], y[part])
            loss.backward()  # type: ignore[no-untyped-call]
            steps.step()
        weight, bias = (p.detach().numpy().copy() for p in (layer.weight, layer.bias))
        gaps.append(gap_of(with_weights(head, weight, bias), evidence, stop))
    weight, bias = (p.detach().numpy().copy() for p in (layer.weight, layer.bias))
    return Tuned(with_weights(head, weight, bias), tuple(gaps), rows)


def tuned(
    head: Head, evidence: Evidence, strength: float, *, variant: str = "low", rate: float = RATES[0]
) -> Head:
    """The way from the head to the tuned one, by the share ``strength``; 1 is published.

    Weights are interpolated (Wortsman et al. 2022), so that one training serves a whole sweep.
    """
    after = tune_head(head, evidence, variant=variant, rate=rate).head
    weight = head.weight + strength * (after.weight - head.weight)
    return with_weights(head, weight, head.bias + strength * (after.bias - head.bias))


def tuning_rows(
    evidence: Evidence, variant: str = "low", among: IntArray | None = None
) -> IntArray:
    """Images to tune on: low ones of every cue's class, and as many of every other class.

    Parameters
    ----------
    among : rows that may be taken; default all.

    Raises
    ------
    InputError
        If no image hides one of the cues.
    """
    free = np.ones(len(evidence.labels), bool)
    if among is not None:
        free[:] = False
        free[among] = True
    parts = [_lowest(evidence, m, free) for m in range(len(evidence.cues))]
    rng, side = np.random.default_rng(evidence.seed), max(len(part) for part in parts)
    owners = {cue.output for cue in evidence.cues}
    for output in evidence.classes:
        if int(output) not in owners:
            rows = np.flatnonzero(free & (evidence.labels == output))
            parts.append(rng.permutation(rows)[:side])
    if variant == "contrast":
        parts += [_foreign(evidence, m, side, free) for m in range(len(evidence.cues))]
    return np.unique(np.concatenate(parts))


def _lowest(evidence: Evidence, m: int, free: BoolArray) -> IntArray:
    rows = evidence.rows(m, HIDDEN)
    rows = rows[free[rows]]
    if not len(rows):
        raise InputError(f"no image of output {evidence.cues[m].output} hides its cue")
    return rows[np.argsort(evidence.cues[m].alpha(evidence.features[rows]), kind="stable")[:SIDE]]


def _foreign(evidence: Evidence, m: int, side: int, free: BoolArray) -> IntArray:
    """Images of other classes that show the cue most, by alpha."""
    rows = np.flatnonzero(free & (evidence.labels != evidence.cues[m].output))
    alpha = evidence.cues[m].alpha(evidence.features)[rows]
    return rows[np.argsort(-alpha, kind="stable")[:side]]


def gap_of(head: Head, evidence: Evidence, among: IntArray) -> float:
    """Accuracy of the images that show a cue minus that of those that hide it, largest over cues.

    NaN where no cue has both. ``among``: the rows that count.
    """
    found = []
    for m in range(len(evidence.cues)):
        sides = [np.intersect1d(evidence.rows(m, state), among) for state in (SHOWN, HIDDEN)]
        if all(len(rows) for rows in sides):
            high, low = (_accuracy(head, evidence, rows) for rows in sides)
            found.append(high - low)
    return max(found) if found else float("nan")


def _accuracy(head: Head, evidence: Evidence, rows: IntArray) -> float:
    predicted = head.logits(evidence.features[rows]).argmax(axis=1)
    return float((predicted == evidence.labels[rows]).mean())


def _taken(head: Head, features: FloatArray) -> FloatArray:
    """What a head's correction takes off the logits, (n, K) float32."""
    nothing = np.zeros((len(features), len(head.bias)), np.float32)
    return nothing if head.correction is None else -head.correction.apply(features, nothing)


TUNING = Method(
    name="head",
    title="Head tuning on low-spuriosity images",
    fit=tuned,
    strengths=SHARES,
    published=1.0,
    source="Moayeri et al. 2023",
    remark="Closes the gap without unlearning the cue: look at the flip rate as well.",
    options={"variant": VARIANTS, "rate": RATES},
)
