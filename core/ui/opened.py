"""Audits and models held open for the whole process: pages and picture routes share them."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.audit import Audit, ClassArrays
from core.store import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from core.models.model import Model

_model_lock = threading.Lock()


def workspace() -> Workspace:
    """The workspace of this process."""
    return Workspace.default()


def open_audit(audit_id: str) -> Audit:
    """An audit by its full id; opened again when it was computed anew."""
    folder = workspace().folder(audit_id)
    summary = folder / "summary.json"
    version = summary.stat().st_mtime_ns if summary.exists() else 0
    manifest = (folder / "manifest.json").stat().st_mtime_ns if summary.exists() else 0
    return _open_audit(str(workspace().root), audit_id, version, manifest)


@lru_cache(maxsize=16)
def _open_audit(root: str, audit_id: str, version: int, manifest: int) -> Audit:
    del version, manifest  # part of the key only
    return Audit(Workspace.default(root).folder(audit_id))


@lru_cache(maxsize=64)
def class_arrays(audit: Audit, class_idx: int) -> ClassArrays:
    """One class of an opened audit; the arrays stay on disk."""
    return audit.class_arrays(class_idx)


def model_of(audit: Audit) -> Model:
    """The loaded model of an audit; one at a time is loaded, two are held."""
    with _model_lock:
        return _model(audit)


@lru_cache(maxsize=2)
def _model(audit: Audit) -> Model:
    return audit.load_model()


@lru_cache(maxsize=64)
def class_table(audit: Audit, class_idx: int) -> pd.DataFrame:
    """The candidates of one class (:attr:`core.audit.Audit.candidates`), index 0, 1, …"""
    table = audit.candidates
    return table[table["class_idx"] == class_idx].reset_index(drop=True)


@lru_cache(maxsize=64)
def class_images(audit: Audit, class_idx: int) -> pd.DataFrame:
    """The images of one class, in the order of its arrays."""
    return audit.images.loc[class_arrays(audit, class_idx).image_ids]


def finished_audits() -> list[dict[str, Any]]:
    """Manifests of the audits that can be opened, newest first."""
    found = workspace()
    return [m for m in found.manifests() if (found.folder(m["id"]) / "summary.json").exists()]
