"""Documents that several processes, and in a bucket several machines, change: no change is lost.

A change is made of what the document holds at that moment. Processes that see the same folder wait
for one another (:func:`core.storage.digests.alone`); in a bucket the server takes a document only
where it is still the one that was read (``If-Match``), else the change is made again, of what
another machine wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.storage import digests
from core.storage.disk import disk_errors, make_folder, replacing
from core.storage.files import as_bytes, damaged, read_json, there
from core.storage.mirror import Mirror, mirror_of


class _Superseded(Exception):
    """Another machine wrote the document meanwhile."""


def amend(path: Path, change: Callable[[Any], Any], default: Any = None) -> None:
    """Replace a JSON document of an audit by what a function makes of it.

    Parameters
    ----------
    change : given what the document holds; called again where that is something else by then.
    default : what it is given where there is no document.

    Raises
    ------
    WorkspaceError
        If the document is damaged or cannot be written.
    """
    make_folder(path.parent)
    with disk_errors(path), digests.alone(path):
        if (mirror := mirror_of(path)) is None:
            new = as_bytes(change(read_json(path) if there(path) else default))
            with replacing(path, put=digests.put_alone) as temporary:
                temporary.write_bytes(new)
            return
        while not _is_amended(mirror, path, change, default):
            pass


def _is_amended(mirror: Mirror, path: Path, change: Callable[[Any], Any], default: Any) -> bool:
    """Whether a document in a bucket was still the one that the change was made of."""
    tag, content = mirror.bucket.tagged(mirror.name(path))
    try:
        value = json.loads(content) if tag else default
    except (ValueError, RecursionError) as error:
        raise damaged(path, "is no JSON document") from error
    new = as_bytes(change(value))
    digest = digests.digest_of_bytes(new)
    try:
        with digests.replacing_digest(path, digest):
            if not mirror.exchange(path, new, tag):
                raise _Superseded
    except _Superseded:
        digests.withdraw(path, digest)
        return False
    return True
