"""What a mitigation left in the folder of its audit, read."""

from __future__ import annotations

from math import isfinite

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.corrections import effect, tradeoff
from core.corrections.choice import LOSS
from core.errors import InputError
from core.measures.cue_figures import CUE_GAP
from core.measures.cue_groups import WORST
from core.storage.audit_manifest import Manifest, Provenance
from core.storage.documents import Shape
from core.storage.files import read_frame, read_json, there
from core.storage.workspace import Workspace

CHANGED: Shape = {"better": [str], "worse": [str], "other": [str], "pictures": bool}
"""What ``changed.json`` holds at least."""


def is_derived(audit: Audit) -> bool:
    """Whether an audit is of a corrected model."""
    return audit.manifest.mitigation is not None


def facts_of(audit: Audit) -> Provenance:
    """What was done to which parent.

    Raises
    ------
    InputError
        If the audit is of no corrected model.
    """
    if audit.manifest.mitigation is None:
        raise InputError(f"audit {audit.name!r} is of no corrected model")
    return audit.manifest.mitigation


def parent_of(audit: Audit, workspace: Workspace) -> Audit | None:
    """The audit that a derived one was made from; None where it was deleted."""
    files = workspace.files(facts_of(audit).parent)
    return Audit(files.folder) if files.summary.exists() else None


def effect_table(audit: Audit) -> pd.DataFrame:
    """The table before and after (:data:`core.corrections.effect.COLUMNS`).

    Tables of earlier versions call a gap by an attribute ``spurious_gap`` and the worst group of
    class and cue ``worst_group_accuracy``; here they have the names of now.

    Raises
    ------
    InputError
        If it has not been measured to the end.
    """
    path = audit.files.mitigation.effect
    if not there(path):
        raise InputError(
            f"audit {audit.name!r} has no table before and after yet: run the same mitigate "
            "command again"
        )
    table = read_frame(path, needed=effect.COLUMNS)
    by_attribute = table["subject"].str.startswith("attribute ")
    gap, worst = (table["measure"] == name for name in ("spurious_gap", "worst_group_accuracy"))
    table.loc[gap & by_attribute, "measure"] = CUE_GAP.name
    table.loc[worst, "measure"] = WORST.name
    return table


def tradeoff_table(audit: Audit) -> pd.DataFrame | None:
    """Every strength tried (:data:`core.corrections.tradeoff.COLUMNS`); None without a sweep.

    Of earlier versions without a worst group, which is NaN.
    """
    path = audit.files.mitigation.tradeoff
    if not there(path):
        return None
    needed = [name for name in tradeoff.COLUMNS if name != tradeoff.WORST]
    return read_frame(path, needed=needed).reindex(columns=tradeoff.COLUMNS)


FEW = 0.02
"""Accuracy of the worst group that a correction has to gain to be worth it."""


def judgement(done: Provenance) -> str:
    """What the correction does to the worst group of the training images, in a sentence; or empty.

    Of held-out folds and composites: where no image lacks the cue, what cut and paste reach.
    """
    if not isfinite(done.worst_before) or not isfinite(done.worst_after):
        return ""
    return (
        "The worst group of class and cue, on held-out training images and on composites by cut "
        f"and paste: {100 * done.worst_before:.0f} % before, {100 * done.worst_after:.0f} % after."
    )


def advised_against(done: Provenance) -> bool:
    """Whether the worst group says that the model is better left as it is."""
    return done.worst_after - done.worst_before < FEW


def untaken(table: pd.DataFrame | None) -> str:
    """What the strength with the fewest flips would have done where none was taken; or empty.

    Of those that lose no more accuracy than :func:`core.corrections.choice.choose` allows.

    Parameters
    ----------
    table : as by :func:`tradeoff_table`, its first row no change.
    """
    if table is None or table["chosen_flips"].isna().all():
        return ""
    plain = table.iloc[0]
    lost = 100 * (plain["chosen_accuracy"] - table["chosen_accuracy"])
    best = table.loc[table[lost <= LOSS + 1e-9]["chosen_flips"].idxmin()]
    if not best["chosen_flips"] < plain["chosen_flips"]:
        return ""
    figures = {"chosen_flips": "images turned by the cue", "chosen_accuracy": "accuracy without it"}
    if np.isfinite([plain[tradeoff.WORST], best[tradeoff.WORST]]).all():
        figures[tradeoff.WORST] = "worst group"
    said = [
        f"{words} {100 * plain[name]:.1f} before, {100 * best[name]:.1f} % after"
        for name, words in figures.items()
    ]
    return f"By strength {best['strength']:g}, on training images: {'; '.join(said)}."


ADVICE = (
    "This correction does not help the images that the cue misleads, and is advised against: keep "
    "the model as it is, or add training images of the class without the cue."
)


def changed(audit: Audit) -> dict[str, list[str]]:
    """Images by what the correction did to their prediction: ``better``, ``worse``, ``other``."""
    path = audit.files.mitigation.changed
    found = read_json(path, CHANGED) if there(path) else {}
    return {name: list(found.get(name, [])) for name in ("better", "worse", "other")}


def children_of(workspace: Workspace, audit_id: str) -> list[Manifest]:
    """Manifests of the audits that were derived from one, newest first."""
    return [m for m in workspace.manifests() if m.mitigation and m.mitigation.parent == audit_id]
