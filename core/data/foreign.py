"""An image that a visitor sends: decoded in a process of its own before this one does.

A file of a kilobyte may unpack to gigabytes, also where its header declares a small picture. Such a
file costs the life of a process that nobody needs, instead of the app's with everybody's work.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from core.data.decode import Decoded, large_alone, read_image
from core.errors import UnreadableImageError

PIXELS = 50_000_000
"""Largest image that is taken in: no decoder needs more than 1 GB for it (openjpeg holds 18 bytes
a pixel, libwebp 15), and most cameras stay below. The images of an audit have another bound."""

MEMORY = 1536 * 2**20
"""Bytes of address space in which it must be decoded."""

SECONDS = 20
"""Time in which it must be decoded; the largest takes two on one core."""

UNREADABLE = 3
"""Exit code of the process that has written a reason."""


def read_foreign(path: Path) -> Decoded:
    """Decode an image from outside like :func:`core.data.decode.read_image`.

    Raises
    ------
    UnreadableImageError
        If it cannot be decoded, or not within the bounds; the message does not name the file.
    """
    with large_alone(path):
        _try(path)
        return read_image(path, PIXELS)


def _try(path: Path) -> None:
    """Decode in another process, and raise what it says; what it needs, this one may take."""
    command = [sys.executable, "-m", "core.data.foreign", str(path.absolute())]
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableImageError(f"it takes more than {SECONDS} seconds to decode") from error
    except OSError as error:
        raise UnreadableImageError("no process can be started to decode it; try again") from error
    if done.returncode == UNREADABLE:
        raise UnreadableImageError(done.stdout.decode("utf-8", "replace"))
    if done.returncode:
        raise UnreadableImageError(
            f"the decoder broke down on it, or wanted more than {MEMORY / 2**30:.1f} GiB"
        )


def main(arguments: Sequence[str]) -> int:
    """Decode one file within the bounds; the reason why not goes to standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        read_image(Path(arguments[0]), PIXELS)
    except UnreadableImageError as error:
        sys.stdout.write(str(error))
        return UNREADABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
