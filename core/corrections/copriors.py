"""Co-training of a head on shape and a head on texture, each learning what the other is sure of.

Jain, Tsipras, Madry: Combining Diverse Feature Priors (ICML 2022), section 5. A few labels are
given, of the other training images none; era by era each head labels those that it is surest of,
and is fitted again on what the *other* one said, never on its own labels: a head that goes by the
cue would confirm itself. A cue that is in one prior alone is wrong on images where the other prior
is sure, as far as there are images without the cue among those. The head of the model is then
fitted on the images that are labelled, and that the two label alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.audits.audit import Audit
from core.corrections.derived import Corrected
from core.corrections.grouping import towards
from core.corrections.methods import Method
from core.corrections.task import Task
from core.errors import InputError
from core.models.head import fit_probe
from core.models.linear import Head
from core.trials.paste import sample
from core.trials.priors import PRIORS, encoded_views
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter

ERAS = 20
"""Times that labels are handed over (published); the last one hands over as many as there are."""

IMAGES = 2000
"""Training images that take part at most, a fixed random part."""

LABELLED = (0.25, 0.1, 0.5)
"""Shares of them whose labels are used, at least LEAST of every class."""

LEAST = 2

NOBODY = -1
"""Label of an image that neither head has labelled, or on which they differ."""


@dataclass(frozen=True)
class Said:
    """What two heads said of the images whose labels were not used."""

    labels: IntArray
    """(n,) given labels, then the heads'; NOBODY of images that neither was sure of, or on which
    they differ."""
    eras: tuple[Mapping[str, float], ...]
    """Of every era: ``labelled``, the share of the images with a label from anybody, and ``agree``,
    the share of those labelled by both that were labelled alike (NaN of none)."""


def cotrain(
    views: Mapping[str, FloatArray], labels: IntArray, given: BoolArray, *, eras: int = ERAS
) -> Said:
    """Label images era by era.

    In era e each head labels, of every class, the e / ``eras`` of an equal share of the images that
    it is surest of; in the next one the other learns from these.

    Parameters
    ----------
    views : features (n, D) by prior.
    labels : (n,) in 0 .. K - 1; read where ``given`` alone.
    given : (n,) images whose label is used; every class has two or more.
    """
    classes = int(labels[given].max()) + 1
    free = np.flatnonzero(~given)
    base = np.where(given, labels, NOBODY)
    learnt = {name: base.copy() for name in views}
    penalty = {name: fit_probe(x[given], labels[given], classes).C for name, x in views.items()}
    told = []
    for era in range(1, eras + 1):
        quota = -(-len(free) * era // (eras * classes))
        said = {
            name: _surest(_sure(x, learnt[name], free, classes, penalty[name]), quota)
            for name, x in views.items()
        }
        for name in views:
            learnt[name][free] = _alike([said[other] for other in said if other != name])
        picked = list(said.values())
        base[free] = _alike(picked)
        both = np.all([one != NOBODY for one in picked], axis=0)
        same = (picked[0] == picked[-1])[both]
        agree = float(same.mean()) if len(same) else float("nan")
        some = given.sum() + np.any([one != NOBODY for one in picked], axis=0).sum()
        told.append({"labelled": float(some / len(labels)), "agree": agree})
    return Said(base, tuple(told))


def _alike(said: Sequence[IntArray]) -> IntArray:
    """Labels (m,) of images that all who label them label alike; NOBODY of the others."""
    every = np.stack(said)
    highest = every.max(axis=0)
    found: IntArray = np.where(
        ((every == highest) | (every == NOBODY)).all(axis=0), highest, NOBODY
    )
    return found


def _sure(
    x: FloatArray, known: IntArray, free: IntArray, classes: int, penalty: float
) -> FloatArray:
    """Probabilities (m, K) that a head gives to free images, fitted on those that have a label."""
    from sklearn.linear_model import LogisticRegression

    rows = np.flatnonzero(known != NOBODY)
    centre = x[rows].mean(axis=0, dtype=np.float64)
    scale = float(np.sqrt(np.mean(np.sum((x[rows] - centre) ** 2, axis=1)))) or 1.0
    fit = LogisticRegression(C=penalty, max_iter=200).fit((x[rows] - centre) / scale, known[rows])
    found = np.zeros((len(free), classes))
    if len(free):
        found[:, fit.classes_] = fit.predict_proba((x[free] - centre) / scale)
    return found


def _surest(probability: FloatArray, quota: int) -> IntArray:
    """Labels (m,) of the images that are surest of each class, at most ``quota``; else NOBODY."""
    given, sure = probability.argmax(axis=1), probability.max(axis=1)
    labels = np.full(len(given), NOBODY, np.int64)
    for k in range(probability.shape[1]):
        mine = np.flatnonzero(given == k)
        labels[mine[np.argsort(-sure[mine], kind="stable")[:quota]]] = k
    return labels


def first_labels(labels: IntArray, share: float, *, seed: int = 0) -> BoolArray:
    """(n,) a random share of every class, at least LEAST images of it."""
    rng, found = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for k in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == k))
        found[rows[: max(round(share * len(rows)), LEAST)]] = True
    return found


def cotrained(task: Task, report: Reporter) -> Corrected:
    """The head fitted on the labels of a part and on what the heads of both priors say of the rest.

    Raises
    ------
    InputError
        If an output of the head has fewer than LEAST training images.
    """
    parent, strength = task.parent, 1.0 if task.strength is None else task.strength
    head, share = parent.head, task.options.get("labelled", LABELLED[0])
    drawn = _drawn(parent, task)
    report(Progress("Loading the model", 0, 0))
    done, views = encoded_views(parent, drawn, parent.load_model(), report)
    labels = np.array([head.index(label) for label in parent.images_of(done)["label"]], np.int64)
    counts = np.bincount(labels, minlength=len(head.bias))
    if counts.min() < LEAST:
        raise InputError(
            f"copriors fits all {len(head.bias)} outputs of the head anew, and "
            f"{head.outputs[int(counts.argmin())]!r} has {counts.min()} training images; choose a "
            "method that changes a head, such as pclarc, or a fitted head"
        )
    given = first_labels(labels, share, seed=task.seed)
    report(Progress("Handing labels over", 0, 0))
    said = cotrain({name: views[name] for name in PRIORS}, labels, given)
    rows = np.flatnonzero(said.labels != NOBODY)
    probe = fit_probe(parent.features(done)[rows], said.labels[rows], len(head.bias))
    _require_told_apart(parent.features(done) @ probe.weight.T + probe.bias, labels, given, head)
    found = towards(head, probe.weight, probe.bias, strength)
    new = rows[~given[rows]]
    facts = {
        "strength": strength,
        "history": [dict(era) for era in said.eras],
        "trained_on": len(rows),
        "labels_given": int(given.sum()),
        "labels_right": float((said.labels[new] == labels[new]).mean()) if len(new) else 1.0,
    }
    return Corrected(found, facts=facts)


def _require_told_apart(logits: FloatArray, labels: IntArray, given: BoolArray, head: Head) -> None:
    """Raise InputError where a class is given to no image of those that take part."""
    missing = set(np.unique(labels).tolist()) - set(logits.argmax(axis=1).tolist())
    if missing:
        raise InputError(
            f"copriors learnt nothing of {head.outputs[min(missing)]!r} from {int(given.sum())} "
            "labels: give more of them (--option labelled=0.5), or choose pclarc"
        )


def _drawn(parent: Audit, task: Task) -> list[str]:
    """The training images that take part."""
    return sample(parent.images.index[task.rows].tolist(), IMAGES, seed=task.seed)


COPRIORS = Method(
    name="copriors",
    title="Co-training of shape and texture",
    train=cotrained,
    strengths=(0.0, 1.0),
    published=1.0,
    source="Jain et al. 2022, section 5",
    remark="Uses the labels of a part of the training images alone, dozens of every class; "
    "for cues that are in the shape or in the texture and not in both, and only as far as the rest "
    "of the training images has the classes without them: where the cue goes with the class there "
    "as well, both heads hand it over. The encoder stays; the strength is the share of the way to "
    "the new head.",
    options={"labelled": LABELLED},
)
