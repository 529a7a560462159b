"""Strategies of classes: clusters of their explanations, found where asked for, class by class.

What is stored of a class says what it was found in, so that a job that was stopped goes on, and
clusters of images that have changed are found again or taken away.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.class_files import named_table, write_kind
from core.audits.other_kinds import ASKED, FOUND_IN, digest, is_found_in
from core.audits.stored_images import class_images
from core.candidates.above_control import with_corrected
from core.candidates.cluster_kind import CLUSTER, SPACES, Space, spaces_of
from core.candidates.cluster_search import Asked, find_clusters
from core.candidates.key import CandidateKey
from core.candidates.kinds import Found
from core.candidates.part_kind import PART
from core.candidates.search import ClassImages, measured, page_order
from core.config import CONFIDENCE
from core.statistics.intervals import share
from core.statistics.multiplicity import corrected
from core.storage.files import locked, read_frame, there, write_frame, write_json
from core.storage.workspace import fingerprint
from core.types import FloatArray, Progress, Reporter, silent

VERSION = 1
"""Of how clusters are found; another one finds them again."""


def discover(
    audit: Audit, labels: Sequence[str], asked: Asked, report: Reporter = silent
) -> pd.DataFrame:
    """Find clusters of some classes, those that were found so are kept; returns :func:`ranking`.

    Raises
    ------
    WorkspaceError
        If the audit is being computed by another process.
    """
    busy = f"audit {audit.name!r} is being computed by another process; wait for it"
    with locked(audit.files.lock, busy):
        try:
            for done, label in enumerate(labels):
                report(Progress("Comparing explanations", done, len(labels), "classes"))
                _of_class(audit, label, asked)
            report(Progress("Comparing explanations", len(labels), len(labels), "classes"))
        finally:
            _gather(audit)
    return ranking(Audit(audit.folder))


def _of_class(audit: Audit, label: str, asked: Asked) -> None:
    """Find and store the clusters of a class, unless those that are stored are the same."""
    arrays = audit.arrays_of(label)
    images, facts = class_images(audit, arrays), arrays.facts
    files, how = audit.files.of_kind(CLUSTER, facts.class_idx), _how(asked)
    if is_found_in(files, images) and str(arrays.of_kind(CLUSTER).arrays[ASKED][0]) == how:
        return
    found = find_clusters(images, arrays.of_kind(PART), asked)
    marks = {FOUND_IN: np.array([digest(images)]), ASKED: np.array([how])}
    found = replace(found, arrays={**found.arrays, **marks})
    table = _measured(images, found)
    write_kind(files, found, named_table(table, images.image_ids, facts.class_idx, facts.name))


def _how(asked: Asked) -> str:
    return fingerprint({"version": VERSION, **asdict(asked)})


def _measured(images: ClassImages, found: Found) -> pd.DataFrame:
    """The table of a class's clusters, each space over the images that are known in it."""
    tables = [
        measured(
            images,
            CLUSTER,
            replace(found, numbers=space.numbers, alpha=found.alpha[:, space.numbers]),
        )
        for space in spaces_of(found)
    ]
    table = pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    return table.assign(order=page_order(table)) if len(table) else table


def _gather(audit: Audit) -> None:
    """Put the clusters of all classes into the table of candidates, whose p-values they share."""
    tables, marks = [], []
    for facts in audit.classes:
        files = audit.files.of_kind(CLUSTER, facts.class_idx)
        if there(files.facts):
            arrays = audit.class_arrays(facts.class_idx).of_kind(CLUSTER).arrays
            marks.append([facts.label, str(arrays[FOUND_IN][0]), str(arrays[ASKED][0])])
            tables.append(read_frame(files.candidates))
    before = audit.candidates
    parts = [before[before["kind"] != CLUSTER], *(table for table in tables if len(table))]
    write_json(audit.files.kind_key(CLUSTER), fingerprint({"of": marks}))
    write_frame(audit.files.candidates, with_corrected(pd.concat(parts, ignore_index=True)))
    os.utime(audit.files.summary)  # whoever holds the audit open reads it again


def spaces(audit: Audit, class_idx: int) -> list[Space]:
    """What was found of a class; empty where nothing was asked for."""
    return spaces_of(audit.class_arrays(class_idx).of_kind(CLUSTER))


