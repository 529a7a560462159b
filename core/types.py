"""Values that pass from station to station. Frozen; every field says its shape and unit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[Any]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Precision = Literal["fp32", "tf32", "fp16", "bf16"]
"""Arithmetic of a network (:data:`core.models.precision.PRECISIONS`)."""

Runtime = Literal["eager", "onnx", "compiled"]
"""What runs forward passes without gradients (:data:`core.models.runtime.RUNTIMES`)."""

TRAIN = "train"
"""The one split name with a meaning: components and statistics are fitted on it."""


def count_of(n: int, one: str, many: str | None = None) -> str:
    """A count and what is counted, which agree: "1 image", "2,000 images", "1 class is tagged".

    Parameters
    ----------
    n : the count.
    one : what follows 1.
    many : what follows any other count; by default ``one`` with an s.
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


class Progress(NamedTuple):
    """One report of a long computation."""

    stage: str
    """What is being done, in words a user reads: "Reading images"."""
    done: int
    total: int
    unit: str = "images"
    values: Mapping[str, float] | None = None
    """Loss and metrics as they stand, by name."""

    @property
    def figures(self) -> str:
        """The values for people: "loss 0.31, accuracy 0.84"; empty where there are none."""
        return ", ".join(f"{name} {value:.3g}" for name, value in (self.values or {}).items())


Reporter = Callable[[Progress], None]
"""Receives progress; numerics never depend on it."""


def silent(_: Progress) -> None:
    """Report nothing."""


class Rows(Protocol):
    """Rows (n, m), of which some are asked for at a time; NumPy's arrays are such."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, m)."""

    def __getitem__(self, rows: IntArray, /) -> FloatArray:
        """Some of them, by number."""


@dataclass(frozen=True)
class MadeRows:
    """:class:`Rows` that are read or computed where they are asked for, and not kept."""

    shape: tuple[int, ...]
    made: Callable[[IntArray], FloatArray]
    """Those of some numbers."""

    def __getitem__(self, rows: IntArray, /) -> FloatArray:
        """Some of them, by number."""
        return self.made(rows)


ROWS = 4096
"""Rows that are looked at together, so that a large set needs little memory."""


def blocks(n: int) -> Iterator[IntArray]:
    """The numbers of n rows in order, :data:`ROWS` at a time."""
    for start in range(0, n, ROWS):
        yield np.arange(start, min(start + ROWS, n))


class Named(Protocol):
    """What can be chosen by a name of its own."""

    @property
    def name(self) -> str:
        """As commands, addresses and manifests write it."""
        ...


Choice = TypeVar("Choice", bound=Named)

NAMES = (r"[a-z0-9][a-z0-9_-]{0,63}", "at most 64 small letters, digits, - and _")
"""What names match, and that in words."""


class Registry(Mapping[str, Choice]):
    """What can be chosen by name: this package's own, then what others registered.

    Parameters
    ----------
    noun : what each is called in a sentence.
    own : where this package's own stand, ``module:name``, in their order. They are imported when
        the registry is first looked into: modules may be heavy, and may import this registry.
    names : what a name matches, and that in words; addresses, files and commands bear it.
    """

    journal: ClassVar[list[tuple[Registry[Any], str]]] = []
    """What was registered in this process, in whichever registry, in its order."""

    def __init__(self, noun: str, own: Sequence[str], names: tuple[str, str] = NAMES) -> None:
        self.noun, self._own, self._names = noun, own, names
        self._found: dict[str, Choice] | None = None

    def register(self, new: Choice) -> Choice:
        """Add a choice, and return it.

        Raises
        ------
        InputError
            If there is one of its name already, or it is no name.
        """
        pattern, words = self._names
        if not re.fullmatch(pattern, new.name):
            raise InputError(f"{self.noun} {new.name!r}: a name is made of {words}")
        if new.name in self._all():
            raise InputError(f"there is a {self.noun} {new.name!r} already; choose another name")
        self._all()[new.name] = new
        self.journal.append((self, new.name))
        return new

    @classmethod
    def take_back(cls, since: int) -> None:
        """Undo what was registered since the journal had this length."""
        while len(cls.journal) > since:
            registry, name = cls.journal.pop()
            registry._all().pop(name, None)

    def chosen(self, name: str) -> Choice:
        """The choice of a name.

        Raises
        ------
        InputError
            If there is none; all are named.
        """
        if name not in self:
            raise InputError(f"there is no {self.noun} {name!r}; choose {', '.join(self)}")
        return self[name]

    def _all(self) -> dict[str, Choice]:
        if self._found is None:
            own: list[Choice] = [resolve_name(place) for place in self._own]
            self._found = {each.name: each for each in own}
        return self._found

    def __getitem__(self, name: str) -> Choice:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def values(self) -> ValuesView[Choice]:
        """Every choice, without a look-up for each."""
        return self._all().values()


