"""Objects of a bucket, under an address such as ``s3://bucket/prefix``, through fsspec.

Credentials are those that the environment gives to the driver (``AWS_ACCESS_KEY_ID`` and the like);
none is read, kept or repeated here, and what a driver says is never repeated either.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

from core.errors import InputError, WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fsspec import AbstractFileSystem

S = TypeVar("S")
T = TypeVar("T")

DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
"""Package that reaches the buckets of a scheme; the extra bears the scheme's name."""

ONLY_NEW: Mapping[str, Mapping[str, object]] = {"az": {"overwrite": False}}
"""What a driver is told so that an object is made only where there is none; by default a mode."""

CHANGED = {"ResourceModifiedError", "ResourceNotFoundError"}
"""Errors of drivers, beside what :func:`_is_taken` knows, about what is another object by now."""

AT_ONCE = 16
"""Objects that are fetched or stored at the same time."""

TAGS = ("ETag", "etag", "generation", "md5Hash", "mtime", "created")
"""What drivers call that which changes with an object."""

TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
"""What they call the time at which it was written, by the clock of the server."""

DENIED = {
    *("PermissionError", "NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError"),
    *("CredentialRetrievalError", "ClientAuthenticationError", "DefaultCredentialsError"),
    *("RefreshError", "UnauthorizedSSOTokenError"),
}
"""Errors of drivers about credentials."""

GONE = {"ResourceNotFoundError"}
"""Errors of drivers, beside FileNotFoundError, about what is not there."""

CODES = ("code", "status", "status_code")
"""What drivers call the number of an answer of HTTP."""

LOGGERS = ("fsspec", "s3fs", "botocore", "aiobotocore", "gcsfs", "google", "adlfs", "azure")
"""Where drivers say what they were answered: a request, with what signs it, may be in it."""


class Version(NamedTuple):
    """One object as it was at a time."""

    size: int
    """Bytes."""
    changed: float
    """Seconds since 1970, by the clock of the server."""
    tag: str
    """8 hex digits that differ from those of other content under the same name."""


