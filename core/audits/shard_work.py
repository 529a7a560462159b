"""The shards of a pass as work that any engine can hand out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from core.audits.audit_requests import SET_NAME
from core.audits.integrity import remove_strangers
from core.errors import WorkspaceError
from core.features.extract import cores, extract
from core.features.shards import FeatureStore, Shard
from core.jobs.engine import Engine
from core.jobs.work import Advanced, Order, WorkKind
from core.storage.audit_manifest import Compute, Manifest
from core.storage.bucket import is_address
from core.storage.digests import digest_of
from core.storage.files import here, remove_unfinished
from core.storage.guard import confined, permitted_files
from core.storage.layout import SETS, AuditFiles
from core.storage.workspace import fingerprint, read_manifest
from core.types import Reporter, count_of

if TYPE_CHECKING:
    from core.models.model import Model


@dataclass(frozen=True)
class ShardWork:
    """The shards of an audit, or of a set of images that was added to it."""

    folder: Path
    """Of the audit."""
    store: FeatureStore
    root: Path
    """Folder that the paths of its plans start from."""
    model: Model
    """On its device, at its precision."""
    compute_by: Compute
    keep_maps: bool
    """Whether maps are kept where a plan does not say whose."""
    workers: int | None = None
    """Decoding threads; None: by the cores."""

    stage = "Reading images"
    unit = "images"

    @property
    def accelerated(self) -> bool:
        """Whether it is a GPU that computes."""
        return self.compute_by.device.startswith("cuda")

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Images of every shard."""
        return {name: len(shard.plan) for name, shard in self._shards.items()}

    @cached_property
    def _shards(self) -> Mapping[str, Shard]:
        return {shard.name: shard for shard in self.store.shards}

    def is_done(self, name: str) -> bool:
        """Whether a shard is stored whole."""
        return self._shards[name].finished

    def compute(self, names: Iterable[str], advanced: Advanced) -> None:
        """Compute shards."""
        from core.models.device import threads

        with threads(self.compute_by.threads):
            extract(
                self.model,
                self.root,
                (self._shards[name] for name in names),
                batch_size=self.compute_by.batch_size,
                workers=self.workers or min(16, cores() + 1),
                keep_maps=self.keep_maps,
                advanced=advanced,
            )

    def order(self) -> Order:
        """What another process makes the same work of."""
        from importlib.metadata import version

        below = self.store.files.folder.relative_to(self.folder).as_posix()
        details = {
            "below": below,
            "root": str(self.root),
            "keep_maps": self.keep_maps,
            "plans": plan_key(self.store.files),
        }
        return Order(SHARDS.name, details, self.compute_by.threads, version("torch"))


def compute_shards(work: ShardWork, engine: Engine, report: Reporter) -> None:
    """Have an engine compute what is missing, and take away what workers that died left.

    Raises
    ------
    WorkspaceError
        If a worker that outlived an audit of the same name stored some of its shards meanwhile.
    """
    engine.run(work, report)
    remove_unfinished(work.store.files.shards)
    work.store.forget_rows()
    if strangers := remove_strangers(work.store):
        raise WorkspaceError(
            f"{count_of(strangers, 'shard')} of {work.folder.name} held other images than planned: "
            "a worker of an audit that was deleted stored them; they were deleted, too, so end "
            "that worker and run the same command again"
        )


def ordered(folder: Path, order: Order, decoding: int | None) -> ShardWork:
    """The work of an order, in another process than that which wrote it.

    Parameters
    ----------
    decoding : threads; None: by the cores.

    Raises
    ------
    WorkspaceError, ModelError, InputError
        If the plan is another, this machine would compute otherwise, or this process may not read
        the images (:mod:`core.storage.guard`).
    """
    from core.models.device import choose_device, require, use_threads
    from core.models.runtime import require_runtime

    said, manifest = order.details, read_manifest(folder)
    store, compute = FeatureStore(_stored(folder, str(said["below"]))), manifest.compute
    if plan_key(store.files) != said["plans"]:
        raise WorkspaceError(
            f"the images of audit {manifest.name!r} are planned otherwise since its workers were "
            "asked for; run the same audit command again"
        )
    root = Path(str(said["root"]))
    if confined():  # whoever wrote the order
        paths = store.planned["path"]
        own = folder.parents[1] / "data"
        permitted_files(root, (path for path in paths if not is_address(path)), own=own)
    use_threads(order.threads)
    require(compute, manifest.name)
    model = network_of(folder, manifest)
    model.to(choose_device(compute.device), compute.precision)
    require_runtime(model, compute, manifest.name)
    model.use_runtime(compute.runtime)
    return ShardWork(folder, store, root, model, compute, bool(said["keep_maps"]), decoding)


def _stored(folder: Path, below: str) -> Path:
    """Where the shards of an order lie: in the audit's folder, or in that of one of its sets.

    Raises
    ------
    WorkspaceError
        If it is another place: a file of an audit never leads a worker out of it.
    """
    within, _, name = below.partition("/")
    if below == ".":
        return folder
    if within == SETS and SET_NAME.fullmatch(name):
        return AuditFiles(folder).evaluation_set(name).folder
    raise WorkspaceError(
        f"audit {folder.name} asks its workers for shards in {below!r}, which is none of its sets; "
        "run the same audit command again"
    )


SHARDS = WorkKind("shards", ordered)


def plan_key(files: AuditFiles) -> str:
    """Changes with what is planned."""
    return fingerprint({path.name: digest_of(path).whole for path in files.every_plan()})


def network_of(folder: Path, manifest: Manifest) -> Model:
    """The network of an audit as it was loaded, on the CPU, with its own head.

    Raises
    ------
    WorkspaceError
        If its weights are others by now.
    """
    from core.models.load import load_model

    facts, own = manifest.model, manifest.preprocess
    checkpoint = here(folder / facts.checkpoint) if facts.checkpoint else None
    model = load_model(facts.name, checkpoint=checkpoint, reading=manifest.reading)
    if model.weights_hash != (facts.weights or manifest.parts.weights):
        raise WorkspaceError(
            f"the weights of {facts.name} are not those of audit {manifest.name!r}; restore "
            "them, or run the audit again under another name"
        )
    model.preprocess = replace(model.preprocess, levels=own.levels, shrink=own.shrink)
    return model
