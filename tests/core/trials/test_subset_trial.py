"""Sufficient subsets find the planted patch, in single pixels and in patches, and say so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
import pytest

from core.audits.audit import Audit
from core.data.masks import mask_on_grid
from core.explain.fills import WORDS
from core.measures.stored import measured
from core.measures.subset_figures import BORDER
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.trials.encoder import Seen
from core.trials.outcomes import ON_CUE, SUBSETS, Outcomes
from core.trials.subset_trial import (
    CUE_COLUMNS,
    DRAWN,
    SIDE,
    WRONG,
    most_often,
    on_cue,
    subset_ids,
    where,
)
from tests.core.conftest import load_white_box, unmeasured, workspace_of

if TYPE_CHECKING:
    from core.measures.scope import Scope


def test_the_figures_of_a_class(planted: Audit, tmp_path: Path) -> None:
    audit = unmeasured(planted, tmp_path / "afresh")
    table = measured(audit, workspace_of(audit), "subsets").set_index(["label", "measure"])
    decisions = decided(audit, TagStore.open(workspace_of(audit)))
    outcomes = Outcomes(audit, decisions)
    assert outcomes.missing([SUBSETS, ON_CUE]) == []
    found, cue = outcomes.subsets("leaf"), outcomes.on_cue("leaf")
    drawn, wrong = subset_ids(audit, "leaf")
    assert (len(drawn), len(wrong)) == (DRAWN, min(WRONG, len(wrong)))
    assert found["image_id"].tolist() == [*drawn, *wrong]
    assert not found.loc[~found["drawn"], "right"].any()
    assert all(sorted(removed) == list(range(SIDE * SIDE)) for removed in found["removed"])
    assert where(found).sum() == pytest.approx(found["left"].mean())
    right = found[found["right"]]
    row = table.loc[("leaf", "subset_size")]
    assert row["value"] == pytest.approx(right["size"].mean())
    assert row["low"] < row["value"] < row["high"]
    assert (
        row["reading"] == f"leaf is recognised from at most {100 * row['value']:.1f} % of the image"
    )
    assert "the fill alone is given the class with" in row["note"]
    assert row["subject"] == "filled with the colour that tells the model least"
    assert f"; filled with {WORDS[found['fill'].iloc[0]]}; " in row["note"]
    assert found["fill"].nunique() == 1
    assert list(cue.columns) == CUE_COLUMNS
    row = table.loc[("leaf", "subset_on_cue")]
    assert -1 <= row["low"] < row["high"] <= 1
    assert row["value"] == pytest.approx((cue["inside"] - cue["area"]).mean())
    assert {"pond", "sky"} <= set(outcomes.subset_labels)
    whole = pd.concat([outcomes.subsets(label) for label in outcomes.subset_labels])
    of_model = {
        "subset_size": whole.loc[whole["right"], "size"],
        "subset_accuracy": whole.loc[whole["drawn"], "best"].astype(float),
        "subset_border": whole.loc[whole["right"], "border"].dropna(),
    }
    for name, values in of_model.items():
        row = table.loc[("", name)]
        assert (row["n"], row["value"]) == (len(values), pytest.approx(values.mean()))
        assert row["low"] <= row["value"] <= row["high"]


def test_a_subset_on_the_cue_is_seen_to_be_there(planted: Audit) -> None:
    """Drawn masks say where it is; orders are made up so that it goes last, or first."""
    seen, model = Seen(planted), load_white_box().use_head(planted.head)
    ids = planted.images.query("label == 'leaf' and split == 'test' and cue_mask != ''").index[:4]
    neurons = decided(planted, TagStore.open(workspace_of(planted))).spurious["leaf"]
    for last, low, high in ((1, 0.95, 1.0), (-1, 0.0, 0.01)):
        rows = []
        for image_id in ids:
            mask = seen.mask(image_id, "cue_mask")
            assert mask is not None
            inside = np.asarray(mask_on_grid(mask, (SIDE, SIDE))).ravel()
            rows.append((image_id, 5, 5 / 196, np.argsort(last * inside).tolist()))
        table = pd.DataFrame(rows, columns=["image_id", "left", "size", "removed"])
        found = on_cue(planted, table, neurons, model, seen)
        assert found["image_id"].tolist() == ids.tolist()
        assert found["inside"].between(low, high).all()
        assert found["area"].mean() == pytest.approx(64 / 1024, abs=0.01)


def test_other_tags_keep_the_subsets(planted: Audit) -> None:
    decisions = decided(planted, TagStore.open(workspace_of(planted)))
    untagged = type(decisions)(**{**vars(decisions), "spurious": decisions.core})
    one, two = Outcomes(planted, decisions), Outcomes(planted, untagged)
    assert one.path(SUBSETS, "leaf") == two.path(SUBSETS, "leaf")
    assert one.path(ON_CUE, "leaf") != two.path(ON_CUE, "leaf")


def made_up(held: np.ndarray) -> pd.DataFrame:
    """Subsets (n, 196) as a table: what is held goes last."""
    removed = [np.argsort(row, kind="stable").tolist() for row in held]
    return pd.DataFrame({"removed": removed, "left": held.sum(axis=1).astype(int)})


def test_subsets_that_lie_anywhere_are_seldom_said_to_be_in_one_place() -> None:
    """Sizes differ from image to image; the patch that is chosen is paid for."""
    rng = np.random.default_rng(0)
    shares = rng.uniform(0.02, 0.4, (300, 16, 1))
    found = [most_often(made_up(rng.random((16, SIDE * SIDE)) < share)) for share in shares]
    assert np.mean([one.p < 0.05 for one in found]) < 0.05
    held = rng.random((16, SIDE * SIDE)) < 0.1
    held[:, 3 * SIDE + 5] = True
    one = most_often(made_up(held))
    assert (one.place, one.images) == ((3, 5), 16)
    assert one.p < 1e-6
    assert most_often(made_up(np.ones((4, SIDE * SIDE), bool))).p == 1


def test_classes_whose_fill_is_enough_have_no_border() -> None:
    """A subset without a patch lies nowhere: that is said, in the table and in the comparison."""
    table = pd.DataFrame({"right": [True] * 3 + [False], "border": [np.nan, np.nan, 0.5, 0.2]})
    scope = cast("Scope", SimpleNamespace(outcomes=SimpleNamespace(subsets=lambda label: table)))
    assert BORDER.samples(scope, "leaf") == (
        "the fill alone is enough for 2 of 3 right images: nothing of them is needed at any place"
    )
    table = table.iloc[2:]
    assert BORDER.samples(scope, "leaf") == []
    assert "fewer than two right images need anything but the fill" in BORDER.lacking
