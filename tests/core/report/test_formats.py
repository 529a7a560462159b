"""Labels for other tools, held against the published structure of their formats."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageOps

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON
from core.data.decode import read_image
from core.data.preprocess import crop_box
from core.errors import InputError
from core.report import boxes as regions
from core.report import formats
from core.report import material as evidence
from core.report.boxes import Labelled, Region
from core.tags.log import TagStore
from core.types import Tag
from tests.core.measures.test_table import GREEN, RED, workspace_of
from tests.core.report.conftest import copied

FACTS: dict[str, str | float | bool | None] = {
    **{"split": "test", "held_out": True, "prediction": "cat", "confidence": 0.5},
    **{"correct": True, "spuriosity": None, "rank": None},
}
HOSTILE = '<a & "b">\x01'


@pytest.fixture
def image() -> Labelled:
    """One image with a cue on its left half."""
    cue = Region("cat: component 1 (spurious)", "spurious", (0.0, 10.0, 50.0, 60.0))
    own = Region("cat", "object", (20.0, 20.0, 80.0, 60.0))
    return Labelled("00aa", "a/b.png", 100, 80, "cat", FACTS, (own, cue))


@pytest.fixture(scope="module")
def tagged(untagged: Audit, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    audit = copied(untagged, tmp_path_factory.mktemp("formats"))
    store = TagStore.open(workspace_of(audit))
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, RED), Tag.SPURIOUS)
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, GREEN), Tag.CORE)
    return audit


@pytest.fixture(scope="module")
def found(tagged: Audit) -> list[Labelled]:
    proof = evidence.gather(tagged, workspace_of(tagged), with_model=False)
    return regions.labelled(proof)


def test_every_image_of_the_tagged_class(tagged: Audit, found: list[Labelled]) -> None:
    leaves = tagged.images.query("label == 'leaf'")
    assert {i.image_id for i in found} == set(leaves.index)
    assert [i.facts["rank"] for i in found] == list(range(1, len(leaves) + 1))
    scores = [i.facts["spuriosity"] for i in found]
    assert scores == sorted(scores, reverse=True)


def test_the_box_of_a_cue_lies_on_the_patch(tagged: Audit, found: list[Labelled]) -> None:
    hits = []
    for image in found:
        mask = tagged.images.at[image.image_id, "cue_mask"]
        cues = [r for r in image.regions if r.kind == "spurious"]
        if mask and cues:
            own = regions.around(regions.read_mask(tagged.root / mask, (32, 32)))
            (cue,) = cues
            x = sum(cue.box[::2]) / 2
            y = sum(cue.box[1::2]) / 2
            hits.append(own[0] - 4 <= x <= own[2] + 4 and own[1] - 4 <= y <= own[3] + 4)
    assert len(hits) >= 10
    assert np.mean(hits) > 0.9


def test_boxes_come_back_in_pixels_of_the_source(tagged: Audit) -> None:
    image_id = str(tagged.images.index[0])
    heat = np.zeros((8, 8), np.float32)
    heat[0, 0] = 1.0
    tagged.images.loc[image_id, ["width", "height"]] = [64, 128]
    box = regions._source_box(tagged, image_id, heat)
    tagged.images.loc[image_id, ["width", "height"]] = [32, 32]
    x0, y0, *_ = crop_box(tagged.preprocess, 64, 128)
    assert box is not None
    assert box[:2] == (max(x0, 0), max(y0, 0))
    assert 64 / 8 <= box[2] - box[0] <= 64 / 4


def test_parts_and_boxes() -> None:
    mask = np.zeros((6, 8), bool)
    assert regions.around(mask) is None
    mask[0, 0] = mask[2:5, 3:7] = True
    assert regions.around(regions.largest_part(mask)) == (3, 2, 7, 5)


@pytest.mark.parametrize(
    ("path", "kept"), [("a/b.png", True), ("../b.png", False), ("/etc/b.png", False)]
)
def test_copies_stay_inside_their_folder(path: str, kept: bool) -> None:
    assert regions.inside("00aa", path) == (path if kept else "00aa.png")


def test_coco_has_the_published_structure(image: Labelled) -> None:
    document = json.loads(formats.coco("name", [image])["labels.json"])
    assert document.keys() == {"info", "licenses", "images", "categories", "annotations"}
    (shown,) = document["images"]
    assert (shown["id"], shown["file_name"], shown["width"], shown["height"]) == (
        *(1, "a/b.png"),
        *(100, 80),
    )
    names = {c["id"]: (c["name"], c["supercategory"]) for c in document["categories"]}
    assert names == {1: ("cat", "object"), 2: ("cat: component 1 (spurious)", "spurious")}
    assert [a["id"] for a in document["annotations"]] == [1, 2]
    cue = document["annotations"][1]
    assert cue["bbox"] == [0, 10, 50, 50]
    assert cue["area"] == 2500
    assert cue["image_id"] == shown["id"]
    assert names[cue["category_id"]][1] == "spurious"
    (polygon,) = cue["segmentation"]
    assert len(polygon) == 8
    assert cue["iscrowd"] == 0


def test_categories_stand_in_the_order_of_the_data_set(image: Labelled) -> None:
    objects = [Region(name, "object", (0.0, 0.0, 1.0, 1.0)) for name in ("ant", "zebra")]
    images = [replace(image, regions=(objects[n],), place=1 - n) for n in (0, 1)]
    assert formats.categories(images) == [("zebra", "object"), ("ant", "object")]


def test_cvat_has_the_published_structure(image: Labelled) -> None:
    root = ElementTree.fromstring(formats.cvat("name", [image])["annotations.xml"].encode())
    assert root.tag == "annotations"
    assert root.findtext("version") == "1.1"
    assert root.findtext("meta/task/size") == "1"
    known = {label.findtext("name"): label for label in root.iter("label")}
    assert set(known) == {"cat", "cat: component 1 (spurious)"}
    attributes = {a.findtext("name") for a in known["cat"].iter("attribute")}
    (shown,) = root.findall("image")
    assert shown.attrib == {"id": "0", "name": "a/b.png", "width": "100", "height": "80"}
    tag = shown.find("tag")
    assert tag.get("label") == "cat"
    assert {a.get("name") for a in tag} == attributes == set(formats.FACTS)
    assert {b.get("label") for b in shown.findall("box")} <= set(known)
    cue = shown.findall("box")[1]
    corners = [float(cue.get(k)) for k in ("xtl", "ytl", "xbr", "ybr")]
    assert corners == [0, 10, 50, 60]
    assert {"occluded", "source", "z_order"} <= set(cue.attrib)


def test_fiftyone_has_the_published_structure(image: Labelled) -> None:
    files = formats.fiftyone("name", [image])
    metadata = json.loads(files["metadata.json"])
    assert metadata["media_type"] == "image"
    (sample,) = json.loads(files["samples.json"])["samples"]
    assert sample["filepath"] == "data/a/b.png"
    assert sample["tags"] == ["spurious"]
    assert sample["ground_truth"]["_cls"] == "Classification"
    assert (sample["predictions"]["label"], sample["predictions"]["confidence"]) == ("cat", 0.5)
    own, cue = sample["regions"]["detections"]
    assert own["bounding_box"] == pytest.approx([0.2, 0.25, 0.6, 0.5])
    assert cue["bounding_box"] == pytest.approx([0, 0.125, 0.5, 0.625])
    ids = re.findall(r'"\$oid": "([0-9a-f]{24})"', files["samples.json"])
    assert len(set(ids)) == len(ids) == 5


@pytest.mark.parametrize("name", formats.FORMATS)
def test_hostile_names_stay_text(image: Labelled, name: str) -> None:
    region = replace(image.regions[0], name=HOSTILE)
    hostile = replace(image, path=f"{HOSTILE}.png", label=HOSTILE, regions=(region,))
    files = formats.FORMATS[name][1](HOSTILE, [hostile])
    for file, text in files.items():
        if file.endswith(".json"):
            assert json.loads(text)
            assert json.dumps(HOSTILE)[1:-1] in text
        else:
            root = ElementTree.fromstring(text.encode())
            assert root.find("image").get("name") == f"{HOSTILE[:-1]}\ufffd.png"


@pytest.mark.parametrize("name", formats.FORMATS)
def test_a_folder_with_images_and_labels(
    tagged: Audit, found: list[Labelled], tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "out"
    assert formats.export(tagged, found[:3], name, folder) == 3
    place, write = formats.FORMATS[name]
    for image in found[:3]:
        copy = folder / place / image.path
        assert copy.read_bytes() == tagged.path(image.image_id).read_bytes()
    for file, text in write(tagged.name, found[:3]).items():
        assert (folder / file).read_text() == text
    with pytest.raises(InputError, match="not empty; choose a new folder"):
        formats.export(tagged, found[:3], name, folder)


def test_a_box_lies_on_its_object_whoever_reads_the_copy(tmp_path: Path) -> None:
    """A white block in an image that EXIF turns by a quarter."""
    stored = Image.new("L", (60, 40))
    stored.paste(255, (10, 5, 20, 25))  # upright: a quarter to the right
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "in").mkdir()
    stored.save(tmp_path / "in" / "a.png", exif=exif)
    upright = np.asarray(read_image(tmp_path / "in" / "a.png").image)[..., 0] > 0
    own = regions.around(upright)
    assert own is not None
    image = Labelled("00aa", "a.png", 40, 60, "cat", FACTS, (Region("cat", "object", own),))

    class Source:
        """What an export asks of an audit."""

        name = "a"

        def path(self, image_id: str) -> Path:
            return tmp_path / "in" / "a.png"

    assert formats.export(Source(), [image], "coco", tmp_path / "out") == 1  # type: ignore[arg-type]
    (box,) = json.loads((tmp_path / "out" / "labels.json").read_text())["annotations"]
    x, y, w, h = map(int, box["bbox"])
    for turned in (lambda image: image, ImageOps.exif_transpose):
        with Image.open(tmp_path / "out" / "data" / "a.png") as copy:
            read = np.asarray(turned(copy))
        assert read.shape == (60, 40)
        assert read[y : y + h, x : x + w].min() == 255
        assert (read > 0).sum() == w * h == 200


def test_bad_requests_are_sentences(tagged: Audit, found: list[Labelled], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose coco, cvat, fiftyone"):
        formats.export(tagged, found, "yolo", tmp_path / "out")
    with pytest.raises(InputError, match="tag some first"):
        formats.export(tagged, [], "coco", tmp_path / "out")
    assert not (tmp_path / "out").exists()
