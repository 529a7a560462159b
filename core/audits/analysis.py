"""From stored features to ranked candidates: head, predictions, classes, summary.

::

    head/            weight.npy (K, D), bias.npy (K,), oof.npy (n, K) where a probe was fitted,
                     head.json (mode, outputs, how the probe was chosen)
    predictions.parquet   image_id, prediction, confidence, loss, correct, fair
    classes/00217/   one folder per audited class, see :class:`core.audits.audit.ClassArrays`
    candidates.parquet    every candidate of every class
    summary.json     what lists and headlines need, without loading anything else

Every result carries the key of what it was computed from, so only what changed is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits import other_kinds
from core.audits.audit_summary import HeadFacts, SplitFacts, Summary, Unreadable
from core.audits.audited import AuditedClass
from core.audits.class_files import named_table, stored_components
from core.audits.head_outputs import head_notes, labels_of, matched, meanings, said_of
from core.audits.subject import Predicted, Subject, held_out_basis, held_out_rows
from core.candidates.above_control import side_of_control, with_corrected
from core.candidates.candidate import heatmaps
from core.candidates.kinds import title_of
from core.candidates.search import ClassCandidates, ClassFeatures, ClassImages, find_candidates
from core.config import SHARD_SIZE, TOP_IMAGES
from core.data.names import definitions, display_names
from core.errors import DataError, WorkspaceError
from core.features.shards import FeatureStore
from core.models.head import fit_probe
from core.models.linear import Head, read_head, store_head
from core.statistics.intervals import auroc, class_probability, log_softmax, mean_share
from core.statistics.separation import auroc_interval
from core.storage import digests
from core.storage.files import (
    as_bytes,
    read_array,
    read_frame,
    read_json,
    read_value,
    remove,
    replacing_folder,
    there,
    write_array,
    write_frame,
    write_json,
)
from core.storage.layout import ClassFiles
from core.storage.workspace import fingerprint
from core.types import FloatArray, ImageTable, IntArray, Progress, Reporter, count_of

if TYPE_CHECKING:
    from core.models.model import Model

GIVEN = "given"
"""Entry of ``head.json`` for a head that was stored from outside: it is never fitted anew."""


Share = Callable[[Subject, Predicted, Sequence[str]], None]
"""Has others compute classes, by their labels, so that they are there when they are read."""


def analyse(
    subject: Subject, model: Model | None, report: Reporter, share: Share | None = None
) -> None:
    """Compute everything of an audit that follows from its features.

    Parameters
    ----------
    model : None where a head was given (:data:`GIVEN`).
    share : None: this process computes every class.
    """
    files = subject.files
    remove(files.summary)  # nobody reads half of two analyses
    fits = subject.manifest.head.mode == "fit"
    report(Progress("Fitting the head" if fits else "Predicting", 0, 0))
    predicted = _predict(subject, _head(subject, model))
    classes = _classes(subject, predicted, report, share)
    write_json(files.summary, summarise(subject, predicted, classes))


def is_current(subject: Subject) -> bool:
    """Whether the stored analysis is that of exactly these images, so that nothing is to do."""
    files = subject.files
    if not files.summary.exists() or not files.images.exists():
        return False
    same_table = read_json(files.summary, {}).get("table") == _table_key(subject.table)
    if not same_table or not read_frame(files.images).equals(subject.images):
        return False
    return other_kinds.are_current(files, subject.maps_key, subject.counts)


def _table_key(table: ImageTable) -> str:
    """Changes with everything of the table that is not in its frame."""
    return fingerprint(
        {k: getattr(table, k) for k in ("attributes", "notes", "repeated", "planted")}
    )


def require_two_classes(source: str, fitting: pd.DataFrame) -> None:
    """Refuse to fit a head on the images of a single class.

    Raises
    ------
    DataError
        If all the images (column ``label``) belong to one class.
    """
    labels = sorted(fitting["label"].unique())
    if len(labels) < 2:
        raise DataError(
            f"{source}: a head needs training images of at least two classes, there is only "
            f"{', '.join(map(repr, labels)) or 'none'}; add another class, or name a model that "
            "has this one among its outputs"
        )


def _head(subject: Subject, model: Model | None) -> Head:
    """A given head, the model's own, or a linear probe fitted on the training features."""
    folder, path, key = subject.files.folder, subject.files.head.facts, subject.key
    stored = read_json(path, {}) if path.exists() else {}
    if GIVEN in stored and stored["key"] != key:
        write_json(path, {**stored, "key": key})
    if GIVEN in stored or stored.get("key") == key:
        return read_head(folder)
    assert model is not None
    facts: dict[str, object] = {"key": key}
    mode = subject.manifest.head.mode
    if mode == "keep":
        weight, bias, correction, oof = model.weight, model.bias, model.correction, None
        match = matched(subject.table, model, subject.manifest.model.reading)
        outputs = list(model.outputs or [str(i) for i in range(len(weight))])
        facts |= said_of(match, outputs, subject, model)
        outputs = labels_of(outputs, match.outputs or {})
        names = display_names(outputs)
    else:
        train = subject.readable[subject.fitting]
        require_two_classes(subject.table.source, train)
        outputs = sorted(train["label"].unique().tolist())
        names = display_names(outputs)
        labels = np.searchsorted(outputs, train["label"].to_numpy(dtype=str))
        probe = fit_probe(subject.store.features(train["image_id"].tolist()), labels, len(outputs))
        weight, bias, correction, oof = probe.weight, probe.bias, None, probe.oof_logits
        facts["probe"] = {
            "C": probe.C,
            "cross_validation": [asdict(row) for row in probe.cv],
            "iterations": probe.n_iter,
            "converged": probe.converged,
            "never_held_out": list(probe.never_held_out),
        }
    shown = [names[label] for label in outputs]
    store_head(folder, Head(weight, bias, outputs, shown, mode, correction), facts, oof)
    return read_head(folder)


