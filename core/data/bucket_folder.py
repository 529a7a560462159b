"""Images in a folder of a bucket: one folder per class, perhaps below one folder per split."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from core.data.far_images import require_allowed
from core.data.folder import COLUMNS, is_image_name
from core.data.split_names import kind_of, split_name
from core.data.table import Listing
from core.errors import DataError
from core.storage.bucket import DRIVERS, Bucket, is_address
from core.types import TRAIN, count_of


def is_bucket(source: str) -> bool:
    """Whether a DATA argument names a folder of a bucket."""
    return is_address(source) and source.partition("://")[0] in DRIVERS


def permitted_folder(source: str) -> str:
    """The address of a folder in a bucket, without a slash at its end.

    Raises
    ------
    InputError
        If it was not allowed at the start.
    """
    address = source.rstrip("/")
    require_allowed(f"{address}/")
    return address


def read_bucket_folder(address: str, root: Path) -> Listing:
    """List the images below an address, which keep theirs.

    Where every folder at the top is named like a split and holds folders, these are classes
    (``train/CLASS/IMAGE``); otherwise those at the top are (``CLASS/IMAGE``), at any depth, and
    all images are ``train``. Hidden names are left out.

    Parameters
    ----------
    root : a folder of this machine, that nothing is read from.

    Raises
    ------
    DataError
        If there is no image below any class folder.
    WorkspaceError
        If the bucket is not there, or refuses.
    """
    objects = list(Bucket.of(address).every())
    shown = [name for name in objects if not any(p.startswith(".") for p in name.split("/"))]
    parts = [name.split("/") for name in sorted(shown) if is_image_name(name) and "/" in name]
    if not parts:
        raise DataError(
            f"{address} has no image in a class folder; expected {address}/CLASS/IMAGE or "
            f"{address}/train/CLASS/IMAGE, or give a manifest of this machine, .csv or .parquet, "
            "whose column path holds addresses"
        )
    tops = sorted({part[0] for part in parts})
    kinds = {top: kind_of(top, tops) for top in tops}
    split = all(kinds.values()) and all(len(part) > 2 for part in parts)
    rows = [
        ("/".join([address, *part]), part[split], split_name(part[0], kinds[part[0]]))
        if split
        else ("/".join([address, *part]), part[0], TRAIN)
        for part in parts
    ]
    left = len(objects) - len(parts)
    notes = (f"Left out, no image of a class folder: {count_of(left, 'object')}.",) if left else ()
    return Listing(root, pd.DataFrame(rows, columns=COLUMNS, dtype="str"), notes)
