"""Tables as CSV files that a spreadsheet opens without running anything in them.

Names of classes, people and files come from anywhere. A spreadsheet takes a cell that begins with
``=``, ``+``, ``-``, ``@``, a tab or a line break for a formula, so such a text gets an apostrophe
in front (as OWASP advises, "CSV Injection"); so does one that has apostrophes before such a
character, which makes taking one off again unambiguous (:func:`unguarded`). Numbers stay numbers,
those in columns of text as well: nothing can be run in ``-0.5``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from core.errors import WorkspaceError
from core.storage.files import replacing

if TYPE_CHECKING:
    import pandas as pd

STARTS = "[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
"""What a formula begins with; the last four are the wide forms of the first."""

ELSEWHERE = "choose another --out"

FORMULA = re.compile(f"'*{STARTS}")
GUARDED = re.compile(f"'+{STARTS}")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def guarded(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula; anything else as it is."""
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def unguarded(value: Any) -> Any:
    """What :func:`guarded` was given."""
    return value[1:] if isinstance(value, str) and GUARDED.match(value) else value


@contextmanager
def exported(out: Path) -> Iterator[Path]:
    """Yield a temporary path; on success it becomes the file ``out`` in one step.

    Raises
    ------
    WorkspaceError
        If the file cannot be made there; the remedy names the option ``--out``.
    """
    try:
        with replacing(out, ELSEWHERE) as temporary:
            yield temporary
    except FileNotFoundError as error:  # places like /proc
        raise WorkspaceError(f"cannot make the file {out}; {ELSEWHERE}") from error


def write_csv(table: pd.DataFrame, target: Path | IO[bytes]) -> None:
    r"""Write a table, its index left out, as UTF-8; every text and header :func:`guarded`.

    Halves of surrogate pairs, as names of files may hold, are written as ``\udcff``.
    """
    import pandas as pd

    safe = table.set_axis([guarded(name) for name in table.columns], axis="columns")
    returns = any("\r" in str(name) for name in table.columns)
    for place, kind in enumerate(table.dtypes):
        if kind.kind == "O":  # texts, in whatever way pandas holds them
            texts = [guarded(value) for value in table.iloc[:, place]]
            safe.isetitem(place, pd.Series(texts, safe.index, dtype=object))
            returns |= any("\r" in value for value in texts if isinstance(value, str))
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL  # else it would end the row
    safe.to_csv(target, index=False, encoding="utf-8", errors="backslashreplace", quoting=quoting)


def csv_bytes(table: pd.DataFrame) -> bytes:
    """What :func:`write_csv` writes, for a page that offers it."""
    buffer = io.BytesIO()
    write_csv(table, buffer)
    return buffer.getvalue()


class Form(NamedTuple):
    """How a table of text was written."""

    encoding: str
    separator: str
    decimal: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not as in a plain CSV file, in a sentence."""
        if self.separator == ",":
            return ()
        comma = " and commas as decimal marks" if self.decimal == "," else ""
        return (f"{SEPARATORS[self.separator]} are read as what stands between cells{comma}.",)


SEPARATORS = {",": "Commas", ";": "Semicolons", "\t": "Tabs"}
"""What stands between the cells of a table that is text, and what it is called."""

UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""First bytes of text as Excel writes it where it says Unicode."""


def form_of(path: Path) -> Form:
    """Encoding, separator and decimal mark of a table of text, from its beginning.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as stream:
        start = stream.read(1 << 16)
    encoding = "utf-16" if start[:2] in UTF16 else "utf-8-sig"
    text = start.decode(encoding, "ignore")
    header = text.partition("\n")[0]
    separator = max(SEPARATORS, key=header.count)
    commas = re.search(r"(?:^|;)-?\d+,\d+\s*(?:;|$)", text, re.MULTILINE)
    return Form(encoding, separator, "," if separator == ";" and commas else ".")
