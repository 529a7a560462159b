"""Several audited models and the mean of their probabilities, side by side, against the cue.

The published remedy against misplaced confidence (Lakshminarayanan et al. 2017; Ovadia et al.
2019). Models that lean on one cue err together where it is missing, so that their mean helps least
there: every figure stands beside the same by tenth of the cues that were tagged in the first model.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from core.audits.audit import Audit
from core.measures.accuracy import ACCURACY
from core.measures.calibrated import calibration_rows, changes
from core.measures.conditions import ALL, CUE, conditions
from core.measures.rows import COLUMNS, as_table
from core.measures.unseen import each_and_mean
from core.statistics.forecasts import forecasts
from core.tags.decisions import Decisions

MODEL = "model"
"""Column beside those of every table of measures (:data:`core.measures.rows.COLUMNS`): which model
a figure is of, by the id of its audit, or MEAN. Rows of a change say what the mean of all does to
that model."""

MEAN = ""


def ensembled(audits: Sequence[Audit], decisions: Decisions) -> pd.DataFrame:
    """Accuracy and calibration of every model and of their mean, on images held out in all.

    Parameters
    ----------
    audits : two or more that choose among the same classes.
    decisions : of the first, whose cues the images are placed along.

    Raises
    ------
    InputError
        If the models choose among other classes, or share no labelled held-out image.
    """
    known = each_and_mean(audits)
    groups = [g for g in conditions(audits[0], decisions, known[0].ids) if g.kind in (ALL, CUE)]
    every = [forecasts(each.logits, each.labels) for each in known]
    tables = []
    for name, found in zip([*(audit.id for audit in audits), MEAN], every, strict=True):
        rows = [r for g in groups for r in calibration_rows(g, found.of(g.rows), known[0].split)]
        if name != MEAN:
            rows += changes(groups, found, every[-1], known[0].split)
        tables.append(as_table(rows).assign(**{MODEL: name}))
    return pd.concat(tables, ignore_index=True)[[MODEL, *COLUMNS]]


def along_cue(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Accuracy of a model by tenth of the cue."""
    mine = table[(table[MODEL] == model) & (table["measure"] == ACCURACY.name)]
    return mine[mine["subject"].str.startswith(f"{CUE} ")]
