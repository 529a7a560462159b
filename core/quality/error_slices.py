"""Groups of wrong images that share something: of every class the one that errs most, in words.

Found on half of the held-out images and judged on the other (:mod:`core.statistics.slices`), so
that a class without such a group is told from one with it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.class_arrays import ClassArrays
from core.audits.kept import Kept
from core.candidates.linear_kinds import PCA
from core.explain.embedding import chance_reach, contrast
from core.statistics.ranks import aurocs
from core.statistics.slices import worst_slice
from core.tags.suggested import described, words_of
from core.types import BoolArray, Progress, Reporter

COLUMNS = (
    *("label", "errs", "rest", "low", "high", "certain", "n", "judged"),
    *("component", "shows", "auroc", "words", "image_ids"),
)
"""Of the table: the class; error rate of the group and of the rest of the class on the half that
judges, and the interval of their difference, corrected over classes; whether it excludes 0; images
of the group in both halves, and in the judging half; the number of the component that sets it
apart most, whether the group shows more or less of it, and its AUROC; words of the data that hold
of the group more than by chance; its images, wrong ones first."""

WORDS = 3


def _slices(audit: Audit, report: Reporter) -> pd.DataFrame:
    audit = described(audit, report)
    rows = []
    for done, facts in enumerate(audit.classes):
        report(Progress("Looking for slices", done, len(audit.classes), "classes"))
        if (row := _of_class(audit, audit.class_arrays(facts.class_idx))) is not None:
            rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = ["certain", "low", "errs"]
    return table.sort_values(order, ascending=False, ignore_index=True, kind="stable")


error_slices = Kept("slices", COLUMNS, _slices)
"""The group that errs most, of every class with enough errors; certain ones first."""


def _of_class(audit: Audit, arrays: ClassArrays) -> dict[str, object] | None:
    ids = np.asarray(arrays.image_ids, str)
    rows = audit.images.index.get_indexer(ids)
    held = audit.held_out[rows]
    ids, alpha = ids[held], np.asarray(arrays.of_kind(PCA).alpha)[held]
    wrong = ~audit.images["fair"].to_numpy(bool)[rows][held]
    if not len(ids):
        return None
    found = worst_slice(audit.features(ids.tolist()), wrong, tests=len(audit.classes))
    if found is None:
        return None
    inside = found.inside
    apart = contrast(alpha, inside)
    first = None if apart.empty else apart.iloc[0]
    return {
        **{"label": arrays.label, "errs": found.rate, "rest": found.rest},
        **{"low": found.low, "high": found.high, "certain": found.low > 0},
        **{"n": int(inside.sum()), "judged": int((inside & found.judged).sum())},
        "component": -1 if first is None else int(arrays.of_kind(PCA).numbers[int(first["row"])]),
        "shows": "" if first is None else str(first["direction"]),
        "auroc": float("nan") if first is None else float(first["auroc"]),
        "words": _words(audit, ids, inside),
        "image_ids": ids[inside][np.argsort(~wrong[inside], kind="stable")].tolist(),
    }


def _words(audit: Audit, ids: np.ndarray, inside: BoolArray) -> str:
    """What holds of the group beyond chance, most telling first."""
    words = words_of(audit, ids.tolist())
    n_in, n_out = int(inside.sum()), int((~inside).sum())
    if not words.texts or not n_in or not n_out:
        return ""
    found = aurocs(words.holds.astype(np.float64), inside[:, None])[:, 0]
    reach = chance_reach(n_in, n_out, len(found))
    order = [i for i in np.argsort(-found, kind="stable") if found[i] > 0.5 + reach]
    return ", ".join(words.texts[i] for i in order[:WORDS])
