"""Findings as plain sentences, each with the numbers behind it. Text follows from the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.report.findings import WORTH, Finding, Number, Question, Verdict


@dataclass(frozen=True)
class Sentence:
    """A sentence and what it rests on."""

    text: str
    numbers: tuple[Number, ...] = ()


def percent(share: float) -> str:
    """A share in [0, 1] for people."""
    return f"{100 * share:.0f}\u00a0%"


def points(difference: float) -> str:
    """A difference of percentages for people."""
    return f"{difference:+.0f}\u00a0points"


def interval(number: Number) -> str:
    """The interval of a number, empty where there is none."""
    if number.low != number.low:
        return ""
    if number.unit == "points":
        return f"[{number.low:+.1f}, {number.high:+.1f}]"
    return f"[{number.low:.3f}, {number.high:.3f}]"


def value(number: Number) -> str:
    """A number without unit and interval."""
    return f"{number.value:+.1f}" if number.unit == "points" else f"{number.value:.3f}"


def figure(number: Number) -> str:
    """A number with its unit, without its interval."""
    return f"{value(number)} points" if number.unit == "points" else value(number)


def names(items: Sequence[str]) -> str:
    """A list of names in a sentence, at most five of them."""
    quoted = [f"“{item}”" for item in items[:5]]
    more = len(items) - len(quoted)
    if more:
        return ", ".join(quoted) + f" and {more} more"
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def cue(finding: Finding) -> str:
    """The tagged cues of a class: what people called them, and their names in the audit."""
    titles = ", ".join(finding.titles)
    said = " / ".join(f"“{word}”" for word in finding.words[:3])
    return f"{said} ({titles})" if said else titles


def headline(findings: Sequence[Finding], *, chosen: bool = False) -> Sentence:
    """The first sentence of a summary; ``chosen``: of some classes alone."""
    if not findings and chosen:
        return Sentence(
            "For none of the chosen classes a candidate is decided to be spurious, so nothing is "
            "claimed about them."
        )
    if not findings:
        return Sentence(
            "No candidate is decided to be spurious, so nothing is claimed about any class."
        )
    harmed = [f.name for f in findings if f.verdict is Verdict.HARMED]
    if not harmed:
        return Sentence(
            f"Spurious cues are tagged for {_classes(len(findings))}; for none of them do the "
            "numbers show harm with certainty."
        )
    if len(findings) == 1:
        return Sentence(f"The one class with tagged cues is harmed by them: {names(harmed)}.")
    if len(harmed) == len(findings):
        every = "Both" if len(harmed) == 2 else f"All {len(harmed)}"
        return Sentence(f"{every} classes with tagged cues are harmed by them: {names(harmed)}.")
    verb = "is" if len(harmed) == 1 else "are"
    return Sentence(
        f"Of the {len(findings)} classes with tagged cues {len(harmed)} {verb} harmed by them: "
        f"{names(harmed)}."
    )


def _classes(count: int) -> str:
    return "one class" if count == 1 else f"{count} classes"


def brief(finding: Finding) -> Sentence:
    """A finding in one sentence."""
    numbers = (finding.gap, finding.flip, finding.control)
    parts = []
    if finding.helps or finding.confuses:
        parts.append(_accuracies(finding))
    if finding.triggers and finding.flip:
        share = percent(finding.flip.value)
        parts.append(f"its cue alone turns {share} of other classes' images into it")
    if not parts:
        return verdict(finding)
    return Sentence(f"“{finding.name}”: {'; '.join(parts)}.", _known(numbers))


def _accuracies(finding: Finding) -> str:
    high, low = finding.accuracy_high, finding.accuracy_low
    if high is None or low is None:
        return ""
    return (
        f"recognised in {percent(high.value)} of the images with most of the cue, in "
        f"{percent(low.value)} of those with least"
    )


def _known(numbers: Sequence[Number | None]) -> tuple[Number, ...]:
    return tuple(number for number in numbers if number is not None)


def cost(finding: Finding) -> str:
    """What the cue costs at least; empty where nothing is certain."""
    if not finding.cost:
        return ""
    if finding.lost >= finding.turned:
        return f"at least {finding.lost:.0f} points of its accuracy hang on the cue"
    return f"at least {finding.turned:.0f} of 100 images of other classes are turned by the cue"


def verdict(finding: Finding) -> Sentence:
    """What may be said, or why nothing may."""
    if finding.verdict is Verdict.HARMED:
        return Sentence(f"“{finding.name}” is harmed by a spurious cue.")
    numbers = _known((finding.gap, finding.flip, finding.control))
    if finding.verdict is Verdict.OPEN:
        return Sentence(
            f"“{finding.name}”: no harm is certain; an observed gap of {finding.detectable:.0f} "
            "points would have been noticed.",
            numbers,
        )
    return Sentence(f"“{finding.name}”: too little data for a statement. {_few(finding)}", numbers)


def _few(finding: Finding) -> str:
    k = finding.accuracy_high.n if finding.accuracy_high else 0
    if not k:
        reason = finding.notes[0] if finding.notes else "there are too few held-out images"
        return f"No gap can be measured: {reason}."
    if finding.detectable == float("inf"):
        return f"With {k} images a side no gap at all could be told from zero."
    return (
        f"With {k} images a side only an observed gap of {finding.detectable:.0f} points or more "
        "could be told from zero."
    )


def of_finding(finding: Finding) -> list[Sentence]:
    """Everything that is said about one class."""
    said = [verdict(finding)]
    if finding.gap:
        said.append(_gap(finding))
    elif finding.verdict is Verdict.HARMED:
        said.append(Sentence(_few(finding)))
    said += [_sufficiency(finding), *_affected(finding)]
    return said


def _gap(finding: Finding) -> Sentence:
    gap = finding.gap
    assert gap is not None
    numbers = _known((gap, finding.accuracy_high, finding.accuracy_low))
    text = f"“{finding.name}” is {_accuracies(finding)}: a gap of {points(gap.value)}"
    if finding.helps:
        return Sentence(f"{text}, at least {gap.low:.0f}. The class leans on the cue.", numbers)
    if finding.confuses:
        return Sentence(
            f"{text}, at least {-gap.high:.0f} the other way. The cue confuses the model about "
            "its own class.",
            numbers,
        )
    return Sentence(f"{text}, which cannot be told from zero.", numbers)


def _sufficiency(finding: Finding) -> Sentence:
    flip, control = finding.flip, finding.control
    if flip is None or control is None:
        return Sentence("Whether the cue alone is enough was not measured.")
    text = (
        f"Pasted on {flip.n} held-out images of other classes, the cue turns "
        f"{percent(flip.value)} of them into “{finding.name}”; a region of the same shape from "
        f"the image's own class does so in {percent(control.value)}."
    )
    end = " The cue alone triggers the class." if finding.triggers else ""
    if not finding.triggers:
        end = " That the cue alone triggers the class is not certain."
    return Sentence(text + end, (flip, control))


def _affected(finding: Finding) -> list[Sentence]:
    side = finding.accuracy_low if finding.helps else finding.accuracy_high
    if side is None or not (finding.helps or finding.confuses):
        return []
    least = "least" if finding.helps else "most"
    return [
        Sentence(
            f"Affected: {len(finding.affected)} of the {side.n} held-out images with {least} of "
            "the cue are predicted wrong.",
            (side,),
        )
    ]


def advice(finding: Finding) -> list[str]:
    """What to do about a finding."""
    name, found = finding.name, []
    if finding.helps:
        found += [
            f"Do not rely on “{name}” where the cue is absent.",
            f"Add training images of “{name}” without the cue, or refit the head on its images "
            "of low spuriosity (Moayeri et al. 2023; here: python -m core mitigate --method head).",
        ]
    if finding.confuses:
        found.append(f"Add training images of “{name}” with the cue: they are now mistaken.")
    if finding.triggers:
        found += [
            f"Expect other classes to be taken for “{name}” where the cue appears; check such "
            "predictions by hand.",
            "Add training images of other classes with the cue, or take the cue's part off the "
            "logit (SpuFix, Neuhaus et al. 2023; here: python -m core mitigate --method spufix).",
        ]
    if finding.too_few and not (finding.helps or finding.confuses):
        found.append(_wanted(finding))
    if finding.verdict is Verdict.HARMED:
        found.append("Then audit again with the same tags, and compare both reports.")
    return found or ["Nothing follows from these numbers; no change of the model is advised."]


def _wanted(finding: Finding) -> str:
    if not finding.wanted:
        return f"Collect more held-out images of “{finding.name}” before judging its gap."
    return (
        f"Collect held-out images of “{finding.name}”: from {finding.wanted} a side on, a gap of "
        f"{WORTH} points could be told from zero."
    )


def of_question(question: Question) -> str:
    """What is open about a class without a decided spurious cue."""
    if not question.candidates:
        return f"“{question.name}”: nothing is tagged, and no candidate opens a certain gap."
    many = "candidate opens" if question.candidates == 1 else "candidates open"
    return (
        f"“{question.name}”: nothing is tagged as spurious. {question.candidates} {many} a certain "
        f"gap, the largest {question.title} with {points(question.gap)} [{question.low:+.0f}, "
        f"{question.high:+.0f}]. An essential part of the object opens a gap as well: whether "
        "these should matter is for people to say."
    )
