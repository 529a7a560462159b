"""What the commands that measure are asked for; nothing heavy at import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import InputError
from core.jobs.options import Request, folders, option, written


@dataclass(frozen=True)
class MeasureRequest(Request):
    """``measure``: the table of measures of one audit."""

    command = "measure"

    audit: str = field(metadata=option(metavar="AUDIT"))
    what: str = field(
        default="all",
        metadata=option(
            "--what",
            choices=["gap", "score", "noise", "flip", "groups", "all"],
            help="score needs --class and --cue-images",
        ),
    )
    threshold: int | None = field(
        default=None,
        metadata=option("--threshold", type=int, metavar="N", help="votes that decide a tag"),
    )
    sigma: Sequence[float] = field(
        default=(),
        metadata=option(
            "--sigma",
            type=float,
            action="extend",
            nargs="+",
            metavar="S",
            help="noise levels (default: 0.25)",
        ),
    )
    class_name: str | None = field(
        default=None, metadata=option("--class", metavar="NAME", help="for the score")
    )
    cue_images: Path | None = field(
        default=None,
        metadata=option("--cue-images", type=Path, metavar="DIR", help="for the score"),
    )

    def __post_init__(self) -> None:
        given = (self.class_name is not None, self.cue_images is not None)
        if self.what == "score" and not all(given):
            raise InputError("measure --what score needs --class NAME and --cue-images DIR")
        if any(given) and not (all(given) and self.what in ("score", "all")):
            raise InputError(
                "--class NAME and --cue-images DIR belong together and to --what score or all: "
                "they are for the spurious score; everything else is measured for all classes"
            )


@dataclass(frozen=True)
class ScoreRequest(Request):
    """``score``: the spurious score of one class."""

    command = "score"

    audit: str = field(metadata=option(metavar="AUDIT"))
    class_name: str = field(
        metadata=option("--class", required=True, metavar="NAME", help="label, name or #index")
    )
    cue_images: Path = field(
        metadata=option(
            "--cue-images",
            required=True,
            type=Path,
            metavar="DIR",
            help="images that show the cue but not the object",
        )
    )


@dataclass(frozen=True)
class FactorsRequest(Request):
    """``factors``: what the model decides by."""

    command = "factors"

    audit: str = field(metadata=option(metavar="AUDIT"))
    class_name: str | None = field(
        default=None,
        metadata=option("--class", metavar="NAME", help="label, name or #index (default: all)"),
    )


@dataclass(frozen=True)
class CompareRequest(Request):
    """``compare``: several models on the same images."""

    command = "compare"

    audits: Sequence[str] = field(
        metadata=option(nargs="+", metavar="AUDIT", help="two or more audits of the same images")
    )
    baseline: str | None = field(
        default=None,
        metadata=option(
            "--baseline", metavar="AUDIT", help="differences are to this one (default: the first)"
        ),
    )
    carry_tags_from: str | None = field(
        default=None,
        metadata=option(
            "--carry-tags-from", metavar="AUDIT", help="first carry its tags over to the others"
        ),
    )
    cue_images: Mapping[str, Path] = field(
        default_factory=dict,
        metadata=option(
            "--cue-images",
            action="extend",
            nargs="+",
            read=folders,
            write=written,
            metavar="CLASS=DIR",
            help="images that show the cue of a class but not the object, for the spurious score",
        ),
    )
    stored: bool = field(
        default=False,
        metadata=option(
            "--stored", action="store_true", help="load no model: show only what is stored"
        ),
    )

    @property
    def title(self) -> str:
        """How many models."""
        return f"Compare {len(self.audits)} models"
