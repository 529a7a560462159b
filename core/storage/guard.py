"""The one guard of paths that a visitor of a shared app can name: data, masks, checkpoints, cues.

``$SPURIOSCOPE_CONFINED`` holds the folders, separated like ``$PATH``, that this process may be
told to read; the app sets it when it serves other machines, and its jobs inherit it. Without the
variable everything that the process's own account can read may be named. What an audit holds
already stays readable: somebody with the right to name it made it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from core.errors import InputError

CONFINED = "SPURIOSCOPE_CONFINED"


def confined() -> bool:
    """Whether only some folders may be named."""
    return CONFINED in os.environ


def folders() -> list[Path]:
    """The folders, resolved, below which a confined process may be told to read."""
    named = os.environ.get(CONFINED, "").split(os.pathsep)
    return [Path(os.path.realpath(os.path.expanduser(folder))) for folder in named if folder]


def permitted(path: str | Path) -> Path:
    """An absolute path that may be read; links are followed before it is judged.

    Returns
    -------
    The path as it was named, made absolute and tidy; in a confined process the place that it
    leads to, so that what is opened is what was judged.

    Raises
    ------
    InputError
        If it is no path, or leads out of the folders of a confined process.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise InputError(f"{text.replace(chr(0), '?')!r} is no path: it holds a NUL byte")
    plain = Path(os.path.abspath(os.path.expanduser(text)))
    _ask(plain)
    if not confined():
        return plain
    real = Path(os.path.realpath(plain))
    if not _below(str(real), folders()):
        raise InputError(_refusal(str(path)))
    return real


def _ask(path: Path) -> None:
    """Refuse what the system takes for no path at all: too long, or links in a circle."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    except OSError as error:
        shown = f"{str(path)[:200]} …" if len(str(path)) > 200 else str(path)
        raise InputError(f"{shown} is no path ({os.strerror(error.errno or 0)})") from error


def permitted_files(root: Path, paths: Iterable[str], *, own: Path | None = None) -> None:
    """Judge many files below a root at once, such as the images and masks of a manifest.

    Parameters
    ----------
    own : a further folder that may be read, where this package itself laid the files.

    Raises
    ------
    InputError
        If one leads out of the folders of a confined process; it is named as it was listed.
    """
    if not confined():
        return
    allowed = [*folders(), *([Path(os.path.realpath(own))] if own else [])]
    parent_of = lru_cache(maxsize=4096)(os.path.realpath)
    for path in paths:
        folder, name = os.path.split(os.path.join(root, path))
        real = os.path.join(parent_of(folder), name)
        if name in ("", ".", "..") or os.path.islink(real):
            real = os.path.realpath(real)
        if not _below(real, allowed):
            raise InputError(_refusal(path))


def _below(real: str, allowed: Iterable[Path]) -> bool:
    return any(Path(real).is_relative_to(folder) for folder in allowed)


def _refusal(path: str) -> str:
    named = ", ".join(map(str, folders())) or "none"
    return (
        f"{path}: this app serves other machines and reads only below the folders named at its "
        f"start ({named}); set SPURIOSCOPE_DATA=/folder and start it again"
    )
