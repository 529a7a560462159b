"""A candidate's latent trial repeated in pixels: the same pairs, planted and random regions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import t
from torch import nn

import core.trials.confirmed as module
import core.trials.latent
from core.__main__ import main
from core.audits.audit import Audit
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON, PCA
from core.errors import InputError
from core.models.architecture import Architecture
from core.storage.workspace import Workspace
from core.trials.confirmed import (
    TARGETS,
    Approximate,
    Confirmed,
    confirm,
    confirmed,
    confirmed_of,
    in_view,
    pairs_of,
    turned_in_pixels,
)
from core.trials.encoder import Encoder, Seen
from core.trials.latent import donors_of, turned
from core.trials.leaning import Trial
from core.types import Preprocess, Progress
from tests.conftest import tiny_request
from tests.core.conftest import RED, load_white_box, unmeasured, workspace_of
from tests.tiny import NETWORKS

CUE = CandidateKey("leaf", NEURON, RED)
OTHER = CandidateKey("leaf", PCA, 1)


@pytest.fixture
def audit(planted: Audit, tmp_path: Path) -> Audit:
    return unmeasured(planted, tmp_path / "workspace")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Targets of every candidate, fewer than there would be."""
    monkeypatch.setattr(module, "TARGETS", 8)
    return 8


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a mask was read, or something was tried again")


def of(audit: Audit, key: CandidateKey) -> Confirmed:
    class_idx = audit.class_facts(key.label).class_idx
    found = confirmed_of(confirmed(audit), class_idx, key.kind, key.number)
    assert found is not None
    return found


