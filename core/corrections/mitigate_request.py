"""What ``mitigate`` is asked for; nothing heavy at import, since the parser is made of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from core.errors import InputError
from core.jobs.options import CUE_IMAGES, Request, folders, given, option, written
from core.storage.audit_manifest import Provenance
from core.storage.workspace import check_name

AUTO: Literal["auto"] = "auto"
SWEEP: Literal["sweep"] = "sweep"
Strength = float | Literal["sweep"] | None
HOW_STRONG = (
    "a number, or auto: chosen on a held-out part of the training images (methods of the network: "
    "their own default), or sweep: a method of the network trains at several and one is chosen, "
    "which takes as many times as long"
)


def read_strength(text: str) -> Strength:
    """A number, ``sweep``, or None for ``auto``.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if text in (AUTO, SWEEP):
        return SWEEP if text == SWEEP else None
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"--strength {text!r}: give a number, auto or sweep") from error


def read_options(given: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping.

    Raises
    ------
    InputError
        If one has no equals sign.
    """
    found = {}
    for text in given:
        if not re.fullmatch(r"[^=]+=.+", text):
            raise InputError(f"--option {text!r}: write NAME=VALUE")
        name, _, value = text.partition("=")
        found[name.strip().replace("-", "_")] = value.strip()
    return found


@dataclass(frozen=True)
class MitigateRequest(Request):
    """What the user asked for; the command line and the page fill the same fields."""

    command = "mitigate"

    audit: str = field(metadata=given(flag="", metavar="AUDIT"))
    method: str = field(metadata=given("one of those below", metavar="METHOD"))
    name: str = field(metadata=given("name of the new audit", metavar="NEW"))
    classes: Sequence[str] = option(
        (), "act on the cues of this class alone; may be repeated", "--class", metavar="NAME"
    )
    cues: Sequence[str] = option(
        (), "act on this tagged candidate alone; may be repeated", "--cue", metavar="LABEL/pca-0"
    )
    """``LABEL/kind-component``, among those decided spurious; default all."""
    strength: Strength = option(None, HOW_STRONG, read=read_strength, metavar="S")
    """None: chosen on a held-out part of the training images, or a network method's own."""
    options: Mapping[str, str] = option(
        {},
        "an option of the method; may be repeated",
        "--option",
        metavar="NAME=VALUE",
        read=read_options,
        write=written,
    )
    attribute: str | None = option(
        None, "says who shows the cue, instead of alpha", metavar="NAME[=VALUE]"
    )
    """Who shows the cue; default high against low alpha."""
    masks: bool = option(False, "use drawn cue masks (cue_mask)")
    """Whether drawn cue masks of training images may be used (these are decoded)."""
    threshold: int | None = option(None, "votes that decide a tag", type=int, metavar="N")
    pictures: bool = option(True, "decode no image: leave out what needs pictures", "--quick")
    """Whether to measure what needs images afterwards."""
    seed: int = option(0, type=int, metavar="N")
    cue_images: Mapping[str, Path] = option(
        {},
        f"{CUE_IMAGES}; may be given later, with the same command",
        nargs="+",
        metavar="CLASS=DIR",
        read=folders,
        write=written,
    )
    """Folder of images of the cue alone by class, for the spurious score before and after."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.given is not None and not math.isfinite(self.given):
            raise InputError(f"--strength {self.strength}: give a number or auto")

    @property
    def given(self) -> float | None:
        """The strength where a number was asked for."""
        return None if self.strength is None or self.strength == SWEEP else float(self.strength)

    @property
    def sweep(self) -> bool:
        """Whether a method of the network trains at several strengths, to choose one."""
        return self.strength == SWEEP

    @property
    def title(self) -> str:
        """The new audit and the method."""
        return re.sub(r"\s+", " ", f"{self.name} · {self.method}")

    def to_json(self) -> Mapping[str, object]:
        """Everything that decides what comes out, as the manifest of the new audit keeps it."""
        return {
            "method": self.method,
            "cues": list(self.cues),
            "options": dict(self.options),
            "asked_strength": SWEEP if self.sweep else AUTO if self.given is None else self.given,
            "attribute": self.attribute,
            "masks": self.masks,
            "seed": self.seed,
            "threshold": self.threshold,
        }

    @classmethod
    def again(cls, done: Provenance, name: str) -> Self:
        """What an audit's manifest says was asked for, under a name.

        Parameters
        ----------
        done : what the manifest says of the correction; of earlier versions without threshold.
        """
        strength = done.asked_strength
        return cls(
            audit=done.parent,
            method=done.method,
            name=name,
            cues=done.cues,
            strength=None if strength == AUTO else strength,
            options={each: str(value) for each, value in done.options.items()},
            attribute=done.attribute or None,
            masks=done.masks,
            threshold=done.threshold,
            seed=done.seed,
        )
