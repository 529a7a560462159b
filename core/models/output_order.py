"""Which output is which class where nothing names them: the few orders that people use.

A checkpoint of K outputs says nothing of what they mean. Which order was used in training cannot be
known, so one is assumed, said, and tried against the others on the training images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core.types import IntArray

DATA, NUMBER, TEXT, CASELESS = "data", "number", "text", "caseless"

WORDS = {
    DATA: "in the data set's own order",
    NUMBER: "in order of the numbers in their names",
    TEXT: "in order of name",
    CASELESS: "in order of name, capital and small letters alike",
}
"""Every order, most telling first."""

NUMBERED = re.compile(r"(?P<before>\D*)(?P<number>\d+)(?P<after>.*)", re.DOTALL)

SHOWN = 5
"""Classes named at the beginning of an order."""

BETTER = 0.1
"""Share of the training images by which another order must be right more often to be told."""

ERRORS = 3.0
"""Standard errors by which it must, too."""


@dataclass(frozen=True)
class Order:
    """One way of giving every class an output."""

    name: str
    """One of :data:`WORDS`."""
    outputs: Mapping[str, int]
    """Index of the output by raw label."""

    @property
    def words(self) -> str:
        """The order and its first classes, for people."""
        ranked = sorted(self.outputs, key=lambda label: self.outputs[label])
        shown = ", ".join(ranked[:SHOWN])
        more = f", … {ranked[-1]}" if len(ranked) > SHOWN else ""
        return f"{WORDS[self.name]} ({shown}{more})"


@dataclass(frozen=True)
class Fit:
    """How well an order suits the training images."""

    order: str
    accuracy: float
    """Share of them whose class has the highest logit, 0 to 1."""


def natural_orders(labels: Sequence[str], rows: int, own: Sequence[str] = ()) -> list[Order]:
    """Every order that gives each label one of ``rows`` outputs, most telling first.

    Numbers count as they are where they are outputs (0 to K - 1, or 1 to K), also of fewer classes
    than outputs; any other order needs as many classes as outputs.

    Parameters
    ----------
    labels : distinct raw labels.
    own : the order that the data set itself has for its classes; empty where it has none.
    """
    found: dict[str, Mapping[str, int]] = {}
    if len(own) == rows and set(labels) <= set(own):
        found[DATA] = {label: own.index(label) for label in labels}
    if numbered := _by_number(labels, rows):
        found[NUMBER] = numbered
    if len(labels) == rows:
        found[TEXT] = _ranked(sorted(labels))
        found[CASELESS] = _ranked(sorted(labels, key=lambda label: (label.casefold(), label)))
    return [Order(name, found[name]) for name in WORDS if name in found]


def _ranked(labels: Sequence[str]) -> dict[str, int]:
    return {label: index for index, label in enumerate(labels)}


def _by_number(labels: Sequence[str], rows: int) -> Mapping[str, int] | None:
    """Outputs by the first number in every label, where all are written alike."""
    found = [NUMBERED.fullmatch(label) for label in labels]
    parts = [match for match in found if match]
    numbers = {match[0]: int(match["number"]) for match in parts}
    alike = len({match["before"].casefold() for match in parts}) == 1
    if len(parts) < len(labels) or not alike or len(set(numbers.values())) < len(labels):
        return None
    bare = all(not match["before"] and not match["after"] for match in parts)
    if (bare or len(labels) == rows) and max(numbers.values()) < rows:
        return numbers
    if len(labels) == rows:
        return _ranked(sorted(labels, key=lambda label: numbers[label]))
    return None


def fits(orders: Sequence[Order], predicted: IntArray, labels: Sequence[str]) -> list[Fit]:
    """How often each order is right.

    Parameters
    ----------
    predicted : (n,) output of the highest logit of every training image.
    labels : (n,) raw label of each.
    """
    found = []
    for order in orders:
        truth = np.array([order.outputs.get(label, -1) for label in labels])
        found.append(Fit(order.name, float((truth == predicted).mean()) if len(truth) else 0.0))
    return found


def as_facts(found: Sequence[Fit]) -> list[dict[str, Any]]:
    """What is stored with a head of the orders that were tried; the assumed one is the first."""
    return [asdict(fit) for fit in found]


def warning(tried: Sequence[Mapping[str, Any]], n: int) -> str:
    """What to say where another order fits far better than the assumed one; empty where none does.

    Parameters
    ----------
    tried : rows of :func:`as_facts`, the assumed order first.
    n : number of training images.
    """
    if len(tried) < 2 or not n:
        return ""
    assumed, best = tried[0], max(tried, key=lambda fit: float(fit["accuracy"]))
    better = best["accuracy"] - assumed["accuracy"]
    if better < max(BETTER, ERRORS * float(np.sqrt(0.25 / n))):
        return ""
    return (
        f"The outputs fit the training images far better {WORDS[best['order']]} (accuracy "
        f"{best['accuracy']:.2f}) than {WORDS[assumed['order']]}, which was assumed "
        f"({assumed['accuracy']:.2f}): the model was probably trained with the former; run the "
        f"audit again under another name with --classes {best['order']}."
    )
