"""Memory that was freed goes back to the system: large tables and models free a lot at once."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress


def choose_pool() -> None:
    """Let Arrow keep nothing of what it frees: its own choice keeps a hundred megabytes and more.

    Where Arrow was built without jemalloc its choice stays.
    """
    import pyarrow

    with suppress(NotImplementedError):
        pool = pyarrow.jemalloc_memory_pool()
        pyarrow.jemalloc_set_decay_ms(0)
        pyarrow.set_memory_pool(pool)


def hand_back() -> None:
    """Give freed memory back to the system: what Arrow keeps, and glibc for every thread."""
    if "pyarrow" in sys.modules:
        import pyarrow

        pyarrow.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
