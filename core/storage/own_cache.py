"""What this user's processes on this machine keep for one another and can make again at any time.

It lies in the user's own cache folder, never in a workspace: a workspace may come from somebody
else, and what is kept here is run. A file is believed only where nobody else could have written
it and its bytes are those that its name says.
"""

from __future__ import annotations

import contextlib
import os
from hashlib import blake2b
from pathlib import Path

from core.errors import WorkspaceError
from core.storage.disk import replacing


def own_folder() -> Path:
    """The folder: ``$XDG_CACHE_HOME/spurioscope``, by default below ``~/.cache``."""
    said = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(said) if os.path.isabs(said) else Path.home() / ".cache") / "spurioscope"


class OwnCache:
    """Files of one kind, by a key of what they were made from.

    Parameters
    ----------
    kind : name of their folder.
    budget : bytes of all of them; beyond it those unread the longest go.
    """

    def __init__(self, kind: str, budget: int) -> None:
        self.folder, self.budget = own_folder() / kind, budget

    def read(self, key: str) -> bytes | None:
        """The bytes under a key; None where there are none, or none to be believed."""
        if not self._is_ours():
            return None
        for path in sorted(self.folder.glob(f"{key}-*")):
            with contextlib.suppress(OSError):
                content = path.read_bytes()
                if path.name == _name(key, content):
                    os.utime(path)
                    return content
                path.unlink()  # damaged
        return None

    def write(self, key: str, content: bytes) -> None:
        """Keep bytes under a key; where that cannot be they are made again, which is slower."""
        with contextlib.suppress(OSError, WorkspaceError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_ours() or len(content) > self.budget:
                return
            with replacing(self.folder / _name(key, content)) as temporary:
                temporary.write_bytes(content)
            self._make_room()

    def _is_ours(self) -> bool:
        """Whether the folder is this user's, and nobody else may write to it."""
        try:
            found = self.folder.lstat()
        except OSError:
            return False
        mine = not hasattr(os, "getuid") or found.st_uid == os.getuid()
        return (
            self.folder.is_dir()
            and not self.folder.is_symlink()
            and mine
            and not (found.st_mode & 0o022)
        )

    def _make_room(self) -> None:
        files = [path for path in self.folder.iterdir() if path.is_file()]
        states = sorted(((p.stat().st_mtime_ns, p.stat().st_size, p) for p in files), reverse=True)
        total = 0
        for _, size, path in states:
            total += size
            if total > self.budget:
                path.unlink(missing_ok=True)


def _name(key: str, content: bytes) -> str:
    return f"{key}-{blake2b(content, digest_size=16).hexdigest()}"
