"""What the commands that measure are asked for; nothing heavy at import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import InputError
from core.jobs.options import CUE_IMAGES, Request, folders, given, option, written


@dataclass(frozen=True)
class MeasureRequest(Request):
    """``measure``: the table of measures of one audit."""

    command = "measure"

    audit: str = field(metadata=given(flag="", metavar="AUDIT"))
    what: str = option(
        "all",
        "gap, groups, noise, flip, lean, subsets, all; score, which needs --class and "
        "--cue-images; or what all leaves out: calibration, ood, sets, corruptions, priors, "
        "agreement, universal, evidence, trust, remedies",
        metavar="PART",
    )
    threshold: int | None = option(None, "votes that decide a tag", type=int, metavar="N")
    sigma: Sequence[float] = option(
        (), "noise levels (default: 0.25)", type=float, nargs="+", metavar="S"
    )
    class_name: str | None = option(
        None, "for the score, and for universal", "--class", metavar="NAME"
    )
    cue_images: Path | None = option(None, "for the score", type=Path, metavar="DIR")
    against: str = option(
        "",
        "for ood: the images to be told from the held-out ones, a split, ATTRIBUTE=VALUE, "
        "an evaluation set or another audit of the same network (default: all but other audits)",
        metavar="SET",
    )
    typical_of: str = option(
        "", "for ood: what images are held against (default: the training images)", metavar="SET"
    )

    ensemble: Sequence[str] = option(
        (),
        "for calibration and remedies: further audits of the same images and classes, whose "
        "probabilities are averaged with this one's",
        metavar="AUDIT",
        nargs="+",
    )

    def __post_init__(self) -> None:
        told = (self.class_name is not None, self.cue_images is not None)
        if self.what == "score" and not all(told):
            raise InputError("measure --what score needs --class NAME and --cue-images DIR")
        if (self.against or self.typical_of) and self.what != "ood":
            raise InputError("--against and --typical-of belong to measure --what ood")
        if self.ensemble and self.what not in ("calibration", "remedies"):
            raise InputError("--ensemble belongs to measure --what calibration or remedies")
        if self.what == "remedies" and not self.ensemble:
            raise InputError("measure --what remedies needs --ensemble AUDIT: the other models")
        if self.what == "universal" and told == (True, False):
            return
        if any(told) and not (all(told) and self.what in ("score", "all")):
            raise InputError(
                "--class NAME and --cue-images DIR belong together and to --what score or all: "
                "they are for the spurious score; everything else is measured for all classes, "
                "except universal, which takes --class alone"
            )


@dataclass(frozen=True)
class ScoreRequest(Request):
    """``score``: the spurious score of one class."""

    command = "score"

    audit: str = field(metadata=given(flag="", metavar="AUDIT"))
    class_name: str = field(metadata=given("label, name or #index", "--class", metavar="NAME"))
    cue_images: Path = field(
        metadata=given("images that show the cue but not the object", type=Path, metavar="DIR")
    )


@dataclass(frozen=True)
class FactorsRequest(Request):
    """``factors``: what the model decides by."""

    command = "factors"

    audit: str = field(metadata=given(flag="", metavar="AUDIT"))
    class_name: str | None = option(
        None, "label, name or #index (default: all)", "--class", metavar="NAME"
    )


@dataclass(frozen=True)
class CompareRequest(Request):
    """``compare``: several models on the same images."""

    command = "compare"

    audits: Sequence[str] = field(
        metadata=given("two or more audits of the same images", "", nargs="+", metavar="AUDIT")
    )
    baseline: str | None = option(
        None, "differences are to this one (default: the first)", metavar="AUDIT"
    )
    carry_tags_from: str | None = option(
        None, "first carry its tags over to the others", metavar="AUDIT"
    )
    cue_images: Mapping[str, Path] = option(
        {}, CUE_IMAGES, nargs="+", metavar="CLASS=DIR", read=folders, write=written
    )
    stored: bool = option(False, "load no model: show only what is stored")
    axes: Sequence[str] = option(
        (),
        "effective robustness between these two sets of images, each once (default: the first two)",
        "--axis",
        metavar="IMAGES",
    )
    published: Path | None = option(
        None,
        "a CSV of published accuracies, a row per model, whose line is used",
        type=Path,
        metavar="FILE",
    )
    columns: Sequence[str] = option(
        (), "the two columns of that table", "--published-column", metavar="NAME"
    )

    def __post_init__(self) -> None:
        if len(self.axes) not in (0, 2):
            raise InputError("--axis: give it twice, or not at all")

    @property
    def title(self) -> str:
        """How many models."""
        return f"Compare {len(self.audits)} models"
