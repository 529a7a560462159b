"""The table of measures, kept in the audit's folder for the very tags that it was measured with.

::

    measures/gap-4f0c….parquet     rows of one part (:func:`core.measures.one_audit.parts`)

The name ends with the key of everything that the part depends on: the images and predictions of
the audit, the decided tags, the noise. Tags that change and change back find their table again.
Noise and flips are counted from the stored outcomes of every image (:mod:`core.trials.outcomes`),
which the comparison of models and the effect of a correction are made of as well; intervals by
bootstrap take a while, which is why their rows are kept, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from core.audits.audit import Audit
from core.audits.kept import key_with_rows
from core.audits.other_kinds import found_in
from core.errors import WorkspaceError
from core.measures.one_audit import (
    check,
    kinds_of,
    measure_parts,
    measured_in,
    missing,
    parts,
)
from core.measures.registry import MEASURES
from core.measures.rows import COLUMNS, as_table, note
from core.storage.files import locked, read_frame, remove, write_frame
from core.storage.memory import hand_back
from core.storage.workspace import Workspace, fingerprint
from core.tags.decisions import Decisions, decided
from core.tags.log import TagStore
from core.trials.leaning import is_possible
from core.trials.noise import SIGMA
from core.trials.outcomes import LEANS, MASKED, NOISE, WATERMARK, Outcomes
from core.trials.watermark import available
from core.types import Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

VERSION = 3
"""Of the measures; another one measures everything again."""

KEPT = 16
"""Tables of a part that stay; of more, those that were measured first are deleted."""


def measured(
    audit: Audit,
    workspace: Workspace,
    what: str = "all",
    *,
    threshold: int | None = None,
    sigmas: Sequence[float] = (SIGMA,),
    report: Reporter = silent,
) -> pd.DataFrame:
    """The table of :mod:`core.measures.one_audit`, measured and stored where it is missing.

    Raises
    ------
    InputError
        If ``what`` is unknown, or the threshold or a sigma is out of range.
    WorkspaceError
        If another process measures the same with the model right now.
    """
    some = check(what, sigmas)
    decisions = decided(audit, TagStore.open(workspace), threshold)
    found, outcomes = _read(audit, decisions, some, sigmas), Outcomes(audit, decisions)
    left = outcomes.missing(kinds_of([part for part in some if part not in found]), sigmas)
    with _alone(audit) if left else contextlib.nullcontext():
        found |= _measure(outcomes, [part for part in some if part not in found], sigmas, report)
    tables = [found[part] for part in some]
    if what != "groups":
        tables.append(as_table(missing(audit, decisions)))
    return decisions.names.in_table(_joined(tables))


def make_outcomes(
    audit: Audit,
    decisions: Decisions,
    kinds: Sequence[str],
    *,
    model: Model | None = None,
    report: Reporter = silent,
) -> None:
    """Make outcomes that are missing; no other process does it at the same time.

    Parameters
    ----------
    kinds : as :data:`core.trials.outcomes.KEPT` names them.
    model : the loaded model, to save loading it here.

    Raises
    ------
    WorkspaceError
        If another process measures the same with the model right now.
    """
    outcomes = Outcomes(audit, decisions)
    with _alone(audit):
        outcomes.make(kinds, model=model, report=report)


def _alone(audit: Audit) -> contextlib.AbstractContextManager[None]:
    busy = f"audit {audit.name!r} is being measured by another process; wait for it"
    return locked(audit.files.outcomes_lock, busy)


def known(
    audit: Audit,
    decisions: Decisions,
    *,
    sigmas: Sequence[float] = (SIGMA,),
    quick: bool = True,
) -> pd.DataFrame:
    """Everything that is known about the tagged cues without loading a model.

    What follows from stored numbers is measured where it is missing: gaps and groups, and of noise
    and flips what was tried with these very tags; of the rest a row ``note`` says so.

    Parameters
    ----------
    quick : whether to measure gaps and groups where they are missing: a minute for a thousand
        classes.

    Returns
    -------
    The table of measures (:data:`core.measures.rows.COLUMNS`).
    """
    check("all", sigmas)
    every = parts()
    found = _read(audit, decisions, every, sigmas)
    if quick:
        outcomes = Outcomes(audit, decisions)
        left = [part for part in every if part not in found]
        quickly = [part for part in left if not outcomes.missing(kinds_of([part]), sigmas)]
        found |= _measure(outcomes, quickly, sigmas, silent)
    rows = missing(audit, decisions)
    rows += [
        note(
            f"{part} is not measured with these tags yet: python -m core measure {audit.name!r} "
            f"--what {part}"
        )
        for part in every
        if part not in found and decisions.spurious
    ]
    table = _joined([*(found[part] for part in every if part in found), as_table(rows)])
    return decisions.names.in_table(table)


def is_stored(
    audit: Audit, decisions: Decisions, part: str, sigmas: Sequence[float] = (SIGMA,)
) -> bool:
    """Whether a part was measured with these very decisions."""
    return _path(audit, decisions, part, sigmas).exists()


def _path(audit: Audit, decisions: Decisions, part: str, sigmas: Sequence[float]) -> Path:
    """Where a part lies if it was measured; another name for everything that changes it."""
    depends: dict[str, object] = {
        "version": VERSION,
        "audit": audit.manifest.fingerprint,
        "predictions": audit.head_key,
    }
    if part != "groups":
        depends |= {"spurious": decisions.spurious.plain, "core": decisions.core.plain}
        tagged = (decisions.spurious.keys_of, decisions.core.keys_of)
        kinds = {key.kind for of in tagged for keys in of.values() for key in keys}
        if found := found_in(audit.files, kinds):
            depends["found"] = found
    needed = kinds_of([part])
    if LEANS in needed:
        depends["maps"] = is_possible(audit)
    if WATERMARK in needed:
        depends["watermark"] = available()
    if NOISE in needed or MASKED in needed:
        depends["sigmas"] = [float(sigma) for sigma in sigmas]
    if part in MEASURES:
        depends["formula"] = MEASURES[part].version
    elif changed := {m.name: m.version for m in measured_in(part) if m.version > 1}:
        depends["formula"] = changed
    return audit.files.measure(part, _key(audit, part, depends))


def _key(audit: Audit, part: str, depends: dict[str, object]) -> str:
    """What a part depends on as the end of a name; groups, on the attributes of every image."""
    if part != "groups":
        return fingerprint(depends)
    return key_with_rows(audit, depends, "attributes", audit.summary.attributes)


def _read(
    audit: Audit, decisions: Decisions, some: Sequence[str], sigmas: Sequence[float]
) -> dict[str, pd.DataFrame]:
    """The parts that are stored."""
    paths = {part: _path(audit, decisions, part, sigmas) for part in some}
    return {part: read_frame(path, needed=COLUMNS) for part, path in paths.items() if path.exists()}


def _measure(
    outcomes: Outcomes, some: Sequence[str], sigmas: Sequence[float], report: Reporter
) -> dict[str, pd.DataFrame]:
    """Every part, from the disk or measured; what cannot be stored is returned all the same."""
    audit, decisions = outcomes.audit, outcomes.decisions
    found = _read(audit, decisions, some, sigmas)
    left = [part for part in some if part not in found]
    for part, rows in measure_parts(outcomes, left, sigmas=sigmas, report=report):
        found[part] = as_table(rows)
        with contextlib.suppress(WorkspaceError):  # a workspace that only shows
            _write(_path(audit, decisions, part, sigmas), found[part])
    if left:
        hand_back()  # figures over every image free a lot at once
    return found


def _write(path: Path, table: pd.DataFrame) -> None:
    write_frame(path, table)
    part = path.name.partition("-")[0]
    kept = sorted(path.parent.glob(f"{part}-*{path.suffix}"), key=lambda p: p.stat().st_mtime_ns)
    for old in kept[:-KEPT]:
        remove(old)


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables below each other; empty ones, whose columns have no type, are left out."""
    full = [table for table in tables if len(table)]
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame(columns=COLUMNS)