def is_address(text: object) -> bool:
    """Whether a text names a bucket rather than a folder."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", str(text)))


@dataclass(frozen=True)
class Bucket:
    """The objects under one address."""

    scheme: str
    place: str
    """Bucket and prefix, without a slash at its end."""

    @classmethod
    def of(cls, address: str) -> Bucket:
        """The bucket that an address names.

        Raises
        ------
        InputError
            If it is none, holds credentials, or its driver is not installed.
        """
        scheme, _, place = address.partition("://")
        if "@" in place or "?" in place or "#" in place:
            raise InputError(
                f"an address of a bucket is {scheme}://BUCKET/PREFIX and nothing else; credentials "
                "are given by the environment alone, and what was given is not repeated here"
            )
        if scheme not in DRIVERS:
            known = ", ".join(f"{name}://" for name in DRIVERS)
            raise InputError(f"{address}: a bucket is named by one of {known}")
        place = place.strip("/")
        if not place or any(part in ("", ".", "..") for part in place.split("/")):
            raise InputError(f"{address} names no bucket; give {scheme}://BUCKET/PREFIX")
        _require_driver(scheme)
        return cls(scheme, place)

    @classmethod
    def for_images(cls, scheme: str, place: str) -> Bucket:
        """A bucket, or a host, that images are read from; its driver has to be installed."""
        _require_driver(scheme)
        return cls(scheme, place)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}"

    @property
    def driver(self) -> AbstractFileSystem:
        """The file system of fsspec; one for this process, made again after a fork."""
        import fsspec

        with self.said():
            found = fsspec.filesystem(self.scheme, use_listings_cache=False)
            _hush()
        return found

    def full(self, name: str) -> str:
        """An object as its driver calls it."""
        full = f"{self.place}/{name}" if name else self.place
        return f"{self.scheme}://{full}" if self.scheme.startswith("http") else full

    def every(self, under: str = "", *, deep: bool = True) -> dict[str, Version]:
        """The objects below a name, by what follows it.

        Parameters
        ----------
        deep : also those of folders within; else only what lies directly there.
        """
        return {name: _version(facts) for name, facts in self._listed(under, deep) if name}

    def folders(self, under: str) -> list[str]:
        """Names of the folders directly below a name."""
        found = self._within(under, self._ls(under))
        return sorted(name for name, facts in found if facts["type"] == "directory")

    def _listed(self, under: str, deep: bool) -> list[tuple[str, Mapping[str, Any]]]:
        found = self._found(under) if deep else self._ls(under)
        return [pair for pair in self._within(under, found) if pair[1]["type"] == "file"]

    def _found(self, under: str) -> list[Mapping[str, Any]]:
        with self.said():
            found: object = None
            with contextlib.suppress(FileNotFoundError):
                found = self.driver.find(self.full(under), detail=True)
            if not found:  # some drivers take a bucket that is gone for an empty one
                self.require()
            return list(found.values()) if isinstance(found, dict) else []  # of a file a list

    def _ls(self, under: str) -> list[Mapping[str, Any]]:
        with self.said():
            try:
                return list(self.driver.ls(self.full(under), detail=True))
            except FileNotFoundError:
                self.require()
                return []

    def _within(
        self, under: str, found: Sequence[Mapping[str, Any]]
    ) -> list[tuple[str, Mapping[str, Any]]]:
        start = self.full(under)
        names = [(str(facts["name"]).strip("/"), facts) for facts in found]
        inside = [(name, facts) for name, facts in names if name.startswith(f"{start}/")]
        return [(name[len(start) + 1 :], facts) for name, facts in inside]

    def require(self) -> None:
        """Raise WorkspaceError unless the bucket is there and lets itself be listed."""
        bucket = self.place.partition("/")[0]
        with self.said():
            try:
                self.driver.ls(bucket if self.place == bucket else self.place)
            except FileNotFoundError:
                if not self.driver.exists(bucket):
                    raise WorkspaceError(
                        f"there is no bucket {self.scheme}://{bucket}, or not any more; make it, "
                        "or give another --workspace; what was finished in it is resumed once it "
                        "is back"
                    ) from None

    def version(self, name: str) -> Version | None:
        """An object as it is now; None where there is none."""
        with self.said():
            try:
                return _version(self.driver.info(self.full(name)))
            except FileNotFoundError:
                return None

    def fetch(self, name: str, target: Path) -> bool:
        """Copy an object to a file; whether there was one."""
        with self.said():
            try:
                self.driver.get_file(self.full(name), str(target))
            except FileNotFoundError:
                target.unlink(missing_ok=True)
                self.require()
                return False
        return True

    def read(self, name: str, start: int | None = None, stop: int | None = None) -> bytes | None:
        """An object, or a range of its bytes; None where there is none."""
        with self.said():
            try:
                found = self.driver.cat_file(self.full(name), start=start, end=stop)
            except FileNotFoundError:
                return None
            except Exception as error:
                if not _is_beyond(error):
                    raise
                return b""  # where nothing is, no range of it can be had
        return bytes(found)

    def store(self, source: Path, name: str) -> Version:
        """Copy a file to an object, in one step; returns what it is now."""
        with self._writing():
            self.driver.put_file(str(source), self.full(name))
        found = self.version(name)
        if found is None:
            raise WorkspaceError(f"{self}/{name} was deleted at the moment it was written")
        return found

    def copy(self, source: str, target: str) -> None:
        """Copy an object to another name, without it coming here."""
        with self.said():
            self.driver.cp_file(self.full(source), self.full(target))

    def write(self, name: str, content: bytes) -> None:
        """Write an object, in one step."""
        with self._writing():
            self.driver.pipe_file(self.full(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object where there is none; whether it was this call that did it.

        The server decides between two that try at once (``If-None-Match: *``).
        """
        how = ONLY_NEW.get(self.scheme, {"mode": "create"})
        with self._writing():
            try:
                self.driver.pipe_file(self.full(name), content, **how)
            except FileExistsError:
                return False
            except OSError as error:
                if not _is_taken(error):
                    raise
                return False
        return True

    def tagged(self, name: str) -> tuple[str, bytes]:
        """What :meth:`exchange` knows an object by, and what is in it; empty where there is none.

        The tag is never newer than the content.
        """
        with self.said():
            try:
                tag = str(self.driver.info(self.full(name))[EXCHANGES[self.scheme].tag])
                return tag, bytes(self.driver.cat_file(self.full(name)))
            except FileNotFoundError:
                return "", b""

    def exchange(self, name: str, content: bytes, tag: str) -> bool:
        """Write an object that is still the one with this tag; whether it was.

        The server decides between two that try at once (``If-Match``). An empty tag: where there
        is none.
        """
        if not tag:
            return self.create(name, content)
        with self._writing():
            try:
                EXCHANGES[self.scheme].put(self.driver, self.full(name), content, tag)
            except (FileNotFoundError, FileExistsError):  # gone, or, as gcsfs says it, another one
                return False
            except Exception as error:
                if not _is_changed(error):
                    raise
                return False
        return True

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that are not there are none the less gone."""
        with self.said(), contextlib.suppress(FileNotFoundError):
            if names:
                self.driver.rm([self.full(name) for name in names])

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Say that the bucket is gone where an object cannot be made because something is."""
        with self.said():
            try:
                yield
            except Exception as error:
                if isinstance(error, FileNotFoundError) or type(error).__name__ in GONE:
                    self.require()
                raise

    @contextlib.contextmanager
    def said(self) -> Iterator[None]:
        """Turn what drivers raise into a sentence that repeats nothing of what they say."""
        try:
            yield
        except (FileNotFoundError, FileExistsError, InputError):
            raise
        except Exception as error:  # noqa: BLE001 - drivers have no error in common
            if isinstance(error, OSError) and (_is_taken(error) or _is_local(error)):
                raise
            if type(error).__name__ == "ResourceExistsError":  # as Azure says it
                raise FileExistsError from None
            raise WorkspaceError(self._sentence(error)) from None

    def _sentence(self, error: Exception) -> str:
        kind, stays = type(error).__name__, "what is finished stays, and the same command goes on"
        if kind in DENIED or str(error).startswith("Forbidden") or _codes(error) & {401, 403}:
            return (
                f"{self} refuses access: the credentials in the environment are missing, wrong or "
                f"expired ({kind}); {stays} once they are renewed"
            )
        return (
            f"{self} cannot be reached ({kind}); look whether the network and the server are "
            f"there: {stays} afterwards"
        )


