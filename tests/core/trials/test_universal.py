"""A patch that turns images into a class: learnt where there is one, and no random one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core.audits.audit import Audit
from core.errors import InputError, ModelError
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import ON_DEMAND
from core.measures.universal_figures import CONTROL, WORDS, class_rows, labels_asked
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.trials import universal
from core.trials.leaning import leaning, measure_leaning
from core.trials.universal import COLUMNS, KINDS, REACH, changed, control_of, learn, universal_of
from core.types import silent
from tests.core.conftest import load_white_box, unmeasured, workspace_of


def test_a_patch_is_where_it_is_put_and_a_perturbation_is_faint(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (32, 30, 3), dtype=np.uint8)
    patch = rng.random((6, 6, 3))
    found = changed(pixels, patch, "patch", "a")
    moved = (found != pixels).any(axis=2)
    rows, columns = np.flatnonzero(moved.any(axis=1)), np.flatnonzero(moved.any(axis=0))
    assert len(rows) <= 6
    assert len(columns) <= 6
    assert (found == changed(pixels, patch, "patch", "a")).all()
    assert (found != changed(pixels, patch, "patch", "b")).any()
    faint = control_of(np.zeros((32, 30, 3)), "perturbation")
    assert np.abs(faint).max() == pytest.approx(REACH)
    away = changed(pixels, faint, "perturbation", "a").astype(int) - pixels
    assert np.abs(away).max() == 10
    assert (np.abs(away) == 10).mean() > 0.9
    assert control_of(patch, "patch").shape == patch.shape


def test_what_is_learnt_turns_images_and_what_is_random_does_not(
    planted: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = unmeasured(planted, tmp_path / "afresh")
    where = workspace_of(audit)
    decisions = decided(audit, TagStore.open(where))
    request = MeasureRequest(audit.id, "universal", class_name="leaf")
    assert labels_asked(audit, decisions, request) == ["leaf"]
    everything = MeasureRequest(audit.id, "universal")
    assert labels_asked(audit, decisions, everything) == ["leaf", "pond", "sky"]
    measure_leaning(audit)
    table = ON_DEMAND["universal"].table(audit, decisions, request).set_index("subject")
    patch, random = table.loc[WORDS["patch"]], table.loc[CONTROL.format("patch")]
    assert patch["value"] > random["value"] + 0.3
    assert patch["reading"] == "a shortcut of the network"
    assert patch["note"].endswith("to leaf")
    assert patch["low"] < patch["value"] <= patch["high"]
    tried = leaning(audit)
    most = tried.loc[tried["class_idx"] == audit.class_facts("leaf").class_idx, "put_in"].max()
    beside = table[table.index.str.endswith("put in")]
    assert beside["value"].max() == pytest.approx(most)
    assert beside["note"].str.contains("the strongest of").sum() == 1

    found = universal_of("leaf").known(audit)
    assert found is not None
    assert (found["truth"] != audit.class_facts("leaf").class_idx).all()
    monkeypatch.setattr(universal, "learn", lambda *_, **__: pytest.fail("it is stored"))
    assert ON_DEMAND["universal"].known(audit, decisions, request) is not None
    assert universal_of("leaf")(audit).equals(found)


def test_steps_raise_the_odds_and_stay_in_reach(planted: Audit) -> None:
    model = load_white_box().use_head(planted.head)
    seen = universal.Seen(planted)
    ids = planted.images.query("label == 'pond'").index[:24].tolist()
    pixels = [seen.picture(image_id) for image_id in ids]
    for kind in KINDS:
        found = learn(model, pixels, 0, kind, report=silent)
        shown = [changed(p, found, kind, i) for i, p in zip(ids, pixels, strict=True)]
        before, after = (
            torch.from_numpy(universal.predictions_of(planted, model, images))
            for images in (pixels, shown)
        )
        assert (after == 0).sum() >= (before == 0).sum()
        low, high = (0, 1) if kind == "patch" else (-REACH, REACH)
        assert low <= found.min() <= found.max() <= high + 1e-6


def test_bad_requests_and_networks_without_gradients_are_refused(
    planted: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="except universal, which takes --class alone"):
        MeasureRequest(planted.id, "priors", class_name="leaf")
    model = load_white_box().use_head(planted.head)
    monkeypatch.setattr(type(model), "scores", lambda *_: torch.zeros(4, 3))
    with pytest.raises(ModelError, match=r"no gradients on its device at its precision \(.+\)"):
        learn(model, [np.zeros((32, 32, 3), np.uint8)] * 4, 0, "patch", report=silent)


def test_what_images_become_is_told(planted: Audit) -> None:
    """Of ten that were pond seven turn to leaf by the patch, two to sky; none by its control."""
    leaf, pond, sky = (planted.head.index(name) for name in ("leaf", "pond", "sky"))
    as_it_is = [pond] * 10
    found = pd.DataFrame(dict.fromkeys(COLUMNS[2:], as_it_is))
    found["patch"] = [leaf] * 7 + [sky] * 2 + [pond]
    decisions = decided(planted, TagStore.open(workspace_of(planted)))
    rows = {row["subject"]: row for row in class_rows(planted, decisions, "leaf", found)}
    told = rows[WORDS["patch"]]
    assert (told["value"], told["n"], told["reading"]) == (0.7, 10, "a shortcut of the network")
    assert told["note"].startswith("9 of 10 change, 7 of them to leaf")
    control = rows[CONTROL.format("patch")]
    assert control["value"] == 0
    assert control["note"].startswith("no image is given another class")
