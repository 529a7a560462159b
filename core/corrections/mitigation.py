"""One mitigation from start to finish: tagged cues in, a derived audit and its before/after out.

::

    mitigation/effect.parquet     the table before and after (:mod:`core.corrections.effect`)
               tradeoff.parquet   every strength tried (:mod:`core.corrections.tradeoff`)
               changed.json       images whose prediction changed, for better and for worse
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.audits.audit import Audit
from core.corrections.acted_on import Findings, Gathered, find, gather
from core.corrections.choice import Sweep, sweep
from core.corrections.composites import map_erased, map_pairs, mask_pairs
from core.corrections.concepts import KINDS
from core.corrections.corrected import CHANGED, is_derived, tradeoff_table
from core.corrections.derived import Corrected, derive, plan, repeat
from core.corrections.effect import Effect, changed_images, effects
from core.corrections.head_methods import mitigate
from core.corrections.inherited_tags import carry_tags
from core.corrections.methods import METHODS, Method, checked
from core.corrections.mitigate_request import MitigateRequest
from core.corrections.sweep import swept
from core.corrections.task import Task
from core.corrections.tradeoff import chosen_on, reported
from core.corrections.vectors import QUICK, concept_rows
from core.errors import InputError
from core.measures.scope import has
from core.models.linear import Head
from core.storage.audit_manifest import Manifest
from core.storage.files import read_json, write_frame, write_json
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.tags.saved_groups import open_with_groups
from core.trials.pasted_composites import Composites, held_out_composites
from core.types import Progress, Reporter, silent

if TYPE_CHECKING:
    import pandas as pd

    from core.models.model import Model


def run_mitigation(
    request: MitigateRequest,
    workspace: Workspace,
    *,
    report: Reporter = silent,
    started: Callable[[str], None] = lambda _: None,
) -> Audit:
    """Correct a model, audit it, and measure before and after; or open what was done already.

    Raises
    ------
    InputError
        If the audit, method, option, class or cue is unknown, nothing is tagged spurious, or the
        method needs masks and there are none.
    WorkspaceError
        If the name belongs to something else, or the disk is full.
    """
    workspace.require_writable()
    parent = open_with_groups(workspace, request.audit)
    if request.name == parent.name:
        raise InputError(f"--name {request.name!r} is the audit itself; give another name")
    chosen = METHODS.chosen(request.method)
    options = checked(chosen, request.options)
    check_strength(chosen, request.given)
    if request.sweep and not chosen.of_network:
        raise InputError(f"--strength sweep: {chosen.name} always tries its strengths; give auto")
    findings = find(
        parent, workspace, classes=request.classes, cues=request.cues, threshold=request.threshold
    )
    if request.attribute is not None:
        has(parent, request.attribute)
    asked = {**request.to_json(), "cues": findings.keys, "options": options}
    manifest = plan(parent, workspace, request.name, asked)
    folders = cue_folders(parent, request.cue_images)
    work = _Work(request, parent, chosen, options, findings, folders, report)
    audit = workspace.folder(manifest.id)
    whole = repeat(parent, audit, report)
    if not whole:
        _correct(work, workspace, manifest, started)
    found = Audit(audit)
    started(found.id)
    _measure(work, found, again=not whole)
    return found


@dataclass(frozen=True)
class _Work:
    """One mitigation at work: what was asked for, on what it acts, and what it may learn from."""

    request: MitigateRequest
    parent: Audit
    chosen: Method
    options: Mapping[str, Any]
    findings: Findings
    folders: dict[str, Path]
    """Of images of the cue alone, by raw label."""
    report: Reporter

    @cached_property
    def gathered(self) -> Gathered:
        """Features and pseudo-labels, with images with and without the cue where there are some."""
        request, parent, findings = self.request, self.parent, self.findings
        self.report(Progress("Reading features", 0, 0))
        found = gather(parent, findings, attribute=request.attribute, seed=request.seed)
        erased = map_erased(parent, findings, found.rows, seed=request.seed)
        found = replace(found, evidence=replace(found.evidence, erased=erased))
        if request.masks:
            pairs = mask_pairs(parent, findings, found.rows, seed=request.seed, report=self.report)
        elif (stored := map_pairs(parent, findings, found.rows, seed=request.seed)) is not None:
            pairs = stored
        else:
            return found
        return replace(
            found,
            evidence=replace(found.evidence, pairs=pairs),
            basis=f"{found.basis}; the cue moved between images by {pairs.basis}",
        )

    def head(self, strength: float) -> Head:
        """The head that a method of the head makes at a strength."""
        return mitigate(
            self.request.method, self.parent.head, self.gathered.evidence, strength, **self.options
        )


def cue_folders(parent: Audit, given: Mapping[str, Path]) -> dict[str, Path]:
    """Folders of images of the cue alone by raw label, checked before any work.

    Raises
    ------
    InputError
        If a class is unknown, or a folder is none.
    """
    found = {}
    for name, folder in given.items():
        label = parent.class_facts(name).label
        if not folder.expanduser().is_dir():
            raise InputError(
                f"--cue-images {name}={folder}: {folder} is not a folder; give one with images "
                "that show the cue and not the object"
            )
        found[label] = folder.expanduser().absolute()
    return found


def check_strength(chosen: Method, strength: float | None) -> None:
    """Raise InputError unless a given strength is in the method's range."""
    low, high = chosen.strengths[0], chosen.strengths[-1]
    if strength is not None and not low <= strength <= high:
        raise InputError(
            f"--strength {strength:g}: {chosen.name} takes {low:g} to {high:g}, or auto"
        )


