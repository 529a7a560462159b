"""Images that moved: an audit is told where they lie now (``show --data-root``)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from core.errors import InputError
from core.storage.audit_manifest import DataFacts, Manifest
from core.storage.layout import AuditFiles
from core.storage.workspace import Workspace


def relocate(workspace: Workspace, manifest: Manifest, root: Path) -> Manifest:
    """Record that an audit's images now lie below another folder.

    Raises
    ------
    InputError
        If the folder does not hold the audit's images.
    """
    root = Path(os.path.abspath(root.expanduser()))
    remedy = "name the folder that holds the images"
    if not root.is_dir():
        raise InputError(f"--data-root {root} is not a folder; {remedy}")
    paths = _planned_paths(workspace.files(manifest.id))
    sample = paths[:: max(1, len(paths) // 20)]
    if missing := [path for path in sample if not (root / path).exists()]:
        raise InputError(f"--data-root {root}: {root / missing[0]} is missing; {remedy}")
    source = _moved_source(manifest.data, root)
    return workspace.update(
        manifest.id,
        data=replace(
            manifest.data, source=source, root=str(root), moved=source == manifest.data.source
        ),
        parts=replace(manifest.parts, data=source),
    )


def _planned_paths(files: AuditFiles) -> list[str]:
    from core.storage.files import read_frame

    return [path for plan in files.every_plan() for path in read_frame(plan, ["path"])["path"]]


def _moved_source(data: DataFacts, root: Path) -> str:
    """The DATA argument that names the moved images; the old one if only the images moved."""
    source = Path(data.source)
    if source == Path(data.root):
        return str(root)
    manifest = root / source.name
    beside = source.parent == Path(data.root)
    return str(manifest) if beside and manifest.is_file() else data.source
