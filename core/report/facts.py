"""Facts about data, model and annotators, and what a report cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from core.audits.audited import AuditedClass
from core.corrections.corrected import facts_of, is_derived
from core.corrections.methods import cited
from core.glossary import term
from core.measures.measure import Measure
from core.measures.registry import MEASURES
from core.models.precision import in_words
from core.report.material import Evidence
from core.report.sentences import percent
from core.tags.agreement import agreement
from core.types import count_of

Facts = list[tuple[str, str]]

WORDS = (
    *("alpha", "candidate", "component", "core", "exact map", "held-out images", "interval"),
    *("neuron", "ranking", "spuriosity", "spurious", "spurious gap", "tag"),
)
"""Terms of the glossary that a report uses."""


def terms() -> dict[str, str]:
    """What the words of a report mean."""
    return {name: term(name).text for name in WORDS}


def model_card(evidence: Evidence) -> Facts:
    """What was audited."""
    manifest = evidence.audit.manifest
    model, head, compute = manifest.model, manifest.head, manifest.compute
    exact = {
        "none": "approximated by Grad-CAM on alpha",
    }.get(model.map_kind, "exact: they average to the number shown")
    summary = evidence.audit.summary
    found = [
        ("Model", model.name),
        ("Checkpoint", PurePath(model.checkpoint).name if model.checkpoint else "as named"),
        ("Weights", manifest.parts.weights),
        ("Head", f"{head.mode} ({head.reason})"),
        ("Features, classes", f"{model.n_features}, {len(evidence.audit.head.outputs)}"),
        ("Input", "{} x {} pixels".format(*manifest.preprocess.input_size)),
        ("Device, precision", f"{compute.device}, {in_words(compute)}"),
        ("Overlays", exact),
    ]
    if is_derived(evidence.audit):
        done = facts_of(evidence.audit)
        what = f"{cited(done.method)} at strength {done.strength:g}, made from {done.parent_name}"
        found.append(("Corrected by", what))
    if summary.accuracy is not None:
        found.append(("Accuracy", f"{percent(summary.accuracy)} on {summary.held_out}"))
    return found + [("Note", str(note)) for note in model.notes]


def data_card(evidence: Evidence) -> Facts:
    """On which images; paths are cut to their last part."""
    audit, summary = evidence.audit, evidence.audit.summary
    source = audit.manifest.data.source
    splits = [
        f"{name}: {facts.images}"
        + (f", accuracy {percent(facts.accuracy)}" if facts.accuracy is not None else "")
        for name, facts in summary.splits.items()
    ]
    return [
        ("Data", PurePath(source).name if "/" in source else source),
        ("Images", f"{summary.readable} readable of {summary.images}"),
        ("Splits", "; ".join(splits)),
        ("Measured on", summary.held_out),
        ("Classes", str(len(audit.classes))),
        ("Attributes", ", ".join(summary.attributes) or "none"),
        ("Masks", ", ".join(summary.masks) or "none"),
        (
            "Identical images",
            f"{count_of(len(summary.duplicates), 'group')}, {len(summary.in_two_splits)} of them "
            "in two splits",
        ),
        *[("Note", str(note)) for note in summary.notes],
    ]


def people(evidence: Evidence) -> Facts:
    """How many people tagged, and how far they agree; nobody is named."""
    found = agreement(evidence.answers) if len(evidence.answers) else None
    if found is None or not found.answers:
        return [("Tags", "nobody has tagged a candidate")]

    def coefficient(value: float | None) -> str:
        return "not defined for these answers" if value is None else f"{value:.3f}"

    return [
        ("People", str(found.annotators)),
        ("Answers", f"{found.answers} on {found.candidates} candidates"),
        ("Fleiss' kappa, all answers", coefficient(found.fleiss_kappa)),
        ("Fleiss' kappa, core or spurious", coefficient(found.fleiss_kappa_binary)),
        ("Krippendorff's alpha", coefficient(found.krippendorff_alpha)),
        ("Unanimous, of candidates with several answers", coefficient(found.unanimous)),
    ]


def limits(evidence: Evidence, tests: int) -> list[str]:
    """What the report cannot say."""
    audit = evidence.audit
    found = [
        "A gap says that accuracy differs along a candidate, as it does along every direction that "
        "has a share of the logit. That a cue is spurious is the judgement of the people who "
        "tagged it, and a verdict is as good as its tag.",
        "People saw the gaps of candidates while they tagged, on the images that are measured "
        "here: the largest of many is too large, and smaller on new images.",
        "A cue that no candidate shows, or that every image of a class shares, is not found.",
        "A pasted cue is a cut-out, not a photo: its flip rate is compared with that of a control.",
    ]
    if tests:
        found.append(
            f"Intervals hold together for all statements of this report ({tests}), whichever "
            "classes are printed; those in the tables of further numbers are corrected as noted "
            "there."
        )
    if len(evidence.answers) and evidence.answers["annotator"].nunique() == 1:
        found.append("Every tag comes from one person.")
    if audit.summary.held_out in ("out-of-fold",) or "all images" in audit.summary.held_out:
        found.append(f"There is no split apart from train: figures are {audit.summary.held_out}.")
    if evidence.missing:
        found.append(evidence.missing)
    return found + list(evidence.decisions.notes)


def definitions(evidence: Sequence[Evidence]) -> dict[str, Measure]:
    """Every measure of the report and what it is."""
    used = {name for e in evidence for name in e.table["measure"].unique()} - {"note"}
    return {name: MEASURES[name] for name in sorted(used)}


def classes(evidence: Evidence, most: int = 60) -> tuple[Sequence[AuditedClass], int]:
    """Images and accuracy of every class, and how many classes were left out."""
    facts = evidence.audit.classes
    return facts[:most], max(len(facts) - most, 0)
