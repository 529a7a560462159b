"""What the commands about one audit want: ``audit``, ``demo``, ``map``, ``explain`` and more."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from core.audits.reading_options import ReadingOptions, options_of
from core.config import COMPONENTS
from core.errors import InputError
from core.jobs.engine_options import EngineOptions
from core.jobs.options import Request, given, option, written
from core.models.precision import PRECISIONS
from core.models.runtime import RUNTIMES
from core.storage.audit_manifest import Manifest
from core.storage.guard import permitted
from core.storage.workspace import check_name
from core.types import Precision, Runtime

Arithmetic = Precision | Literal["auto"]
ARITHMETICS: tuple[Arithmetic, ...] = ("auto", *PRECISIONS)
"""What can be asked for; auto takes the fastest that moves no figure."""

RuntimeChoice = Runtime | Literal["auto"]
RUNTIME_CHOICES: tuple[RuntimeChoice, ...] = ("auto", *RUNTIMES)


def pairs_of(flag: str, texts: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` arguments of an option as a mapping.

    Raises
    ------
    InputError
        If one has no equals sign.
    """
    if bad := [text for text in texts if "=" not in text]:
        raise InputError(f"{flag} {bad[0]!r}: give NAME=VALUE")
    pairs = (text.partition("=") for text in texts)
    return {name.strip(): value.strip() for name, _, value in pairs}


SET_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}")
"""What a set may be called: its folder is."""


def check_set_names(names: Sequence[str]) -> None:
    """Raise InputError where one cannot be the name of a set."""
    for name in names:
        if not SET_NAME.fullmatch(name):
            raise InputError(
                f"--also {name!r}: call a set by letters, digits, dots, dashes, plus signs and "
                "underscores, at most 64, the first a letter or a digit"
            )


@dataclass(frozen=True)
class AuditRequest(Request, EngineOptions, ReadingOptions):
    """What the user asked for; the command line and the form fill the same fields."""

    command = "audit"

    data: str = option(
        "",
        "a folder, a manifest or a named data set, in one of the forms below; not needed with "
        "--also and the --name of an audit",
    )
    model: str = option(
        "", "timm:NAME, torchvision:NAME or packaged:efficientnet-lite0; as for --data"
    )
    name: str | None = option(None, "name of the audit (default: from data and model)")
    head: str = option("auto", choices=["auto", "keep", "fit"])
    """``keep``, ``fit`` or ``auto``."""
    checkpoint: Path | None = option(None, ".pth or .safetensors", type=Path, metavar="FILE")
    components: int = option(COMPONENTS, type=int, metavar="N")
    parts: int | None = option(
        None,
        "parts of every class; 0: by a rule, 4 to 10 (default: as the audit has them, at first by "
        "the rule)",
        type=int,
        metavar="N",
    )
    device: str = option("auto", "auto, cpu, cuda or mps")
    precision: Arithmetic = option("auto", choices=ARITHMETICS)
    runtime: RuntimeChoice = option(
        "auto",
        "what runs the network: torch (eager), ONNX Runtime on a CPU (onnx) or what torch's "
        "compiler makes (compiled), which compute the same to rounding (default: the faster where "
        "it pays)",
        choices=RUNTIME_CHOICES,
    )
    shrink: bool = option(
        False,
        "decode large JPEGs at a fraction of their size: several times as fast, and no longer "
        "the same figures; what it does to a sample is said",
    )
    batch_size: int | None = option(None, type=int, metavar="N")
    limit_per_class: int | None = option(None, type=int, metavar="N")
    also: Mapping[str, str] = option(
        {},
        "a further set of images that the model is evaluated on, such as ImageNetV2, by a name of "
        "your choice; only its features are computed, and nothing of the audit changes",
        metavar="NAME=DATA",
        nargs="+",
        read=lambda texts: pairs_of("--also", texts),
        write=written,
    )

    def __post_init__(self) -> None:
        self.check_reading()
        self.check_engine()
        self._check_what()
        for flag, value in (
            ("--components", self.components),
            ("--batch-size", self.batch_size),
            ("--limit-per-class", self.limit_per_class),
        ):
            if value is not None and value < 1:
                raise InputError(f"{flag} {value}: must be at least 1")
        if self.parts is not None and self.parts < 0:
            raise InputError(f"--parts {self.parts}: must be at least 1, or 0 for the rule")
        for flag, word, known in (
            ("--head", self.head, ("auto", "keep", "fit")),
            ("--precision", self.precision, ARITHMETICS),
            ("--runtime", self.runtime, RUNTIME_CHOICES),
        ):
            if word not in known:
                raise InputError(f"{flag} {word!r}: choose {', '.join(known)}")
        if self.name is not None:
            check_name(self.name)
        if self.checkpoint is not None:
            permitted(self.checkpoint)

    @property
    def only_adds(self) -> bool:
        """Whether it adds sets to an audit that is there, and says nothing else of it."""
        return not self.data.strip() and not self.model and bool(self.name and self.also)

    def _check_what(self) -> None:
        """Raise InputError where neither an audit nor what to add to one is named."""
        if not self.data.strip() and not self.only_adds:
            from core.data.source import forms

            raise InputError(
                f"--data is empty; give {forms()} (to add sets to an audit: --name and --also)"
            )

    @classmethod
    def again(cls, manifest: Manifest, *, parts: int | None = None) -> AuditRequest:
        """What makes an audit as it is, or with so many parts of every class; 0: by the rule.

        Raises
        ------
        InputError
            If its checkpoint may not be read by this process.
        """
        facts, of = manifest.model, manifest.parts
        return cls(
            manifest.data.source,
            facts.name,
            name=manifest.name,
            head=of.head,
            checkpoint=Path(facts.checkpoint) if facts.checkpoint else None,
            components=of.components,
            parts=parts,
            limit_per_class=of.limit_per_class,
            **options_of(facts.reading),
        )

    def counts(self, old: Manifest | None) -> Mapping[str, int] | None:
        """Candidates of a class that are asked for, by kind; what is not said stays as it was."""
        from core.candidates.part_kind import PART

        if self.parts is None:
            return old.counts if old else None
        return {PART: self.parts} if self.parts else None

    @property
    def title(self) -> str:
        """Data and model, or what is added to which audit."""
        if self.only_adds:
            return f"{self.name} · {', '.join(self.also)}"
        return f"{self.data} · {self.model}"

    @property
    def default_name(self) -> str:
        """Name of the audit: the one given, else made of data and model."""
        if self.name is not None:
            return self.name
        model = self.model.partition(":")[2]
        if self.checkpoint:
            model += f"-{self.checkpoint.stem}"
        words = re.sub(r"[\x00-\x1f/\\:]+", "-", f"{self._data_name}-{model}")
        return words.strip().lstrip(".-")[:120].strip() or "audit"

    @property
    def _data_name(self) -> str:
        """The folder or file that the data lies in, or the name of a data set."""
        from core.data.source import named

        if (source := named(self.data)) and source.name == "manifest":
            name, _, said = self.data.partition(":")[2].partition("?class=")
            return f"{Path(name).stem}-{said}"
        if source:
            return self.data.partition("?")[0].replace(":", "-", 1)
        path = Path(os.path.abspath(Path(self.data).expanduser()))
        return path.stem if path.suffix.lower() in (".csv", ".parquet") else path.name


