"""What the strongest patch and perturbation do for a class, beside what its candidates do."""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.candidates.key import keys_in
from core.measures.measure import Measure, Rows
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import OnDemand
from core.measures.rows import corrected, row
from core.statistics.intervals import share
from core.statistics.paired import newly_given
from core.tags.decisions import Decisions
from core.trials.encoder import trial_split
from core.trials.leaning import leaning
from core.trials.paste import sample
from core.trials.universal import KINDS, SIDE, universal_of
from core.types import Reporter, count_of

CLASSES = 4
"""Classes that are looked at where none is asked for: tagged ones first, then some drawn."""

WORDS = {
    "patch": f"a patch of {100 * SIDE**2:.0f} % of the image",
    "perturbation": "a perturbation of at most 10 / 255",
}
CONTROL = "a random {}"

TURNED = Measure(
    "universal_rate",
    "Turned by a universal patch",
    "Share of other classes' held-out images that become the class with the one patch, or the one "
    "faint perturbation, that gradients on training images found for it; beside it a random one, "
    "and what the candidates of the class do when they are put in.",
    direction="far above its control the network has a shortcut of this size, whether or not any "
    "image shows it; near it gradients found none; a real cue may be larger and do more",
    better=-1,
    source="Brown et al. 2017; Moosavi-Dezfooli et al. 2017",
    views=(),
    part="universal",
)


def labels_asked(audit: Audit, decisions: Decisions, request: MeasureRequest) -> list[str]:
    """The class that is asked for, or tagged ones and some others."""
    if request.class_name is not None:
        return [audit.class_facts(request.class_name).label]
    tagged = [facts.label for facts in audit.classes if facts.label in decisions.spurious]
    others = [facts.label for facts in audit.classes if facts.label not in tagged]
    found = sample(tagged, CLASSES)
    return [*found, *sample(others, CLASSES - len(found))]


def _rows(audit: Audit, decisions: Decisions, request: MeasureRequest, report: Reporter) -> Rows:
    labels = labels_asked(audit, decisions, request)
    return [
        each
        for label in labels
        for each in class_rows(
            audit, decisions, label, universal_of(label)(audit, report), tests=len(labels)
        )
    ]


def class_rows(
    audit: Audit, decisions: Decisions, label: str, found: pd.DataFrame, *, tests: int = 1
) -> Rows:
    """Rows of a class.

    Parameters
    ----------
    found : of :func:`core.trials.universal.universal_of`; tests : classes that are looked at.
    """
    facts, n, rows = audit.class_facts(label), len(found), Rows()
    said, split = corrected(tests, "classes"), trial_split(audit)
    for kind in KINDS:
        for column, subject in ((kind, WORDS[kind]), (f"{kind}_control", CONTROL.format(kind))):
            hits = newly_given(
                found["before"].to_numpy(), found[column].to_numpy(), facts.class_idx
            )
            note = "; ".join(part for part in (_becomes(audit, found, column), said) if part)
            rows.append(
                row(
                    facts,
                    TURNED,
                    float(hits.mean()),
                    interval=share(float(hits.sum()), n, tests),
                    n=n,
                    subject=subject,
                    split=split,
                    reading=_reading(found, kind, facts.class_idx, tests) if column == kind else "",
                    note=note,
                )
            )
    return rows + _candidates(audit, decisions, label)


def _becomes(audit: Audit, found: pd.DataFrame, column: str) -> str:
    """What most of the images that are given another class become."""
    moved = found.loc[found[column] != found["before"], column]
    if moved.empty:
        return "no image is given another class"
    counts = np.bincount(moved)
    name = audit.head.names[int(counts.argmax())]
    return f"{len(moved)} of {len(found)} change, {int(counts.max())} of them to {name}"


def _reading(found: pd.DataFrame, kind: str, output: int, tests: int) -> str:
    """Whether more are turned than by random values."""
    before = found["before"].to_numpy()
    turned, control = (
        int(newly_given(before, found[column].to_numpy(), output).sum())
        for column in (kind, f"{kind}_control")
    )
    low, high = share(turned, len(found), tests)[0], share(control, len(found), tests)[1]
    return "a shortcut of the network" if low > high else "no more than its control"


def _candidates(audit: Audit, decisions: Decisions, label: str) -> Rows:
    """What candidates do in the maps of other images: the strongest, and every tagged one."""
    table, facts = leaning(audit), audit.class_facts(label)
    table = table[(table["class_idx"] == facts.class_idx) & table["put_in"].notna()]
    if table.empty:
        return []
    first = int(np.argmax(table["put_in"].to_numpy()))
    tagged, rows = set(decisions.spurious.keys_of.get(label, [])), Rows()
    for place, key in enumerate(keys_in(table.assign(label=label))):
        if place != first and key not in tagged:
            continue
        found = table.iloc[place]
        note = f"in the maps; control {100 * found['put_in_control']:.0f} %"
        if place == first:
            note += f"; the strongest of {count_of(len(table), 'candidate')}"
        rows.append(
            row(
                facts,
                TURNED,
                float(found["put_in"]),
                interval=(float(found["put_in_low"]), float(found["put_in_high"])),
                n=int(found["targets"]),
                subject=f"{decisions.names.written(key)} put in",
                split=trial_split(audit),
                note=note,
            )
        )
    return rows


def _tried(audit: Audit, decisions: Decisions, request: MeasureRequest) -> object:
    """How many candidates were tried; more of them are further rows."""
    del decisions, request
    return len(leaning(audit))


UNIVERSAL = OnDemand(
    "universal",
    "the strongest patch and perturbation of a class",
    _rows,
    options=("class_name",),
    depends=_tried,
)
