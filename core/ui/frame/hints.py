"""What candidates might be called, in small print: suggestions with their controls, never tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from core.audits.audit import Audit
from core.audits.audit_requests import SuggestRequest
from core.audits.audited import AuditedClass
from core.candidates.key import CandidateKey
from core.tags.called import Names
from core.tags.suggested import MOST, By, Suggestion, in_words, is_described, suggestions
from core.ui.frame import blocks, opened, working
from core.ui.kit.gallery import Card

HELP = (
    "Shows a packaged ImageNet network what the overlay marks, and the same places of images that "
    "show least of it: words that count on the first and not on the others"
)


def hint(audit: Audit, key: CandidateKey) -> str:
    """Words for a candidate in a line; empty without any."""
    return _hint(audit, key, is_described(audit), audit.files.outcomes_version)


@lru_cache(maxsize=512)
def _hint(audit: Audit, key: CandidateKey, is_complete: bool, version: int) -> str:
    class_idx = audit.class_facts(key.label).class_idx
    by_data = _by_data(audit, class_idx, is_complete).get(key, ())
    by_network, by_texts = (f(audit, key, version) or () for f in (_by_network, _by_texts))
    return in_words((*by_data, *by_network[:MOST], *by_texts[:MOST]))


@lru_cache(maxsize=64)
def _by_data(audit: Audit, class_idx: int, is_complete: bool) -> By:
    del is_complete  # part of the key only
    return suggestions(audit, class_idx)


@lru_cache(maxsize=512)
def _by_network(audit: Audit, key: CandidateKey, version: int) -> tuple[Suggestion, ...] | None:
    from core.trials.crop_words import crop_words

    del version  # part of the key only
    return crop_words(audit, opened.candidate(audit, key))


@lru_cache(maxsize=512)
def _by_texts(audit: Audit, key: CandidateKey, version: int) -> tuple[Suggestion, ...] | None:
    from core.trials.crop_words import text_words

    del version  # part of the key only
    return text_words(audit, opened.candidate(audit, key))


def with_hints(audit: Audit, label: str, built: tuple[Card, ...]) -> tuple[Card, ...]:
    """Cards with words for their candidates below the figure."""
    state = is_described(audit), audit.files.outcomes_version
    words = [_hint(audit, CandidateKey.parse(card.name, label=label), *state) for card in built]
    return tuple(
        replace(card, note=" · ".join(filter(None, [card.note, said])))
        for card, said in zip(built, words, strict=True)
    )


def offer(audit: Audit, facts: AuditedClass, keys: Sequence[CandidateKey], names: Names) -> None:
    """A button that asks the network about the first of some candidates that it was not asked."""
    version = audit.files.outcomes_version
    key = next((key for key in keys if _by_network(audit, key, version) is None), None)
    if key is None:
        return
    name = names.written(key)
    working.offer(
        SuggestRequest(audit.id, facts.label, key.short, network=True),
        f"Words for {name} of {facts.name}",
        f"Ask an ImageNet network about {blocks.plain(name)}",
        key=f"suggest-{facts.class_idx}-{key.short}",
        icon=":material/label:",
        help=HELP,
    )