def _correct(
    work: _Work, workspace: Workspace, manifest: Manifest, started: Callable[[str], None]
) -> None:
    """Run the method and write the derived audit."""
    request, parent, gathered, chosen = work.request, work.parent, work.gathered, work.chosen
    told: dict[str, object] = {"learnt_from": len(gathered.rows), "told_apart_by": gathered.basis}
    table = None
    if chosen.train is not None:
        task = Task(
            parent,
            work.findings,
            gathered.evidence,
            gathered.rows,
            request.given,
            work.options,
            request.seed,
        )
        tried = None
        if request.sweep:
            corrected, tried = swept(chosen, task, work.report)
            table = chosen_on(tried, tried.strength)
        else:
            corrected = chosen.train(task, work.report)
        told["strength"] = corrected.facts.get("strength", request.given)
        told["chosen_on"] = _on_held_back(tried) if tried else ""
        if tried:
            told |= judged_by_groups(tried, tried.strength, work.findings.keys)
    else:
        corrected, facts, table = _correct_head(work)
        told |= facts
    audit = derive(
        parent,
        workspace,
        manifest,
        corrected,
        told=told,
        fitted_on=gathered.fitted_on,
        report=work.report,
        started=started,
    )
    if table is not None:
        write_frame(audit.files.mitigation.tradeoff, table)
    carry_tags(parent, audit, TagStore.open(workspace))


def _on_held_back(tried: Sweep) -> str:
    return f"{tried.n} trials on training images that were held back: {tried.basis}"


def _correct_head(work: _Work) -> tuple[Corrected, Mapping[str, object], pd.DataFrame]:
    """A method of the head: the sweep on training images, then the fit on all of them."""
    request, evidence, parent = work.request, work.gathered.evidence, work.parent
    work.report(Progress("Choosing the strength", 0, 0))
    first = not is_derived(parent)
    tried = sweep(request.method, parent.head, evidence, refit=first, **work.options)
    strength = tried.strength if request.given is None else request.given
    kinds = dict.fromkeys([*QUICK, *(v for v in work.options.values() if v in KINDS)])
    facts = {
        "strength": strength,
        "chosen_on": f"{tried.n} trials on held-out folds of the training images: {tried.basis}",
        **judged_by_groups(tried, strength, work.findings.keys),
        "concepts": concept_rows(evidence, work.findings.keys, tuple(kinds)),
    }
    return Corrected(work.head(strength)), facts, chosen_on(tried, strength)


def judged_by_groups(tried: Sweep, strength: float, keys: Sequence[str]) -> Mapping[str, object]:
    """What is recorded of the cues' presence, and of the worst group before and after.

    Parameters
    ----------
    keys : of the cues, in the order of the evidence.
    """
    known = zip(keys, tried.presences, strict=bool(tried.presences))
    found: dict[str, object] = {"lacking": [f"{key}: {one.words}" for key, one in known]}
    row = np.flatnonzero(np.isclose(tried.strengths, strength))
    if tried.worst is not None and len(row) and np.isfinite(tried.worst[[0, row[0]]]).all():
        found["worst_before"] = float(tried.worst[0])
        found["worst_after"] = float(tried.worst[row[0]])
    return found


def _composites(work: _Work, models: dict[str, Model]) -> dict[int, Composites]:
    """Composites of every class acted on, by its output; the table before and after has them."""
    return {
        work.parent.class_facts(label).class_idx: held_out_composites(
            work.parent, label, work.findings.decisions, models=models, report=work.report
        )
        for label in work.findings.chosen
    }


def _measure(work: _Work, audit: Audit, *, again: bool) -> None:
    """Write the table before and after and the trade-off, unless they are as they were asked for.

    What needs pictures, or images of a cue alone, may be measured later: both then gain it.
    """
    request, findings, files = work.request, work.findings, audit.files.mitigation
    before = read_json(files.changed, CHANGED) if files.changed.exists() else None
    known = {label: Path(text) for label, text in (before or {}).get("cue_images", {}).items()}
    pictures = request.pictures or bool(before and before["pictures"])
    same = before and before["pictures"] == pictures and work.folders.items() <= known.items()
    if files.effect.exists() and same and not again:
        return
    models: dict[str, Model] = {}
    acted_on = frozenset(findings.keys)
    folders = {label: of for label, of in known.items() if of.is_dir()} | work.folders
    effect = Effect(work.parent, audit, findings.decisions, acted_on, request.attribute)
    table = effects(
        effect, pictures=pictures, cue_images=folders, models=models, report=work.report
    )
    write_frame(files.effect, table)
    tried = tradeoff_table(audit)
    if tried is not None and not work.chosen.of_network:
        curve = reported(
            work.parent,
            findings,
            tried,
            work.head,
            kept=work.gathered.fitted_on,
            attribute=request.attribute,
            composites=_composites(work, models) if pictures else {},
            report=work.report,
        )
        write_frame(audit.files.mitigation.tradeoff, curve)
    stored = {label: str(of) for label, of in folders.items()}
    write_json(
        files.changed, {**changed_images(effect), "pictures": pictures, "cue_images": stored}
    )
