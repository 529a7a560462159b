"""The section "Under shift": what is known of the model beyond its test images, against the cue.

A paragraph is a function of the evidence, and appears where its figures were computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from core.data.corruptions import CORRUPTIONS, SEVERITIES
from core.data.table import some
from core.measures.accuracy import ACCURACY
from core.measures.agreement_figures import AGREEMENT, LABEL, SCORE
from core.measures.agreement_figures import DROP as LOST
from core.measures.calibrated import AT, BRIER, CALIBRATED, NLL, OVERCONFIDENCE, TEMPERATURE
from core.measures.conditions import ALL, CUE, CUES
from core.measures.corruption_figures import (
    CLEAN,
    CORRUPTED,
    CORRUPTED_GAP,
    EVERY,
    GAP_CHANGE,
    subject,
)
from core.measures.measure import Measure
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import OnDemand
from core.measures.ood import BEYOND, LACKING, LACKING_CONTROL, OOD, PASTED, VERSIONS
from core.measures.prior_figures import ACCURACY as PRIOR_ACCURACY
from core.measures.prior_figures import APART, HEAD, PRIORS, WORDS
from core.measures.prior_figures import GAP as PRIOR_GAP
from core.measures.set_figures import CUE_SHIFT, DROP, SETS
from core.measures.universal_figures import CONTROL, TURNED, UNIVERSAL
from core.measures.universal_figures import WORDS as ADDED
from core.report.findings import Number
from core.report.material import Evidence
from core.report.sentences import Sentence, percent, points
from core.statistics.anomaly import TITLES


def stored(evidence: Evidence, table: OnDemand) -> pd.DataFrame | None:
    """A table as it is measured without further options; None where it was not."""
    audit = evidence.audit
    return table.known(audit, evidence.decisions, MeasureRequest(audit.id, table.name))


def number(table: pd.DataFrame, measure: Measure | str, subject: str) -> Number | None:
    """A row of such a table; None where it has none."""
    name = measure if isinstance(measure, str) else measure.name
    rows = table[(table["measure"] == name) & (table["subject"] == subject)]
    everywhere = rows[rows["label"] == ""]
    rows = everywhere if len(everywhere) else rows
    if rows.empty:
        return None
    return of_row(rows.iloc[0])


def of_row(row: pd.Series) -> Number:
    """A row of a table of measures as the number behind a sentence."""
    name, subject = str(row["measure"]), str(row["subject"])
    split, source, note = (str(row[of]) for of in ("split", "source", "note"))
    value, low, high = (float(row[of]) for of in ("value", "low", "high"))
    unit, n = str(row["unit"]), int(row["n"])
    return Number(name, subject, value, low, high, unit, n, split, source, note)


def calibration(evidence: Evidence) -> Sentence | None:
    """How sure the model is, and how often right."""
    table = stored(evidence, CALIBRATED)
    if table is None:
        return None
    asked = ("accuracy", "confidence", OVERCONFIDENCE, "calibration_error", NLL, BRIER)
    found = [number(table, each, ALL) for each in asked]
    numbers = tuple(each for each in found if each is not None)
    right, sure, away = numbers[:3]
    said = "as sure as it is right, as far as these images can tell"
    if away.low > 0:
        said = f"{away.value:.0f}\u00a0points surer than it is right"
    if away.high < 0:
        said = f"{-away.value:.0f}\u00a0points less sure than it is right"
    return Sentence(
        f"On all held-out images the model is right on {percent(right.value)} and gives what it "
        f"says {percent(sure.value)} on average: {said}.",
        numbers,
    )


def temperature(evidence: Evidence) -> Sentence | None:
    """What one temperature does to images that it was not fitted on."""
    table = stored(evidence, CALIBRATED)
    found = [
        None if table is None else number(table, measure, subject)
        for measure, subject in (
            (TEMPERATURE, ""),
            ("calibration_error", ALL),
            ("calibration_error", f"{ALL}{AT}"),
        )
    ]
    numbers = tuple(each for each in found if each is not None)
    if len(numbers) < len(found):
        return None
    at, before, after = numbers
    return Sentence(
        f"Divided by a temperature of {at.value:.2f} (fitted on: {at.split}), the logits have a "
        f"calibration error of {after.value:.3f} on images that it was not fitted on, as they are "
        f"{before.value:.3f}.",
        numbers,
    )


def calibration_by_cue(evidence: Evidence) -> Sentence | None:
    """The same where images show least and most of the tagged cues."""
    table = stored(evidence, CALIBRATED)
    if table is None:
        return None
    told, numbers = [], []
    for place, where in ((CUES[0], "least"), (CUES[-1], "most")):
        subject = f"{CUE} {place}"
        found = [number(table, m, subject) for m in ("accuracy", "confidence", OVERCONFIDENCE)]
        there = [each for each in found if each is not None]
        if len(there) < len(found):
            return None
        right, sure, _ = there
        told.append(
            f"where images show {where} of the tagged cues (a tenth of each class) it is right on "
            f"{percent(right.value)} and says {percent(sure.value)}"
        )
        numbers += there
    text = f"{told[0]}; {told[1]}."
    return Sentence(text[0].upper() + text[1:], tuple(numbers))


def typical(evidence: Evidence) -> Sentence | None:
    """Whether images look like strangers without the tagged cues, beside random directions."""
    table = stored(evidence, OOD)
    if table is None:
        return None
    told, numbers = [], []
    for score in ("max_logit", "knn"):
        found = [number(table, each, score) for each in (LACKING, LACKING_CONTROL)]
        there = [each for each in found if each is not None]
        if len(there) < len(found):
            return None
        told.append(f"by {TITLES[score]} {there[0].value:.2f} against {there[1].value:.2f}")
        numbers += there
    of_classes = table[(table["measure"] == LACKING.name) & (table["label"] != "")]
    beyond = of_classes[of_classes["reading"].str.contains(BEYOND, regex=False)]
    names = sorted(beyond["class_name"].unique())
    said = f"beyond them in {some(names)}" if names else "beyond them in no class"
    return Sentence(
        "How often an image with least of the tagged cues looks more anomalous than one with most "
        f"of them, against random directions with the same share of the logit: {'; '.join(told)}; "
        f"{said}.",
        tuple(numbers),
    )


def unnoticed(evidence: Evidence) -> Sentence | None:
    """Which pasted cues make images of other classes look no more anomalous than before."""
    table = stored(evidence, OOD)
    if table is None:
        return None
    rows = table[table["measure"] == PASTED.name]
    rows = rows[rows["subject"] == f"max_logit: {VERSIONS['after']}"]
    if rows.empty:
        return None
    seen = rows[rows["low"] > 0.5]
    quiet = sorted(set(rows["class_name"]) - set(seen["class_name"]))
    said = f"is not noticed by the highest logit for {some(quiet)}" if quiet else "is noticed"
    numbers = tuple(of_row(row) for _, row in rows.iterrows())
    return Sentence(f"Pasted on images of other classes, the tagged cue {said}.", numbers)


def evaluation_sets(evidence: Evidence) -> Sentence | None:
    """Named evaluation sets, and how far accuracy drops from the audit's own images to each."""
    table = stored(evidence, SETS)
    if table is None:
        return None
    told, numbers = [], []
    for name in table.loc[table["measure"] == "accuracy", "subject"]:
        found = [number(table, each, name) for each in ("accuracy", DROP)]
        there = [each for each in found if each is not None]
        drop = f", {_drop(there[1])}" if len(there) > 1 else ""
        told.append(f"{name} {percent(there[0].value)}{drop}")
        numbers += there
    return (
        Sentence(f"On other sets of images: {'; '.join(told)}.", tuple(numbers)) if told else None
    )


