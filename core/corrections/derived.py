"""A derived audit: the corrected model over the same images, opened like every other audit.

While the encoder stays as it is, the shards of the parent are linked and no image is decoded: only
the head, the predictions and the classes are new. With new weights of the encoder a checkpoint is
written into the audit's folder and the pass runs as for any audit. The manifest's entry
``mitigation`` says what was done to which parent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import core
from core.audits.analysis import GIVEN, analyse
from core.audits.audit import Audit
from core.audits.integrity import mend, require_sound
from core.audits.run import compute, set_state
from core.audits.subject import Subject, fitting_rows
from core.corrections.package import write_checkpoint
from core.errors import InputError, WorkspaceError
from core.features.shards import FeatureStore
from core.models.linear import Head, store_head
from core.storage import digests
from core.storage.audit_manifest import Manifest, Provenance
from core.storage.documents import IMAGES
from core.storage.files import (
    disk_errors,
    link,
    link_tree,
    locked,
    read_array,
    read_frame,
    remove,
    remove_unfinished,
    there,
    write_json,
)
from core.storage.layout import ON_DEMAND, PASS, AuditFiles
from core.storage.workspace import Workspace, check_name, differences, fingerprint, read_manifest
from core.types import FloatArray, ImageTable, IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model

COMPUTED = ("digest", "width", "height", "readable", "reason")
"""Columns that a pass adds to the image table."""


@dataclass(frozen=True)
class Corrected:
    """What a method makes of a model."""

    head: Head
    state: Mapping[str, Tensor] | None = None
    """New weights of the whole network by name, head excepted; None: the encoder stays."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """What the method wants to have recorded: losses, alignment, what it was trained on."""
    judged: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Where it is to be compared: figures on held-back images, ``before`` and ``after``."""


def plan(parent: Audit, workspace: Workspace, name: str, asked: Mapping[str, Any]) -> Manifest:
    """The manifest of a derived audit, the old one where the same was asked for before.

    Parameters
    ----------
    asked : everything that decides what comes out; part of the fingerprint, except for the
        threshold, since the cues that it decided are.

    Raises
    ------
    WorkspaceError
        If the name belongs to another audit; the message says what differs.
    """
    check_name(name)
    source = parent.manifest
    analysed = parent.head_key  # changes with its images
    parts = source.parts.with_entries(
        code=core.__version__,
        parent=f"{parent.id} {source.fingerprint} {analysed}",
        mitigation={name: said for name, said in asked.items() if name != "threshold"},
    )
    old = workspace.named(name)
    if old is not None:
        if changed := differences(old.parts, parts):
            raise WorkspaceError(
                f"audit {name!r} exists with other settings: {'; '.join(changed)}. Choose another "
                "--name, or delete it first"
            )
        return old
    made_from = {"parent": parent.id, "parent_name": parent.name}
    return Manifest(
        format=source.format,
        id=workspace.new_id(name, parts),
        name=name,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        version=core.__version__,
        state="running",
        fingerprint=fingerprint(parts),
        parts=parts,
        data=source.data,
        model=source.model,
        preprocess=source.preprocess,
        head=source.head,
        compute=source.compute,
        mitigation=Provenance.from_json({**made_from, **asked}),
        counts=source.counts,
    )


def derive(
    parent: Audit,
    workspace: Workspace,
    manifest: Manifest,
    corrected: Corrected,
    *,
    told: Mapping[str, Any],
    fitted_on: IntArray | None = None,
    report: Reporter = silent,
    started: Callable[[str], None] = lambda _: None,
) -> Audit:
    """Write the audit of a corrected model.

    Parameters
    ----------
    manifest : from :func:`plan`.
    told : further entries of ``mitigation`` in the manifest: the strength, what was held out.
    fitted_on : rows of the readable images that the method learnt from where the data has no
        other split; they are then left out of every figure.

    Raises
    ------
    WorkspaceError
        If another process computes it, or the disk is full.
    """
    files = workspace.files(manifest.id)
    folder, changed = files.folder, corrected.state is not None
    if changed and fitted_on is not None and parent.head.mode == "fit":
        raise InputError(
            f"{_done(manifest).method} changes the encoder, and the head of "
            f"{parent.name!r} was fitted on every image: give data with a further split to report "
            "on, or choose a method of the head"
        )
    done = {**_done(manifest).to_json(), **corrected.facts, **told, "encoder_changed": changed}
    manifest = replace(manifest, mitigation=Provenance.from_json(done))
    if fitted_on is not None:
        words = f"held-out part of {parent.summary.held_out}"
        manifest = replace(manifest, head=replace(manifest.head, held_out=words))
    with locked(files.lock, _busy(manifest)):
        remove_unfinished(folder)
        write_json(files.manifest, manifest)
        started(manifest.id)
        _store_head(parent, folder, corrected, fitted_on)
        if corrected.state is None:
            _reuse(parent, folder, manifest, report)
        else:
            _encode(parent, folder, manifest, corrected, report)
    return Audit(folder)


def _done(manifest: Manifest) -> Provenance:
    """What a derived audit says of the correction."""
    assert manifest.mitigation is not None
    return manifest.mitigation


