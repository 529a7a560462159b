"""What an audit says of its images and of its candidates: tables that every page holds."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from core.candidates.search import COLUMNS
from core.storage.digests import whole_of
from core.storage.documents import IMAGES, PREDICTED
from core.storage.files import NO_TABLE, damaged, read_frame, sound
from core.storage.layout import AuditFiles
from core.storage.memory import choose_pool, hand_back
from core.storage.table_columns import in_one_piece, read_with_lists

if TYPE_CHECKING:
    import pandas as pd


_read: WeakValueDictionary[str, pd.DataFrame] = WeakValueDictionary()
"""Tables that somebody holds, by the digest of the images they begin with."""


def read_images(files: AuditFiles) -> pd.DataFrame:
    """Every readable image with its prediction, indexed by ``image_id``.

    The table's columns, and ``prediction`` (output index), ``confidence``, ``loss``, ``correct``
    and ``fair`` (:func:`core.audits.analysis.analyse`). No column is copied that needs not be: at
    a million images each is ten megabytes and more. Audits of the same images, as those of several
    models or of a correction, share what is not predicted.
    """
    import pandas as pd

    choose_pool()
    digest = whole_of(files.images)
    images = _of_images(files, _read.get(digest))
    predictions = read_frame(files.predictions, needed=["image_id", *PREDICTED])
    if not images.index.equals(pd.Index(predictions.pop("image_id"))):
        raise damaged(files.predictions, "is of other images than images.parquet")
    found = pd.concat([images, predictions.set_axis(images.index)], axis=1)
    if digest:
        _read.setdefault(digest, found)
    hand_back()
    return found


def _of_images(files: AuditFiles, held: pd.DataFrame | None) -> pd.DataFrame:
    """What is not predicted, from a table of the same images where there is one."""
    if held is not None:
        with sound(files.images, NO_TABLE):
            return held.drop(columns=PREDICTED)
    images = in_one_piece(read_frame(files.images, needed=IMAGES))
    if not (readable := images["readable"].astype(bool)).all():
        images = images[readable]
    return images.set_index("image_id")


def read_candidates(files: AuditFiles) -> pd.DataFrame:
    """Every candidate of every class (:data:`core.candidates.search.COLUMNS`)."""
    choose_pool()
    found = read_with_lists(files.candidates, "top_image_ids", COLUMNS)
    hand_back()
    return found
