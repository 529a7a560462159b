"""Tables and arrays of an audit as files that other tools read."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.audits.audit import Audit
from core.candidates import above_control
from core.candidates.linear_kinds import PCA
from core.candidates.search import COLUMNS
from core.config import SHARD_SIZE
from core.data.preprocess import crop_box
from core.errors import InputError
from core.storage.spreadsheet import ELSEWHERE as ELSEWHERE
from core.storage.spreadsheet import exported, write_csv
from core.types import FloatArray

IMAGE_COLUMNS = [
    "image_id",
    "path",
    "label",
    "split",
    "prediction",
    "confidence",
    "loss",
    "correct",
]
ALPHA_COLUMNS = ["image_id", "class_idx", "component", "alpha", "split"]


def images_table(audit: Audit) -> pd.DataFrame:
    """Every readable image: IMAGE_COLUMNS, then the attributes.

    ``prediction`` is a raw label, ``confidence`` its softmax probability, ``loss`` in nats. Labels
    are categories in the data set's own order where it has one, which a Parquet file keeps.
    """
    table = audit.images.reset_index()
    outputs = np.array(audit.head.outputs, dtype=object)
    table["prediction"] = outputs[table["prediction"].to_numpy()]
    own = list(audit.manifest.data.classes)
    if set(table["label"]) <= set(own):
        table["label"] = pd.Categorical(table["label"], own)
    return table[[*IMAGE_COLUMNS, *audit.summary.attributes]]


def components_table(audit: Audit) -> pd.DataFrame:
    """Every candidate of every class; ``top_image_ids`` as a JSON list.

    What audits of earlier versions do not know of their control is empty.
    """
    table = audit.candidates.reindex(columns=[*COLUMNS, *above_control.COLUMNS])
    table["top_image_ids"] = [json.dumps(list(ids)) for ids in table["top_image_ids"]]
    return table


def alpha_table(audit: Audit, wanted: str | None, kind: str = PCA) -> pd.DataFrame:
    """One row per image of a class (every split) and candidate of a kind: ALPHA_COLUMNS."""
    facts = audit.classes if wanted is None else [audit.class_facts(wanted)]
    parts = []
    for fact in facts:
        arrays = audit.class_arrays(fact.class_idx)
        found, n = arrays.of_kind(kind), len(arrays.image_ids)
        names = found.numbers
        parts.append(
            pd.DataFrame(
                {
                    "image_id": np.repeat(arrays.image_ids, len(names)),
                    "class_idx": fact.class_idx,
                    "component": np.tile(names, n),
                    "alpha": np.asarray(found.alpha).ravel(),
                    "split": np.repeat(
                        audit.images_of(arrays.image_ids)["split"].to_numpy(), len(names)
                    ),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)[ALPHA_COLUMNS]


def check_ending(out: Path, *endings: str) -> None:
    """Raise InputError unless the name of a file ends in one of these."""
    if out.suffix not in endings:
        raise InputError(f"--out {out}: the name must end in {' or '.join(endings)}")


def write_table(table: pd.DataFrame, out: Path) -> None:
    """Write a table as ``.parquet``, or as ``.csv`` (:mod:`core.storage.spreadsheet`).

    Raises
    ------
    InputError
        If the file name ends in anything else.
    """
    check_ending(out, ".parquet", ".csv")
    with exported(out) as temporary:
        if out.suffix == ".csv":
            write_csv(table, temporary)
        else:
            table.to_parquet(temporary, index=False)


def write_features(audit: Audit, out: Path) -> None:
    """``features`` (N, D), ``logits`` (N, K), ``weight`` (K, D), ``bias`` (K,), ``image_id`` (N,).

    float32, in the order of the image table; written in slices, so memory stays flat.
    """
    ids = audit.images.index.tolist()
    n, (k, d) = len(ids), audit.head.weight.shape

    def features() -> Iterator[FloatArray]:
        for start in range(0, n, SHARD_SIZE):
            yield audit.store.features(ids[start : start + SHARD_SIZE])

    arrays = {"weight": audit.head.weight, "bias": audit.head.bias, "image_id": np.array(ids)}
    with _npz(out) as file:
        _write_slices(file, "features", (n, d), features())
        _write_slices(file, "logits", (n, k), (audit.head.logits(part) for part in features()))
        for name, array in arrays.items():
            _write_array(file, name, array)


def write_heatmaps(
    audit: Audit, wanted: str, kind: str, component: int, images: list[str] | None, out: Path
) -> None:
    """``maps`` (n, h, w) float32, ``image_id`` (n,), ``crop_box`` (n, 4).

    The mean of a map over h, w is alpha where the map is exact; ``crop_box`` is x0, y0, x1, y1 of
    what the map covers, in pixels of the upright source image. Without ``images``: every image of
    the class, every split.
    """
    check_ending(out, ".npz")
    arrays = audit.arrays_of(wanted)
    ids = images or arrays.image_ids
    for image_id in ids:
        audit.path(image_id)
    maps = audit.heatmaps(arrays.candidate(kind, component), ids)
    sizes = audit.images_of(ids)[["width", "height"]].to_numpy()
    boxes = np.array([crop_box(audit.preprocess, int(w), int(h)) for w, h in sizes])
    with _npz(out) as file:
        for name, array in {"maps": maps, "image_id": np.array(ids), "crop_box": boxes}.items():
            _write_array(file, name, array)


@contextmanager
def _npz(out: Path) -> Iterator[zipfile.ZipFile]:
    """A ``.npz`` archive that appears when it is complete."""
    check_ending(out, ".npz")
    with (
        exported(out) as temporary,
        zipfile.ZipFile(temporary, "w", allowZip64=True) as file,
    ):
        yield file


def _write_array(file: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _write_slices(
    file: zipfile.ZipFile, name: str, shape: tuple[int, int], parts: Iterator[FloatArray]
) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)
        for part in parts:
            member.write(np.ascontiguousarray(part, "<f4").tobytes())
