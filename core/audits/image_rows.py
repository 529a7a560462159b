"""What an audit says of its images, as one table: read once, and held by every page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.storage.documents import IMAGES, PREDICTED
from core.storage.files import damaged, read_frame
from core.storage.layout import AuditFiles
from core.storage.table_columns import hand_back_tables

if TYPE_CHECKING:
    import pandas as pd


def read_images(files: AuditFiles) -> pd.DataFrame:
    """Every readable image with its prediction, indexed by ``image_id``.

    The table's columns, and ``prediction`` (output index), ``confidence``, ``loss``, ``correct``
    and ``fair`` (:func:`core.audits.analysis.analyse`). No column is copied that needs not be: at
    a million images each is ten megabytes and more.
    """
    import pandas as pd

    images = read_frame(files.images, needed=IMAGES)
    if not (readable := images["readable"].astype(bool)).all():
        images = images[readable]
    images = images.set_index("image_id")
    predictions = read_frame(files.predictions, needed=["image_id", *PREDICTED])
    if not images.index.equals(pd.Index(predictions.pop("image_id"))):
        raise damaged(files.predictions, "is of other images than images.parquet")
    found = pd.concat([images, predictions.set_axis(images.index)], axis=1)
    hand_back_tables()
    return found
