"""Corruptions: what they do to pictures, a job that goes on, and a gap that grows where planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import core.trials.corrupted
from core.audits.audit import Audit
from core.data.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from core.errors import InputError, UnreadableImageError
from core.measures.corruption_figures import CORRUPTED
from core.measures.measure_requests import MeasureRequest
from core.measures.registry import subject_in_words
from core.measures.unseen import cooled, said
from core.report.document import compose, render
from core.report.material import gather
from core.tags.decisions import Decisions, decided
from core.tags.log import TagStore
from core.trials.corrupted import corrupted, drawn, expected_minutes, path_of
from core.types import Progress
from tests.core.conftest import unmeasured, workspace_of

REQUEST = MeasureRequest("", "corruptions")


@pytest.mark.parametrize("kind", CORRUPTIONS.values(), ids=list(CORRUPTIONS))
def test_severities_are_seeded_and_grow(kind: Corruption, rng: np.random.Generator) -> None:
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(rng.normal(0, 1, (48, 64, 3)), (3, 3, 0)) * 600 + 128
    pixels = np.clip(smooth + rng.normal(0, 9, smooth.shape), 0, 255).astype(np.uint8)
    kept = pixels.copy()
    made = [kind.of(pixels, severity, "a") for severity in SEVERITIES]
    away = [float(np.abs(each.astype(float) - pixels).mean()) for each in made]
    assert all(each.shape == pixels.shape and each.dtype == np.uint8 for each in made)
    assert 0.3 < away[0] < away[-1]
    grows = away if kind.name != "saturation" else away[:3]  # less colour, then more
    assert grows == sorted(grows)
    np.testing.assert_array_equal(kind.of(pixels, 3, "a"), made[2])
    np.testing.assert_array_equal(kind.of(pixels, 0, "a"), pixels)
    np.testing.assert_array_equal(pixels, kept)
    random = {"gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "fog"}
    assert (kind.of(pixels, 3, "b") != made[2]).any() == (kind.name in random)


def test_blurs_keep_a_plain_image(rng: np.random.Generator) -> None:
    plain = np.full((40, 40, 3), 90, np.uint8)
    for name in ("gaussian_blur", "defocus", "motion_blur", "contrast", "pixelate", "saturation"):
        for severity in SEVERITIES:
            found = CORRUPTIONS[name].of(plain, severity, "a").astype(int)
            assert np.abs(found - 90).max() <= 1, name


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two kinds only: the encoder of the tests is quick, the test is not about twelve."""
    some = {name: CORRUPTIONS[name] for name in ("gaussian_noise", "contrast")}
    monkeypatch.setattr("core.trials.corrupted.CORRUPTIONS", some)


@pytest.fixture
def audit(planted: Audit, tmp_path: Path, few: None) -> Audit:
    return unmeasured(planted, tmp_path / "workspace")


def tags(audit: Audit) -> Decisions:
    return decided(audit, TagStore.open(workspace_of(audit)))


def value(table: pd.DataFrame, measure: str, subject: str) -> pd.Series:
    (row,) = table.index[(table["measure"] == measure) & (table["subject"] == subject)]
    return table.loc[row]


def test_figures_are_those_of_a_slow_replica(audit: Audit) -> None:
    decisions, said = tags(audit), list[Progress]()
    assert expected_minutes(audit, decisions) > 0
    table = CORRUPTED.table(audit, decisions, REQUEST, said.append)
    assert {p.stage for p in said} >= {"Corrupting: contrast", "Corrupting: Gaussian noise"}
    assert expected_minutes(audit, decisions) == 0
    held = audit.images[audit.held_out]
    clean = value(table, "accuracy", "no corruption")
    assert clean["value"] == pytest.approx(held["correct"].mean())
    model, kind = audit.load_model(), CORRUPTIONS["contrast"]
    import torch

    ids = held.index.tolist()
    pixels = [kind.of(np.asarray(audit.image(i)), 3, i) for i in ids]
    features = model.encode(torch.from_numpy(np.stack(pixels))).features.numpy()
    right = audit.head.logits(features).argmax(axis=1) == [
        audit.head.index(label) for label in held["label"]
    ]
    assert value(table, "accuracy", "contrast 3")["value"] == pytest.approx(right.mean())
    _check_temperature(audit, table, audit.head.logits(features), ids)
    kinds = [
        value(table, "accuracy", f"{name} 3")["value"] for name in ("gaussian_noise", "contrast")
    ]
    assert value(table, "accuracy", "every kind 3")["value"] == pytest.approx(np.mean(kinds))
    assert {"nll", "brier", "overconfidence", "calibration_error"} <= set(
        table.loc[table["subject"] == "contrast 3", "measure"]
    )
    gaps = [
        value(table, "corrupted_gap", f"{n} 5")["value"] for n in ("gaussian_noise", "contrast")
    ]
    every = value(table, "corrupted_gap", "every kind 5")["value"]
    assert every == pytest.approx(np.mean(gaps))
    before = value(table, "corrupted_gap", "no corruption")["value"]
    change = value(table, "corrupted_gap_change", "every kind 5")
    assert change["value"] == pytest.approx(every - before)
    assert "corrected for 5 severities" in change["note"]
    assert (table["subject"] == "every kind 1, cue most tenth").any()
    assert (table["subject"] == "every kind 0, patch=True").sum() == 0
    found = render(compose([gather(audit, workspace_of(audit), with_model=False)]))
    assert "at the highest severity" in found
    assert "at the temperature of images as they were" in found


