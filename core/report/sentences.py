"""Findings as plain sentences, each with the numbers behind it. Text follows from the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.measures.registry import subject_in_words
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


def measure(number: Number) -> str:
    """What is measured, as on the page Measures: never its key."""
    return number.measure.replace("_", " ")


def of(number: Number) -> str:
    """What a number is of, in words: kinds of corruption, scores and measures by their names."""
    return subject_in_words(number.subject)


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
            f"Spurious cues are tagged for {_classes(len(findings))}; none of them is shown to be "
            "harmed by what its cues do."
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
    if finding.verdict is not Verdict.HARMED:
        return verdict(finding)
    parts = _does(finding)
    if finding.helps or finding.confuses:
        parts.append(_accuracies(finding))
    numbers = (finding.gap, finding.gap_control, finding.flip, finding.control)
    return Sentence(f"“{finding.name}”: {'; '.join(parts)}.", _known(numbers))


def _does(finding: Finding) -> list[str]:
    """What the cue does that the class is harmed by, or would be."""
    by, found = finding.by, []
    if by is None:
        return []
    if not by.obstacle:
        found.append(
            f"put into {by.targets} images of other classes with pixels, its region, where its map "
            f"exceeds half of its maximum, turns {percent(by.put_in)} of them into it, the same "
            f"shape from elsewhere in the class {percent(by.control)}"
        )
    if by.takes:
        found.append(
            f"{percent(by.taken_away)} of its right images are lost once the cue is filled, "
            f"{percent(by.spared)} with the region moved"
        )
    return found


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
    """What the cue costs at least; empty where the class is not harmed."""
    if not finding.cost:
        return ""
    if finding.lost >= finding.turned:
        return f"at least {finding.lost:.0f} of 100 of its right images are lost without the cue"
    return f"at least {finding.turned:.0f} of 100 images of other classes are turned by the cue"


def verdict(finding: Finding) -> Sentence:
    """What may be said, or why nothing may."""
    if finding.verdict is Verdict.HARMED:
        return Sentence(f"“{finding.name}” is harmed by a spurious cue.")
    numbers = _known((finding.gap, finding.flip, finding.control))
    if finding.verdict is Verdict.OPEN:
        return Sentence(f"“{finding.name}”: no harm is shown. {_untried(finding)}", numbers)
    return Sentence(f"“{finding.name}”: too little data for a statement. {_few(finding)}", numbers)


def _untried(finding: Finding) -> str:
    """Why no harm is shown, in a sentence."""
    by = finding.by
    if by is None:
        return "None is claimed before its cues are put into other classes' images with pixels."
    if by.obstacle:
        return f"Its cues were not put into images of other classes: {by.obstacle}."
    if finding.told:
        return (
            "What its cues do is not told from their controls, the choice of them allowed for; a "
            "gap is there, but a gap alone is no harm."
        )
    return (
        "What its cues do is not told from their controls, or a gap alone is there: an observed "
        f"gap of {finding.detectable:.0f} points would have been told from zero."
    )


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
    said += [Sentence(f"{text[0].upper()}{text[1:]}.", _of_cue(finding)) for text in _does(finding)]
    if finding.gap:
        said.append(_gap(finding))
    elif finding.verdict is Verdict.HARMED:
        said.append(Sentence(_few(finding)))
    said += [_sufficiency(finding), *_enough(finding), *_affected(finding)]
    return said


def _of_cue(finding: Finding) -> tuple[Number, ...]:
    """The figures behind what a cue does, beyond its controls."""
    by = finding.by
    assert by is not None  # it does something
    own, ours = "held-out images", "this project"
    lean = Number("lean", "", *by.lean, "share", by.targets, f"{own} of other classes", ours)
    loss = Number("taken_away minus its control", "", *by.loss, "share", by.own, own, ours)
    return tuple(number for number in (lean, loss) if number.n)


def _gap(finding: Finding) -> Sentence:
    gap = finding.gap
    assert gap is not None
    numbers = (gap, finding.gap_control, finding.accuracy_high, finding.accuracy_low)
    text = f"“{finding.name}” is {_accuracies(finding)}: a gap of {points(gap.value)}"
    if finding.helps:
        text += f", at least {gap.low:.0f}"
    elif finding.confuses:
        text += f", at least {-gap.high:.0f} the other way"
    else:
        text += ", which cannot be told from zero"
    return Sentence(f"{text}{_beside(finding)}.", _known(numbers))


def _beside(finding: Finding) -> str:
    """What random directions open beside the gap."""
    if finding.gap_control is None:
        return ""
    return (
        f"; random directions that follow the logit as closely open "
        f"{points(finding.gap_control.value)}"
    )


def _sufficiency(finding: Finding) -> Sentence:
    flip, control = finding.flip, finding.control
    if flip is None or control is None:
        return Sentence("Whether the cue alone is enough was not measured.")
    text = (
        f"Pasted on {flip.n} held-out images of other classes, the cue, cut out of the training "
        f"images that show it most, turns {percent(flip.value)} of them into “{finding.name}”; a "
        f"region of the same shape from the image's own class does so in {percent(control.value)}."
    )
    end = " The cue alone triggers the class." if finding.triggers else ""
    if not finding.triggers:
        end = " That the cue alone triggers the class cannot be told from the control."
    return Sentence(text + end, (flip, control))


def _enough(finding: Finding) -> list[Sentence]:
    """How little of an image is enough, and where that lies; nothing where it was not measured."""
    found = {number.measure: number for number in finding.others}
    size, edge, on_cue = (found.get(f"subset_{part}") for part in ("size", "border", "on_cue"))
    if size is None:
        return []
    if size.value == 0:
        text = f"What images are filled with is given “{finding.name}” by itself: how little of one"
        return [Sentence(f"{text} is enough cannot be told.", (size,))]
    text = f"“{finding.name}” is recognised from at most {percent(size.value)} of the image"
    if edge is not None:
        text += f", {percent(edge.value)} of it at the border"
    if on_cue is not None:
        told = "that this is the tagged cue cannot be told from chance"
        if on_cue.low > 0:
            told = "it lies on the tagged cue more than by chance"
        elif on_cue.high < 0:
            told = "it lies off the tagged cue more than by chance"
        text += f"; {told}"
    return [Sentence(f"{text}.", _known((size, edge, on_cue)))]


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
    if finding.harms and (finding.helps or finding.lost):
        found += [
            f"Do not rely on “{name}” where the cue is absent.",
            f"Add training images of “{name}” without the cue, or refit the head on its images "
            "of low spuriosity (Moayeri et al. 2023; here: python -m core mitigate --method head).",
        ]
    if finding.harms and finding.confuses:
        found.append(f"Add training images of “{name}” with the cue: they are now mistaken.")
    if finding.harms and (finding.triggers or finding.turned):
        found += [
            f"Expect other classes to be taken for “{name}” where the cue appears; check such "
            "predictions by hand.",
            "Add training images of other classes with the cue, or take the cue's part off the "
            "logit (SpuFix, Neuhaus et al. 2023; here: python -m core mitigate --method spufix).",
        ]
    if finding.by is None:
        found.append(
            "Put the cue into images of other classes before judging it: python -m core report "
            "without --quick."
        )
    if finding.too_few:
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
        return f"“{question.name}”: nothing is tagged, and no gap is told from its control."
    many = "candidate opens" if question.candidates == 1 else "candidates open"
    return (
        f"“{question.name}”: nothing is tagged as spurious. {question.candidates} {many} a gap "
        f"above or below its control, farthest away {question.title} with {points(question.gap)} "
        f"[{question.low:+.0f}, {question.high:+.0f}] beside {points(question.control)} of random "
        "directions that follow the logit as closely. An essential part of the object opens a gap "
        "as well, and the largest of many is too large: whether these should matter is for people "
        "to say."
    )
