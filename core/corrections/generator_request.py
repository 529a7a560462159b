"""What ``generate`` is asked for; nothing heavy at import."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from core.errors import InputError
from core.jobs.options import Request, given, option

STEPS = 400
"""Of the training by default; two minutes of one core."""

AUTO = "auto"

USUAL = "usual"
"""Name of the losses' weights for data that no demo drew."""

SETTINGS = (USUAL, "coloured", "double-coloured", "wildlife")
"""Names of the losses' weights (:data:`core.corrections.generator.WEIGHTS`)."""

TEXTURES = ("taken", "made")
"""Where foregrounds and backgrounds are from: training images, or the networks."""


@dataclass(frozen=True)
class GeneratorRequest(Request):
    """``generate``: train the mask, foreground and background networks, and export images."""

    command = "generate"

    audit: str = field(metadata=given("a name or the beginning of an id", "", metavar="AUDIT"))
    settings: str = option(
        AUTO,
        f"weights of the losses: {', '.join(SETTINGS)} (default: what the data says)",
        metavar="NAME",
    )
    steps: int = option(STEPS, f"of the training (default: {STEPS})", type=int, metavar="N")
    seed: int = option(0, type=int, metavar="N")
    out: Path | None = option(
        None, "an empty folder for images, masks and a manifest", type=Path, metavar="DIR"
    )
    images: int = option(100, "images to export (default: 100)", type=int, metavar="N")
    textures: str = option(
        TEXTURES[0],
        "of the exported images: taken from training images (default), or made by the networks",
        choices=list(TEXTURES),
    )

    def __post_init__(self) -> None:
        for flag, value in (("--steps", self.steps), ("--images", self.images)):
            if value < 1:
                raise InputError(f"{flag} {value}: must be at least 1")

    @property
    def title(self) -> str:
        """What it trains."""
        return "Train mask, foreground and background"
