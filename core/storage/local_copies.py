"""How much of a workspace in a bucket may lie on this machine's disk."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from core.config import MIRROR_BUDGET
from core.errors import InputError

GIB = 2**30

BUDGET = "SPURIOSCOPE_LOCAL_BUDGET"
"""Says how many GiB of workspaces in buckets this machine keeps copies of."""

LEFT = GIB
"""Bytes of the disk that copies leave free, whatever their budget is."""


def budget_asked() -> int:
    """Bytes of copies that may lie in a local folder: ``$SPURIOSCOPE_LOCAL_BUDGET``, in GiB.

    Raises
    ------
    InputError
        If the variable is no number above 0.
    """
    if not (text := os.environ.get(BUDGET, "").strip()):
        return MIRROR_BUDGET
    size = 0.0
    with contextlib.suppress(ValueError):
        size = float(text)
    if not 0 < size < float("inf"):
        raise InputError(
            f"{BUDGET}={text!r} is no size of the copies that this machine keeps of a bucket: give "
            f"GiB as a number above 0, such as 200, or leave it out for {MIRROR_BUDGET // GIB}"
        )
    return int(size * GIB)


def room_beside(root: Path, held: int) -> int:
    """Bytes that copies may take on the disk of a folder, of which they take ``held`` already."""
    return max(0, held + shutil.disk_usage(root).free - LEFT)


def shortage(root: Path, bucket: str, budget: int) -> str:
    """What is to be known of a disk that is smaller than the budget; empty of others."""
    disk = shutil.disk_usage(root).total
    if disk - LEFT >= budget:
        return ""
    wanted = f"{(budget + LEFT) / GIB:g} GiB"
    return (
        f"the disk of {root} has {disk / GIB:.1f} GiB, less than the {wanted} that copies of "
        f"{bucket} (${BUDGET}) and what they leave free take: they leave {LEFT / GIB:g} GiB free, "
        "and those unread the longest go first"
    )
