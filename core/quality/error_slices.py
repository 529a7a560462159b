"""Groups of wrong images that share something: of every class the one that errs most, in words.

Found on half of the held-out images and judged on the other (:mod:`core.statistics.slices`), so
that a class without such a group is told from one with it. A group is looked for among features,
among the values of at most two attributes at once (saved groups are attributes, too), and among
the strategies of a class: the clusters of its explanations (spectral relevance analysis).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.class_arrays import ClassArrays
from core.audits.kept import Kept
from core.audits.strategies import strategies
from core.candidates.cluster_kind import CLUSTER
from core.candidates.linear_kinds import PCA
from core.explain.embedding import chance_reach, contrast
from core.statistics.ranks import aurocs
from core.statistics.slices import Slice, worst_combination, worst_slice
from core.tags.suggested import described, words_of
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter

COLUMNS = (
    *("label", "errs", "rest", "low", "high", "certain", "n", "judged"),
    *("component", "shows", "auroc", "words", "image_ids"),
)
"""Of the table: the class; error rate of the group and of the rest of the class on the half that
judges, and the interval of their difference, corrected over classes; whether it excludes 0; images
of the group in both halves, and in the judging half; the number of the component that sets it
apart most, whether the group shows more or less of it, and its AUROC; words of the data that hold
of the group more than by chance; its images, wrong ones first."""

COMBINATION = (
    *("label", "errs", "rest", "low", "high", "certain", "n", "judged"),
    *("words", "image_ids"),
)
"""The same of a group by attributes; its words are the one or two values that make it."""

STRATEGY = (*COMBINATION, "number", "space")
"""The same of one cluster of explanations: its number, what explanations were compared by (of
:data:`core.candidates.cluster_kind.SPACES`); its words are of the data."""

WORDS = 3


class _Held(NamedTuple):
    """The held-out images of a class."""

    label: str
    class_idx: int
    ids: list[str]
    wrong: BoolArray
    alpha: FloatArray
    """(n, m) of its components, and their"""
    numbers: IntArray


def _each(
    audit: Audit,
    report: Reporter,
    row_of: Callable[[Audit, _Held], dict[str, object] | None],
    columns: tuple[str, ...],
) -> pd.DataFrame:
    """A row of every class with enough errors."""
    rows = []
    for done, facts in enumerate(audit.classes):
        report(Progress("Looking for slices", done, len(audit.classes), "classes"))
        held = _held(audit, audit.class_arrays(facts.class_idx))
        if held.ids and (row := row_of(audit, held)) is not None:
            rows.append(row)
    table = pd.DataFrame(rows, columns=list(columns))
    order = ["certain", "low", "errs"]
    return table.sort_values(order, ascending=False, ignore_index=True, kind="stable")


def _slices(audit: Audit, report: Reporter) -> pd.DataFrame:
    return _each(described(audit, report), report, _by_features, COLUMNS)


def _combinations(audit: Audit, report: Reporter) -> pd.DataFrame:
    return _each(audit, report, _by_attributes, COMBINATION)


def _clusters(audit: Audit, report: Reporter) -> pd.DataFrame:
    if not (audit.candidates["kind"] == CLUSTER).any():
        return pd.DataFrame(columns=list(STRATEGY))
    return _each(described(audit, report), report, _by_strategies, STRATEGY)


error_slices = Kept("slices", COLUMNS, _slices)
"""The group that errs most, of every class with enough errors; certain ones first."""

attribute_slices = Kept("combinations", COMBINATION, _combinations, grouped=True)
"""The same by the values of one attribute, or of two."""

strategy_slices = Kept("strategies", STRATEGY, _clusters, kinds=(CLUSTER,))
"""The same by clusters of explanations; empty where nobody looked for any."""


def _held(audit: Audit, arrays: ClassArrays) -> _Held:
    ids = np.asarray(arrays.image_ids, str)
    rows = audit.rows_of(arrays.image_ids)
    held = audit.held_out[rows]
    wrong = ~audit.images["fair"].to_numpy(bool)[rows][held]
    pca = arrays.of_kind(PCA)
    alpha = np.asarray(pca.alpha)[held]
    return _Held(arrays.label, arrays.class_idx, ids[held].tolist(), wrong, alpha, pca.numbers)


def _by_features(audit: Audit, held: _Held) -> dict[str, object] | None:
    found = worst_slice(audit.features(held.ids), held.wrong, tests=len(audit.classes))
    if found is None:
        return None
    apart = contrast(held.alpha, found.inside)
    first = None if apart.empty else apart.iloc[0]
    return {
        **_row(held, found),
        "component": -1 if first is None else int(held.numbers[int(first["row"])]),
        "shows": "" if first is None else str(first["direction"]),
        "auroc": float("nan") if first is None else float(first["auroc"]),
        "words": _words(audit, held.ids, found.inside),
    }


def _by_attributes(audit: Audit, held: _Held) -> dict[str, object] | None:
    said = words_of(audit, held.ids)
    known = np.array([route == "attribute" for route in said.routes], bool)
    found = worst_combination(said.holds[:, known], held.wrong, tests=len(audit.classes))
    if found is None:
        return None
    texts = np.asarray(said.texts, object)[known]
    return {**_row(held, found[0]), "words": " and ".join(texts[list(found[1])])}


def _by_strategies(audit: Audit, held: _Held) -> dict[str, object] | None:
    listed = strategies(audit, held.class_idx)
    holds = np.array([np.isin(held.ids, one.members) for one in listed], bool)
    tests = len(audit.classes)
    found = worst_combination(
        holds.reshape(-1, len(held.ids)).T, held.wrong, tests=tests, pairs=False
    )
    if found is None:
        return None
    group, (column,) = found
    mine, words = listed[column], _words(audit, held.ids, group.inside)
    return {**_row(held, group), "words": words, "number": mine.key.number, "space": mine.space}


def _row(held: _Held, found: Slice) -> dict[str, object]:
    inside = found.inside
    first = np.argsort(~held.wrong[inside], kind="stable")
    return {
        **{"label": held.label, "errs": found.rate, "rest": found.rest},
        **{"low": found.low, "high": found.high, "certain": found.low > 0},
        **{"n": int(inside.sum()), "judged": int((inside & found.judged).sum())},
        "image_ids": np.asarray(held.ids, str)[inside][first].tolist(),
    }


def _words(audit: Audit, ids: list[str], inside: BoolArray) -> str:
    """What holds of the group beyond chance, most telling first."""
    words = words_of(audit, ids)
    n_in, n_out = int(inside.sum()), int((~inside).sum())
    if not words.texts or not n_in or not n_out:
        return ""
    found = aurocs(words.holds.astype(np.float64), inside[:, None])[:, 0]
    reach = chance_reach(n_in, n_out, len(found))
    order = [i for i in np.argsort(-found, kind="stable") if found[i] > 0.5 + reach]
    return ", ".join(words.texts[i] for i in order[:WORDS])
