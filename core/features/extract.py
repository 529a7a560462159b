"""The pass: every image is decoded once and goes through the network once.

Decoding runs in threads beside the forward pass (Pillow releases the interpreter while it decodes
and resizes) and one more thread writes maps as they come, so the processor is never idle.
Memory holds a few batches, whatever the number of images.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
import pandas as pd

from core.data.preprocess import picture_seen
from core.data.properties import COLUMNS, UNKNOWN, Properties, properties_of
from core.errors import UnreadableImageError
from core.features.bits import storable, stored_values
from core.features.feed import Feed, Pending, replicas
from core.features.shards import FeatureStore, Shard, write_shard
from core.storage.files import (
    read_array,
    read_frame,
    remove,
    write_array,
    write_frame,
)
from core.storage.growing_array import GrowingArray
from core.types import BoolArray, IntArray, Preprocess, Progress, Reporter

if TYPE_CHECKING:
    from core.models.model import Encoded, Model

NOT_FINITE = "the network's features are not finite on it"
"""Reason for which an image is listed like one that cannot be read."""

BEHIND = 2
"""Batches that may wait to be written while the next are computed."""

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """One decoded image, or the reason why it could not be read."""

    pixels: np.ndarray
    """(h, w, 3) uint8, what the encoder sees; zeros where the image is unreadable."""
    digest: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""
    properties: Properties = UNKNOWN
    """Where they were asked for."""


def prepare(path: Path, preprocess: Preprocess, *, describe: bool = False) -> Prepared:
    """Decode one image and bring it to the encoder's size.

    Parameters
    ----------
    describe : whether it is asked what the image looks like.
    """
    try:
        picture, decoded = picture_seen(preprocess, path)
    except UnreadableImageError as error:
        return Prepared(
            np.zeros((*preprocess.input_size, 3), np.uint8),
            reason=str(error).removeprefix(f"{path}: "),
        )
    properties = properties_of(picture) if describe else UNKNOWN
    pixels = np.array(picture, dtype=np.uint8)
    return Prepared(pixels, decoded.digest, decoded.width, decoded.height, properties=properties)


def in_order(
    function: Callable[[S], T], items: Iterable[S], *, workers: int, ahead: int
) -> Iterator[T]:
    """Map in threads; results come in order, at most ``ahead`` items are worked on beforehand."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def encode_padded(model: Model, pixels: np.ndarray, batch_size: int) -> Encoded:
    """Encode up to ``batch_size`` images in a batch of exactly that size.

    Parameters
    ----------
    pixels : (n, h, w, 3) uint8 with n <= batch_size.
    """
    return Feed([model], batch_size).put(pixels).result()


class _Writer:
    """Collects the batches of one shard; ``kept`` (n,): the images whose maps are kept."""

    def __init__(self, shard: Shard, kept: BoolArray) -> None:
        self.shard, self.kept = shard, kept
        self.rows: list[tuple[str, int, int, str]] = []
        self.features: list[np.ndarray] = []
        self.maps: GrowingArray | None = None
        self.properties: list[Properties] = []

    def add(self, images: list[Prepared], encoded: Encoded) -> Callable[[], None] | None:
        """Take a batch; what is returned writes its maps."""
        features = storable(encoded.features)
        finite: BoolArray = np.logical_and.reduce(np.isfinite(stored_values(features)), axis=1)
        reasons = [
            image.reason or ("" if sure else NOT_FINITE)
            for image, sure in zip(images, finite.tolist(), strict=True)
        ]
        features[[bool(reason) for reason in reasons]] = 0
        self.features.append(features)
        written = self._maps_of(encoded, finite)
        self.rows += [
            (i.digest, i.width, i.height, reason) for i, reason in zip(images, reasons, strict=True)
        ]
        self.properties += [image.properties for image in images]
        return written

    def _maps_of(self, encoded: Encoded, finite: BoolArray) -> Callable[[], None] | None:
        kept = self.kept[len(self.rows) : len(self.rows) + len(finite)]
        if not kept.any() or encoded.maps is None:
            return None
        maps = storable(encoded.maps)
        maps[~finite] = 0
        if self.maps is None:
            self.maps = GrowingArray(self.shard.files.folder.parent, int(self.kept.sum()))
        return partial(self.maps.add, maps if kept.all() else maps[kept])

    @property
    def is_full(self) -> bool:
        """Whether every image of the shard was added."""
        return len(self.rows) == len(self.shard)

    def finish(self) -> None:
        """Write, flush to the disk, rename."""
        rows = pd.DataFrame(self.rows, columns=["digest", "width", "height", "reason"])
        rows.insert(0, "image_id", self.shard.plan["image_id"])
        rows["readable"] = rows["reason"] == ""
        features, properties = np.concatenate(self.features), _table(self.properties)
        write_shard(self.shard, rows, features, self.maps, self.kept, properties)


def _table(properties: Sequence[Properties]) -> pd.DataFrame:
    return pd.DataFrame(properties, columns=COLUMNS)