def _drop(found: Number) -> str:
    if found.low <= 0 <= found.high:
        return "not certainly another than on the audit's own images of these classes"
    word = "fewer" if found.value > 0 else "more"
    return f"{points(abs(found.value))} {word} than on the audit's own images of these classes"


def cues_of_sets(evidence: Evidence) -> Sentence | None:
    """Which sets show more or less of the tagged cues: what a drop may come from."""
    table = stored(evidence, SETS)
    if table is None:
        return None
    rows = table[table["measure"] == CUE_SHIFT.name]
    told, numbers = [], []
    for name, of in rows.groupby("subject", sort=False):
        for direction in ("less", "more"):
            mine = of.loc[of["reading"] == f"{direction} of the cue", "class_name"].tolist()
            if mine:
                told.append(f"{name} shows {direction} of the tagged cues in {some(mine)}")
        numbers += [found for found in (number(of, CUE_SHIFT, str(name)),) if found]
    return Sentence(f"{'; '.join(told)}.", tuple(numbers)) if told else None


def priors(evidence: Evidence) -> Sentence | None:
    """What shape and texture alone are enough for, and which of them a tagged cue is in."""
    table = stored(evidence, PRIORS)
    if table is None:
        return None
    everywhere = table[table["label"] == ""]
    found = [number(everywhere, PRIOR_ACCURACY, HEAD.format(words)) for words in WORDS.values()]
    there = tuple(each for each in found if each is not None)
    if len(there) < len(found):
        return None
    whole, shape, texture = there
    told = [
        f"A head on what the encoder makes of edges alone is right on {percent(shape.value)}, on "
        f"shuffled patches alone on {percent(texture.value)}, on whole images on "
        f"{percent(whole.value)}"
    ]
    gaps = table[(table["measure"] == PRIOR_GAP.name) & (table["subject"] == APART)]
    for reading, of in gaps.groupby("reading", sort=False):
        if str(reading).startswith("the cue"):
            told.append(f"of {some(of['class_name'].tolist())} {reading}")
    return Sentence(f"{'; '.join(told)}.", there)


