"""What an audit is of: ``manifest.json`` as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, Literal, Self

from core.config import FORMAT
from core.storage.json_values import JsonValue, Mismatch, called, later
from core.types import Precision, Preprocess, Runtime


@dataclass(frozen=True)
class StoredPreprocess(Preprocess, JsonValue):
    """How a model wants its images, as an audit keeps it."""

    colours: str = later("rgb")
    levels: tuple[float, ...] = later(())
    windows: str = later("")
    shrink: bool = later(False)


@dataclass(frozen=True)
class Reading(JsonValue):
    """What a user said of how a network is read; what is empty is left to the network itself."""

    weights: str = later("")
    """Entry of the checkpoint that holds the weights, where it has several."""
    classes: str = later("")
    """An order of the classes by its name, or the file that lists what the outputs mean."""
    outputs: tuple[str, ...] = later(())
    """(K,) raw label of every output, as that file says."""
    mean: tuple[float, ...] = later(())
    """Per channel, of values in [0, 1]."""
    std: tuple[float, ...] = later(())
    input_size: tuple[int, ...] = later(())
    """Height and width, pixels."""
    crop: float = later(0.0)
    """Share of the resized image that the crop shows."""
    crop_mode: str = later("")
    interpolation: str = later("")
    colours: str = later("")
    """``rgb`` or ``bgr``."""
    levels: tuple[float, ...] = later(())
    """Values of black and white in images of more than 8 bits."""
    windows: str = later("")
    """``kept`` or ``scaled``: windows of attention at another size of image."""


@dataclass(frozen=True)
class Parts(JsonValue):
    """What decides what comes out of an audit; the fingerprint is of it."""

    data: str = ""
    limit_per_class: int | None = called("limit per class", None)
    model: str = ""
    weights: str = "unknown"
    """Digest of the network's weights."""
    preprocessing: StoredPreprocess | None = None
    head: str = ""
    components: int = 0
    """Most components of a class."""
    device: str = ""
    precision: str = ""
    batch_size: int = called("batch size", 0)
    code: str = ""
    """Version of this program."""
    format: int = FORMAT
    classes: tuple[str, ...] = later(())
    """What the user said that the outputs mean: their labels, or an order by its name."""
    runtime: str = later("eager")
    parent: str = later("")
    """Of a corrected model: id, fingerprint and head of what it was made from."""
    mitigation: Mapping[str, Any] | None = later(None)
    """Of a corrected model: what was asked for."""


@dataclass(frozen=True)
class DataFacts(JsonValue):
    """Where the images are."""

    source: str
    """The DATA argument."""
    root: str
    """Folder that image paths start from."""
    moved: bool | None = later(None)
    """Whether the images lie elsewhere than the source says; None: they never moved."""
    classes: tuple[str, ...] = later(())
    """Labels in the order that the data set itself gives its classes; empty where it has none."""


@dataclass(frozen=True)
class ModelFacts(JsonValue):
    """Which network it is."""

    name: str
    checkpoint: str | None
    """Its file; below the audit's folder where the encoder was changed."""
    map_kind: str
    notes: tuple[str, ...]
    n_features: int = 0
    map_grid: tuple[int, ...] | None = None
    """Height and width of its maps."""
    weights: str | None = later(None)
    """Digest of the weights where they are not those that the audit's parts name."""
    reading: Reading | None = later(None)
    """What the user said of how it is read; None: nothing."""


@dataclass(frozen=True)
class HeadChoice(JsonValue):
    """Which head is explained, and why that one."""

    mode: str
    """``keep`` or ``fit``."""
    reason: str
    held_out: str | None = later(None)
    """What figures are measured on, where it is no split of the data."""


@dataclass(frozen=True)
class Compute(JsonValue):
    """On what, and in which arithmetic, the features were computed."""

    device: str
    batch_size: int
    precision: Precision
    reason: str
    """Why that precision."""
    tried: tuple[Mapping[str, Any], ...] = ()
    """What faster ones did to a sample (:class:`core.models.precision.Tried`)."""
    hardware: bool = True
    """Whether the device computes in that precision, rather than emulates it."""
    runtime: Runtime = later("eager")
    """What runs the forward passes (:data:`core.models.runtime.RUNTIMES`)."""
    runtime_reason: str = later("")
    """Why that runtime."""
    shrunk: str = later("")
    """What decoding large JPEGs at a fraction of their size did to a sample, in words."""
    compared: Mapping[str, Any] | None = later(None)
    """What ONNX Runtime did to a sample (:class:`core.models.runtime.Compared`)."""
    threads: int = later(0)
    """Of a worker's forward passes; 0: nobody wrote it down."""


