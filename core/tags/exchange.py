"""Tags as files: ours (JSON, CSV, Parquet), the Salient ImageNet worker table, class lists."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyarrow import ArrowException

from core.candidates.kinds import KINDS
from core.candidates.linear_kinds import NEURON, PCA
from core.errors import InputError
from core.storage.files import dumps
from core.storage.spreadsheet import exported, form_of, unguarded, write_csv
from core.tags.database import MOMENT
from core.tags.entries import NewTag
from core.tags.people import LONGEST_CALLED, one_line, spelled, storable
from core.tags.votes import ADJUDICATION, GOLD, answers
from core.types import Subtype, Tag, count_of

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.tags.log import TagEvent, TagStore

OURS = [
    *("label", "kind", "component", "annotator", "tag", "subtype", "confidence", "reason", "at"),
    "called",
]
"""Columns of our tables: one row per annotator and candidate. Files of earlier versions have no
``called``; reading one leaves names as they are."""

WORKERS = [
    "WorkerId",
    "Input.wordnet_id",
    "Input.class_index",
    "Input.feature_index",
    "Input.feature_rank",
    "Answer.main",
    "Answer.confidence",
    "Answer.reasons",
]
"""Columns of the published worker table (Singla & Feizi 2022)."""

LONG = 80
"""Characters of a value that a message shows."""

WORKER_ANSWERS = {
    "main_object": (Tag.CORE, None),
    "separate_object": (Tag.SPURIOUS, Subtype.SEPARATE_OBJECT),
    "background": (Tag.SPURIOUS, Subtype.BACKGROUND),
}


@dataclass(frozen=True)
class Imported:
    """What a file says, ready to be appended."""

    rows: list[NewTag]
    """Arguments of :meth:`core.tags.log.TagStore.add_many`."""
    warnings: tuple[str, ...]
    format: str
    """``ours``, ``workers`` or ``classes``."""
    notes: tuple[str, ...] = ()
    """How the file was read, where that is not plain."""


def export_tags(events: Sequence[TagEvent], out: Path, *, annotators: bool) -> int:
    """Write standing tags as ``.json``, ``.csv`` or ``.parquet``; returns the number of rows.

    Without ``annotators`` people are called person 1, person 2, … in order of their names; gold
    questions and adjudications, which are no votes, keep theirs. In ``.csv`` a text that a
    spreadsheet would run begins with an apostrophe (:mod:`core.storage.spreadsheet`), which
    :func:`read_tags` takes off again.

    Raises
    ------
    InputError
        If the file name ends in anything else.
    """
    table = answers(events)[OURS]
    if not annotators:
        names = sorted(set(table["annotator"]) - {GOLD, ADJUDICATION})
        hidden = {n: f"person {i + 1}" for i, n in enumerate(names)}
        table["annotator"] = [hidden.get(name, name) for name in table["annotator"]]
    if out.suffix not in ENDINGS:
        raise InputError(f"--out {out}: the name must end in .json, .csv or .parquet")
    with exported(out) as temporary:
        if out.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        elif out.suffix == ".csv":
            write_csv(table, temporary)
        else:
            records = table.astype(object).where(table.notna(), None).to_dict("records")
            temporary.write_text(dumps({"tags": records}), encoding="utf-8")
    return len(table)


def read_tags(
    path: Path,
    *,
    outputs: Sequence[str],
    n_features: int,
    annotator: str,
    sizes: Mapping[str, Mapping[str, int]] | None = None,
) -> Imported:
    """Read a file of tags; its format is recognised by its columns.

    Parameters
    ----------
    outputs : raw label of every output of the audited head; a class index is a place in it.
    n_features : features of the encoder; any of them may be tagged as a neuron.
    annotator : who is noted where a file names nobody.
    sizes : by raw label, how many components and carried directions an audited class has; what
        lies beyond is refused. Without it every number is taken.

    Raises
    ------
    InputError
        If the file cannot be read, its columns are unknown, or a class, feature or answer in it
        does not exist; the message names the first such row.
    """
    content, notes = _load(path)
    if isinstance(content, Mapping):
        return _checked(path, _from_classes(path, content, outputs, annotator), sizes)
    if set(WORKERS[1:6]) <= set(content.columns):
        found = _from_workers(path, content, outputs, n_features, annotator)
        return replace(found, notes=notes)
    if {"label", "kind", "component", "tag"} <= set(content.columns):
        found = _from_ours(path, content, outputs, n_features, annotator)
        return replace(_checked(path, found, sizes), notes=notes)
    raise InputError(
        f"{path}: columns {', '.join(map(_header, content.columns[:8]))} are no known table "
        f"of tags; needed are {', '.join(OURS[:5])} or {', '.join(WORKERS[:6])}"
    )


def take_in(
    audit: Audit, store: TagStore, path: Path, annotator: str, *, alone: bool = False
) -> tuple[Imported, int]:
    """Read a file of tags of an audit and append them; how many were new.

    Parameters
    ----------
    annotator : who is noted where the file names nobody.
    alone : refuse tags of anybody else.

    Raises
    ------
    InputError
        Like :func:`read_tags`, or for tags of others; nothing was appended.
    WorkspaceError
        If this process may not tag.
    """
    classes = {f.label: {kind: audit.count(f, kind) for kind in KINDS} for f in audit.classes}
    read = read_tags(
        path,
        outputs=audit.head.outputs,
        n_features=audit.head.weight.shape[1],
        annotator=annotator,
        sizes=classes,
    )
    others = {row.annotator for row in read.rows} - {annotator}
    if alone and others:
        raise InputError(
            f"{path} has tags of {one_line(min(others))}, and you are signed in as {annotator}: "
            "leave them out, or let who keeps the workspace read them with tags import"
        )
    return read, store.add_many(audit.id, read.rows)


def take_in_upload(
    audit: Audit, store: TagStore, name: str, content: bytes, annotator: str, *, alone: bool
) -> tuple[Imported, int]:
    """The same of what a page was given; its messages name the file as its owner does."""
    suffix = Path(name).suffix.lower()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"tags{suffix if suffix in ENDINGS else '.json'}"
        path.write_bytes(content)
        try:
            return take_in(audit, store, path, annotator, alone=alone)
        except InputError as error:
            raise InputError(str(error).replace(str(path), one_line(name))) from error


ENDINGS = (".json", ".csv", ".parquet")
"""Of the names of files of tags."""


def _checked(
    path: Path, found: Imported, sizes: Mapping[str, Mapping[str, int]] | None
) -> Imported:
    """Refuse components that a class does not have."""
    for place, row in enumerate(found.rows if sizes is not None else ()):
        kind, have = row.kind, (sizes or {}).get(row.label, {})
        if kind != NEURON and row.component >= have.get(kind, 0):
            raise InputError(
                f"{path}, entry {place + 1}: {kind} {row.component} of class "
                f"{row.label!r} does not exist; the class has {have.get(kind, 0)} of that kind, "
                "counted from 0; nothing was imported"
            )
    return found


def _load(path: Path) -> tuple[pd.DataFrame | Mapping[str, Any], tuple[str, ...]]:
    """What a file holds, and how it was read."""
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; a file of tags is needed")
        if suffix == ".parquet":
            return _plain(path, _load_parquet(path)), ()
        if suffix == ".csv":
            table, notes = _load_csv(path)
            return _plain(path, table), notes
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else "damaged"
        raise InputError(
            f"{path} cannot be read ({why}); check the name, or save it again"
        ) from error
    except (ValueError, RecursionError, OverflowError, ArrowException) as error:
        kind = {".parquet": "Parquet", ".csv": "CSV"}.get(suffix, "JSON")
        raise InputError(
            f"{path} cannot be read as a table of tags: it is no {kind} file in UTF-8 that says "
            f"everything once, or damaged{_where(error)}; save it again"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("tags"), list):
        if not all(isinstance(row, dict) for row in content["tags"]):
            raise InputError(f'{path}: "tags" must be a list of objects, one per answer')
        rows = [{k: _text(v) for k, v in row.items()} for row in content["tags"]]
        return pd.DataFrame(rows, columns=None if rows else OURS, dtype=object), ()
    if isinstance(content, dict):
        return content, ()
    raise InputError(f'{path}: expected {{"tags": […]}} or {{"class": [components]}}')


def _where(error: Exception) -> str:
    """Where a JSON file stops being one, as far as that is known."""
    if not isinstance(error, json.JSONDecodeError):
        return ""
    return f" (first at line {error.lineno}, column {error.colno})"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; one that names something twice would lose the first of both."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _load_csv(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A CSV file, and how it was read; "NA" may be a person's name, or what somebody wrote."""
    texts = ("label", "annotator", "reason", "at", "called", "WorkerId", "Answer.reasons")
    form = form_of(path)
    table = pd.read_csv(
        path,
        encoding=form.encoding,
        sep=form.separator,
        decimal=form.decimal,
        dtype=dict.fromkeys(texts, str),
        keep_default_na=False,
        na_values=[""],
    )
    kept = _without_empty_rows(table)
    empty = len(table) - len(kept)
    notes = (
        *form.notes,
        *([f"{count_of(empty, 'empty row is', 'empty rows are')} left out."] if empty else []),
    )
    return kept.assign(**{t: kept[t].map(unguarded) for t in texts if t in kept}), notes


