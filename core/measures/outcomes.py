"""What the slow trials say of every image, kept once; every figure about them follows from this.

::

    outcomes/noise-00003-4f0c….parquet   a class under noise (regions.NoiseTrial)
             pasted-00003-4f0c…/         a class's cue on images of the others
                 table.parquet           (pasting.Pasted)
                 facts.json              how the cues were cut out
                 after.npy …             features (T, D) by PASTES, rows of NaN where missing
             watermark-4f0c….parquet     images of every class (watermark.watermark_trial)

A name ends with the key of everything that the outcome depends on: the images and predictions of
the audit, the tags of that class, the noise. Tagging another class leaves it in place, and a run
that is killed keeps the classes that it finished. The features are there so that a corrected head
is tried on the same images; of audits with very many tagged classes they are left out.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from core.audit import Audit, Candidate
from core.config import PASTED_BUDGET
from core.errors import WorkspaceError
from core.measure.noise import SIGMA
from core.measures import watermark
from core.measures.decisions import Decisions
from core.measures.pasting import PASTES, Cues, Pasted, cues_of, encoded, said
from core.measures.regions import NoiseTrial, noise_trial
from core.measures.trials import IMAGES, Encoder, Seen, trial_ids
from core.store import (
    fingerprint,
    read_array,
    read_frame,
    read_json,
    replacing_folder,
    write_frame,
    write_json,
)
from core.types import FloatArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

VERSION = 1
"""Of the trials; another one makes all of them again."""

KEPT = {"noise": 16, "pasted": 4, "watermark": 4}
"""Outcomes of a class and kind that stay; of more, those that were made first are deleted."""

SLOW = ("noise", "flip")
"""Parts of the table of measures that are made of outcomes."""

WATERMARK = "watermark"


class Step(NamedTuple):
    """One trial to be made."""

    part: str
    """One of SLOW, or WATERMARK."""
    label: str = ""
    sigma: float = SIGMA


def outcomes_folder(audit: Audit) -> Path:
    """Where the outcomes of an audit lie."""
    return audit.folder / "outcomes"


def base_key(audit: Audit) -> dict[str, Any]:
    """What every outcome of an audit depends on: its images, its encoder and its head."""
    return {
        "version": VERSION,
        "audit": audit.manifest["fingerprint"],
        "predictions": read_json(audit.folder / "head" / "head.json")["key"],
    }


def names_of(candidates: Sequence[Candidate]) -> list[str]:
    """Candidates of a class, as keys have them."""
    return [f"{c.kind.value} {c.component}" for c in candidates]


class Outcomes:
    """The outcomes of one audit with its tags.

    Parameters
    ----------
    stored : whether they are read from and written to the audit's folder; else they are made
        afresh and kept in memory alone.
    """

    def __init__(self, audit: Audit, decisions: Decisions, *, stored: bool = True) -> None:
        self.audit, self.decisions, self.stored = audit, decisions, stored
        self._base = base_key(audit)
        self._numbers = {facts["label"]: int(facts["class_idx"]) for facts in audit.classes}
        self._held: dict[Path, Any] = {}

    def noise_path(self, label: str, sigma: float = SIGMA) -> Path:
        """Where a class under noise is or will be."""
        tags = {"spurious": self.decisions.spurious, "core": self.decisions.core}
        key = {name: sorted(_keys(of.keys_of, label)) for name, of in tags.items()}
        return self._path("noise", label, {**key, "sigma": float(sigma)}, ".parquet")

    def pasted_path(self, label: str) -> Path:
        """Where the pasted cue of a class is or will be."""
        keys = _keys(self.decisions.spurious.keys_of, label)
        return self._path("pasted", label, {"spurious": sorted(keys)}, "")

    def watermark_path(self) -> Path:
        """Where the images with the watermark are or will be."""
        return outcomes_folder(self.audit) / f"{WATERMARK}-{fingerprint(self._base)}.parquet"

    def _path(self, kind: str, label: str, parts: dict[str, Any], ending: str) -> Path:
        key = fingerprint({**self._base, **parts})
        return outcomes_folder(self.audit) / f"{kind}-{self._numbers[label]:05d}-{key}{ending}"

    def noise(self, label: str, sigma: float = SIGMA) -> NoiseTrial | None:
        """A class under noise; None where it was not made."""
        table = self._read(self.noise_path(label, sigma), read_frame)
        return None if table is None else NoiseTrial(table)

    def pasted(self, label: str) -> Pasted | None:
        """The cue of a class on images of the others; None where it was not made."""
        found: Pasted | None = self._read(self.pasted_path(label), read_pasted)
        return found

    def watermark(self) -> pd.DataFrame | None:
        """Images with the watermark; None where it was not drawn, or cannot be."""
        found: pd.DataFrame | None = None
        if watermark.available():
            found = self._read(self.watermark_path(), read_frame)
        return found

    def _read(self, path: Path, read: Callable[[Path], Any]) -> Any:
        if path not in self._held and self.stored and path.exists():
            self._held[path] = read(path)
        return self._held.get(path)

    def missing(
        self, parts: Sequence[str] = SLOW, sigmas: Sequence[float] = (SIGMA,)
    ) -> list[Step]:
        """The trials of some parts that are not there yet; none where nothing is spurious."""
        steps = []
        if "noise" in parts:
            steps += [Step("noise", k, s) for s in sigmas for k in self.decisions.spurious]
        if "flip" in parts:
            steps += [Step("flip", k) for k in self.decisions.spurious]
            if self.decisions.spurious and watermark.available():
                steps.append(Step(WATERMARK))
        return [step for step in steps if not self._there(self._path_of(step))]

    def _there(self, path: Path) -> bool:
        return path in self._held or (self.stored and path.exists())

    def _path_of(self, step: Step) -> Path:
        if step.part == "noise":
            return self.noise_path(step.label, step.sigma)
        return self.pasted_path(step.label) if step.part == "flip" else self.watermark_path()

    def make(
        self,
        parts: Sequence[str] = SLOW,
        sigmas: Sequence[float] = (SIGMA,),
        *,
        model: Model | None = None,
        report: Reporter = silent,
    ) -> None:
        """Make what is missing; the model is loaded once, and only if there is work.

        What cannot be written (a full disk, a workspace that only shows) is held in memory.
        """
        steps = self.missing(parts, sigmas)
        if not steps:
            return
        if model is None:
            report(Progress("Loading the model", 0, 0))
            model = self.audit.load_model()
        seen = Seen(self.audit)
        for part, title in (("noise", "Adding noise"), ("flip", "Pasting cues")):
            mine = [step for step in steps if step.part == part]
            for done, step in enumerate(mine):
                report(Progress(title, done, len(mine), "classes"))
                make = self._noise if part == "noise" else self._pasted
                make(step, model, seen)
            if mine:
                report(Progress(title, len(mine), len(mine), "classes"))
        if Step(WATERMARK) in steps:
            trial = watermark.watermark_trial(self.audit, model, seen=seen, report=report)
            self._keep(self.watermark_path(), trial, lambda path: write_frame(path, trial))

    def _noise(self, step: Step, model: Model, seen: Seen) -> None:
        spurious = self.decisions.spurious[step.label]
        core = self.decisions.core.get(step.label, [])
        trial = noise_trial(
            self.audit, step.label, spurious, core, model, sigma=step.sigma, seen=seen
        )
        path = self.noise_path(step.label, step.sigma)
        self._keep(path, trial.table, lambda path: write_frame(path, trial.table))

    def _pasted(self, step: Step, model: Model, seen: Seen) -> None:
        audit, label = self.audit, step.label
        cues = cues_of(audit, label, self.decisions.spurious[label], model, seen)
        ids = trial_ids(audit, outside=label) if cues.masks else []
        features = encoded(audit, ids, cues, Encoder(audit, model), seen=seen)
        found = said(audit, ids, cues.kind, len(cues.masks), features)
        size = 4 * len(PASTES) * IMAGES * audit.head.weight.shape[1]
        room = len(self.decisions.spurious) * size <= PASTED_BUDGET
        kept = features if room else {}
        self._keep(self.pasted_path(label), found, lambda path: write_pasted(path, found, kept))

    def _keep(self, path: Path, found: Any, write: Callable[[Path], None]) -> None:
        self._held[path] = found
        if self.stored:
            with contextlib.suppress(WorkspaceError):
                write(path)
                prune(path)


def _keys(keys_of: dict[str, list[tuple[str, int]]], label: str) -> list[str]:
    return [f"{kind} {component}" for kind, component in keys_of.get(label, [])]


def prune(path: Path) -> None:
    """Delete all but the newest outcomes of the same kind and class."""
    start = path.name.rpartition("-")[0]
    kept = sorted(path.parent.glob(f"{start}-*"), key=lambda p: p.stat().st_mtime_ns)
    for old in kept[: -KEPT[start.partition("-")[0]]]:
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)


def pasted_folder(
    audit: Audit,
    label: str,
    keys: Sequence[str],
    *,
    seen_by: Audit | None = None,
) -> Path:
    """Where a pasted cue is or will be.

    Parameters
    ----------
    audit : whose cues are cut out.
    keys : kind and component of the cue's candidates (:func:`names_of`).
    seen_by : whose model sees them, if it is another.
    """
    parts: dict[str, Any] = {**base_key(audit), "spurious": sorted(keys)}
    if seen_by is not None and seen_by.id != audit.id:
        parts["seen_by"] = base_key(seen_by)
    number = int(audit.class_facts(label)["class_idx"])
    folder = outcomes_folder(seen_by or audit)
    return folder / f"pasted-{number:05d}-{fingerprint(parts)}"


def write_pasted(path: Path, found: Pasted, features: dict[str, FloatArray]) -> None:
    """Write the outcome of a pasted cue, complete or not at all."""
    with replacing_folder(path) as temporary:
        for name, array in features.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        write_frame(temporary / "table.parquet", found.table)
        write_json(temporary / "facts.json", {"kind": found.kind, "sources": found.sources})


def read_pasted(path: Path) -> Pasted:
    """The outcome of a pasted cue."""
    facts = read_json(path / "facts.json")
    return Pasted(read_frame(path / "table.parquet"), facts["kind"], facts["sources"])


def read_features(path: Path) -> dict[str, FloatArray] | None:
    """Features (T, D) by PASTES of a pasted cue; None where they were not kept."""
    files = {name: path / f"{name}.npy" for name in PASTES}
    if not all(file.exists() for file in files.values()):
        return None
    return {name: read_array(file) for name, file in files.items()}


def pasted_features(
    audit: Audit,
    label: str,
    spurious: Sequence[Candidate],
    model: Callable[[Audit], Model],
    *,
    seen_by: Audit | None = None,
    report: Reporter = silent,
) -> tuple[Pasted, dict[str, FloatArray]]:
    """The outcome of a pasted cue with its features, made where they are missing.

    Parameters
    ----------
    model : the loaded model of an audit; asked only where it is needed.
    seen_by : whose model sees the images, if it is another with the same preprocessing.
    """
    by = seen_by or audit
    path = pasted_folder(audit, label, names_of(spurious), seen_by=by)
    features = read_features(path) if path.exists() else None
    if features is not None:
        return read_pasted(path), features
    seen = Seen(audit)
    cues: Cues = cues_of(audit, label, spurious, model(audit), seen)
    ids = trial_ids(audit, outside=label) if cues.masks else []
    features = encoded(audit, ids, cues, Encoder(by, model(by)), seen=seen, report=report)
    found = said(by, ids, cues.kind, len(cues.masks), features)
    write_pasted(path, found, features)
    prune(path)
    return found, features
