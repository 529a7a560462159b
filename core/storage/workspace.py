"""The workspace that holds the audits: which there are, by name and by id."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.config import FORMAT
from core.errors import WorkspaceError
from core.storage import mirror
from core.storage.amendments import amend
from core.storage.audit_manifest import Manifest
from core.storage.bucket import Bucket, is_address
from core.storage.files import (
    ELSEWHERE,
    MEND,
    damaged,
    disk_errors,
    locked,
    plain,
    read_json,
    remove_unfinished,
    temporary_beside,
    write_json,
)
from core.storage.json_values import JsonValue, Mismatch
from core.storage.layout import MANIFEST as MANIFEST_FILE
from core.storage.layout import AuditFiles
from core.storage.local_copies import budget_asked, shortage
from core.storage.roles import refuse_unless_may_run

BOUND = "bucket.json"
"""Says in a local folder which bucket it goes with."""

NAME = re.compile(r"[^\x00-\x1f/\\]{1,120}")


def fingerprint(parts: Mapping[str, Any] | JsonValue) -> str:
    """16 hex digits that change whenever a part does."""
    text = json.dumps(plain(parts), sort_keys=True, ensure_ascii=False)
    encoded = text.encode("utf-8", "backslashreplace")
    return hashlib.blake2b(encoded, digest_size=8).hexdigest()


def differences(
    old: Mapping[str, Any] | JsonValue, new: Mapping[str, Any] | JsonValue
) -> list[str]:
    """Which parts of two fingerprints differ, as ``part was …, now …``; of nested ones which."""
    was, now = plain(old), plain(new)
    return [
        said
        for part in sorted({*was, *now})
        if was.get(part) != now.get(part)
        for said in _differing(part, _value(old, was, part), _value(new, now, part))
    ]


def _differing(part: str, was: object, now: object) -> list[str]:
    if not (isinstance(was, Mapping) and isinstance(now, Mapping)):
        return [f"{part} was {_short(was)}, now {_short(now)}"]
    changed = [key for key in sorted({*was, *now}) if was.get(key) != now.get(key)]
    return [
        said for key in changed for said in _differing(f"{part} {key}", was.get(key), now.get(key))
    ]


def _short(value: object) -> str:
    """A value to read: numbers to four digits, digests by their first twelve characters."""
    match value:
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return f"[{', '.join(map(_short, value))}]"
        case str() if len(value) >= 32 and set(value) <= set("0123456789abcdef"):
            return value[:12]
    return str(value)


def _value(value: Mapping[str, Any] | JsonValue, written: Mapping[str, Any], part: str) -> object:
    """A part; one that is not written is as it is without it being said."""
    entries = value.entries() if isinstance(value, JsonValue) else {}
    unsaid = entries[part].default if part in entries else None
    return written.get(part, unsaid or None)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an audit by its folder, whose name is its id.

    Raises
    ------
    WorkspaceError
        If it is missing or damaged.
    """
    path = AuditFiles(folder).manifest
    found = path.stat() if path.exists() else None
    return _read_manifest(path, found and (found.st_mtime_ns, found.st_size, found.st_ino))


@lru_cache(maxsize=4096)
def _read_manifest(path: Path, state: tuple[int, int, int] | None) -> Manifest:
    """A manifest as the file is in this state: every page lists all of them."""
    del state  # part of the key only
    try:
        return Manifest.of_folder(read_json(path), path.parent.name)
    except Mismatch as odd:
        raise damaged(path, f"is no manifest of an audit ({odd})") from odd


def amend_manifest(folder: Path, change: Callable[[Manifest], Manifest]) -> Manifest:
    """Change the manifest of an audit, which other processes may change meanwhile.

    Parameters
    ----------
    change : given the manifest as it is; called again where it is another one by then.

    Raises
    ------
    WorkspaceError
        If it is missing, damaged or cannot be written.
    """
    path, made = AuditFiles(folder).manifest, []

    def changed(found: object) -> Manifest:
        try:
            made.append(change(Manifest.of_folder(found, folder.name)))
        except Mismatch as odd:
            raise damaged(path, f"is no manifest of an audit ({odd})") from odd
        return made[-1]

    read_manifest(folder)  # says what is wrong with it
    amend(path, changed)
    return made[-1]


