from __future__ import annotations

import io
import json
import shutil
import struct
import zlib
from unittest.mock import Mock
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from core.__main__ import main
from core.audits.audit import Audit
from core.jobs import jobs
from core.models.load import load_model
from core.storage.files import write_array
from core.ui.frame import opened as opened_audits
from core.ui.frame import pictures
from tests.pages.conftest import Open, address, gallery, healthy, send


@pytest.fixture
def image_id(audit: Audit) -> str:
    return str(audit.images.index[0])


def waterfall(app: object) -> dict[str, float]:
    (chart,) = app.get("plotly_chart")  # type: ignore[attr-defined]
    (trace,) = json.loads(chart.proto.spec)["data"]
    x = trace["x"]
    if isinstance(x, dict):
        import base64

        x = np.frombuffer(base64.b64decode(x["bdata"]), x["dtype"]).tolist()
    texts = dict(zip(trace["y"], x, strict=True))
    texts["shown logit"] = float(trace["text"][-1])
    return texts


def test_choosing_an_image(audit: Audit, opened: Open) -> None:
    app = healthy(opened("image", audit=audit.id, class_="eel"), "Image")
    pictures = gallery(app)["pictures"]
    assert len(pictures) == 22
    send(app, "picked", pictures[3]["image_id"])
    assert address(app)["image"] == pictures[3]["image_id"]
    assert app.subheader[0].value == "eel"


def test_cause_and_effect_stand_beside_the_picture(
    audit: Audit, opened: Open, image_id: str
) -> None:
    app = healthy(opened("image", audit=audit.id, image=image_id), "Image")
    left, right = app.columns[:2]
    assert [w.key for w in right.selectbox] == ["w_explain"]
    assert [w.key for w in right.multiselect] == ["w_off"]
    assert len(right.get("plotly_chart")) == 1
    assert len(right.dataframe) == 1
    assert len(left.get("bidi_component")) == 1
    assert not left.get("plotly_chart")


def test_only_wrong_predictions(audit: Audit, opened: Open) -> None:
    app = healthy(opened("image", audit=audit.id, class_="eel", which="wrong"), "Image")
    wrong = audit.images.query("label == 'eel' and not correct")
    if len(wrong):
        assert {p["image_id"] for p in gallery(app)["pictures"]} == set(wrong.index)
    else:
        assert any("No such image" in text.value for text in app.markdown)


def test_the_waterfall_adds_up_to_the_logit(audit: Audit, opened: Open, image_id: str) -> None:
    app = healthy(opened("image", audit=audit.id, image=image_id, explain="cat"), "Image")
    parts = waterfall(app)
    features = audit.features([image_id])[0]
    logit = float(audit.head.logits(features[None])[0, 0])
    total = sum(v for k, v in parts.items() if k not in ("logit", "shown logit"))
    assert total == pytest.approx(logit, abs=1e-4)
    assert parts["shown logit"] == pytest.approx(logit, abs=0.006)


def margin(audit: Audit, image_id: str, label: str) -> float:
    logits = audit.head.logits(audit.features([image_id]))[0]
    own = audit.class_facts(label).class_idx
    return float(logits[own] - logits[[i for i in range(3) if i != own]].mean())


@pytest.mark.parametrize("place", [0, 30, 50], ids=["the class", "another", "a third"])
def test_the_waterfall_of_parts_adds_up_to_the_margin(
    audit: Audit, opened: Open, place: int
) -> None:
    image_id = str(audit.images.index[place])
    view = {"image": image_id, "explain": "cat", "sum": "part"}
    app = healthy(opened("image", audit=audit.id, **view), "Image")
    bars = waterfall(app)
    assert list(bars)[0] == "bias"
    assert list(bars)[-3:] == ["rest", "margin", "shown logit"]
    assert "part 1" in bars
    total = sum(v for k, v in bars.items() if k not in ("margin", "shown logit"))
    assert total == pytest.approx(margin(audit, image_id, "cat"), abs=1e-4)
    assert bars["shown logit"] == pytest.approx(total, abs=0.006)
    assert address(app)["sum"] == "part"


def test_without_a_part_its_alpha_is_taken_from_the_logit(
    audit: Audit, opened: Open, image_id: str
) -> None:
    view = {"image": image_id, "explain": "cat", "sum": "part", "off": "0,1"}
    app = healthy(opened("image", audit=audit.id, **view), "Image")
    assert sorted(app.multiselect(key="w_off").value) == ["0", "1"]
    parts = audit.arrays_of("cat").candidates("part")[:2]
    logits = audit.head.logits(audit.features([image_id]))[0].astype(float)
    logits[0] -= sum(float(audit.alpha(part, [image_id])[0]) for part in parts)
    expected = np.exp(logits) / np.exp(logits).sum()
    shown = app.dataframe[0].value.set_index("class")["probability now"]
    for name, value in zip(audit.head.names, expected, strict=True):
        assert shown[name] == pytest.approx(100 * value, abs=1e-3)


