"""The worst group before and after: which groups there are, and what their interval allows for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.audits.audit import Audit
from core.corrections.effect import Effect
from core.measures import cue_groups
from core.measures.cue_groups import NO_CUE, TRUE_GROUPS, WORST, Group, balanced_rows, free_rows
from core.measures.scope import NOT_ASKED, Scope
from core.models.head import fit_probe
from core.statistics.extremes import lowest_share
from core.storage.workspace import Workspace
from core.tags.decisions import decided
from core.tags.log import TagStore
from tests.core.corrections.conftest import QUICK, run

pytestmark = pytest.mark.usefixtures("unfitted_folds")


@pytest.fixture
def scopes(workspace: Workspace, parent: Audit) -> dict[str, tuple[Scope, Scope]]:
    """Before and after, asked by the tags, without pictures, and by the attribute."""
    audit = run(workspace, parent, "pclarc", **QUICK)
    tags = decided(parent, TagStore.open(workspace))
    found = {}
    for name, attribute, pictures in (
        ("tags", None, True),
        ("quick", None, False),
        ("attribute", "patch", True),
    ):
        effect = Effect(parent, audit, tags, frozenset({"leaf/neuron-0"}), attribute)
        found[name] = effect.scopes(pictures=pictures, models={}, report=lambda _: None)
    return found


def test_every_class_with_the_attribute_and_without_is_a_group(
    scopes: dict[str, tuple[Scope, Scope]], parent: Audit
) -> None:
    before, after = scopes["attribute"]
    groups, basis = cue_groups.cue_groups(before, after)
    assert basis == "groups by attribute patch"
    held = parent.images.loc[before.held]
    shows = held["patch"].astype(int) == 1
    wanted = held.groupby([held["label"], shows])["fair"].agg(["sum", "size"])
    assert len(groups) == len(wanted)
    for (label, side), (hits, size) in wanted.iterrows():
        name = f"{parent.class_facts(label).name} {'with' if side else 'without'} the cue"
        group = next(g for g in groups if g.name == name)
        assert (group.before.sum(), len(group.before)) == (hits, size)
    assert WORST.changes is not None
    (change,) = WORST.changes(before, after)
    value, low, high = change.before
    assert value == pytest.approx((wanted["sum"] / wanted["size"]).min())
    interval = lowest_share(wanted["sum"].to_numpy(), wanted["size"].to_numpy())
    assert (low, high) == pytest.approx(interval)
    assert f"{len(groups)} groups" in change.note


def test_from_the_tags_other_classes_with_the_pasted_cue_are_groups(
    scopes: dict[str, tuple[Scope, Scope]], parent: Audit
) -> None:
    before, after = scopes["tags"]
    groups, basis = cue_groups.cue_groups(before, after)
    assert "other classes with the pasted cue" in basis
    names = [group.name for group in groups]
    assert {"pond with the cue of leaf", "sky with the cue of leaf"} <= set(names)
    seen = before.composites("leaf")
    rows = seen.usable(parent.class_facts("leaf").class_idx, "after")
    pond = parent.class_facts("pond").class_idx
    given = parent.head.logits(seen.pasted["after"][rows]).argmax(axis=1)
    right = given[seen.truth[rows] == pond] == pond
    group = groups[names.index("pond with the cue of leaf")]
    np.testing.assert_array_equal(group.before, right)
    held = parent.images.loc[before.held]
    leaf = held[held["label"] == "leaf"]
    lacking = int((leaf["patch"].astype(int) == 0).sum())
    assert len(groups[names.index("leaf without the cue")].before) == pytest.approx(lacking, abs=3)
    assert WORST.changes is not None
    (change,) = WORST.changes(before, after)
    truth = parent.head.logits(seen.plain[rows]).argmax(axis=1) == seen.truth[rows]
    assert change.before[0] < truth.mean() - 0.1  # the old groups never saw whom the cue harms
    assert change.after[0] > change.before[0]
    assert change.change is not None
    low, high = change.change[1:]
    assert low < change.after[0] - change.before[0] < high


def test_without_pictures_it_is_said_that_other_classes_are_missing(
    scopes: dict[str, tuple[Scope, Scope]],
) -> None:
    groups, basis = cue_groups.cue_groups(*scopes["quick"])
    assert NOT_ASKED in basis
    assert all("of" not in group.name.split() for group in groups)


def test_bounds_need_an_attribute_and_say_so(scopes: dict[str, tuple[Scope, Scope]]) -> None:
    for measure in (TRUE_GROUPS, NO_CUE):
        assert measure.changes is not None
        (change,) = measure.changes(*scopes["tags"])
        assert np.isnan(change.after[0])
        assert "needs --attribute" in change.note
        (change,) = measure.changes(*scopes["attribute"])
        assert np.isnan(change.after[0]) == ("needs 8 training images" in change.note)


def test_a_head_without_any_cue_is_fitted_on_training_images_without_it(
    scopes: dict[str, tuple[Scope, Scope]], parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cue_groups, "TO_FIT", 1)
    assert NO_CUE.changes is not None
    (change,) = NO_CUE.changes(*scopes["attribute"])
    images, names = parent.images, [facts.label for facts in parent.classes]
    free = images[(images["split"] == "train") & (images["patch"].astype(int) == 0)]
    labels = np.array([names.index(label) for label in free["label"]])
    probe = fit_probe(parent.features(free.index.tolist()), labels, len(names))
    held = images[images["split"] == "test"]
    logits = parent.features(held.index.tolist()) @ probe.weight.T + probe.bias
    right = np.array(names)[logits.argmax(axis=1)] == held["label"].to_numpy()
    groups = pd.Series(right).groupby([held["label"].to_numpy(), held["patch"].to_numpy()])
    assert change.after[0] == pytest.approx(groups.mean().min())
    assert f"fitted on {len(free)} training images" in change.note


def test_a_head_on_true_groups_is_fitted_on_as_many_of_each() -> None:
    labels, shows = (
        np.repeat([0, 0, 1, 1], [50, 9, 30, 12]),
        np.repeat([1, 0, 0, 1], [50, 9, 30, 12]),
    )
    rows = balanced_rows(labels, shows == 1, 2)
    assert isinstance(rows, np.ndarray)
    assert np.unique(2 * labels[rows] + shows[rows], return_counts=True)[1].tolist() == [9] * 4
    free = free_rows(labels, shows == 1, 2)
    assert isinstance(free, np.ndarray)
    assert len(free) == 39
    assert not shows[free].any()
    assert "one group has 0" in str(balanced_rows(labels, shows == 1, 3))
    assert "without the attribute; one group has 0" in str(free_rows(labels, shows == 1, 3))


def test_small_groups_are_put_together_and_the_worst_is_named() -> None:
    outputs = np.array([0] * 12 + [1] * 3 + [2] * 4)
    right = np.ones(19, bool)
    found = cue_groups._by_class(outputs, [right, ~right], {0: "a", 1: "b"}, " with it")
    assert [(g.name, len(g.before)) for g in found] == [
        ("a with it", 12),
        ("other classes with it", 7),
    ]
    groups = [Group("a", np.array([1, 1, 0], bool), right), Group("b", np.zeros(4, bool), right)]
    worst, (value, low, high) = cue_groups.worst_of(groups, 0)
    assert (worst.name, value, low) == ("b", 0.0, 0.0)
    assert 0 < high < 1
