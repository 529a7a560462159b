"""The local side of a workspace in a bucket: what was read of it, and what is written to it.

Below ``audits/`` of a local folder lies a file for every object, under its name. One that was not
read yet is a hole of the right size whose time of change lies before 1970; it is fetched when
storage first opens it. The time of change of every file says of which version of the object it is:
the second of the server, and in its fraction what changes with the content. So the folder needs no
index, several processes may share it, and all of it can be thrown away.

What is written is in the bucket before it has its name here, and the digests of a folder, which
make it believed, are written after everything else in it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from core.errors import WorkspaceError
from core.storage.bucket import Bucket, Version, in_parallel
from core.storage.disk import disk_errors, is_temporary, make_folder, temporary_beside
from core.storage.layout import DIGESTS, ENGINE, MANIFEST, PICTURES, SHARDS
from core.storage.local_copies import budget_asked, room_beside

AUDITS = "audits"
"""The only folder of a workspace that is in the bucket."""

FAR = 2**31
"""Seconds by which the time of change of a file is set back that was not fetched yet."""

SMALL = 2**16
"""Bytes up to which files of an audit are fetched as soon as it is opened, many at a time."""

FRESH = 15.0
"""Seconds after which this process looks again, in the background, what there is of an audit."""

LOOK = 2.0
"""Seconds for which this process takes what it saw of the shards of others for what there is."""

SLACK = 0.05
"""Seconds by which the clock of the disk may lag behind that of this process."""

INHERITED = "SPURIOSCOPE_MIRRORS"
"""Holds the mirrors of the process that started this one: its folder and its address, a line each.
"""


class Mirror:
    """What of a bucket lies in a folder of this machine.

    Parameters
    ----------
    root : the local folder of the workspace.
    """

    def __init__(self, root: Path, bucket: Bucket) -> None:
        self.root, self.bucket = root, bucket
        self.audits = root / AUDITS
        self._own: set[str] = set()
        self._seen: dict[str, float] = {}
        self._held: int | None = None
        self._markers: dict[Path, tuple[float, dict[str, Version]]] = {}
        """What was seen below folders of shards, and until when that counts."""
        self._guard = threading.RLock()

    @cached_property
    def budget(self) -> int:
        """Bytes of what was fetched; beyond them what was not read the longest goes again."""
        return budget_asked()

    @cached_property
    def token(self) -> bytes:
        """What tells this machine's folder from those of others."""
        path = self.root / "machine"
        with contextlib.suppress(FileExistsError), path.open("xb") as file:
            file.write(secrets.token_hex(16).encode())
        return path.read_bytes()

    def name(self, path: Path) -> str:
        """The object that a file is a copy of."""
        return path.relative_to(self.root).as_posix()

    # ------------------------------------------------------------------ what there is

    def refresh(self, audit_id: str = "", *, now: bool = False) -> None:
        """See what the bucket holds of an audit, or which audits there are.

        Parameters
        ----------
        now : wait for it, whenever that was seen last; else only the first time.
        """
        seen = self._seen.get(audit_id)
        if now or seen is None:
            self._see(audit_id)
        elif time.monotonic() - seen > FRESH and audit_id not in self._own:
            self._seen[audit_id] = time.monotonic()
            threading.Thread(target=self._see_later, args=(audit_id,), daemon=True).start()

    @contextlib.contextmanager
    def owned(self, folder: Path) -> Iterator[None]:
        """See what there is of an audit, which then nobody but this process writes to."""
        if folder.parent != self.audits:
            yield
            return
        self.refresh(folder.name, now=True)
        self._own.add(folder.name)
        try:
            yield
        finally:
            self._own.discard(folder.name)

    def _see_later(self, audit_id: str) -> None:
        with contextlib.suppress(WorkspaceError):  # what is here can be read all the same
            self._see(audit_id)

    def _see(self, audit_id: str) -> None:
        with self._guard:
            if audit_id:
                self._take(self.audits / audit_id, deep=True)
                self._bring_small(self.audits / audit_id)
            else:
                self._take_names()
            self._seen[audit_id] = time.monotonic()

    def _take_names(self) -> None:
        """A folder with a manifest for every audit, and none for those that are gone."""
        make_folder(self.audits)
        begun = time.time()
        names = self.bucket.folders(AUDITS)
        there = in_parallel(lambda name: self._take(self.audits / name, deep=False), names)
        kept = {name for name, found in zip(names, there, strict=True) if MANIFEST in found}
        for folder in self.audits.iterdir():
            if folder.name not in kept and not folder.name.startswith("."):
                self._let_go(folder, {}, begun)

    def _take(self, folder: Path, *, deep: bool) -> dict[str, Version]:
        """A file for every object below a folder, and none for those that are gone."""
        begun = time.time()
        found = self.bucket.every(self.name(folder), deep=deep)
        believed = {name: version for name, version in found.items() if _is_whole(name, found)}
        with disk_errors(folder):
            for name, version in believed.items():
                _place(folder / name, version, begun)
            if deep:
                self._let_go(folder, believed, begun)
        return believed

    def _let_go(self, folder: Path, found: Mapping[str, Version], begun: float) -> None:
        """Delete here what the bucket no longer has, and folders that nothing is left in."""
        for here, _, files in os.walk(folder, topdown=False):
            inside, before = Path(here), os.stat(here).st_ctime
            if PICTURES in inside.relative_to(folder).parts:
                continue
            for name in files:
                path = inside / name
                if path.relative_to(folder).as_posix() not in found and _is_shared(path):
                    _remove_unless_newer(path, begun)
            if before <= begun - SLACK:
                _remove_if_empty(inside)

    # ------------------------------------------------------------------ what is read

    def bring(self, paths: Sequence[Path]) -> None:
        """Fetch files that were not read yet."""
        wanted = [path for path in paths if is_far(path)]
        if wanted:
            self._make_room(sum(path.stat().st_size for path in wanted))
            in_parallel(self._fetch, wanted)

    def _fetch(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError), disk_errors(path):
            stamp = path.stat().st_mtime_ns
            if stamp >= 0:  # by another thread or process
                return
            temporary = temporary_beside(path)
            try:
                if not self.bucket.fetch(self.name(path), temporary):
                    path.unlink(missing_ok=True)
                    return
                os.utime(temporary, ns=(time.time_ns(), stamp + FAR * 10**9))
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def renew(self, path: Path) -> None:
        """Fetch a file and the digests beside it again, as the bucket has them now."""
        for name in (path.parent / DIGESTS, path):
            version, begun = self.bucket.version(self.name(name)), time.time() + 2 * SLACK
            if version is not None:
                _place(name, version, begun)
        self.bring([path.parent / DIGESTS, path])

    def _bring_small(self, folder: Path) -> None:
        paths = [path for path in folder.rglob("*") if is_far(path)]
        self.bring([path for path in paths if path.stat().st_size <= SMALL])

    def _make_room(self, wanted: int) -> None:
        """Let files go again that were not read the longest: within budget and disk is room."""
        with self._guard:
            if self._held is None:
                self._held = sum(status.st_size for _, status in self._here())
            most = min(self.budget, room_beside(self.root, self._held))
            self._held += wanted
            if self._held <= most:
                return
            for path, status in sorted(self._here(), key=lambda pair: pair[1].st_atime_ns):
                if self._held <= 0.9 * most:
                    return
                if status.st_size > SMALL:
                    _hollow(path, status.st_size, status.st_mtime_ns - FAR * 10**9)
                    self._held -= status.st_size

    def _here(self) -> list[tuple[Path, os.stat_result]]:
        files = [path for path in self.audits.rglob("*") if _is_shared(path) and path.is_file()]
        return [(p, status) for p in files if (status := p.stat()).st_mtime_ns >= 0]

    def ages(self, folder: Path) -> dict[str, float]:
        """Seconds since every object of a folder was written, by the clock of the server.

        They are here, too, as they are now.
        """
        name = self.name(folder)
        probe = f"{name}/{temporary_beside(folder / 'clock').name}"
        self.bucket.write(probe, b"")
        now = self.bucket.version(probe)
        self.bucket.delete([probe])
        found = self.bucket.every(name, deep=False)
        paths = [folder / each for each in found if not each.startswith(".")]
        for path in paths:
            _place(path, found[path.name], time.time() + 2 * SLACK)
        self.bring(paths)
        for path in set(filter(Path.is_file, folder.glob("[!.]*"))) - set(paths):
            path.unlink(missing_ok=True)
        return {p.name: now.changed - found[p.name].changed for p in paths} if now else {}

    def sealed(self, folder: Path) -> bool:
        """Whether the bucket has the digests of a folder, which is here, too, then.

        The folder around it is listed, since others of it are asked for at the same time.
        """
        around = folder.parent
        with self._guard:
            seen, found = self._markers.get(around, (0.0, {}))
            if time.monotonic() > seen:
                begun = time.monotonic()
                found = self.bucket.every(self.name(around))
                took = time.monotonic() - begun
                self._markers[around] = (begun + took + max(LOOK, 5 * took), found)
        if f"{folder.name}/{DIGESTS}" not in found:
            return False
        for name, version in found.items():
            if name.startswith(f"{folder.name}/"):
                _place(around / name, version, time.time())
        return True

    def look(self, path: Path) -> bool:
        """See one file as it is now; whether there is one."""
        version = self.bucket.version(self.name(path))
        if version is None:
            path.unlink(missing_ok=True)
            return False
        _place(path, version, time.time() + 2 * SLACK)
        self.bring([path])
        return True

    # ------------------------------------------------------------------ what is written

    def publish(self, temporary: Path, path: Path) -> None:
        """Store a complete file, which then gets its name here."""
        version = self.bucket.store(temporary, self.name(path))
        os.utime(temporary, ns=(time.time_ns(), _stamp(version)))

    def exchange(self, path: Path, content: bytes, tag: str) -> bool:
        """Replace a file that is still the object with this tag; whether it was."""
        if not self.bucket.exchange(self.name(path), content, tag):
            return False
        self.look(path)
        return True

    def publish_folder(self, temporary: Path, path: Path) -> bool:
        """Store a complete folder, its digests last; whether it is believed.

        A shard is the one that was there first: what came second is as good, and is dropped.
        """
        marker, names = f"{self.name(path)}/{DIGESTS}", sorted(p.name for p in temporary.iterdir())
        there = self.bucket.every(self.name(path), deep=False)
        if DIGESTS in there and path.parent.name == SHARDS:
            return False
        self.bucket.delete([marker] if DIGESTS in there else [])
        self.bucket.delete([f"{self.name(path)}/{name}" for name in there if name not in names])
        data = [name for name in names if name != DIGESTS]
        in_parallel(lambda name: self.publish(temporary / name, path / name), data)
        if not self.bucket.create(marker, (temporary / DIGESTS).read_bytes()):
            return False
        version = self.bucket.version(marker)
        if version is not None:
            os.utime(temporary / DIGESTS, ns=(time.time_ns(), _stamp(version)))
        return True

    def copy(self, source: Path, target: Path) -> None:
        """Copy an object to another name; what was read of it is not read again."""
        name = self.name(target)
        self.bucket.copy(self.name(source), name)
        version = self.bucket.version(name)
        if version is not None:
            _place(target, version, time.time() + 2 * SLACK)

    def withdraw(self, path: Path) -> None:
        """Delete a file, or all that is below a folder, whose digests go first."""
        name = self.name(path)
        self._markers.clear()
        below = [f"{name}/{inside}" for inside in self.bucket.every(name)]
        believed = [inside for inside in below if inside.endswith((f"/{DIGESTS}", f"/{MANIFEST}"))]
        self.bucket.delete(believed)
        self.bucket.delete([inside for inside in below if inside not in believed])
        if not below and self.bucket.version(name) is not None:
            self.bucket.delete([name])


