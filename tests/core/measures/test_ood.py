"""Out of distribution on the planted audit: sets that are told apart, and the cue."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.errors import InputError
from core.measures import ood
from core.measures.image_sets import known, named
from core.measures.measure_requests import MeasureRequest
from core.measures.ood import OOD, anomalies
from core.measures.stored import make_outcomes
from core.statistics.anomaly import TITLES
from core.statistics.intervals import auroc
from core.tags.decisions import decided, spuriosity_of
from core.tags.log import TagStore
from core.trials.outcomes import PASTED
from tests.core.conftest import unmeasured, workspace_of


@pytest.fixture
def audit(planted: Audit, tmp_path: Path) -> Audit:
    return unmeasured(planted, tmp_path / "workspace")


def rows_of(audit: Audit, **asked: str) -> pd.DataFrame:
    found = decided(audit, TagStore.open(workspace_of(audit)))
    return OOD.table(audit, found, MeasureRequest(audit.id, "ood", **asked))


def test_a_set_is_told_from_the_others(audit: Audit) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Audit, "load_model", lambda _: pytest.fail("a model was loaded"))
        table = rows_of(audit, against="train")
    assert table["measure"].tolist() == ["ood_auroc", "ood_aupr", "ood_fpr95"] * len(TITLES)
    row = table[table["subject"] == "max_logit: train"].iloc[0]
    train = audit.images.index[audit.images["split"] == "train"].tolist()
    held = audit.images.index[audit.held_out].tolist()
    highest = [-audit.head.logits(audit.features(ids)).max(axis=1) for ids in (train, held)]
    positive = np.repeat([True, False], [len(train), len(held)])
    assert row["value"] == pytest.approx(auroc(np.concatenate(highest), positive))
    assert row["low"] <= row["value"] <= row["high"]
    chance = table.loc[table["measure"] == "ood_aupr", "note"].iloc[0]
    assert f"chance {len(train) / len(positive):.3f}" in chance
    other = rows_of(audit, against="train", typical_of="patch=True")
    same = (table["value"] == other["value"]).to_numpy()
    by = table["subject"].str.partition(": ")[0]
    assert set(by[~same]) == {"knn", "typicality"}  # which alone look at known images


def test_images_without_the_cue_look_anomalous_beside_a_control(audit: Audit) -> None:
    table = rows_of(audit)
    mine = table[(table["measure"] == "ood_without_cue") & (table["label"] == "leaf")]
    assert mine["subject"].tolist() == list(TITLES)
    found = decided(audit, TagStore.open(workspace_of(audit)))
    ranked = spuriosity_of(audit, "leaf", found.spurious["leaf"]).query("held_out")
    k = int(mine["n"].iloc[0]) // 2
    ends = [ranked.tail(k)["image_id"].tolist(), ranked.head(k)["image_id"].tolist()]
    sure = [-audit.images.loc[ids, "confidence"].to_numpy() for ids in ends]
    expected = auroc(np.concatenate(sure), np.repeat([True, False], k))
    msp = mine[mine["subject"] == "msp"].iloc[0]
    assert msp["value"] == pytest.approx(expected)
    assert msp["value"] > 0.5
    assert msp["reading"].startswith("images without the cue look more anomalous, ")
    control = table[(table["measure"] == "ood_without_cue_control") & (table["label"] == "leaf")]
    assert control["subject"].tolist() == list(TITLES)
    assert (control["value"] > 0.5).any()
    places = table[(table["measure"] == "ood_place") & table["subject"].str.startswith("msp")]
    assert len(places) == 10
    assert places["value"].iloc[0] > places["value"].iloc[-1]
    assert (places["value"] * places["n"]).sum() / places["n"].sum() == pytest.approx(0.5)


def test_a_pasted_cue_is_looked_at_where_it_is_stored(audit: Audit) -> None:
    assert "ood_pasted" not in set(rows_of(audit)["measure"])
    found = decided(audit, TagStore.open(workspace_of(audit)))
    make_outcomes(audit, found, [PASTED, "control"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Audit, "load_model", lambda _: pytest.fail("a model was loaded"))
        table = rows_of(audit)
    pasted = table[table["measure"] == "ood_pasted"].set_index("subject")
    assert len(pasted) == 2 * len(TITLES)
    assert set(pasted["label"]) == {"leaf"}
    assert (pasted["value"].between(0, 1)).all()


def test_sets_that_are_none_are_named(audit: Audit) -> None:
    with pytest.raises(InputError, match=r"'snow' names no images: give a split \(test, train\)"):
        named(audit, "snow")
    with pytest.raises(InputError, match="--against and --typical-of belong to"):
        MeasureRequest(audit.id, "gap", against="train")


def test_no_training_image_is_its_own_neighbour(audit: Audit) -> None:
    ids, _ = known(audit, "test")
    assert set(ids) <= set(audit.images.index[audit.held_out])
    found = anomalies(audit, "test")
    assert (found.scored["knn"] > 0).all()


def test_another_audit_of_the_network_is_a_set(
    audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(workspace_of(audit).root)
    given = ["measure", audit.id, "--what", "ood", "--workspace", root, "--json"]
    assert main([*given, "--against", audit.name]) == 0
    said = json.loads(capsys.readouterr().out)["measures"]
    assert {row["measure"] for row in said} == {"ood_auroc", "ood_aupr", "ood_fpr95"}
    assert said[0]["n"] == len(audit.images)
    assert ood.OOD.options == ("against", "typical_of")