def _predict(subject: Subject, head: Head) -> Predicted:
    """Predictions of every readable image, in the table's order.

    Columns: ``prediction`` (output index), ``confidence`` (softmax of it), ``loss`` (nats, NaN
    where the label has no output), ``correct``, ``fair`` (correct, out of fold for images that a
    probe was fitted on: what gaps are measured with).
    """
    files, fitting, image_ids = subject.files, subject.fitting, subject.readable["image_id"]
    truth = np.array([head.index(label) for label in subject.labels], np.int64)
    parts = []
    for start in range(0, len(truth), SHARD_SIZE):
        part = slice(start, start + SHARD_SIZE)
        features = subject.store.features(image_ids.iloc[part].tolist())
        parts.append(scores_of(head.logits(features), truth[part]))
    frame = pd.concat(parts, ignore_index=True)
    frame.insert(0, "image_id", image_ids)
    fair = frame["correct"].to_numpy(dtype=bool).copy()
    if there(files.head.out_of_fold):
        out_of_fold = read_array(files.head.out_of_fold, mapped=True)
        fair[fitting] = out_of_fold.argmax(axis=1) == truth[fitting]
    frame["fair"] = fair
    write_frame(files.predictions, frame)
    return Predicted(head, frame, held_out_rows(files.folder, fitting))


def scores_of(logits: FloatArray, truth: IntArray) -> pd.DataFrame:
    """What logits (n, K) say of images: PREDICTED without ``fair``; truth -1: it has no output."""
    log_p = log_softmax(logits)
    prediction = log_p.argmax(axis=1)
    known = np.maximum(truth, 0)
    rows = np.arange(len(truth))
    return pd.DataFrame(
        {
            "prediction": prediction,
            "confidence": np.exp(log_p[rows, prediction]),
            "loss": np.where(truth >= 0, -log_p[rows, known], np.nan),
            "correct": prediction == truth,
        }
    )


def _classes(
    subject: Subject, predicted: Predicted, report: Reporter, share: Share | None
) -> list[AuditedClass]:
    """Analyse every class that has an output and a training image; returns their facts."""
    files, head = subject.files, predicted.head
    if files.classes.exists() and not _same_key(files.classes_key, subject.key):
        remove(files.classes)
    write_json(files.classes_key, subject.key)
    wanted = [
        name for name in sorted(set(subject.labels[subject.fitting])) if head.index(name) >= 0
    ]
    glosses = definitions(wanted) | meanings(subject)
    outputs = tuple(head.index(name) for name in wanted)
    other_kinds.renew(files, subject.maps_key, subject.counts)
    if share is not None:
        share(subject, predicted, wanted)
    facts, tables = [], []
    for number, name in enumerate(wanted):
        report(Progress("Finding components", number, len(wanted), "classes"))
        stored = files.of_class(head.index(name))
        if not stored.facts.exists():
            analyse_class(subject, predicted, name)
        tables += tables_of_class(subject, predicted, name, outputs)
        found = read_value(stored.facts, AuditedClass)
        facts.append(found.with_entries(definition=glosses.get(name, "")))
    report(Progress("Finding components", len(wanted), len(wanted), "classes"))
    if not tables:
        return facts
    table = with_corrected(pd.concat(tables, ignore_index=True))
    write_frame(files.candidates, table)
    owner = table["class_idx"].to_numpy()
    return [with_widest_gap(found, table[owner == found.class_idx]) for found in facts]


