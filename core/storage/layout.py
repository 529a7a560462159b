"""Where everything of an audit lies: the name of every file is spelt here, and nowhere else.

What a file holds is said where it is written (:mod:`core.features.shards`,
:mod:`core.audits.analysis`, :mod:`core.trials.outcomes`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

MANIFEST = "manifest.json"
"""What an audit is; a folder with it is one."""

HEAD, PLAN, SHARDS, CLASSES, FOUND = "head", "plan", "shards", "classes", "found"
CARRIED, MAP, MEASURES, EMBEDDINGS = "carried", "map", "measures", "embeddings"
MITIGATION, OUTCOMES, UPLOADS = "mitigation", "outcomes", "uploads"
EXPLAINED = "explained"
GENERATOR, QUALITY, SETS = "generator", "quality", "sets"

PASS = (PLAN, SHARDS)
"""Folders of what the pass over the images leaves."""

ON_DEMAND = (
    *(CARRIED, EMBEDDINGS, EXPLAINED, GENERATOR, MAP, MEASURES, MITIGATION, OUTCOMES, QUALITY),
    *(SETS, UPLOADS),
)
"""Folders of what is computed where it is asked for."""

DIGESTS = "digests.json"
"""Digests of the files of a folder; written last, it says that they are whole."""

ENGINE = ".engine"
"""Folder of what those who compute an audit say to each other; gone when they are done."""

PICTURES = "pictures"
"""Folder of what can be drawn again at any time."""


class Inside(Generic[T]):
    """Something in a folder that always bears the same name.

    Parameters
    ----------
    kind : makes of its path what is asked for, a path or further files.
    """

    def __init__(self, name: str, kind: Callable[[Path], T]) -> None:
        self.name, self.kind = name, kind

    def __set_name__(self, _: type, attribute: str) -> None:
        self.attribute = attribute

    def __get__(self, files: Files, _: type) -> T:
        found = files.__dict__[self.attribute] = self.kind(files.folder / self.name)
        return found  # from now on the attribute itself is found first


@dataclass(frozen=True)
class Files:
    """Files of one folder."""

    folder: Path

    def array(self, name: str) -> Path:
        """One of the arrays."""
        return self.folder / f"{name}.npy"


class HeadFiles(Files):
    """The head that is explained: arrays of its weights and its correction."""

    facts = Inside("head.json", Path)
    out_of_fold = Inside("oof.npy", Path)
    """Logits of the images that a probe was fitted on; only then."""


class ClassFiles(Files):
    """One audited class: its arrays (:data:`core.audits.class_files.ARRAYS`)."""

    facts = Inside("class.json", Path)
    candidates = Inside("candidates.parquet", Path)


class KindFiles(Files):
    """The candidates of one kind in one class: their arrays, and what the kind keeps."""

    facts = Inside("kind.json", Path)
    candidates = Inside("candidates.parquet", Path)


class ShardFiles(Files):
    """What the pass computed of a slice of a plan."""

    rows = Inside("rows.parquet", Path)
    features = Inside("features.npy", Path)
    maps = Inside("maps.npy", Path)
    """Only where maps are kept."""
    mapped = Inside("mapped.npy", Path)
    """Of which rows they are; only where not of all."""
    properties = Inside("properties.parquet", Path)
    """What its images look like; audits of earlier versions may have none."""

    @property
    def plan(self) -> str:
        """Name of the plan that it is a slice of."""
        return self.folder.name.partition("-")[0]

    @property
    def number(self) -> int:
        """Place of the slice in its plan."""
        return int(self.folder.name.partition("-")[2])


class UploadFiles(Files):
    """An image from outside."""

    image = Inside("image", Path)
    facts = Inside("upload.json", Path)
    features = Inside("features.npy", Path)
    maps = Inside("maps.npy", Path)


class SetFiles(Files):
    """A further set of images, whose own plans and shards lie below it as an audit's do."""

    facts = Inside("set.json", Path)
    """Only of a set that is complete."""
    images = Inside("images.parquet", Path)

    def predictions(self, key: str) -> Path:
        """What a head says of them, by its key."""
        return self.folder / f"predictions-{key}.parquet"


