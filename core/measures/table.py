"""The table of measures of an audit, and the spurious score of one class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.annotate.tags import TagStore
from core.audit import Audit
from core.data.folder import is_image_name
from core.errors import DataError, InputError
from core.features.extract import cores, in_order, prepare
from core.measure.noise import SIGMA
from core.measure.score import SpuriousScore, spurious_score
from core.measures.decisions import Decisions, decided
from core.measures.flips import flip_rows
from core.measures.gaps import Rows, gap_rows, group_rows, reliability_rows, share
from core.measures.regions import noise_rows
from core.measures.rows import as_table, note, row
from core.measures.trials import logits_of
from core.measures.watermark import watermark_rows
from core.statistics import log_softmax
from core.store import Workspace
from core.types import FloatArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

WHAT = ("gap", "groups", "noise", "flip")
"""Parts of the table; the spurious score needs images of its own (:func:`score`)."""

SLOW = ("noise", "flip")
"""The parts that need the model and the images; the others follow from stored numbers."""


def check(what: str, sigmas: Sequence[float]) -> tuple[str, ...]:
    """The parts that ``what`` means.

    Raises
    ------
    InputError
        If it is no part, or a sigma is out of range.
    """
    if what not in (*WHAT, "all"):
        raise InputError(f"--what {what!r}: choose {', '.join(WHAT)} or all")
    if bad := [sigma for sigma in sigmas if not 0 <= sigma < float("inf")]:
        raise InputError(f"--sigma {bad[0]}: must be at least 0")
    return WHAT if what == "all" else (what,)


def measure(
    audit: Audit,
    workspace: Workspace,
    what: str = "all",
    *,
    threshold: int | None = None,
    sigmas: Sequence[float] = (SIGMA,),
    report: Reporter = silent,
) -> pd.DataFrame:
    """One tidy table (:data:`core.measures.rows.COLUMNS`) of what the tagged cues cost.

    Measured afresh; :func:`core.measures.stored.measured` keeps it. The model is loaded once, and
    only for ``noise`` and ``flip``.

    Parameters
    ----------
    what : one of WHAT, or ``all``.
    threshold : votes that decide a tag.
    sigmas : standard deviations of the noise, each at least 0.

    Raises
    ------
    InputError
        If ``what`` is unknown, or the threshold or a sigma is out of range.
    """
    parts = check(what, sigmas)
    decisions = decided(audit, TagStore.open(workspace), threshold)
    found = measure_parts(audit, decisions, parts, sigmas=sigmas, report=report)
    rows = [row for _, of_part in found for row in of_part]
    if what != "groups":
        rows += missing(audit, decisions)
    return as_table(rows)


def measure_parts(
    audit: Audit,
    decisions: Decisions,
    parts: Sequence[str],
    *,
    sigmas: Sequence[float] = (SIGMA,),
    report: Reporter = silent,
) -> Iterator[tuple[str, Rows]]:
    """Some parts of WHAT in that order, each with its rows as soon as they are measured."""
    model = None
    if decisions.spurious and set(SLOW) & set(parts):
        report(Progress("Loading the model", 0, 0))
        model = audit.load_model()
    for part in parts:
        if part == "gap":
            report(Progress("Measuring gaps", 0, 0))
            yield part, gap_rows(audit, decisions) + reliability_rows(audit, decisions)
        elif part == "groups":
            yield part, group_rows(audit)
        elif model is None:
            yield part, []
        elif part == "noise":
            yield part, noise_rows(audit, decisions, model, sigmas=sigmas, report=report)
        else:
            rows = flip_rows(audit, decisions, model, report=report)
            yield part, rows + watermark_rows(audit, [*decisions.spurious], model, report=report)


def missing(audit: Audit, decisions: Decisions) -> Rows:
    """What the table cannot say: classes without spurious tags, tags that lead nowhere."""
    rows = [note(text) for text in decisions.notes]
    names = [f["name"] for f in audit.classes if f["label"] not in decisions.spurious]
    if names:
        some = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        rows.append(
            note(f"{len(names)} of {len(audit.classes)} classes have no candidate decided "
                 f"spurious and so no rows: {some}", n=len(names))
        )  # fmt: skip
    return rows


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
    ``cue_images``, which show the cue and not the object.

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
    class_idx = int(facts["class_idx"])
    mine = audit.images[audit.held_out & (audit.images["label"] == facts["label"]).to_numpy()]
    if mine.empty:
        raise InputError(f"class {facts['name']!r} has no image on {audit.summary['held_out']}")
    paths = _image_files(cue_images)
    report(Progress("Loading the model", 0, 0))
    model = model or audit.load_model()
    p_in = _probability(audit.head.logits(audit.features(mine.index.tolist())), class_idx)
    read, logits, unreadable = _read(audit, model, cue_images, paths, report)
    if not read:
        raise DataError(
            f"{cue_images}: none of {len(paths)} files could be read ({unreadable[0][1]}); give "
            "images that show the cue"
        )
    p_cue = _probability(logits, class_idx)
    outputs = np.array(audit.head.outputs, object)
    images = pd.DataFrame(
        {"path": read, "probability": p_cue, "prediction": outputs[logits.argmax(axis=1)]}
    ).sort_values("probability", ascending=False, kind="stable", ignore_index=True)
    found = spurious_score(p_in, p_cue)
    own = float((mine["prediction"] == class_idx).mean())
    cue = float((logits.argmax(axis=1) == class_idx).mean())
    rows = _score_rows(audit, facts, found, own, cue)
    return ClassScore(found, images, own, cue, tuple(unreadable), as_table(rows))


def _probability(logits: FloatArray, class_idx: int) -> FloatArray:
    found: FloatArray = np.exp(log_softmax(logits)[:, class_idx])
    return found


def _image_files(folder: Path) -> list[str]:
    """Images below a folder, relative, sorted; hidden names left out.

    Raises
    ------
    DataError
        If the folder does not exist or holds none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give one with images that show the cue")
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if is_image_name(name):
                found.append(str((Path(parent) / name).relative_to(folder)))
    if not found:
        raise DataError(f"{folder} holds no image; give one with images that show the cue")
    return sorted(found)