def extract(
    model: Model,
    root: Path,
    shards: Iterable[Shard],
    *,
    batch_size: int,
    workers: int,
    keep_maps: bool,
    advanced: Callable[[int], None],
) -> None:
    """Compute shards; the next is asked for when the last images of one are being decoded.

    No batch holds images of two, so that what one says depends on no other.

    Parameters
    ----------
    root : folder the planned paths start from.
    batch_size : images per forward; the last batch of a shard is padded to it.
    workers : decoding threads.
    keep_maps : whether the pooled-layer maps are written beside the features, where a plan does
        not say whose.
    advanced : called with how many images were computed since.

    Raises
    ------
    WorkspaceError
        If the disk is full or not writable; finished shards stay.
    """
    ahead, asked = tee(shards)
    paths = (root / path for shard in ahead for path in shard.plan["path"])
    images = in_order(
        lambda path: prepare(path, model.preprocess, describe=True),
        paths,
        workers=workers,
        ahead=2 * batch_size,
    )
    feed = Feed(replicas(model), batch_size)
    with _Disk() as disk:
        for writer, batch, found in _fed(feed, asked, keep_maps, images):
            if write := writer.add(batch, found.result()):
                disk.put(write)
            advanced(len(batch))
            if writer.is_full:
                disk.put(writer.finish)


class _Disk:
    """A thread that writes, in order; at most BEHIND things are waiting for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._waiting: deque[Future[None]] = deque()

    def put(self, write: Callable[[], None]) -> None:
        """Have something written; raises what went wrong with something before."""
        self._waiting.append(self._thread.submit(write))
        while len(self._waiting) > BEHIND:
            self._waiting.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait until everything is written, also what was handed over before an error."""
        self._thread.shutdown()
        for each in self._waiting if kind is None else ():
            each.result()


Fed = tuple[_Writer, list[Prepared], Pending]


def _fed(
    feed: Feed, shards: Iterable[Shard], keep_maps: bool, images: Iterator[Prepared]
) -> Iterator[Fed]:
    """Every batch with what it says and the writer of its shard, some handed over beforehand."""
    waiting: deque[Fed] = deque()
    for shard in shards:
        writer = _Writer(shard, shard.kept(keep_maps))
        for start in range(0, len(shard), feed.size):
            size = min(feed.size, len(shard) - start)
            batch = [next(images) for _ in range(size)]
            pixels = np.stack([image.pixels for image in batch])
            waiting.append((writer, batch, feed.put(pixels)))
            if len(waiting) > feed.ahead:
                yield waiting.popleft()
    yield from waiting


def keep_maps(
    model: Model,
    root: Path,
    store: FeatureStore,
    image_ids: Sequence[str],
    *,
    batch_size: int,
    workers: int,
    report: Reporter,
) -> None:
    """Add the maps of some images to the shards that hold their features, as the pass makes them.

    Shard by shard, so that what was stopped goes on. Images that cannot be read any more, or whose
    bytes changed since, are left out: their maps would not go with their features.

    Parameters
    ----------
    image_ids : computed before; those whose maps are stored are passed over.
    root, batch_size, workers : as for :func:`extract`.
    """
    known = store.rows.loc[list(image_ids)]
    feed = Feed([model], batch_size)
    lacking = known[~store.mapped(image_ids) & known["readable"].to_numpy(dtype=bool)]
    done = 0
    for number, rows in lacking.sort_values("row").groupby("shard"):
        report(Progress("Keeping maps", done, len(lacking)))
        shard = store.shards[number]
        paths = [root / path for path in shard.plan["path"].iloc[rows["row"]]]
        images = in_order(
            lambda path: prepare(path, model.preprocess), paths, workers=workers, ahead=batch_size
        )
        found = list(zip(rows["row"], rows["digest"], images, strict=True))
        same = [(row, image.pixels) for row, digest, image in found if image.digest == digest]
        if same:
            maps = _maps_of(feed, [pixels for _, pixels in same])
            _add_maps(shard, np.array([row for row, _ in same], np.int64), maps)
        done += len(rows)
    report(Progress("Keeping maps", len(lacking), len(lacking)))


def _maps_of(feed: Feed, pixels: list[np.ndarray]) -> np.ndarray:
    """Maps as they are stored, of images in batches like those of the pass."""
    found = []
    for start in range(0, len(pixels), feed.size):
        encoded = feed.put(np.stack(pixels[start : start + feed.size])).result()
        assert encoded.maps is not None  # whoever asks for maps has seen that there are some
        found.append(storable(encoded.maps))
    return np.concatenate(found)


def _add_maps(shard: Shard, rows: IntArray, maps: np.ndarray) -> None:
    """Put maps of some rows beside those that a shard has; stopped between, it has none."""
    files, kept = shard.files, shard.mapped
    if kept.any():
        maps = np.concatenate([read_array(files.maps), maps])
    order = np.argsort(np.concatenate([np.flatnonzero(kept), rows]))
    kept[rows] = True
    remove(files.maps)
    if kept.all():
        remove(files.mapped)
    else:
        write_array(files.mapped, np.flatnonzero(kept))
    write_array(files.maps, maps[order])


def keep_properties(
    root: Path,
    store: FeatureStore,
    preprocess: Preprocess,
    *,
    workers: int,
    report: Reporter,
) -> None:
    """Add what images look like to the shards that lack it: of audits of earlier versions.

    No network is run. Images that cannot be read any more, or whose bytes changed since, have none.
    """
    lacking = [shard for shard in store.shards if shard.finished and not shard.described]
    if not lacking:
        return
    total, done = sum(len(shard) for shard in lacking), 0
    for shard in lacking:
        report(Progress("Looking at images", done, total))
        digests = read_frame(shard.files.rows, needed=["digest"])["digest"]
        images = in_order(
            lambda path: prepare(root / path, preprocess, describe=True),
            shard.plan["path"],
            workers=workers,
            ahead=4 * workers,
        )
        found = [
            image.properties if image.digest == digest else UNKNOWN
            for image, digest in zip(images, digests, strict=True)
        ]
        write_frame(shard.files.properties, _table(found), "snappy")
        done += len(found)
    report(Progress("Looking at images", total, total))
