"""Files of one class of an audit, read and compared with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core.candidates.kinds import Found
from core.errors import WorkspaceError
from core.storage.files import (
    damaged,
    read_array,
    read_json,
    replacing_folder,
    there,
    write_array,
    write_frame,
    write_json,
)
from core.storage.layout import AuditFiles, ClassFiles, KindFiles
from core.types import FloatArray

ARRAYS = {
    **{"mean": 1, "basis": 2, "eigenvalues": 1, "neurons": 1, "alpha": 2, "residual": 1},
    **{"image_ids": 1, "fitting": 1, "top_maps": 4},
}
"""Arrays of a class and their dimensions."""

OWN = "own-"
"""How the names of what a kind keeps for itself begin."""

LARGE_ARRAYS = {"alpha", "basis", "residual", "top_maps"}
"""Of a class: read where they are touched. Mapping a small file takes longer than reading it."""


def read_arrays(files: ClassFiles, features: int) -> dict[str, np.ndarray]:
    """Every array of a class by name, ``top_maps`` only where they are stored.

    Parameters
    ----------
    features : number D of features of the head.

    Raises
    ------
    WorkspaceError
        If one is missing or damaged, or they do not go together.
    """
    arrays = {
        name: read_array(files.array(name), mapped=name in LARGE_ARRAYS, ndim=ndim)
        for name, ndim in ARRAYS.items()
        if name != "top_maps" or there(files.array(name))
    }
    if not _together(arrays, features):
        raise damaged(files.folder, "holds arrays of different classes")
    return arrays


def _together(arrays: Mapping[str, np.ndarray], features: int) -> bool:
    components, width = arrays["basis"].shape
    images, candidates = arrays["alpha"].shape
    return (
        components == len(arrays["eigenvalues"])
        and features == width == len(arrays["mean"])
        and candidates == components + len(arrays["neurons"])
        and all(len(arrays[name]) == images for name in ("residual", "image_ids", "fitting"))
    )


def stored_components(files: AuditFiles, class_idx: int) -> FloatArray:
    """Alpha (n, r) of a class's components on all its images, of every split."""
    mine = files.of_class(class_idx)
    r = len(read_array(mine.array("eigenvalues"), ndim=1))
    alpha: FloatArray = read_array(mine.array("alpha"), mapped=True, ndim=2)[:, :r]
    return alpha


def named_table(
    table: pd.DataFrame, image_ids: Sequence[str], class_idx: int, name: str
) -> pd.DataFrame:
    """A table of candidates as it is stored: with its class, and images by their ids."""
    top = [[image_ids[i] for i in row] for row in table["top_image_ids"]]
    named = table.assign(top_image_ids=top)
    named.insert(0, "class_idx", class_idx)
    named.insert(1, "class_name", name)
    return named


def write_kind(files: KindFiles, found: Found, table: pd.DataFrame) -> None:
    """Store the candidates of a kind in a class, in one step.

    Parameters
    ----------
    table : one row per candidate (:data:`core.candidates.search.COLUMNS`).
    """
    own = {f"{OWN}{name}": array for name, array in found.arrays.items()}
    alpha = np.asarray(found.alpha, np.float32)
    arrays: dict[str, np.ndarray] = {"numbers": found.numbers, "alpha": alpha, **own}
    if found.top_maps is not None:
        arrays["top_maps"] = np.asarray(found.top_maps, np.float32)
    with replacing_folder(files.folder) as temporary:
        new = KindFiles(temporary)
        for name, array in arrays.items():
            write_array(new.array(name), array)
        write_frame(new.candidates, table, "snappy")
        write_json(new.facts, {"arrays": sorted(found.arrays)})


def read_kind(files: KindFiles, images: int) -> Found:
    """What :func:`write_kind` stored; nothing where a kind was never found in the class.

    Parameters
    ----------
    images : n of the class.

    Raises
    ------
    WorkspaceError
        If an array is missing or damaged, or they do not go together.
    """
    if not there(files.facts):
        return Found.nothing(images)
    own = read_json(files.facts, {"arrays": [str]})["arrays"]
    numbers = read_array(files.array("numbers"), ndim=1)
    alpha = read_array(files.array("alpha"), mapped=True, ndim=2)
    if alpha.shape != (images, len(numbers)):
        raise damaged(files.folder, "holds arrays of different classes")
    top = files.array("top_maps")
    return Found(
        np.asarray(numbers, np.int64),
        alpha,
        {name: read_array(files.array(f"{OWN}{name}"), mapped=True) for name in own},
        read_array(top, mapped=True, ndim=4) if there(top) else None,
    )


def size_of_kind(files: KindFiles) -> int:
    """How many candidates of a kind a class has."""
    path = files.array("numbers")
    return len(read_array(path, mapped=True, ndim=1)) if there(path) else 0


def read_carried(path: Path, *, mapped: bool = False) -> FloatArray:
    """The directions carried over to a class, by their file.

    Raises
    ------
    WorkspaceError
        If it is missing or damaged; no run can make them again, but carrying over can.
    """
    try:
        return read_array(path, mapped=mapped, kinds="f", ndim=2)
    except WorkspaceError as error:
        raise WorkspaceError(
            f"{path} cannot be read; it holds directions carried over from another audit: run the "
            "same audit again, which sets it aside, and carry the tags over again"
        ) from error


def carry_direction(path: Path, direction: FloatArray, offset: float) -> int:
    """The number of a direction (D,) among those carried to a class; a new one is added."""
    row = np.append(direction, offset)[None]
    known = read_carried(path) if there(path) else np.zeros((0, row.shape[1]))
    same = np.flatnonzero(np.isclose(known, row, rtol=1e-9, atol=1e-12).all(axis=1))
    if len(same):
        return int(same[0])
    write_array(path, np.concatenate([known, row]))
    return len(known)
