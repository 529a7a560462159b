"""What was tested and showed nothing: a report that lists harm alone would hide how much it saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.report import sentences as words
from core.report.findings import Finding, Verdict
from core.report.sentences import Sentence
from core.trials.confirmed import confirmed
from core.trials.leaning import leaning
from core.types import count_of

IN_MAPS, IN_PIXELS = "Put into other classes' images in the maps", "Pasted as pixels"


def passed(audit: Audit, findings: Sequence[Finding], labels: Sequence[str]) -> list[Sentence]:
    """Tagged cues that showed no harm where harm would have shown, and candidates that do nothing.

    Parameters
    ----------
    findings : those of the audit; labels : of the classes that the report is about.
    """
    tried = [each for each in findings if each.by and not each.by.obstacle]
    found = [words.verdict(each) for each in tried if each.verdict is Verdict.OPEN]
    for table, how in ((leaning(audit), IN_MAPS), (confirmed(audit), IN_PIXELS)):
        found += _at_rest(audit, table, how, labels)
    return found


def _at_rest(audit: Audit, table: pd.DataFrame, how: str, labels: Sequence[str]) -> list[Sentence]:
    """Which of the candidates that were tried are not above their control."""
    names = {facts.class_idx: facts.name for facts in audit.classes if facts.label in labels}
    table = table[table["class_idx"].isin(names) & table["lean"].notna()]
    if table.empty:
        return []
    rest = (table["lean_low"] <= 0).to_numpy(bool)
    kept = table.groupby("class_idx")["lean_low"].max()
    still = [names[int(place)] for place in kept.index[np.asarray(kept <= 0)]]
    of = f"of {count_of(len(table), 'candidate')}"
    whole = f"; none of {words.names(still)} is" if still else ""
    low = count_of(int(rest.sum()), f"{of} is not above its", f"{of} are not above their")
    return [Sentence(f"{how}, {low} control, the same shape from elsewhere in the class{whole}.")]