# ---------------------------------------------------------------------- asked by storage


def _inherited() -> dict[str, Mirror]:
    lines = os.environ.get(INHERITED, "").splitlines()
    pairs = [line.rpartition(" ") for line in lines]
    return {root: Mirror(Path(root), Bucket(*at.split("://", 1))) for root, _, at in pairs}


_mirrors: dict[str, Mirror] = _inherited()


def attach(root: Path, bucket: Bucket) -> Mirror:
    """The mirror of a bucket in a folder, known to this process from now on."""
    mirror = _mirrors.get(str(root))
    if mirror is None or mirror.bucket != bucket:
        mirror = _mirrors[str(root)] = Mirror(root, bucket)
        lines = [f"{at} {each.bucket}" for at, each in _mirrors.items()]
        os.environ[INHERITED] = "\n".join(lines)
    return mirror


def rooted_at(root: Path, bucket: Bucket | None = None) -> Mirror | None:
    """The mirror that a folder is known to be, of this bucket where one is given."""
    mirror = _mirrors.get(str(root))
    return mirror if mirror and bucket in (None, mirror.bucket) else None


def mirror_of(path: Path) -> Mirror | None:
    """The mirror that a file or folder of an audit lies in; None where there is only the disk.

    What is unfinished, or hidden for another reason, is only on the disk.
    """
    for root, mirror in _mirrors.items():
        start, name = f"{root}{os.sep}{AUDITS}{os.sep}", str(path)
        if name.startswith(start):
            inside = name[len(start) - 1 :].replace(f"{os.sep}{ENGINE}", os.sep)
            return None if f"{os.sep}." in inside else mirror
    return None


