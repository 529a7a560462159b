"""Every correction by name: of the head, from stored features, or of the network, from images.

An entry stands beside what it does, and says everything that the page, the command, the table
before and after and the model card show of it. Another package adds one by :func:`register`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.types import Registry

if TYPE_CHECKING:
    from core.corrections.derived import Corrected
    from core.corrections.task import Task
    from core.models.linear import Head
    from core.types import Reporter

Fit = Callable[..., "Head"]
"""``fit(head, evidence, strength, **options) -> Head``; the head given stays as it is."""

Train = Callable[["Task", "Reporter"], "Corrected"]
"""Trains the network; ``Corrected.facts`` holds the ``strength`` that was used."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to make a model ignore tagged cues: it has either ``fit`` or ``train``."""

    name: str
    """As on the command line."""
    title: str
    """As on the screen."""
    fit: Fit | None = None
    """Makes a new head from stored features."""
    train: Train | None = None
    """Trains on images and may change the encoder."""
    strengths: tuple[float, ...]
    """Ascending. Of a head what a sweep tries, of a network its range; the first leaves the model
    as it is, the last is the strongest allowed."""
    published: float
    """Strength that amounts to the published method."""
    source: str
    """Paper and section."""
    remark: str
    """What a user should read before choosing it."""
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Further choices and their values, the default first: keyword arguments of ``fit``, or
    ``Task.options``. ``bias`` of a head is served where it is fitted
    (:func:`core.corrections.head_methods.mitigate`): ``refit`` fits one intercept per class after a
    correction that does not train (:func:`core.corrections.softmax.rebalanced`), ``kept``
    (published) does not."""
    published_options: Mapping[str, Any] = field(default_factory=dict)
    """Options that it was published with, where the default is another."""
    tried: Callable[[Mapping[str, Any]], tuple[float, ...]] | None = None
    """Strengths that ``--strength sweep`` trains a network with, by the options; None: no sweep."""
    needs_pairs: bool = False
    """Whether a fit needs ``evidence.pairs``, hence masks or cut-out cues."""

    def __post_init__(self) -> None:
        if (self.fit is None) == (self.train is None):
            raise InputError(f"the method {self.name!r} needs either fit or train, and not both")

    @property
    def of_network(self) -> bool:
        """Whether it trains the network; the others make a head from stored features."""
        return self.train is not None

    @property
    def choices(self) -> str:
        """Every option with its values, in words."""
        known = (f"{name}={'|'.join(map(str, v))}" for name, v in self.options.items())
        return "; ".join(known) or "no options"


METHODS: Registry[Method] = Registry(
    "method",
    (
        "core.corrections.spufix:SPUFIX",
        "core.corrections.tuning:TUNING",
        "core.corrections.clarc:PCLARC",
        "core.corrections.clarc:ACLARC",
        "core.corrections.clarc:RCLARC",
        "core.corrections.clarc:PROJECTION",
        "core.corrections.rrclarc:RRCLARC",
        "core.corrections.cut_and_paste:PARTS",
        "core.corrections.leace:LEACE",
        "core.corrections.dfr:DFR",
        "core.corrections.group_dro:GROUPDRO",
        "core.corrections.group_dro:JTT",
        "core.corrections.copriors:COPRIORS",
        "core.corrections.network_methods:GUIDANCE",
        "core.corrections.network_methods:RRCLARC_DEEP",
        "core.corrections.network_methods:COUNTERFACTUAL",
        "core.corrections.network_methods:GENERATED",
    ),
)
register = METHODS.register


def cited(name: str) -> str:
    """Title and source of a method; of one that is not installed any more its name."""
    known = METHODS.get(name)
    return f"{known.title} ({known.source})" if known else name


DEFAULT = "pclarc"
"""What is offered first: the least change here that unlearned every planted cue and still predicts
its class."""


def checked(chosen: Method, given: Mapping[str, str]) -> Mapping[str, Any]:
    """Options as the method takes them, from text.

    Raises
    ------
    InputError
        If the method has no such option or value.
    """
    found = {}
    for name, text in given.items():
        values = chosen.options.get(name, ())
        match = [value for value in values if str(value).lower() == text.lower()]
        if not match:
            raise InputError(f"--option {name}={text}: {chosen.name} has {chosen.choices}")
        found[name] = match[0]
    return found
