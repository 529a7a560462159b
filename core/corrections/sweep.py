"""A coarse sweep over the strength of a method that trains the network.

It trains once per strength, each as if that one had been given, and judges on images that were held
back from training: the worst group of class and cue, real images and composites, how many of other
classes a pasted cue turns into its class, and the accuracy without cues. The rule is that of heads
(:mod:`core.corrections.choice`). What was trained at the chosen strength is the result; nothing is
trained again. Cues are those that were drawn, else what the tagged candidates' overlays show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from core.corrections.choice import Sweep, by_worst_group, choose, cue_free
from core.corrections.derived import Corrected
from core.corrections.evidence import HIDDEN, SHOWN
from core.corrections.methods import Method
from core.corrections.task import Task
from core.corrections.worst_group import judged as judged_groups
from core.corrections.worst_group import least
from core.errors import InputError
from core.statistics.paired import newly_given
from core.trials.encoder import Seen
from core.trials.paste import paste
from core.trials.pasted_cues import Cues, cues_of
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter

if TYPE_CHECKING:
    from torch import Tensor

    from core.corrections.network_methods import Prepared

TURNED, TRIALS, ACCURACY, LEAST = "turned", "trials", "accuracy", "worst"
"""Of a judgement: images turned by the cue, images tried, accuracy without cues (by class), and the
lowest accuracy of a group of class and cue; NaN where no group has enough images."""

DRAWN = "drawn cues pasted on images of other classes"
SHOWN_BY = "what the tagged candidates' overlays show pasted on images of other classes"


def swept(method: Method, task: Task, report: Reporter) -> tuple[Corrected, Sweep]:
    """The method at every strength of its coarse sweep; the best of them, and all figures.

    Row 0 is the network as it is: where no strength is allowed and better, that is what is
    returned, with the encoder unchanged.

    Raises
    ------
    InputError
        If the method has no sweep, or there is no cue to paste; before anything is trained.
    """
    if method.train is None or method.tried is None:
        raise InputError(f"{method.name} has no sweep: give a strength")
    task = replace(task, cues=cues_to_paste(task))
    strengths = method.tried(task.options)
    found, judgements = [], []
    for number, strength in enumerate(strengths):
        report(Progress(f"Strength {strength:g}", number, len(strengths), "strengths"))
        corrected = method.train(replace(task, strength=strength), report)
        if not number:
            judgements.append(corrected.judged["before"])
        judgements.append(corrected.judged["after"])
        found.append(corrected)
    n = int(judgements[0][TRIALS])
    flips = np.array([j[TURNED] / n for j in judgements])
    accuracy = np.array([j[ACCURACY] for j in judgements])
    worst = np.array([j.get(LEAST, np.nan) for j in judgements])
    row = by_worst_group(worst)
    row = choose(flips, accuracy, n) if row is None else row
    basis = DRAWN if all(c.kind == "cue masks" for c in task.cues.values()) else SHOWN_BY
    sweep = Sweep(np.array([0.0, *strengths]), flips, accuracy, n, basis, row, worst)
    if row:
        return found[row - 1], sweep
    return Corrected(task.parent.head, facts={"strength": 0.0, "history": []}), sweep


def cues_to_paste(task: Task) -> dict[int, Cues]:
    """The cue of every class that is acted on, by its output, cut out of training images.

    Raises
    ------
    InputError
        If a class has none.
    """
    parent = task.parent
    model, seen, found = parent.load_model(), Seen(parent), {}
    for label, candidates in task.findings.chosen.items():
        cues = cues_of(parent, label, candidates, model, seen)
        if not cues.masks:
            raise InputError(
                f"--strength sweep pastes the cue of class {label!r} on images that are held back, "
                "and no training image shows where it is: add the column cue_mask to the "
                "manifest, or give a strength"
            )
        found[parent.head.index(label)] = cues
    return found


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
        labels = prepared.watched.labels
        found[name] = {
            TURNED: float(turned.sum()),
            TRIALS: float(len(rows)),
            ACCURACY: _accuracy(task, prepared, plain),
            LEAST: _least(task, prepared, plain == labels, with_cue == labels[rows], rows, outputs),
        }
    return found


def _pasted(task: Task, prepared: Prepared) -> tuple[FloatArray, IntArray, IntArray]:
    """Held-back images of other classes with each cue pasted on them.

    Returns
    -------
    Images (T, h, w, 3), the held-back images that they were made of (T,), the cue's output (T,).
    """
    held, rng = prepared.watched, np.random.default_rng([task.seed, 2])
    pixels, rows, outputs = [held.pixels[:0]], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for output, cues in sorted(task.cues.items()):
        places = np.flatnonzero(held.labels != output)
        for row in places:
            pick = int(rng.integers(len(cues.masks)))
            pixels.append(paste(held.pixels[row], cues.pixels[pick], cues.masks[pick])[None])
        rows.append(places)
        outputs.append(np.full(len(places), output, np.int64))
    return np.concatenate(pixels), np.concatenate(rows), np.concatenate(outputs)


def _least(
    task: Task,
    prepared: Prepared,
    right: BoolArray,
    right_pasted: BoolArray,
    rows: IntArray,
    outputs: IntArray,
) -> float:
    """The worst group on images that were held back.

    Groups are a class that shows a cue and one that does not, of every cue; composites stand for
    other classes with it (:func:`core.corrections.worst_group.judged`).

    Parameters
    ----------
    right : (n,) of the images as they are; right_pasted : (T,) of the composites.
    """
    labels = prepared.watched.labels
    classes, k = np.unique(labels, return_inverse=True)
    states = task.evidence.present[prepared.held]
    own = np.array([cue.output for cue in task.evidence.cues])[:, None] == classes
    counts = np.zeros((2, *own.shape, 2))  # right ones, and all

    def count(m: int, side: int, which: IntArray, hits: BoolArray) -> None:
        for row, weights in enumerate((hits, np.ones(len(hits)))):
            counts[row, m, :, side] += np.bincount(which, weights, len(classes))

    for m, cue in enumerate(task.evidence.cues):
        mine, pasted = labels == cue.output, outputs == cue.output
        shown, hidden = (states[:, m] == state for state in (SHOWN, HIDDEN))
        for side, rows_of in enumerate((mine & shown, np.where(mine, hidden, ~shown))):
            count(m, side, k[rows_of], right[rows_of])
        others = pasted & (labels[rows] != cue.output)
        count(m, 0, k[rows[others]], right_pasted[others])
    return float(least(judged_groups(counts[:1], counts[1], own))[0])


def _accuracy(task: Task, prepared: Prepared, predicted: IntArray) -> float:
    """Accuracy of held-back images without the cues, averaged over classes."""
    kept = cue_free(task.evidence.take(prepared.held))
    labels = prepared.watched.labels[kept]
    right = predicted[kept] == labels
    return float(np.mean([right[labels == k].mean() for k in np.unique(labels)]))
