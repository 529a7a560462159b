"""Classes as work that any engine can hand out: their components, and what is found beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from core.audits import other_kinds
from core.audits.analysis import analyse_class, tables_of_class
from core.audits.subject import Predicted, Subject, held_out_rows
from core.features.shards import FeatureStore
from core.jobs.engine import Engine
from core.jobs.work import Advanced, Order, WorkKind
from core.models.linear import read_head
from core.storage.audit_manifest import Compute
from core.storage.files import damaged, is_sealed, read_frame, there
from core.storage.layout import AuditFiles
from core.storage.workspace import read_manifest
from core.types import ImageTable, Reporter


@dataclass(frozen=True)
class ClassWork:
    """The classes of an audit whose images are predicted."""

    subject: Subject
    predicted: Predicted
    labels: Sequence[str]
    """Of the classes, in their order."""

    stage = "Finding components"
    unit = "classes"

    @property
    def folder(self) -> Path:
        """Of the audit."""
        return self.subject.files.folder

    @property
    def accelerated(self) -> bool:
        """Whether it is a GPU that computes."""
        return self._compute.device.startswith("cuda")

    @property
    def _compute(self) -> Compute:
        return self.subject.manifest.compute

    @cached_property
    def _by_name(self) -> Mapping[str, str]:
        index = self.predicted.head.index
        return {f"class-{index(label):05d}": label for label in self.labels}

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Every class counts once."""
        return dict.fromkeys(self._by_name, 1)

    def is_done(self, name: str) -> bool:
        """Whether a class, and what of every kind is found in it, is stored whole."""
        files, output = self.subject.files, self.predicted.head.index(self._by_name[name])
        if not is_sealed(files.of_class(output).folder):
            return False
        found = [files.of_kind(kind.name, output) for kind in other_kinds.searched()]
        return all(there(kind.facts) or is_sealed(kind.folder) for kind in found)

    def compute(self, names: Iterable[str], advanced: Advanced) -> None:
        """Compute classes, with as many threads as the pass."""
        from core.models.device import threads

        head = self.predicted.head
        outputs = tuple(head.index(label) for label in self.labels)
        with threads(self._compute.threads):
            for name in names:
                label = self._by_name[name]
                if not there(self.subject.files.of_class(head.index(label)).facts):
                    analyse_class(self.subject, self.predicted, label)
                tables_of_class(self.subject, self.predicted, label, outputs)
                advanced(1)

    def order(self) -> Order:
        """What another process makes the same work of."""
        details = {"labels": list(self.labels), "key": self.subject.maps_key}
        return Order(CLASSES.name, details, self._compute.threads, version("torch"))


def share_classes(
    engine: Engine,
    report: Reporter,
    subject: Subject,
    predicted: Predicted,
    labels: Sequence[str],
) -> None:
    """Have an engine compute the classes that are missing."""
    engine.run(ClassWork(subject, predicted, labels), report)


def ordered(folder: Path, order: Order, _: int | None) -> ClassWork:
    """The work of an order, in another process than that which wrote it.

    Raises
    ------
    WorkspaceError
        If it does not say which classes.
    """
    files, manifest = AuditFiles(folder), read_manifest(folder)
    images = read_frame(files.images)
    table = ImageTable(manifest.data.source, Path(manifest.data.root), images)
    subject = Subject(manifest, table, images, FeatureStore(folder))
    held_out = held_out_rows(folder, subject.fitting)
    predicted = Predicted(read_head(folder), read_frame(files.predictions), held_out)
    labels = order.details.get("labels")
    if not isinstance(labels, list):
        raise damaged(files.engine.order, "names no classes")
    return ClassWork(subject, predicted, [str(label) for label in labels])


CLASSES = WorkKind("classes", ordered)
