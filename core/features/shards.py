"""The feature store: what one pass over the images leaves on disk.

::

    plan/000.parquet              the images of the first run, in order of computation, each with
                                  the number of its shard, and whose maps are kept where not all
    plan/001.parquet              images that came later, or whose bytes changed
    shards/000-00012/features.npy (n, D) float32
                     maps.npy     (n, D, h, w) at the run's precision, where they are kept
                     mapped.npy   rows whose maps these are, ascending; where not all
                     rows.parquet image_id, digest, width, height, readable, reason
                     properties.parquet  what the images look like, in the same order
    shards.parquet                the rows of every shard, where there are many

A shard is a fixed slice of its plan and appears in one step, so a run that was stopped goes on
from the last finished shard and ends with the same bytes. It is believed only with the digests of
its files, which are written last; plans of earlier versions, which number no shards, had some
without. bfloat16, which NumPy lacks, is stored
as its bits in uint16.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.config import LARGEST_SHARD, SHARD_SIZE, SHARDS
from core.data.properties import COLUMNS, NUMBERS
from core.features.bits import stored_values
from core.features.places import Places
from core.storage.files import (
    damaged,
    disk_errors,
    is_sealed,
    read_array,
    read_frame,
    read_frames,
    read_rows,
    remove,
    replacing_folder,
    sync,
    there,
    write_array,
    write_frame,
)
from core.storage.growing_array import GrowingArray
from core.storage.layout import AuditFiles, ShardFiles
from core.storage.table_columns import outline_of_frame, read_names
from core.types import BoolArray, IntArray, count_of

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

MAPS = "maps"
PLAN_COLUMNS = ["image_id", "path", "bytes", "modified"]
SLICE = "shard"
"""Column of a plan: the number of the shard of an image; audits of earlier versions have none."""
KEPT = "maps"
"""Column of a plan: whether the maps of an image are kept; only where those of some are."""
CONSOLIDATED = 64
"""Shards from which on their rows stand in one table, too: fewer are opened as fast."""
ROW_COLUMNS = ["image_id", "digest", "width", "height", "reason", "readable"]


class Plan:
    """A list of images to compute, read as far as it is asked for.

    Parameters
    ----------
    path : its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def table(self) -> pd.DataFrame:
        """The images (PLAN_COLUMNS, and KEPT where not all maps are kept), in order."""
        return read_frame(self.path, needed=PLAN_COLUMNS)

    @cached_property
    def names(self) -> NDArray[Any]:
        """(n,) their ids."""
        return read_names(self.path, "image_id")

    @cached_property
    def outline(self) -> tuple[int, list[str]]:
        """How many images there are, and what is said of them."""
        return outline_of_frame(self.path)

    @property
    def numbered(self) -> bool:
        """Whether it numbers its shards; those of earlier versions do not."""
        return SLICE in self.outline[1]

    @cached_property
    def borders(self) -> list[int]:
        """Rows where its shards begin, and where the last ends."""
        length = self.outline[0]
        if not self.numbered:
            return [*range(0, length, SHARD_SIZE), length]
        numbers = read_frame(self.path, [SLICE])[SLICE].to_numpy()
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        if not np.array_equal(numbers[starts], np.arange(len(starts))):
            raise damaged(self.path, "numbers its shards in another order than they stand in")
        return [*starts.tolist(), length]


@dataclass(frozen=True)
class Shard:
    """A fixed slice of a plan."""

    files: ShardFiles
    whole: Plan
    """What it is a slice of."""
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def plan(self) -> pd.DataFrame:
        """The images of this shard (as of :class:`Plan`), in order."""
        return self.whole.table.iloc[self.start : self.stop].reset_index(drop=True)

    @property
    def name(self) -> str:
        """As its folder is called, and who computes it calls it."""
        return self.files.folder.name

    @property
    def finished(self) -> bool:
        """Whether its results are on disk, all of them."""
        folder = self.files.folder
        return is_sealed(folder) if self.whole.numbered else folder.exists()

    def kept(self, otherwise: bool) -> BoolArray:
        """(n,) whose maps are to be kept: those that the plan says, where it says any."""
        if KEPT in self.whole.outline[1]:
            return np.asarray(self.plan[KEPT].to_numpy(dtype=bool))
        return np.full(len(self), otherwise)

    @property
    def mapped(self) -> BoolArray:
        """(n,) whose maps are stored."""
        return mapped(self.files, len(self))

    @property
    def described(self) -> bool:
        """Whether it is stored what its images look like."""
        return there(self.files.properties)


