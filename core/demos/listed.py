"""How a demo lists what it drew: the image list, and what was planted in each class."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

from core.errors import DataError
from core.storage.json_values import JsonValue, as_json, later

Row = Mapping[str, str | int]
"""An image by column."""


@dataclass(frozen=True)
class Planted(JsonValue):
    """What was planted in a class; see :class:`core.types.ImageTable`."""

    cue: str | None
    """Attribute that says which images show it; None where none does."""
    value: str = later("")
    """Of the attribute, where it is no switch."""
    kind: str = ""
    """``object``, ``background``, ``texture`` or ``none``."""
    where: str | None = None
    """Column of the masks that show it."""
    note: str = ""
    rate_own: float = later(nan)
    """Share of images of the class with the cue, 0 to 1."""
    rate_elsewhere: float = later(nan)
    """The same of the other classes."""


MOST = 10_000
"""Images of a class that are drawn at most: a gigabyte of pictures."""


def check_count(demo: str, per_class: int, least: int = 10) -> None:
    """Raise DataError unless so many images of a class can be drawn, and say something."""
    if not least <= per_class <= MOST:
        size = "small" if per_class < least else "large"
        raise DataError(
            f"demo:{demo}: per_class {per_class} is too {size}; use {least} to {MOST:,}."
        )


def write_list(
    folder: Path, columns: Sequence[str], rows: Iterable[Row], planted: Mapping[str, Planted]
) -> None:
    """Write ``manifest.csv`` and ``planted.json`` into the folder of a demo."""
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    truth = json.dumps(as_json(planted), indent=2)
    (folder / "planted.json").write_text(truth + "\n", encoding="utf-8")
