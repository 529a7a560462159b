"""What the leading candidates of every class do in the maps, measured once and kept.

:mod:`core.trials.latent` says what is done and what the figures mean; here is on which images, for
which candidates, and how sure one may be after looking at all of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.audits.class_arrays import ClassArrays
from core.audits.other_kinds import asked, found_anew, found_in
from core.candidates.candidate import Candidate, heatmaps_of
from core.candidates.key import CandidateKey
from core.candidates.kinds import KINDS, found_kinds
from core.candidates.parts import Maps
from core.features.sample import POOL, sampled
from core.statistics.multiplicity import corrected_level
from core.storage.files import locked, read_frame, read_frames, remove, there, write_frame
from core.storage.workspace import fingerprint
from core.trials.latent import Ground, Latent, Pool, Reader, latent_trial
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter, silent

VERSION = 1
"""Of the trials; another one makes all of them again."""

LEADING = 5
"""Candidates of every class and kind that are tried, in the order of the page."""

NAME = "latent"
"""How its outcomes are called."""

FIGURES = [field.name for field in fields(Latent)]
KEYS = ["class_idx", "kind", "component"]
COLUMNS = [*KEYS, *FIGURES]
NEEDED = [name for name in COLUMNS if name != "left_out_sensitivity"]
"""Those that earlier versions stored, too."""

EXPORTED = [
    *("put_in", "put_in_low", "put_in_high", "put_in_control"),
    *("lean", "lean_low", "lean_high"),
    *("taken_away", "taken_away_low", "taken_away_high", "area"),
]
"""Figures of the exported table, all shares."""


def leaning(audit: Audit) -> pd.DataFrame:
    """The candidates that were tried (COLUMNS), their leans with intervals to be read together.

    ``lean_low`` and ``lean_high`` are corrected over all of them, of every kind and class
    (Benjamini & Hochberg at 5 %), whatever is shown: a lean is above its control where
    ``lean_low`` is above 0. Empty where nothing was tried yet.
    """
    files, key = audit.files, trial_key(audit)
    whole, more = files.outcome(NAME, key), _asked_path(audit)
    paths = [files.outcome(NAME, key, facts.class_idx) for facts in audit.classes]
    found = [path for path in ([whole] if there(whole) else paths) if there(path)]
    if found == [whole] and not there(more):
        return read_frame(whole, needed=NEEDED)
    found += [more] if there(more) else []
    if not found:
        return pd.DataFrame(columns=COLUMNS)
    return corrected_intervals(read_frames(found, NEEDED)[0])


def corrected_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """The table with ``lean_low`` and ``lean_high`` at the level that all its rows need."""
    from scipy.stats import t

    level = corrected_level(table["p"].to_numpy(np.float64), "fdr_bh")
    half = t.isf((1 - level) / 2, table["donors"].to_numpy(np.float64) - 1) * table["error"]
    low, high = table["lean"] - half, table["lean"] + half
    return table.assign(lean_low=low.clip(lower=-1), lean_high=high.clip(upper=1))


def with_leaning(audit: Audit, table: pd.DataFrame) -> pd.DataFrame:
    """A table of candidates with what those do that were tried (EXPORTED); empty for others."""
    tried = leaning(audit)[[*KEYS, *EXPORTED]]
    return table.merge(tried, on=KEYS, how="left", validate="one_to_one")


def leading(audit: Audit) -> pd.DataFrame:
    """The candidates that are tried: the first LEADING of every class and kind that is found."""
    table = audit.candidates
    kinds = [kind for kind in found_kinds() if not KINDS[kind].asked]
    return table[(table["order"] < LEADING) & table["kind"].isin(kinds)]


def _asked_for(audit: Audit) -> pd.DataFrame:
    """The candidates of kinds that somebody asked for, all of which are tried."""
    table = audit.candidates
    return table[table["kind"].isin([kind.name for kind in asked()])]


def _asked_path(audit: Audit) -> Path:
    """Where the trials of these lie; another name whenever others are found."""
    key = fingerprint({"trial": trial_key(audit), "found": found_in(audit.files, KINDS)})
    return audit.files.outcome(f"{NAME}-asked", key)


def measure_asked(audit: Audit, report: Reporter = silent) -> pd.DataFrame:
    """Try the candidates of kinds that somebody asked for; returns :func:`leaning`."""
    path, table = _asked_path(audit), _asked_for(audit)
    if len(table) and not there(path) and not is_possible(audit):
        trial, found = Trial(audit), []
        for done, (output, rows) in enumerate(table.groupby("class_idx")):
            report(Progress("Trying candidates in the maps", done, 0, "classes"))
            arrays = audit.class_arrays(int(str(output)))
            chosen = [
                arrays.candidate(k, int(n)) for k, n in rows[["kind", "component"]].to_numpy()
            ]
            found.append(trial.of_candidates(arrays, chosen))
        write_frame(path, pd.concat(found, ignore_index=True))
    return leaning(audit)


def tried(
    audit: Audit, keys: Sequence[CandidateKey], owner: Audit, report: Reporter = silent
) -> pd.DataFrame:
    """What some candidates do (COLUMNS), leading or not; without those that cannot be tried.

    What was tried before is not tried again. Intervals of leans are corrected over all that the
    audit tried and these; of an owner's candidates, which the audit did not try, over these.

    Parameters
    ----------
    owner : whose candidates these are: the audit itself, or its parent (:class:`Trial`).
    """
    known = leaning(audit) if owner is audit else pd.DataFrame(columns=COLUMNS)
    ours = {(owner.class_facts(key.label).class_idx, key.kind, key.number): key for key in keys}
    there = set(known[KEYS].itertuples(index=False, name=None))
    lacking: dict[str, list[Candidate]] = {}
    for place, key in ours.items():
        if place not in there:
            lacking.setdefault(key.label, []).append(owner.candidate(key))
    trial, found = Trial(audit, owner), [known]
    for done, (label, candidates) in enumerate(lacking.items()):
        report(Progress("Trying candidates in the maps", done, len(lacking), "classes"))
        found.append(trial.of_candidates(owner.arrays_of(label), candidates))
    full = [table for table in found if len(table)]
    if not full:
        return known
    table = corrected_intervals(pd.concat(full, ignore_index=True)) if lacking else known
    return table[[key in ours for key in table[KEYS].itertuples(index=False, name=None)]]


def is_possible(audit: Audit) -> str:
    """Why nothing can be tried, in words; empty where it can."""
    if not audit.exact_maps:
        return "this architecture has no exact maps"
    if not audit.store.has_some_maps:
        return "no maps are kept; run the same audit again, which keeps those of a sample"
    return ""


def is_tried(audit: Audit) -> bool:
    """Whether all classes were."""
    return there(audit.files.outcome(NAME, trial_key(audit)))


def missing(audit: Audit) -> list[AuditedClass]:
    """The classes that were not tried, those with the largest gap first."""
    if is_tried(audit) or is_possible(audit):
        return []
    files, key = audit.files, trial_key(audit)
    lacking = [c for c in audit.classes if not there(files.outcome(NAME, key, c.class_idx))]
    return sorted(lacking, key=lambda facts: -(facts.top_gap or 0))


def measure_leaning(
    audit: Audit, report: Reporter = silent, *, seconds: float = np.inf, threads: int = 0
) -> pd.DataFrame:
    """Try what was not tried yet, class by class; returns :func:`leaning`.

    No image is decoded and no network is run. What was stopped goes on.

    Parameters
    ----------
    seconds : no class is begun after so many; the others stay :func:`missing`.
    threads : as of :func:`as_planned`.

    Raises
    ------
    WorkspaceError
        If another process does it.
    """
    key = trial_key(audit)
    with locked(audit.files.outcomes_lock, busy(audit)), as_planned(audit, threads):
        lacking, began = missing(audit), time.monotonic()
        trial = Trial(audit) if lacking else None
        for done, facts in enumerate(lacking):
            if time.monotonic() - began >= seconds:
                return leaning(audit)
            report(Progress("Trying candidates in the maps", done, len(lacking), "classes"))
            assert trial is not None
            write_frame(audit.files.outcome(NAME, key, facts.class_idx), trial.of_class(facts))
        if lacking:
            report(Progress("Trying candidates in the maps", len(lacking), len(lacking), "classes"))
            gather(audit, key)
    return leaning(audit)


def busy(audit: Audit) -> str:
    """What somebody is told who wants what another process does."""
    return f"audit {audit.name!r} is being tried or computed by another process; wait for it"


def as_planned(audit: Audit, asked: int = 0) -> AbstractContextManager[None]:
    """Compute with as many threads as the audit's plan says.

    Parameters
    ----------
    asked : where it says none; 0: as many as torch takes.
    """
    if not (count := audit.manifest.compute.threads or asked):
        return nullcontext()
    from core.models.device import threads

    return threads(count)


def gather(audit: Audit, key: str) -> None:
    """One table, with the intervals that all its rows need, instead of one per class."""
    paths = [audit.files.outcome(NAME, key, facts.class_idx) for facts in audit.classes]
    whole = corrected_intervals(read_frames(paths, NEEDED)[0])
    write_frame(audit.files.outcome(NAME, key), whole)
    for path in paths:
        remove(path)


def trial_key(audit: Audit) -> str:
    """Changes with everything that the figures of what an audit finds itself depend on."""
    of = {"version": VERSION, "audit": audit.manifest.fingerprint, "rows": _rows(audit)}
    anew = found_anew(audit.files)
    return fingerprint({**of, "head": audit.head_key, **({"found": anew} if anew else {})})


@lru_cache(maxsize=16)
def _rows(audit: Audit) -> str:
    """The candidates that an opened audit found itself, and their order."""
    table = audit.candidates
    own = table[~table["kind"].isin([kind.name for kind in asked()])]
    tried = own[["class_idx", "kind", "component", "order"]]
    return str(pd.util.hash_pandas_object(tried, index=False).to_numpy().tobytes().hex())


class Trial:
    """The images that candidates are tried on.

    Parameters
    ----------
    audit : whose model reads them.
    owner : whose candidates say where they are, if not the audit's own: of a corrected model those
        of its parent, so that both are asked about the same regions of the same images.
    """

    def __init__(self, audit: Audit, owner: Audit | None = None) -> None:
        self.audit, self.owner = audit, owner or audit
        outputs = [facts.class_idx for facts in audit.classes]
        self.places = {output: place for place, output in enumerate(outputs)}
        self.reader = Reader.of(audit.head, outputs)

    @cached_property
    def pool_ids(self) -> list[str]:
        """Held-out images whose maps are kept, of every class as many."""
        images = self.audit.images[self.audit.held_out]
        images = images.iloc[np.flatnonzero(self.kept(images.index.tolist()))]
        ids, labels = images.index, images["label"].tolist()
        chosen = sampled(ids.tolist(), labels, np.zeros(len(ids), bool), 3 * POOL)
        return [str(name) for name in ids[chosen]]

    @cached_property
    def pool(self) -> Pool:
        """The same as the head reads them."""
        labels = self.audit.images_of(self.pool_ids)["label"]
        place = [self.places.get(self.audit.head.index(label), -1) for label in labels]
        read = self.reader.read(self.maps(self.pool_ids))
        return Pool(self.reader, read, np.array(place, np.int64))

    def kept(self, image_ids: Sequence[str]) -> BoolArray:
        """(n,) of which images maps can be read, to be read by the model and to find places."""
        found = self.audit.store.mapped(image_ids)
        if self.owner is not self.audit:
            found &= self.owner.store.mapped(image_ids)
        return found

    def maps(self, image_ids: Sequence[str]) -> Maps:
        """What is read of images, (n, D, h, w)."""
        return self.audit.store.stored_maps(image_ids)

    @cached_property
    def sums(self) -> tuple[IntArray, FloatArray]:
        """Training images and the sum of what is read of them, by class: (C,) and (C, Q)."""
        counts = np.zeros(len(self.places), np.int64)
        sums = np.zeros((len(self.places), len(self.reader.rows)))
        for facts in self.audit.classes:
            ids = self.training(self.audit.class_arrays(facts.class_idx))
            place = self.places[facts.class_idx]
            counts[place] = len(ids)
            if ids:
                mean = self.audit.store.features(ids).sum(axis=0, dtype=np.float64)
                sums[place] = self.reader.rows @ mean
        return counts, sums

    def training(self, arrays: ClassArrays) -> list[str]:
        """Training images of a class whose maps are kept."""
        ids = [i for i, fit in zip(arrays.image_ids, arrays.fitting, strict=True) if fit]
        kept = self.kept(ids)
        return [name for name, has in zip(ids, kept, strict=True) if has]

    def of_class(self, facts: AuditedClass) -> pd.DataFrame:
        """COLUMNS of the leading candidates of a class."""
        arrays = self.owner.class_arrays(facts.class_idx)
        return self.of_candidates(arrays, self._leading(arrays))

    def of_candidates(self, arrays: ClassArrays, candidates: Sequence[Candidate]) -> pd.DataFrame:
        """COLUMNS of some candidates of a class; none where no training image has maps."""
        ids = self.training(arrays)
        if not candidates or not ids:
            return pd.DataFrame(columns=COLUMNS)
        ground = replace(self.ground(arrays, ids), fill=self.fill(arrays))
        own = [self.pool_ids[i] for i in ground.own]
        heats, own_heats = self.heats(candidates, ids), self.heats(candidates, own)
        return pd.DataFrame(
            [
                _row(candidate, latent_trial(ground, heats[:, i], own_heats[:, i]))
                for i, candidate in enumerate(candidates)
            ],
            columns=COLUMNS,
        )

    def _leading(self, arrays: ClassArrays) -> list[Candidate]:
        mine = leading(self.owner)
        mine = mine[mine["class_idx"] == arrays.class_idx]
        return [arrays.candidate(k, int(n)) for k, n in mine[["kind", "component"]].to_numpy()]

    def ground(self, arrays: ClassArrays, ids: Sequence[str]) -> Ground:
        """What a class's candidates are put into, and the class's training images.

        Filled with zeros, which is of no matter where nothing is taken away.
        """
        maps = self.maps(ids)
        grid: tuple[int, int] = maps[0:1].shape[2:]
        place, nothing = self.places[arrays.class_idx], np.zeros(len(self.reader.rows))
        return Ground(self.pool, place, grid, self.reader.read(maps), nothing)

    def fill(self, arrays: ClassArrays) -> FloatArray:
        """What is read (Q,) at a mean place of other classes' training images."""
        counts, sums = self.sums
        others = np.arange(len(counts)) != self.places[arrays.class_idx]
        found: FloatArray = sums[others].sum(axis=0) / max(int(counts[others].sum()), 1)
        return found

    def heats(self, candidates: Sequence[Candidate], ids: Sequence[str]) -> FloatArray:
        """Maps (n, m, h, w)."""
        maps = self.owner.store.stored_maps(ids)
        step = 32
        parts = [
            heatmaps_of(candidates, maps[start : start + step])
            for start in range(0, len(ids), step)
        ]
        grid = self.audit.store.stored_maps(self.pool_ids)[0:1].shape[2:]
        return np.concatenate(parts) if parts else np.zeros((0, len(candidates), *grid))


def _row(candidate: Candidate, found: Latent) -> dict[str, Any]:
    key = candidate.key
    named = {"class_idx": candidate.class_idx, "kind": key.kind, "component": key.number}
    return {**named, **asdict(found)}
