"""Shape alone and texture alone: what a view keeps, and a planted colour is in the texture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.audits.audit import Audit
from core.errors import InputError
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.trials import priors
from core.trials.priors import (
    COLUMNS,
    HELD,
    TILES,
    conflicts,
    edges,
    labels_looked_at,
    priors_of,
    shuffled,
)
from tests.core.conftest import unmeasured, workspace_of


def test_edges_have_no_colour_and_stand_where_the_brightness_changes(
    rng: np.random.Generator,
) -> None:
    pixels = np.full((40, 40, 3), 50, np.uint8)
    pixels[:, 20:] = 200
    found = edges(pixels)
    assert found.dtype == np.uint8
    assert (found[..., 0] == found[..., 1]).all()
    assert found[:, 19:21].min() == 255
    assert found[:, :15].max() == found[:, 25:].max() == 0
    swapped = np.stack([pixels[..., 1], pixels[..., 2], pixels[..., 0]], axis=2)
    assert (edges(swapped) == found).all()
    assert not edges(np.full((40, 40, 3), 7, np.uint8)).any()
    noise = rng.integers(0, 256, (30, 41, 3), dtype=np.uint8)
    assert edges(noise).shape == noise.shape


def test_shuffled_patches_are_those_of_the_image(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (46, 44, 3), dtype=np.uint8)
    found = shuffled(pixels, "a")
    assert (found == shuffled(pixels, "a")).all()
    assert (found != shuffled(pixels, "b")).any()
    assert (found[42:] == pixels[42:]).all()
    assert (found[:, 42:] == pixels[:, 42:]).all()

    def patches(image: np.ndarray) -> list[bytes]:
        cut = image[:42, :42].reshape(TILES, 6, TILES, 6, 3).swapaxes(1, 2)
        return sorted(part.tobytes() for row in cut for part in row)

    assert patches(found) == patches(pixels)
    assert (found[:42, :42] != pixels[:42, :42]).any()


def test_a_planted_colour_is_in_the_texture(
    planted: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = unmeasured(planted, tmp_path / "afresh")
    decisions = decided(audit, TagStore.open(workspace_of(audit)))
    kept = priors_of(labels_looked_at(audit, decisions))
    assert kept.known(audit) is None
    found = kept(audit)
    assert len(found) == 3 * HELD
    assert not set(found["image_id"]) - set(audit.images.index[audit.held_out])
    right = {name: (found[name] == found["label"]).mean() for name in COLUMNS[2:8]}
    assert right["texture_head"] > 0.75
    assert right["texture"] > 0.75
    assert right["shape_head"] < 0.45
    queue = conflicts(found)
    assert (queue["shape_head"] != queue["texture_head"]).all()
    assert queue[["shape_sure", "texture_sure"]].min(axis=1).is_monotonic_decreasing
    assert len(queue) + (found["shape_head"] == found["texture_head"]).sum() == len(found)
    assert len(conflicts(found[:0])) == 0
    monkeypatch.setattr(priors, "_compute", lambda *_, **__: pytest.fail("it is stored"))
    assert priors_of(labels_looked_at(audit, decisions))(audit).equals(found)
    assert priors_of(["leaf", "sky"]).known(audit) is None


def test_one_class_has_no_priors_to_tell_apart(planted: Audit) -> None:
    with pytest.raises(InputError, match="1 class with training and held-out images"):
        priors_of(["leaf"]).compute(planted, lambda _: None)
