"""What an image-text model makes of an audit's images, kept beside the features shard by shard.

Rows of NaN stand for images that cannot be read any more, or whose bytes changed since the pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core.data.decode import read_image
from core.errors import UnreadableImageError
from core.features.extract import cores, in_order
from core.features.shards import FeatureStore, Shard
from core.storage.files import damaged, locked, read_array, read_frame, there, write_array
from core.types import FloatArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.text_image import TextImageModel

LARGEST = 512
"""Longer side of what is handed on, pixels: more than any such model looks at."""


class Embeddings:
    """Reads what :func:`embed` wrote of one model.

    Parameters
    ----------
    key : of the model.
    """

    def __init__(self, store: FeatureStore, key: str) -> None:
        self.store, self.key = store, key

    @property
    def missing(self) -> list[Shard]:
        """Shards whose images were not embedded yet."""
        finished = [shard for shard in self.store.shards if shard.finished]
        return [shard for shard in finished if not there(self._path(shard))]

    def of(self, ids: Sequence[str]) -> FloatArray:
        """Vectors (n, E) float32 of images; NaN where there are none."""
        where = self.store.where(ids)
        found: FloatArray | None = None
        for number in np.unique(where[:, 0]):
            here = where[:, 0] == number
            path = self._path(self.store.shards[number])
            array = read_array(path, mapped=True, ndim=2, kinds="f")
            if len(array) != len(self.store.shards[number]):
                raise damaged(path, "has another number of rows")
            if found is None:
                found = np.empty((len(where), array.shape[1]), np.float32)
            found[here] = array[where[here, 1]]
        return np.zeros((0, 0), np.float32) if found is None else found

    def _path(self, shard: Shard) -> Path:
        return self.store.files.embedding(self.key, shard.files)


def embed(
    model: TextImageModel, root: Path, store: FeatureStore, report: Reporter = silent
) -> Embeddings:
    """Embed every image that was not; what was stopped goes on.

    Parameters
    ----------
    root : folder the planned paths start from.

    Raises
    ------
    WorkspaceError
        If another process does it.
    """
    found = Embeddings(store, model.key)
    busy = f"images of {store.files.folder} are being embedded by another process; wait for it"
    with locked(store.files.embeddings_lock, busy):
        lacking = found.missing
        total, done = sum(len(shard) for shard in lacking), 0
        for shard in lacking:
            report(Progress("Embedding images", done, total))
            vectors = _of_shard(model, root, shard)
            write_array(store.files.embedding(model.key, shard.files), vectors)
            done += len(vectors)
        if lacking:
            report(Progress("Embedding images", total, total))
    return found


def _of_shard(model: TextImageModel, root: Path, shard: Shard) -> FloatArray:
    digests = read_frame(shard.files.rows, needed=["digest"])["digest"].tolist()
    paths = [root / path for path in shard.plan["path"]]
    images = list(in_order(_small, paths, workers=min(8, cores()), ahead=32))
    same = [
        image[0] if image and image[1] == digest else None
        for image, digest in zip(images, digests, strict=True)
    ]
    vectors = model.images([image or Image.new("RGB", (8, 8)) for image in same])
    vectors[[image is None for image in same]] = np.nan
    return vectors


def _small(path: Path) -> tuple[Image.Image, str] | None:
    """An image, made smaller, and the digest of its file; None where it cannot be read."""
    try:
        found = read_image(path)
    except UnreadableImageError:
        return None
    found.image.thumbnail((LARGEST, LARGEST), Image.Resampling.BICUBIC)
    return found.image, found.digest
