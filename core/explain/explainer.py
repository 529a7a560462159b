"""Methods that explain an image, or a candidate, with the network at hand: one registry.

Each is one record in one file. The command ``explain``, the page Image and whatever stores, exports
or draws an explanation loop over the registry; a method says what it needs, how it is run and
which arrays and pictures come of it. Another package adds one by :func:`register`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError
from core.types import FloatArray, IntArray, Registry

if TYPE_CHECKING:
    from core.candidates.candidate import Candidate
    from core.models.model import Model

Value = str | int | float | bool
"""Of a setting."""


@dataclass(frozen=True)
class Setting:
    """One thing that a method lets people choose."""

    default: Value
    """Says of which type it is."""
    text: str
    """What it means, in a few words."""
    choices: Sequence[str] = ()
    low: float = float("-inf")
    high: float = float("inf")
    """Ends of a number's range, included."""

    def read(self, name: str, text: str) -> Value:
        """The value that a text means.

        Raises
        ------
        InputError
            If it is of another type, none of the choices, or out of range.
        """
        if isinstance(self.default, bool):
            return self._one_of(name, text.lower(), ("true", "false")) == "true"
        if isinstance(self.default, str):
            return self._one_of(name, text, self.choices)
        try:
            value = type(self.default)(text)
        except ValueError:
            kind = "a whole number" if isinstance(self.default, int) else "a number"
            raise InputError(f"--set {name}={text}: give {kind}") from None
        if not self.low <= value <= self.high:
            raise InputError(f"--set {name}={text}: give {self.low:g} to {self.high:g}")
        return value

    def _one_of(self, name: str, text: str, choices: Sequence[str]) -> str:
        if choices and text not in choices:
            raise InputError(f"--set {name}={text}: choose {', '.join(choices)}")
        return text


@dataclass(frozen=True)
class Question:
    """What a method is asked."""

    model: Model
    """Loaded, with the head that is explained. Who hooks into its network has it alone
    (:func:`core.models.trace.exclusive`)."""
    class_idx: int
    """Output that is explained."""
    settings: Mapping[str, Value]
    """By name, every one that the method has."""
    candidate: Candidate | None = None
    """Of that class; None: the class itself."""
    image_id: str = ""
    pixels: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    """(h, w, 3) uint8, what the encoder sees; empty where a method explains no image."""
    direction: FloatArray = field(default_factory=lambda: np.zeros(0))
    """(D,) change of the explained number, the candidate's alpha or the class's logit, with the
    features, at this image."""
    seed: int = 0
    others: Callable[[int], Sequence[np.ndarray]] = lambda count: ()
    """So many images of other classes as the encoder sees them, drawn by the seed."""
    members: Callable[[int], Sequence[np.ndarray]] = lambda count: ()
    """So many training images of the class, those that show most of the candidate first."""
    report: Callable[[int, int], None] = lambda done, total: None
    """Told how many passes of how many are done, where that takes long."""
    more: Sequence[tuple[Model, IntArray]] = ()
    """Further models, the mean of all being explained; with each (K,) which of its outputs every
    output of ``model`` is."""

    def value(self, name: str) -> float:
        """A setting that is a number."""
        return float(self.settings[name])

    def word(self, name: str) -> str:
        """A setting that is a text."""
        return str(self.settings[name])


@dataclass(frozen=True)
class Explanation:
    """What a method says."""

    arrays: Mapping[str, np.ndarray]
    """By name: exported, and stored as they are."""
    facts: Mapping[str, object]
    """What else it says, as a JSON document can hold it: numbers with their unit in the name."""
    words: str
    """In a line, for people."""
    notes: Sequence[str] = ()
    """What has to be known before it is believed."""


Pictures = Callable[[Explanation, np.ndarray], Mapping[str, bytes]]
"""Draws an explanation: with the pixels (h, w, 3) that it is of, to PNG files by name."""


def no_pictures(explanation: Explanation, pixels: np.ndarray) -> Mapping[str, bytes]:
    """Of a method that has nothing to show but arrays."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """A method."""

    name: str
    """As in commands, addresses and files."""
    title: str
    """As on the screen."""
    text: str
    """What it does, in a sentence."""
    source: str
    explain: Callable[[Question], Explanation]
    """Raises SpurioscopeError where there is nothing to say of this image; the rest goes on."""
    pictures: Pictures = no_pictures
    summary: Callable[[Sequence[Explanation]], Explanation] | None = None
    """What it says of several images together, two at least."""
    of_images: bool = True
    """Whether it explains images; else the class or the candidate alone."""
    needs_candidate: bool = False
    settings: Mapping[str, Setting] = field(default_factory=dict)
    several: bool = False
    """Whether it can explain the mean of several models."""
    version: int = 1
    """Of the method; another one explains again what is stored."""

    def read(self, given: Mapping[str, str]) -> dict[str, Value]:
        """Every setting, the default where none is given.

        Raises
        ------
        InputError
            If there is no such setting, or it cannot have its value.
        """
        if unknown := [name for name in given if name not in self.settings]:
            known = ", ".join(self.settings) or "none"
            raise InputError(f"method {self.name!r} has no setting {unknown[0]!r}; it has {known}")
        return {
            name: setting.read(name, given[name]) if name in given else setting.default
            for name, setting in self.settings.items()
        }


EXPLAINERS: Registry[Explainer] = Registry(
    "method",
    (
        "core.explain.sis:SIS",
        "core.explain.missingness:MISSINGNESS",
        "core.explain.visualisation:LOOK",
        "core.explain.visualisation:NPFV",
        "core.explain.visualisation:FOURIER",
        "core.explain.visualisation:ATTACK",
        *(f"core.explain.attributed:{name}" for name in ("EXACT", "GRAD_CAM", "IG", "OCCLUSION")),
        *(f"core.explain.attributed:{name}" for name in ("LRP", "INPUT_X_GRADIENT")),
        *(f"core.explain.attributed:{name}" for name in ("GRADIENT_SHAP", "SALIENCY", "GUIDED")),
        *("core.explain.attributed:MASK", "core.explain.crp:CRP", "core.explain.trust:TRUST"),
    ),
)
"""By name, in the order of every list."""

register = EXPLAINERS.register

SPELT = {
    **{"exact_map": "exact", "gradcam": "grad_cam", "integrated_gradients": "ig"},
    **{"inputxgradient": "input_x_gradient", "shap_gradient": "gradient_shap"},
    **{"guided_backprop": "guided_backpropagation"},
}
"""Other names that methods go by."""


def spelt(method: str) -> str:
    """The name of a method that is written in another common way, such as ``Guided-backprop``."""
    plain = method.lower().replace("-", "_").replace(" ", "_")
    found = SPELT.get(plain, plain)
    return found if method not in EXPLAINERS and found in EXPLAINERS else method


def listed() -> str:
    """Every method with its settings, for the help."""
    lines = []
    for each in EXPLAINERS.values():
        lines.append(f"  {each.name:<12} {each.text}")
        for name, setting in each.settings.items():
            choices = f", one of {', '.join(setting.choices)}" if setting.choices else ""
            lines.append(f"  {'':<12}   {name}={setting.default}: {setting.text}{choices}")
    return "\n".join(lines)