@dataclass(frozen=True)
class DemoRequest(Request):
    """``demo``: an audit that needs no data of one's own."""

    command = "demo"

    name: str = field(
        default="cues", metadata=given("cues (default), solar, compare, …", "", nargs="?")
    )

    @property
    def title(self) -> str:
        """The one that a workspace begins with has no name."""
        return "Demo" if self == DemoRequest() else f"Demo {self.name}"


@dataclass(frozen=True)
class MapRequest(Request):
    """``map``: PCA and UMAP of an audit."""

    command = "map"

    audit: str = field(metadata=given("a name or the beginning of an id", "", metavar="AUDIT"))
    class_name: str | None = option(
        None,
        "the weighted activations of this class (label, name or #index) instead of the features "
        "of all images",
        "--class",
        metavar="NAME",
    )
    pca_only: bool = option(False, "leave UMAP out")


@dataclass(frozen=True)
class TrialsRequest(Request, EngineOptions):
    """``trials``: what the leading candidates of the classes do in the maps."""

    command = "trials"

    audit: str = field(metadata=given("a name or the beginning of an id", "", metavar="AUDIT"))

    def __post_init__(self) -> None:
        self.check_engine()


@dataclass(frozen=True)
class ConfirmRequest(Request):
    """``confirm``: what a candidate does, repeated in pixels."""

    command = "confirm"

    audit: str = field(metadata=given("a name or the beginning of an id", "", metavar="AUDIT"))
    class_name: str = field(metadata=given("label, name or #index", "--class", metavar="NAME"))
    candidate: str = option("", "the candidate by its key, part-0, instead of its number")


