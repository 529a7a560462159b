"""The pass over a named evaluation set: its features, and nothing else of the audit again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.audits.audit import Audit
from core.audits.audit_requests import check_set_names
from core.audits.evaluation_set import EvaluationSet, SetFacts, evaluation_sets
from core.audits.integrity import mend, remake_plans, remove_strangers
from core.audits.run import joined, plan_of, with_free_names
from core.audits.set_labels import Meant, better_read, meant, outputs_of, refuse_strangers
from core.audits.shard_work import ShardWork, compute_shards
from core.data.named_sets import KnownSet, known_set, restricted_as
from core.data.open import canonical, open_data
from core.data.table import some
from core.errors import DataError, InputError
from core.features.shards import FeatureStore
from core.jobs.engine import Engine, Local
from core.jobs.sharing import held
from core.jobs.work import LAPSE
from core.models.device import require, threads
from core.storage.files import (
    locked,
    read_value,
    remove,
    remove_unfinished,
    write_frame,
    write_json,
)
from core.storage.layout import AuditFiles, SetFiles
from core.storage.workspace import Workspace
from core.types import TRAIN, ImageTable, Progress, Reporter, count_of, silent

if TYPE_CHECKING:
    from core.models.model import Model


def add_sets(
    audit: Audit,
    asked: Mapping[str, str],
    workspace: Workspace,
    *,
    engine: Engine | None = None,
    workers: int | None = None,
    report: Reporter = silent,
) -> dict[str, EvaluationSet]:
    """Add sets to an audit, or bring up to date what it has of them; returns all of its sets.

    Parameters
    ----------
    engine : who computes their features; by default this process.
    asked : DATA argument by name. Sets that are there and were damaged are computed again.

    Raises
    ------
    InputError
        If a set of this name is of other data, or no label of a set is an output of the model.
    WorkspaceError
        If another process computes the audit.
    """
    check_set_names(list(asked))
    wanted = {**_unfinished(audit), **{name: canonical(data) for name, data in asked.items()}}
    if wanted:
        busy = f"audit {audit.name!r} is being computed by another process; wait for it"
        with locked(audit.files.lock, busy), threads(audit.manifest.compute.threads):
            model: Model | None = None
            by = engine or Local()
            for name, source in wanted.items():
                model = _add(audit, name, source, workspace, model, by, workers, report)
    return evaluation_sets(audit)


def _unfinished(audit: Audit) -> dict[str, str]:
    """Sets that an audit has, some of whose images have to be computed again."""
    return {
        files.folder.name: read_value(files.facts, SetFacts).source
        for files in audit.files.every_set()
        if FeatureStore(files.folder).missing or not files.images.exists()
    }


def _add(
    audit: Audit,
    name: str,
    source: str,
    workspace: Workspace,
    model: Model | None,
    engine: Engine,
    workers: int | None,
    report: Reporter,
) -> Model:
    """One set; returns the model, which is loaded once."""
    report(Progress(f"Reading the list of images of {name}", 0, 0))
    files = audit.files.evaluation_set(name)
    _refuse_other_data(files, name, source)
    table = _table(source, workspace, report)
    if model is None:
        report(Progress("Loading the model", 0, 0))
        model = audit.load_model()
    known = known_set(name, Path(source.partition("?")[0]).name) or restricted_as(table.labels)
    found, own = Meant({}), _own_outputs(audit, model)
    if known is None or known.labelled:
        classes = sorted(facts.label for facts in audit.classes)
        found = meant(table.labels, audit.head, own, classes)
        refuse_strangers(name, table.labels, audit.head, found)
    store = _computed(audit, files, table, model, engine, workers, report)
    facts = _facts(audit, name, table, known, found, own)
    _write(audit, files, table, store, facts, found)
    return model


def _refuse_other_data(files: SetFiles, name: str, source: str) -> None:
    if files.facts.exists() and (old := read_value(files.facts, SetFacts).source) != source:
        raise InputError(
            f"--also {name}: the audit has a set {name!r} of {old}; choose another name"
        )


def _table(source: str, workspace: Workspace, report: Reporter) -> ImageTable:
    """The images of a set; a training split beside others is left out."""
    table = with_free_names(open_data(source, workspace=workspace.root, report=report))
    train = (table.frame["split"] == TRAIN).to_numpy(bool)
    if train.all() or not train.any():
        return table
    frame = table.frame[~train].reset_index(drop=True)
    note = f"Its split {TRAIN} ({int(train.sum()):,} images) is left out: models may know it."
    return replace(table, frame=frame, notes=(*table.notes, note))


def _own_outputs(audit: Audit, model: Model) -> Sequence[str]:
    """What the network itself calls the outputs of the head; empty where it does not say."""
    own = model.own_outputs or ()
    return own if audit.head.mode == "keep" and len(own) == len(audit.head.outputs) else ()


def _computed(
    audit: Audit,
    files: SetFiles,
    table: ImageTable,
    model: Model,
    engine: Engine,
    workers: int | None,
    report: Reporter,
) -> FeatureStore:
    """Features of every image that has none yet, as the audit's own were computed."""
    if files.folder.exists():
        if not held(audit.files.engine, LAPSE):
            remove_unfinished(AuditFiles(files.folder).shards)
        remake_plans(files.folder, table, mend(files.folder, report))
    store, compute = FeatureStore(files.folder), audit.manifest.compute
    if len(plan := plan_of(table, store)):
        remove(files.facts)
        store.extend(plan)
    remove_strangers(store)
    if store.missing:
        require(compute, audit.name)
        work = ShardWork(audit.folder, store, table.root, model, compute, False, workers)
        compute_shards(work, engine, report)
    store.consolidate()
    return store


