"""The spurious score of a class: what the model says of images that show its cue alone.

::

    outcomes/score-00003-4f0c….parquet   the images of one folder, read once (COLUMNS)

The name ends with the key of the audit's images and predictions; the folder's files are compared
with those that were read, and all read again where one of them changed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.audits.folds import said_of, unseen_logits
from core.data.folder import is_image_name
from core.errors import DataError, InputError, WorkspaceError
from core.features.extract import cores, in_order, prepare
from core.measures.cells import Context, Figure
from core.measures.measure import BOTH, PLAIN, SEVERAL, Measure, Rows
from core.measures.rows import as_table, row
from core.statistics.estimates import Area, Estimate, Precision
from core.statistics.intervals import class_probability, mean_interval, share
from core.statistics.paired import Sampled
from core.statistics.separation import SpuriousScore, spurious_score
from core.storage.files import read_frame, write_frame
from core.storage.guard import permitted, permitted_files
from core.storage.workspace import fingerprint
from core.trials.encoder import Encoder
from core.trials.outcomes import base_key
from core.types import FloatArray, Progress, Reporter, count_of, silent

if TYPE_CHECKING:
    from core.models.model import Model

COLUMNS = ["path", "size", "modified", "probability", "prediction", "reason", "folder"]
"""``path`` below ``folder``, bytes and time (ns) of the file, probability of the class, predicted
output, and why an image could not be read (empty where it could; then NaN and -1)."""

CLASS, CUE = "class", "cue"
"""An image of the class, an image of its cue alone."""

NEEDS_CUES = "needs images of a cue alone: compare … --cue-images CLASS=DIR"
OTHER_CUES = "the models were given different cue images: compare … --cue-images CLASS=DIR"


@dataclass(frozen=True)
class ClassScore:
    """The spurious score of a class for a folder of cue-only images."""

    score: SpuriousScore
    images: pd.DataFrame
    """Columns: ``path``, ``probability`` of the class, ``prediction`` (raw label); one row per
    cue-only image, highest probability first."""
    share_in: float
    """Share of the class's own images that the model gives the class."""
    share_cue: float
    """The same of the cue-only images; lower is better."""
    unreadable: tuple[tuple[str, str], ...]
    """Path and reason of every file that is no image."""
    table: pd.DataFrame
    """The same figures as rows of the table of measures."""


def score(
    audit: Audit,
    label: str,
    cue_images: Path,
    *,
    model: Model | None = None,
    report: Reporter = silent,
) -> ClassScore:
    """Does the cue alone look like the class? Neuhaus et al. 2023, section 5.

    Positives are the class's held-out images by their stored features, negatives the images of
    ``cue_images``, which show the cue and not the object; those are read once and kept.

    Parameters
    ----------
    label : raw label, displayed name or ``#index``.
    cue_images : a folder; images at any depth, hidden names left out.
    model : the loaded model, to save loading it here.

    Raises
    ------
    DataError
        If the folder does not exist or holds no readable image.
    InputError
        If the class is unknown or has no held-out image.
    """
    facts = audit.class_facts(label)
    class_idx = facts.class_idx
    mine = audit.images[audit.held_out & (audit.images["label"] == facts.label).to_numpy()]
    if mine.empty:
        raise InputError(f"class {facts.name!r} has no image on {audit.summary.held_out}")
    table = cue_table(audit, facts.label, cue_images, model=model, report=report)
    read, bad = table[table["reason"] == ""], table[table["reason"] != ""]
    if read.empty:
        raise DataError(
            f"{cue_images}: none of {count_of(len(table), 'file')} could be read "
            f"({bad['reason'].iloc[0]}); give images that show the cue"
        )
    p_in = own_probability(audit, facts.label, mine.index.tolist())
    p_cue = read["probability"].to_numpy()
    outputs = np.array(audit.head.outputs, object)
    images = pd.DataFrame(
        {
            "path": read["path"].tolist(),
            "probability": p_cue,
            "prediction": outputs[read["prediction"].to_numpy()],
        }
    ).sort_values("probability", ascending=False, kind="stable", ignore_index=True)
    found = spurious_score(p_in, p_cue)
    logits = unseen_logits(audit, mine.index.tolist())
    own = float((logits.argmax(axis=1) == class_idx).mean())
    cue = float((read["prediction"] == class_idx).mean())
    unreadable = tuple(zip(bad["path"], bad["reason"], strict=True))
    rows = _score_rows(audit, facts, found, own, cue)
    return ClassScore(found, images, own, cue, unreadable, as_table(rows))


def own_probability(audit: Audit, label: str, image_ids: Sequence[str]) -> FloatArray:
    """Probability (n,) of a class on images of the audit, by their stored features.

    Out of fold where the head was fitted on all of them; images of the cue alone it has never seen.
    """
    return class_probability(unseen_logits(audit, image_ids), audit.head.index(label))


def score_path(audit: Audit, label: str) -> Path:
    """Where the images of a class's cue are or will be."""
    number = audit.class_facts(label).class_idx
    return audit.files.outcome("score", fingerprint(base_key(audit)), number)


