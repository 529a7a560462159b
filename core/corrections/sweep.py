"""A coarse sweep over the strength of a method that trains the network.

It trains once per strength, each as if that one had been given, and judges on images that were held
back from training: how many of other classes a pasted cue turns into its class, and the accuracy
without cues, as :mod:`core.corrections.choice` does for heads. What was trained at the chosen
strength is the result; nothing is trained again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from core.corrections.choice import Sweep, choose, cue_free
from core.corrections.derived import Corrected
from core.corrections.methods import Method
from core.corrections.task import Task
from core.errors import InputError
from core.statistics.paired import newly_given
from core.types import FloatArray, IntArray, Progress, Reporter

if TYPE_CHECKING:
    from torch import Tensor

    from core.corrections.network_methods import Prepared

TURNED, TRIALS, ACCURACY = "turned", "trials", "accuracy"
"""Of a judgement: images turned by the cue, images tried, accuracy without cues (by class)."""

BASIS = "drawn cues pasted on images of other classes"


def swept(method: Method, task: Task, report: Reporter) -> tuple[Corrected, Sweep]:
    """The method at every strength of its coarse sweep; the best of them, and all figures.

    Row 0 is the network as it is: where no strength is allowed and better, that is what is
    returned, with the encoder unchanged.

    Raises
    ------
    InputError
        If the method has no sweep, or no held-back image has a drawn cue to paste.
    """
    if method.train is None or method.tried is None:
        raise InputError(f"{method.name} has no sweep: give a strength")
    strengths = method.tried(task.options)
    found, judgements = [], []
    for number, strength in enumerate(strengths):
        report(Progress(f"Strength {strength:g}", number, len(strengths), "strengths"))
        corrected = method.train(replace(task, strength=strength, judged=True), report)
        if not number:
            judgements.append(corrected.judged["before"])
        judgements.append(corrected.judged["after"])
        found.append(corrected)
    n = int(judgements[0][TRIALS])
    flips = np.array([j[TURNED] / n for j in judgements])
    accuracy = np.array([j[ACCURACY] for j in judgements])
    row = choose(flips, accuracy, n)
    sweep = Sweep(np.array([0.0, *strengths]), flips, accuracy, n, BASIS, row)
    if row:
        return found[row - 1], sweep
    return Corrected(task.parent.head, facts={"strength": 0.0, "history": []}), sweep


def judged(
    task: Task, prepared: Prepared, state: Mapping[str, Tensor]
) -> dict[str, dict[str, float]]:
    """The network before and after training on the images that were held back (TURNED, …)."""
    import copy

    from core.corrections.training import logits_of

    shown, rows, outputs = _pasted(task, prepared)
    network, found = copy.deepcopy(prepared.model.network).eval(), {}
    for name in ("before", "after"):
        if name == "after":
            network.load_state_dict(dict(state))
        plain, with_cue = (
            logits_of(network, prepared.model, pixels).argmax(axis=1)
            for pixels in (prepared.watched.pixels, shown)
        )
        turned = newly_given(plain[rows], with_cue, outputs)
        found[name] = {
            TURNED: float(turned.sum()),
            TRIALS: float(len(rows)),
            ACCURACY: _accuracy(task, prepared, plain),
        }
    return found


def _pasted(task: Task, prepared: Prepared) -> tuple[FloatArray, IntArray, IntArray]:
    """Held-back images of other classes with each cue's drawn region pasted on them.

    Returns
    -------
    Images (T, h, w, 3), the held-back images that they were made of (T,), the cue's output (T,).
    """
    from core.trials.compositing import compose

    train, held = prepared.train, prepared.watched
    rng = np.random.default_rng([task.seed, 2])
    parts = []
    for output in sorted({cue.output for cue in task.evidence.cues}):
        known = np.zeros(len(train), bool) if train.cues is None else train.cues.any(axis=(1, 2))
        sources = np.flatnonzero(known & (train.labels == output))
        rows = np.flatnonzero(held.labels != output)
        if len(sources) and len(rows):
            assert train.cues is not None
            pick = rng.choice(sources, len(rows))
            pixels = compose(train.cues[pick], train.pixels[pick], held.pixels[rows])
            parts.append((pixels, rows, np.full(len(rows), output, np.int64)))
    if not parts:
        raise InputError(
            "--strength sweep pastes drawn cues on images that are held back, and no training "
            "image of the cue's class has one: add the column cue_mask to the manifest, or give a "
            "strength"
        )
    pixels, rows, outputs = (np.concatenate(part) for part in zip(*parts, strict=True))
    return pixels, rows, outputs


def _accuracy(task: Task, prepared: Prepared, predicted: IntArray) -> float:
    """Accuracy of held-back images without the cues, averaged over classes."""
    kept = cue_free(task.evidence.take(prepared.held))
    labels = prepared.watched.labels[kept]
    right = predicted[kept] == labels
    return float(np.mean([right[labels == k].mean() for k in np.unique(labels)]))
