"""What the slow trials say of every image, kept once; every figure about them follows from this.

::

    outcomes/noise-00003-4f0c….parquet   a class with noise on its tagged regions
             masked-00003-4f0c….parquet  the same on object and background, for which no tag matters
             pasted-00003-4f0c…/         a class's cue pasted on images of the others
             control-00003-4f0c…/        the same without the cue, and behind the object
                 table.parquet           predictions (pasting.Pasted)
                 facts.json              how the cues were cut out
                 after.npy …             features (T, D) per version, rows of NaN where missing
             leans-00003-4f0c….parquet   what the tagged candidates of a class do
                                         (tagged_trial.tagged_trial)
             watermark-4f0c….parquet     images of every class (watermark.watermark_trial)
             subsets-00003-4f0c….parquet how little of its images is enough, for which no tag
                                         matters (subset_trial.subset_trial)
             on_cue-00003-4f0c….parquet  how much of that lies on the tagged cue

A name ends with the key of everything that the outcome depends on: the images and predictions of
the audit, the tags of that class, the noise. Tagging another class leaves it in place, and a run
that is killed keeps the classes that it finished. The table of measures needs all of this, the
comparison of models ``noise`` and ``pasted`` alone. The features are there so that a corrected head
is tried on the same images; of audits with very many tagged classes they are left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from core.audits.audit import Audit
from core.audits.other_kinds import found_in
from core.candidates.candidate import Candidate
from core.config import PASTED_BUDGET
from core.errors import WorkspaceError
from core.storage.files import (
    read_array,
    read_frame,
    read_json,
    remove,
    replacing_folder,
    there,
    write_array,
    write_frame,
    write_json,
)
from core.storage.layout import PastedFiles
from core.storage.workspace import fingerprint
from core.tags.decisions import Decisions, Tagged
from core.trials import noised, watermark
from core.trials.encoder import IMAGES, Encoder, Seen, trial_ids
from core.trials.leaning import is_possible
from core.trials.noise import SIGMA
from core.trials.noised import NoiseTrial, noise_trial
from core.trials.paste import sample
from core.trials.pasted_cues import PASTES, Pasted, cues_of, encoded, said
from core.trials.subset_trial import COLUMNS as SUBSET_COLUMNS
from core.trials.subset_trial import on_cue, subset_trial
from core.trials.tagged_trial import COLUMNS as TRIED
from core.trials.tagged_trial import tagged_trial
from core.types import FloatArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

VERSION = 1
"""Of the trials; another one makes all of them again."""

KEPT = {
    **{"noise": 16, "masked": 16, "pasted": 4, "control": 4, "leans": 16, "watermark": 4},
    **{"subsets": 4, "on_cue": 16},
}
"""Outcomes of a class and kind that stay; of more, those that were made first are deleted."""

NOISE, MASKED, PASTED, CONTROL, WATERMARK = "noise", "masked", "pasted", "control", "watermark"
LEANS, SUBSETS, ON_CUE = "leans", "subsets", "on_cue"

SEARCH = 2
"""Version of how subsets are found and filled."""

VERSIONS = {PASTED: ("after",), CONTROL: ("control", "in_front")}
"""Versions of an image in each outcome of a pasted cue."""

TITLES = {
    NOISE: "Adding noise",
    MASKED: "Adding noise to objects and backgrounds",
    PASTED: "Pasting cues",
    CONTROL: "Pasting controls",
    LEANS: "Trying tagged candidates",
    SUBSETS: "Looking for sufficient subsets",
    ON_CUE: "Holding subsets against tagged cues",
}

FURTHER = 4
"""Classes without a tag whose subsets are looked for, too, so that there is a figure of the model.
"""


GIVEN = ["image_id", "label", "truth", "before"]
"""Columns of every outcome of a pasted cue."""


class Step(NamedTuple):
    """One outcome to be made."""

    kind: str
    label: str = ""
    sigma: float = SIGMA


def base_key(audit: Audit) -> dict[str, Any]:
    """What every outcome of an audit depends on: its images, its encoder and its head."""
    return {
        "version": VERSION,
        "audit": audit.manifest.fingerprint,
        "predictions": audit.head_key,
    }


class Outcomes:
    """The outcomes of one audit with its tags."""

    def __init__(self, audit: Audit, decisions: Decisions) -> None:
        self.audit, self.decisions = audit, decisions
        self._base = base_key(audit)
        self._numbers = {facts.label: facts.class_idx for facts in audit.classes}
        self._held: dict[Path, Any] = {}

    def number(self, label: str) -> int:
        """Output of a class."""
        return self._numbers[label]

    def path(self, kind: str, label: str = "", sigma: float = SIGMA) -> Path:
        """Where an outcome is or will be."""
        files, key = self.audit.files, dict(self._base)
        if kind == WATERMARK:
            return files.outcome(kind, fingerprint(key))
        if kind in (SUBSETS, ON_CUE):
            key["search"] = SEARCH
        if kind == SUBSETS:
            return files.outcome(kind, fingerprint(key), self.number(label))
        if kind != MASKED:
            key["spurious"] = _keys(self.decisions.spurious, label)
        if kind == NOISE:
            key["core"] = _keys(self.decisions.core, label)
        if kind == LEANS:
            key["maps"] = is_possible(self.audit)
        if kind != MASKED and (found := self._found(label, kind)):
            key["found"] = found
        if kind in (NOISE, MASKED):
            key["sigma"] = float(sigma)
        place = (kind, fingerprint(key), self.number(label))
        return files.pasted(*place).folder if kind in VERSIONS else files.outcome(*place)

    def _found(self, label: str, kind: str) -> dict[str, str]:
        """What the candidates behind an outcome were found in, where that may change."""
        tagged = [self.decisions.spurious, *([self.decisions.core] if kind == NOISE else [])]
        keys = (key for of in tagged for key in of.keys_of.get(label, []))
        return found_in(self.audit.files, {key.kind for key in keys})

    def noise(
        self, label: str, sigma: float = SIGMA, kinds: Sequence[str] = (NOISE, MASKED)
    ) -> NoiseTrial | None:
        """A class under noise; None where some of it was not made."""
        tables = [self._read(self.path(kind, label, sigma), _noise_table) for kind in kinds]
        if any(table is None for table in tables):
            return None
        new = [table.drop(columns=["image_id", "clean"]) for table in tables[1:]]
        return NoiseTrial(pd.concat([tables[0], *new], axis=1))

    def pasted(self, label: str, kinds: Sequence[str] = (PASTED, CONTROL)) -> Pasted | None:
        """The cue of a class on images of the others; None where some of it was not made."""
        parts = [self._read(self.path(kind, label), read_pasted) for kind in kinds]
        return None if any(part is None for part in parts) else together(parts)

    def leans(self, label: str) -> pd.DataFrame | None:
        """What the spurious candidates of a class do; None where they were not tried."""
        found: pd.DataFrame | None = self._read(self.path(LEANS, label), _leans_table)
        return found

    def subsets(self, label: str) -> pd.DataFrame | None:
        """How little of a class's images is enough; None where it was not looked for."""
        found: pd.DataFrame | None = self._read(self.path(SUBSETS, label), _subsets_table)
        return found

    def on_cue(self, label: str) -> pd.DataFrame | None:
        """How much of that lies on the tagged cue; None where it was not held against it."""
        found: pd.DataFrame | None = self._read(self.path(ON_CUE, label), read_frame)
        return found

    @property
    def subset_labels(self) -> list[str]:
        """Classes whose subsets are looked for: the tagged ones and some of the others."""
        tagged = list(self.decisions.spurious)
        others = [label for label in self._numbers if label not in tagged]
        return [*tagged, *sample(others, FURTHER)]

    def watermark(self) -> pd.DataFrame | None:
        """Images with the watermark; None where it was not drawn, or cannot be."""
        found: pd.DataFrame | None = None
        if watermark.available():
            found = self._read(self.path(WATERMARK), read_frame)
        return found

    def _read(self, path: Path, read: Callable[[Path], Any]) -> Any:
        if path not in self._held and path.exists():
            self._held[path] = read(path)
        return self._held.get(path)

    def missing(self, kinds: Sequence[str], sigmas: Sequence[float] = (SIGMA,)) -> list[Step]:
        """The outcomes of some kinds that are not there yet; none where nothing is spurious."""
        steps = []
        labels = list(self.decisions.spurious)
        for kind in kinds:
            if kind in (NOISE, MASKED):
                steps += [Step(kind, label, sigma) for sigma in sigmas for label in labels]
            elif kind == SUBSETS:
                steps += [Step(kind, label) for label in self.subset_labels if labels]
            elif kind in (LEANS, ON_CUE, *VERSIONS):
                steps += [Step(kind, label) for label in labels]
            elif labels and watermark.available():
                steps.append(Step(kind))
        return [step for step in steps if not self._there(self.path(*step))]

    def _there(self, path: Path) -> bool:
        return path in self._held or path.exists()

    def make(
        self,
        kinds: Sequence[str],
        sigmas: Sequence[float] = (SIGMA,),
        *,
        model: Model | None = None,
        report: Reporter = silent,
    ) -> None:
        """Make what is missing; the model is loaded once, and only if there is work.

        What cannot be written (a full disk, a workspace that only shows) is held in memory.
        """
        steps = self.missing(kinds, sigmas)
        if not steps:
            return
        if model is None:
            report(Progress("Loading the model", 0, 0))
            model = self.audit.load_model()
        seen = Seen(self.audit)
        for kind, title in TITLES.items():
            mine = [step for step in steps if step.kind == kind]
            make = {
                **{NOISE: self._noise, MASKED: self._noise, LEANS: self._leans},
                **{SUBSETS: self._subsets, ON_CUE: self._on_cue},
            }.get(kind, self._pasted)
            for done, step in enumerate(mine):
                report(Progress(title, done, len(mine), "classes"))
                make(step, model, seen)
            if mine:
                report(Progress(title, len(mine), len(mine), "classes"))
        if Step(WATERMARK) in steps:
            trial = watermark.watermark_trial(self.audit, model, seen=seen, report=report)
            self._keep(self.path(WATERMARK), trial, lambda path: write_frame(path, trial))

    def _noise(self, step: Step, model: Model, seen: Seen) -> None:
        trial = noise_trial(
            self.audit,
            step.label,
            self.decisions.spurious[step.label],
            self.decisions.core.get(step.label, []),
            model,
            names=noised.TAGGED if step.kind == NOISE else noised.MASKED,
            sigma=step.sigma,
            seen=seen,
        )
        self._keep(self.path(*step), trial.table, lambda path: write_frame(path, trial.table))

    def _pasted(self, step: Step, model: Model, seen: Seen) -> None:
        audit, label = self.audit, step.label
        spurious = self.decisions.spurious[label]
        after = read_array_of(self.path(PASTED, label), "after")
        found, features = paste_and_say(
            audit, label, spurious, VERSIONS[step.kind], model, model, known=after, seen=seen
        )
        size = 4 * len(PASTES) * IMAGES * audit.head.weight.shape[1]
        kept = features if len(self.decisions.spurious) * size <= PASTED_BUDGET else {}
        self._keep(self.path(*step), found, lambda path: write_pasted(path, found, kept))

    def _leans(self, step: Step, model: Model, _: Seen) -> None:
        keys = self.decisions.spurious.keys_of[step.label]
        found = tagged_trial(self.audit, keys, model)
        self._keep(self.path(*step), found, lambda path: write_frame(path, found))

    def _subsets(self, step: Step, model: Model, seen: Seen) -> None:
        found = subset_trial(self.audit, step.label, model, seen)
        self._keep(self.path(*step), found, lambda path: write_frame(path, found))

    def _on_cue(self, step: Step, model: Model, seen: Seen) -> None:
        label = step.label
        subsets = self.subsets(label)
        if subsets is None:
            subsets = subset_trial(self.audit, label, model, seen)
        found = on_cue(self.audit, subsets, self.decisions.spurious[label], model, seen)
        self._keep(self.path(*step), found, lambda path: write_frame(path, found))

    def _keep(self, path: Path, found: Any, write: Callable[[Path], None]) -> None:
        self._held[path] = found
        with contextlib.suppress(WorkspaceError):
            write(path)
            prune(path)