def _facts(
    audit: Audit,
    name: str,
    table: ImageTable,
    known: KnownSet | None,
    found: Meant,
    own: Sequence[str],
) -> SetFacts:
    """What is known of a set before it is looked at through the head."""
    outputs = audit.head.outputs
    only = outputs_of(known.only, audit.head, own) if known else []
    notes = [known.text] if known else []
    if known and known.only and len(only) < len(known.only):
        notes.append(
            f"The model has {len(only)} of the {len(known.only)} classes of {known.name}: it "
            "chooses among these."
        )
    return SetFacts(
        name,
        table.source,
        str(table.root),
        known.name if known else "",
        {label: outputs[output] for label, output in found.outputs.items()},
        tuple(outputs[output] for output in only),
        table.attributes,
        (*notes, *found.notes, *_of_interest(table)),
    )


def _of_interest(table: ImageTable) -> Iterator[str]:
    """What the listing says of a set; that it has no training images is as it should be."""
    for note in table.notes:
        if not note.startswith(("No image is in the split", "No training image")):
            yield note


def _write(
    audit: Audit,
    files: SetFiles,
    table: ImageTable,
    store: FeatureStore,
    facts: SetFacts,
    found: Meant,
) -> None:
    """Its images and, last of all, its facts, with what the predictions say of its labels."""
    frame = joined(table, store)
    if not frame["readable"].any():
        reasons = frame["reason"].value_counts()
        raise DataError(
            f"{table.source}: no readable image among {len(frame)} ({reasons.index[0]}); check the "
            "files"
        )
    lost = frame.loc[~frame["readable"].astype(bool), "path"].tolist()
    notes = [f"{count_of(len(lost), 'image')} cannot be read: {some(lost)}."] if lost else []
    write_frame(files.images, frame)
    for old in files.folder.glob(files.predictions("*").name):
        remove(old)
    seen = EvaluationSet(audit, files, facts)
    labels, said = seen.images["label"].tolist(), seen.predicted["prediction"].to_numpy(np.int64)
    notes += filter(None, [better_read(found, labels, said, seen.judged), _by_chance(seen)])
    write_json(files.facts, replace(facts, notes=(*facts.notes, *notes)))


def _by_chance(seen: EvaluationSet) -> str:
    """What to say where a set is got right no more often than by chance, and no set is so hard."""
    from core.statistics.intervals import share

    n, choices = int(seen.judged.sum()), len(seen.outputs)
    if not n or seen.facts.only or share(float(seen.correct.sum()), n)[1] >= 2 / choices:
        return ""
    return (
        f"It is got right no more often than by chance ({seen.correct.mean():.1%} of {n:,} images, "
        f"{choices:,} outputs): do its labels mean what the outputs mean?"
    )
