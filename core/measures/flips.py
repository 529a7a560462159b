"""Pasted cues: whether a cue alone turns images of other classes into its class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from core.measures.measure import EFFECT, ONE, Measure, Sample
from core.measures.scope import NOT_ASKED, Scope
from core.statistics.estimates import Bounds, Flips
from core.trials.encoder import trial_split
from core.trials.outcomes import CONTROL, PASTED, VERSIONS
from core.trials.paste import choose
from core.types import BoolArray, FloatArray

NO_CUE = "no cue to paste, or no image of another class"


def turned(scope: Scope, label: str, *, version: str) -> Sample | str | None:
    """Whether each image of another class is newly given the class, in one of its versions.

    Before and after, both models are asked about the very same pasted cues, the parent's.
    """
    first = version == "after"
    if scope.parent is not None:
        return _composed(scope, label, version) if scope.pictures else NOT_ASKED if first else None
    kind = next(kind for kind, versions in VERSIONS.items() if version in versions)
    found, class_idx = scope.outcomes.pasted(label, [kind]), scope.outcomes.number(label)
    assert found is not None
    if found.table.empty:
        return NO_CUE
    asked = found.others(class_idx, version)
    if asked.empty:  # no image of another class has such a version: a mask of its object
        return NO_CUE if first else None
    ids = asked["image_id"].tolist()
    already = float((asked["before"] == class_idx).mean())
    return Sample(
        ids,
        of_sources(ids, found.turned(class_idx, version), found.sources),
        note=f"{found.sources} {found.kind}; {100 * already:.1f} % had the class before",
        split=trial_split(scope.audit),
        tests=len(scope.decisions.spurious),
        stratum="flips",
    )


def _composed(scope: Scope, label: str, version: str) -> Sample | str | None:
    """The same by the features of the pasted images, which a corrected head reads as well."""
    seen, output = scope.composites(label), scope.owner.class_facts(label).class_idx
    if not seen.ids:
        return NO_CUE if version == "after" else None
    ids = [seen.ids[row] for row in np.flatnonzero(seen.usable(output, version))]
    hits = seen.turned(scope.audit.head, output, version)
    note = "; ".join(part for part in (f"{seen.sources} {seen.kind}", seen.note) if part)
    return Sample(ids, of_sources(ids, hits, seen.sources), note=note)


def of_sources(ids: Sequence[str], hits: BoolArray, sources: int) -> FloatArray:
    """What turned and which of the sources every image was given, (n, 2)."""
    return np.column_stack([hits, choose(ids, sources)]) if len(ids) else np.zeros((0, 2))


def _triggers(scope: Scope, label: str, bounds: Bounds) -> str:
    """Whether the rate is certainly above that of the control."""
    control = turned(scope, label, version="control")
    assert isinstance(control, Sample)
    above = bounds[1] > FLIP_RATE.estimate.of(control.values, control.tests)[2]
    return "the cue triggers the class" if above else "not certain"


FLIP_RATE = Measure(
    "flip_rate",
    "Flip rate",
    "Share of other classes' images that become the class when its cue is pasted on them; those "
    "that the model gave the class before stay in it and count as not turned. The interval is over "
    "cues and images.",
    direction="higher: the cue alone is enough; lower is better",
    better=-1,
    part="flip",
    needs=(PASTED,),
    sample=partial(turned, version="after"),
    estimate=Flips(),
    reading=_triggers,
    version=2,
    lacking="no cue could be cut out",
)
CONTROL_RATE = Measure(
    "flip_rate_control",
    "Flip rate of the control",
    "The same with a region of the same shape from another image of the target's own class: "
    "what hiding part of the image does without the cue.",
    direction="compare with the flip rate",
    views=(ONE, EFFECT),
    part="flip",
    needs=(CONTROL,),
    sample=partial(turned, version="control"),
    estimate=Flips(),
)
IN_FRONT_RATE = Measure(
    "flip_rate_object_in_front",
    "Flip rate with the object in front",
    "The same with the cue behind the target's own object, by its mask: nothing of the object is "
    "hidden.",
    direction="higher: the cue alone is enough",
    better=-1,
    views=(ONE,),
    part="flip",
    needs=(CONTROL,),
    sample=partial(turned, version="in_front"),
    estimate=Flips(),
)
