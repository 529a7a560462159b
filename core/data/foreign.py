"""An image that a visitor sends: decoded in a process of its own, never in the app.

A file of a kilobyte may unpack to gigabytes, also where its header declares a small picture. Such a
file costs the life of a process that nobody needs, instead of the app's with everybody's work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from PIL import Image

from core.data.decode import Decoded, read_image
from core.data.depth import Levels
from core.errors import UnreadableImageError, WorkspaceError
from core.storage.memory import hand_back

PIXELS = 50_000_000
"""Largest image that is taken in: no decoder needs more than 1 GB for it (openjpeg holds 18 bytes
a pixel, libwebp 15), and most cameras stay below. The images of an audit have another bound."""

MEMORY = 1536 * 2**20
"""Bytes of address space in which it must be decoded."""

SECONDS = 20
"""Time in which it must be decoded; the largest takes two on one core."""

KEPT = 2 * 2**30
"""Bytes of uploads that an audit keeps: hundreds of photos, whose addresses stay good."""

UNREADABLE = 3
"""Exit code of the process that has written a reason."""

ROWS = 64
"""Rows that are handed over at a time."""

_one = threading.Lock()
"""Held while an image from outside is decoded."""


def read_foreign(path: Path, levels: Levels | None = None) -> Decoded:
    """Decode an image from outside like :func:`core.data.decode.read_image`, one at a time.

    Raises
    ------
    UnreadableImageError
        If it cannot be decoded, or not within the bounds; the message does not name the file.
    """
    with _one, tempfile.TemporaryFile() as answer:
        _decode(path, answer, levels)
        answer.seek(0)
        facts = json.loads(answer.readline())
        image = Image.frombytes("RGB", (facts["width"], facts["height"]), answer.read())
        hand_back()
    return Decoded(image=image, **facts)


def refuse_if_full(folder: Path) -> None:
    """Raise WorkspaceError if the folder of an audit's uploads holds :data:`KEPT` bytes."""
    held = sum(file.stat().st_size for file in folder.glob("*/*") if file.is_file())
    if held >= KEPT:
        raise WorkspaceError(
            f"this audit keeps {held / 2**30:.1f} GiB of images from outside and takes in no more; "
            f"delete some of the folders in {folder}"
        )


def _decode(path: Path, answer: IO[bytes], levels: Levels | None) -> None:
    """Run :func:`main` in another process; raises what it says or why it ended."""
    scale = [str(value) for value in levels or ()]
    command = [sys.executable, "-m", "core.data.foreign", str(path.absolute()), *scale]
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableImageError(f"it takes more than {SECONDS} seconds to decode") from error
    except OSError as error:
        raise UnreadableImageError("no process can be started to decode it; try again") from error
    if done.returncode == UNREADABLE:
        answer.seek(0)
        raise UnreadableImageError(answer.read().decode("utf-8", "replace"))
    if done.returncode:
        raise UnreadableImageError(
            f"the decoder broke down on it, or wanted more than {MEMORY / 2**30:.1f} GiB"
        )


def main(arguments: Sequence[str], out: IO[bytes]) -> int:
    """Decode one file within the bounds.

    Parameters
    ----------
    arguments : the path of the file, then black and white where they are known.
    out : receives a line of JSON with width, height and digest and then the pixels, 3 bytes each;
        or the reason why it cannot be decoded.
    """
    try:
        import resource
    except ImportError:
        out.write(b"this system cannot bound the memory of a decoder; serve from Linux or macOS")
        return UNREADABLE
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        path, *scale = arguments
        levels = (float(scale[0]), float(scale[1])) if len(scale) == 2 else None
        found = read_image(Path(path), PIXELS, levels=levels)
    except UnreadableImageError as error:
        out.write(str(error).encode("utf-8", "backslashreplace"))
        return UNREADABLE
    facts = {"width": found.width, "height": found.height, "digest": found.digest}
    out.write(f"{json.dumps(facts)}\n".encode())
    for y in range(0, found.height, ROWS):
        band = found.image.crop((0, y, found.width, min(y + ROWS, found.height)))
        out.write(band.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdout.buffer))
