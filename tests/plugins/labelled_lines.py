"""A source of data of another package: a text file of ``label<TAB>path`` lines."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from core.data.source import NAME, Asked, Source, register
from core.data.table import Listing


def read(asked: Asked) -> Listing:
    file = Path(asked.name)
    rows = [line.split("\t") for line in file.read_text().splitlines()]
    frame = pd.DataFrame(rows, columns=["label", "path"], dtype="str")
    return Listing(root=file.parent, frame=frame.assign(split=asked.options.get("split", "train")))


SOURCE = Source(
    name="labelled-lines",
    form="labelled-lines:FILE",
    text="A text file with a label, a tab and a path in each line; ?split=NAME says their split.",
    read=read,
    paths=(NAME,),
)


def add() -> None:
    register(SOURCE)