def _without_empty_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Without the rows that spreadsheets write below a table; whole numbers are whole again."""
    kept = table.dropna(how="all", ignore_index=True)
    if len(kept) == len(table):
        return table
    floats = [name for name in kept if kept[name].dtype.kind == "f" and kept[name].notna().all()]
    whole = [name for name in floats if (kept[name] % 1 == 0).all()]
    return kept.astype(dict.fromkeys(whole, "int64"))


def _load_parquet(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path).reset_index(drop=True)


def _plain(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """A table of numbers and texts; whatever else a cell holds is a text, too."""
    for name in (*OURS, *WORKERS):
        if f"{name}.1" in table.columns:  # as pandas calls the second of a name in CSV
            raise InputError(f"{path}: column {name} stands twice; leave one of them out")
    others = [name for name in table.columns if table[name].dtype.kind not in "iuf"]
    return table.assign(**{str(n): table[n].astype(object).map(_text) for n in others})


def _from_ours(
    path: Path, table: pd.DataFrame, outputs: Sequence[str], n_features: int, annotator: str
) -> Imported:
    names = "called" in table
    table = table.reindex(columns=OURS)
    known = set(outputs)
    tags, subtypes = ({e.value for e in E} for E in (Tag, Subtype))
    component = pd.to_numeric(table["component"], errors="coerce")
    confidence = pd.to_numeric(table["confidence"], errors="coerce").astype("float64")
    spurious = table["tag"] == Tag.SPURIOUS.value
    neuron = table["kind"] == NEURON
    _refuse(path, table, ~table["label"].astype(str).isin(known), "label", "is no class here")
    _refuse(path, table, ~table["kind"].isin(KINDS), "kind", f"is not {', '.join(KINDS)}")
    _refuse(path, table, ~table["tag"].isin(tags), "tag", "is not core, spurious or unsure")
    bad = ~_whole(component) | (component < 0) | (neuron & (component >= n_features))
    _refuse(path, table, bad, "component", f"does not exist (features: 0 to {n_features - 1})")
    bad = table["subtype"].notna() & ~(table["subtype"].isin(subtypes) & spurious)
    _refuse(path, table, bad, "subtype", "is no subtype of a spurious tag")
    bad = table["confidence"].notna() & ~(confidence.between(1, 5) & _whole(confidence))
    _refuse(path, table, bad, "confidence", "is not 1, 2, 3, 4 or 5")
    bad = table["at"].map(lambda at: len(_said(at) or "") > MOMENT)
    _refuse(path, table, bad.astype(bool), "at", "is no moment: it is too long")
    bad = table["called"].map(lambda name: len(spelled(_said(name) or "")) > LONGEST_CALLED)
    _refuse(path, table, bad.astype(bool), "called", f"has more than {LONGEST_CALLED} characters")
    rows = [
        NewTag(
            annotator=_said(row["annotator"]) or annotator,
            label=str(row["label"]),
            kind=row["kind"],
            component=int(component.iloc[i]),
            tag=row["tag"],
            subtype=_said(row["subtype"]),
            confidence=None if np.isnan(confidence.iloc[i]) else int(confidence.iloc[i]),
            reason=_said(row["reason"]),
            at=_said(row["at"]),
            called=(_said(row["called"]) or "") if names else None,
        )
        for i, row in enumerate(table.to_dict("records"))
    ]
    return Imported(rows, (), "ours")


def _whole(values: pd.Series) -> pd.Series:
    """Which are whole numbers that a database can hold."""
    held = values.abs() < 2**31
    return held & (values.where(held) % 1 == 0)


def _from_workers(
    path: Path, table: pd.DataFrame, outputs: Sequence[str], n_features: int, annotator: str
) -> Imported:
    table = table.reindex(columns=WORKERS)
    index = pd.to_numeric(table["Input.class_index"], errors="coerce")
    feature = pd.to_numeric(table["Input.feature_index"], errors="coerce")
    confidence = pd.to_numeric(table["Answer.confidence"], errors="coerce").astype("float64")
    what = f"is no output of this head (0 to {len(outputs) - 1})"
    bad = ~(index.between(0, len(outputs) - 1) & _whole(index))
    _refuse(path, table, bad, "Input.class_index", what)
    what = f"is no feature of this encoder (0 to {n_features - 1})"
    bad = ~(feature.between(0, n_features - 1) & _whole(feature))
    _refuse(path, table, bad, "Input.feature_index", what)
    known = table["Answer.main"].isin(WORKER_ANSWERS)
    _refuse(path, table, ~known, "Answer.main", f"is none of {', '.join(WORKER_ANSWERS)}")
    labels = np.array(outputs, dtype=object)[index.astype(int)]
    wnid = table["Input.wordnet_id"]
    other = wnid.notna() & (wnid.astype(str) != labels) & pd.Series(labels).str.match(r"n\d{8}$")
    warnings: tuple[str, ...] = ()
    if other.any():
        first = int(np.flatnonzero(other)[0])
        warnings = (
            f"{int(other.sum())} rows name another WordNet id than the head's output, for example "
            f"row {first + 2}: {wnid.iloc[first]} for output {index.iloc[first]:.0f}, which is "
            f"{labels[first]}; the class index was used",
        )
    unclear = table["Answer.confidence"].notna() & ~(confidence.between(1, 5) & _whole(confidence))
    if unclear.any():
        first = int(np.flatnonzero(unclear)[0])
        warnings += (
            f"{count_of(int(unclear.sum()), 'row has', 'rows have')} a confidence that is not 1, "
            f"2, 3, 4 or 5, which is left out, for example row {first + 2}: "
            f"{_shown(table['Answer.confidence'].iloc[first])}",
        )
    rows = []
    for i, row in enumerate(table.to_dict("records")):
        tag, subtype = WORKER_ANSWERS[row["Answer.main"]]
        sure = confidence.iloc[i]
        rows.append(
            NewTag(
                annotator=_said(row["WorkerId"]) or annotator,
                label=labels[i],
                kind=NEURON,
                component=int(feature.iloc[i]),
                tag=tag.value,
                subtype=subtype.value if subtype else None,
                confidence=None if np.isnan(sure) or unclear.iloc[i] else int(sure),
                reason=_said(row["Answer.reasons"]),
            )
        )
    return Imported(rows, warnings, "workers")


def _from_classes(
    path: Path, content: Mapping[str, Any], outputs: Sequence[str], annotator: str
) -> Imported:
    """``{"class": [component, …]}``: those components are spurious; a class by label or index."""
    rows = []
    for name, components in content.items():
        label = name if name in outputs else None
        if label is None and name.isdecimal() and name.isascii() and int(name) < len(outputs):
            label = outputs[int(name)]
        if label is None or not isinstance(components, list):
            raise InputError(
                f"{path}: {name!r} is no class of this audit with a list of components"
            )
        for component in components:
            if type(component) is not int or not 0 <= component < 2**31:
                raise InputError(f"{path}: {component!r} of class {name!r} is no component")
            rows.append(
                NewTag(
                    annotator=annotator,
                    label=label,
                    kind=PCA,
                    component=component,
                    tag=Tag.SPURIOUS.value,
                )
            )
    return Imported(rows, (), "classes")


def _refuse(path: Path, table: pd.DataFrame, bad: pd.Series, column: str, what: str) -> None:
    if bad.any():
        first = int(np.flatnonzero(bad.to_numpy())[0])
        raise InputError(
            f"{path}, row {first + 2}: {column} {_shown(table[column].iloc[first])} {what} "
            f"({int(bad.sum())} such rows); nothing was imported"
        )


def _header(name: object) -> str:
    return one_line(name)[:LONG]


def _shown(value: Any) -> str:
    """A value of a table as it stands in the file, its beginning if it is long."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= LONG else f"{text[:LONG]}…"


def _said(value: Any) -> str | None:
    if value is None or value is pd.NA or value != value or value == "":
        return None
    return str(value)


def _text(value: Any) -> Any:
    """A cell: a number or nothing as it is, a text that databases hold, of all else its text."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return value
    return storable(str(value))
