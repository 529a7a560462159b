"""Counterfactuals where nobody drew a mask: the tagged candidates' regions are changed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.audits.audit import Audit
from core.corrections.acted_on import find, gather
from core.corrections.tagged_masks import tagged_counterfactuals, tagged_regions
from core.corrections.task import Task
from core.errors import InputError
from core.storage.workspace import Workspace
from core.trials.compositing import OPERATIONS, changed_region
from core.trials.encoder import Seen
from core.trials.examples import Examples
from tests.core.conftest import load_white_box
from tests.core.corrections.conftest import QUICK, run


def test_a_region_holds_something_else_and_the_rest_stays(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    labels, regions = np.array([0, 0, 0, 1, 1, 1]), np.zeros((6, 16, 16), bool)
    regions[:, 2:7, 3:9] = True
    made = {
        name: changed_region(pixels, labels, regions, name, np.random.default_rng(1))
        for name in OPERATIONS
    }
    assert all((found[~regions] == pixels[~regions]).all() for found in made.values())
    assert len(np.unique(made["remove"][regions], axis=0)) == 1
    places = [made["swap"][0][2:7, 3:9] == pixels[i][2:7, 3:9] for i in range(6)]
    assert [bool(same.all()) for same in places[:3]] == [False] * 3
    assert sum(bool(same.all()) for same in places[3:]) == 1
    own = {tuple(p) for p in pixels[0][~regions[0]]}
    assert {tuple(p) for p in made["shuffle"][0][regions[0]]} <= own
    with pytest.raises(InputError, match="region 'blur': choose remove, swap, shuffle"):
        changed_region(pixels, labels, regions, "blur", rng)


def task_of(workspace: Workspace, parent: Audit) -> Task:
    findings = find(parent, workspace, classes=("leaf",))
    gathered = gather(parent, findings)
    return Task(parent, findings, gathered.evidence, gathered.rows, None, {})


def test_regions_lie_on_the_planted_patch(workspace: Workspace, parent: Audit) -> None:
    task, model = task_of(workspace, parent), load_white_box().use_head(parent.head)
    ids = parent.images.index[task.rows].tolist()
    found, seen = tagged_regions(task, ids, model), Seen(parent)
    labels = parent.images.loc[ids, "label"].to_numpy()
    assert set(labels[found.shows]) == {"leaf"}
    assert found.regions.any(axis=(1, 2)).all()
    known = [i for i, name in enumerate(ids) if found.shows[i] and seen.mask(name, "cue_mask") is
             not None]  # fmt: skip
    on = [found.regions[i][seen.mask(ids[i], "cue_mask")].mean() for i in known]
    assert len(known) > 10
    assert np.mean(on) > 0.8
    areas = found.regions[known].mean()
    assert areas < 0.35

    pixels = np.stack([seen.picture(name) for name in ids])
    places = np.arange(len(ids))
    examples = Examples(pixels, np.array([parent.head.index(x) for x in labels], np.int64))
    given: Any = SimpleNamespace(places=places, train=examples, model=model)
    pasted = tagged_counterfactuals(task, given, "paste", 1)
    assert len(pasted) == len(ids) + (labels != "leaf").sum()
    assert (pasted.labels[len(ids) :] != parent.head.index("leaf")).all()
    removed = tagged_counterfactuals(task, given, "remove", 2)
    assert len(removed) == 3 * len(ids)
    changed = (removed.pixels[len(ids) : 2 * len(ids)] != pixels).any(axis=3)
    assert not changed[~found.regions].any()


@pytest.mark.usefixtures("unfitted_folds")
def test_it_is_an_option_of_the_correction(workspace: Workspace, parent: Audit) -> None:
    options = {"masks": "tagged", "change": "swap", "epochs": "1"}
    audit = run(workspace, parent, "counterfactual", options=options, **QUICK)
    done = audit.manifest.mitigation
    assert done is not None
    assert done.encoder_changed
    assert dict(done.options)["masks"] == "tagged"
    assert len(done.history) == 1
