"""Concepts of an image: what adds up, and which images stand for a concept."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.__main__ import main
from core.audits.audit import Audit
from core.audits.explained import Asked, explain
from core.audits.image_concepts import concepts, kinds_of, references
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON, PCA
from core.candidates.part_kind import PART, Part
from core.errors import InputError
from core.explain.crp import relmax
from core.explain.heatmaps import area_words
from core.explain.lrp import relevance
from core.explain.overlays import atlas_png
from core.models.model import Model
from tests.tiny import load_tiny


@pytest.fixture
def image_id(tiny_audit: Audit) -> str:
    return str(tiny_audit.images.index[3])


@pytest.fixture
def model(tiny_audit: Audit) -> Model:
    return load_tiny().use_head(tiny_audit.head)


def test_channels_are_the_logit_and_their_maps_average_to_them(
    tiny_audit: Audit, image_id: str
) -> None:
    found = concepts(tiny_audit, 0, image_id, NEURON, 12)
    logit = tiny_audit.head.logits(tiny_audit.features([image_id]))[0, 0]
    assert sum(c.relevance for c in found) == pytest.approx(
        logit - tiny_audit.head.bias[0], abs=1e-4
    )
    assert sum(abs(c.share) for c in found) == pytest.approx(1)
    sizes = [abs(c.relevance) for c in found]
    assert sizes == sorted(sizes, reverse=True)
    for concept in found:
        assert concept.heatmap.mean() == pytest.approx(concept.relevance, abs=1e-4)


def test_shares_of_components_and_parts_count_what_they_leave(
    tiny_audit: Audit, image_id: str
) -> None:
    assert kinds_of(tiny_audit, 0)[:2] == [NEURON, PCA]
    for kind in (PCA, PART):
        found = concepts(tiny_audit, 0, image_id, kind, 99)
        assert 0 < sum(abs(c.share) for c in found) <= 1 + 1e-6
        for concept in found:
            alpha = tiny_audit.alpha(tiny_audit.candidate(concept.key), [image_id])[0]
            assert concept.relevance == pytest.approx(alpha, abs=1e-5)
    with pytest.raises(InputError, match="there is no kind"):
        concepts(tiny_audit, 0, image_id, "nothing", 3)


def test_parts_with_their_rest_hand_down_what_the_margin_does(
    tiny_audit: Audit, image_id: str, model: Model
) -> None:
    import torch

    from core.data.preprocess import apply

    parts = tiny_audit.class_arrays(0).candidates(PART)
    asked = Asked.of("crp", tiny_audit.classes[0].label, parts[0].key)
    ((_, first),) = explain(tiny_audit, asked, [image_id], model)
    assert not isinstance(first, Exception)
    pixels = apply(tiny_audit.preprocess, tiny_audit.image(image_id))
    image = model.normalise(torch.from_numpy(pixels)[None])
    maps = tiny_audit.maps([image_id])
    assert isinstance(parts[0], Part)
    shared = parts[0].parts
    weight = shared.weight[:, None, None] * np.ones((1, *maps.shape[2:]))
    whole = relevance(model, image, weight).pixels
    shares = shared.shares(maps)[0]
    pieces = [relevance(model, image, weight * share).pixels for share in shares]
    assert sum(pieces) == pytest.approx(whole, abs=1e-5 * float(np.abs(whole).max()))
    assert first.arrays["map"] == pytest.approx(pieces[0], abs=1e-6)
    assert first.facts["number"] == pytest.approx(
        tiny_audit.alpha(parts[0], [image_id])[0], abs=1e-4
    )


def test_channels_of_a_class_by_the_command(tiny_audit: Audit, image_id: str, model: Model) -> None:
    label = tiny_audit.classes[0].label
    asked = Asked.of("crp", label, given={"count": "12"})
    ((_, said),) = explain(tiny_audit, asked, [image_id], model)
    assert not isinstance(said, Exception)
    arrays = said.arrays
    assert sorted(arrays["channels"]) == list(range(12))
    assert arrays["pixels"].sum(axis=0) == pytest.approx(arrays["map"], abs=1e-4)
    assert arrays["maps"].mean(axis=(1, 2)) == pytest.approx(arrays["relevance"], abs=1e-4)
    assert np.abs(arrays["shares"]).sum() == pytest.approx(1)
    drawn = asked.explainer.pictures(said, np.zeros((32, 32, 3), np.uint8))
    assert set(drawn) == {"map", "atlas", *(f"channel-{c}" for c in arrays["channels"])}
    rows = said.facts["concepts"]
    assert isinstance(rows, list)
    assert [row["channel"] for row in rows] == arrays["channels"].tolist()
    assert [row["share"] for row in rows] == pytest.approx(arrays["shares"])
    assert all(row["where"] for row in rows)
    ((_, beyond),) = explain(
        tiny_audit, Asked.of("crp", label, given={"channel": "99"}), [image_id], model
    )
    assert "have 12 channels" in str(beyond)


def test_reference_images_equal_a_full_sort(rng: np.random.Generator) -> None:
    given, among = rng.normal(size=50), rng.random(50) < 0.6
    best = relmax(given, among=among, count=7)
    slow = sorted((i for i in range(50) if among[i] and given[i] > 0), key=lambda i: -given[i])
    assert best.tolist() == slow[:7]
    size = rng.uniform(1, 9, 50)
    shares = sorted(slow, key=lambda i: -given[i] / size[i])
    assert relmax(given, size, among=among, count=7).tolist() == shares[:7]
    assert not len(relmax(-np.abs(given), among=among, count=7))


def test_reference_images_are_given_the_class_by_relevance_alone(tiny_audit: Audit) -> None:
    weight = tiny_audit.head.weight[0]
    channel = int(weight.argmax())
    key = CandidateKey(tiny_audit.classes[0].label, NEURON, channel)
    found = references(tiny_audit, key, 5)
    ids = tiny_audit.images.index.tolist()
    assert found.looked_at == len(ids)
    features = tiny_audit.features(ids)
    order = np.argsort(-features[:, channel], kind="stable")[:5]
    assert list(found.by_activation) == [ids[i] for i in order]
    given = tiny_audit.head.logits(features).argmax(axis=1)
    for image_id, share in zip(found.by_relevance, found.shares, strict=True):
        row = ids.index(image_id)
        assert given[row] == 0
        sizes = np.abs(features[row] * weight)
        assert share == pytest.approx(sizes[channel] / sizes.sum(), rel=1e-5)
    part = references(tiny_audit, CandidateKey(key.label, PART, 0), 3)
    assert len(part.by_activation) == 3


def test_an_atlas_has_the_colour_of_what_adds_most() -> None:
    maps = np.zeros((2, 2, 2), np.float32)
    maps[0, :, 0], maps[1, :, 1] = 4.0, 1.0
    maps[:, 1] = -1.0
    drawn = np.asarray(Image.open(io.BytesIO(atlas_png(maps, ["#ff0000", "#0000ff"], size=8))))
    assert drawn[0, 0].tolist() == [255, 0, 0, 255]
    assert drawn[0, -1].tolist() == [0, 0, 255, 128]
    assert (drawn[-1, :, 3] == 0).all()


@pytest.mark.parametrize(
    ("place", "words"), [((0, 0), "upper left"), ((3, 3), "lower right"), ((1, 0), "left")]
)
def test_where_a_map_is_in_words(place: tuple[int, int], words: str) -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[place] = 1
    assert area_words(heat).endswith(f"%, {words}")
    assert area_words(np.zeros((3, 3))) == "nowhere"
    assert area_words(np.ones((3, 3))) == "100 %, middle"


def test_the_command_lists_and_exports_reference_images(
    tiny_audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = tiny_audit.classes[0]
    ask = ["discover", tiny_audit.id, "--method", "relmax", "--class", facts.name, "--kind", "pca"]
    root = str(tiny_audit.folder.parents[1])
    out = tmp_path / "out"
    more = ["--count", "2", "--out", str(out), "--json", "--workspace", root]
    assert main([*ask, *more]) == 0
    found = json.loads(capsys.readouterr().out)["references"]
    assert [one["key"] for one in found] == [f"{facts.label}/pca-0", f"{facts.label}/pca-1"]
    for one in found:
        seen = references(tiny_audit, CandidateKey.parse(one["key"]), 8)
        assert one["by_relevance"] == list(seen.by_relevance)
        assert one["by_activation"] == list(seen.by_activation)
        start = f"relmax-{facts.class_idx}-{CandidateKey.parse(one['key']).short}"
        assert np.load(out / f"{start}.npz")["by_activation"].tolist() == one["by_activation"]
        with Image.open(out / f"{start}-by_activation.png") as strip:
            first = tiny_audit.pixels(one["by_activation"][0])
            assert strip.size == (len(one["by_activation"]) * first.shape[1], first.shape[0])
            assert (np.asarray(strip)[:, : first.shape[1], :3] == first).all()
