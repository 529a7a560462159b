"""``python -m core suggest …``: what candidates might be called."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.audits.audit_requests import SuggestRequest
from core.candidates.key import CandidateKey
from core.commands.terminal import Answer, key_of_class
from core.errors import InputError
from core.storage.workspace import Workspace
from core.types import Progress, Reporter, silent

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.audits.audited import AuditedClass
    from core.candidates.candidate import Candidate
    from core.tags.called import Names
    from core.tags.suggested import Suggestion


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """Words for the candidates that ``options`` name, or for the leading ones."""
    from core.audits.audit import Audit
    from core.tags.called import names_of
    from core.tags.log import TagStore
    from core.tags.suggested import described

    request = SuggestRequest.from_options(options)
    if request.candidate and request.class_name is None:
        raise InputError("suggest needs --class NAME with --candidate")
    audit = Audit.open(workspace, request.audit)
    chosen = (
        audit.classes if request.class_name is None else (audit.class_facts(request.class_name),)
    )
    audit, ask = described(audit, report), _asked(request, workspace, report)
    names, found, lines = names_of(TagStore.open(workspace).history(audit.id)), [], []
    for done, facts in enumerate(chosen):
        report(Progress("Looking for words", done, len(chosen), "classes"))
        for key, words in _of_class(audit, facts, request, ask):
            found.append(_document(facts, key, words))
            lines += _lines(facts, key, names, words)
    result = {"audit": audit.id, "candidates": found}
    return Answer(result, "\n".join(lines) or "no word is above its controls")


Ask = Callable[["Audit", "Candidate"], object]
"""Asks a network about a candidate, and keeps what it says."""


def _asked(request: SuggestRequest, workspace: Workspace, report: Reporter) -> list[Ask]:
    """Who is to be asked."""
    from core.trials.crop_words import ask_network, ask_texts

    found: list[Ask] = []
    if request.network:
        found.append(ask_network)
    if request.text_model is not None or request.words:
        from core.models.text_image import chosen_model

        model, words = chosen_model(request.text_model), _bank(request, workspace)
        found.append(lambda audit, candidate: ask_texts(audit, candidate, model, words, report))
    return found


def _bank(request: SuggestRequest, workspace: Workspace) -> list[str]:
    """What an image-text model may say."""
    from core.data.names import lemmas
    from core.tags.log import TagStore

    own = [word.strip() for word in request.words.split(",")]
    return sorted({*lemmas(), *TagStore.open(workspace).names(), *filter(None, own)})


def _of_class(
    audit: Audit, facts: AuditedClass, request: SuggestRequest, ask: Sequence[Ask]
) -> Iterator[tuple[CandidateKey, Sequence[Suggestion]]]:
    """Every candidate that is asked for, and its words by every route."""
    from core.tags.suggested import leading, suggestions
    from core.trials.crop_words import crop_words, text_words

    keys = leading(audit, facts.class_idx)
    if request.candidate:
        keys = [key_of_class(request.candidate, facts.label)]
    by_data = suggestions(audit, facts.class_idx)
    for key in keys:
        candidate = audit.candidate(key)
        for one in ask:
            one(audit, candidate)
        said = (crop_words(audit, candidate) or (), text_words(audit, candidate) or ())
        yield key, (*by_data.get(key, ()), *said[0], *said[1])


def _document(
    facts: AuditedClass, key: CandidateKey, words: Sequence[Suggestion]
) -> dict[str, Any]:
    named = {"class": facts.label, "kind": key.kind, "number": key.number}
    return {**named, "suggestions": [one.to_json() for one in words]}


def _lines(
    facts: AuditedClass, key: CandidateKey, names: Names, words: Sequence[Suggestion]
) -> list[str]:
    from core.tags.people import one_line

    title = one_line(f"{facts.name}: {names.written(key)}")
    return [title, *(f"  {one_line(one.said)}" for one in words)] if words else []