def bring(paths: Iterable[Path]) -> None:
    """Have files here that are about to be opened."""
    if _mirrors and (wanted := list(paths)) and (mirror := mirror_of(wanted[0])):
        mirror.bring(wanted)


def is_far(path: Path) -> bool:
    """Whether a file is only in the bucket so far."""
    try:
        return path.stat().st_mtime_ns < 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def renew(path: Path) -> bool:
    """Have a file here that is not what its digest says; whether it may be another one now."""
    mirror = mirror_of(path)
    if mirror is not None:
        mirror.renew(path)
    return mirror is not None


def publish(temporary: Path, path: Path) -> None:
    """Store a complete file that is about to get its name."""
    if mirror := mirror_of(path):
        mirror.publish(temporary, path)


def copied(source: Path, target: Path) -> bool:
    """Copy a file within a bucket; False where it lies on the disk alone."""
    mirror = mirror_of(target)
    if mirror is not None:
        mirror.copy(source, target)
    return mirror is not None


def publish_folder(temporary: Path, path: Path) -> bool:
    """Store a complete folder that is about to get its name; False where another was first."""
    mirror = mirror_of(path)
    return mirror is None or mirror.publish_folder(temporary, path)


def is_sealed(folder: Path) -> bool:
    """Whether the bucket has the digests of a folder."""
    mirror = mirror_of(folder)
    return mirror is not None and mirror.sealed(folder)