def stored_cues(audit: Audit, label: str) -> pd.DataFrame | None:
    """The images of a class's cue that were read last (COLUMNS); None if none were."""
    path = score_path(audit, label)
    return read_frame(path) if path.exists() else None


def every_stored_cue(audit: Audit) -> dict[str, pd.DataFrame]:
    """:func:`stored_cues` of every class that has some, by raw label."""
    key, found = fingerprint(base_key(audit)), {}
    for facts in sorted(audit.classes, key=lambda facts: facts.class_idx):
        path = audit.files.outcome("score", key, facts.class_idx)
        if path.exists():
            found[facts.label] = read_frame(path)
    return found


def is_scored(audit: Audit, label: str, folder: Path) -> bool:
    """Whether the images of a folder, as they are now, were read before."""
    return folder.is_dir() and _known(audit, label, folder, _listed(folder)) is not None


def cue_table(
    audit: Audit,
    label: str,
    folder: Path,
    *,
    model: Model | None = None,
    report: Reporter = silent,
) -> pd.DataFrame:
    """What the model says of every image of a folder (COLUMNS), read where it was not before.

    Raises
    ------
    DataError
        If the folder does not exist or holds no image.
    """
    files = _listed(folder)
    known = _known(audit, label, folder, files)
    if known is not None:
        return known
    report(Progress("Loading the model", 0, 0))
    model = model or audit.load_model()
    table = files.assign(folder=str(folder.absolute()))
    table = _read(audit, model, folder, table, audit.head.index(label), report)
    with contextlib.suppress(WorkspaceError):  # a workspace that only shows
        write_frame(score_path(audit, label), table)
    return table


def _known(audit: Audit, label: str, folder: Path, files: pd.DataFrame) -> pd.DataFrame | None:
    """The stored table, if it is of these very files."""
    known = stored_cues(audit, label)
    if (
        known is None
        or len(known) != len(files)
        or known["folder"].iloc[0] != str(folder.absolute())
    ):
        return None
    return known if known[[*files.columns]].equals(files) else None


def _listed(folder: Path) -> pd.DataFrame:
    """The image files below a folder: ``path``, ``size``, ``modified``."""
    paths = _image_files(folder)
    status = [(folder / path).stat() for path in paths]
    return pd.DataFrame(
        {
            "path": paths,
            "size": np.array([s.st_size for s in status], np.int64),
            "modified": np.array([s.st_mtime_ns for s in status], np.int64),
        }
    )


def _image_files(folder: Path) -> list[str]:
    """Images below a folder, relative, sorted; hidden names left out.

    Raises
    ------
    DataError
        If the folder does not exist or holds none.
    InputError
        If this process may not read them (:mod:`core.storage.guard`).
    """
    if not permitted(folder).is_dir():
        raise DataError(f"{folder} is not a folder; give one with images that show the cue")
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if is_image_name(name):
                found.append(str((Path(parent) / name).relative_to(folder)))
    if not found:
        raise DataError(f"{folder} holds no image; give one with images that show the cue")
    permitted_files(folder, found)
    return sorted(found)


def _read(
    audit: Audit, model: Model, folder: Path, table: pd.DataFrame, class_idx: int, report: Reporter
) -> pd.DataFrame:
    """The table with probability, prediction and reason."""
    encoder, paths = Encoder(audit, model), table["path"].tolist()
    images = in_order(
        lambda path: prepare(folder / path, audit.preprocess),
        paths,
        workers=min(8, cores()),
        ahead=2 * encoder.size,
    )
    reasons: list[str] = []
    features = [np.zeros((0, encoder.width), np.float32)]
    for start in range(0, len(paths), encoder.size):
        report(Progress("Reading images", start, len(paths)))
        part = [next(images) for _ in paths[start : start + encoder.size]]
        reasons += [image.reason for image in part]
        features.append(encoder.features([image.pixels for image in part if not image.reason]))
    report(Progress("Reading images", len(paths), len(paths)))
    logits = audit.head.logits(np.concatenate(features))
    there = np.array([not reason for reason in reasons], bool)
    probability, prediction = np.full(len(paths), np.nan), np.full(len(paths), -1, np.int64)
    probability[there] = class_probability(logits, class_idx)
    prediction[there] = logits.argmax(axis=1)
    found: dict[str, Any] = {"probability": probability, "prediction": prediction}
    return table.assign(**found, reason=reasons)[COLUMNS]


def _score_rows(
    audit: Audit, facts: AuditedClass, s: SpuriousScore, own: float, cue: float
) -> Rows:
    split, n = said_of(audit), s.n_in + s.n_cue
    said = f"{count_of(s.n_in, 'class image')}, {s.n_cue} cue-only"
    sides = (("class images", split, s.n_in, own, s.mean_p_in),
             ("cue-only images", "given", s.n_cue, cue, s.mean_p_cue))  # fmt: skip
    return [
        row(facts, PRECISION, s.average_precision, interval=(s.ap_low, s.ap_high), n=n,
            split=split, reading=f"chance {s.chance:.3f}", note=said),
        row(facts, AREA, s.auroc, interval=(s.auroc_low, s.auroc_high), n=n, split=split,
            reading="chance 0.500", note=said),
        *(row(facts, CLASSIFIED, hits, interval=share(hits * m, m), n=m, subject=what, split=of)
          for what, of, m, hits, _ in sides),
        *(row(facts, PROBABILITY, mean, n=m, subject=what, split=of)
          for what, of, m, _, mean in sides),
    ]  # fmt: skip


