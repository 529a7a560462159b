"""Clusters of explanations of a class whose images are of two kinds, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from core.candidates.cluster_kind import (
    CLUSTER,
    CLUSTERS,
    HEATMAP,
    OF_PARTS,
    PSI,
    Space,
    spaces_of,
)
from core.candidates.cluster_search import Asked, find_clusters
from core.candidates.clusters import Centre, HeatmapCluster, PsiCluster, margin_maps, pooled_rows
from core.candidates.kinds import Found
from core.candidates.search import ClassFeatures, ClassImages, measured
from core.errors import InputError
from core.explain.heatmaps import half_maximum
from core.types import FloatArray

SIDE, D = 8, 6
WEIGHT = np.array([[2.0, 1.0, 0.1, -0.2, 0.1, 0.0], [-1.0, -0.5, 0.1, 1.0, 0.0, 0.1]])
PATCH, CORE = 0, 1
"""Channels: of a cue that some images show, and of what the class is about."""


def planted(
    rng: np.random.Generator, *, moves: bool = False, cue: float = 0.4, empty: int = 20
) -> tuple[ClassImages, np.ndarray]:
    """A class whose images show a core and, some of them, a cue; which do. Some show nothing."""
    n = 160
    shows = rng.random(n) < cue
    shows[-empty:] = False
    maps = np.zeros((n, D, SIDE, SIDE), np.float32)
    for i in range(n - empty):
        y, x = (4, 4) if not moves else rng.integers(0, 6, 2)
        maps[i, CORE, y : y + 3, x : x + 3] = rng.uniform(0, 1, (3, 3))
        if shows[i]:
            y, x = (0, 0) if not moves else rng.integers(0, 6, 2)
            maps[i, PATCH, y : y + 3, x : x + 3] = rng.uniform(0.3, 1, (3, 3))
    return images_of(maps), shows


def images_of(maps: FloatArray) -> ClassImages:
    n = len(maps)
    features = maps.mean(axis=(2, 3))
    train = np.arange(n) % 4 > 0
    right = np.arange(n) % 3 > 0
    given = ClassFeatures(features, WEIGHT[0], 0.0, train, ~train, right)
    ids = [f"{i:04d}" for i in range(n)]
    place = {name: i for i, name in enumerate(ids)}
    return ClassImages(
        *(given, ids, 0, WEIGHT, np.zeros(2), (0, 1), np.ones(n, bool)),
        lambda names: maps[[place[name] for name in names]],
        features[:, :2],
    )


def found_in(images: ClassImages, *spaces: str, **asked: int) -> tuple[Found, list[Space]]:
    nothing = Found.nothing(len(images.image_ids))
    found = find_clusters(images, nothing, Asked(spaces, **asked))
    return found, spaces_of(found)


def agreement(space: Space, truth: np.ndarray) -> float:
    there = space.labels >= 0
    return float(adjusted_rand_score(truth[there], space.labels[there]))


def test_planted_images_are_told_apart_and_empty_maps_set_aside(
    rng: np.random.Generator,
) -> None:
    images, shows = planted(rng)
    _, (space,) = found_in(images, HEATMAP, clusters=2)
    assert space.aside == 20
    assert space.known == 140
    assert agreement(space, shows) >= 0.95
    _, (by_gap,) = found_in(images, HEATMAP)
    assert len(by_gap.numbers) >= 2


def test_channels_find_them_where_positions_vary(rng: np.random.Generator) -> None:
    images, shows = planted(rng, moves=True)
    _, (places, channels) = found_in(images, HEATMAP, PSI, clusters=2)
    assert agreement(channels, shows) >= 0.95
    assert agreement(places, shows) < 0.5


def test_the_planted_class_stands_further_apart_than_a_clean_one(rng: np.random.Generator) -> None:
    _, cued = found_in(planted(rng)[0], HEATMAP, PSI)
    _, clean = found_in(planted(rng, cue=0.0)[0], HEATMAP, PSI)
    for with_cue, without in zip(cued, clean, strict=True):
        assert with_cue.apart.p < 0.01
        assert not without.apart.p < 0.05
        assert not without.apart.times > with_cue.apart.times


def stored(found: Found) -> object:
    """What a class gives to the kind."""

    class Stored:
        label, class_idx = "eel", 0
        pca = type("PCA", (), {"weight": WEIGHT[0]})

        def of_kind(self, name: str) -> Found:
            assert name == CLUSTER
            return found

        def found(self, name: str) -> int:
            return len(found.numbers)

    return Stored()


def test_clusters_are_read_as_they_were_found(rng: np.random.Generator) -> None:
    images, _ = planted(rng)
    found, spaces = found_in(images, HEATMAP, PSI, clusters=2)
    assert [space.numbers.tolist() for space in spaces] == [[0, 1], [2, 3]]
    maps = images.maps(np.arange(160))[0:160]
    for number, kind in enumerate((HeatmapCluster, HeatmapCluster, PsiCluster, PsiCluster)):
        one = CLUSTERS.candidate(stored(found), number)
        assert isinstance(one, kind)
        given = maps if one.needs == "maps" else images.given.features
        np.testing.assert_allclose(one.alpha(given), found.alpha[:, number], atol=1e-5)
        assert one.heatmap(maps).shape == (160, SIDE, SIDE)
    table = measured(images, CLUSTER, found)
    assert table["variance_share"].between(0, 1).all()
    with pytest.raises(InputError, match="clusters 0 to 3; find some: python -m core discover"):
        CLUSTERS.candidate(stored(found), 4)


def test_a_region_is_inside_the_places_of_the_mean_overlay(rng: np.random.Generator) -> None:
    images, shows = planted(rng)
    found, (space,) = found_in(images, HEATMAP, clusters=2)
    cued = int(np.bincount(space.labels[shows & (space.labels >= 0)]).argmax())
    one = CLUSTERS.candidate(stored(found), cued)
    assert one.places[:3, :3].all()
    heat = one.heatmap(images.maps(np.arange(160))[0:160])
    assert (heat[:, ~one.places] == 0).all()
    margin = margin_maps(images.maps(np.arange(160))[0:160], images.margin.weight)
    expected = margin * one.places * found.alpha[:, cued][:, None, None]
    np.testing.assert_allclose(heat, expected, atol=1e-5)


def test_the_region_of_a_cue_that_moves_is_where_it_is(rng: np.random.Generator) -> None:
    """Of channels it is that of what the cluster has more of than the class."""
    images, shows = planted(rng, moves=True)
    found, (space,) = found_in(images, PSI, clusters=2)
    cued = int(np.bincount(space.labels[shows]).argmax())
    mine = np.flatnonzero(shows & (space.labels == cued))
    maps = images.maps(mine)[0 : len(mine)]
    regions = [half_maximum(heat) for heat in CLUSTERS.candidate(stored(found), cued).heatmap(maps)]
    assert len(mine) > 30
    for region, given in zip(regions, maps, strict=True):
        assert region.any()
        assert (given[PATCH][region] > 0).all()


def test_slopes_are_those_of_small_changes(rng: np.random.Generator) -> None:
    images, _ = planted(rng)
    found, _ = found_in(images, HEATMAP, PSI, clusters=2)
    maps = images.maps(np.arange(3))[0:3].astype(np.float64) + 0.05
    for number in range(4):
        one = CLUSTERS.candidate(stored(found), number)
        given = maps if one.needs == "maps" else maps.mean(axis=(2, 3))
        slope = one.slope(given)
        for channel in range(D):
            step = np.zeros(D)
            step[channel] = 1e-4
            shift = step[:, None, None] if one.needs == "maps" else step
            change = (one.alpha(given + shift) - one.alpha(given - shift)) / 2e-4
            np.testing.assert_allclose(slope[:, channel], change, atol=2e-3)


def test_affinity_is_one_in_the_centre_and_half_a_spread_away() -> None:
    centre = Centre(np.array([0.5, 0.5]), 0.02)
    rows = np.array([[3.0, 3.0], [0.6, 0.4], [0, 0]])
    np.testing.assert_allclose(centre.affinity(rows), [1, 0.5, 0])
    assert Centre.of(np.ones((4, 2)) / 2).affinity(rows[:1]) == pytest.approx(1)
    assert pooled_rows(np.ones((2, 40, 40))).shape == (2, 400)


def test_a_class_that_cannot_be_told_apart_says_why(rng: np.random.Generator) -> None:
    same = images_of(np.ones((30, D, SIDE, SIDE), np.float32))
    found, (places, channels, parts) = found_in(same, HEATMAP, PSI, OF_PARTS)
    assert not len(found.numbers)
    assert "are the same" in places.note
    assert "are the same" in channels.note
    assert "nothing of this kind is known" in parts.note
    few = images_of(rng.random((9, D, SIDE, SIDE)).astype(np.float32))
    _, (space,) = found_in(few, HEATMAP)
    assert "6 training images have any positive evidence; 8 are needed" in space.note
    little = images_of(rng.random((12, D, SIDE, SIDE)).astype(np.float32))
    _, (space,) = found_in(little, HEATMAP, clusters=2, neighbours=50)
    assert len(space.numbers) == 2
    assert space.note.startswith("only 9 training images: all others are neighbours of each, not")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"spaces": ("maps",)}, "space 'maps': choose heatmap, psi, part"),
        ({"clusters": 1}, "--clusters 1: must be at least 2"),
        ({"neighbours": 0}, "--neighbours 0: must be at least 1"),
    ],
)
def test_what_cannot_be_asked_for(asked: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Asked(**asked)
