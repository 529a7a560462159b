"""A spotlight's pixels: nothing over what is marked, the rest dimmed by a stated factor."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from core.audits.audit import Audit
from core.candidates.linear_kinds import PCA
from core.explain.heatmaps import half_maximum, marked, union, unit_maps
from core.explain.overlays import DIMMED, SOFT, heat_png, spotlight_png
from core.trials.encoder import region

SIZE = 96
HEAT = np.zeros((4, 4), np.float32)
HEAT[1, 2], HEAT[3, 0] = 4.0, -9.0


def over(photo: np.ndarray, layer: bytes) -> np.ndarray:
    """What a browser shows: a photo (h, w, 3) uint8 with a transparent picture on top."""
    base = Image.fromarray(photo).convert("RGBA")
    drawn = Image.alpha_composite(base, Image.open(io.BytesIO(layer)))
    return np.asarray(drawn.convert("RGB"))


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def test_inside_is_untouched_and_far_outside_keeps_the_stated_share(photo: np.ndarray) -> None:
    inside = marked(HEAT, (SIZE, SIZE))
    seen = over(photo, spotlight_png(HEAT, size=SIZE))
    assert 0 < inside.mean() < 0.25
    np.testing.assert_array_equal(seen[inside], photo[inside])
    rows, columns = np.nonzero(inside)
    y, x = np.mgrid[:SIZE, :SIZE]
    apart = np.full((SIZE, SIZE), np.inf)
    for row, column in zip(rows, columns, strict=True):  # slowly
        apart = np.minimum(apart, np.hypot(y - row, x - column))
    far = apart >= SOFT * SIZE
    assert far.mean() > 0.5
    assert np.abs(seen[far] - DIMMED * photo[far]).max() <= 1.5  # rounding, twice
    edge = ~inside & ~far
    assert (seen[edge] <= photo[edge]).all()
    assert (seen[edge] >= np.floor(DIMMED * photo[edge]) - 1).all()


def test_what_lowers_the_logit_can_be_lit_instead(photo: np.ndarray) -> None:
    seen = over(photo, spotlight_png(HEAT, size=SIZE, parts="negative"))
    lit = marked(-HEAT, (SIZE, SIZE))
    assert lit[-1, 0]
    assert not lit[36, 60]
    np.testing.assert_array_equal(seen[lit], photo[lit])
    both, positive = (spotlight_png(HEAT, size=SIZE, parts=p) for p in ("both", "positive"))
    assert both == positive


@pytest.mark.parametrize("heat", [np.zeros((3, 3)), -np.ones((3, 3))], ids=["zero", "lowers"])
def test_where_nothing_is_marked_all_is_dimmed(heat: np.ndarray, photo: np.ndarray) -> None:
    seen = over(photo, spotlight_png(heat, size=SIZE))
    assert np.abs(seen - DIMMED * photo).max() <= 1.5


def test_the_line_in_colours_goes_around_what_is_lit() -> None:
    drawn = np.asarray(Image.open(io.BytesIO(heat_png(HEAT, 4.0, size=SIZE))))
    line = (drawn == 255).all(axis=2)
    inside = marked(HEAT, (SIZE, SIZE))
    assert line.any()
    assert inside[line].all()
    assert line[inside].mean() < 0.5


def test_what_is_lit_is_what_trials_cut_out(tiny_audit: Audit) -> None:
    arrays = tiny_audit.class_arrays(0)
    candidate = arrays.candidate(PCA, 0)
    ids = arrays.image_ids[:6]
    cut = region(tiny_audit, [candidate], ids, tiny_audit.load_model())
    heats = tiny_audit.heatmaps(candidate, ids)
    for heat, unit in zip(heats, cut, strict=True):
        lit = marked(heat, tiny_audit.preprocess.input_size)
        assert (lit != half_maximum(unit)).mean() < 0.002  # maps are scaled before, and rounded


def test_unit_maps(rng: np.random.Generator) -> None:
    maps = rng.normal(size=(3, 4, 5))
    maps[1] = 0
    found = unit_maps(np.concatenate([maps, -np.abs(maps[:1])]))
    assert found[0].max() == 1
    assert found[0] == pytest.approx(np.maximum(maps[0], 0) / maps[0].max(), abs=1e-6)
    assert (found[1] == 0).all()
    assert (found[3] == 0).all()
    assert found.min() == 0
    assert unit_maps(np.zeros((0, 4, 5))).shape == (0, 4, 5)
    assert unit_maps(5 * maps) == pytest.approx(found[:3], abs=1e-6)


def test_a_union_takes_every_cue_by_its_own_maximum() -> None:
    large, small = np.zeros((4, 4)), np.zeros((4, 4))
    large[0, 0], small[3, 3] = 10, 1
    lit = half_maximum(union(np.stack([large, small]), (4, 4)))
    assert lit.tolist() == (large + small > 0).tolist()
    assert half_maximum(large + small)[3, 3] == 0  # the sum forgets the small one
    assert half_maximum(union(np.stack([large]), (8, 8))).tolist() == marked(large, (8, 8)).tolist()
