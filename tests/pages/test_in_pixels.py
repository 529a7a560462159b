"""The page Components offers a candidate's trial in pixels, and says what it found."""

from __future__ import annotations

import pandas as pd
import pytest

from core.audits.audit import Audit
from core.jobs import jobs
from core.models.load import load_model
from core.trials.confirmed import confirm, confirmed, confirmed_of
from core.trials.leaning import leaning, measure_leaning
from core.ui.kit.text import plain
from tests.pages.conftest import Open, healthy

TITLE = "Components of a class"


def strongest(audit: Audit, label: str) -> pd.DataFrame:
    """The components of a class that were tried in the maps, by lean."""
    table = leaning(audit)
    mine = table[(table["class_idx"] == audit.class_facts(label).class_idx)]
    mine = mine[(mine["kind"] == "pca") & mine["lean"].notna()]
    return mine.sort_values("lean", ascending=False)


def test_the_leading_candidate_is_offered_then_the_next(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: started.append(arguments))
    measure_leaning(audit)
    first, second = strongest(audit, "eel")["component"].astype(int)[:2]
    app = healthy(opened("components", audit=audit.id, class_="eel"), TITLE)
    (button,) = (b for b in app.button if "with pixels" in b.label)
    assert button.label == f"Confirm component {first + 1} with pixels"
    button.click().run()
    asked = ["confirm", audit.id, "--class", "eel", "--candidate", f"pca-{first}"]
    assert started == [asked]

    confirm(audit, [audit.arrays_of("eel").candidate("pca", first).key], load_model("tiny:page-0"))
    app = healthy(opened("components", audit=audit.id, class_="eel"), TITLE)
    found = confirmed_of(confirmed(audit), audit.class_facts("eel").class_idx, "pca", first)
    assert found is not None
    (said,) = (m.value for m in app.markdown if "pixels: put in" in m.value)
    assert said == f"**Component {first + 1}** {plain(f'pixels: {found.words}')}"
    (button,) = (b for b in app.button if "with pixels" in b.label)
    assert button.label == f"Confirm component {second + 1} with pixels"


def test_before_any_trial_in_maps_the_first_of_the_page_is_offered(
    audit: Audit, opened: Open
) -> None:
    app = healthy(opened("components", audit=audit.id, class_="cat"), TITLE)
    table = audit.candidates.query("class_idx == 0 and kind == 'pca'").sort_values("order")
    number = int(table["component"].iloc[0]) + 1
    assert f"Confirm component {number} with pixels" in {b.label for b in app.button}


def test_a_presentation_offers_nothing(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    app = healthy(opened("components", audit=audit.id), TITLE)
    assert not [b for b in app.button if "with pixels" in b.label]