class Exchange(NamedTuple):
    """How a driver is told to write an object only where it is still the same one."""

    tag: str
    """What it calls that which changes with the object."""
    put: Callable[[AbstractFileSystem, str, bytes, str], object]
    """Given the driver, the object as it calls it, the new content and the tag."""


def _put_s3(driver: AbstractFileSystem, path: str, content: bytes, tag: str) -> None:
    driver.pipe_file(path, content, IfMatch=tag)


def _put_gs(driver: AbstractFileSystem, path: str, content: bytes, tag: str) -> None:
    place, name, _ = driver.split_path(path)  # its pipe_file knows no generation but none
    driver.call(
        "POST",
        f"{driver._location}/upload/storage/v1/b/{quote(place)}/o",
        name=name,
        uploadType="media",
        ifGenerationMatch=tag,
        headers={"Content-Type": "application/octet-stream"},
        data=content,
    )


def _put_az(driver: AbstractFileSystem, path: str, content: bytes, tag: str) -> None:
    from azure.core import MatchConditions

    driver.pipe_file(path, content, etag=tag, match_condition=MatchConditions.IfNotModified)


EXCHANGES = {
    "s3": Exchange("ETag", _put_s3),
    "gs": Exchange("generation", _put_gs),
    "az": Exchange("etag", _put_az),
}
"""By scheme."""


def in_parallel(function: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """What a function says of each, several asked at the same time."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(AT_ONCE, len(items)), thread_name_prefix="bucket") as pool:
        return list(pool.map(function, items))


def _require_driver(scheme: str) -> None:
    package = DRIVERS.get(scheme, "aiohttp")
    if any(importlib.util.find_spec(name) is None for name in ("fsspec", package)):
        extra = scheme if scheme in DRIVERS else "s3"
        raise InputError(
            f"{scheme}:// needs the package {package}: pip install 'spurioscope[{extra}]', or "
            f"pip install fsspec {package}"
        )


def _version(facts: Mapping[str, Any]) -> Version:
    size = int(facts.get("size") or 0)
    said = next((facts[name] for name in TAGS if facts.get(name)), "")
    tag = blake2b(f"{size} {said}".encode(), digest_size=4).hexdigest()
    return Version(size, _seconds(facts), tag)


def _seconds(facts: Mapping[str, Any]) -> float:
    """When an object was written; 0 where its driver does not say it."""
    said = next((facts[name] for name in TIMES if facts.get(name)), 0.0)
    if isinstance(said, str):
        said = datetime.fromisoformat(said)
    return said.timestamp() if isinstance(said, datetime) else float(said)


@cache
def _hush() -> None:
    """Let no driver write to the terminal or to a log, once all of them have set theirs up."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _codes(error: BaseException | None) -> set[object]:
    """Numbers of the answers of HTTP behind an error."""
    if error is None:
        return set()
    return {getattr(error, name, 0) for name in CODES} | _codes(error.__cause__)


def _is_beyond(error: Exception) -> bool:
    """Whether a driver says that a range lies behind the end of an object."""
    return 416 in _codes(error) or (isinstance(error, OSError) and "range" in str(error).lower())


def _is_taken(error: Exception) -> bool:
    """Whether a driver says that an object is there which was to be made."""
    text = str(error)
    return "PreconditionFailed" in text or "412" in text or "pre-conditions" in text


def _is_changed(error: Exception) -> bool:
    """Whether a driver says that an object is another one by now, or just becomes another one."""
    known = type(error).__name__ in CHANGED or bool(_codes(error) & {412})
    return known or _is_taken(error) or "ConditionalRequestConflict" in str(error)


def _is_local(error: OSError) -> bool:
    """Whether it is this machine's disk that refuses."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
