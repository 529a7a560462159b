"""Images that a manifest names by address: bytes of a bucket, or of a host, allowed at the start.

Such an image is a path, too, so that nothing else has to know: below the root of its data set lies
``s3:/bucket/key``. ``$SPURIOSCOPE_IMAGES`` holds the addresses that may be read below, separated by
blanks; nothing else is asked for anything. Browsers never see an address: pictures come from here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path, PurePath

from core.errors import InputError
from core.storage.bucket import DRIVERS, Bucket, Version, in_parallel, is_address

ALLOWED = "SPURIOSCOPE_IMAGES"

OVER_HTTP = ("http", "https")
"""Schemes of hosts rather than buckets."""

WITHIN = re.compile(r"(?:^|/)([a-z][a-z0-9]+):/+(.+)$")
"""An address inside a path, which has lost a slash."""

MANY = 8
"""Images of one folder from which on the folder is listed, rather than each of them asked for."""

UNKNOWN_FILE = (-1, 0)
"""Size and time of an image that was changed since; the next plan looks at it again."""


def allow(addresses: Iterable[str]) -> None:
    """Let this process, and what it starts, read images below some addresses."""
    known = os.environ.get(ALLOWED, "").split()
    os.environ[ALLOWED] = " ".join(dict.fromkeys([*known, *addresses]))


def address_of(path: PurePath) -> str:
    """The address that a path stands for; empty for files of this machine."""
    text = path.as_posix()
    found = WITHIN.search(text) if ":/" in text else None
    known = found and found[1] in (*DRIVERS, *OVER_HTTP)
    return f"{found[1]}://{found[2]}" if found and known else ""


def full_name(root: Path, path: str) -> str:
    """How a manifest elsewhere names an image: its absolute path, or its address."""
    return path if is_address(path) else str(root / path)


def require_allowed(address: str) -> None:
    """Refuse an address that was not allowed at the start, or that may hold a secret.

    Raises
    ------
    InputError
        If one is refused; what may be a secret is not repeated.
    """
    scheme, _, rest = address.partition("://")
    host = rest.partition("/")[0]
    if "?" in rest or "@" in host:
        raise InputError(
            f"an image is named by {scheme}://… without a question mark and without a name before "
            "an @: signed addresses hold secrets, and manifests are stored; give credentials by "
            "the environment"
        )
    allowed = os.environ.get(ALLOWED, "").split()
    if not any(address.startswith(f"{each.rstrip('/')}/") for each in allowed):
        named = " ".join(allowed) or "none"
        raise InputError(
            f"images below {scheme}://{host} were not allowed when this was started (allowed: "
            f"{named}); start it with --allow-images {scheme}://{host} (or $SPURIOSCOPE_IMAGES)"
        )


def require_all_allowed(paths: Iterable[str]) -> None:
    """Judge every address among the paths of a listing."""
    seen = set()
    for path in filter(is_address, paths):
        folder = path.rpartition("/")[0]
        if folder not in seen or "?" in path:
            require_allowed(path)
            seen.add(folder)


def far_bytes(path: Path, most: int) -> bytes:
    """The bytes of an image that has an address, at most so many and one more.

    Raises
    ------
    FileNotFoundError
        If there is none.
    InputError
        If it may not be read, or its bucket cannot be reached.
    """
    address = address_of(path)
    require_allowed(address)
    bucket, name = _split(address)
    stop = None if bucket.scheme in OVER_HTTP else most + 1
    found = bucket.read(name, 0 if stop else None, stop)
    if found is None:
        raise FileNotFoundError(address)
    return found


def readable(path: Path, most: int) -> Path | BytesIO:
    """What a decoder opens: the file, or the bytes behind an address."""
    return BytesIO(far_bytes(path, most)) if address_of(path) else path


def is_there(path: Path) -> bool:
    """Whether an image exists."""
    if not (address := address_of(path)):
        return os.path.isfile(path)
    require_allowed(address)
    bucket, name = _split(address)
    return bucket.version(name) is not None


def states(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Size in bytes and what changes with the content of every image; (-1, 0) if it is unknown.

    That is the time of change of a file, and of an address what its server says.
    """
    folders: dict[str, list[str]] = {}
    for address in filter(None, map(address_of, paths)):
        folders.setdefault(address.rpartition("/")[0], []).append(address)
    far: dict[str, tuple[int, int]] = {}
    for known in in_parallel(_states_in, list(folders.items())):
        far |= known
    return [far[address] if (address := address_of(p)) else _file_state(p) for p in paths]


def _states_in(folder: tuple[str, Sequence[str]]) -> dict[str, tuple[int, int]]:
    """Of the images of one folder of a bucket, which is listed where there are many."""
    at, addresses = folder
    require_allowed(addresses[0])
    bucket, under = _split(f"{at}/")
    if bucket.scheme in OVER_HTTP:
        return dict.fromkeys(addresses, UNKNOWN_FILE)
    names = [address.rpartition("/")[2] for address in addresses]
    found: dict[str, Version | None] = {}
    if len(names) > MANY:
        found |= bucket.every(under.rstrip("/"), deep=False)
    else:
        found |= {name: bucket.version(f"{under}{name}") for name in names}
    return {a: _state(found.get(name)) for a, name in zip(addresses, names, strict=True)}


def _state(version: Version | None) -> tuple[int, int]:
    return (version.size, int(version.tag, 16)) if version else UNKNOWN_FILE


def _file_state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return UNKNOWN_FILE
    return found.st_size, found.st_mtime_ns


def _split(address: str) -> tuple[Bucket, str]:
    """Bucket, or host, and the name of an object in it."""
    scheme, _, rest = address.partition("://")
    place, _, name = rest.partition("/")
    return Bucket.for_images(scheme, place), name
