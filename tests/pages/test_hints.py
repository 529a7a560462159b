"""Words for candidates stand in small print on their cards, and on the page Tagging."""

from __future__ import annotations

import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.jobs import jobs
from core.tags.suggested import in_words, leading, suggestions
from core.trials.crop_words import ask_network
from core.ui.frame import hints
from core.ui.kit.gallery import Card
from core.ui.kit.text import plain
from tests.core.trials.test_crop_words import network
from tests.pages.conftest import Open, healthy

TITLE = "Components of a class"


def worded(audit: Audit) -> CandidateKey:
    """A leading candidate that the data has words for."""
    for facts in audit.classes:
        found = suggestions(audit, facts.class_idx)
        for key in leading(audit, facts.class_idx):
            if key in found:
                return key
    raise AssertionError("no candidate has a word")


def test_cards_say_the_words_below_their_figures(audit: Audit) -> None:
    key = worded(audit)
    words = suggestions(audit, audit.class_facts(key.label).class_idx)[key]
    card = Card(key.short, "", "", (), "", "", "accuracy 90 %")
    (hinted,) = hints.with_hints(audit, key.label, (card,))
    assert hinted.note == f"accuracy 90 % · {in_words(words)}"
    assert hinted.note.startswith("accuracy 90 % · perhaps ")


def test_what_the_network_said_follows(audit: Audit) -> None:
    key = worded(audit)
    before = hints.hint(audit, key)
    said = ask_network(audit, audit.candidate(key), network(("fence", "grass", "sky", "snow")))
    assert hints.hint(audit, key) == "; ".join(
        filter(None, [before, *(one.said for one in said[:3])])
    )


def test_the_page_tagging_says_them(audit: Audit, opened: Open) -> None:
    key = worded(audit)
    app = healthy(opened("tagging", audit=audit.id, at=str(key), queue_kind="both"), "Tagging")
    assert plain(hints.hint(audit, key)) in [caption.value for caption in app.caption]


def test_the_network_is_asked_about_one_after_the_other(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: started.append(arguments))
    labels = []
    for _ in range(2):
        app = healthy(opened("components", audit=audit.id, class_="eel"), TITLE)
        (button,) = (b for b in app.button if "Ask an ImageNet network" in b.label)
        labels.append(button.label)
        button.click().run()
        key = CandidateKey.parse(started[-1][-2], label="eel")
        assert started[-1] == [
            *("suggest", audit.id, "--class", "eel", "--candidate", key.short, "--network")
        ]
        ask_network(audit, audit.candidate(key), network(("fence", "grass", "sky", "snow")))
    assert labels[0] != labels[1]


def test_a_presentation_shows_words_and_asks_nobody(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    app = healthy(opened("components", audit=audit.id), TITLE)
    assert not [b for b in app.button if "Ask an ImageNet" in b.label]
