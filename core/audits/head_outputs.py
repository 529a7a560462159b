"""Which output of a kept head is which class, how sure that is, and what a user should look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.audits.subject import Subject
from core.config import SHARD_SIZE
from core.data.names import WORDNET_ID, definitions
from core.data.several_labels import rest_of, without_clean
from core.data.table import NAMED
from core.models.head import OutputMatch, match_outputs
from core.models.linear import Head
from core.models.output_order import as_facts, fits, warning
from core.storage.audit_manifest import Reading
from core.storage.files import read_json
from core.types import ImageTable, IntArray

if TYPE_CHECKING:
    from core.models.model import Model


def matched(table: ImageTable, model: Model, reading: Reading | None) -> OutputMatch:
    """Which output each class of a data set is, as the user said or as it is found."""
    if table.target:
        return match_outputs(table.labels, model)
    return match_outputs(table.labels, model, own=table.order, order=_asked(reading))


def _asked(reading: Reading | None) -> str:
    """The order of the classes that the user asked for, where no file names the outputs."""
    return reading.classes if reading and not reading.outputs else ""


def narrowed(table: ImageTable, model: Model, reading: Reading | None) -> str:
    """Make the logits of a network those of one class against its rest, in place, and say how.

    Of a head whose outputs do not exclude each other, the output z of the class alone is read: the
    logits -z/2 and z/2 have the sigmoid of z as softmax, and differ by z. Empty where the data have
    one label an image, or no output is known to be the class.
    """
    target, rest = table.target, rest_of(table.target)
    if not target or not model.head_trained or {target, rest} <= set(model.outputs or ()):
        return ""
    if model.outputs is None and len(model.bias) == 2 != len(table.order):
        model.name_outputs([rest, target])
        return f"The second of the two outputs of {model.name} is taken to be {target!r}."
    match = _of_all(table, model, _asked(reading))
    if match.outputs is None or target not in match.outputs:
        return ""
    head, row = model.head, match.outputs[target]
    model.use_head(_halves(head, row, [rest, target]))
    return (
        f"{match.reason} The sigmoid of output {row} is the probability of {target!r}; a corrected "
        "model has this output and its opposite alone."
    )


def _of_all(table: ImageTable, model: Model, order: str) -> OutputMatch:
    """The outputs of all classes of the data, of those that are findings, or of the one alone."""
    sets = [table.order, without_clean(table.order)]
    classes = next((found for found in sets if len(found) == len(model.bias)), table.order)
    match = match_outputs(classes, model, own=classes, order=order)
    alone = match.outputs is None and model.outputs is not None
    return match_outputs([table.target], model) if alone else match


def _halves(head: Head, row: int, outputs: list[str]) -> Head:
    """The logits -z/2 and z/2 of the output z of a head, with its correction."""
    signs = np.array([-0.5, 0.5], np.float32)
    correction = head.correction
    if correction is not None:
        correction = replace(correction, write=signs[:, None] * correction.write[row])
    weight, bias = signs[:, None] * head.weight[row], signs * head.bias[row]
    return replace(
        head, weight=weight, bias=bias, outputs=outputs, names=outputs, correction=correction
    )


def labels_of(outputs: Sequence[str], found: Mapping[str, int]) -> list[str]:
    """Label of every output; one that no class has is told apart from a class of its name."""
    labels = [
        label if found.get(label, index) == index else f"{label} (output {index})"
        for index, label in enumerate(outputs)
    ]
    for label, index in found.items():
        labels[index] = label
    return labels


def said_of(
    match: OutputMatch, outputs: Sequence[str], subject: Subject, model: Model
) -> dict[str, Any]:
    """Entries of ``head.json``: meanings of outputs matched by name, and how well orders fit."""
    glosses, found = definitions(outputs), dict[str, Any]()
    meant = {
        label: glosses[outputs[index]]
        for label, index in (match.outputs or {}).items()
        if outputs[index] in glosses
    }
    if meant:
        found["meanings"] = meant
    if match.orders:
        found["orders"] = as_facts(fits(match.orders, *_train_predictions(subject, model)))
    return found


def _train_predictions(subject: Subject, model: Model) -> tuple[IntArray, list[str]]:
    """Output of the highest logit of every training image, and its label."""
    train = subject.readable[subject.fitting]
    ids, parts = train["image_id"].tolist(), [np.zeros(0, np.int64)]
    for start in range(0, len(ids), SHARD_SIZE):
        features = subject.store.features(ids[start : start + SHARD_SIZE])
        parts.append(model.logits(features).argmax(axis=1))
    return np.concatenate(parts), train["label"].tolist()


def meanings(subject: Subject) -> dict[str, str]:
    """What the outputs of classes that were matched by name mean to the head, by label."""
    found: dict[str, str] = read_json(subject.files.head.facts, {}).get("meanings", {})
    return found


def head_notes(subject: Subject) -> Iterator[str]:
    """What was assumed of the head's outputs that a user should look at."""
    tried = read_json(subject.files.head.facts, {}).get("orders", [])
    if told := warning(tried, int(subject.fitting.sum())):
        yield told
    by_name = {k: v for k, v in sorted(meanings(subject).items()) if not WORDNET_ID.match(k)}
    if by_name:
        shown = "; ".join(f"{label}: {gloss}" for label, gloss in list(by_name.items())[:NAMED])
        more = f" and {len(by_name) - NAMED} more" if len(by_name) > NAMED else ""
        yield f"Outputs were found by name; check that classes mean the same: {shown}{more}."
