"""A split that trains where a cue goes with its class and tests where not, by images alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.data.open import open_data
from core.errors import InputError
from core.measures.agreement_figures import CUE, DRAWN, HALVES, LABEL, RANDOM, labellings
from core.measures.agreement_figures import _rows as rows_of
from core.measures.measure_requests import MeasureRequest
from core.measures.rows import as_table
from core.quality.adversarial_split import adversarial, cues_shown, tried
from core.statistics.learnability import SIZES
from core.tags.decisions import Decisions, Tagged, decided
from core.tags.log import TagStore
from core.types import silent
from tests.core.conftest import workspace_of


def correlation(images: pd.DataFrame, side: np.ndarray) -> float:
    part = images[side]
    return float(np.corrcoef(part["label"] == "leaf", part["patch"].astype(bool))[0, 1])


def test_the_cue_goes_along_in_training_and_against_in_the_test(
    planted: Audit, tmp_path: Path
) -> None:
    decisions = decided(planted, TagStore.open(workspace_of(planted)))
    train = adversarial(planted, decisions)
    images, side = planted.images, train.to_numpy(bool)
    whole = correlation(images, np.ones(len(images), bool))
    assert correlation(images, side) > 0.6 > 0.4 > whole
    assert correlation(images, ~side) < -0.2
    counts = images[side]["label"].value_counts()
    assert counts.to_dict() == (images["label"].value_counts() // 2).to_dict()
    out = tmp_path / "split.csv"
    where = ["--workspace", str(workspace_of(planted).root)]
    assert main(["export", planted.name, "adversarial", "--out", str(out), *where]) == 0
    table = open_data(str(out), workspace=tmp_path / "ws").frame
    assert len(table) == len(images)
    assert (table["split"] == "train").sum() == side.sum()
    assert set(table["path"].map(Path).map(lambda p: p.name)) == {*images["path"].map(str)}


def test_without_a_tag_there_is_no_cue_to_split_by(planted: Audit) -> None:
    nothing = Decisions(Tagged(planted, {}), Tagged(planted, {}))
    with pytest.raises(InputError, match="a split is adversarial to a cue; tag one"):
        adversarial(planted, nothing)


def test_what_a_head_loses_in_the_split_and_how_easily_the_cue_is_learnt(planted: Audit) -> None:
    decisions = decided(planted, TagStore.open(workspace_of(planted)))
    found = tried(planted, decisions, "leaf")
    assert len(found.split) == len(found.drawn) == 96
    assert found.drawn.mean() - found.split.mean() > 0.3
    names = [
        each.name for each in labellings(planted, "leaf", cues_shown(planted, decisions)["leaf"])
    ]
    assert names == [f"{CUE}, within the class", LABEL, "patch=True", DRAWN]

    table = as_table(rows_of(planted, decisions, MeasureRequest(planted.name), silent))
    scores = table[table["measure"] == "agreement_score"].set_index("subject")
    assert set(scores.index) >= {f"{name}, 8 images" for name in [*names, RANDOM]}
    assert scores.loc["patch=True, 8 images", "value"] > 0.9
    assert scores.loc["patch=True, 8 images", "reading"] == "easier to learn than the class"
    assert scores.loc[f"{LABEL}, 8 images", "value"] < 0.5
    drawn = [scores.loc[f"{DRAWN}, {size} images", "value"] for size in SIZES[:4]]
    assert max(map(abs, drawn)) < 0.35
    assert np.mean(drawn) < scores.loc[f"{RANDOM}, 8 images", "value"] - 0.4
    inside = f"{CUE}, within the class, 8 images"
    assert scores.loc[inside, "value"] > scores.loc[f"{RANDOM}, 8 images", "value"]
    recall = table[table["measure"] == "adversarial_recall"].set_index("subject")["value"]
    assert recall[HALVES[0]] == pytest.approx(found.split.mean())
    assert recall[HALVES[2]] == pytest.approx(found.control.mean())
    (drop,) = table[table["measure"] == "adversarial_drop"].to_dict("records")
    assert drop["value"] == pytest.approx(100 * (found.split.mean() - found.control.mean()))
    assert drop["low"] < drop["value"] < drop["high"]


def test_one_class_has_nothing_to_be_learnt_beside(
    planted: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions = decided(planted, TagStore.open(workspace_of(planted)))
    monkeypatch.setattr(Audit, "classes", planted.classes[:1])
    with pytest.raises(InputError, match="has one class; how easily a cue is learnt is held"):
        rows_of(planted, decisions, MeasureRequest(planted.name), silent)
