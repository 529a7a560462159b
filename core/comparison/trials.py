"""What only the loaded model can say, measured once per audit and set of tags, and kept.

``trials/`` of an audit's folder holds one table per trial and key; the key changes with the audit
and with its tags, so that a stored trial is never that of something else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.audit import Audit
from core.measure.noise import SIGMA
from core.measures.decisions import Decisions
from core.measures.flips import pasted
from core.measures.regions import noise_trial
from core.measures.table import score
from core.measures.trials import trial_ids
from core.statistics import log_softmax
from core.store import fingerprint, read_frame, read_json, write_frame, write_json
from core.types import Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

NOISE, FLIPS, SCORE, COST = "noise", "flips", "score", "cost"

BATCHES = 12
"""Timed batches, after one that is not timed."""

CLASS, CUE = "class", "cue"
"""Rows of a score: an image of the class, an image of its cue alone."""


def _tags(found: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        label: sorted(f"{c.kind.value} {c.component}" for c in candidates)
        for label, candidates in sorted(found.items())
    }


def trial_path(audit: Audit, what: str, decisions: Decisions | None = None) -> Path:
    """Where a trial of an audit, as it is now, is kept; of its tags where it depends on them."""
    parts: dict[str, Any] = {"audit": audit.manifest["fingerprint"], "summary": audit.summary}
    if decisions is not None:
        parts |= {"spurious": _tags(decisions.spurious), "core": _tags(decisions.core)}
        parts["sigma"] = SIGMA
    ending = "json" if what == COST else "parquet"
    return audit.folder / "trials" / f"{what}-{fingerprint(parts)}.{ending}"


class Trials:
    """The stored trials of one audit; None where one was not made yet."""

    def __init__(self, audit: Audit, decisions: Decisions) -> None:
        self.audit, self.decisions = audit, decisions

    def path(self, what: str) -> Path:
        """Where a trial of these tags is or will be."""
        tagged = what in (NOISE, FLIPS)
        return trial_path(self.audit, what, self.decisions if tagged else None)

    def _frame(self, what: str) -> pd.DataFrame | None:
        path = self.path(what)
        return read_frame(path) if path.exists() else None

    @property
    def noise(self) -> pd.DataFrame | None:
        """Every image under noise.

        Columns: ``label``, ``image_id``, ``core_accuracy`` and ``spurious_accuracy`` (1 right, 0
        wrong, NaN where the image has no such region).
        """
        return self._frame(NOISE)

    @property
    def flips(self) -> pd.DataFrame | None:
        """Columns: ``label`` of the cue's class, ``image_id`` (of another class), ``turned``."""
        return self._frame(FLIPS)

    @property
    def score(self) -> pd.DataFrame | None:
        """Every image of a spurious score.

        Columns: ``label``, ``source`` (CLASS or CUE), ``image`` (id, or path below the folder),
        ``probability`` of the class, ``folder``.
        """
        return self._frame(SCORE)

    @property
    def cost(self) -> dict[str, Any] | None:
        """Size and time.

        ``parameters`` of encoder and audited head; ``seconds`` per batch of ``batch`` images;
        ``device``, ``precision``, ``load`` of the machine and ``at`` (UTC).
        """
        path = self.path(COST)
        found: dict[str, Any] | None = read_json(path) if path.exists() else None
        return found

    def missing(self) -> list[str]:
        """Trials that could be made now and are not stored."""
        wanted = [COST]
        if self.decisions.spurious:
            wanted += [NOISE, FLIPS]
        return [what for what in wanted if not self.path(what).exists()]


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
    wanted : some of NOISE, FLIPS and COST.
    cue_images : folder of cue-only images by raw label, for the score.
    """
    cue_images = {k: v for k, v in (cue_images or {}).items() if not _scored_before(audit, k, v)}
    if not wanted and not cue_images:
        return
    report(Progress(f"{audit.name}: loading the model", 0, 0))
    model = audit.load_model()

    def said(progress: Progress) -> None:
        report(progress._replace(stage=f"{audit.name}: {progress.stage.lower()}"))

    if cue_images:
        write_frame(trial_path(audit, SCORE), _scored(audit, model, cue_images, said))
    if COST in wanted:
        write_json(trial_path(audit, COST), cost(audit, model))
    for what, make in ((NOISE, _noise), (FLIPS, _flips)):
        if what in wanted:
            write_frame(trial_path(audit, what, decisions), make(audit, decisions, model, said))


def _noise(audit: Audit, decisions: Decisions, model: Model, report: Reporter) -> pd.DataFrame:
    parts = []
    for done, (label, spurious) in enumerate(decisions.spurious.items()):
        report(Progress("Adding noise", done, len(decisions.spurious), "classes"))
        trial = noise_trial(audit, label, spurious, decisions.core.get(label, []), model)
        part = pd.DataFrame({"label": label, "image_id": trial_ids(audit, inside=label)})
        for name in ("core_accuracy", "spurious_accuracy"):
            part[name] = trial.correct[name]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _flips(audit: Audit, decisions: Decisions, model: Model, report: Reporter) -> pd.DataFrame:
    parts = []
    for done, (label, spurious) in enumerate(decisions.spurious.items()):
        report(Progress("Pasting cues", done, len(decisions.spurious), "classes"))
        found = pasted(audit, label, spurious, model)
        ids = found.table["image_id"].tolist()
        turned = found.turned(int(audit.class_facts(label)["class_idx"]))
        parts.append(pd.DataFrame({"label": label, "image_id": ids, "turned": turned}))
    return pd.concat(parts, ignore_index=True)


def _scored_before(audit: Audit, label: str, folder: Path) -> bool:
    """Whether the stored score is of this folder, and no file of it is newer."""
    path = trial_path(audit, SCORE)
    if not path.exists() or not folder.is_dir():
        return False
    table = read_frame(path)
    mine = table[(table["label"] == label) & (table["source"] == CUE)]
    if mine.empty or mine["folder"].iloc[0] != str(folder.absolute()):
        return False
    files = [file for file in folder.rglob("*") if file.is_file()]
    names = {str(file.relative_to(folder)) for file in files}
    made = path.stat().st_mtime
    return set(mine["image"]) <= names and all(f.stat().st_mtime <= made for f in files)


def _scored(
    audit: Audit, model: Model, cue_images: Mapping[str, Path], report: Reporter
) -> pd.DataFrame:
    """Scores of the given classes, beside those stored before of others."""
    path, parts = trial_path(audit, SCORE), []
    if path.exists():
        before = read_frame(path)
        parts.append(before[~before["label"].isin(list(cue_images))])
    for label, folder in cue_images.items():
        found = score(audit, label, folder, model=model, report=report)
        mine = audit.images[audit.held_out & (audit.images["label"] == label).to_numpy()]
        logits = audit.head.logits(audit.features(mine.index.tolist()))
        own = np.exp(log_softmax(logits)[:, audit.class_facts(label)["class_idx"]])
        parts += [
            _score_rows(label, CLASS, mine.index.tolist(), own, folder),
            _score_rows(label, CUE, found.images["path"].tolist(),
                        found.images["probability"].to_numpy(), folder),
        ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _score_rows(
    label: str, source: str, images: Sequence[str], probability: Any, folder: Path
) -> pd.DataFrame:
    columns = {"label": label, "source": source, "image": list(images)}
    return pd.DataFrame({**columns, "probability": probability, "folder": str(folder.absolute())})


def cost(audit: Audit, model: Model) -> dict[str, Any]:
    """Size of a model and the time of its forward passes, on the audit's device and batch size."""
    import torch

    size, compute = audit.manifest["compute"]["batch_size"], audit.manifest["compute"]
    pixels = np.random.default_rng(0).integers(
        0, 256, (size, *audit.preprocess.input_size, 3), np.uint8
    )
    batch, seconds = torch.from_numpy(pixels), []
    for _ in range(BATCHES + 1):
        began = time.perf_counter()
        model.encode(batch).features.cpu()
        seconds.append(time.perf_counter() - began)
    return {
        "parameters": parameters(audit, model),
        "seconds": seconds[1:],
        "batch": size,
        "device": compute["device"],
        "precision": compute["precision"],
        "load": os.getloadavg()[0],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def parameters(audit: Audit, model: Model) -> int:
    """Numbers in the encoder and the audited head; the head that the network came with is not."""
    own = sum(p.numel() for p in model.network.get_submodule(model.trace.head).parameters())
    encoder = sum(p.numel() for p in model.network.parameters()) - own
    head = audit.head
    arrays = [head.weight, head.bias]
    if head.correction is not None:
        arrays += [head.correction.read, head.correction.offset, head.correction.write]
    return int(encoder + sum(array.size for array in arrays))
