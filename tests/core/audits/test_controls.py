"""Controls of gaps: stored, exported, and computed for audits that have none."""

from __future__ import annotations

import numpy as np
import pytest

from core.audits import controls
from core.audits.audit import Audit
from core.audits.controls import controlled
from core.audits.export import components_table
from core.candidates import above_control
from core.statistics.gap_control import gap_control
from tests.golden import make


def older(audit: Audit) -> Audit:
    """The same as earlier versions stored it."""
    found = Audit(audit.folder)
    found.__dict__["candidates"] = audit.candidates.drop(columns=above_control.COLUMNS)
    return found


def test_they_are_stored_and_exported(planted: Audit) -> None:
    table = components_table(planted)
    assert table.columns.tolist()[-3:] == above_control.COLUMNS
    assert set(above_control.COLUMNS) <= set(planted.candidates)
    assert controlled(planted) is planted.candidates
    measured = table[table["gap"].notna()]
    assert measured["gap_control"].between(-100, 100).all()
    assert (measured["gap_p_corrected"].dropna() >= measured["gap_p"].dropna() - 1e-12).all()
    largest = measured.groupby("class_idx")["gap"].max()
    for facts in planted.classes:
        assert facts.top_gap_above or facts.top_gap == largest[facts.class_idx]


def test_those_of_earlier_audits_are_computed(planted: Audit) -> None:
    found, stored = controlled(older(planted)), planted.candidates
    linear = stored["kind"].isin(["pca", "neuron"]).to_numpy()
    for name, near in (("gap_control", 1.0), ("gap_p", 0.02)):
        pair = (table.loc[linear, name].to_numpy(np.float64) for table in (found, stored))
        np.testing.assert_allclose(*pair, atol=near, equal_nan=True)
    assert found.loc[~linear, "gap_control"].notna().any()


def test_they_have_the_images_a_side_that_the_stored_gap_has() -> None:
    with make.opened() as root:
        audit = Audit(next((root / "workspace" / "audits").glob("4de03b70ff64")))
        as_stored = controlled(audit)
        controls_of = {k: controlled(stored_with(audit, k)) for k in (3, 4)}
        stored = audit.candidates
        facts = audit.classes[0]
        arrays = audit.class_arrays(facts.class_idx)
        rows = audit.images.index.get_indexer(arrays.image_ids)
        held = audit.held_out[rows]
        right = audit.images["fair"].to_numpy(bool)[rows][held]
        components = np.asarray(arrays.alpha[:, : arrays.components], np.float64)
        logit = components.sum(axis=1) + np.asarray(arrays.residual, np.float64)
    assert stored["gap_k"].unique().tolist() == [4]
    mine = (stored["class_idx"] == facts.class_idx) & (stored["kind"] == "pca")
    for k, found in controls_of.items():
        alone = gap_control(right, components[held], logit[held], components[held], k=k)
        np.testing.assert_allclose(found.loc[mine, "gap_control"], alone.gap, atol=1e-9)
    np.testing.assert_array_equal(as_stored["gap_control"], controls_of[4]["gap_control"])
    assert (controls_of[3]["gap_control"] != controls_of[4]["gap_control"]).any()
    np.testing.assert_array_equal(controls_of[3]["gap_p"], controls_of[4]["gap_p"])


def stored_with(audit: Audit, k: int) -> Audit:
    """The same with other images a side."""
    found = Audit(audit.folder)
    found.__dict__["candidates"] = audit.candidates.assign(gap_k=k)
    return found


def test_those_of_many_classes_stay_empty(planted: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "MOST", 2)
    found = controlled(older(planted))
    assert found[above_control.COLUMNS].isna().all(axis=None)
    exported = components_table(older(planted))
    assert exported[above_control.COLUMNS].isna().all(axis=None)
