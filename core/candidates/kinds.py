"""The kinds of candidates: how each is called, and where its numbers start."""

from __future__ import annotations

from typing import NamedTuple

from core.types import Kind


class Words(NamedTuple):
    """How people speak of a kind."""

    word: str
    plural: str
    first: int
    """What the candidate with number 0 is called."""
    found: bool
    """Whether an audit finds some itself; the others come from another model."""


KINDS = {
    Kind.PCA: Words("component", "components", 1, True),
    Kind.NEURON: Words("neuron", "neurons", 0, True),
    Kind.CARRIED: Words("carried direction", "carried directions", 1, False),
}

FOUND = {kind.value: words.plural for kind, words in KINDS.items() if words.found}
"""By text, in words: the kinds that are shown and asked about, in this order."""


def title_of(kind: Kind | str, number: int) -> str:
    """A candidate in words, without its class."""
    words = KINDS[Kind(kind)]
    return f"{words.word} {number + words.first}"