def _noise_table(path: Path) -> pd.DataFrame:
    return read_frame(path, needed=["image_id", "clean"])


def _leans_table(path: Path) -> pd.DataFrame:
    return read_frame(path, needed=TRIED)


def _subsets_table(path: Path) -> pd.DataFrame:
    return read_frame(path, needed=SUBSET_COLUMNS)


def _keys(tagged: Tagged, label: str) -> list[str]:
    return sorted(f"{key.kind} {key.number}" for key in tagged.keys_of.get(label, []))


def paste_and_say(
    audit: Audit,
    label: str,
    spurious: Sequence[Candidate],
    versions: Sequence[str],
    model: Model,
    sees: Model,
    *,
    by: Audit | None = None,
    known: FloatArray | None = None,
    seen: Seen | None = None,
    report: Reporter = silent,
) -> tuple[Pasted, dict[str, FloatArray]]:
    """Versions of the images that a class's cue is pasted on: predictions, and features (T, D).

    Parameters
    ----------
    model : of the audit, whose cue is cut out.
    sees : of the audit ``by`` (default the same), which says what it sees.
    known : features of ``after``, where they are known.
    """
    by, seen = by or audit, seen or Seen(audit)
    cues = cues_of(audit, label, spurious, model, seen)
    ids = trial_ids(audit, outside=label) if cues.masks else []
    features = encoded(
        audit, ids, cues, Encoder(by, sees), names=versions, known=known, seen=seen, report=report
    )
    return said(by, ids, cues.kind, len(cues.masks), features), features


