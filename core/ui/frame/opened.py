"""Audits and models held open for the whole process: pages and picture routes share them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from core.audits.audit import Audit
from core.audits.class_arrays import ClassArrays
from core.candidates.candidate import Candidate
from core.candidates.key import CandidateKey
from core.errors import InputError, WorkspaceError
from core.storage.audit_manifest import Manifest
from core.storage.memory import hand_back
from core.storage.workspace import Workspace
from core.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

    from core.models.model import Model
    from core.tags.saved_groups import SavedGroups

_model_lock = threading.Lock()


def workspace() -> Workspace:
    """The workspace of this process."""
    return Workspace.default()


def open_audit(audit_id: str) -> Audit:
    """An audit by its full id; opened again when it was computed anew."""
    files = workspace().files(audit_id)
    version = files.summary.stat().st_mtime_ns if files.summary.exists() else 0
    manifest = files.manifest.stat().st_mtime_ns if version else 0
    return _open_audit(str(workspace().root), audit_id, version, manifest, _newest_group(audit_id))


@lru_cache(maxsize=16)
def _open_audit(root: str, audit_id: str, version: int, manifest: int, group: int) -> Audit:
    del manifest  # part of the key only
    from core.tags.saved_groups import with_groups

    groups = saved_groups().standing(audit_id) if group else {}
    audit = with_groups(Workspace.default(root).folder(audit_id), groups)
    _versions[audit] = version
    return audit


def saved_groups() -> SavedGroups:
    """The groups of images that people saved in this process's workspace."""
    from core.tags.log import TagStore
    from core.tags.saved_groups import SavedGroups

    return SavedGroups(TagStore.open(workspace()))


def _newest_group(audit_id: str) -> int:
    """Changes with every group of an audit; 0 as well where the tags cannot be read.

    What is wrong with them is said where they are shown; pages of images stay.
    """
    try:
        return saved_groups().newest(audit_id)
    except WorkspaceError:
        return 0


_versions: WeakKeyDictionary[Audit, int] = WeakKeyDictionary()


def version(audit: Audit) -> str:
    """Changes whenever the audit is computed anew; it is then opened anew, too."""
    return str(_versions.get(audit, 0))


@lru_cache(maxsize=64)
def class_arrays(audit: Audit, class_idx: int) -> ClassArrays:
    """One class of an opened audit; the arrays stay on disk."""
    return audit.class_arrays(class_idx)


def arrays_of(audit: Audit, label: str) -> ClassArrays:
    """:func:`class_arrays` of a class by its label."""
    return class_arrays(audit, audit.class_facts(label).class_idx)


def candidate(audit: Audit, key: CandidateKey) -> Candidate:
    """A candidate of an opened audit (:meth:`core.audits.audit.ClassArrays.candidate`)."""
    return arrays_of(audit, key.label).candidate(key.kind, key.number)


def named(audit: Audit, text: str, label: str | None = None) -> CandidateKey | None:
    """The candidate that a parameter of an address names; None where there is none.

    Parameters
    ----------
    label : class of a short text (:meth:`core.candidates.key.CandidateKey.parse`).
    """
    try:
        key = CandidateKey.parse(text, label=label, outputs=audit.head.outputs)
        found = [facts for facts in audit.classes if facts.label == key.label]
        return key if found and key.number < audit.count(found[0], key.kind) else None
    except InputError:
        return None


@lru_cache(maxsize=64)
def alpha(audit: Audit, key: CandidateKey) -> FloatArray:
    """Alpha (n,) float64 of any candidate on the images of its class, in the class's order.

    That of a neuron outside the stored ones is computed from the features.
    """
    from core.tags.decisions import values_of

    return values_of(audit, key.label, [candidate(audit, key)])[:, 0]


def model_of(audit: Audit) -> Model:
    """The loaded model of an audit; one at a time is loaded, two are held."""
    with _model_lock:
        return _model(audit)


def model_for_maps(audit: Audit, image_id: str) -> Model | None:
    """The model where an image's maps have to be computed; None where exact ones are kept."""
    return None if audit.maps_kept([image_id]) else model_of(audit)


@lru_cache(maxsize=2)
def _model(audit: Audit) -> Model:
    model = audit.load_model()
    hand_back()  # hundreds of megabytes that loading has freed
    return model


@lru_cache(maxsize=64)
def class_table(audit: Audit, class_idx: int) -> pd.DataFrame:
    """The candidates of one class (:attr:`Audit.controlled`), index 0, 1 and so on."""
    table = audit.controlled
    return table[table["class_idx"] == class_idx].reset_index(drop=True)


def figures(audit: Audit, key: CandidateKey) -> pd.Series | None:
    """The row of :func:`class_table` about a candidate; None where it was not measured."""
    table = class_table(audit, audit.class_facts(key.label).class_idx)
    rows = table[(table["kind"] == key.kind) & (table["component"] == key.number)]
    return None if rows.empty else rows.iloc[0]


class Shown(NamedTuple):
    """What is said about one image below it."""

    path: str
    label: str
    prediction: str
    """Displayed name."""
    confidence: float
    correct: bool
    digest: str


def shown(audit: Audit, image_ids: Sequence[str]) -> dict[str, Shown]:
    """What to say about some images, not to be changed."""
    return _shown(audit, tuple(image_ids))


@lru_cache(maxsize=128)
def _shown(audit: Audit, image_ids: tuple[str, ...]) -> dict[str, Shown]:
    columns = ["path", "label", "prediction", "confidence", "correct", "digest"]
    names = audit.head.names
    rows = audit.images_of(image_ids)[columns].itertuples(name=None)
    return {
        image_id: Shown(path, label, names[predicted], float(sure), bool(correct), str(digest)[:12])
        for image_id, path, label, predicted, sure, correct, digest in rows
    }


@lru_cache(maxsize=64)
def display(audit: Audit) -> dict[str, str]:
    """Displayed name of every raw label that is an output."""
    return dict(zip(audit.head.outputs, audit.head.names, strict=True))


@lru_cache(maxsize=64)
def class_images(audit: Audit, class_idx: int) -> pd.DataFrame:
    """The images of one class, in the order of its arrays."""
    return audit.images_of(class_arrays(audit, class_idx).image_ids)


def finished_audits() -> list[Manifest]:
    """Manifests of the audits that can be opened, newest first."""
    found = workspace()
    return [m for m in found.manifests() if found.files(m.id).summary.exists()]


def ensemble_members(audit: Audit) -> dict[str, str]:
    """Names of finished audits of the same data with as many images and classes, by id."""
    source, size = audit.manifest.data.source, (len(audit.images), len(audit.head.outputs))
    others = [m.id for m in finished_audits() if m.id != audit.id and m.data.source == source]
    same = map(open_audit, others)
    return {e.id: e.name for e in same if (len(e.images), len(e.head.outputs)) == size}
