"""Saliency by the boundary prior: planted squares and stripes, and where it has nothing to find."""

import numpy as np
import pytest

from core.corrections.saliency import FRAME, frame_saliency
from core.errors import InputError

COLOURS = np.array([(200, 60, 60), (60, 90, 200), (60, 180, 80)])


@pytest.fixture
def planted(rng):
    """Squares of a class's colour, the other way round in the other class, and their masks."""
    labels = np.arange(60) % 2
    masks = np.zeros((60, 32, 32), bool)
    for mask, (top, left) in zip(masks, rng.integers(6, 16, (60, 2)), strict=True):
        mask[top : top + 9, left : left + 9] = True
    pixels = np.where(
        masks[..., None], COLOURS[labels][:, None, None], COLOURS[1 - labels][:, None, None]
    )
    return _noisy(pixels, rng), labels, masks


def _noisy(pixels, rng):
    return (pixels + rng.integers(-8, 9, pixels.shape)).astype(np.uint8)


def _overlap(saliency, masks):
    found = saliency > 0.5
    return (found & masks).sum() / (found | masks).sum()


def test_planted_objects_stand_out_whatever_their_class_looks_like(planted):
    pixels, labels, masks = planted
    assert _overlap(frame_saliency(pixels, labels), masks) > 0.95


def test_an_object_of_two_colours_is_found_whole(planted, rng):
    """Clustering by colour would keep its brighter half."""
    _, labels, masks = planted
    pixels = np.where(masks[..., None], COLOURS[1], COLOURS[0])
    pixels[:, ::2] = np.where(masks[:, ::2, :, None], COLOURS[2], COLOURS[0])
    assert _overlap(frame_saliency(_noisy(pixels, rng), labels), masks) > 0.9


def test_a_class_is_judged_by_itself(planted):
    pixels, labels, _ = planted
    alone = frame_saliency(pixels[labels == 1], labels[labels == 1])
    assert np.array_equal(frame_saliency(pixels, labels)[labels == 1], alone)


def test_saliency_is_a_probability_and_zero_at_the_frame(planted):
    found = frame_saliency(*planted[:2])
    assert found.shape == (60, 32, 32)
    assert 0 <= found.min() <= found.max() <= 1
    assert not found[:, :FRAME].any()
    assert not found[:, :, -FRAME:].any()


def test_nothing_stands_out_where_there_is_background_alone(rng):
    pixels = _noisy(np.broadcast_to(COLOURS[0], (40, 32, 32, 3)), rng)
    assert frame_saliency(pixels, np.zeros(40, int)).mean() < 0.05


def test_images_that_are_all_frame_are_refused():
    with pytest.raises(InputError, match="6 x 6: saliency needs more than 6 pixels a side"):
        frame_saliency(np.zeros((3, 6, 6, 3), np.uint8), np.zeros(3, int))