def _read(
    audit: Audit, model: Model, folder: Path, paths: Sequence[str], report: Reporter
) -> tuple[list[str], FloatArray, list[tuple[str, str]]]:
    """Readable paths, their logits, and what could not be read with the reason."""
    size = audit.manifest["compute"]["batch_size"]
    images = in_order(
        lambda path: prepare(folder / path, audit.preprocess),
        paths,
        workers=min(8, cores()),
        ahead=2 * size,
    )
    read: list[str] = []
    unreadable: list[tuple[str, str]] = []
    parts = [np.zeros((0, len(audit.head.bias)), np.float32)]
    for start in range(0, len(paths), size):
        report(Progress("Reading images", start, len(paths)))
        pixels = []
        for path in paths[start : start + size]:
            image = next(images)
            if image.reason:
                unreadable.append((path, image.reason))
            else:
                read.append(path)
                pixels.append(image.pixels)
        parts.append(logits_of(audit, model, pixels))
    report(Progress("Reading images", len(paths), len(paths)))
    return read, np.concatenate(parts), unreadable


def _score_rows(audit: Audit, facts: dict[str, object], s: SpuriousScore, own: float, cue: float
) -> Rows:  # fmt: skip
    split = str(audit.summary["held_out"])
    n = s.n_in + s.n_cue
    return [
        row(facts, "average_precision", s.average_precision, interval=(s.ap_low, s.ap_high), n=n,
            split=split, reading=f"chance {s.chance:.3f}",
            note=f"{s.n_in} class images, {s.n_cue} cue-only; interval by bootstrap"),
        row(facts, "auroc", s.auroc, interval=(s.auroc_low, s.auroc_high), n=n, split=split,
            reading="chance 0.500", note=f"{s.n_in} class images, {s.n_cue} cue-only"),
        row(facts, "share_classified", own, interval=share(own * s.n_in, s.n_in), n=s.n_in,
            subject="class images", split=split),
        row(facts, "share_classified", cue, interval=share(cue * s.n_cue, s.n_cue), n=s.n_cue,
            subject="cue-only images", split="given"),
        row(facts, "mean_probability", s.mean_p_in, n=s.n_in, subject="class images", split=split),
        row(facts, "mean_probability", s.mean_p_cue, n=s.n_cue, subject="cue-only images",
            split="given"),
    ]  # fmt: skip