def ranking(audit: Audit) -> pd.DataFrame:
    """Classes by how far they fall in two, those first that a cloud without groups does not.

    One row per class and space: ``class_idx``, ``class_name``, ``space``, ``images`` (of every
    split), ``aside`` (without any mass), ``clusters``, ``score`` (Fisher's, of two groups),
    ``control`` (its mean over clouds without groups), ``times`` (their ratio), ``p``,
    ``p_corrected`` (over all rows; Benjamini & Hochberg), ``smaller`` (share of the smaller
    group), ``apart`` (whether it is told from a cloud at 5 %), ``note``.
    """
    rows = [
        {
            "class_idx": facts.class_idx,
            "class_name": facts.name,
            "space": space.name,
            "images": space.known,
            "aside": space.aside,
            "clusters": len(space.numbers),
            "score": space.apart.score,
            "control": space.apart.control,
            "times": space.apart.times,
            "p": space.apart.p,
            "p_corrected": np.nan,
            "smaller": space.apart.share,
            "apart": False,
            "note": space.note,
        }
        for facts in audit.classes
        for space in spaces(audit, facts.class_idx)
    ]
    table = pd.DataFrame(rows, columns=RANKING)
    table["p_corrected"] = corrected(table["p"].to_numpy(np.float64), "fdr_bh")
    table["apart"] = table["p_corrected"] <= 1 - CONFIDENCE
    order = ["apart", "times"]
    return table.sort_values(order, ascending=False, kind="stable", ignore_index=True)


RANKING = [
    *("class_idx", "class_name", "space", "images", "aside", "clusters", "score", "control"),
    *("times", "p", "p_corrected", "smaller", "apart", "note"),
]


def in_words(row: Mapping[str, object]) -> str:
    """A row of :func:`ranking` in a line, without its class."""
    said = [f"by {SPACES[str(row['space'])]}: {row['clusters']} clusters of {row['images']} images"]
    if row["aside"]:
        said.append(f"{row['aside']} without any positive evidence set aside")
    if row["score"] == row["score"]:
        how = "stands apart" if row["apart"] else "no more than a cloud without groups"
        said.append(
            f"cut in two, Fisher score {row['score']:.2f}, a cloud without groups "
            f"{row['control']:.2f}: {how}"
        )
        said.append(f"the smaller side holds {100 * float(str(row['smaller'])):.0f} %")
    if row["note"]:
        said.append(str(row["note"]))
    return "; ".join(said)


class Strategy(NamedTuple):
    """One cluster of a class."""

    key: CandidateKey
    space: str
    members: list[str]
    """Ids of its images, of every split, those of highest alpha first."""
    share: float
    """Of the images of the class that are known in its space and not set aside."""
    held_out: int
    """Members that figures are measured on."""
    accuracy: float
    """On these; NaN without any."""
    low: float
    high: float
    """Its 95 % interval (Wilson)."""
    overlay: FloatArray
    """(h, w) mean share of the margin by place; of size 0 without maps."""


def strategies(audit: Audit, class_idx: int) -> list[Strategy]:
    """The clusters of a class, space by space, the largest first."""
    arrays = audit.class_arrays(class_idx)
    found, ids = arrays.of_kind(CLUSTER), np.array(arrays.image_ids)
    place = audit.rows_of(arrays.image_ids)
    held_out, right = audit.held_out[place], audit.images["fair"].to_numpy(bool)[place]
    listed = []
    for space in spaces_of(found):
        for number in space.numbers:
            mine = space.labels == number
            members = np.flatnonzero(mine)
            order = members[np.argsort(-found.alpha[members, number], kind="stable")]
            n, hits = int((mine & held_out).sum()), int((mine & held_out & right).sum())
            listed.append(
                Strategy(
                    CandidateKey(arrays.label, CLUSTER, int(number)),
                    space.name,
                    ids[order].tolist(),
                    len(members) / max(space.known, 1),
                    n,
                    hits / n if n else float("nan"),
                    *share(hits, n),
                    np.asarray(found.arrays["overlay"][number]),
                )
            )
    return listed
