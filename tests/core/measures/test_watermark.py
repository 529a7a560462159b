"""The watermark as a known shortcut, with a drawn stand-in for the optional package."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from PIL import Image

from core.audits.audit import Audit
from core.measures.one_audit import kinds_of
from core.measures.rows import as_table
from core.measures.watermark_figures import watermark_rows
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.trials import watermark
from core.trials.encoder import predictions_of, trial_ids
from core.trials.outcomes import Outcomes
from tests.core.conftest import load_white_box, workspace_of


class RedCorner:
    """Draws the cue of "leaf", so that the answer is known."""

    def __init__(self, image_size: int) -> None:
        assert image_size == 32

    def __call__(self, image: Image.Image) -> Image.Image:
        image.paste((255, 20, 20), (0, 0, 16, 16))
        return image


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("imagenet_w")
    module.AddWatermark = RedCorner  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "imagenet_w", module)
    monkeypatch.setattr(watermark, "available", lambda: True)


@pytest.mark.usefixtures("package")
def test_flips_equal_a_slow_replica(planted: Audit) -> None:
    model = load_white_box("x")
    trial = watermark.watermark_trial(planted, model)
    found = as_table(watermark_rows(planted, ["pond"], trial))
    rates = found.query("measure == 'watermark_flip_rate'").set_index("label")
    assert rates.index.tolist() == ["pond", "leaf"]  # asked for; attracted most
    ids = trial_ids(planted, outside="")
    turned = []
    for image_id in ids:
        pixels = Image.open(planted.root / planted.images.at[image_id, "path"]).convert("RGB")
        drawn = np.asarray(RedCorner(32)(pixels))
        after = planted.head.outputs[predictions_of(planted, model, [drawn])[0]]
        before = planted.head.outputs[planted.images.at[image_id, "prediction"]]
        if planted.images.at[image_id, "label"] != "leaf":
            turned.append(after == "leaf" and before != "leaf")
    leaf = rates.loc["leaf"]
    assert leaf["value"] == pytest.approx(np.mean(turned), abs=1e-9)
    assert leaf["n"] == len(turned)
    assert leaf["low"] < leaf["value"] < leaf["high"]
    assert leaf["value"] > 0.3
    plain, drawn_on = found.query("measure == 'watermark_accuracy'")["value"]
    assert drawn_on < plain == pytest.approx(planted.images.loc[ids, "correct"].mean())


def test_without_the_package_nothing_is_drawn(
    planted: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark, "available", lambda: False)
    decisions = decided(planted, TagStore.open(workspace_of(planted)))
    outcomes = Outcomes(planted, decisions)
    assert "watermark" not in {step.kind for step in outcomes.missing(kinds_of(["flip"]))}
    (row,) = watermark_rows(planted, ["leaf"], outcomes.watermark())
    assert row["measure"] == "note"
    assert "pip install imagenet-w (optional; its licence" in row["note"]


def test_the_package_itself(planted: Audit) -> None:
    pytest.importorskip("imagenet_w", reason="optional: pip install imagenet-w")
    drawn = watermark._drawer(224)(np.zeros((224, 224, 3), np.uint8))
    assert drawn.shape == (224, 224, 3)
    assert 0 < (drawn > 0).mean() < 0.2
