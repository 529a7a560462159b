"""What only the loaded model can say of the audits of a comparison: stored outcomes, and the cost.

The outcomes are those that the table of measures is made of (:mod:`core.trials.outcomes`): an
audit that was measured is not measured again here, nor the other way round. The size and speed of a
model lie beside them, in ``outcomes/cost-4f0c….json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from core.audits.audit import Audit
from core.measures.cost import cost, cost_path
from core.measures.measure import SEVERAL
from core.measures.registry import MEASURES
from core.measures.scores import cue_table, is_scored
from core.measures.stored import make_outcomes
from core.storage.files import write_json
from core.tags.decisions import Decisions
from core.trials.outcomes import PASTED, Outcomes
from core.types import Progress, Reporter, silent

NOISE, FLIPS, COST = "noise", "flips", "cost"

NAMES = {PASTED: FLIPS}
"""Outcomes that go by another name here."""


def kinds() -> dict[str, str]:
    """The outcomes that the compared measures are made of, by name."""
    needed = [kind for measure in MEASURES.seen_in(SEVERAL) for kind in measure.needs]
    return {NAMES.get(kind, kind): kind for kind in needed}


def missing(audit: Audit, decisions: Decisions) -> list[str]:
    """Trials that could be made now and are not stored."""
    outcomes = Outcomes(audit, decisions)
    wanted = [] if cost_path(audit).exists() else [COST]
    return wanted + [name for name, kind in kinds().items() if outcomes.missing([kind])]


def make_trials(
    audit: Audit,
    decisions: Decisions,
    wanted: Sequence[str],
    cue_images: Mapping[str, Path] | None = None,
    *,
    report: Reporter = silent,
) -> None:
    """Make and store trials of one audit; the model is loaded once, and only if there is work.

    Parameters
    ----------
    wanted : COST, and some of :func:`kinds`.
    cue_images : folder of cue-only images by raw label, for the score.
    """
    given = cue_images or {}
    cues = {k: folder for k, folder in given.items() if not is_scored(audit, k, folder)}
    if not wanted and not cues:
        return
    report(Progress(f"{audit.name}: loading the model", 0, 0))
    model = audit.load_model()

    def said(progress: Progress) -> None:
        report(progress._replace(stage=f"{audit.name}: {progress.stage.lower()}"))

    for label, folder in cues.items():
        cue_table(audit, label, folder, model=model, report=said)
    if COST in wanted:
        write_json(cost_path(audit), cost(audit, model))
    if made := [kind for name, kind in kinds().items() if name in wanted]:
        make_outcomes(audit, decisions, made, model=model, report=said)
