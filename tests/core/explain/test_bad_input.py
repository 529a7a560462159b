"""What goes wrong is said in a sentence of one method and image; the rest goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core.audits.audit import Audit
from core.audits.explained import Asked, explain, explain_each
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.errors import ModelError, SpurioscopeError
from core.explain.attribution import ATTRIBUTIONS
from core.explain.explainer import EXPLAINERS, Explainer, Explanation, Question
from core.models.model import Model
from tests.core.conftest import unmeasured

QUICK = {
    "sis": {"grid": "4", "k": "4"},
    **{name: {"steps": "2"} for name in ("look", "npfv", "fourier", "attack")},
}
PLAIN = {"exact", "occlusion"}
"""Maps that take no gradients."""


@pytest.fixture
def mine(tiny_audit: Audit, tmp_path: Path) -> Audit:
    return unmeasured(tiny_audit, tmp_path / "mine")


def questions(audit: Audit, label: str) -> list[Asked]:
    """Every method of a class, or of its first component where it takes a candidate."""
    made = []
    for name, method in EXPLAINERS.items():
        key = CandidateKey(label, PCA, 0) if method.needs_candidate else None
        known = {n: v for n, v in QUICK.get(name, {}).items() if n in method.settings}
        made.append(Asked.of(name, label, key, known))
    return made


def said_of(
    audit: Audit, image_id: str, model: Model, of: str = ""
) -> dict[str, Explanation | SpurioscopeError]:
    """What every method says of an image, of its own class by default, or why it does not."""
    asked = questions(audit, of or audit.images.loc[image_id, "label"])
    found: dict[str, Explanation | SpurioscopeError] = {}
    for of_images, ids in ((True, [image_id]), (False, [""])):
        mine = [one for one in asked if one.explainer.of_images is of_images]
        found |= {one.method: said for one, _, said in explain_each(audit, mine, ids, model)}
    return found


def test_a_network_without_gradients_still_has_what_needs_none(
    mine: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = mine.load_model()
    forward = model.network.forward
    monkeypatch.setattr(model.network, "forward", torch.no_grad()(forward))
    monkeypatch.setattr(model, "features_of", torch.no_grad()(model.features_of))
    said = said_of(mine, mine.images.index[0], model)
    for name in PLAIN:
        assert isinstance(said[name], Explanation), name
    for name in (
        "ig",
        "saliency",
        "lrp",
        "gradient_shap",
        "guided_backpropagation",
        "learned_mask",
    ):
        assert isinstance(said[name], ModelError), name
        assert "use the exact map or occlusion" in str(said[name])
    for name in ("look", "npfv", "fourier", "attack"):
        assert isinstance(said[name], ModelError), name


def test_an_image_that_the_model_gets_wrong_is_explained_all_the_same(
    mine: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = (facts.label for facts in mine.classes[:2])
    wrong = mine.images.index[mine.images["prediction"] == mine.head.index(own)][0]
    said = said_of(mine, wrong, mine.load_model(), of=other)
    assert not {n: str(s) for n, s in said.items() if isinstance(s, SpurioscopeError)}
    found = said["sis"]
    assert isinstance(found, Explanation)
    assert found.facts["given"] != found.facts["output"]


def test_a_layer_without_a_rule_ends_only_what_needs_one(
    mine: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.exp(x) / 8

    model = mine.load_model()
    plain = model.features_of
    odd = Odd()
    monkeypatch.setattr(model, "features_of", lambda batch: odd(plain(batch)))
    said = said_of(mine, mine.images.index[0], model)
    assert "no rule for: " in str(said["lrp"])
    assert isinstance(said["ig"], Explanation)


def test_a_stopped_explanation_goes_on_where_it_was(
    mine: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    label, ids = mine.classes[0].label, mine.images.index[:3].tolist()
    asked, seen = Asked.of("saliency", label), list[str]()
    real = EXPLAINERS["saliency"]

    def counted(stop: int) -> Explainer:
        def one(question: Question) -> Explanation:
            if len(seen) == stop:
                raise KeyboardInterrupt
            seen.append("")
            return real.explain(question)

        return replace(real, explain=one)

    monkeypatch.setitem(EXPLAINERS._all(), "saliency", counted(1))
    with pytest.raises(KeyboardInterrupt):
        list(explain(mine, asked, ids))
    monkeypatch.setitem(EXPLAINERS._all(), "saliency", counted(9))
    again = list(explain(mine, asked, ids))
    assert len(seen) == len(ids)
    assert all(isinstance(one, Explanation) for _, one in again)


@pytest.mark.parametrize("value", [1.0, -1.0, 0.0])
def test_a_map_that_is_the_same_everywhere_is_drawn_judged_and_compared(
    mine: Audit, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = replace(
        ATTRIBUTIONS["saliency"],
        explain=lambda *_: np.full((8, 8), value, np.float32),
    )
    monkeypatch.setitem(ATTRIBUTIONS._all(), "saliency", flat)
    model, image_id = mine.load_model(), mine.images.index[0]
    label = mine.images.loc[image_id, "label"]
    ((_, said),) = explain(mine, Asked.of("saliency", label), [image_id], model)
    assert isinstance(said, Explanation)
    assert said.facts["sum"] == 64 * value
    assert EXPLAINERS["saliency"].pictures(said, mine.pixels(image_id))["map"][1:4] == b"PNG"
    ((_, judged),) = explain(mine, Asked.of("trust", label), [image_id], model)
    assert isinstance(judged, Explanation)