def every_image(audit: Audit) -> pd.DataFrame | None:
    """Every image of the spurious scores; None where no class has one.

    Columns: ``label``, ``source`` (CLASS or CUE), ``image`` (id, or path below the folder),
    ``probability`` of the class, ``folder``.
    """
    parts = []
    for label, cues in every_stored_cue(audit).items():
        if (cues["reason"] == "").any():
            parts += _sides(audit, label, cues[cues["reason"] == ""])
    return pd.concat(parts, ignore_index=True) if parts else None


def _sides(audit: Audit, label: str, cues: pd.DataFrame) -> list[pd.DataFrame]:
    """The class's own held-out images, then those of its cue."""
    mine = audit.images.index[audit.held_out & (audit.images["label"] == label).to_numpy()].tolist()
    folder = str(cues["folder"].iloc[0])
    sides = {
        CLASS: (mine, own_probability(audit, label, mine) if mine else np.zeros(0)),
        CUE: (cues["path"].tolist(), cues["probability"].to_numpy()),
    }
    return [
        pd.DataFrame(
            {
                "label": label,
                "source": source,
                "image": images,
                "probability": probability,
                "folder": folder,
            }
        )
        for source, (images, probability) in sides.items()
    ]


def _scores(context: Context, audit: Audit, *, estimate: Estimate) -> Figure | str:
    """Mean over the classes that every model was given the same images of the cue for."""
    tables = {each.id: every_image(each) for each in context.audits}
    there = [table for table in tables.values() if table is not None]
    labels, table = _scored_alike(there) if there else [], tables[audit.id]
    if table is None:
        return NEEDS_CUES
    return _score(context, table, labels, estimate) if labels else OTHER_CUES


def _scored_alike(tables: list[pd.DataFrame]) -> list[str]:
    """Classes for which every model was given the same images of the cue."""
    sets = [
        {
            (label, tuple(sorted(mine["image"])), mine["folder"].iloc[0])
            for label, mine in table[table["source"] == CUE].groupby("label")
        }
        for table in tables
    ]
    return sorted(str(label) for label, *_ in set.intersection(*sets))


def _score(context: Context, table: pd.DataFrame, labels: list[str], estimate: Estimate) -> Figure:
    """Mean over classes; images of the class and of the cue are resampled, each by themselves."""
    bounds, samples, n = [], [], 0
    for label in labels:
        mine = table[table["label"] == label].sort_values(["source", "image"], kind="stable")
        shared = mine["image"].isin(context.shared.held.index)
        mine = mine[shared | (mine["source"] == CUE)]
        sides = [mine.loc[mine["source"] == s, "probability"].to_numpy() for s in (CLASS, CUE)]
        values, n = two_groups(*sides), n + len(mine)
        weights = np.concatenate(
            [context.weights(label, len(p), s) for p, s in zip(sides, (CLASS, CUE), strict=True)],
            axis=1,
        )
        bounds.append(estimate.of(values))
        samples.append(estimate.under(values, weights))
    every = np.array(bounds)
    sampled = Sampled(float(every[:, 0].mean()), np.mean(samples, axis=0))
    return Figure(
        sampled,
        mean_interval(*every.T),
        n,
        f"{count_of(len(labels), 'class', 'classes')} with cue images",
    )


def two_groups(first: FloatArray, second: FloatArray) -> FloatArray:
    """Numbers of two groups (n, 2), as the estimates of a separation take them."""
    values = np.concatenate([first, second])
    return np.column_stack([values, np.arange(len(values)) < len(first)])


PRECISION = Measure(
    "average_precision",
    "Spurious score, AP",
    "Area under the precision-recall curve: class images against cue-only images.",
    PLAIN,
    "higher is better; chance is the share of class images",
    better=1,
    source="Neuhaus et al. 2023, section 5 (their AUC)",
    views=(SEVERAL,),
    figure=partial(_scores, estimate=Precision()),
    test=BOTH,
)
AREA = Measure(
    "auroc",
    "Spurious score, AUROC",
    "Area under the ROC curve: class images against cue-only images.",
    PLAIN,
    "higher is better; chance is 0.5",
    better=1,
    source="Hanley & McNeil 1982",
    views=(SEVERAL,),
    figure=partial(_scores, estimate=Area()),
)
CLASSIFIED = Measure(
    "share_classified",
    "Share classified",
    "Share of images that the model gives the class.",
    direction="cue-only: lower is better",
    source="Neuhaus et al. 2023, section 5",
    views=(),
)
PROBABILITY = Measure(
    "mean_probability",
    "Mean probability",
    "Mean probability of the class.",
    PLAIN,
    "cue-only: lower is better",
    source="Neuhaus et al. 2023, section 5",
    views=(),
)
