"""Methods that train the network on decoded images.

They start from the parent's model with its head as the last layer, train on a part of the images
that may be learnt from, and are watched on the rest of these. Their strength is given or their own
default; a coarse sweep (:mod:`core.corrections.sweep`) trains several times where it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from core.corrections.derived import Corrected
from core.corrections.evidence import SHOWN, UNKNOWN
from core.corrections.generator_request import TEXTURES
from core.corrections.methods import Method
from core.corrections.task import Task
from core.errors import InputError
from core.models.linear import Head
from core.trials.paste import sample
from core.types import BoolArray, IntArray, Reporter

if TYPE_CHECKING:
    from core.corrections.training import Recipe, Trained
    from core.models.model import Model
    from core.trials.examples import Examples

IMAGES = 4000
"""Images trained on at most, a fixed random part: they are in memory, decoded."""

WATCHED = 0.2
"""Share of them that is not trained on but measured after every epoch."""


@dataclass(frozen=True)
class Prepared:
    """A model to train and the images to do it with."""

    model: Model
    """Its own last layer is the parent's head."""
    train: Examples
    watched: Examples
    places: IntArray
    """(N,) which images of the evidence ``train`` holds."""
    held: IntArray
    """(M,) which images of the evidence ``watched`` holds."""

    def known(self, task: Task, cue: int) -> tuple[Examples, BoolArray]:
        """Training images of which it is known whether they show a cue, and whether they do."""
        states = task.evidence.present[self.places, cue]
        rows = np.flatnonzero(states != UNKNOWN)
        shown: BoolArray = states[rows] == SHOWN
        return self.train.take(rows), shown


def prepare(task: Task, report: Reporter) -> Prepared:
    """Decode the images, give the network the parent's head."""
    from core.corrections.training import with_head
    from core.models.device import choose_device
    from core.trials.examples import read_examples

    parent = task.parent
    model = with_head(parent.load_model(exported=True), parent.head)
    try:
        model.to(choose_device(parent.manifest.compute.device), "fp32")
    except InputError:
        model.to("cpu", "fp32")
    ids = parent.images.index[task.rows].tolist()
    places = np.flatnonzero(np.isin(ids, sample(ids, IMAGES, seed=task.seed)))
    rows = parent.images.iloc[task.rows[places]].to_dict("records")
    labels = np.asarray(task.evidence.labels[places], np.int64)
    found = read_examples(rows, parent.root, parent.preprocess, labels, report=report)
    held = np.random.default_rng(task.seed).random(len(places)) < WATCHED
    return Prepared(model, found.take(~held), found.take(held), places[~held], places[held])


def recipe(task: Task, parts: str) -> Recipe:
    """How to descend, from the options."""
    from core.corrections.training import Recipe

    given = {n: task.options[n] for n in ("epochs", "rate", "parts") if n in task.options}
    return Recipe(**{"epochs": EPOCHS[0], "parts": parts, "seed": task.seed, **given})


def finished(task: Task, prepared: Prepared, trained: Trained, strength: float) -> Corrected:
    """The trained network as a corrected model."""
    parent, name = task.parent.head, prepared.model.trace.head
    weight = trained.state[f"{name}.weight"].flatten(1).numpy()
    bias = trained.state.get(f"{name}.bias")
    head = Head(
        np.array(weight, np.float32),
        np.zeros(len(weight), np.float32) if bias is None else bias.numpy().copy(),
        parent.outputs,
        parent.names,
        parent.mode,
    )
    state = {n: t for n, t in trained.state.items() if not n.startswith(f"{name}.")}
    facts = {
        "strength": strength,
        "history": [dict(scores) for scores in trained.history],
        "trained_on": len(prepared.train),
    }
    if not task.cues:
        return Corrected(head, state, facts)
    from core.corrections.sweep import judged

    return Corrected(head, state, facts, judged(task, prepared, trained.state))


