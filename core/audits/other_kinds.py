"""Candidates of the kinds that are found beside components and neurons, class by class.

Each class has a folder of each kind, so that a kind that is added later, or maps that are kept
later, change nothing of what there is. All of a kind are found again when what they were computed
from changes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from core.audits.class_files import named_table, write_kind
from core.candidates.kinds import KINDS, CandidateKind, Found
from core.candidates.search import ClassImages, measured
from core.errors import WorkspaceError
from core.storage.files import read_frame, read_json, there, write_json
from core.storage.layout import AuditFiles
from core.storage.workspace import fingerprint


def searched() -> list[CandidateKind]:
    """The kinds that are found in the images of a class and stored apart."""
    return [kind for kind in KINDS.values() if type(kind).find is not CandidateKind.find]


def are_current(files: AuditFiles, key: str, counts: Mapping[str, int]) -> bool:
    """Whether every kind was found in what ``key`` stands for, as many as were asked for."""
    return all(_stored_key(files, kind) == _key(kind, key, counts) for kind in searched())


def renew(files: AuditFiles, key: str, counts: Mapping[str, int]) -> None:
    """Take away the candidates that were found in something else, or of which others are wanted."""
    for kind in searched():
        if _stored_key(files, kind) != (wanted := _key(kind, key, counts)):
            for folder in files.found.glob(f"{kind.name}-*"):
                shutil.rmtree(folder)
            write_json(files.kind_key(kind.name), wanted)


def found_in(files: AuditFiles, kinds: Iterable[str]) -> dict[str, str]:
    """What the candidates of some kinds were found in, as a key each, of those stored apart.

    Found anew, in other maps or as many as were asked for, number 2 may be another candidate.
    """
    names = set(kinds)
    apart = [kind for kind in searched() if kind.name in names]
    return {kind.name: _stored_key(files, kind) for kind in apart}


def _key(kind: CandidateKind, key: str, counts: Mapping[str, int]) -> str:
    asked = {"count": counts[kind.name]} if kind.name in counts else {}
    return fingerprint({"kind": kind.name, "version": kind.version, "of": key, **asked})


def _stored_key(files: AuditFiles, kind: CandidateKind) -> str:
    try:
        return str(read_json(files.kind_key(kind.name), str))
    except WorkspaceError:
        return ""


def of_class(
    files: AuditFiles, output: int, name: str, images: Callable[[], ClassImages]
) -> list[pd.DataFrame]:
    """The tables of candidates of a class, by kind; what is missing is found.

    Parameters
    ----------
    output : of the class; name : as it is displayed.
    images : reads the class; called where something is missing.
    """
    tables, read = [], None
    for kind in searched():
        stored = files.of_kind(kind.name, output)
        if not there(stored.facts):
            read = read or images()
            found = kind.find(read) or Found.nothing(len(read.image_ids))
            table = measured(read, kind.name, found)
            write_kind(stored, found, named_table(table, read.image_ids, output, name))
        tables.append(read_frame(stored.candidates))
    return tables
