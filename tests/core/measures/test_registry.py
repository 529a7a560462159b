"""Records of measures: complete, and enough for every view of a figure made of trials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.audits.audit import Audit
from core.errors import InputError
from core.measures.flips import turned
from core.measures.measure import EFFECT, ONE, SEVERAL, SHARE, Measure, Sample
from core.measures.one_audit import is_slow, kinds_of, parts, words
from core.measures.registry import MEASURES, register
from core.measures.scope import Scope
from core.measures.stored import is_stored, known, measured
from core.statistics.estimates import Flips
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.trials.outcomes import CONTROL, PASTED, Outcomes
from tests.core.conftest import unmeasured, workspace_of

BOTH = Measure(
    "more_than_hidden",
    "Flips beyond the control",
    "Whether the cue turns an image that hiding as much of it does not.",
    better=-1,
    needs=(PASTED, CONTROL),
    estimate=Flips(),
)


def more(scope: Scope, label: str) -> Sample | str | None:
    """Images that the cue turns and the control does not."""
    cue, control = (turned(scope, label, version=name) for name in ("after", "control"))
    if not isinstance(cue, Sample) or not isinstance(control, Sample):
        return "no cue could be cut out"
    hits = np.maximum(cue.values[:, 0] - control.values[:, 0], 0)
    return replace(cue, values=np.column_stack([hits, cue.values[:, 1]]))


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Measure:
    monkeypatch.setattr(MEASURES, "_found", dict(MEASURES))
    return register(replace(BOTH, sample=more))


@pytest.mark.parametrize("measure", MEASURES.values(), ids=list(MEASURES))
def test_a_record_is_complete(measure: Measure) -> None:
    assert MEASURES[measure.name] is measure
    assert measure.text.endswith(".")
    assert measure.meaning.endswith(".")
    assert measure.meaning.startswith(measure.text)
    assert measure.title[0].isupper()
    assert not measure.direction.endswith(".")
    assert measure.better in (-1, 0, 1)
    assert set(measure.views) <= {ONE, SEVERAL, EFFECT}
    if SEVERAL in measure.views:
        assert measure.figure or measure.sample
    if EFFECT in measure.views:
        assert measure.changes or measure.sample


def test_the_parts_are_those_of_the_command() -> None:
    assert parts() == ("gap", "groups", "noise", "flip", "lean", "subsets")
    assert [is_slow(part) for part in parts()] == [False, False, True, True, True, True]
    assert kinds_of(["flip"]) == ["pasted", "control", "watermark"]
    assert words("gap") == "gaps of every class"


def test_a_figure_of_trials_is_a_part_of_its_own(
    added: Measure, planted: Audit, tmp_path: Path
) -> None:
    audit = unmeasured(planted, tmp_path / "workspace")
    where, decisions = workspace_of(audit), decided(planted, TagStore.open(workspace_of(planted)))
    assert parts()[-1] == added.name
    assert words(added.name) == "flips beyond the control"
    said = known(audit, decisions)["note"]
    assert said.str.startswith("more_than_hidden is not measured with these tags yet").any()
    table = measured(audit, where, added.name)
    assert is_stored(audit, decisions, added.name)
    (row,) = table[table["measure"] == added.name].to_dict("records")
    assert (row["label"], row["unit"], row["source"]) == ("leaf", SHARE, "this project")
    outcomes = Outcomes(audit, decisions)
    pasted = outcomes.pasted("leaf")
    cue, control = (pasted.turned(0, name) for name in ("after", "control"))
    assert row["value"] == pytest.approx((cue & ~control).mean())
    assert row["n"] == len(cue)
    assert not outcomes.missing([PASTED, CONTROL])
    assert outcomes.missing(["noise"])


def test_bad_records_are_refused(added: Measure) -> None:
    with pytest.raises(InputError, match="needs maps, votes; there are noise, masked, pasted"):
        register(replace(added, name="another", needs=("votes", "maps", PASTED)))
    with pytest.raises(InputError, match="'Two words': a name is made of small letters"):
        register(replace(added, name="Two words"))
    with pytest.raises(InputError, match="a measure 'flip_rate' already"):
        register(replace(added, name="flip_rate"))
