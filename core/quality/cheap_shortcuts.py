"""What tells the label without the object: properties of pixels, files and attributes.

Each property alone is asked for the label of images (cross-validated) and for the model's errors
within a class. Telling the label is no fault by itself, since sky is blue above what flies; a
shortcut is called only what tells the errors, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.kept import Kept
from core.data.properties import NUMBERS
from core.quality.image_files import files_of
from core.statistics.binned import all_told, errors_told, label_told, number_bins, word_bins
from core.statistics.multiplicity import corrected
from core.tags.suggested import described
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter

COLUMNS = (
    *("property", "of", "accuracy", "chance", "p_label", "tells_label"),
    *("explained", "chance_explained", "p_errors", "tells_errors", "reading", "worst", "n"),
)
"""Of the table: what it is of (pixels, file, attribute); how often it tells the label alone, beside
shuffled labels; how much of the errors within classes it explains, beside shuffled errors; p values
corrected over all rows (Benjamini & Hochberg 1995); the class whose errors differ most, in words;
images. The last row is TOGETHER: all properties of pixels and files at once, asked for the label
alone."""

TOGETHER = "all together"

LEVEL = 0.05
LEAST = 10
"""Images of a bin whose errors are put in words."""

NOTHING, LABEL, ERRORS, SHORTCUT = "", "tells the label", "tells the errors", "shortcut"


class Property(NamedTuple):
    """A property of the images."""

    name: str
    of: str
    bins: IntArray
    """(N,) over all images."""
    words: dict[int, str]
    """What a bin is called."""


def _shortcuts(audit: Audit, report: Reporter) -> pd.DataFrame:
    """The table, the shortcuts first."""
    audit = described(audit, report)
    every = list(properties(audit, files_of(audit, report)))
    names = audit.images["label"].to_numpy(str)
    called = audit.class_names
    held = audit.held_out
    wrong = 1.0 - audit.images["fair"].to_numpy(np.float64)
    rows = []
    for done, found in enumerate(every):
        report(Progress("Asking properties", done, len(every), "properties"))
        rows.append(_row(found, names, wrong, held, called))
    table = pd.DataFrame(rows)
    if table.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    table["tells_label"] = _called(table, "p_label")
    table["tells_errors"] = _called(table, "p_errors")
    readings = {(0, 0): NOTHING, (1, 0): LABEL, (0, 1): ERRORS, (1, 1): SHORTCUT}
    told = zip(table["tells_label"], table["tells_errors"], strict=True)
    table["reading"] = [readings[int(label), int(errors)] for label, errors in told]
    order = ["tells_errors", "tells_label", "explained", "accuracy"]
    table = table.sort_values(order, ascending=False, ignore_index=True)[list(COLUMNS)]
    together = [found.bins for found in every if found.of != "attribute"]
    rows = [*table.to_dict("records"), *([_together(together, names)] if together else [])]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _together(bins: list[IntArray], names: np.ndarray) -> dict[str, object]:
    """What all properties of pixels and files tell of the label at once."""
    told = all_told(bins, np.unique(names, return_inverse=True)[1])
    tells = told.p <= LEVEL
    return {
        **{"property": TOGETHER, "of": "pixels and files"},
        **{"accuracy": told.figure, "chance": told.chance, "p_label": told.p},
        **{"explained": np.nan, "chance_explained": np.nan, "p_errors": np.nan},
        **{"tells_label": tells, "tells_errors": False, "reading": LABEL if tells else NOTHING},
        **{"worst": "", "n": len(names)},
    }


def alone(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of single properties."""
    return found[found["property"] != TOGETHER]


def together(found: pd.DataFrame) -> str:
    """What all of them tell at once, in a sentence; empty where nothing was asked."""
    rows = found[found["property"] == TOGETHER]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    return (
        f"all properties of pixels and files together tell the label of {100 * row['accuracy']:.0f}"
        f" % of the images, of shuffled labels {100 * row['chance']:.0f} %"
    )


cheap_shortcuts = Kept("shortcuts", COLUMNS, _shortcuts, version=2)
"""Every property with what it tells (:data:`COLUMNS`), the shortcuts first."""