class Workspace:
    """The folder that holds every audit, tag and job.

    ``audits/<id>/manifest.json`` says what an audit is; its other files are described where they
    are written (:mod:`core.features.shards`, :mod:`core.audits.analysis`).
    """

    def __init__(self, root: Path, database: str | None = None) -> None:
        self.root = root.expanduser().absolute()
        self.database = database
        """URL of the database that holds the tags; None: a file of the workspace."""
        self._mirror = mirror.rooted_at(self.root)
        if self._mirror is None and (address := bound_to(self.root)):
            raise WorkspaceError(
                f"{self.root} holds what this machine keeps of {address}; give --workspace "
                f"{address} --local {self.root}"
            )

    @classmethod
    def default(
        cls,
        root: str | Path | None = None,
        database: str | None = None,
        local: str | Path | None = None,
    ) -> Workspace:
        """The given folder or bucket and database, else those that the environment names.

        ``$SPURIOSCOPE_WORKSPACE``, else ``./workspace``; ``$SPURIOSCOPE_DATABASE``, else a file of
        the workspace; for what cannot be in a bucket ``$SPURIOSCOPE_LOCAL``.
        """
        root = root or os.environ.get("SPURIOSCOPE_WORKSPACE") or "workspace"
        if is_address(root):
            root = local_side(str(root), local or os.environ.get("SPURIOSCOPE_LOCAL"))
        return cls(Path(root), database or os.environ.get("SPURIOSCOPE_DATABASE") or None)

    @property
    def place(self) -> str:
        """Where its audits are: the folder, or the address of the bucket."""
        return str(self._mirror.bucket if self._mirror else self.root)

    @property
    def note(self) -> str:
        """What is to be known of its place on this machine, in a sentence; mostly nothing."""
        if not self._mirror:
            return ""
        return shortage(self.root, str(self._mirror.bucket), self._mirror.budget)

    @property
    def arguments(self) -> list[str]:
        """The options that name it on a command line; the database is named by the environment."""
        local = ["--local", str(self.root)] if self._mirror else []
        return ["--workspace", self.place, *local]

    @property
    def audits(self) -> Path:
        """Folder of the audits."""
        return self.root / "audits"

    def folder(self, audit_id: str) -> Path:
        """Folder of one audit."""
        if self._mirror:
            self._mirror.refresh(audit_id)
        return self.audits / audit_id

    def files(self, audit_id: str) -> AuditFiles:
        """Files of one audit."""
        return AuditFiles(self.folder(audit_id))

    def require_writable(self) -> None:
        """Raise WorkspaceError unless files can be made here."""
        probe = temporary_beside(self.root / "probe")
        try:
            with disk_errors(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
                probe.touch()
                probe.unlink()
        except FileNotFoundError as error:  # places like /proc
            raise WorkspaceError(f"cannot make the folder {self.root}; {ELSEWHERE}") from error

    def manifests(self) -> list[Manifest]:
        """Every audit's manifest, newest first; a damaged one is left out.

        The id is the folder's name, so that a copied audit is one of its own.
        """
        found, _ = self._read_manifests()
        return sorted(found, key=lambda m: (m.created, m.id), reverse=True)

    def unreadable(self) -> dict[str, str]:
        """Why, by id, for every audit whose manifest is damaged."""
        return self._read_manifests()[1]

    def _read_manifests(self) -> tuple[list[Manifest], dict[str, str]]:
        found, damaged = [], {}
        if self._mirror:
            self._mirror.refresh()
        with disk_errors(self.audits):
            paths = sorted(self.audits.glob(f"[!.]*/{MANIFEST_FILE}"))
        for path in paths:
            try:
                found.append(read_manifest(path.parent))
            except WorkspaceError as error:
                damaged[path.parent.name] = str(error)
        return found, damaged

    def find(self, audit: str) -> Manifest:
        """The manifest of an audit by its name or by a prefix of its id.

        Raises
        ------
        WorkspaceError
            If none or several match, or its format is another version's.
        """
        manifest = self._matching(audit)
        if manifest.format != FORMAT:
            raise WorkspaceError(
                f"audit {audit!r} was written in format {manifest.format}, this version "
                f"reads format {FORMAT}; delete it, or run the audit again under another name"
            )
        return manifest

    def _matching(self, audit: str) -> Manifest:
        """The manifest that :meth:`find` means, of any format."""
        manifests = self.manifests()
        matches = [m for m in manifests if m.name == audit] or [
            m for m in manifests if audit and m.id.startswith(audit)
        ]
        if len(matches) != 1:
            names = ", ".join(m.name for m in manifests[:8]) or "none yet"
            what = "matches several audits" if matches else "names no audit"
            hidden = len(self.unreadable())
            more = f"; {hidden} more cannot be read: {MEND}" if hidden else ""
            raise WorkspaceError(f"{audit!r} {what} in {self.place}; audits there: {names}{more}")
        return matches[0]

    def named(self, name: str) -> Manifest | None:
        """The manifest of the audit with exactly this name, if there is one."""
        return next((m for m in self.manifests() if m.name == name), None)

    def new_id(self, name: str, parts: Mapping[str, Any] | JsonValue) -> str:
        """An id for a new audit: the same name and fingerprint give the same id.

        A folder without a manifest, or with a damaged one, is this very audit, killed before it
        began or damaged since, and is used again.
        """
        for attempt in range(1000):
            audit_id = fingerprint({"name": name, "parts": parts, "attempt": attempt})[:12]
            try:
                read_manifest(self.folder(audit_id))
            except WorkspaceError:
                return audit_id
        raise WorkspaceError(f"no free id for audit {name!r} in {self.root}")

    def rename(self, audit: str, name: str) -> Manifest:
        """Give an audit another name; its id stays."""
        refuse_unless_may_run()
        manifest = self.find(audit)
        check_name(name)
        if (other := self.named(name)) and other.id != manifest.id:
            raise WorkspaceError(f"an audit named {name!r} exists already; choose another name")
        return self.update(manifest.id, name=name)

    def update(self, audit_id: str, **changes: Any) -> Manifest:
        """Change entries of an audit's manifest; returns the new manifest."""
        return amend_manifest(self.folder(audit_id), lambda found: replace(found, **changes))

    def delete(self, audit: str) -> Manifest:
        """Delete an audit's files; its tags stay in the database.

        Raises
        ------
        WorkspaceError
            If the audit is being computed right now.
        """
        refuse_unless_may_run()
        manifest = self._matching(audit)
        folder = self.folder(manifest.id)
        busy = f"audit {manifest.name!r} is being computed; cancel it first"
        with locked(AuditFiles(folder).lock, busy), disk_errors(folder):
            mirror.withdraw(folder)
            os.replace(folder, temporary_beside(folder))
        remove_unfinished(self.audits)
        return manifest


def bound_to(root: Path) -> str:
    """Address of the bucket that a folder keeps copies of; empty for any other folder."""
    path = root / BOUND
    return str(read_json(path, {"workspace": str})["workspace"]) if os.path.exists(path) else ""


def local_side(address: str, folder: str | Path | None) -> Path:
    """The folder of this machine that goes with a workspace in a bucket.

    Raises
    ------
    InputError
        If the address is none, no folder is given, or its budget is no size.
    WorkspaceError
        If the folder goes with another workspace, or the bucket cannot be reached.
    """
    bucket = Bucket.of(address)
    budget_asked()
    if not folder:
        raise WorkspaceError(
            f"{bucket} is a bucket: jobs, copies of what is read and, without --database URL, tags "
            "need a folder of this machine; give --local DIR (or $SPURIOSCOPE_LOCAL), and keep it "
            "where no database is given: the tags are in it"
        )
    root = Path(folder).expanduser().absolute()
    if mirror.rooted_at(root, bucket):
        return root
    bound = bound_to(root)
    if bound not in ("", str(bucket)) or (not bound and (root / mirror.AUDITS).exists()):
        raise WorkspaceError(
            f"{root} holds audits of {bound or 'its own'}; give an empty folder with --local DIR"
        )
    bucket.require()
    if not bound:
        write_json(root / BOUND, {"workspace": str(bucket)})
    mirror.attach(root, bucket)
    return root


def check_name(name: str) -> str:
    """Return ``name`` if an audit may be called so.

    Raises
    ------
    WorkspaceError
        If it is empty, longer than 120 characters, or holds a slash or control character.
    """
    if not NAME.fullmatch(name) or name != name.strip() or name.startswith((".", "-")):
        raise WorkspaceError(
            f"{name!r} cannot be the name of an audit: use 1 to 120 characters without slashes, "
            "not starting with a dot or dash"
        )
    return name
