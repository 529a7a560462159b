"""Pictures behind addresses, and the figures among them."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.audits.explained import Asked, explain
from core.candidates.linear_kinds import NEURON, PCA
from core.models.load import load_model
from core.ui.frame import opened, pictures
from core.ui.kit import figures

Address = tuple[str, str, dict[str, str]]


def asked(url: str) -> Address:
    """What the route hands to render for an address."""
    parts = urlsplit(url)
    _, _, kind, name = parts.path.split("/", 3)
    return kind, name, dict(parse_qsl(parts.query))


@pytest.fixture
def held(audit: Audit) -> Audit:
    """The audit as pages and routes share it."""
    return opened.open_audit(audit.id)


@pytest.fixture
def addresses(held: Audit) -> dict[str, Address]:
    candidate = opened.class_arrays(held, 0).candidate(PCA, 0)
    neuron = opened.class_arrays(held, 0).candidate(NEURON, 3)
    logit = pictures.logit_of(held, 0)
    image_id = str(held.images.index[0])
    outline = pictures.outline_url(held, image_id)
    assert outline is not None
    model = load_model("tiny:page-0").use_head(held.head)
    for key in (None, candidate.key):
        list(explain(held, Asked.of("grad_cam", held.head.outputs[0], key), [image_id], model))
    urls = {
        "photo": pictures.photo_url(held, image_id),
        "heat": pictures.heat_url(held, candidate, image_id, scale=0.5),
        "neuron": pictures.heat_url(held, neuron, image_id, scale=0.5, parts="negative"),
        "logit": pictures.heat_url(held, logit, image_id, scale=0.5, contour=False),
        "spotlight": pictures.spotlight_url(held, candidate, image_id),
        "spot_cam": pictures.spotlight_url(held, logit, image_id, method="grad_cam"),
        "outline": outline,
        "histogram": pictures.histogram_url(held, candidate),
        "grad_cam": pictures.attribution_url(held, candidate, image_id, "grad_cam"),
    }
    return {name: asked(url) for name, url in urls.items()}


DRAWN = ["heat", "neuron", "logit", "spotlight", "spot_cam", "outline", "grad_cam", "photo"]


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_are_pictures(addresses: dict[str, Address], name: str) -> None:
    drawn = pictures.render(*addresses[name])
    assert drawn is not None
    content, content_type = drawn
    image = Image.open(io.BytesIO(content))
    image.load()
    assert image.width == image.height
    photo = name == "photo"
    assert (image.mode, content_type) == (("RGB", "image/jpeg") if photo else ("RGBA", "image/png"))


def test_maps_that_nobody_made_are_not_made_behind_an_address(
    addresses: dict[str, Address],
) -> None:
    kind, name, params = addresses["grad_cam"]
    assert pictures.render(kind, name.replace("/grad_cam/", "/occlusion/"), params) is None


def test_histogram_is_an_svg(addresses: dict[str, Address]) -> None:
    drawn = pictures.render(*addresses["histogram"])
    assert drawn is not None
    assert drawn[1] == "image/svg+xml"
    assert ElementTree.fromstring(drawn[0]).tag.endswith("svg")


def test_a_picture_is_drawn_once(
    addresses: dict[str, Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    draw = pictures._DRAW["heat"]
    monkeypatch.setitem(pictures._DRAW, "heat", lambda *args: calls.append(args) or draw(*args))
    first = pictures.render(*addresses["heat"])
    assert pictures.render(*addresses["heat"]) == first
    assert len(calls) == 1
    kind, name, params = addresses["heat"]
    pictures.render(kind, name, {**params, "scale": "0.25"})
    assert len(calls) == 2


def test_the_map_of_the_logit_averages_to_the_logit(held: Audit) -> None:
    image_id = str(held.images.index[5])
    target = pictures.logit_of(held, 0)
    logit = float(held.head.logits(held.features([image_id]))[0, 0])
    mean = opened.class_arrays(held, 0).facts.logit_mean
    assert pictures.heatmap_of(held, target, image_id).mean() == pytest.approx(
        logit - mean, abs=1e-4
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "secret"},
        {"name": "0123456789ab/0/pca/0/x.png"},
        {"name": "../../etc/passwd"},
        {"image": "ffffffffffffffff"},
        {"image": "up0123"},
        {"component": "999"},
        {"component": "-1"},
        {"class": "77"},
        {"class": "../0"},
        {"what": "soul"},
        {"params": {"scale": "nan-"}},
        {"params": {"parts": "left"}},
        {"params": {"size": "big"}},
        {"params": {"size": "0"}},
        {"params": {"size": "-1"}},
        {"params": {"size": "100000"}},
        {"params": {"scale": "inf"}},
        {"params": {"contour": "yes"}},
        {"params": {"unknown": "1"}},
        {"component": "00"},
        {"class": "00"},
        {"ending": "jpg"},
        {"ending": "exe"},
        {"params": None},
    ],
    ids=str,
)
def test_addresses_that_name_nothing(
    held: Audit, addresses: dict[str, Address], changed: dict[str, object]
) -> None:
    kind, name, params = addresses["heat"]
    audit_id, class_idx, what, component, file = name.split("/")
    parts = [
        audit_id,
        str(changed.get("class", class_idx)),
        str(changed.get("what", what)),
        str(changed.get("component", component)),
        f"{changed['image']}.png" if "image" in changed else file,
    ]
    name = str(changed.get("name", "/".join(parts)))
    if "ending" in changed:
        name = f"{name.rpartition('.')[0]}.{changed['ending']}"
    given = changed.get("params", {})
    params = {**params, **given} if isinstance(given, dict) else {}
    assert pictures.render(str(changed.get("kind", kind)), name, params) is None
    assert [path for path in held.folder.glob("pictures/**/*") if path.is_file()] == []


def test_one_picture_is_one_file_however_it_is_asked_for(
    held: Audit, addresses: dict[str, Address]
) -> None:
    kind, name, params = addresses["heat"]
    first = pictures.render(kind, name, params)
    for more in ({"v": "old"}, {"size": "0160"}, {"scale": "0.50"}, {"scale": "5e-1"}):
        assert pictures.render(kind, name, {**params, **more}) == first
    assert len([p for p in held.folder.glob("pictures/**/*") if p.is_file()]) == 1


def test_a_photo_that_is_gone_is_no_picture(held: Audit, addresses: dict[str, Address]) -> None:
    path = held.path(str(held.images.index[0]))
    hidden = path.rename(Path(f"{path}.hidden"))
    try:
        assert pictures.render(*addresses["photo"]) is None
    finally:
        hidden.rename(path)
    assert pictures.render(*addresses["photo"]) is not None


def test_a_new_computation_changes_every_address(held: Audit) -> None:
    import os

    summary = held.folder / "summary.json"
    os.utime(summary, ns=(1, 1))
    assert opened.version(opened.open_audit(held.id)) != opened.version(held)


def test_histogram_counts_every_image() -> None:
    alpha = np.array([-1.0, -0.5, 0.2, 0.2, 1.0])
    svg = figures.histogram_svg(alpha, np.array([True, False, True, True, True]), bins=4)
    root = ElementTree.fromstring(svg)
    colours = [r.get("fill") for r in root if r.tag.endswith("rect")]
    assert set(colours) == {figures.RAISES, figures.LOWERS}


@pytest.mark.parametrize("alpha", [[], [0.5], [0.0, 0.0, 0.0]], ids=["none", "one", "constant"])
def test_histogram_of_little(alpha: list[float]) -> None:
    svg = figures.histogram_svg(np.array(alpha), np.ones(len(alpha), bool))
    assert svg == "" if not alpha else ElementTree.fromstring(svg) is not None
    assert "nan" not in svg


def test_waterfall_starts_at_the_mean_and_ends_at_the_logit() -> None:
    figure = figures.waterfall(["a", "b"], [0.5, -0.2], start=1.0, end=1.3)
    (trace,) = figure.data
    assert list(trace.x)[:3] == [1.0, 0.5, -0.2]
    assert list(trace.measure) == ["absolute", "relative", "relative", "total"]
    assert trace.text[-1] == "1.30"


def test_scatter_leaves_out_classes_without_a_gap() -> None:
    gap = {"top_gap": 10.0, "top_gap_low": 1.0, "top_gap_high": 20.0}
    measured = AuditedClass(0, "a", "a", 4, accuracy=0.5, **gap)
    figure = figures.gap_scatter([measured, AuditedClass(1, "b", "b", 4)])
    assert list(figure.data[0].text) == ["a"]