def guided(task: Task, report: Reporter) -> Corrected:
    """Model guidance (:mod:`core.corrections.guidance`)."""
    from core.corrections.guidance import Guidance, balanced_weight, guide

    names = ("loss", "attribution", "layer", "fraction")
    wanted = Guidance(**{n: task.options[n] for n in names if n in task.options})
    prepared, how = prepare(task, report), recipe(task, "all")
    strength = 1.0 if task.strength is None else task.strength
    weight = strength and strength * balanced_weight(prepared.model, prepared.train, wanted, how)
    trained = guide(
        prepared.model,
        prepared.train,
        replace(wanted, weight=weight),
        how,
        held=prepared.watched,
        report=report,
    )
    done = finished(task, prepared, trained, strength)
    return replace(done, facts={**done.facts, "weight": weight})


def unlearnt(task: Task, report: Reporter) -> Corrected:
    """RR-ClArC by double backward (:mod:`core.corrections.right_reasons`)."""
    from core.corrections.right_reasons import Penalty, layer_vector, right_reasons

    what = {n: task.options[n] for n in ("layer", "form", "target") if n in task.options}
    weight = 1.0 if task.strength is None else task.strength
    prepared = prepare(task, report)
    layer = what.get("layer", LAYERS[0])
    directions = [
        layer_vector(prepared.model, *prepared.known(task, m), layer)
        for m in range(len(task.evidence.cues))
    ]
    trained = right_reasons(
        prepared.model,
        prepared.train,
        np.stack(directions),
        Penalty(weight=weight, **what),
        recipe(task, "after"),
        held=prepared.watched,
        report=report,
    )
    return finished(task, prepared, trained, weight)


def counterfactual(task: Task, report: Reporter) -> Corrected:
    """Training on counterfactuals (:mod:`core.corrections.counterfactual`)."""
    from core.corrections.counterfactual import (
        Augmentation,
        default_changes,
        train_on,
        train_on_counterfactuals,
    )
    from core.corrections.tagged_masks import tagged_counterfactuals

    copies = 1 if task.strength is None else round(task.strength)
    prepared = prepare(task, report)
    change = task.options.get("change", CHANGES[0])
    if task.options.get("masks", MASKS[0]) == MASKS[1]:
        made, how = tagged_counterfactuals(task, prepared, change, copies), recipe(task, "all")
        trained = train_on(prepared.model, made, how, held=prepared.watched, report=report)
        return finished(task, prepared, trained, float(copies))
    changes = default_changes(prepared.train) if change == CHANGES[0] else (change,)
    trained = train_on_counterfactuals(
        prepared.model,
        prepared.train,
        Augmentation(changes, copies=copies, seed=task.seed),
        recipe(task, "all"),
        held=prepared.watched,
        report=report,
    )
    return finished(task, prepared, trained, float(copies))


def generated(task: Task, report: Reporter) -> Corrected:
    """Training on generated counterfactuals (:mod:`core.corrections.audit_generator`)."""
    from core.corrections.audit_generator import read_generator, train_audit
    from core.corrections.counterfactual import generated as drawn
    from core.corrections.counterfactual import joined, train_on

    parent, copies = task.parent, 1.0 if task.strength is None else task.strength
    found = read_generator(parent) or train_audit(parent, seed=task.seed, report=report)
    prepared = prepare(task, report)
    made = drawn(
        found,
        max(round(copies * len(prepared.train)), 1),
        prepared.model.preprocess,
        parent.head.outputs,
        seed=task.seed,
        taken=task.options.get("textures", TEXTURES[0]) == TEXTURES[0],
    )
    if task.options.get("originals", ORIGINALS[0]) == ORIGINALS[1]:
        made = joined([prepared.train, made])
    how = recipe(task, "all")
    trained = train_on(prepared.model, made, how, held=prepared.watched, report=report)
    done = finished(task, prepared, trained, copies)
    return replace(done, facts={**done.facts, "trained_on": len(made)})


