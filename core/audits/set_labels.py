"""Which output each label of an evaluation set is, and what a user should know of it.

Labels are found as an audit's own classes are: by being an output's label, its WordNet id or one of
its names. Folders that are numbers, 0 to 999, are numbers and never texts in order, where "10"
would come before "2": of ImageNet's outputs where the head's are these, else of the head's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.data.named_sets import imagenet_classes
from core.data.table import some
from core.errors import InputError
from core.models.head import candidate_outputs, synonyms
from core.models.linear import Head
from core.models.output_order import BETTER, ERRORS
from core.types import BoolArray, IntArray, count_of

IMAGENET, OUTPUTS, CLASSES, TEXT = (
    "as numbers of ImageNet's outputs",
    "as numbers of the model's outputs",
    "as numbers of the audit's classes",
    "as places in a list that was sorted as text",
)
"""How numbers can be read, most telling first; the last is never assumed."""


@dataclass(frozen=True)
class Meant:
    """What the labels of a set mean to a head."""

    outputs: Mapping[str, int]
    """Output by label; labels that are no output are left out."""
    notes: tuple[str, ...] = ()
    others: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Of numbers: the same by every other way to read them."""


def meant(labels: Sequence[str], head: Head, own: Sequence[str], classes: Sequence[str]) -> Meant:
    """Find the output of every label of a set.

    Parameters
    ----------
    labels : distinct raw labels.
    own : (K,) what the network itself calls the head's outputs; empty where it does not say.
    classes : raw labels of the audit, sorted.
    """
    if not set(labels) <= set(head.outputs) and all(map(str.isdecimal, labels)):
        return _of_numbers(labels, head, own, classes)
    found = _by_name(labels, head, own)
    return Meant(found, tuple(_left_out(labels, found)))


def refuse_strangers(name: str, labels: Sequence[str], head: Head, found: Meant) -> None:
    """Raise InputError where no label of a set is an output of the head."""
    if not found.outputs:
        raise InputError(
            f"{name}: none of its {count_of(len(labels), 'label')} is an output of the model: it "
            f"has {some([repr(label) for label in labels])}, the model "
            f"{some([repr(label) for label in head.outputs])}; call the folders by the model's "
            "classes, or give a manifest with these labels"
        )


def outputs_of(ids: Sequence[str], head: Head, own: Sequence[str]) -> list[int]:
    """The outputs that some WordNet ids are, ascending; those that are none are left out."""
    return sorted({*_by_name(ids, head, own).values()})


def _by_name(labels: Sequence[str], head: Head, own: Sequence[str]) -> dict[str, int]:
    """Output of every label that is exactly one."""
    lists = [head.outputs, *([own] if own else [])]
    found: dict[str, int] = {}
    for label in labels:
        words = dict.fromkeys([label, *synonyms(label)])
        tried = (candidate_outputs(word, names) for names in lists for word in words)
        several = next(filter(None, tried), [])
        if len(several) == 1:
            found[label] = several[0]
    return found


def _left_out(labels: Sequence[str], found: Mapping[str, int]) -> list[str]:
    left = [repr(label) for label in labels if label not in found]
    if not left:
        return []
    of = f"of {count_of(len(labels), 'label')}"
    return [
        f"{count_of(len(left), f'{of} is', f'{of} are')} no output of the model, or could be "
        f"several: images so labelled have no part in its accuracy: {some(left)}."
    ]


def _of_numbers(
    labels: Sequence[str], head: Head, own: Sequence[str], classes: Sequence[str]
) -> Meant:
    """Labels that are numbers, by the first way that reads most of them; the others to be tried."""
    ways = _ways(labels, head, own, classes)
    chosen = max((IMAGENET, OUTPUTS, CLASSES), key=lambda way: len(ways[way]))
    found = ways[chosen]
    note = f"Its {len(labels)} labels are numbers and read {chosen}."
    others = {way: by for way, by in ways.items() if by and by != found}
    return Meant(found, (note, *_left_out(labels, found)), others)


def _ways(
    labels: Sequence[str], head: Head, own: Sequence[str], classes: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Output of every label by each way to read numbers."""
    numbers = {label: int(label) for label in labels}
    ids, outputs = imagenet_classes(), len(head.outputs)
    named = {label: ids[n] for label, n in numbers.items() if n < len(ids)}
    places = _by_name(list(named.values()), head, own)
    audited = [head.index(label) for label in classes]
    order = [int(n) for n in sorted(map(str, range(outputs)))] if len(labels) == outputs else []
    return {
        IMAGENET: {label: places[name] for label, name in named.items() if name in places},
        OUTPUTS: {label: n for label, n in numbers.items() if n < outputs},
        CLASSES: {label: audited[n] for label, n in numbers.items() if n < len(audited)},
        TEXT: {label: order[n] for label, n in numbers.items() if n < len(order)},
    }


def better_read(found: Meant, labels: Sequence[str], predicted: IntArray, known: BoolArray) -> str:
    """What to say where the predictions fit numbers far better that are read in another way.

    Parameters
    ----------
    labels : (n,) of every image; predicted : (n,) output that the model gives it.
    known : (n,) images that count.
    """
    if not found.others or not known.any():
        return ""

    def accuracy(outputs: Mapping[str, int]) -> float:
        truth = np.array([outputs.get(label, -1) for label in labels])
        return float((truth == predicted)[known].mean())

    mine = accuracy(found.outputs)
    way, best = max(((w, accuracy(by)) for w, by in found.others.items()), key=lambda p: p[1])
    if best - mine < max(BETTER, ERRORS * float(np.sqrt(0.25 / known.sum()))):
        return ""
    return (
        f"Its numbers fit the predictions far better read {way} (accuracy {best:.2f}) than as they "
        f"are read here ({mine:.2f}): give the folders the names of the classes, or a manifest."
    )