@dataclass(frozen=True)
class ExplainRequest(Request):
    """``explain``: what a method says of images, or of a candidate."""

    command = "explain"

    audit: str = field(metadata=given("a name or the beginning of an id", "", metavar="AUDIT"))
    class_name: str = field(metadata=given("label, name or #index", "--class", metavar="NAME"))
    method: str = option(
        "sis", "one of those below; several are separated by commas", metavar="NAME,NAME"
    )
    candidate: str = option(
        "", "candidates by their keys, part-0,part-1, instead of one by its number"
    )
    images: str = option(
        "", "these images (default: some of the class, drawn by the seed)", metavar="ID,ID"
    )
    count: int = option(8, "how many are drawn where none is named", type=int, metavar="N")
    settings: Mapping[str, str] = option(
        {},
        "a setting of the method",
        "--set",
        metavar="NAME=VALUE",
        read=lambda texts: pairs_of("--set", texts),
        write=written,
        nargs="+",
    )
    also: Sequence[str] = option(
        (), "explain the mean of several models: of this audit, too", metavar="AUDIT"
    )
    seed: int = option(0, type=int, metavar="N")
    out: Path | None = option(
        None, "write arrays (.npz), pictures (.png) and a .json there", type=Path, metavar="DIR"
    )

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"--count {self.count}: must be at least 1")

    @property
    def methods(self) -> list[str]:
        """Those that are named."""
        return _separated(self.method) or [self.method]

    @property
    def candidates(self) -> list[str]:
        """Those that are named by their keys; a key with its class is one, commas included."""
        return [self.candidate] if "/" in self.candidate else _separated(self.candidate)

    @property
    def image_ids(self) -> list[str]:
        """Those that are named."""
        return _separated(self.images)


def _separated(text: str) -> list[str]:
    """Names that are separated by commas, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


TEXT_MODEL = (
    "folder of an image-text model of open_clip; nothing is fetched (default: "
    "$SPURIOSCOPE_TEXT_MODEL)"
)


@dataclass(frozen=True)
class SuggestRequest(Request):
    """``suggest``: what candidates might be called."""

    command = "suggest"

    audit: str = field(metadata=given("a name or the beginning of an id", "", metavar="AUDIT"))
    class_name: str | None = option(
        None, "of this class (label, name or #index) instead of all", "--class", metavar="NAME"
    )
    candidate: str = option(
        "", "this candidate by its key, part-0, instead of the leading ones", metavar="KEY"
    )
    network: bool = option(
        False, "ask a packaged ImageNet network what it calls what the overlays mark, too"
    )
    text_model: Path | None = option(None, TEXT_MODEL, type=Path, metavar="DIR")
    words: str = option(
        "",
        "words that it may say beside ImageNet's 21,000 and the names that people gave, separated "
        "by commas",
        metavar="WORD,WORD",
    )


@dataclass(frozen=True)
class SearchRequest(Request):
    """``search``: images like some others, or like a text."""

    command = "search"

    audit: str = field(metadata=given("a name or the beginning of an id", "", metavar="AUDIT"))
    text: str = option("", "what is to be seen; needs an image-text model", metavar="TEXT")
    like: str = option("", "images like these, by the audit's own features", metavar="ID,ID")
    class_name: str | None = option(
        None, "only images of this class (label, name or #index)", "--class", metavar="NAME"
    )
    top: int = option(12, "how many", type=int, metavar="N")
    text_model: Path | None = option(None, TEXT_MODEL, type=Path, metavar="DIR")

    def __post_init__(self) -> None:
        if self.top < 1:
            raise InputError(f"--top {self.top}: must be at least 1")


@dataclass(frozen=True)
class PartsRequest(Request):
    """``parts``: parts of a class where no map is exact."""

    command = "parts"

    audit: str = field(metadata=given("a name or the beginning of an id", "", metavar="AUDIT"))
    class_name: str = field(metadata=given("label, name or #index", "--class", metavar="NAME"))
    number: int | None = option(None, "how many (default: by a rule, 4 to 10)", type=int)

    def __post_init__(self) -> None:
        if self.number is not None and self.number < 1:
            raise InputError(f"--number {self.number}: must be at least 1")


@dataclass(frozen=True)
class DiscoverRequest(Request):
    """``discover``: strategies of classes, or what their leading candidates look like."""

    command = "discover"

    audit: str = field(metadata=given("a name or the beginning of an id", "", metavar="AUDIT"))
    method: str = option(
        "spray",
        "spray: clusters of explanations; relmax: images that candidates mattered most to, beside "
        "those that show most of them; else pictures of candidates, by the method of explain of "
        "this name",
        choices=["spray", "relmax", "look", "npfv", "fourier", "attack"],
    )
    class_name: str | None = option(
        None, "of this class (label, name or #index) instead of all", "--class", metavar="NAME"
    )
    space: tuple[str, ...] = option(
        (),
        "what images are compared by: heatmap (places), psi (channels), part; may be repeated "
        "(default: all)",
        metavar="SPACE",
    )
    clusters: int | None = option(
        None, "how many in each space (default: by the eigengap)", type=int, metavar="N"
    )
    neighbours: int = option(10, "of an image in the graph", type=int, metavar="K")
    kind: str = option(
        "pca", "of pictures and relmax: which candidates are looked at", metavar="KIND"
    )
    count: int = option(
        10,
        "of pictures and relmax: how many of a class, the first by eigenvalue",
        type=int,
        metavar="N",
    )
    seed: int = option(0, "of groups and pictures", type=int)
    out: Path | None = option(
        None, "write arrays (.npz) and pictures (.png) there", type=Path, metavar="DIR"
    )
