"""What ``synth`` wants: an audit of drawn features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.config import COMPONENTS
from core.errors import InputError
from core.features.spectra import Spectra
from core.jobs.options import Request, option
from core.storage.workspace import check_name


@dataclass(frozen=True)
class SynthRequest(Request):
    """``synth``: an audit of drawn features, to see the app at any size."""

    command = "synth"

    images: int = option(10_000, "of all classes together", type=int, metavar="N")
    classes: int = option(10, type=int, metavar="K")
    dim: int = option(512, "features of an image", type=int, metavar="D")
    name: str | None = option(None, "name of the audit (default: of its size)")
    out: Path | None = option(
        None, "a workspace, made where it is not there (default: --workspace)", type=Path
    )
    components: int = option(COMPONENTS, "of a class, at most", type=int, metavar="N")
    maps: int = option(
        0,
        "images whose maps are stored, in which parts are found; the others' are drawn where "
        "somebody looks at them",
        type=int,
        metavar="N",
    )
    parts: int | None = option(None, "parts of every class (default: by a rule)", type=int)
    seed: int = option(0, type=int, metavar="N")

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("--classes", self.classes, 1),
            ("--images", self.images, 2 * self.classes),
            ("--dim", self.dim, 2),
            ("--components", self.components, 1),
            ("--maps", self.maps, 0),
            ("--parts", 1 if self.parts is None else self.parts, 1),
            ("--seed", self.seed, 0),
        ):
            if value < least:
                raise InputError(f"{flag} {value:,}: must be at least {least:,}")
        if self.name is not None:
            check_name(self.name)

    @property
    def default_name(self) -> str:
        """Name of the audit."""
        return self.name or f"synth-{self.images}x{self.classes}x{self.dim}"

    @property
    def spectra(self) -> Spectra:
        """What is drawn."""
        return Spectra(self.images, self.classes, self.dim, self.seed)
