"""What an analysis is about: an audit whose features are stored, and what its head says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.features.shards import FeatureStore
from core.models.linear import FACTS, Head
from core.storage.audit_manifest import Manifest
from core.storage.files import read_json
from core.storage.layout import AuditFiles
from core.storage.workspace import fingerprint
from core.types import TRAIN, BoolArray, ImageTable

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Subject:
    """What an analysis is about: an audit whose features are stored."""

    manifest: Manifest
    table: ImageTable
    images: pd.DataFrame
    """The table joined with the store's rows (digest, width, height, readable, reason)."""
    store: FeatureStore

    @property
    def files(self) -> AuditFiles:
        """Where the results lie."""
        return self.store.files

    @cached_property
    def readable(self) -> pd.DataFrame:
        """The images that can be used, n rows."""
        return self.images[self.images["readable"]].reset_index(drop=True)

    @cached_property
    def labels(self) -> NDArray[np.str_]:
        """(n,) raw label of each."""
        return np.asarray(self.readable["label"].to_numpy(dtype=str))

    @cached_property
    def fitting(self) -> BoolArray:
        """(n,) those that components and probes are fitted on."""
        return fitting_rows(self.readable)

    @cached_property
    def key(self) -> str:
        """Changes with everything the results depend on."""
        rows = _digest(self.readable, ["image_id", "digest", "label", "split"])
        return fingerprint({"images": rows, "fingerprint": self.manifest.fingerprint})

    @cached_property
    def mapped(self) -> BoolArray:
        """(n,) images whose exact maps are stored."""
        if self.manifest.model.map_kind == "none":
            return np.zeros(len(self.readable), bool)
        return self.store.mapped(self.readable["image_id"].tolist())

    @property
    def counts(self) -> Mapping[str, int]:
        """Candidates of a class that were asked for, by their kind."""
        return self.manifest.counts or {}

    @cached_property
    def maps_key(self) -> str:
        """As ``key``, and with the maps that are stored."""
        return fingerprint({"key": self.key, "mapped": np.packbits(self.mapped).tobytes().hex()})


@dataclass(frozen=True)
class Predicted:
    """What the head says of the readable images."""

    head: Head
    table: pd.DataFrame
    """``predictions.parquet``, n rows."""
    held_out: BoolArray
    """(n,) those that figures are measured on."""

    @cached_property
    def fair(self) -> BoolArray:
        """(n,) whether the prediction is correct, out of fold where the head was fitted on it."""
        return np.asarray(self.table["fair"].to_numpy(dtype=bool))


def fitting_rows(images: pd.DataFrame) -> BoolArray:
    """(n,) images that components and probes are fitted on: the split train, else every image."""
    train = (images["split"] == TRAIN).to_numpy(dtype=bool)
    return train if train.any() else np.ones(len(images), bool)


def held_out_rows(folder: Path, fitting: BoolArray) -> BoolArray:
    """(n,) images that accuracies and gaps are measured on.

    Those of the other splits; where there are none, all that were predicted out of fold: not the
    only image of its class, which every fold trains on.
    """
    if not fitting.all():
        return ~fitting
    rows = fitting.copy()
    probe = read_json(AuditFiles(folder).head.facts, FACTS).get("probe", {})
    rows[np.array(probe.get("never_held_out", []), np.int64)] = False
    return rows


def held_out_basis(images: pd.DataFrame, fitting: BoolArray, mode: str) -> str:
    """Which predictions the gaps use, in words."""
    if not fitting.all():
        return " + ".join(sorted(images.loc[~fitting, "split"].unique()))
    return "out-of-fold" if mode == "fit" else "all images (the head was not fitted on them)"


def _digest(frame: pd.DataFrame, columns: list[str]) -> str:
    hashed = pd.util.hash_pandas_object(frame[columns], index=False).to_numpy()
    return fingerprint({"rows": hashed.tobytes().hex()})