def mapped(files: ShardFiles, length: int) -> BoolArray:
    """Whose maps are stored with a shard of so many images, (n,)."""
    if not there(files.maps):
        return np.zeros(length, bool)
    found = np.ones(length, bool)
    if there(files.mapped):
        rows = read_array(files.mapped, ndim=1, kinds="i")
        if not ((rows >= 0) & (rows < length)).all():
            raise damaged(files.mapped, "names rows that are not there")
        found[:] = False
        found[rows] = True
    return found


def size_of_shards(images: int) -> int:
    """Images of a shard of a plan: more where there are many, so that shards stay hundreds."""
    size = SHARD_SIZE
    while size < LARGEST_SHARD and images > size * SHARDS:
        size *= 2
    return size


def with_slices(plan: pd.DataFrame, lengths: Sequence[int]) -> pd.DataFrame:
    """A plan with the number of every image's shard.

    Parameters
    ----------
    lengths : of the shards, the last of them of all that follow, too.
    """
    rest = max(len(plan) - sum(lengths), 0)
    every = [*lengths, *[lengths[-1]] * -(-rest // lengths[-1])]
    numbers = np.repeat(np.arange(len(every), dtype=np.int32), every)
    return plan.assign(**{SLICE: numbers[: len(plan)]})


def _none_or_all(length: int, planned: int) -> bool:
    return length in (0, planned)


class StoredMaps:
    """Maps of some images, read where they are looked at.

    Parameters
    ----------
    store : has the maps of ``ids`` (:meth:`FeatureStore.has_maps`).
    """

    def __init__(self, store: FeatureStore, ids: Sequence[str]) -> None:
        self.store, self.ids = store, list(ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, images: slice) -> NDArray[np.float32]:
        return self.store.maps(self.ids[images])


class FeatureStore:
    """Reads what the pass wrote; rows are addressed by ``image_id``.

    Parameters
    ----------
    folder : the audit's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.files = AuditFiles(folder)

    @cached_property
    def shards(self) -> list[Shard]:
        """Every shard that is finished or to be computed, in order of computation."""
        found = []
        for whole in self.plans:
            for number, (start, stop) in enumerate(pairwise(whole.borders)):
                found.append(Shard(self.files.shard(whole.path.stem, number), whole, start, stop))
        return found

    @cached_property
    def plans(self) -> list[Plan]:
        """The lists of images, oldest first."""
        return [Plan(path) for path in self.files.every_plan()]

    def extend(self, plan: pd.DataFrame) -> None:
        """Add a plan of images (PLAN_COLUMNS, and KEPT where some maps are kept) to compute."""
        number = len(self.files.every_plan())
        columns = [*PLAN_COLUMNS, KEPT] if KEPT in plan else PLAN_COLUMNS
        numbered = with_slices(plan[columns], [size_of_shards(len(plan))])
        write_frame(self.files.plan(f"{number:03d}"), numbered)
        with disk_errors(self.files.folder):
            for folder in (self.files.plans, self.files.folder):
                sync(folder)  # shards must never outlive the plan that they are slices of
        for name in ("plans", "shards", "planned", "_places", "_known"):
            self.__dict__.pop(name, None)

    @property
    def missing(self) -> list[Shard]:
        """The shards still to be computed."""
        return [self.shards[number] for number in self.beyond(finished=False)]

    def beyond(self, *, finished: bool) -> list[int]:
        """Shards that the consolidated table does not hold, and whether they are finished."""
        others = [number for number in range(len(self.shards)) if number not in self._known]
        return [number for number in others if self.shards[number].finished == finished]

    @property
    def begun(self) -> Shard | None:
        """A finished shard of the plan that is being computed, None where it has none yet."""
        missing = {shard.files.plan for shard in self.missing}
        finished = [shard for shard in self.shards if shard.finished]
        return next((s for s in finished if s.files.plan in missing), None)

    @cached_property
    def planned(self) -> pd.DataFrame:
        """The newest planned entry of every image, indexed by ``image_id``."""
        import pandas as pd

        frames = [whole.table for whole in self.plans]
        plan = pd.concat(frames) if frames else pd.DataFrame(columns=PLAN_COLUMNS)
        return plan.drop_duplicates("image_id", keep="last").set_index("image_id")

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row per computed image, indexed by ``image_id``: the newest where there are several.

        Columns: digest, width, height, readable, reason, shard (position in ``shards``), row.
        """
        rows = self._every_row()
        return rows.drop_duplicates("image_id", keep="last").set_index("image_id")

    def _every_row(self) -> pd.DataFrame:
        """The rows of every finished shard, in order; only those not consolidated are visited."""
        import pandas as pd

        known, further = self._consolidated(), self.beyond(finished=True)
        if not further:
            return known
        paths = [self.shards[number].files.rows for number in further]
        rows, lengths = read_frames(paths, ROW_COLUMNS)
        rows["shard"] = np.repeat(further, lengths)
        rows["row"] = np.concatenate([np.arange(length) for length in lengths])
        if known.empty:
            return rows
        both = pd.concat([known, rows], ignore_index=True)
        return both.sort_values(["shard", "row"], kind="stable", ignore_index=True)

    def _consolidated(self) -> pd.DataFrame:
        """Rows of shards as one table, ROW_COLUMNS, shard and row; empty where there is none."""
        import pandas as pd

        columns = [*ROW_COLUMNS, "shard", "row"]
        if self._known:
            return read_frame(self.files.shard_rows, needed=columns)
        return pd.DataFrame(columns=columns)

    @cached_property
    def _known(self) -> frozenset[int]:
        """Shards that stand in that table, where it goes with the plans."""
        if not there(self.files.shard_rows):
            return frozenset()
        found = read_frame(self.files.shard_rows, ["shard"])["shard"].to_numpy()
        lengths = np.bincount(found, minlength=len(self.shards)).tolist()
        planned = [len(shard) for shard in self.shards]
        if len(lengths) == len(planned) and all(map(_none_or_all, lengths, planned)):
            return frozenset(np.flatnonzero(lengths).tolist())
        return frozenset()

    def consolidate(self) -> None:
        """Put what every shard says of its images into one table, once all are there.

        Whoever opens an audit of many shards visits none of their folders then.
        """
        if len(self.shards) >= CONSOLIDATED and not self.missing and self.beyond(finished=True):
            write_frame(self.files.shard_rows, self._every_row(), "snappy")
            self.__dict__.pop("_known")

    def forget_rows(self) -> None:
        """Look at what is computed again, since there is more."""
        for name in ("rows", "_places"):
            self.__dict__.pop(name, None)

    @cached_property
    def properties(self) -> pd.DataFrame:
        """What images look like (:data:`core.data.properties.COLUMNS`), one row each of ``rows``.

        Rows without anything, of images of shards that do not say it.
        """
        where = self.rows[["shard", "row"]].to_numpy(np.int64)
        return self._properties(where).set_axis(self.rows.index)

    def properties_of(self, ids: Sequence[str]) -> pd.DataFrame:
        """The same of some images, from their shards alone."""
        return self._properties(self.where(ids)).set_axis(list(ids))

    def _properties(self, where: IntArray) -> pd.DataFrame:
        import pandas as pd

        tables = [pd.DataFrame(columns=COLUMNS)]
        for shard, here in self._by_shard(where):
            if shard.described:
                table = read_frame(shard.files.properties, needed=COLUMNS)
                if len(table) != len(shard):
                    raise damaged(shard.files.properties, "has another number of rows")
                tables.append(table.iloc[where[here, 1]].set_axis(here))
        found = pd.concat(tables[-1:] if len(tables) == 1 else tables[1:])
        return found.reindex(np.arange(len(where))).astype(dict.fromkeys(NUMBERS, float))

    @cached_property
    def _places(self) -> tuple[Places, IntArray, IntArray]:
        """Where each planned image that is computed stands, newest last.

        With the finished shards (k,) and the place (k + 1,) at which the images of each begin.
        """
        finished = sorted([*self._known, *self.beyond(finished=True)])
        of = [self.shards[number] for number in finished]
        starts = np.cumsum([0, *(len(shard) for shard in of)])
        return Places(_names(of)), np.array(finished, np.int64), starts

    def where(self, ids: Sequence[str]) -> IntArray:
        """Shard and row (n, 2) of some images.

        Raises
        ------
        WorkspaceError
            If one of them is in no finished shard.
        """
        places, finished, starts = self._places
        found = places.of(ids)
        if lacking := int((found < 0).sum()):
            raise damaged(self.files.shards, f"lacks {count_of(lacking, 'image')}")
        at = np.searchsorted(starts, found, side="right") - 1
        return np.column_stack([finished[at], found - starts[at]])

    def _gather(self, ids: Sequence[str], name: str) -> NDArray[np.float32]:
        """Values of one array for ``ids``, in their order, touching each shard once."""
        where = self.where(ids)
        out: NDArray[np.float32] | None = None
        for shard, here in self._by_shard(where):
            path, rows, length = shard.files.array(name), where[here, 1], len(shard)
            if name == MAPS:
                rows, length = _places(shard, rows), int(shard.mapped.sum())
            array = read_rows(path, len(rows))
            if len(array) != length:
                raise damaged(path, "has another number of rows")
            if out is None:
                out = np.empty((len(where), *array.shape[1:]), np.float32)
            one_run = len(rows) and rows[-1] - rows[0] == len(rows) - 1
            if one_run and np.all(np.diff(rows) == 1):
                out[here] = stored_values(array[rows[0] : rows[-1] + 1])
            else:
                out[here] = stored_values(array[rows])
        return np.empty((0,), np.float32) if out is None else out

    def _by_shard(self, where: IntArray) -> Iterator[tuple[Shard, IntArray]]:
        """Every shard that is asked for, and which of the images (n, 2) are in it."""
        order = np.argsort(where[:, 0], kind="stable")
        numbers, starts = np.unique(where[order, 0], return_index=True)
        for number, here in zip(numbers, np.split(order, starts[1:]), strict=False):
            yield self.shards[number], here

    def features(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Features (n, D) float32 of the given images."""
        return self._gather(ids, "features")

    def has_maps(self, ids: Sequence[str]) -> bool:
        """Whether the pooled-layer maps of all these images are on disk."""
        return bool(self.mapped(ids).all())

    @property
    def has_some_maps(self) -> bool:
        """Whether the pooled-layer maps of any image are on disk."""
        return any(shard.mapped.any() for shard in self.shards)

    def mapped(self, ids: Sequence[str]) -> BoolArray:
        """Whether the pooled-layer maps of each image are on disk, (n,)."""
        where = self.where(ids)
        found = np.zeros(len(where), bool)
        for shard, here in self._by_shard(where):
            found[here] = shard.mapped[where[here, 1]]
        return found

    def stored_maps(self, ids: Sequence[str]) -> StoredMaps:
        """The maps of some images that :meth:`has_maps` is true of, read a part at a time."""
        return StoredMaps(self, ids)

    def maps(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Pooled-layer maps (n, D, h, w) of the given images: the stored values, as float32."""
        return self._gather(ids, MAPS)

    def drop_maps(self) -> None:
        """Delete every stored map; they can be computed again on demand."""
        for shard in self.shards:
            remove(shard.files.maps)
            remove(shard.files.mapped)


def write_shard(
    shard: Shard,
    rows: pd.DataFrame,
    features: NDArray[Any],
    maps: GrowingArray | None,
    kept: BoolArray,
    properties: pd.DataFrame | None = None,
) -> None:
    """Write what the pass says of a shard, flush to the disk, rename.

    Parameters
    ----------
    rows : ROW_COLUMNS; features (n, D); maps of those ``kept`` (n,), None: of none.
    properties : what the images look like; None: nobody looked.
    """
    digests = {shard.files.maps.name: maps.digest} if maps else {}
    with replacing_folder(shard.files.folder, sealed=True, found=digests) as temporary:
        files = ShardFiles(temporary)
        write_array(files.features, features)
        if maps is not None:
            maps.put(files.maps)
            if not kept.all():
                write_array(files.mapped, np.flatnonzero(kept))
        write_frame(files.rows, rows, "snappy")
        if properties is not None:
            write_frame(files.properties, properties, "snappy")


def _names(shards: Sequence[Shard]) -> NDArray[Any]:
    """Ids of the images of some shards, one after the other; those of a whole plan as they lie."""
    plans = list({id(shard.whole): shard.whole for shard in shards}.values())
    if len(plans) == 1 and sum(map(len, shards)) == len(plans[0].names):
        return plans[0].names
    names = [shard.whole.names[shard.start : shard.stop] for shard in shards]
    return np.concatenate(names) if names else np.zeros(0, "S1")


def _places(shard: Shard, rows: IntArray) -> IntArray:
    """Where rows of a shard stand among those whose maps are stored."""
    kept = shard.mapped
    if lacking := int((~kept[rows]).sum()):
        raise damaged(shard.files.maps, f"lacks the maps of {count_of(lacking, 'image')}")
    found: IntArray = np.cumsum(kept)[rows] - 1
    return found
