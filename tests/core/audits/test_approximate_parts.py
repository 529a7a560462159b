"""Parts of contributions, for networks that do not decide by the mean of one layer's maps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import core.trials.confirmed
from core.__main__ import main
from core.audits.approximate_parts import find_approximate_parts
from core.audits.audit import Audit
from core.audits.integrity import verify
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.candidates.part_kind import ApproximatePart, offset_of
from core.errors import InputError
from core.explain.contributions import contributions
from core.storage.workspace import Workspace
from core.trials.confirmed import confirm
from core.trials.leaning import EXPORTED, measure_leaning, with_leaning
from tests.conftest import tiny_request
from tests.tiny import FEATURES, HALF, SIZE, load_tiny, named


class Largest(nn.Module):
    """The largest place and not the mean of all: its maps are not exact."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, FEATURES, 3, stride=4, padding=1)
            self.act = nn.ReLU()
            self.pool = nn.AdaptiveMaxPool2d(1)
            self.fc = nn.Linear(FEATURES, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(self.pool(self.act(self.conv(images))).flatten(1))
        return found


named("largest", Largest, HALF)


@pytest.fixture
def inexact(folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Audit:
    monkeypatch.setenv("SPURIOSCOPE_WORKSPACE", str(workspace.root))
    audit = run_audit(tiny_request(folder, model="tiny:largest"), workspace)
    assert not audit.exact_maps
    return audit


def test_of_exact_maps_contributions_average_to_the_number(rng: np.random.Generator) -> None:
    model = load_tiny("tiny")
    pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    direction = rng.normal(size=FEATURES)
    found = contributions(model, pixels, direction)
    assert found.shape == (FEATURES, 8, 8)
    encoded = model.encode(torch.from_numpy(pixels)[None])
    assert found.sum(axis=0).mean() == pytest.approx(
        encoded.features[0].numpy() @ direction, abs=1e-4
    )
    maps = encoded.maps[0].numpy()
    np.testing.assert_allclose(found, maps * direction[:, None, None], atol=1e-4)


def test_parts_and_rest_add_up_to_the_contributions(inexact: Audit) -> None:
    facts = inexact.class_facts("red")
    assert find_approximate_parts(inexact, "red", 4) == 4
    audit, model = Audit(inexact.folder), inexact.load_model()
    arrays = audit.class_arrays(facts.class_idx)
    found = arrays.of_kind("part")
    part = audit.candidate(CandidateKey("red", "part", 1))
    assert isinstance(part, ApproximatePart)
    image_id = next(
        i for i, a in zip(arrays.image_ids, found.alpha[:, 0], strict=True) if np.isfinite(a)
    )
    row = arrays.image_ids.index(image_id)
    given = audit.contributions(part.margin, image_id, model)
    whole = found.alpha[row].sum() + found.arrays["rest"][row]
    assert whole == pytest.approx(given.sum(axis=0).mean(), abs=1e-4)
    heat = audit.heatmaps(part, [image_id], model)
    assert heat.mean() == pytest.approx(audit.alpha(part, [image_id], model)[0], abs=1e-5)
    assert audit.alpha(part, [image_id], model)[0] == pytest.approx(found.alpha[row, 1], abs=1e-4)
    logits = audit.head.logits(audit.features([image_id]))[0]
    margin = logits[facts.class_idx] - np.delete(logits, facts.class_idx).mean()
    assert whole + offset_of(found) == pytest.approx(
        margin, abs=1e-3
    )  # a maximum is piecewise linear
    assert audit.slope(part, [image_id], model).shape == (1, FEATURES)


def test_they_are_candidates_like_others_but_nothing_is_put_in(inexact: Audit) -> None:
    find_approximate_parts(inexact, "red", 4)
    audit = Audit(inexact.folder)
    table = audit.candidates
    mine = table[(table["kind"] == "part") & (table["class_name"] == "red")]
    assert mine["component"].tolist() == [0, 1, 2, 3]
    assert mine["gap"].notna().all()
    assert measure_leaning(audit).empty
    assert with_leaning(audit, table)[EXPORTED].isna().all(axis=None)
    assert not verify(audit.folder).damaged


def test_found_again_they_take_the_place_of_the_first(inexact: Audit) -> None:
    find_approximate_parts(inexact, "red", 4)
    assert find_approximate_parts(Audit(inexact.folder), "red", 2) == 2
    table = Audit(inexact.folder).candidates
    assert (table["kind"] == "part").sum() == 2


def test_only_pixels_speak_of_them(inexact: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.trials.confirmed, "TARGETS", 3)
    find_approximate_parts(inexact, "red", 4)
    audit = Audit(inexact.folder)
    table = confirm(audit, [CandidateKey("red", "part", 0)])
    assert table["kind"].tolist() == ["part"]
    assert table["put_in"].between(0, 1).all()


def test_the_command_says_that_they_are_approximate(
    inexact: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["parts", inexact.name, "--class", "blue", "--number", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["class"], found["parts"], found["approximate"]) == ("blue", 3, True)
    assert main(["parts", inexact.name, "--class", "blue", "--number", "0"]) == 2


def test_an_audit_with_exact_maps_refuses(tiny_audit: Audit) -> None:
    with pytest.raises(InputError, match="has exact maps, and its parts are found in these"):
        find_approximate_parts(tiny_audit, "red")