def _called(table: pd.DataFrame, column: str) -> BoolArray:
    """Which rows are called, over the whole table; the column then holds the corrected p."""
    table[column] = corrected(table[column].to_numpy(np.float64), "fdr_bh")
    found: BoolArray = table[column].to_numpy(np.float64) <= LEVEL
    return found


def properties(audit: Audit, files: pd.DataFrame) -> Iterator[Property]:
    """Every property that differs between images."""
    pixels, images = audit.properties, audit.images
    for name in (*NUMBERS, "aspect"):
        yield from _number(name, "pixels", pixels[name])
    yield from _word("colour", "pixels", pixels["colour"])
    yield from _number("pixels", "file", images["width"] * images["height"])
    for name in ("file_bytes", "jpeg_quality"):
        yield from _number(name.replace("_", " "), "file", files[name])
    for name in ("file_format", "camera", "name_pattern"):
        yield from _word(name.replace("_", " "), "file", files[name])
    for name in audit.summary.attributes:
        numbers = pd.to_numeric(images[name], errors="coerce")
        many = numbers.notna().all() and numbers.nunique() > 24
        yield from (_number if many else _word)(str(name), "attribute", images[name])


def _number(name: str, of: str, column: pd.Series) -> Iterator[Property]:
    values = column.to_numpy(np.float64)
    bins = number_bins(values)
    if len(present := np.unique(bins)) > 1:
        yield Property(name, of, bins, {int(b): _range(values[bins == b]) for b in present})


def _range(values: FloatArray) -> str:
    known = values[np.isfinite(values)]
    return f"{_short(known.min())} to {_short(known.max())}" if len(known) else "unknown"


def _short(value: float) -> str:
    """A number of two figures, written out: 16,000, not 1.6e+04."""
    return f"{float(f'{value:.2g}'):,.10g}"


def _word(name: str, of: str, column: pd.Series) -> Iterator[Property]:
    texts = column.astype(object).where(column.notna(), "").astype(str).to_numpy(str)
    bins = word_bins(texts)
    if len(present := np.unique(bins)) > 1:
        yield Property(name, of, bins, {int(b): _common(texts[bins == b]) for b in present})


def _common(texts: np.ndarray) -> str:
    values = np.unique(texts)
    return (str(values[0]) or "none") if len(values) == 1 else "any other"


def _row(
    found: Property,
    names: np.ndarray,
    wrong: FloatArray,
    held: BoolArray,
    called: Mapping[str, str],
) -> dict[str, object]:
    labels = np.unique(names, return_inverse=True)[1]
    told = label_told(found.bins, labels)
    errors = errors_told(found.bins[held], wrong[held], labels[held])
    return {
        **{"property": found.name, "of": found.of},
        **{"accuracy": told.figure, "chance": told.chance, "p_label": told.p},
        **{"explained": errors.figure, "chance_explained": errors.chance, "p_errors": errors.p},
        **{"worst": _worst(found, names, wrong, held, called), "n": len(labels)},
    }


def _worst(
    found: Property,
    names: np.ndarray,
    wrong: FloatArray,
    held: BoolArray,
    called: Mapping[str, str],
) -> str:
    """The class and bins between which errors differ most, of enough held-out images, in words."""
    table = pd.DataFrame({"bin": found.bins[held], "label": names[held], "wrong": wrong[held]})
    rates = table.groupby(["label", "bin"])["wrong"].agg(["mean", "size"])
    rates = rates[rates["size"] >= LEAST]["mean"].reset_index()
    if rates.empty:
        return ""
    ends = rates.sort_values("mean", kind="stable").groupby("label").agg(["first", "last"])
    apart = ends["mean", "last"] - ends["mean", "first"]
    if not (apart > 0).any():
        return ""
    label = apart.idxmax()
    row = ends.loc[label]
    said = [
        f"{100 * row['mean', end]:.0f} % at {found.words[int(row['bin', end])]}"
        for end in ("last", "first")
    ]
    return f"{called.get(label, label)}: {said[0]}, {said[1]}"