def _busy(manifest: Manifest) -> str:
    return f"audit {manifest.name!r} is being computed by another process; wait for it"


def _store_head(
    parent: Audit, folder: Path, corrected: Corrected, fitted_on: IntArray | None
) -> None:
    facts: dict[str, object] = {"key": "", GIVEN: True}
    if fitted_on is not None:
        facts["probe"] = {"never_held_out": fitted_on.tolist()}
    oof = None if corrected.state is not None else _out_of_fold(parent, corrected.head)
    store_head(folder, corrected.head, facts, oof)


def _out_of_fold(parent: Audit, head: Head) -> FloatArray | None:
    """The parent's out-of-fold logits and what the new head adds to them; None without such."""
    path = parent.files.head.out_of_fold
    if not there(path):
        return None
    ids = parent.images.index[fitting_rows(parent.images)].tolist()
    features = parent.features(ids)
    changed: FloatArray = read_array(path) + head.logits(features) - parent.head.logits(features)
    return changed


def image_table(audit: Audit) -> tuple[ImageTable, pd.DataFrame]:
    """The image table of an audit without looking at the data again, and its stored rows."""
    rows = read_frame(audit.files.images, needed=IMAGES)
    table = ImageTable(
        source=audit.manifest.data.source,
        root=audit.root,
        frame=rows.drop(columns=list(COMPUTED)),
        attributes=audit.of_data.summary.attributes,
        notes=audit.summary.notes,
        repeated=audit.summary.repeated,
        planted=audit.summary.planted,
    )
    return table, rows


def repeat(parent: Audit, folder: Path, report: Reporter = silent) -> bool:
    """Check a derived audit, and compute again what is damaged with the head that it has.

    Returns
    -------
    Whether it is complete now: not where it never was, or the head or the weights are damaged.

    Raises
    ------
    WorkspaceError
        If another process computes it, or what it shares with its parent is damaged there.
    """
    files = AuditFiles(folder)
    if not files.summary.exists():
        return False
    try:
        manifest = read_manifest(folder)
    except WorkspaceError:
        remove(files.summary)
        return False
    with locked(files.lock, _busy(manifest)):
        damaged = mend(folder, report)
        given = (files.head.folder, files.checkpoint, files.mitigation.tradeoff)
        if any((folder / name).is_relative_to(path) for name in damaged for path in given):
            remove(files.summary)
            return False
        if all(name.partition("/")[0] in ON_DEMAND for name in damaged):
            return True
        if _done(manifest).encoder_changed:
            _pass(parent, folder, manifest, _changed(folder, manifest), report)
        else:
            _reuse(parent, folder, manifest, report)
    return True


def _reuse(parent: Audit, folder: Path, manifest: Manifest, report: Reporter) -> None:
    """Link what the parent's pass left, which is checked before; analyse with the new head."""
    for part in PASS:
        require_sound(parent.folder / part, report)
    report(Progress("Reusing the features", 0, 0))
    for part in PASS:
        link_tree(parent.folder / part, folder / part)
    for path in (parent.files.images, parent.files.checkpoint):
        if there(path):
            link(path, folder / path.name)
            with disk_errors(folder):
                digests.take_along(path, folder / path.name)
    table, rows = image_table(parent)
    analyse(Subject(manifest, table, rows, FeatureStore(folder)), None, report)
    set_state(folder, manifest, "finished")


def _encode(
    parent: Audit,
    folder: Path,
    manifest: Manifest,
    corrected: Corrected,
    report: Reporter,
) -> None:
    """Write the new weights, then run the pass as for any audit."""
    assert corrected.state is not None
    report(Progress("Writing the weights", 0, 0))
    model = parent.load_model(exported=True)
    model.network.load_state_dict(dict(corrected.state), strict=False)
    files = AuditFiles(folder)
    write_checkpoint(model, corrected.head, files.checkpoint)
    with disk_errors(folder):
        digests.adopt([files.checkpoint])
    named = replace(manifest, model=replace(manifest.model, weights=""))  # its own file
    changed = _changed(folder, named)
    facts = replace(manifest.model, checkpoint=files.checkpoint.name, weights=changed.weights_hash)
    by_torch = replace(manifest.compute, runtime="eager", runtime_reason="its encoder was changed")
    manifest = replace(manifest, model=facts, compute=replace(by_torch, compared=None))
    write_json(files.manifest, manifest)
    _pass(parent, folder, manifest, changed, report)


def _changed(folder: Path, manifest: Manifest) -> Model:
    """The model with the weights in the audit's own folder."""
    from core.models.load import load_model

    facts, checkpoint = manifest.model, AuditFiles(folder).checkpoint
    model = load_model(facts.name, checkpoint=checkpoint, reading=manifest.reading)
    own = manifest.preprocess
    model.preprocess = replace(model.preprocess, levels=own.levels, shrink=own.shrink)
    return model


def _pass(parent: Audit, folder: Path, manifest: Manifest, model: Model, report: Reporter) -> None:
    """The pass and the analysis, as for any audit."""
    model.to(manifest.compute.device, manifest.compute.precision)
    table, _ = image_table(parent)
    compute(folder, manifest, table, model, report)