def test_parts_of_an_image_whose_maps_are_not_kept(
    audit: Audit, opened: Open, image_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.features.shards.FeatureStore.has_maps", lambda *_: False)
    view = {"image": image_id, "explain": "eel", "sum": "part"}
    bars = waterfall(healthy(opened("image", audit=audit.id, **view), "Image"))
    total = sum(v for k, v in bars.items() if k not in ("margin", "shown logit"))
    assert total == pytest.approx(margin(audit, image_id, "eel"), abs=1e-4)


def test_a_corrected_head_has_a_bar_of_its_own(audit: Audit, opened: Open, image_id: str) -> None:
    head = audit.files.head
    write_array(head.array("read"), np.ones((1, 12), np.float32))
    write_array(head.array("offset"), np.zeros(1, np.float32))
    write_array(head.array("write"), np.array([[0.5], [0.1], [0.0]], np.float32))
    again = Audit(audit.folder)
    assert again.head.correction is not None
    view = {"image": image_id, "explain": "cat", "sum": "part"}
    bars = waterfall(healthy(opened("image", audit=audit.id, **view), "Image"))
    read = float(audit.features([image_id]).sum())
    assert bars["correction"] == pytest.approx(-(0.5 - 0.05) * read, abs=1e-4)
    total = sum(v for k, v in bars.items() if k not in ("margin", "shown logit"))
    assert total == pytest.approx(margin(again, image_id, "cat"), abs=1e-4)


def test_a_class_without_parts_says_why_and_shows_components(
    audit: Audit, opened: Open, image_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in audit.files.found.glob("part-*"):
        shutil.rmtree(folder)
    unkept = np.zeros(14, bool)
    monkeypatch.setattr("core.features.shards.FeatureStore.mapped", lambda *_: unkept)
    view = {"image": image_id, "explain": "cat", "sum": "part"}
    app = healthy(opened("image", audit=audit.id, **view), "Image")
    assert any("run the same audit again" in caption.value for caption in app.caption)
    assert "class mean" in waterfall(app)


def test_the_strongest_part_is_drawn_first(audit: Audit, opened: Open, image_id: str) -> None:
    view = {"image": image_id, "explain": "cat", "sum": "part"}
    app = healthy(opened("image", audit=audit.id, **view), "Image")
    assert "/part/" in gallery(app)["pictures"][0]["overlay"]


def test_what_if_changes_the_probabilities(audit: Audit, opened: Open, image_id: str) -> None:
    app = opened("image", audit=audit.id, image=image_id, explain="cat")
    before = app.dataframe[0].value
    assert list(before.columns) == ["class", "probability"]
    assert before["probability"].sum() == pytest.approx(100)
    choice = app.multiselect(key="w_off")
    choice.select(choice.options[0]).run()
    after = healthy(app, "Image").dataframe[0].value
    assert after["probability now"].sum() == pytest.approx(100)
    assert not np.allclose(after["probability"], after["probability now"])
    assert address(app)["off"]


def test_deep_link_restores_what_is_off(audit: Audit, opened: Open, image_id: str) -> None:
    view = {"image": image_id, "explain": "eel", "component": "pca-1", "off": "0,2,77"}
    app = healthy(opened("image", audit=audit.id, **view), "Image")
    assert sorted(app.multiselect(key="w_off").value) == ["0", "2"]
    assert "/pca/1/" in gallery(app)["pictures"][0]["overlay"]
    assert app.selectbox(key="w_explain").value == "eel"


@pytest.mark.parametrize(
    ("component", "drawn"),
    [("neuron-3", "/neuron/3/"), ("logit-0", "/logit/0/"), ("neuron-99", "/pca/"), ("x", "/pca/")],
)
def test_what_can_be_drawn(
    audit: Audit, opened: Open, image_id: str, component: str, drawn: str
) -> None:
    app = healthy(opened("image", audit=audit.id, image=image_id, component=component), "Image")
    assert drawn in gallery(app)["pictures"][0]["overlay"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Command lines of jobs that pages start."""
    found: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: found.append(arguments))
    return found


def run_jobs(
    audit: Audit, started: list[list[str]], monkeypatch: pytest.MonkeyPatch, *, ends: int = 0
) -> None:
    """Do what the jobs would have done."""
    loaded = load_model("tiny:page-0").use_head(audit.head)
    with monkeypatch.context() as patch:
        patch.setattr(Audit, "load_model", lambda _: loaded)
        for arguments in started:
            assert main([*arguments, "--workspace", str(audit.folder.parents[1])]) == ends
    started.clear()


def test_other_methods_are_jobs_and_called_approximations(
    audit: Audit,
    opened: Open,
    image_id: str,
    started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = {"audit": audit.id, "image": image_id, "method": "grad_cam", "component": "pca-0"}
    app = healthy(opened("image", **view), "Image")
    assert gallery(app)["pictures"][0]["overlay"] is None
    (button,) = (b for b in app.button if b.label == "Make the map: Grad-CAM")
    button.click().run()
    assert started[0][:2] == ["explain", audit.id]
    run_jobs(audit, started, monkeypatch)
    app = healthy(opened("image", **view), "Image")
    assert "/grad_cam/" in gallery(app)["pictures"][0]["overlay"]
    assert any("Grad-CAM: an approximation that does not" in c.value for c in app.caption)


def test_methods_stand_side_by_side_and_are_made_once(
    audit: Audit,
    opened: Open,
    image_id: str,
    started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = {"methods": "1", "beside": "exact,lrp,occlusion", "component": "pca-0", "look": "colour"}
    with monkeypatch.context() as patch:
        patch.setattr(opened_audits, "model_of", lambda _: pytest.fail("that is a job"))
        app = healthy(opened("image", audit=audit.id, image=image_id, **view), "Image")
    (make,) = (b for b in app.button if b.label.startswith("Make the maps that are missing"))
    assert make.label.endswith("Exact map, LRP, Occlusion")
    make.click().run()
    assert "exact,lrp,occlusion" in started[0]
    with monkeypatch.context() as patch:  # stopped at the second one: the first is kept
        patch.setattr("core.explain.lrp.relevance", Mock(side_effect=KeyboardInterrupt))
        run_jobs(audit, list(started), monkeypatch, ends=130)
    app = healthy(opened("image", audit=audit.id, image=image_id, **view), "Image")
    assert any(b.label.endswith("missing: LRP, Occlusion") for b in app.button)
    run_jobs(audit, started, monkeypatch)
    app = healthy(opened("image", audit=audit.id, image=image_id, **view), "Image")
    assert not any(b.label.startswith("Make the maps") for b in app.button)
    shown = {p["image_id"]: p["overlay"] for p in gallery(app, 1)["pictures"]}
    assert list(shown) == ["exact", "lrp", "occlusion"]
    assert "/pca/0/lrp/" in shown["lrp"]
    table = app.dataframe[-1].value
    assert table.index.tolist() == ["Exact map", "LRP", "Occlusion"]
    assert np.diag(table[table.index].to_numpy()) == pytest.approx(1)
    for name in ("LRP", "Exact map"):
        adds = table.loc[name, "adds up to"]
        assert adds == pytest.approx(table.loc[name, "number"], abs=2e-3)
    assert table["number"].nunique() == 1
    assert (table["seconds"] >= 0).all()
    assert address(app)["beside"] == view["beside"]
    (judge,) = [button for button in app.button if button.label.startswith("Judge every method")]
    assert not judge.disabled
    monkeypatch.setattr(opened_audits, "model_of", lambda _: pytest.fail("all of it is stored"))
    drawn = pictures.render("attribution", name_of(shown["lrp"]), {"v": "1"})
    assert drawn is not None
    assert drawn[0].startswith(b"\x89PNG")


def test_concepts_of_an_image_with_their_atlas_and_reference_images(
    audit: Audit,
    opened: Open,
    image_id: str,
    started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = audit.head.weight[0] * audit.features([image_id])[0]
    best = np.argsort(-np.abs(given), kind="stable")[:6]
    first = next(c for c in best if given[c] > 0)
    view = {"concepts": "1", "concept_of": "neuron", "concept_pixels": "1", "look": "colour"}
    view |= {"concept": f"neuron-{first}", "audit": audit.id, "image": image_id, "explain": "cat"}
    app = healthy(opened("image", **view), "Image")
    assert all(f"/neuron/{c}/" in p["overlay"] for c, p in zip(best, cells(app, 2), strict=True))
    assert not any("/crp/" in p["overlay"] for p in cells(app, 2))
    (make,) = (b for b in app.button if b.label == "Hand these concepts down to the pixels")
    make.click().run()
    assert ",".join(f"neuron-{c}" for c in best) in started[0]
    run_jobs(audit, started, monkeypatch)
    app = healthy(opened("image", **view), "Image")
    assert not any(b.label.startswith("Hand these") for b in app.button)
    table = app.dataframe[-1].value
    assert table.columns.tolist() == ["concept", "adds", "share", "where"]
    assert table["concept"].tolist() == [f"channel {c}" for c in best]
    assert table["adds"].to_numpy() == pytest.approx(given[best], abs=1e-3)
    _, atlas, through, relevance, activation = (gallery(app, i)["pictures"] for i in range(5))
    name = unquote(atlas[0]["overlay"].partition("/atlas/")[2].partition("?")[0])
    assert pictures.render("atlas", name, {"v": "1"}) is not None
    assert pictures.render("atlas", name.replace("/6/", "/x/"), {"v": "1"}) is None
    assert all(f"/neuron/{c}/crp/" in p["overlay"] for c, p in zip(best, through, strict=True))
    assert pictures.render("attribution", name_of(through[0]["overlay"]), {"v": "1"}) is not None
    most = audit.images.index[int(audit.features(list(audit.images.index))[:, first].argmax())]
    assert activation[0]["image_id"] == most
    assert 0 < len(relevance) <= 8
    assert address(app)["concept"] == f"neuron-{first}"
    again = healthy(opened("image", **{**address(app), "concept_of": "part"}), "Image")
    assert again.dataframe[-1].value["concept"].str.startswith("part").all()


def cells(app: object, place: int) -> list[dict[str, str]]:
    """Pictures of a gallery of the page."""
    found: list[dict[str, str]] = gallery(app, place)["pictures"]
    return found


def name_of(url: str) -> str:
    """What an address of an attribution names."""
    return unquote(url.partition("/attribution/")[2].partition("?")[0])


def test_energy_inside_the_masks(audit: Audit, opened: Open, image_id: str) -> None:
    app = opened("image", audit=audit.id, image=image_id)
    assert any("lies inside object mask" in block.proto.body for block in app.get("html"))


@pytest.mark.parametrize("wrong", ["nonsense", "up123", "up../../x", "../image"])
def test_unknown_image_says_so_and_offers_others(audit: Audit, opened: Open, wrong: str) -> None:
    app = healthy(opened("image", audit=audit.id, image=wrong), "Image")
    assert "not in this audit" in app.warning[0].value
    assert gallery(app)["pictures"]


def test_missing_mask_file_is_a_sentence(audit: Audit, opened: Open, image_id: str) -> None:
    path = audit.root / str(audit.images.at[image_id, "object_mask"])
    hidden = path.rename(path.with_suffix(".hidden"))
    try:
        app = opened("image", audit=audit.id, image=image_id)
        assert not app.exception
        assert path.name in app.error[0].value.replace("\\", "")
        assert "More like this" in {toggle.label for toggle in app.toggle}
    finally:
        hidden.rename(path)


def upload(app: object, content: bytes) -> None:
    app.get("file_uploader")[0].upload("photo.png", content, "image/png").run()  # type: ignore[attr-defined]


def test_uploaded_image_is_explained(audit: Audit, opened: Open) -> None:
    out = io.BytesIO()
    Image.new("RGB", (90, 70), (220, 60, 40)).save(out, "PNG")
    app = opened("image", audit=audit.id)
    upload(app, out.getvalue())
    healthy(app, "Image")
    assert app.subheader[0].value == "Uploaded image"
    assert address(app)["image"].startswith("up")
    again = healthy(opened("image", **address(app)), "Image")
    assert again.subheader[0].value == "Uploaded image"
    view = {**address(app), "explain": "cat", "sum": "part"}
    bars = waterfall(healthy(opened("image", **view), "Image"))
    total = sum(v for k, v in bars.items() if k not in ("margin", "shown logit"))
    assert total == pytest.approx(margin(audit, address(app)["image"], "cat"), abs=1e-4)


def giant() -> bytes:
    """A few bytes that declare 64 million pixels."""
    out = io.BytesIO()
    Image.new("1", (8, 8)).save(out, "PNG")
    data = bytearray(out.getvalue())
    data[16:24] = struct.pack(">II", 8000, 8000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_upload_of_a_bomb_is_a_sentence(audit: Audit, opened: Open) -> None:
    app = opened("image", audit=audit.id)
    upload(app, giant())
    assert not app.exception
    assert "64,000,000 pixels, at most 50,000,000" in app.error[0].value
    assert not (audit.folder / "uploads").exists() or not list((audit.folder / "uploads").iterdir())


@pytest.mark.parametrize("content", [b"hello", b"", b"\x89PNG\r\n\x1a\n"])
def test_upload_that_is_no_image_is_a_sentence(audit: Audit, opened: Open, content: bytes) -> None:
    app = opened("image", audit=audit.id)
    upload(app, content)
    assert not app.exception
    assert app.error[0].value


def test_what_raises_nowhere_is_lit_where_it_lowers(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_id = audit.images.index[3]
    below = -np.arange(4.0).reshape(2, 2)
    monkeypatch.setattr(pictures, "heatmap_of", lambda *_: below)
    app = healthy(opened("image", audit=audit.id, image=image_id, component="pca-1"), "Image")
    assert any("raises the logit nowhere" in caption.value for caption in app.caption)
    assert "parts=negative" in gallery(app)["pictures"][0]["overlay"]
