"""What the planted cues of ``demo:cues`` cost, held against the truth."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import MODEL, Line
from benchmarks.truth import FIRST, scores
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA

ANNOTATOR = "planted truth"


def run() -> list[Line]:
    """Audit the demo afresh, tag its planted candidates, and measure."""
    from core.audits.audit_requests import AuditRequest
    from core.audits.run import run_audit
    from core.storage.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        request = AuditRequest("demo:cues", MODEL, head="fit")
        return hold(run_audit(request, workspace), workspace)


def run_on(audit_folder: Path) -> list[Line]:
    """The same on a copy of a finished audit, which stays as it is."""
    from core.audits.audit import Audit
    from core.storage.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        target = Path(folder) / "audits" / audit_folder.name
        shutil.copytree(audit_folder, target)
        return hold(Audit(target), workspace)


def hold(audit: Any, workspace: Any) -> list[Line]:
    """Every line about one audit of a rendered demo."""
    from core.measures.stored import measured
    from core.tags.decisions import decided
    from core.tags.log import TagStore

    planted = {k: v for k, v in audit.summary.planted.items() if isinstance(v, dict)}
    owners = {label: truth for label, truth in planted.items() if truth.get("cue")}
    clean = [label for label in planted if label not in owners]
    store = TagStore.open(workspace)
    for label, truth in owners.items():
        tag(audit, store, label, truth["cue"])
    decisions = decided(audit, store)
    table = measured(audit, workspace, "gap")
    lines = []
    for label, truth in owners.items():
        lines += ranked(audit, label, truth["cue"], decisions, table)
    for label in clean:
        lines.append(accused(audit, label, store, table))
    model = audit.load_model()
    for label in owners:
        lines += flips(audit, label, clean, decisions, model)
    for label in owners:
        lines += noise(audit, label, decisions, model)
    return lines


def tag(audit: Any, store: Any, label: str, cue: str) -> None:
    """Tag the component among the first that separates the cue best."""
    from core.types import Tag

    _, mine, found, _ = scores(audit, label, cue)
    component = int(mine.iloc[int(found[:FIRST].argmax())]["component"])
    store.add(ANNOTATOR, audit.id, CandidateKey(label, PCA, component), Tag.SPURIOUS)


def ranked(audit: Any, label: str, cue: str, decisions: Any, table: Any) -> list[Line]:
    """Spuriosity separates the cue; the gap has the sign and size of what the cue does."""
    from core.statistics.intervals import auroc
    from core.tags.decisions import spuriosity_of

    images = spuriosity_of(audit, label, decisions.spurious[label])
    shown = audit.images.loc[images["image_id"], cue].to_numpy() == 1
    area = auroc(images["spuriosity"].to_numpy(), shown)
    held = images["held_out"].to_numpy(dtype=bool)
    right = images["correct"].to_numpy()
    with_cue, without = right[held & shown].mean(), right[held & ~shown].mean()
    difference = 100 * (with_cue - without)
    gap = table.query("label == @label and measure == 'spurious_gap'").iloc[0]
    holds = bool(np.sign(gap["value"]) == np.sign(difference) and gap["low"] > 0)
    within = bool(gap["low"] <= difference <= gap["high"])
    name = f"{label}, cue {cue}"
    return [
        Line(f"{name}: AUROC of spuriosity against the cue", area, ">= 0.95", "", area >= 0.95),
        Line(
            f"{name}: spurious gap [{gap['low']:.1f}, {gap['high']:.1f}]",
            float(gap["value"]),
            "> 0 with its interval",
            "points",
            holds,
        ),
        Line(
            f"{name}: accuracy with the cue minus without",
            difference,
            "inside the gap's interval",
            "points",
            within,
        ),
    ]


def accused(audit: Any, label: str, store: Any, table: Any) -> Line:
    """A clean class: nothing is tagged, so nothing is said about it."""
    rows = int((table["label"] == label).sum())
    return Line(f"{label}, clean: rows about it", rows, "0", "", rows == 0)


def flips(audit: Any, label: str, clean: list[str], decisions: Any, model: Any) -> list[Line]:
    """Where the pasted cue sends the held-out images of the other classes."""
    from core.trials.outcomes import paste_and_say
    from core.trials.pasted_cues import PASTES

    found, _ = paste_and_say(audit, label, decisions.spurious[label], PASTES, model, model)
    own = audit.class_facts(label).class_idx
    rate = float(found.turned(own).mean())
    control = float(found.turned(own, "control").mean())
    front = float(found.turned(own, "in_front").mean())
    lines = [
        Line(
            f"{label}: its cue pasted on {len(found.table)} images of others, newly {label}",
            rate,
            "> 0.5",
            "",
            rate > 0.5,
        ),
        Line(f"{label}: the same with the image's own object in front", front, ""),
        Line(f"{label}: the same shape from the image's own class instead", control, ""),
    ]
    for other in clean:
        class_idx = audit.class_facts(other).class_idx
        turned = float(found.turned(class_idx).mean())
        lines += [
            Line(
                f"{label}: its cue pasted, newly {other} (clean)",
                turned,
                "< 0.05",
                "",
                turned < 0.05,
            ),
            Line(
                f"{label}: the same with the image's own object in front",
                float(found.turned(class_idx, "in_front").mean()),
                "",
            ),
            Line(
                f"{label}: the same shape from the image's own class instead, newly {other}",
                float(found.turned(class_idx, "control").mean()),
                "",
            ),
        ]
    return lines


def noise(audit: Any, label: str, decisions: Any, model: Any) -> list[Line]:
    """Noise on the cue's region costs the planted class accuracy."""
    from core.trials.noised import noise_trial

    trial = noise_trial(audit, label, decisions.spurious[label], [], model)
    core = trial.correct["core_accuracy"]
    clean = float(trial.clean[~np.isnan(core)].mean())
    return [
        Line(f"{label}: accuracy without noise", clean, ""),
        Line(f"{label}: accuracy with noise on the tagged cue", float(np.nanmean(core)), ""),
    ]