def test_the_planted_cue_is_confirmed(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.trials.encoder.read_mask", refuse)
    monkeypatch.setattr("core.data.masks.read_mask", refuse)
    assert confirmed(audit).empty
    table = confirm(audit, [CUE])
    assert len(table) == 1
    found = of(audit, CUE)
    assert (found.donors, found.targets, found.left_out) == (16, TARGETS, 0)
    assert found.put_in > 5 * found.control
    assert found.lean_low > 0.03
    assert found.low <= found.put_in <= found.high <= 1
    assert found.lean == pytest.approx(found.put_in - found.control)


def test_a_random_region_is_not(audit: Audit) -> None:
    trial = Trial(audit)
    pairs = pairs_of(trial, audit.candidate(CUE))
    rng = np.random.default_rng(0)
    moved = [np.roll(one, rng.integers(3, 6, 2), (0, 1)) for one in pairs.regions]
    elsewhere = replace(pairs, regions=np.stack(moved))
    encoder, seen = Encoder(audit, load_white_box("x")), Seen(audit)
    found = Confirmed.of(*turned_in_pixels(trial, encoder, seen, elsewhere))
    assert found.lean_low < 0 < found.lean_high


def test_donors_targets_and_control_are_those_of_the_maps(audit: Audit) -> None:
    trial, candidate = Trial(audit), audit.candidate(CUE)
    pairs = pairs_of(trial, candidate)
    arrays = audit.class_arrays(candidate.class_idx)
    ids = trial.training(arrays)
    ground = trial.ground(arrays, ids)
    rows, regions = donors_of(audit.heatmaps(candidate, ids))
    others, shifts = ground.controls
    assert pairs.donors == [ids[i] for i in rows]
    assert pairs.others == [ids[i] for i in others[rows]]
    assert (pairs.regions.reshape(regions.shape) == regions).all()
    assert (pairs.shifts == shifts[rows]).all()
    latent = {trial.pool_ids[i] for i in ground.targets}
    assert set(pairs.targets) < latent
    assert len(pairs.targets) == len(set(pairs.targets)) == TARGETS
    assert pairs.targets == pairs_of(Trial(audit), candidate).targets


class Patches(nn.Module):
    """Every place of the maps sees its own pixels and no others."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(3, 12, 8, stride=8)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(self.pool(self.conv(images).relu()).flatten(1))
        return found


def test_where_places_see_only_their_own_pixels_both_trials_agree(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Preprocess((32, 32), 1.0, "bilinear", (0.5,) * 3, (0.5,) * 3)
    monkeypatch.setitem(NETWORKS, "net", lambda: Architecture(Patches().eval(), half, None))
    audit = run_audit(tiny_request(folder), workspace)
    for label in ("red", "blue"):
        trial, candidate = Trial(audit), audit.candidate(CandidateKey(label, PCA, 0))
        pairs = pairs_of(trial, candidate)
        columns = np.arange(4) < np.arange(1, len(pairs.donors) + 1)[:, None] % 4
        regions = np.repeat(columns[:, None], 4, axis=1)  # whole columns: their edges are straight
        encoder, seen = Encoder(audit, audit.load_model()), Seen(audit)
        found = turned_in_pixels(trial, encoder, seen, replace(pairs, regions=regions))
        arrays = audit.class_arrays(candidate.class_idx)
        ids = trial.training(arrays)
        ground = trial.ground(arrays, ids)
        donors = np.array([ids.index(name) for name in pairs.donors])
        put, control = turned(ground, donors, regions.reshape(len(donors), -1))
        ordered = [trial.pool_ids[i] for i in ground.targets]
        places = [ordered.index(name) for name in pairs.targets]
        assert (found[0] == put[:, places]).all()
        assert (found[1] == control[:, places]).all()
        assert 0 < found[0].mean() < 1


def test_without_exact_maps_regions_are_marked_by_gradients(
    audit: Audit, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = pairs_of(Trial(audit), audit.candidate(CUE))
    monkeypatch.setattr(Audit, "exact_maps", False)
    audit.store.drop_maps()
    fresh = Audit(audit.folder)
    pairs = pairs_of(Approximate(fresh, load_white_box("x")), fresh.candidate(CUE))
    assert set(pairs.donors) == set(exact.donors)
    assert pairs.regions.shape[1:] == exact.regions.shape[1:]
    assert pairs.targets == exact.targets
    assert pairs.shifts.max() > 0
    confirm(fresh, [CUE], load_white_box("x"))
    assert of(fresh, CUE).lean > 0


def test_a_region_covers_the_centres_of_its_places() -> None:
    rng = np.random.default_rng(1)
    region = rng.random((7, 5)) < 0.4
    view = in_view(region, (7 * 9, 5 * 9))
    assert (view[4::9, 4::9] == region).all()
    assert abs(view.mean() - region.mean()) < 0.1


def test_intervals_are_those_of_both_ways() -> None:
    rng = np.random.default_rng(3)
    put, control = rng.random((2, 5, 20)) < np.array([0.7, 0.2])[:, None, None]
    found = Confirmed.of(put, control)
    cells = put.astype(float) - control
    rows, columns = (cells.mean(axis=axis).var(ddof=1) for axis in (1, 0))
    both = rows / 5 + columns / 20 - cells.var(ddof=1) / 100
    error = max(both, rows / 5, columns / 20, 1 / 21**2) ** 0.5
    half = t.ppf(0.975, 4) * error
    assert found.lean_low == pytest.approx(max(cells.mean() - half, -1))
    assert found.lean_high == pytest.approx(min(cells.mean() + half, 1))
    assert (found.donors, found.targets) == (5, 20)
    sure = Confirmed.of(np.ones((4, 9), bool), np.zeros((4, 9), bool))
    assert (sure.put_in, sure.high, sure.lean_high) == (1, 1, 1)
    assert sure.low < 1


def test_what_was_stopped_goes_on_and_ends_the_same(
    audit: Audit, planted: Audit, tmp_path: Path, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = confirm(unmeasured(planted, tmp_path / "whole"), [CUE, OTHER])
    ends = []

    def stop(progress: Progress) -> None:
        assert (progress.total, progress.done % 64) == (16 * few * 2, 0)
        if ends:
            raise KeyboardInterrupt
        ends.extend([progress] if progress.done == progress.total else [])

    with pytest.raises(KeyboardInterrupt):
        confirm(audit, [CUE, OTHER], report=stop)
    assert confirmed(audit)["kind"].tolist() == [NEURON]
    again = confirm(audit, [CUE, OTHER])
    assert again.equals(whole)
    monkeypatch.setattr(module, "Trial", refuse)
    assert confirm(audit, [OTHER, CUE]).equals(whole)


def test_images_that_are_gone_are_left_out_and_counted(
    audit: Audit, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = pairs_of(Trial(audit), audit.candidate(CUE))
    both = {*pairs.donors, *pairs.others}
    alone = next(i for i in pairs.donors if (pairs.donors + pairs.others).count(i) == 1)
    gone = {alone, *pairs.targets[:2]}
    path = Audit.path

    def moved(self: Audit, image_id: str) -> Path:
        return path(self, image_id).with_name("gone") if image_id in gone else path(self, image_id)

    monkeypatch.setattr(Audit, "path", moved)
    confirm(audit, [CUE])
    found = of(audit, CUE)
    assert (found.donors, found.targets, found.left_out) == (15, few - 2, 3)
    gone |= set(pairs.targets)
    other = unmeasured(audit, audit.folder.parents[2] / "other")
    with pytest.raises(InputError, match="no target can be read"):
        confirm(other, [CUE])
    gone |= both
    with pytest.raises(InputError, match="images of 0 of 16 donors can be read; 4 are needed"):
        confirm(other, [CUE])


def test_what_cannot_be_tried_is_said(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="part 99 of class 'leaf' does not exist"):
        confirm(audit, [CandidateKey("leaf", "part", 99)])
    monkeypatch.setattr(Audit, "load_model", refuse)
    monkeypatch.setattr(core.trials.latent, "FEWEST_DONORS", 17)
    words = "neuron 0 of class 'leaf' cannot be confirmed with pixels: 16 training images show it"
    with pytest.raises(InputError, match=words):
        confirm(audit, [CUE])
    audit.store.drop_maps()
    with pytest.raises(InputError, match="no maps are kept; run the same audit again"):
        confirm(Audit(audit.folder), [CUE])


def test_the_command_says_what_was_found(
    audit: Audit,
    few: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_WORKSPACE", str(workspace_of(audit).root))
    asked = ["confirm", audit.id, "--class", "leaf"]
    assert main([*asked, "--neuron", "0"]) == 0
    found = of(audit, CUE)
    said = capsys.readouterr().out
    assert said.startswith(f"neuron 0 of leaf in audit {audit.name}\n")
    assert f"pixels: {found.words}" in said
    assert main([*asked, "--candidate", "neuron-0", "--json"]) == 0
    document = capsys.readouterr().out
    assert '"put_in"' in document
    for wrong, words in (
        ([], "give one of --candidate KEY, --component N"),
        (["--neuron", "0", "--part", "1"], "give one of --candidate KEY, --component N"),
        (
            ["--neuron", "0", "--candidate", "neuron-0"],
            "give one of --candidate KEY, --component N",
        ),
        (["--candidate", "x"], "'x' names no candidate"),
    ):
        assert main([*asked, *wrong]) == 2
        assert words in capsys.readouterr().err
