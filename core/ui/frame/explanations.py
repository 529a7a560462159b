"""What methods said of an image as far as it is stored, and a job for what is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from core.audits.audit import Audit
from core.audits.audit_requests import ExplainRequest
from core.ui.frame import blocks, working

if TYPE_CHECKING:
    from core.audits.explained import Asked
    from core.explain.explainer import Explanation


class Told(NamedTuple):
    """Questions by a name of the page's choice, in its order."""

    found: dict[str, Explanation]
    refused: dict[str, str]
    """Why there is nothing to say."""
    lacking: list[str]
    """Not asked yet."""


def told(audit: Audit, questions: Mapping[str, Asked], image_id: str) -> Told:
    """What is known of an image without running the network."""
    from core.audits.explained import refused, stored

    found, why, lacking = dict[str, "Explanation"](), dict[str, str](), list[str]()
    for name, asked in questions.items():
        if said := stored(audit, asked, image_id):
            found[name] = said
        elif words := refused(audit, asked, image_id):
            why[name] = words
        else:
            lacking.append(name)
    return Told(found, why, lacking)


def offer(
    audit: Audit, questions: Sequence[Asked], image_id: str, words: str, help_text: str = ""
) -> None:
    """A button that asks all of them of an image as one job; what is stored is not asked again.

    Parameters
    ----------
    questions : of one class, every method of every candidate.
    words : on the button.
    """
    methods = dict.fromkeys(asked.method for asked in questions)
    candidates = dict.fromkeys(asked.candidate.short for asked in questions if asked.candidate)
    request = ExplainRequest(
        audit.id,
        questions[0].label,
        method=",".join(methods),
        candidate=",".join(candidates),
        images=image_id,
    )
    working.offer(
        request,
        f"Maps of an image of {audit.name}",
        blocks.plain(words),
        key=f"explain-{request.method}-{request.candidate}",
        icon=":material/travel_explore:",
        help=blocks.plain(help_text) or None,
    )