def look(path: Path) -> None:
    """See a file as it is now, where other machines may have written or deleted it."""
    if mirror := mirror_of(path):
        mirror.look(path)


def withdraw(path: Path) -> None:
    """Delete in the bucket what is about to be deleted here."""
    if mirror := mirror_of(path):
        mirror.withdraw(path)


def refresh(path: Path) -> None:
    """See anew what the bucket holds of the audit that a path lies in."""
    if mirror := mirror_of(path):
        mirror.refresh(path.relative_to(mirror.audits).parts[0], now=True)


def _is_whole(name: str, found: Mapping[str, Version]) -> bool:
    """Whether the digests of its folder are there, so that an object is believed."""
    return f"{name.rpartition('/')[0]}/{DIGESTS}".lstrip("/") in found


def _is_shared(path: Path) -> bool:
    """Whether a file is one that the bucket has, too: no lock, no picture, nothing unfinished."""
    name = path.name
    live = ENGINE in path.parts[-4:-1]
    hidden = live or name.startswith(".") or name == "lock" or name.endswith(".lock")
    return not hidden and not is_temporary(path.parent) and PICTURES not in path.parts[-4:-1]


def _stamp(version: Version) -> int:
    """Time of change of a copy of an object, nanoseconds."""
    return int(version.changed) * 10**9 + int(version.tag, 16) % 10**6 * 1000


def _place(path: Path, version: Version, begun: float) -> None:
    """A hole for an object, unless there is the same version, or a file written since."""
    with contextlib.suppress(FileNotFoundError):
        status = path.stat()
        same = status.st_mtime_ns % (FAR * 10**9) == _stamp(version) % (FAR * 10**9)
        if (same and status.st_size == version.size) or status.st_ctime > begun - SLACK:
            return
    _hollow(path, version.size, _stamp(version) - FAR * 10**9)


def _hollow(path: Path, size: int, stamp: int) -> None:
    """Put a hole in the place of a file; who has it open keeps what was there."""
    make_folder(path.parent)
    temporary = temporary_beside(path)
    with temporary.open("wb") as file:
        file.truncate(size)
    os.utime(temporary, ns=(0, stamp))
    os.replace(temporary, path)


def _remove_unless_newer(path: Path, begun: float) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ctime <= begun - SLACK:
            path.unlink()


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