class MapFiles(Files):
    """A map of all images, or of those of a class."""

    facts = Inside("map.json", Path)
    ids = Inside("ids.npy", Path)
    pca = Inside("pca.npy", Path)
    sample = Inside("sample.npy", Path)
    umap = Inside("umap.npy", Path)

    @property
    def lock(self) -> Path:
        """Held while the map is computed."""
        return self.folder.with_name(f"{self.folder.name}.lock")


class ExplainedFiles(Files):
    """What a method says of an image, or of a candidate: arrays, and what is said of them."""

    facts = Inside("explanation.json", Path)
    refusal = Inside("refusal.json", Path)


class PastedFiles(Files):
    """What a model says of versions of images; their features are arrays by version."""

    facts = Inside("facts.json", Path)
    table = Inside("table.parquet", Path)


class MitigationFiles(Files):
    """What was measured of a correction."""

    effect = Inside("effect.parquet", Path)
    tradeoff = Inside("tradeoff.parquet", Path)
    changed = Inside("changed.json", Path)


class GeneratorFiles(Files):
    """Networks that make counterfactual images, and how they were trained."""

    facts = Inside("generator.json", Path)
    weights = Inside("generator.safetensors", Path)


class EngineFiles(Files):
    """What those who compute one audit together say to each other, while they do."""

    order = Inside("order.json", Path)
    """What is to be computed."""
    leases = Inside("leases", Path)
    """Who computes which part of it."""


