"""Methods that train the network, from start to finish."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.audit import Audit
from core.errors import InputError
from core.mitigation import networks as registry
from core.mitigation.derived import CHECKPOINT
from core.mitigation.run import MitigateRequest, run_mitigation
from core.mitigation.stored import effect_table
from core.store import Workspace
from core.types import Progress
from tests.core.mitigation.conftest import QUICK, cell, run


def test_a_method_of_the_network_gives_new_weights_and_an_ordinary_audit(
    workspace: Workspace, parent: Audit, network: None
) -> None:
    audit = run(workspace, parent, "shifted")
    assert (audit.folder / CHECKPOINT).exists()
    ids = audit.images.index.tolist()
    assert np.abs(audit.features(ids) - parent.features(ids)).max() > 1e-3
    np.testing.assert_array_equal(audit.head.weight, parent.head.weight)
    done = audit.manifest["mitigation"]
    assert (done["encoder_changed"], done["history"], done["strength"]) == (True, [0.3, 0.1], 1.0)
    model = audit.load_model()
    from core.measures.trials import features_of, pictures

    seen = features_of(audit, model, list(pictures(audit, ids[:6])))
    np.testing.assert_allclose(seen, audit.features(ids[:6]), atol=1e-6)
    assert cell(audit, "flip_rate")["n"] > 0
    assert run(workspace, parent, "shifted").id == audit.id
    child = run(workspace, audit, "spufix", name="child", strength=1.0, **QUICK)
    assert child.load_model().weights_hash == model.weights_hash


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("guidance", {"fraction": "0.1"}),
        ("rrclarc-deep", {"layer": "conv", "parts": "head"}),
        ("counterfactual", {"change": "paste"}),
    ],
)
def test_a_method_of_the_network_from_start_to_finish(
    workspace: Workspace,
    trainable: Audit,
    method: str,
    options: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "layer" in options:
        monkeypatch.setitem(registry.NETWORK[method].options, "layer", ("last", "conv"))
    said: list[Progress] = []
    request = MitigateRequest(
        trainable.name, method, "trained", classes=("leaf",), pictures=False,
        options={**options, "epochs": "1"},
    )  # fmt: skip
    audit = run_mitigation(request, workspace, report=said.append)
    done = audit.manifest["mitigation"]
    assert len(done["history"]) == 1
    assert {"loss", "accuracy"} <= set(done["history"][0])
    assert done["encoder_changed"]
    assert any(progress.figures for progress in said)
    ids = audit.images.index.tolist()
    logits = audit.load_model().logits(audit.features(ids))
    np.testing.assert_array_equal(logits, audit.head.logits(audit.features(ids)))
    changed_weight = not np.array_equal(audit.head.weight, trainable.head.weight)
    changed_encoder = np.abs(audit.features(ids) - trainable.features(ids)).max() > 1e-6
    assert changed_weight or changed_encoder
    assert len(effect_table(audit))


def test_the_choices_are_those_of_the_methods() -> None:
    from core.mitigate import attribution, compositing, counterfactual, localisation, right_reasons

    assert set(registry.LOSSES) == set(localisation.LOSSES)
    assert set(registry.ATTRIBUTIONS) == set(attribution.ATTRIBUTIONS)
    assert registry.TARGETS == right_reasons.TARGETS
    assert set(registry.CHANGES) == {"auto", *counterfactual.CHANGES}
    assert set(compositing.OPERATIONS) < set(registry.CHANGES)


def test_a_method_without_its_masks_is_refused(
    workspace: Workspace, parent: Audit, network: None
) -> None:
    path = parent.folder / "images.parquet"
    rows = pd.read_parquet(path).drop(columns=["object_mask", "cue_mask"], errors="ignore")
    rows.to_parquet(path, index=False)
    for method in ("guidance", "counterfactual"):
        with pytest.raises(InputError, match="needs masks and no training image has one"):
            run(workspace, Audit(parent.folder), method, **QUICK)
    with pytest.raises(InputError, match="has no cue masks"):
        run(workspace, Audit(parent.folder), masks=True, **QUICK)
