"""The kinds of candidates: one registry that every page, file and command loops over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from core.errors import InputError
from core.types import FloatArray, IntArray, Registry

if TYPE_CHECKING:
    from core.candidates.candidate import Candidate, Needs
    from core.candidates.pca import ClassPCA
    from core.candidates.search import ClassImages


@dataclass(frozen=True)
class Found:
    """The candidates of one kind in one class."""

    numbers: IntArray
    """(m,) number of each, 0-based."""
    alpha: FloatArray
    """(n, m) of every image of the class, every split; NaN where it is not known."""
    arrays: Mapping[str, np.ndarray]
    """What a kind keeps to make its candidates again, by its own names."""
    top_maps: FloatArray | None = None
    """(m, TOP_IMAGES, h, w) of each one's top images; None: computed on demand."""

    whole: FloatArray | None = None
    """(n,) what the alphas are shares of, NaN where it is not known; None: the class's logit. It
    is not stored."""

    @classmethod
    def nothing(cls, images: int, arrays: Mapping[str, np.ndarray] | None = None) -> Found:
        """No candidate in a class of so many images."""
        return cls(np.zeros(0, np.int64), np.zeros((images, 0)), arrays or {})


class Sizes(Protocol):
    """How many candidates an audit stores of a class."""

    @property
    def components(self) -> int:
        """Neural PCA components."""

    @property
    def features(self) -> int:
        """D, each of which is a neuron."""

    @property
    def carried(self) -> int:
        """Directions carried over to the class."""

    def found(self, kind: str) -> int:
        """Of a kind that is stored apart."""


class Stored(Sizes, Protocol):
    """What an audit stores of a class."""

    @property
    def label(self) -> str:
        """Raw label."""

    @property
    def class_idx(self) -> int:
        """Its output."""

    @property
    def pca(self) -> ClassPCA:
        """Its components, and the weight and mean of psi."""

    @property
    def carried_rows(self) -> FloatArray:
        """(m, D + 1) directions with offsets that were carried over."""

    def of_kind(self, name: str) -> Found:
        """What was found of a kind."""


class CandidateKind(ABC):
    """One kind of candidates. An own one is a subclass, handed to :func:`register`."""

    name: ClassVar[str]
    """In keys, addresses, files: small letters."""
    word: ClassVar[str]
    """What people call one; also the option of commands, ``--component``."""
    plural: ClassVar[str]
    help: ClassVar[str] = "0-based number"
    """What the number means, for the options of commands."""
    first: ClassVar[int] = 1
    """What the candidate with number 0 is called."""
    whole: ClassVar[str] = "logit"
    """What alphas are shares of, in a word."""
    adds: ClassVar[bool] = True
    """Whether alphas are in units of the whole; else their share of its variance is the squared
    correlation with it."""
    found: ClassVar[bool] = True
    """Whether an audit finds some itself; others come from another model."""
    asked: ClassVar[bool] = False
    """Whether some are found only where somebody asks for them, beside those of the audit."""
    few: ClassVar[bool] = True
    """Whether a choice on a page lists all of a class."""
    needs: ClassVar[Needs] = "features"
    """What alpha is computed from."""
    remedy: ClassVar[str] = ""
    """How the message goes on that one does not exist."""
    version: ClassVar[int] = 1
    """Of what is found and stored; another one is found anew."""

    def find(self, images: ClassImages) -> Found | None:
        """The candidates of a class; None where they cannot be found in it."""
        return None

    def count(self, sizes: Sizes) -> int:
        """How many a class has."""
        return sizes.found(self.name)

    def candidate(self, stored: Stored, number: int) -> Candidate:
        """One of them.

        Raises
        ------
        InputError
            If the class has none of this number; the message says how many there are.
        """
        there = self.count(stored)
        if not 0 <= number < there:
            has = f"{self.plural} 0 to {there - 1}" if there else f"no {self.plural}"
            raise InputError(
                f"{self.word} {number} of class {stored.label!r} does not exist; it has {has}"
                f"{self.remedy}"
            )
        return self.read(stored, number)

    @abstractmethod
    def read(self, stored: Stored, number: int) -> Candidate:
        """One that exists."""


NAME = "[a-z]{1,16}"
"""What every kind's name matches."""

KINDS: Registry[CandidateKind] = Registry(
    "kind of candidates",
    (
        "core.candidates.linear_kinds:COMPONENTS",
        "core.candidates.linear_kinds:NEURONS",
        "core.candidates.linear_kinds:CARRIED_DIRECTIONS",
        "core.candidates.part_kind:PARTS",
        "core.candidates.cluster_kind:CLUSTERS",
    ),
    (NAME, "1 to 16 small letters"),
)
"""By name, in the order in which they are shown."""

register = KINDS.register


def found_kinds() -> dict[str, str]:
    """By name, in words: the kinds that are shown and asked about, in this order."""
    return {name: kind.plural for name, kind in KINDS.items() if kind.found}


def title_of(kind: str, number: int) -> str:
    """A candidate in words, without its class; of a kind that is not installed by its name."""
    if kind not in KINDS:
        return f"{kind} {number}"
    return f"{KINDS[kind].word} {number + KINDS[kind].first}"