class AuditFiles(Files):
    """Every file of one audit, by its folder."""

    manifest = Inside(MANIFEST, Path)
    summary = Inside("summary.json", Path)
    """Only of an audit that is complete."""
    images = Inside("images.parquet", Path)
    predictions = Inside("predictions.parquet", Path)
    candidates = Inside("candidates.parquet", Path)
    """Of every class."""
    checkpoint = Inside("checkpoint.safetensors", Path)
    """Weights of a changed encoder."""
    lock = Inside("lock", Path)
    """Held while the audit is computed."""
    head = Inside(HEAD, HeadFiles)
    engine = Inside(ENGINE, EngineFiles)
    plans = Inside(PLAN, Path)
    shards = Inside(SHARDS, Path)
    shard_rows = Inside(f"{SHARDS}.parquet", Path)
    """What all of them say of their images; only where there are many."""
    classes = Inside(CLASSES, Path)
    classes_key = Inside(f"{CLASSES}/key.json", Path)
    """What all classes were computed from."""
    found = Inside(FOUND, Path)
    found_anew = Inside(f"{FOUND}/anew.json", Path)
    """In what the kinds were found whose candidates were others before."""
    carried = Inside(CARRIED, Path)
    carried_lock = Inside(f"{CARRIED}.lock", Path)
    """Held while tags are carried over."""
    generator = Inside(GENERATOR, GeneratorFiles)
    generator_lock = Inside(f"{GENERATOR}.lock", Path)
    """Held while the generator is trained."""
    maps = Inside(MAP, Path)
    measures = Inside(MEASURES, Path)
    factors_lock = Inside(f"{MEASURES}/factors.lock", Path)
    """Held while what the model decides by is measured."""
    embeddings = Inside(EMBEDDINGS, Path)
    embeddings_lock = Inside(f"{EMBEDDINGS}/lock", Path)
    """Held while images are embedded."""
    mitigation = Inside(MITIGATION, MitigationFiles)
    outcomes = Inside(OUTCOMES, Path)
    outcomes_lock = Inside(f"{OUTCOMES}/lock", Path)
    """Held while outcomes are made."""
    explained = Inside(EXPLAINED, Path)
    quality = Inside(QUALITY, Path)
    image_keys = Inside(f"{QUALITY}/keys.json", Path)
    """Keys of tables that depend on every image, by what else these depend on."""
    sets = Inside(SETS, Path)
    uploads = Inside(UPLOADS, Path)
    pictures = Inside(PICTURES, Path)

    @property
    def outcomes_version(self) -> int:
        """Changes whenever an outcome is added or taken away; 0 without any."""
        return self.outcomes.stat().st_mtime_ns if self.outcomes.exists() else 0

    def every_plan(self) -> list[Path]:
        """The lists of images to compute, oldest first."""
        return sorted(self.plans.glob("[0-9]*.parquet"))

    def plan(self, name: str) -> Path:
        """One of these lists by its name, three digits."""
        return self.plans / f"{name}.parquet"

    def every_shard(self) -> list[ShardFiles]:
        """The shards that are finished, in order of computation."""
        return [ShardFiles(path) for path in sorted(self.shards.glob("[0-9]*-[0-9]*"))]

    def shard(self, plan: str, number: int) -> ShardFiles:
        """A slice of a plan."""
        return ShardFiles(self.shards / f"{plan}-{number:05d}")

    def of_class(self, class_idx: int) -> ClassFiles:
        """An audited class."""
        return ClassFiles(self.classes / f"{class_idx:05d}")

    def of_kind(self, kind: str, class_idx: int) -> KindFiles:
        """The candidates of a kind in a class, of the kinds that are stored apart."""
        return KindFiles(self.found / f"{kind}-{class_idx:05d}")

    def kind_key(self, kind: str) -> Path:
        """What the candidates of a kind were computed from."""
        return self.found / f"{kind}.json"

    def carried_to(self, class_idx: int) -> Path:
        """Directions carried over to a class: (m, D + 1) float64 rows, direction and offset.

        Rows are only ever added, so that the number of one stands for good.
        """
        return self.carried / f"{class_idx:05d}.npy"

    def map_of(self, class_idx: int | None) -> MapFiles:
        """The map of all images, or of a class."""
        return MapFiles(self.maps / ("features" if class_idx is None else f"psi-{class_idx:05d}"))

    def measure(self, part: str, key: str) -> Path:
        """A part of the table of measures, by what it depends on."""
        return self.measures / f"{part}-{key}.parquet"

    def quality_table(self, name: str, key: str) -> Path:
        """What is said of the data, by what it depends on."""
        return self.quality / f"{name}-{key}.parquet"

    def outcome(self, kind: str, key: str, class_idx: int | None = None) -> Path:
        """The table of trials of a kind, of a class or of all, by what it depends on."""
        number = "" if class_idx is None else f"{class_idx:05d}-"
        return self.outcomes / f"{kind}-{number}{key}.parquet"

    def every_outcome(self, kind: str, key: str) -> list[Path]:
        """The tables of trials of a kind whose keys end with ``key``."""
        return sorted(self.outcomes.glob(f"{kind}-*{key}.parquet"))

    def embedding(self, of: str, shard: ShardFiles) -> Path:
        """What a further model, by its key, makes of the images of a shard, (n, E) float32."""
        return self.embeddings / f"{of}-{shard.folder.name}.npy"

    def embedded_words(self, of: str, words: str) -> Path:
        """What a further model makes of some words, by the keys of both, (q, E) float32."""
        return self.embeddings / f"{of}-words-{words}.npy"

    def pasted(self, kind: str, key: str, class_idx: int) -> PastedFiles:
        """What a pasted cue of a class does, by what it depends on."""
        return PastedFiles(self.outcomes / f"{kind}-{class_idx:05d}-{key}")

    def explanation(self, method: str, class_idx: int, key: str) -> ExplainedFiles:
        """What a method says for a class, by what that depends on: image, candidate, settings."""
        return ExplainedFiles(self.explained / f"{method}-{class_idx:05d}-{key}")

    def cost(self, key: str) -> Path:
        """Size and speed of the model."""
        return self.outcomes / f"cost-{key}.json"

    def evaluation_set(self, name: str) -> SetFiles:
        """A further set of images."""
        return SetFiles(self.sets / name)

    def every_set(self) -> list[SetFiles]:
        """Those that are complete, by name."""
        return [SetFiles(path.parent) for path in sorted(self.sets.glob("[!.]*/set.json"))]

    def upload(self, image_id: str) -> UploadFiles:
        """An image from outside."""
        return UploadFiles(self.uploads / image_id)
