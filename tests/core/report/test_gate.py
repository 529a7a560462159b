"""A gate on a network wired by hand, whose class "leaf" leans on a red patch, and corrected."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON
from core.corrections.mitigate_request import MitigateRequest
from core.corrections.mitigation import run_mitigation
from core.errors import InputError
from core.measures.leans import LEAN, PUT_IN, TAKEN_AWAY, Trials
from core.measures.registry import MEASURES
from core.measures.rules import Outcome
from core.report.gate import BROKEN, UNTESTED, Checked, Ruling, check
from core.report.gate_figures import Asked, singles
from core.report.junit import junit
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.trials.confirmed import confirm, confirmed
from core.trials.leaning import KEYS, leading, leaning, measure_leaning, tried
from tests.core.conftest import GREEN, RED, unmeasured, workspace_of

PATCH = CandidateKey("leaf", NEURON, RED)


@pytest.fixture(scope="module")
def corrected(planted: Audit, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """The planted audit's correction, in a workspace with it; to be read only."""

    parent = unmeasured(planted, tmp_path_factory.mktemp("gate") / "workspace")
    asked = MitigateRequest(parent.name, "pclarc", "fixed", strength=1.0, pictures=False)
    return run_mitigation(asked, workspace_of(parent))


@pytest.fixture
def workspace(corrected: Audit, tmp_path: Path) -> Workspace:
    shutil.copytree(workspace_of(corrected).root, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def audit(workspace: Workspace, planted: Audit) -> Audit:
    return Audit.open(workspace, planted.id)


@pytest.fixture
def fixed(workspace: Workspace) -> Audit:
    return Audit.open(workspace, "fixed")


def test_the_planted_model_breaks_a_rule_that_its_corrected_one_keeps(
    workspace: Workspace, audit: Audit, fixed: Audit
) -> None:
    rules = ["lean > 0.02", "accuracy < 0.2"]
    before = check(workspace, [audit], rules, quick=True)
    assert before.code == BROKEN == 3
    assert [each.outcome for each in before.tested] == ["broken", "holds"]
    assert before.tested[0].key == str(PATCH)
    after = check(workspace, [fixed], rules, quick=True)
    assert after.code == 0
    assert len(after.passed) == len(after.tested) == 2
    both = check(workspace, [audit, fixed], rules, quick=True)
    assert both.tested == before.tested + after.tested
    assert both.code == BROKEN


def test_the_figures_are_those_of_the_first_page(workspace: Workspace, audit: Audit) -> None:
    alone = tried(audit, [PATCH], audit)
    table = measure_leaning(audit)
    (row,) = table[(table["kind"] == NEURON) & (table["component"] == RED)].to_dict("records")
    for name in ("put_in", "lean", "taken_away"):
        (found,) = check(workspace, [audit], [f"{name} > 2"]).tested
        ends = (row[name], row[f"{name}_low"], row[f"{name}_high"])
        assert (found.value, found.low, found.high) == pytest.approx(ends, abs=1e-12)
        assert (found.class_name, found.subject) == ("leaf", PATCH.title)
    assert alone["lean"].item() == pytest.approx(row["lean"], abs=1e-12)
    assert alone["lean_low"].item() >= row["lean_low"]  # corrected over one, not over all


def test_what_does_not_lead_is_tried_and_corrected_together(audit: Audit) -> None:
    table, every = measure_leaning(audit), audit.candidates
    mine = (every["class_idx"] == audit.class_facts("leaf").class_idx) & (every["kind"] == NEURON)
    last = int(every[mine].sort_values("order")["component"].iloc[-1])
    assert last not in set(leading(audit)[mine.loc[leading(audit).index]]["component"])
    found = tried(audit, [PATCH, CandidateKey("leaf", NEURON, last)], audit)
    assert set(found["component"]) == {RED, last}
    assert leaning(audit).equals(table)  # nothing was stored


def test_a_correction_that_does_nothing_leans_as_its_parent(
    workspace: Workspace, audit: Audit
) -> None:
    asked = MitigateRequest(audit.name, "pclarc", "same", strength=0.0, pictures=False)
    same = run_mitigation(asked, workspace)
    one, other = tried(audit, [PATCH], audit), tried(same, [PATCH], audit)
    numbers = [name for name in one if name not in (*KEYS, "obstacle")]
    np.testing.assert_allclose(one[numbers].astype(float), other[numbers].astype(float), atol=1e-6)


def test_a_correction_is_asked_about_its_parents_regions(
    workspace: Workspace, audit: Audit, fixed: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed.store, "stored_maps", fixed.store.stored_maps)
    heats = []
    import core.trials.leaning as module

    real = module.heatmaps_of
    monkeypatch.setattr(module, "heatmaps_of", lambda c, m: heats.append(c[0].key) or real(c, m))
    found = Trials(fixed, [PATCH], audit).figures(LEAN)
    assert set(heats) == {PATCH}
    assert found[0].key == PATCH
    assert found[0].how == "in the maps"


def test_without_tags_nothing_can_be_tested(workspace: Workspace, audit: Audit) -> None:
    TagStore.open(workspace).add("ann", audit.id, PATCH, None)
    found = check(workspace, [audit], ["lean > 0.02", "spurious_gap > 10"])
    assert found.code == UNTESTED == 4
    assert all("is decided spurious: tag one on the page" in each.said for each in found.tested)
    assert check(workspace, [audit], ["accuracy < 0.2"]).code == 0  # is of no tag
    allowed = check(workspace, [audit], ["lean > 0.02"], allow_untested=True)
    assert (allowed.code, len(allowed.those(Outcome.UNTESTED))) == (0, 1)


def test_a_broken_rule_counts_before_one_that_cannot_be_tested(
    workspace: Workspace, audit: Audit
) -> None:
    found = check(workspace, [audit], ["auroc > 0.9", "lean > 0.02"])
    assert [each.outcome for each in found.tested] == [Outcome.UNTESTED, Outcome.BROKEN]
    assert found.code == BROKEN
    assert found.headline == "1 broken, 1 not tested"


def test_without_maps_nothing_is_put_in_unless_it_was_confirmed_with_pixels(
    workspace: Workspace, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm(audit, [PATCH])
    (row,) = confirmed(audit).to_dict("records")
    monkeypatch.setattr(Audit, "exact_maps", False)
    found = {t.rule: t for t in check(workspace, [audit], ["lean > 0", "taken_away > 0"]).tested}
    lean, away = found["lean > 0"], found["taken_away > 0"]
    assert (lean.value, lean.low, lean.high) == (row["lean"], row["lean_low"], row["lean_high"])
    assert lean.said == "with pixels"
    assert (away.outcome, away.value) == (Outcome.UNTESTED, None)
    assert away.said == "this architecture has no exact maps"


def test_a_correction_without_its_parent_cannot_be_tested(
    workspace: Workspace, audit: Audit, fixed: Audit
) -> None:
    shutil.rmtree(audit.folder)
    found = check(workspace, [fixed], ["lean > 0.02", "flip_rate > 0.1"])
    assert found.code == UNTESTED
    assert all("is gone" in each.said for each in found.tested)


def test_an_empty_cell_cannot_be_tested_and_says_what_is_missing(
    workspace: Workspace, audit: Audit
) -> None:
    TagStore.open(workspace).add("ann", audit.id, CandidateKey("leaf", NEURON, GREEN), None)
    (found,) = check(workspace, [audit], ["spurious_accuracy < 0.9"]).tested
    assert (found.outcome, found.class_name, found.value) == (Outcome.UNTESTED, "leaf", None)
    assert "core" in found.said


def test_quick_loads_no_model(
    workspace: Workspace, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Audit, "load_model", lambda *_, **__: pytest.fail("the model was loaded"))
        (found,) = check(workspace, [audit], ["flip_rate > 0.15"], quick=True).tested
        assert (found.outcome, "--what flip" in found.said) == (Outcome.UNTESTED, True)
    (found,) = check(workspace, [audit], ["flip_rate > 0.15"]).tested
    assert found.value is not None
    assert check(workspace, [audit], ["flip_rate > 0.15"], quick=True).tested == (found,)


def test_over_says_which_candidates(workspace: Workspace, audit: Audit) -> None:
    keys = {
        over: {each.key for each in check(workspace, [audit], ["lean > 0.02"], over=over).tested}
        for over in ("spurious", "untagged", "all")
    }
    core = str(CandidateKey("leaf", NEURON, GREEN))
    assert keys["spurious"] == {str(PATCH)}
    assert str(PATCH) not in keys["untagged"]
    assert core not in keys["all"]  # it is meant to matter
    assert keys["all"] == keys["spurious"] | keys["untagged"]
    assert len(keys["untagged"]) == len(leading(audit)) - 2
    with pytest.raises(InputError, match="--over 'core': choose spurious, untagged, all"):
        check(workspace, [audit], ["lean > 0.02"], over="core")


def test_a_figure_of_tagged_cues_takes_every_open_candidate_in_turn(
    workspace: Workspace, audit: Audit
) -> None:
    gaps = check(workspace, [audit], ["spurious_gap > 10"], over="untagged").tested
    found = {each.key: each.value for each in gaps}
    table = leading(audit).set_index(["class_idx", "kind", "component"])["gap"]
    assert len(found) == len(table) - 2
    for text, value in found.items():
        key = CandidateKey.parse(text)
        place = (audit.class_facts(key.label).class_idx, key.kind, key.number)
        assert value == pytest.approx(table[place], abs=1e-9)


@pytest.mark.parametrize("name", [*MEASURES])
def test_every_measure_has_a_figure_or_says_why_not(
    workspace: Workspace, audit: Audit, fixed: Audit, name: str
) -> None:
    for one in (audit, fixed):
        found = singles(Asked(one, workspace, quick=True), MEASURES[name])
        assert found
        assert all(each.said or each.bounds[0] == each.bounds[0] for each in found)


def test_a_document_is_read_as_it_was_written(workspace: Workspace, audit: Audit) -> None:
    found = check(workspace, [audit], ["lean > 0.02", "auroc > 0"])
    assert Checked.from_json(found.to_json()) == found


LEFT = Ruling("a", "lean > 0.2", "not tested", "leaf", said="no <maps>")
CHECKED = Checked(
    "spurious",
    ("lean > 0.2",),
    (
        Ruling("a", "lean > 0.2", "broken", "leaf", "x\x00", value=0.5, low=0.3, high=0.7),
        LEFT,
        Ruling("b", "lean > 0.2", "holds", value=0.1, low=0.0, high=0.15),
    ),
)


@pytest.mark.parametrize("allowed", [False, True])
def test_junit_has_a_suite_per_audit_and_a_case_per_figure(allowed: bool) -> None:
    root = ElementTree.fromstring(junit(replace(CHECKED, allow_untested=allowed)))
    assert [suite.get("name") for suite in root] == ["a", "b"]
    counts = {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")}
    missed = ("0", "1") if allowed else ("1", "0")
    assert counts == dict(zip(counts, ("3", "1", *missed), strict=True))
    first, second = root[0]
    assert first.find("failure").get("message") == (
        "broken: lean > 0.2 · leaf, x\ufffd: 0.500 [0.300, 0.700]"
    )
    assert "no <maps>" in second.find("skipped" if allowed else "error").get("message")
    assert "holds" in root[1][0].find("system-out").text


def test_a_figure_in_words() -> None:
    points = Ruling("a", "spurious_gap > 10", "holds", value=5, low=-1, high=11, unit="points")
    assert points.line == "holds: spurious_gap > 10 · all classes: 5.0 [-1.0, 11.0]"
    assert LEFT.line == "not tested: lean > 0.2 · leaf: (no <maps>)"
    kind = replace(points, subject="gaussian_noise 5", class_name="leaf")
    assert kind.of == "leaf, Gaussian noise 5"
    assert {PUT_IN.name, LEAN.name, TAKEN_AWAY.name} <= set(MEASURES)