def tables_of_class(
    subject: Subject, predicted: Predicted, label: str, classes: tuple[int, ...]
) -> list[pd.DataFrame]:
    """The candidates of a class, of every kind."""
    output, files = predicted.head.index(label), subject.files
    others = other_kinds.of_class(
        files,
        output,
        predicted.head.names[output],
        lambda: _images(subject, predicted, label, classes),
    )
    found = [read_frame(files.of_class(output).candidates), *others]
    return [table for table in found if len(table)] or found[:1]


def _same_key(path: Path, key: str) -> bool:
    """Whether the classes were made from the same; a damaged key is known by its digest."""
    try:
        return bool(read_json(path, str) == key)
    except WorkspaceError:
        return digests.would_be(path, as_bytes(key))


def with_widest_gap(facts: AuditedClass, table: pd.DataFrame) -> AuditedClass:
    """A class with the candidate that opens its largest accuracy gap, where any was measured.

    Gaps above their control go first: the largest of many noisy numbers would otherwise lead, which
    is too large by itself.
    """
    measured = table[table["gap"].notna()]
    if measured.empty:
        return facts.with_entries(top_gap=None)
    above = side_of_control(measured) > 0
    first = measured[above] if above.any() else measured
    row = first.sort_values("gap", ascending=False).iloc[0]
    return facts.with_entries(
        top_gap=float(row["gap"]),
        top_gap_low=float(row["gap_low"]),
        top_gap_high=float(row["gap_high"]),
        top_gap_control=float(row["gap_control"]),
        top_gap_above=bool(above.any()),
        top_kind=str(row["kind"]),
        top_component=int(row["component"]),
        top_candidate=title_of(row["kind"], int(row["component"])),
    )


def _given(subject: Subject, predicted: Predicted, rows: IntArray, class_idx: int) -> ClassFeatures:
    """What the candidates of a class are found in, by the rows of its images."""
    return ClassFeatures(
        subject.store.features(subject.readable["image_id"].iloc[rows].tolist()),
        predicted.head.weight[class_idx],
        float(predicted.head.bias[class_idx]),
        train=subject.fitting[rows],
        held_out=predicted.held_out[rows],
        correct=predicted.fair[rows],
    )


def _images(
    subject: Subject, predicted: Predicted, label: str, classes: tuple[int, ...]
) -> ClassImages:
    """The images of a class with their maps."""
    head, rows = predicted.head, np.flatnonzero(subject.labels == label)
    class_idx, ids = head.index(label), subject.readable["image_id"].iloc[rows].tolist()
    return ClassImages(
        _given(subject, predicted, rows, class_idx),
        ids,
        class_idx,
        np.asarray(head.weight, np.float64),
        np.asarray(head.bias, np.float64),
        classes,
        subject.mapped[rows],
        subject.store.stored_maps,
        stored_components(subject.files, class_idx),
        subject.counts,
    )


def analyse_class(subject: Subject, predicted: Predicted, label: str) -> None:
    """Everything about one class, in one atomic folder."""
    head, rows = predicted.head, np.flatnonzero(subject.labels == label)
    class_idx, ids = head.index(label), subject.readable["image_id"].iloc[rows].tolist()
    given = _given(subject, predicted, rows, class_idx)
    found = find_candidates(
        given,
        subject.manifest.parts.components,
        device=subject.manifest.compute.device,
    )
    top = found.table["top_image_ids"].tolist()
    table = named_table(found.table, ids, class_idx, head.names[class_idx])
    arrays = {
        "basis": found.pca.basis.T.astype(np.float32),
        "mean": found.pca.mean,
        "eigenvalues": found.pca.eigenvalues,
        "neurons": found.neurons,
        "alpha": found.alpha.astype(np.float32),
        "residual": found.residual.astype(np.float32),
        "image_ids": np.array(ids),
        "fitting": given.train,
    }
    maps = _top_maps(found, top, ids, subject.store)
    if maps is not None:
        arrays["top_maps"] = maps
    facts = {
        "class_idx": class_idx,
        "label": label,
        "name": head.names[class_idx],
        "logit_mean": found.logit_mean,
        "n_images": len(ids),
        "n_fitted": int(given.train.sum()),
        "n_components": found.n_components,
        "total_variance": found.pca.total_variance,
        "bound": found.pca.bound,
    }
    with replacing_folder(subject.files.of_class(class_idx).folder) as temporary:
        new = ClassFiles(temporary)
        for name, array in arrays.items():
            write_array(new.array(name), array)
        write_frame(new.candidates, table, "snappy")
        write_json(new.facts, AuditedClass.from_json(facts))


