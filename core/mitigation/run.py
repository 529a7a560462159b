"""One mitigation from start to finish: tagged cues in, a derived audit and its before/after out.

::

    mitigation/effect.parquet     the table before and after (:mod:`core.mitigation.effect`)
               tradeoff.parquet   every strength tried (:mod:`core.mitigation.tradeoff`)
               changed.json       images whose prediction changed, for better and for worse
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.annotate.tags import TagEvent, TagStore
from core.audit import Audit
from core.errors import InputError
from core.measures.decisions import values_of
from core.mitigate import methods as heads
from core.mitigate.choice import sweep
from core.mitigate.concepts import KINDS
from core.mitigation.composites import Composites, held_out_composites, map_pairs, mask_pairs
from core.mitigation.derived import Corrected, derive, link_tree, plan
from core.mitigation.effect import Effect, changed_images, effects
from core.mitigation.findings import Findings, Gathered, find, gather, has
from core.mitigation.methods import Method, checked, method
from core.mitigation.stored import facts_of, is_derived
from core.mitigation.task import NetworkMethod, Task
from core.mitigation.tradeoff import chosen_on, reported
from core.mitigation.vectors import QUICK, concept_rows
from core.statistics import correlation
from core.store import Workspace, check_name, read_json, write_frame, write_json
from core.types import Kind, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

ALIKE = 0.9
"""Correlation of alphas from which a component of the corrected head is the tagged one."""


@dataclass(frozen=True)
class MitigateRequest:
    """What the user asked for; the command line and the page fill the same fields."""

    audit: str
    method: str
    name: str
    classes: Sequence[str] = ()
    cues: Sequence[str] = ()
    """``LABEL/kind-component``, among those decided spurious; default all."""
    strength: float | None = None
    """None: chosen on a held-out part of the training images."""
    options: Mapping[str, str] = field(default_factory=dict)
    attribute: str | None = None
    """Who shows the cue; default high against low alpha."""
    masks: bool = False
    """Whether drawn cue masks of training images may be used (these are decoded)."""
    threshold: int | None = None
    pictures: bool = True
    """Whether to measure what needs images afterwards."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.strength is not None and not np.isfinite(self.strength):
            raise InputError(f"--strength {self.strength}: give a number or auto")


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
    parent = Audit.open(workspace, request.audit)
    if request.name == parent.name:
        raise InputError(f"--name {request.name!r} is the audit itself; give another name")
    chosen = method(request.method)
    options = checked(chosen, request.options)
    check_strength(chosen, request.strength)
    findings = find(
        parent, workspace, classes=request.classes, cues=request.cues, threshold=request.threshold
    )
    if request.attribute is not None:
        has(parent, request.attribute)
    manifest = plan(parent, workspace, request.name, _asked(request, findings, options))
    audit = workspace.folder(manifest["id"])
    if not (audit / "summary.json").exists():
        _correct(request, workspace, parent, chosen, options, findings, manifest, report, started)
    found = Audit(audit)
    started(found.id)
    _measure(request, workspace, parent, found, findings, report)
    return found


def check_strength(chosen: Method, strength: float | None) -> None:
    """Raise InputError unless a given strength is in the method's range."""
    low, high = chosen.strengths[0], chosen.strengths[-1]
    if strength is not None and not low <= strength <= high:
        raise InputError(
            f"--strength {strength:g}: {chosen.name} takes {low:g} to {high:g}, or auto"
        )


def _asked(
    request: MitigateRequest, findings: Findings, options: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "method": request.method,
        "cues": findings.keys,
        "options": dict(options),
        "asked_strength": "auto" if request.strength is None else float(request.strength),
        "attribute": request.attribute,
        "masks": request.masks,
        "seed": request.seed,
    }


def _correct(
    request: MitigateRequest,
    workspace: Workspace,
    parent: Audit,
    chosen: Method,
    options: dict[str, Any],
    findings: Findings,
    manifest: dict[str, Any],
    report: Reporter,
    started: Callable[[str], None],
) -> None:
    """Run the method and write the derived audit."""
    report(Progress("Reading features", 0, 0))
    gathered = gather(parent, findings, attribute=request.attribute, seed=request.seed)
    gathered = _with_pairs(parent, findings, gathered, request, report)
    told: dict[str, Any] = {"learnt_from": len(gathered.rows), "told_apart_by": gathered.basis}
    if isinstance(chosen, NetworkMethod):
        task = Task(parent, findings, gathered.evidence, gathered.rows, request.strength, options,
                    request.seed)  # fmt: skip
        corrected = chosen.apply(task, report)
        told["strength"] = corrected.facts.get("strength", request.strength)
        told["chosen_on"] = ""
        table = None
    else:
        corrected, facts, table = _correct_head(
            request, parent, options, findings, gathered, report
        )
        told |= facts
    audit = derive(
        parent,
        workspace,
        manifest,
        corrected,
        told=told,
        fitted_on=gathered.fitted_on,
        report=report,
        started=started,
    )
    if table is not None:
        write_frame(audit.folder / "mitigation" / "tradeoff.parquet", table)
    carry_tags(parent, audit, TagStore.open(workspace))


def _with_pairs(
    parent: Audit,
    findings: Findings,
    gathered: Gathered,
    request: MitigateRequest,
    report: Reporter,
) -> Gathered:
    """Add the same images with and without the cues: by drawn masks, else by stored maps."""
    if request.masks:
        pairs = mask_pairs(parent, findings, gathered.rows, seed=request.seed, report=report)
    elif (found := map_pairs(parent, findings, gathered.rows, seed=request.seed)) is not None:
        pairs = found
    else:
        return gathered
    return replace(
        gathered,
        evidence=replace(gathered.evidence, pairs=pairs),
        basis=f"{gathered.basis}; the cue moved between images by {pairs.basis}",
    )