class Tag(StrEnum):
    """What a person says about a candidate feature of a class."""

    CORE = "core"
    SPURIOUS = "spurious"
    UNSURE = "unsure"


class Subtype(StrEnum):
    """What kind of spurious a cue is (Singla & Feizi 2022, section 4)."""

    SEPARATE_OBJECT = "separate_object"
    BACKGROUND = "background"


@dataclass(frozen=True)
class ImageTable:
    """Every image of a data set, one row each, sorted by label, then path."""

    source: str
    """The DATA argument, with its path made absolute."""
    root: Path
    """Folder that every relative path starts from."""
    frame: pd.DataFrame
    """Columns: ``image_id`` (16 hex digits), ``path`` (POSIX, relative to root), ``label`` (raw),
    ``split``; where the data has them ``object_mask`` and ``cue_mask`` (paths like ``path``, empty
    string where an image has none) and ``x_min, y_min, x_max, y_max`` (object box in source
    pixels of the upright image, NaN where none); then one column per attribute. RangeIndex."""
    attributes: tuple[str, ...] = ()
    """Names of the attribute columns to slice by."""
    notes: tuple[str, ...] = ()
    """Warnings a user should read: a class with one image, a link in a circle."""
    repeated: tuple[tuple[str, ...], ...] = ()
    """Rows for the very same path that were dropped after the first, as (path, detail)."""
    planted: Mapping[str, Any] = field(default_factory=dict)
    """For rendered data: the planted truth, ``{label: {"cue": attribute, "kind": …, …}}``."""
    order: tuple[str, ...] = ()
    """Labels in the order that the data set itself gives its classes; empty where it has none."""
    target: str = ""
    """Where images have several labels: the class that is audited against its rest, which every
    other image has as its label; ``order`` then are all classes."""

    @property
    def labels(self) -> list[str]:
        """Distinct raw labels, sorted."""
        return sorted(self.frame["label"].unique().tolist())


@dataclass(frozen=True)
class Preprocess:
    """How a model wants its images; taken from the model's own configuration.

    The upright RGB image is resized so that its shorter side becomes
    ``floor(input_size / crop_pct)`` and cut in the centre to ``input_size``; ``squash`` resizes
    both sides without keeping the aspect ratio. Values in [0, 1] are then normalised with ``mean``
    and ``std`` per channel.
    """

    input_size: tuple[int, int]
    """Height and width of what the encoder sees, pixels."""
    crop_pct: float
    interpolation: str
    """``bicubic``, ``bilinear``, ``nearest`` or ``lanczos``."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_mode: str = "center"
    """``center`` or ``squash``."""
    colours: str = "rgb"
    """Order of the channels that the network wants: ``rgb`` or ``bgr``."""
    levels: tuple[float, ...] = ()
    """Values that are black and white in images of more than 8 bits a channel; empty: those of
    their type (:func:`core.data.decode.read_image`)."""
    windows: str = ""
    """``kept`` or ``scaled``: which of two networks it is at a size that it was not published for
    (:func:`core.models.input_size.at_size`); empty where there is only one."""

    shrink: bool = False
    """Whether large JPEGs are decoded at a fraction of their size
    (:func:`core.data.preprocess.least_size`)."""

    @property
    def black_and_white(self) -> tuple[float, float] | None:
        """``levels`` as a pair, None where they are empty."""
        if len(self.levels) != 2 or not self.levels[0] < self.levels[1]:
            return None
        return self.levels[0], self.levels[1]
