"""What only the loaded model can say of the audits of a comparison: stored outcomes, and the cost.

The outcomes are those that the table of measures is made of (:mod:`core.measures.outcomes`): an
audit that was measured is not measured again here, nor the other way round. The size and speed of a
model lie beside them, in ``outcomes/cost-4f0c….json``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.measures import outcomes
from core.measures.outcomes import Outcomes, base_key
from core.measures.scores import cue_table, every_stored_cue, is_scored, own_probability
from core.measures.stored import make_outcomes
from core.storage.files import read_json, write_json
from core.storage.workspace import fingerprint
from core.tags.decisions import Decisions
from core.types import Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

NOISE, FLIPS, COST = "noise", "flips", "cost"

KINDS = {NOISE: outcomes.NOISE, FLIPS: outcomes.PASTED}
"""The outcome that each is made of."""

BATCHES = 12
"""Timed batches, after one that is not timed."""

CLASS, CUE = "class", "cue"
"""Rows of a score: an image of the class, an image of its cue alone."""


class Trials:
    """What is stored of one audit; None where it was not made yet."""

    def __init__(self, audit: Audit, decisions: Decisions) -> None:
        self.audit, self.decisions = audit, decisions
        self.outcomes = Outcomes(audit, decisions)

    @property
    def noise(self) -> pd.DataFrame | None:
        """Every image under noise.

        Columns: ``label``, and those of :class:`core.measures.regions.NoiseTrial`.
        """

        def of(label: str) -> pd.DataFrame | None:
            trial = self.outcomes.noise(label, kinds=[outcomes.NOISE])
            return None if trial is None else trial.table.assign(label=label)

        return self._together(of)

    @property
    def flips(self) -> pd.DataFrame | None:
        """Columns: ``label`` of the cue's class, ``image_id`` (of another class), ``turned``."""

        def of(label: str) -> pd.DataFrame | None:
            found = self.outcomes.pasted(label, [outcomes.PASTED])
            if found is None:
                return None
            class_idx = self.audit.class_facts(label).class_idx
            ids = found.others(class_idx)["image_id"].tolist()
            turned = found.turned(class_idx)
            return pd.DataFrame({"label": label, "image_id": ids, "turned": turned})

        return self._together(of)

    def _together(self, of: Callable[[str], pd.DataFrame | None]) -> pd.DataFrame | None:
        """The tables of every tagged class below each other, if all of them are there."""
        parts = []
        for label in self.decisions.spurious:
            part = of(label)
            if part is None:
                return None
            parts.append(part)
        return pd.concat(parts, ignore_index=True) if parts else None

    @property
    def score(self) -> pd.DataFrame | None:
        """Every image of the spurious scores.

        Columns: ``label``, ``source`` (CLASS or CUE), ``image`` (id, or path below the folder),
        ``probability`` of the class, ``folder``.
        """
        parts = []
        for label, cues in every_stored_cue(self.audit).items():
            if (cues["reason"] == "").any():
                parts += _score_rows(self.audit, label, cues[cues["reason"] == ""])
        return pd.concat(parts, ignore_index=True) if parts else None

    @property
    def cost(self) -> dict[str, Any] | None:
        """Size and time.

        ``parameters`` of encoder and audited head; ``seconds`` per batch of ``batch`` images;
        ``device``, ``precision``, ``load`` of the machine and ``at`` (UTC).
        """
        path = cost_path(self.audit)
        found: dict[str, Any] | None = read_json(path) if path.exists() else None
        return found

    def missing(self) -> list[str]:
        """Trials that could be made now and are not stored."""
        wanted = [] if cost_path(self.audit).exists() else [COST]
        return wanted + [name for name, kind in KINDS.items() if self.outcomes.missing([kind])]


def _score_rows(audit: Audit, label: str, cues: pd.DataFrame) -> list[pd.DataFrame]:
    """The class's own held-out images, then those of its cue."""
    mine = audit.images.index[audit.held_out & (audit.images["label"] == label).to_numpy()].tolist()
    folder = str(cues["folder"].iloc[0])
    sides = {
        CLASS: (mine, own_probability(audit, label, mine) if mine else np.zeros(0)),
        CUE: (cues["path"].tolist(), cues["probability"].to_numpy()),
    }
    return [
        pd.DataFrame(
            {
                "label": label,
                "source": source,
                "image": images,
                "probability": probability,
                "folder": folder,
            }
        )
        for source, (images, probability) in sides.items()
    ]


def cost_path(audit: Audit) -> Path:
    """Where the size and speed of an audit's model are or will be."""
    return audit.files.cost(fingerprint(base_key(audit)))


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
    if kinds := [kind for name, kind in KINDS.items() if name in wanted]:
        make_outcomes(audit, decisions, kinds, model=model, report=said)


def cost(audit: Audit, model: Model) -> dict[str, Any]:
    """Size of a model and the time of its forward passes, on the audit's device and batch size."""
    import torch

    size, compute = audit.manifest.compute.batch_size, audit.manifest.compute
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
        "device": compute.device,
        "precision": compute.precision,
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
