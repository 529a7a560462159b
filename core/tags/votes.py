"""From several people's tags to one decision per candidate. Plain tables in, plain tables out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.tags.log import TagEvent
from core.types import Subtype, Tag

OPEN = "open"
"""The decision where no tag has enough votes."""

ADJUDICATION = "adjudication"
"""The annotator whose tag settles a candidate; it is no vote and counts in no agreement."""

GOLD = "gold"
"""The annotator whose tags are known answers: mixed into everybody's queue, and people are held
against them. Neither a vote nor a decision."""

KEYS = ["label", "kind", "component"]
COLUMNS = [*KEYS, "n", "core", "spurious", "separate_object", "background", "unsure"]


def of_people(table: pd.DataFrame) -> pd.DataFrame:
    """The answers that people gave: neither adjudicated tags nor known answers."""
    return table[~table["annotator"].isin([ADJUDICATION, GOLD])]


def needed(n: int, threshold: int | None = None) -> int:
    """Votes that decide among n: more than half, floor(n / 2) + 1.

    For 5 answers 3, as published (Singla & Feizi 2022, section 4); for 4 also 3, so that a tie
    stays open. ``threshold`` asks for a fixed number instead.
    """
    return threshold if threshold is not None else n // 2 + 1


def answers(events: Sequence[TagEvent]) -> pd.DataFrame:
    """Standing tags as a table: KEYS, annotator, tag, subtype, confidence, reason, at, called."""
    rows = [
        {
            "label": e.label,
            "kind": e.kind,
            "component": e.component,
            "annotator": e.annotator,
            "tag": e.tag.value if e.tag else None,
            "subtype": e.subtype.value if e.subtype else None,
            "confidence": e.confidence,
            "reason": e.reason,
            "at": e.at,
            "called": e.called,
        }
        for e in events
    ]
    names = [*KEYS, "annotator", "tag", "subtype", "confidence", "reason", "at", "called"]
    table = pd.DataFrame(rows, columns=names)
    table["confidence"] = table["confidence"].astype("Int64")
    return table.sort_values([*KEYS, "annotator"], kind="stable", ignore_index=True)


def count_votes(table: pd.DataFrame, *, threshold: int | None = None) -> pd.DataFrame:
    """One row per tagged candidate: counts, the decision and its subtype.

    Parameters
    ----------
    table : as :func:`answers` makes it.
    threshold : see :func:`needed`.

    Returns
    -------
    COLUMNS (counts; ``spurious`` includes its subtypes), ``decision`` (core, spurious, unsure or
    open), ``subtype`` (of a spurious decision, where one subtype alone has enough votes) and
    ``confidence`` (mean, NaN where nobody said).
    """
    settled = table[table["annotator"] == ADJUDICATION].set_index(KEYS)
    everybody, table = table[table["annotator"] != GOLD], of_people(table)
    if everybody.empty:
        return pd.DataFrame(columns=[*COLUMNS, "decision", "subtype", "confidence"])
    if table.empty:
        return _settle(everybody[KEYS].assign(**dict.fromkeys(COLUMNS[3:], 0)), settled)
    flags = table[KEYS].copy()
    for tag in Tag:
        flags[tag.value] = (table["tag"] == tag.value).astype(int)
    for subtype in Subtype:
        flags[subtype.value] = (table["subtype"] == subtype.value).astype(int)
    flags["n"] = 1
    flags["confidence"] = table["confidence"].astype("float64")
    how = {name: "sum" for name in COLUMNS[3:]} | {"confidence": "mean"}
    found = flags.groupby(KEYS, as_index=False, sort=True).agg(how)
    enough = found["n"].map(lambda n: needed(int(n), threshold)).to_numpy()
    found["decision"] = _first(found, [tag.value for tag in Tag], enough, OPEN)
    subtype_of = _first(found, [s.value for s in Subtype], enough, None)
    spurious = (found["decision"] == Tag.SPURIOUS.value).to_numpy()
    subtype_of[~spurious] = None
    found["subtype"] = pd.Series(subtype_of, dtype=object)
    return _settle(found, settled)


def _settle(votes: pd.DataFrame, settled: pd.DataFrame) -> pd.DataFrame:
    """Let adjudicated tags decide; candidates with nothing else get a row of their own."""
    names = [*COLUMNS, "decision", "subtype", "confidence"]
    found = votes.reindex(columns=names).set_index(KEYS)
    missing = settled.index.difference(found.index)
    if len(missing):
        found = found.reindex(found.index.union(missing))
        found[COLUMNS[3:]] = found[COLUMNS[3:]].fillna(0).astype(int)
    for name in ("decision", "subtype"):
        found[name] = found[name].astype(object).where(found[name].notna(), None)
    for key, row in settled.iterrows():
        found.at[key, "decision"] = row["tag"]
        found.at[key, "subtype"] = row["subtype"] if row["subtype"] == row["subtype"] else None
    return found.sort_index(kind="stable").reset_index()[names]


def _first(
    table: pd.DataFrame, names: Sequence[str], enough: np.ndarray, otherwise: str | None
) -> np.ndarray:
    """The name whose count is enough in every row; with a low threshold the largest count wins."""
    counts = table[list(names)].to_numpy()
    best = counts.argmax(axis=1)
    top = counts.max(axis=1)
    alone = (counts == top[:, None]).sum(axis=1) == 1
    chosen: np.ndarray = np.array(names, dtype=object)[best]
    chosen[(top < enough) | ~alone] = otherwise
    return chosen
