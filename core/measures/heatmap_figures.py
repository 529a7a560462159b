"""How far heatmaps of a class can be trusted: every method judged on some of its images.

Of every tagged class, or of some where nothing is tagged, each method is judged on a few held-out
images (:mod:`core.explain.trust`); what was judged already is not judged again, on pages neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.audits.audit import Audit
from core.audits.explained import Asked, drawn, explain
from core.audits.judged import ENERGY, FIGURES, table_of
from core.errors import SpurioscopeError
from core.explain.attribution import ATTRIBUTIONS
from core.explain.explainer import Explanation
from core.measures.measure import PLAIN, SHARE, Measure, Rows
from core.measures.on_demand import OnDemand
from core.measures.rows import note, row
from core.trials.outcomes import FURTHER
from core.trials.paste import sample
from core.types import Progress, Reporter

if TYPE_CHECKING:
    from core.measures.measure_requests import MeasureRequest
    from core.models.model import Model
    from core.tags.decisions import Decisions

IMAGES = 4
"""Held-out images of a class: every one takes each method a dozen maps."""

PART = "trust"


def _rows(audit: Audit, decisions: Decisions, request: MeasureRequest, report: Reporter) -> Rows:
    del request
    every = [facts.label for facts in audit.classes]
    labels = list(decisions.spurious) or sample(every, FURTHER)
    model, rows = audit.load_model(), Rows()
    for done, label in enumerate(labels):
        report(Progress("Judging heatmaps", done, len(labels), "classes"))
        rows += _class_rows(audit, label, model, report)
    return rows


def _class_rows(audit: Audit, label: str, model: Model, report: Reporter) -> Rows:
    facts, ids = audit.class_facts(label), drawn(audit, label, IMAGES)
    told = list(explain(audit, Asked.of("trust", label), ids, model, report))
    said = {image_id: found for image_id, found in told if isinstance(found, Explanation)}
    refused = {str(found) for _, found in told if isinstance(found, SpurioscopeError)}
    refused |= {
        f"{name}: {why}"
        for found in said.values()
        for name, why in dict(found.facts["failed"]).items()  # type: ignore[call-overload]
    }
    fills = "filled with the mean colour, a blur and another image in turn"
    return [note(why, facts=facts) for why in sorted(refused)] + [
        row(
            facts,
            BY_FIGURE[str(found["figure"])],
            float(found["value"]),
            interval=(float(found["low"]), float(found["high"])),
            n=int(found["n"]),
            subject=_title(str(found["method"])),
            split=audit.summary.held_out,
            note=fills,
        )
        for found in table_of(audit, said).to_dict("records")
        if found["n"]
    ]


def _title(method: str) -> str:
    return ATTRIBUTIONS[method].title if method in ATTRIBUTIONS else method


HEATMAPS = OnDemand(PART, "how far heatmaps can be trusted", _rows)

_GUPTA = "Gupta et al. 2022, by memory"


def _measure(
    figure: str,
    title: str,
    text: str,
    better: int,
    source: str = "this project",
    unit: str = SHARE,
    direction: str = "",
) -> Measure:
    return Measure(
        f"heatmap_{figure}",
        title,
        text,
        better=better,
        source=source,
        unit=unit,
        direction=direction,
        part=PART,
        views=(),
    )


_WORST = "Of the worst of three labels: the best pixels alone give it what the image gives it{}."
COMPLETE = _measure("completeness", "Completeness", _WORST.format(""), 1, _GUPTA)
SOUND = _measure("soundness", "Soundness", _WORST.format(", and no more"), 1, _GUPTA)
MEAN_COMPLETE = _measure(
    "mean_completeness", "Mean completeness", "Completeness, mean of three labels.", 1, _GUPTA
)
MEAN_SOUND = _measure(
    "mean_soundness", "Mean soundness", "Soundness, mean of three labels.", 1, _GUPTA
)
_RISE = "Petsiuk et al. 2018"
INSERTION = _measure(
    "insertion",
    "Insertion",
    "Mean probability of the class with only the best pixels, over shares and fills.",
    1,
    source=_RISE,
)
DELETION = _measure(
    "deletion",
    "Deletion",
    "Mean probability of the class without the best pixels, over shares and fills.",
    -1,
    source=_RISE,
)
FILL = _measure(
    "fill_sensitivity",
    "Fill sensitivity",
    "Standard deviation of insertion over the fills.",
    -1,
    source="Jain, Salman et al. 2022",
)
STABLE = _measure(
    "stability",
    "Stability",
    "Agreement with the map of the same image with slight noise.",
    1,
    unit=PLAIN,
)
SECONDS = _measure("seconds", "Seconds of a map", "Of one map, on this machine.", -1, unit=PLAIN)
POINTING = _measure(
    ENERGY,
    "Energy in the mask",
    "Share of a map's positive energy in the mask of the cue, else of the object, over its area.",
    0,
    unit=PLAIN,
    direction="1 is what a map that knows nothing has",
)
BY_FIGURE = dict(
    zip(
        (*FIGURES, ENERGY),
        (
            *(COMPLETE, SOUND, MEAN_COMPLETE, MEAN_SOUND, INSERTION, DELETION, FILL, STABLE),
            *(SECONDS, POINTING),
        ),
        strict=True,
    )
)
"""By what is judged."""