def together(parts: Sequence[Pasted]) -> Pasted:
    """Several versions of the same images as one table."""
    new = [part.table.drop(columns=GIVEN) for part in parts[1:]]
    table = pd.concat([parts[0].table, *new], axis=1)
    return Pasted(table, parts[0].kind, parts[0].sources)


def prune(path: Path) -> None:
    """Delete all but the newest outcomes of the same kind and class."""
    start = path.name.rpartition("-")[0]
    kept = sorted(path.parent.glob(f"{start}-*"), key=lambda p: p.stat().st_mtime_ns)
    for old in kept[: -KEPT[start.partition("-")[0]]]:
        remove(old)


def write_pasted(path: Path, found: Pasted, features: dict[str, FloatArray]) -> None:
    """Write the outcome of a pasted cue, complete or not at all."""
    with replacing_folder(path) as temporary:
        files = PastedFiles(temporary)
        for name, array in features.items():
            write_array(files.array(name), array)
        write_frame(files.table, found.table)
        write_json(files.facts, {"kind": found.kind, "sources": found.sources})


def read_pasted(path: Path) -> Pasted:
    """The outcome of a pasted cue."""
    files = PastedFiles(path)
    facts = read_json(files.facts, {"kind": str, "sources": int})
    table = read_frame(files.table, needed=GIVEN)
    return Pasted(table, facts["kind"], facts["sources"])