def _check_temperature(
    audit: Audit, table: pd.DataFrame, logits: np.ndarray, ids: list[str]
) -> None:
    """One temperature, fitted on images as they were, on corrupted ones."""
    import torch

    found = cooled(audit, said(audit))
    assert found is not None
    (row,) = table[table["measure"] == "temperature"].to_dict("records")
    assert (row["value"], row["split"]) == (found.value, found.on)
    heat = dict(zip(said(audit).ids, found.of_images, strict=True))
    at = torch.from_numpy(logits / np.array([heat[i] for i in ids])[:, None])
    truth = torch.tensor([audit.head.index(label) for label in audit.images.loc[ids, "label"]])
    nll = float(torch.nn.functional.cross_entropy(at, truth))
    name = "contrast 3, at the temperature"
    assert value(table, "nll", name)["value"] == pytest.approx(nll)
    sure = float(at.softmax(dim=1).max(dim=1).values.mean())
    assert value(table, "confidence", name)["value"] == pytest.approx(sure)
    every = [
        value(table, "nll", f"{n} 3, at the temperature")["value"]
        for n in ("gaussian_noise", "contrast")
    ]
    assert value(table, "nll", "every kind 3, at the temperature")["value"] == pytest.approx(
        np.mean(every)
    )
    assert not (
        (table["measure"] == "accuracy") & table["subject"].str.endswith("temperature")
    ).any()


def test_what_was_corrupted_is_not_again(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = drawn(audit, tags(audit))[0]
    first = corrupted(audit, ids[:30], {})
    kept = path_of(audit, CORRUPTIONS["contrast"]).read_bytes()
    made = list[int]()
    real = core.trials.corrupted._made
    monkeypatch.setattr(
        core.trials.corrupted, "_made", lambda *a: made.append(len(a[2])) or real(*a)
    )
    corrupted(audit, ids[:30], {})
    assert made == []
    assert path_of(audit, CORRUPTIONS["contrast"]).read_bytes() == kept
    more = corrupted(audit, ids[:40], {})
    assert made == [10, 10]
    same = more["contrast"][more["contrast"]["image_id"].isin(ids[:30])]
    pd.testing.assert_frame_equal(
        same.reset_index(drop=True), first["contrast"].reset_index(drop=True)
    )


def test_what_was_stopped_goes_on_with_the_kind_that_is_missing(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = core.trials.corrupted._made, list[str]()

    def stopped(audit: Audit, kind: Corruption, *rest: Any) -> pd.DataFrame:
        if made:
            raise KeyboardInterrupt
        made.append(kind.name)
        return real(audit, kind, *rest)

    monkeypatch.setattr(core.trials.corrupted, "_made", stopped)
    with pytest.raises(KeyboardInterrupt):
        CORRUPTED.table(audit, tags(audit), REQUEST)
    assert made == ["gaussian_noise"]
    monkeypatch.setattr(
        core.trials.corrupted, "_made", lambda *a: made.append(a[1].name) or real(*a)
    )
    CORRUPTED.table(audit, tags(audit), REQUEST)
    assert made == ["gaussian_noise", "contrast"]
    CORRUPTED.table(audit, tags(audit), REQUEST)
    assert len(made) == 2


def test_rows_name_a_kind_as_the_legend_does() -> None:
    assert subject_in_words("gaussian_noise 1") == "Gaussian noise 1"
    assert subject_in_words("jpeg 3, at the temperature") == "JPEG 3, at the temperature"
    assert subject_in_words("every kind 5, cue most tenth") == "every kind 5, cue most tenth"
    assert subject_in_words("max_logit: after") == "highest logit (MaxLogit): after"
    assert subject_in_words("snow: left") == "snow: left"
    assert subject_in_words("spurious_gap, no corruption") == "spurious gap, no corruption"


def test_an_image_that_is_gone_ends_nothing(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.trials.encoder import Seen

    ids = drawn(audit, tags(audit))[0][:6]
    real = Seen.picture

    def picture(self: Seen, image_id: str) -> np.ndarray:
        if image_id == ids[2]:
            raise UnreadableImageError("gone")
        return real(self, image_id)

    monkeypatch.setattr(Seen, "picture", picture)
    found = corrupted(audit, ids, {ids[0]: 2.0})
    assert sorted(set(found["contrast"]["image_id"])) == sorted({*ids} - {ids[2]})
    cold = found["contrast"].set_index("image_id")["cooled_confidence"].notna()
    assert cold.groupby(level=0).all()[ids[0]]
    assert cold.sum() == 5  # the others have no temperature
    gone = {"fog": found["contrast"][:0]}
    monkeypatch.setattr("core.measures.corruption_figures.corrupted", lambda *_: gone)
    with pytest.raises(InputError, match="can be read any more: put them back to"):
        CORRUPTED.table(audit, tags(audit), REQUEST)


def test_the_sample_has_room_for_tagged_classes(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.trials.corrupted.IMAGES", 60)
    part, further = drawn(audit, tags(audit))
    assert (len(part), len(further)) == (30, 30)
    assert not {*part} & {*further}
    assert set(audit.images.loc[further, "label"]) == {"leaf"}
    assert drawn(audit, tags(audit)) == (part, further)