def _correct_head(
    request: MitigateRequest,
    parent: Audit,
    options: dict[str, Any],
    findings: Findings,
    gathered: Gathered,
    report: Reporter,
) -> tuple[Corrected, dict[str, Any], Any]:
    """A method of the head: the sweep on training images, then the fit on all of them."""
    name, evidence = request.method, gathered.evidence
    report(Progress("Choosing the strength", 0, 0))
    first = not is_derived(parent)
    tried = sweep(name, parent.head, evidence, refit=first, **options)
    strength = tried.strength if request.strength is None else float(request.strength)
    facts: dict[str, Any] = {
        "strength": strength,
        "chosen_on": f"{tried.n} trials on held-out folds of the training images: {tried.basis}",
    }
    kinds = dict.fromkeys([*QUICK, *(v for v in options.values() if v in KINDS)])
    facts["concepts"] = concept_rows(evidence, findings.keys, tuple(kinds))
    head = heads.mitigate(name, parent.head, evidence, strength, **options)
    table = reported(
        parent,
        findings,
        chosen_on(tried, strength),
        lambda s: heads.mitigate(name, parent.head, evidence, s, **options),
        kept=gathered.fitted_on,
        attribute=request.attribute,
        composites=_composites(parent, findings, report) if request.pictures else {},
        report=report,
    )
    return Corrected(head), facts, table


def _composites(parent: Audit, findings: Findings, report: Reporter) -> dict[int, Composites]:
    """Composites of every class acted on, by its output; the table before and after uses them."""
    models: dict[str, Model] = {}
    return {
        int(parent.class_facts(label)["class_idx"]): held_out_composites(
            parent, label, findings.decisions, models=models, report=report
        )
        for label in findings.chosen
    }


def carry_tags(parent: Audit, audit: Audit, store: TagStore) -> int:
    """Give a derived audit its parent's tags where their candidates still are; how many.

    A component is carried to the one whose alpha correlates with its own by at least ALIKE on the
    class's training images, other candidates to themselves if their alpha does so. The tag of one
    that the correction took away stays with the parent. Nothing is done where the audit has tags.
    """
    if store.history(audit.id):
        return 0
    same = not facts_of(audit)["encoder_changed"]
    if same:
        link_tree(parent.folder / "carried", audit.folder / "carried")
    known = {facts["label"] for facts in audit.classes}
    places: dict[str, dict[int, int]] = {}
    rows = []
    for event in store.current(parent.id):
        if event.label not in known or (event.kind is Kind.CARRIED and not same):
            continue
        if event.kind is Kind.PCA and event.label not in places:
            places[event.label] = same_components(parent, audit, event.label)
        place = places.get(event.label, {}).get(event.component, -1)
        if event.kind is not Kind.PCA:
            alike = same or _alike(parent, audit, event)
            place = event.component if alike else -1
        if place >= 0:
            rows.append(_row(event, place))
    return store.add_many(audit.id, rows)


def _row(event: TagEvent, place: int) -> dict[str, Any]:
    """An entry of the log for another audit."""
    return {
        **{n: getattr(event, n) for n in ("annotator", "label", "at", "confidence", "reason")},
        **{"kind": event.kind.value, "component": place},
        "tag": event.tag.value if event.tag else None,
        "subtype": event.subtype.value if event.subtype else None,
    }


def _alike(parent: Audit, audit: Audit, event: TagEvent) -> bool:
    """Whether a neuron still says of the class's training images what it said in the parent."""
    values = []
    for which in (parent, audit):
        arrays = which.class_arrays(which.class_facts(event.label)["class_idx"])
        candidate = arrays.candidate(event.kind, event.component)
        values.append(values_of(which, event.label, [candidate])[np.asarray(arrays.fitting)])
    return bool(correlation(*values)[0, 0] >= ALIKE)


def same_components(parent: Audit, audit: Audit, label: str) -> dict[int, int]:
    """Components of a class by their number in the parent, where the audit still has them."""
    old, new = (a.class_arrays(a.class_facts(label)["class_idx"]) for a in (parent, audit))
    r_old, r_new = old.pca.basis.shape[1], new.pca.basis.shape[1]
    if not r_old or not r_new:
        return {}
    rows = np.flatnonzero(old.fitting)
    between = correlation(
        np.asarray(old.alpha[rows, :r_old], np.float64),
        np.asarray(new.alpha[rows, :r_new], np.float64),
    )
    best = between.argmax(axis=1)
    return {i: int(best[i]) for i in range(r_old) if between[i, best[i]] >= ALIKE}


def _measure(
    request: MitigateRequest,
    workspace: Workspace,
    parent: Audit,
    audit: Audit,
    findings: Findings,
    report: Reporter,
) -> None:
    """Write the table before and after, unless it is there as it was asked for."""
    folder = audit.folder / "mitigation"
    path = folder / "changed.json"
    if path.exists() and (read_json(path)["pictures"] or not request.pictures):
        return
    effect = Effect(parent, audit, findings.decisions, frozenset(findings.keys), request.attribute)
    table = effects(effect, pictures=request.pictures, report=report)
    write_frame(folder / "effect.parquet", table)
    write_json(path, {**changed_images(effect), "pictures": request.pictures})


def parse_options(given: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping.

    Raises
    ------
    InputError
        If one has no equals sign.
    """
    found = {}
    for text in given:
        if not re.fullmatch(r"[^=]+=.+", text):
            raise InputError(f"--option {text!r}: write NAME=VALUE")
        name, _, value = text.partition("=")
        found[name.strip().replace("-", "_")] = value.strip()
    return found