def read_array_of(path: Path, version: str) -> FloatArray | None:
    """Features (T, D) of a version of a pasted cue; None where they were not kept."""
    file = PastedFiles(path).array(version)
    return read_array(file, kinds="f", ndim=2) if there(file) else None


def pasted_features(
    audit: Audit,
    label: str,
    decisions: Decisions,
    model: Callable[[Audit], Model],
    *,
    seen_by: Audit | None = None,
    report: Reporter = silent,
) -> tuple[Pasted, dict[str, FloatArray]]:
    """The outcome of a pasted cue with its features by PASTES, made where they are missing.

    Parameters
    ----------
    decisions : of ``audit``.
    model : the loaded model of an audit; asked only where it is needed.
    seen_by : whose model sees the images, if it is another with the same preprocessing; its
        outcome lies in its own folder.
    """
    by, own = seen_by or audit, Outcomes(audit, decisions)
    parts: list[Pasted] = []
    features: dict[str, FloatArray] = {}
    for kind, versions in VERSIONS.items():
        path = own.path(kind, label)
        if by.id != audit.id:
            key = fingerprint({"cut": path.name, "seen_by": base_key(by)})
            path = by.files.pasted(kind, key, own.number(label)).folder
        kept = {name: read_array_of(path, name) for name in versions}
        there = {name: array for name, array in kept.items() if array is not None}
        if len(there) == len(versions):
            found = read_pasted(path)
        else:
            found, there = paste_and_say(
                audit,
                label,
                decisions.spurious[label],
                versions,
                model(audit),
                model(by),
                by=by,
                known=features.get("after"),
                report=report,
            )
            write_pasted(path, found, there)
            prune(path)
        parts.append(found)
        features |= there
    return together(parts), features
