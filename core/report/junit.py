"""What came of a gate as JUnit XML, which every continuous integration shows.

One suite per audit, one case per rule and figure. What cannot be tested is an error, or skipped
where that is allowed; a rule that is broken is a failure.
"""

from __future__ import annotations

from xml.etree import ElementTree

from core.measures.rules import Outcome
from core.report.formats import printable
from core.report.gate import Checked, Ruling


def junit(checked: Checked) -> bytes:
    """The file."""
    root = ElementTree.Element(
        "testsuites", {"name": "spurioscope", **_counts(checked, checked.tested)}
    )
    for audit in dict.fromkeys(each.audit for each in checked.tested):
        mine = tuple(each for each in checked.tested if each.audit == audit)
        named = {"name": printable(audit), **_counts(checked, mine)}
        suite = ElementTree.SubElement(root, "testsuite", named)
        for each in mine:
            _case(suite, checked, each)
    ElementTree.indent(root)
    found: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return found


def _counts(checked: Checked, tested: tuple[Ruling, ...]) -> dict[str, str]:
    outcomes = [each.outcome for each in tested]
    broken, untested = (outcomes.count(o) for o in (Outcome.BROKEN, Outcome.UNTESTED))
    errors, skipped = (0, untested) if checked.allow_untested else (untested, 0)
    counts = {"tests": len(tested), "failures": broken, "errors": errors, "skipped": skipped}
    return {name: str(n) for name, n in counts.items()}


def _case(suite: ElementTree.Element, checked: Checked, each: Ruling) -> None:
    name = printable(f"{each.rule} · {each.of}")
    case = ElementTree.SubElement(suite, "testcase", classname=printable(each.audit), name=name)
    missed = "skipped" if checked.allow_untested else "error"
    tag = {Outcome.BROKEN: "failure", Outcome.UNTESTED: missed}.get(Outcome(each.outcome))
    if tag:
        ElementTree.SubElement(case, tag, message=printable(each.line))
    else:
        ElementTree.SubElement(case, "system-out").text = printable(each.line)