EPOCHS, RATES = (10, 3, 1, 30), (1e-4, 1e-3, 1e-5)
LOSSES, ATTRIBUTIONS = ("energy", "l1", "ppce", "rrr"), ("ixg", "gradcam")
LAYERS = ("last", "input")
TARGETS = ("all_logits_random", "all_logits", "max_logit", "target_logit", "logprobs")
CHANGES = ("auto", "paste", "remove", "swap", "shuffle")
MASKS = ("given", "tagged")
ORIGINALS = ("without", "with")
TRAINING = {"epochs": EPOCHS, "rate": RATES}

GUIDANCE = Method(
    name="guidance",
    title="Model guidance by masks",
    train=guided,
    strengths=(0.0, 100.0),
    published=1.0,
    source="Rao et al. 2023",
    remark="Trains the network so that its attributions lie on the object; needs object masks or "
    "boxes, of a part of the images. The strength counts in weights at which a loss pulls "
    "as hard as Energy at weight 1. To take a decision off a cue choose Energy, then L1. PPCE "
    "looks at the object alone: it is for maps that are to cover all of it. RRR* (rrr) compares "
    "the background with the highest peak of the map, which a network raises on the object while "
    "the background goes on deciding: it is for single hot spots off the object. On drawn birds "
    "neither moved a decision. At the layer input of a network with biases all attribution can "
    "lie on the object while the background decides.",
    options={
        **{"loss": LOSSES, "attribution": ATTRIBUTIONS, "layer": LAYERS},
        **{"fraction": (1.0, 0.1, 0.01), "parts": ("all", "after", "head"), **TRAINING},
    },
    tried=lambda _: (0.3, 1.0, 3.0),
)
RRCLARC_DEEP = Method(
    name="rrclarc-deep",
    title="RR-ClArC by double backward",
    train=unlearnt,
    strengths=(0.0, 1e8),
    published=1.0,
    source="Dreyer et al. 2024",
    remark="The penalty at a layer of the network; its squared form depends on the scale of the "
    "gradients, and published weights span twelve orders of magnitude.",
    options={
        **{"form": ("l2", "l1", "cosine"), "target": TARGETS, "layer": LAYERS},
        **{"parts": ("after", "all", "head"), **TRAINING},
    },
    tried=lambda _: (1.0, 1e3, 1e6),
)
COUNTERFACTUAL = Method(
    name="counterfactual",
    title="Training on counterfactuals",
    train=counterfactual,
    strengths=(1.0, 8.0),
    published=1.0,
    source="Sauer & Geiger 2021, by masks",
    remark="Trains on images whose background or cue no longer goes with the class; needs object "
    "or cue masks, or takes the regions of the tagged candidates for them (masks=tagged), whose "
    "places then are removed, swapped, shuffled or pasted in images of every class. The strength "
    "is the number of counterfactuals per image.",
    options={
        **{"change": CHANGES, "masks": MASKS, "parts": ("all", "after", "head")},
        **TRAINING,
    },
    tried=lambda _: (1.0, 2.0, 4.0),
)
GENERATED = Method(
    name="generated",
    title="Training on generated counterfactuals",
    train=generated,
    strengths=(0.1, 8.0),
    published=1.0,
    source="Sauer & Geiger 2021",
    remark="Trains on images of the audit's own mask, foreground and background networks, whose "
    "parts are of classes drawn apart; trains these first where they are not yet (below, or "
    "python -m core generate). For small images, or with object masks: what is made has 32 pixels "
    "a side. Textures are taken from training images, or made by the networks. The strength is the "
    "number of generated images per training image.",
    options={
        **{"originals": ORIGINALS, "textures": TEXTURES, "parts": ("all", "after", "head")},
        **TRAINING,
    },
    tried=lambda _: (0.5, 1.0, 2.0),
)