@dataclass(frozen=True)
class Provenance(JsonValue):
    """How a corrected model was made from which audit; what a method recorded is unknown here."""

    parent: str
    parent_name: str
    method: str
    cues: tuple[str, ...]
    """Those acted on, ``LABEL/kind-component``."""
    options: Mapping[str, Any]
    asked_strength: float | Literal["auto", "sweep"]
    attribute: str | None
    masks: bool
    seed: int
    threshold: int | None = later(None)
    learnt_from: int = later(0)
    """Number of training images."""
    told_apart_by: str = later("")
    """What says which images show the cue."""
    strength: float = later(nan)
    chosen_on: str = later("")
    """On what the strength was chosen; empty where it was not."""
    lacking: tuple[str, ...] = later(())
    """How many training images lack each cue acted on, in words."""
    worst_before: float = later(nan)
    worst_after: float = later(nan)
    """Worst group of class and cue on held-out training images and composites, [0, 1]; nan where
    it was not judged."""
    concepts: tuple[Mapping[str, Any], ...] = later(())
    """Rows of :func:`core.corrections.vectors.concept_rows`."""
    history: tuple[Mapping[str, float | None], ...] = later(())
    """Loss and scores of every epoch."""
    encoder_changed: bool = later(False)


@dataclass(frozen=True)
class Manifest(JsonValue):
    """What an audit is of, how it is computed, and how far it is."""

    format: int
    id: str
    """The folder's name."""
    name: str
    created: str
    """ISO 8601."""
    version: str
    state: str
    """``running`` or ``finished``."""
    fingerprint: str
    """Of the parts."""
    parts: Parts
    data: DataFacts
    model: ModelFacts
    preprocess: StoredPreprocess
    head: HeadChoice
    compute: Compute
    mitigation: Provenance | None = later(None)
    """Only of a corrected model."""
    counts: Mapping[str, int] | None = later(None)
    """Candidates of a class that were asked for, by their kind; of others a rule says how many."""

    @property
    def reading(self) -> Reading | None:
        """How its network is read: as the user said; one changed, in its own file, as it was."""
        if self.model.weights is None:
            return self.model.reading
        p = self.preprocess
        return Reading(
            mean=p.mean,
            std=p.std,
            input_size=p.input_size,
            crop=p.crop_pct,
            crop_mode=p.crop_mode,
            interpolation=p.interpolation,
            colours=p.colours,
            levels=p.levels,
            windows=p.windows,
        )

    @classmethod
    def of_folder(cls, found: Any, folder: str) -> Self:
        """Read the manifest of an audit, whose id is its folder's name.

        One of another format is read as far as it is like one of ours, so that it can be listed
        and deleted.

        Raises
        ------
        Mismatch
            If it is no manifest.
        """
        AnyManifest.from_json(found)
        if found["format"] != FORMAT:
            found = _as_ours(found)
        return cls.from_json({**found, "id": folder})


@dataclass(frozen=True)
class AnyManifest(JsonValue):
    """What the manifest of every format has."""

    format: int
    name: str
    created: str


def _as_ours(found: Mapping[str, Any]) -> Mapping[str, object]:
    """A manifest of another format with what it lacks, or has in another form, left blank."""
    blank: Mapping[str, object] = {
        **{"version": "", "state": "", "fingerprint": "", "parts": {}},
        "data": {"source": "", "root": ""},
        "model": {"name": "", "checkpoint": None, "map_kind": "none", "notes": []},
        "preprocess": {
            **{"input_size": [], "crop_pct": 1.0, "interpolation": "", "mean": [], "std": []},
        },
        "head": {"mode": "", "reason": ""},
        "compute": {"device": "", "batch_size": 0, "precision": "fp32", "reason": ""},
    }
    fitting = {key: said for key, said in found.items() if _fits(key, said)}
    return {**blank, **fitting}


def _fits(key: str, said: Any) -> bool:
    """Whether an entry is one of another name, or of the kind that ours is."""
    if key not in Manifest.entries():
        return True
    try:
        Manifest.entries()[key].read(said, key)
    except Mismatch:
        return False
    return True
