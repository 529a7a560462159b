"""Every mitigation of the head by name: one call, ``(head, evidence, strength) -> head``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.corrections.clarc import aclarc, pclarc, projection, rclarc
from core.corrections.concepts import KINDS
from core.corrections.evidence import Evidence
from core.corrections.rrclarc import FORMS, TARGETS, rrclarc
from core.corrections.softmax import SUBSAMPLE, rebalanced, sample_rows
from core.corrections.spufix import spufix
from core.corrections.tuning import RATES, VARIANTS, tuned
from core.errors import InputError
from core.models.linear import Head

Fit = Callable[..., Head]
"""``fit(head, evidence, strength, **options) -> Head``; the head given stays as it is."""


@dataclass(frozen=True)
class Method:
    """One way to make a head ignore tagged cues."""

    name: str
    """As on the command line."""
    title: str
    """As on the screen."""
    fit: Fit
    strengths: tuple[float, ...]
    """What a sweep tries, ascending; the first leaves the head as it is."""
    published: float
    """Strength that amounts to the published method."""
    source: str
    """Paper and section."""
    remark: str
    """One sentence that a user should read before choosing it."""
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Further choices and their values, the default first. ``bias`` is served by
    :func:`mitigate`: ``refit`` fits one intercept per class after a correction that does not train
    (:func:`core.corrections.softmax.rebalanced`), ``kept`` (published) does not; the rest are
    keyword arguments of ``fit``."""
    published_options: Mapping[str, Any] = field(default_factory=dict)
    """Options that it was published with, where the default is another."""
    needs_pairs: bool = False
    """Whether it needs ``evidence.pairs``, hence masks or cut-out cues."""


BIAS = ("refit", "kept")
KEPT_FIRST = BIAS[::-1]
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

METHODS: dict[str, Method] = {
    m.name: m
    for m in (
        Method(
            "spufix",
            "SpuFix",
            spufix,
            SHARES,
            1.0,
            "Neuhaus et al. 2023, section 5",
            "Takes off only what exceeds the reference: by the class's mean, a cue that most of "
            "its images show stays; weights of other classes stay in any case.",
            {"reference": ("mean", "low"), "bias": KEPT_FIRST},
        ),
        Method(
            "head",
            "Head tuning on low-spuriosity images",
            tuned,
            SHARES,
            1.0,
            "Moayeri et al. 2023",
            "Closes the gap without unlearning the cue: look at the flip rate as well.",
            {"variant": VARIANTS, "rate": RATES},
        ),
        Method(
            "pclarc",
            "P-ClArC: projection",
            pclarc,
            SHARES,
            1.0,
            "Anders et al. 2022",
            "Every image is seen as if it hid the cue; refitting afterwards relearns it.",
            {"cav": ("auto", *KINDS), "fit": ("kept", "refit"), "bias": BIAS},
            {"cav": "signal", "bias": "kept"},
        ),
        Method(
            "aclarc",
            "A-ClArC: augmentation",
            aclarc,
            SHARES,
            1.0,
            "Anders et al. 2022",
            "The cue turns fewer images, since training shows it everywhere; images without it may "
            "lose.",
            {"cav": ("auto", *KINDS), "bias": KEPT_FIRST},
            {"cav": "signal"},
        ),
        Method(
            "rclarc",
            "R-ClArC: projection where the cue is",
            rclarc,
            SHARES,
            1.0,
            "Bareeva et al. 2024",
            "Images without the cue are left as they are.",
            {"cav": ("auto", *KINDS), "bias": BIAS},
            {"cav": "signal", "bias": "kept"},
        ),
        Method(
            "projection",
            "Projection with separate directions",
            projection,
            (0.0, 0.5, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0),
            1.0,
            "P-ClArC, read along the whitened and written along the plain difference of means",
            "Above 1 it takes away more than images of the cue's own class show.",
            {
                "read": ("fisher", *(k for k in KINDS if k != "fisher")),
                "write": ("auto", *KINDS),
                "bias": BIAS,
            },
        ),
        Method(
            "rrclarc",
            "RR-ClArC: penalty on the answer to the cue",
            rrclarc,
            (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0),
            100.0,
            "Dreyer et al. 2024",
            "Refitting (published) relearns a redundant cue; the kept head does not.",
            {
                "cav": ("auto", "shifts", *KINDS),
                "fit": ("kept", "refit"),
                "bias": BIAS,
                "target": TARGETS,
                "form": FORMS,
            },
            {"cav": "signal", "fit": "refit", "bias": "kept"},
        ),
    )
}
"""By name."""

DEFAULT = "pclarc"
"""What is offered first: the least change here that unlearned every planted cue and still predicts
its class."""


def method(name: str) -> Method:
    """A method by name.

    Raises
    ------
    InputError
        If there is none of that name; all are named.
    """
    if name not in METHODS:
        raise InputError(f"there is no method {name!r}; choose {', '.join(METHODS)}")
    return METHODS[name]


def mitigate(name: str, head: Head, evidence: Evidence, strength: float, **options: Any) -> Head:
    """The corrected head; outputs, names and mode are kept.

    Raises
    ------
    InputError
        If the method, an option or a value is unknown, the strength is out of range, no cue is
        given, or the method needs pairs and there are none.
    """
    chosen = method(name)
    if not evidence.cues:
        raise InputError(f"{name} needs a cue: tag a candidate as spurious first")
    if chosen.needs_pairs and evidence.pairs is None:
        raise InputError(f"{name} needs images with and without the cue: give cue masks")
    low, high = chosen.strengths[0], chosen.strengths[-1]
    if not low <= strength <= high:
        raise InputError(f"strength {strength:g} of {name}: must be from {low:g} to {high:g}")
    for option, value in options.items():
        known = chosen.options.get(option)
        if known is None or value not in known:
            values = ", ".join(f"{o}={'|'.join(map(str, v))}" for o, v in chosen.options.items())
            raise InputError(f"{name} has no option {option}={value}; it has {values or 'none'}")
    balance = chosen.options.get("bias", ("kept",))[0]
    balance = options.pop("bias", balance)
    found = chosen.fit(head, evidence, strength, **options)
    if balance == "kept" or not strength or options.get("fit") == "refit":
        return found
    rows = sample_rows(evidence.labels, SUBSAMPLE, evidence.seed)
    return rebalanced(found, head, evidence.features[rows], evidence.labels[rows])