def learnt(evidence: Evidence) -> Sentence | None:
    """Which cues are easier to learn than their class, and what is lost where they are missing."""
    table = stored(evidence, AGREEMENT)
    if table is None:
        return None
    told, numbers = [], []
    scores = table[table["reading"] == "easier to learn than the class"]
    for name, of in scores.groupby("class_name", sort=False):
        first = of.sort_values("n", kind="stable").iloc[0]
        mine = table[table["class_name"] == name]
        pair = [number(mine, SCORE, s) for s in (first["subject"], f"{LABEL}, {first['n']} images")]
        cue, label = pair
        if cue is not None and label is not None:
            told.append(
                f"beside {name}, {cue.subject.rpartition(', ')[0]} is learnt from fewer images: "
                f"from {first['n']}, heads agree by a kappa of {cue.value:.2f}, on the class by "
                f"{label.value:.2f}"
            )
            numbers += [cue, label]
    lost = table[(table["measure"] == LOST.name) & (table["high"] < 0)]
    for name, of in lost.groupby("class_name", sort=False):
        found = number(of, LOST, "")
        if found is not None:
            told.append(
                f"trained where its cue is and tested where it is not, {name} loses "
                f"{points(-found.value)} more than in splits by random directions"
            )
            numbers.append(found)
    if not told:
        return Sentence("No tagged cue is learnt from fewer images than its class.")
    text = "; ".join(told)
    return Sentence(f"{text[0].upper()}{text[1:]}.", tuple(numbers))


def patches(evidence: Evidence) -> Sentence | None:
    """What one patch turns into each class that was looked at, beside random and real ones."""
    table = stored(evidence, UNIVERSAL)
    if table is None:
        return None
    told, numbers = [], []
    for name, of in table.groupby("class_name", sort=False):
        patch, random = (
            number(of, TURNED, subject) for subject in (ADDED["patch"], CONTROL.format("patch"))
        )
        if patch is None or random is None:
            continue
        beside = of.loc[of["note"].str.contains("the strongest of"), "value"]
        real = "".join(f", its strongest candidate {percent(float(value))}" for value in beside)
        told.append(
            f"{percent(patch.value)} of other classes' images into {name} (a random one "
            f"{percent(random.value)}{real})"
        )
        numbers += [patch, random]
    text = f"The strongest patch of 4 % of an image that gradients find turns {'; '.join(told)}."
    return Sentence(text, tuple(numbers)) if told else None


def corruptions(evidence: Evidence) -> Sentence | None:
    """What the model keeps where images get worse, and whether the cue carries it."""
    table = stored(evidence, CORRUPTED)
    if table is None:
        return None
    worst = subject(EVERY, SEVERITIES[-1])
    found = [number(table, ACCURACY, name) for name in (CLEAN, worst)]
    before, after = (each for each in found if each is not None)
    text = (
        f"Of images that are corrupted in {len(CORRUPTIONS)} ways the model gets "
        f"{percent(after.value)} right at the highest severity, {percent(before.value)} of the "
        "same ones as they were"
    )
    numbers = [before, after]
    sure, cool = (number(table, OVERCONFIDENCE, f"{worst}{ends}") for ends in ("", AT))
    if sure is not None and cool is not None:
        text += (
            f"; confidence is {sure.value:+.0f}\u00a0points from accuracy there, "
            f"{cool.value:+.0f} at the temperature of images as they were"
        )
        numbers += [sure, cool]
    change, gap = number(table, GAP_CHANGE, worst), number(table, CORRUPTED_GAP, worst)
    if change is not None and gap is not None:
        text += f"; {_gap_words(change)}"
        numbers += [gap, change]
    return Sentence(f"{text}.", tuple(numbers))


def _gap_words(change: Number) -> str:
    if change.low > 0:
        return f"images without the tagged cues lose {points(change.value)} more than those with"
    if change.high < 0:
        return f"images with the tagged cues lose {points(-change.value)} more than those without"
    return "images with the tagged cues do not certainly lose more, nor less, than those without"


PARAGRAPHS: Sequence[Callable[[Evidence], Sentence | None]] = (
    calibration,
    temperature,
    calibration_by_cue,
    typical,
    unnoticed,
    evaluation_sets,
    cues_of_sets,
    priors,
    learnt,
    patches,
    corruptions,
)
"""In their order."""


def under_shift(evidence: Evidence) -> list[Sentence]:
    """Every paragraph whose figures were computed."""
    found = (paragraph(evidence) for paragraph in PARAGRAPHS)
    return [each for each in found if each is not None]