def _top_maps(
    found: ClassCandidates, top: list[list[int]], ids: list[str], store: FeatureStore
) -> FloatArray | None:
    """Heatmaps (m, TOP_IMAGES, h, w) of every candidate's top images, from the maps of the pass.

    None where the pass kept no maps; they are then computed on demand.
    """
    needed = sorted({i for row in top for i in row})
    if not needed or not store.has_maps([ids[i] for i in needed]):
        return None
    place = {image: n for n, image in enumerate(needed)}
    maps: FloatArray | None = None
    users: dict[int, list[tuple[int, int]]] = {}
    for candidate, row in enumerate(top):
        for rank, image in enumerate(row):
            users.setdefault(place[image], []).append((candidate, rank))
    for start in range(0, len(needed), SHARD_SIZE // 4):
        part = needed[start : start + SHARD_SIZE // 4]
        found_maps = heatmaps(store.maps([ids[i] for i in part]), found.directions, found.offsets)
        if maps is None:
            maps = np.zeros((len(top), TOP_IMAGES, *found_maps.shape[2:]), np.float32)
        for offset in range(len(part)):
            for candidate, rank in users[start + offset]:
                maps[candidate, rank] = found_maps[offset, candidate]
    return maps


Groups = tuple[tuple[str, ...], ...]
"""Of paths."""

MASKS = ("object_mask", "cue_mask", "x_min")
"""Columns that say where in an image something is."""


def summarise(subject: Subject, predicted: Predicted, classes: Sequence[AuditedClass]) -> Summary:
    """What ``list``, ``show`` and the overview say."""
    table, images, readable = subject.table, subject.images, subject.readable
    fair, held_out, label = predicted.fair, predicted.held_out, subject.labels
    measured = []
    for facts in classes:
        rows = held_out & (label == facts.label)
        accuracy = float(fair[rows].mean()) if rows.any() else None
        measured.append(facts.with_entries(n_held_out=int(rows.sum()), accuracy=accuracy))
    per_split = {
        str(split): SplitFacts(len(rows), float(fair[rows].mean()))
        for split, rows in readable.groupby("split").indices.items()
    }
    audited = {facts.label for facts in classes}
    notes = [*table.notes, *head_notes(subject), *_told_apart(subject, predicted)]
    if left_out := sorted(set(label) - audited):
        notes.append(
            count_of(
                len(left_out),
                "class without a training image or an output was not audited: ",
                "classes without a training image or an output were not audited: ",
            )
            + ", ".join(left_out[:10])
        )
    duplicates, across = repeated_images(readable)
    unreadable = images[~images["readable"]]
    return Summary(
        images=len(images),
        readable=len(readable),
        unreadable=tuple(map(Unreadable, unreadable["path"], unreadable["reason"])),
        splits=per_split,
        classes=tuple(measured),
        accuracy=float(fair[held_out].mean()) if held_out.any() else None,
        held_out=subject.manifest.head.held_out
        or held_out_basis(readable, subject.fitting, predicted.head.mode),
        head=HeadFacts(predicted.head.mode, len(predicted.head.outputs)),
        attributes=table.attributes,
        masks=tuple(m for m in MASKS if m in images.columns),
        duplicates=duplicates,
        in_two_splits=across,
        repeated=table.repeated,
        planted=table.planted,
        table=_table_key(table),
        notes=tuple(dict.fromkeys(notes)),
    )


def _told_apart(subject: Subject, predicted: Predicted) -> Iterator[str]:
    """How well one class is told from its rest: what its share of the images does not decide."""
    target = subject.table.target
    has, rows = subject.labels == target, predicted.held_out
    if not target or not (has & rows).any() or has[rows].all():
        return
    table, index = predicted.table, predicted.head.index(target)
    confidence = table["confidence"].to_numpy(np.float64)
    score = np.where(table["prediction"] == index, confidence, 1 - confidence)
    if there(subject.files.head.out_of_fold):
        logits = read_array(subject.files.head.out_of_fold, mapped=True)
        score[subject.fitting] = class_probability(logits, index)
    n = int((has & rows).sum()), int((~has & rows).sum())
    area = auroc(score[rows], has[rows])
    low, high = auroc_interval(area, *n)
    right = [int((predicted.fair & rows & group).sum()) for group in (has, ~has)]
    mean, below, above = mean_share(right, n)
    yield (
        f"{target} against its rest, {n[0]:,} of {sum(n):,} held-out images: AUROC {area:.2f} "
        f"[{low:.2f}, {high:.2f}], balanced accuracy {100 * mean:.0f} % [{100 * below:.0f}, "
        f"{100 * above:.0f}]. Accuracy counts what most images are."
    )


def repeated_images(readable: pd.DataFrame) -> tuple[Groups, Groups]:
    """Groups of paths with identical bytes, and those of them that stand in several splits."""
    same = readable[readable.duplicated("digest", keep=False)]
    groups, across = [], []
    for _, rows in same.groupby("digest", sort=True):
        paths = tuple(sorted(rows["path"]))
        groups.append(paths)
        if rows["split"].nunique() > 1:
            across.append(paths)
    return tuple(sorted(groups)), tuple(sorted(across))
