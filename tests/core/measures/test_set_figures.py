"""Figures of evaluation sets: identities with the audit's own, planted cues, what is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.audits.audit import Audit
from core.audits.evaluation_set import evaluation_sets, remove_set
from core.audits.set_pass import add_sets
from core.corrections.mitigate_request import MitigateRequest
from core.corrections.mitigation import run_mitigation
from core.errors import InputError
from core.measures.gaps import SPURIOUS_GAP, gap_sample
from core.measures.measure_requests import MeasureRequest
from core.measures.scope import Scope
from core.measures.set_figures import SETS
from core.report.document import compose, render
from core.report.material import gather
from core.tags.decisions import Decisions, decided
from core.tags.log import TagStore
from tests.core.conftest import unmeasured, workspace_of

REQUEST = MeasureRequest("", "sets")


@pytest.fixture
def audit(planted: Audit, tmp_path: Path) -> Audit:
    return unmeasured(planted, tmp_path / "workspace")


def listed(audit: Audit, folder: Path, kept: pd.Series | None = None) -> Path:
    """A manifest of test images: all of them, or those that are kept."""
    table = pd.read_csv(audit.root / "m.csv").query("split == 'test'")
    table = table if kept is None else table[kept.loc[table.index]]
    table["path"] = [str(audit.root / path) for path in table["path"]]
    folder.mkdir()
    table[["path", "label", "split", "patch"]].to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"


def tags(audit: Audit) -> Decisions:
    return decided(audit, TagStore.open(workspace_of(audit)))


def value(table: pd.DataFrame, measure: str, subject: str, label: str = "") -> pd.Series:
    found = table[table["measure"] == measure]
    (row,) = found[(found["subject"] == subject) & (found["label"] == label)].index
    return table.loc[row]


def test_a_copy_of_the_test_split_has_its_figures(audit: Audit, tmp_path: Path) -> None:
    """The same images have the same accuracy, calibration and gap, and no drop."""
    with pytest.raises(InputError, match="has no evaluation set; add one with"):
        SETS.table(audit, tags(audit), REQUEST)
    whole = listed(audit, tmp_path / "copy")
    add_sets(audit, {"copy": str(whole)}, workspace_of(audit))
    table = SETS.table(audit, tags(audit), REQUEST)
    held = audit.images[audit.held_out]
    assert value(table, "accuracy", "copy")["value"] == pytest.approx(held["correct"].mean())
    assert value(table, "nll", "copy")["value"] == pytest.approx(held["loss"].mean())
    drop = value(table, "accuracy_drop", "copy")
    assert (drop["value"], drop["reading"]) == (0.0, "not certain")
    assert drop["low"] < 0 < drop["high"]
    sample = gap_sample(Scope(audit, tags(audit)), "leaf")
    assert not isinstance(sample, str)
    gap = value(table, "set_gap", "copy", "leaf")
    assert gap["value"] == pytest.approx(SPURIOUS_GAP.estimate.of(sample.values)[0])
    assert value(table, "set_gap", "copy")["value"] == pytest.approx(gap["value"])
    assert value(table, "cue_shift", "copy", "leaf")["value"] == pytest.approx(0, abs=1e-5)
    groups = table[table["measure"] == "set_group_accuracy"]
    assert groups["subject"].tolist() == ["copy: patch = False", "copy: patch = True"]
    assert groups["n"].sum() == len(held)


def test_a_set_without_the_cue_shows_less_of_it(audit: Audit, tmp_path: Path) -> None:
    patch = pd.read_csv(audit.root / "m.csv")["patch"]
    bare = listed(audit, tmp_path / "bare", ~patch)
    add_sets(audit, {"bare": str(bare)}, workspace_of(audit))
    table = SETS.table(audit, tags(audit), REQUEST)
    shift = value(table, "cue_shift", "bare", "leaf")
    assert shift["high"] < 0
    assert shift["reading"] == "less of the cue"
    one = evaluation_sets(audit)["bare"]
    leaves = (one.images["label"] == "leaf").to_numpy()
    right = one.predicted["correct"].to_numpy()[leaves].mean()
    held = audit.images[audit.held_out & (audit.images["label"] == "leaf").to_numpy()]
    assert right < held["correct"].mean()
    found = render(compose([gather(audit, workspace_of(audit), with_model=False)]))
    assert "bare" in found
    assert "bare shows less of the tagged cues in leaf" in found


def test_a_planted_drop_is_said_with_its_interval(audit: Audit, tmp_path: Path) -> None:
    """Of a set made again where 60 images that it got right are of another class."""
    manifest = listed(audit, tmp_path / "again")
    table, held = pd.read_csv(manifest), audit.images[audit.held_out]
    at = {str(audit.root / row.path): row for row in held.itertuples()}
    rows = [i for i, path in enumerate(table["path"]) if at[path].correct][:60]
    first, second = audit.head.outputs[:2]
    table.loc[rows, "label"] = [second if table["label"][i] == first else first for i in rows]
    table.to_csv(manifest, index=False)
    add_sets(audit, {"again": str(tmp_path / "again" / "m.csv")}, workspace_of(audit))
    found = SETS.table(audit, tags(audit), REQUEST)
    drop = value(found, "accuracy_drop", "again")
    assert drop["value"] == pytest.approx(100 * 60 / len(held))
    assert 0 < drop["low"] < drop["value"] < drop["high"]
    assert drop["reading"] == "lower"
    said = render(compose([gather(audit, workspace_of(audit), with_model=False)]))
    assert "On other sets of images: again" in said
    assert f"{drop['value']:.0f}\u00a0points fewer than on the audit's own images" in (
        said.replace("&nbsp;", "\u00a0").replace("&#39;", "'")
    )


def test_what_is_known_changes_with_the_sets(audit: Audit, tmp_path: Path) -> None:
    whole = listed(audit, tmp_path / "copy")
    add_sets(audit, {"one": str(whole)}, workspace_of(audit))
    first = SETS.path(audit, tags(audit), REQUEST)
    SETS.table(audit, tags(audit), REQUEST)
    assert first.exists()
    add_sets(audit, {"two": str(whole)}, workspace_of(audit))
    assert SETS.known(audit, tags(audit), REQUEST) is None
    table = SETS.table(audit, tags(audit), REQUEST)
    mine = [value(table, "accuracy", name)["value"] for name in ("one", "two")]
    assert np.ptp(mine) == 0


def test_a_corrected_model_is_judged_on_its_parent_s_sets(audit: Audit, tmp_path: Path) -> None:
    """The encoder stayed, so that the features of a set are those of the parent's."""
    workspace = workspace_of(audit)
    request = MitigateRequest(audit.id, "pclarc", "child", strength=1.0, pictures=False)
    child = run_mitigation(request, workspace)
    before = sorted(path.name for path in child.folder.iterdir())
    add_sets(audit, {"copy": str(listed(audit, tmp_path / "copy"))}, workspace)
    with pytest.raises(InputError, match="that of the audit that 'child' was made from"):
        remove_set(child, "copy")
    one, own = evaluation_sets(child)["copy"], evaluation_sets(audit)["copy"]
    held = child.images[child.held_out]
    assert one.correct.mean() == held["correct"].mean()
    ids = one.images.index.tolist()
    np.testing.assert_array_equal(one.features(ids), own.features(ids))
    assert sorted(path.name for path in child.folder.iterdir()) == before
    assert (one.predicted["confidence"] != own.predicted["confidence"]).any()
