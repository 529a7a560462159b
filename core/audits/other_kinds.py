"""Candidates of the kinds that are found beside components and neurons, class by class.

Each class has a folder of each kind, so that a kind that is added later, or maps that are kept
later, change nothing of what there is. All of a kind are found again when what they were computed
from changes; kinds that are found only where somebody asks are taken away then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b

import pandas as pd

from core.audits.class_files import OWN, named_table, write_kind
from core.candidates.kinds import KINDS, CandidateKind, Found
from core.candidates.search import ClassImages, measured
from core.errors import WorkspaceError
from core.storage.files import read_array, read_frame, read_json, remove, there, write_json
from core.storage.layout import AuditFiles, KindFiles
from core.storage.workspace import fingerprint


def searched() -> list[CandidateKind]:
    """The kinds that are found in the images of a class and stored apart."""
    return [kind for kind in KINDS.values() if type(kind).find is not CandidateKind.find]


def asked() -> list[CandidateKind]:
    """The kinds that are found where somebody asks, and stored like the others."""
    return [kind for kind in KINDS.values() if kind.asked]


def are_current(files: AuditFiles, key: str, counts: Mapping[str, int]) -> bool:
    """Whether every kind was found in what ``key`` stands for, as many as were asked for."""
    return all(_stored_key(files, kind) == _key(kind, key, counts) for kind in searched())


def renew(files: AuditFiles, key: str, counts: Mapping[str, int]) -> None:
    """Take away the candidates that were found in something else, or of which others are wanted."""
    for kind in searched():
        if (stored := _stored_key(files, kind)) != (wanted := _key(kind, key, counts)):
            for folder in files.found.glob(f"{kind.name}-*"):
                remove(folder)
            if stored:
                write_json(files.found_anew, {**found_anew(files), kind.name: wanted})
            write_json(files.kind_key(kind.name), wanted)


def found_anew(files: AuditFiles) -> dict[str, str]:
    """The kinds whose candidates were others before, with a key of what they were found in.

    What was said of number 2 is said of another candidate since.
    """
    there = files.found_anew.exists()
    return dict(read_json(files.found_anew, dict)) if there else {}


def found_in(files: AuditFiles, kinds: Iterable[str]) -> dict[str, str]:
    """What the candidates of some kinds were found in, as a key each, of those stored apart.

    Found anew, in other maps or as many as were asked for, number 2 may be another candidate.
    """
    names = set(kinds)
    apart = [kind for kind in (*searched(), *asked()) if kind.name in names]
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
    for kind in asked():
        stored = files.of_kind(kind.name, output)
        if there(stored.facts):
            read = read or images()
            if is_found_in(stored, read):
                tables.append(read_frame(stored.candidates))
            else:
                remove(stored.folder)
    return tables


FOUND_IN, ASKED = "found_in", "asked"
"""Names under which kinds that are asked for keep in what they were found, and how."""


def digest(images: ClassImages) -> str:
    """Changes with the images of a class, their features and maps, and the head."""
    given = images.given
    arrays = (given.features, given.train, images.mapped, images.weight)
    parts = [blake2b(array.tobytes(), digest_size=8).hexdigest() for array in arrays]
    return fingerprint({"ids": images.image_ids, "arrays": parts, "classes": list(images.classes)})


def is_found_in(stored: KindFiles, images: ClassImages) -> bool:
    """Whether the stored candidates of a kind that is asked for were found in these images."""
    try:
        kept = read_array(stored.array(f"{OWN}{FOUND_IN}"))
    except WorkspaceError:
        return False
    return str(kept[0]) == digest(images)
