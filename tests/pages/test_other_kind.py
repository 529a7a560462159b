"""A kind of candidates from one file outside core is on every page and in every file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.explained import explain
from core.audits.run import run_audit
from core.candidates.candidate import LinearFunctional
from core.candidates.key import CandidateKey
from core.candidates.kinds import KINDS, register
from core.corrections.acted_on import cue_of
from core.errors import InputError
from core.explain.explainer import Explanation
from core.storage.workspace import Workspace
from core.tags.decisions import decided, linear_piece, spuriosity_of, values_of
from core.tags.log import TagStore
from core.types import Tag
from tests.pages.conftest import Open, gallery, healthy, scatter
from tests.pages.test_map import ids_of, select, words
from tests.plugins import zenith

ROOT = Path(__file__).resolve().parents[2]
NAME = "zenith"


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KINDS, "_found", dict(KINDS))
    zenith.add()


@pytest.fixture
def audit(kind: None, workspace: Workspace, tmp_path: Path) -> Audit:
    """The audit "first", made again: what was found before stays, the new kind is added."""
    before = Audit.open(workspace, "first")
    assert before.count(before.classes[0], NAME) == 0
    stored = before.manifest
    request = AuditRequest(
        stored.data.source, stored.model.name, name="first", head="fit", components=6, workers=1
    )
    made = run_audit(request, workspace)
    assert made.id == before.id
    assert made.count(made.classes[0], NAME) == 3
    return made


def test_no_file_of_the_project_knows_it() -> None:
    files = [p for part in ("core", "pages", "assets") for p in (ROOT / part).rglob("*.*")]
    texts = [p for p in files if p.suffix in (".py", ".js", ".css", ".html")]
    assert len(texts) > 200
    assert [p for p in texts if NAME in p.read_text(encoding="utf-8")] == []


def test_alpha_is_asked_of_the_audit(audit: Audit) -> None:
    arrays = audit.arrays_of("eel")
    candidate = arrays.candidate(NAME, 1)
    maps = audit.maps(arrays.image_ids)
    slow = np.array(
        [max(candidate.direction @ m[:, y, x] for y in range(8) for x in range(8)) for m in maps]
    )
    np.testing.assert_allclose(audit.alpha(candidate, arrays.image_ids), slow, rtol=1e-5)
    np.testing.assert_allclose(arrays.alpha_of(candidate.key), slow, rtol=1e-5)
    np.testing.assert_allclose(values_of(audit, "eel", [candidate])[:, 0], slow, rtol=1e-5)
    with pytest.raises(
        InputError, match="zenith 3 of class 'eel' does not exist; it has zeniths 0"
    ):
        arrays.candidate(NAME, 3)


def test_without_maps_a_sentence_says_so(audit: Audit) -> None:
    candidate = audit.arrays_of("eel").candidate(NAME, 1)
    ids = audit.arrays_of("eel").image_ids
    audit.store.drop_maps()
    fresh = Audit(audit.folder)
    with pytest.raises(InputError, match="no maps are kept of these images .* run the same audit"):
        fresh.alpha(candidate, ids)
    assert np.isnan(fresh.known_alpha(candidate, ids)).all()
    healthy_alpha = values_of(fresh, "eel", [candidate])  # what was stored stays
    assert np.isfinite(healthy_alpha).all()


def test_cards_queue_image_and_map(audit: Audit, opened: Open) -> None:
    app = healthy(
        opened("components", audit=audit.id, class_="eel", kind=NAME), "Components of a class"
    )
    cards = gallery(app)["cards"]
    assert sorted(card["name"] for card in cards) == ["zenith-0", "zenith-1", "zenith-2"]
    assert all("Zenith" in card["title"] for card in cards)
    assert all(f"/{NAME}/" in p["overlay"] for card in cards for p in card["pictures"])

    app = healthy(opened("tagging", audit=audit.id, queue_kind=NAME), "Tagging")
    assert any("zenith" in m.value for m in app.markdown)

    image = ids_of(audit, "eel")[0]
    app = healthy(
        opened("image", audit=audit.id, image=image, explain="eel", component="zenith-1"), "Image"
    )
    assert app.selectbox(key="w_component").value == "zenith-1"
    assert {"zenith 1", "zenith 3"} <= set(app.selectbox(key="w_component").options)

    view = {"colour": "alpha", "class_": "eel", "component": "zenith-1"}
    app = healthy(opened("map", audit=audit.id, **view), "Map of the images")
    assert scatter(app)["title"] == "α of zenith 2"
    app = opened("map", audit=audit.id, kind=NAME)
    select(app, ids_of(audit, "eel")[:9])
    healthy(app, "Map of the images")
    assert "of zeniths, " in words(app)
    assert gallery(app)["cards"][0]["name"].startswith("zenith-")


def test_pictures_are_drawn(audit: Audit) -> None:
    from core.ui.frame import pictures

    candidate = audit.arrays_of("eel").candidate(NAME, 0)
    image = ids_of(audit, "eel")[3]
    question = pictures.method_asked("occlusion", "eel", candidate.key)
    ((_, said),) = explain(audit, question, [image])
    assert isinstance(said, Explanation)
    for url in (
        pictures.heat_url(audit, candidate, image, scale=1.0),
        pictures.histogram_url(audit, candidate),
        pictures.attribution_url(audit, candidate, image, "occlusion"),
    ):
        path, _, query = url.partition("?")
        kind, name = path.removeprefix("/pictures/").split("/", 1)
        params = dict(pair.split("=") for pair in query.split("&"))
        assert pictures.render(kind, name, params) is not None, url


def test_commands_tags_and_files(
    audit: Audit, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--workspace", str(workspace.root)]
    out = tmp_path / "out.csv"
    assert main(["export", "first", "components", "--out", str(out), *where]) == 0
    table = pd.read_csv(out)
    assert (table["kind"] == NAME).sum() == 3 * len(audit.classes)
    assert main(["export", "first", "alpha", "--kind", NAME, "--out", str(out), *where]) == 0
    assert sorted(pd.read_csv(out)["component"].unique()) == [0, 1, 2]
    heat = tmp_path / "heat.npz"
    named = ["--class", "eel", "--zenith", "1"]
    assert main(["export", "first", "heatmaps", *named, "--out", str(heat), *where]) == 0
    assert np.load(heat)["maps"].shape[1:] == (8, 8)
    assert main(["tags", "add", "first", *named, "--tag", "spurious", *where]) == 0
    assert "zenith 2 of eel is spurious" in capsys.readouterr().out
    tags = tmp_path / "tags.json"
    assert main(["tags", "export", "first", "--out", str(tags), *where]) == 0
    assert json.loads(tags.read_text())["tags"][0]["kind"] == NAME
    assert main(["tags", "import", "first", str(tags), *where]) == 0
    assert main(["measure", "first", *where, "--json"]) == 0
    assert "zenith 2" in capsys.readouterr().out
    report = tmp_path / "r.html"
    assert main(["report", "first", "--out", str(report), *where]) == 0
    assert "zenith 2" in report.read_text()


def test_it_is_ranked_by_and_corrected_as_a_direction(audit: Audit, workspace: Workspace) -> None:
    store = TagStore.open(workspace)
    store.add("ann", audit.id, CandidateKey("eel", NAME, 1), Tag.SPURIOUS)
    (candidate,) = decided(audit, store).spurious["eel"]
    assert spuriosity_of(audit, "eel", [candidate])["spuriosity"].notna().all()
    linear = linear_piece(audit, candidate)
    assert isinstance(linear, LinearFunctional)
    arrays = audit.arrays_of("eel")
    fitted = [i for i, kept in zip(arrays.image_ids, arrays.fitting, strict=True) if kept]
    features = audit.features(fitted)
    assert linear.alpha(features).mean() == pytest.approx(audit.alpha(candidate, fitted).mean())
    cue = cue_of(audit, candidate)
    np.testing.assert_allclose(cue.alpha(features), linear.alpha(features), atol=1e-5)


def test_a_tag_on_a_kind_that_is_gone_is_left_out_with_a_note(
    audit: Audit, workspace: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TagStore.open(workspace)
    store.add("ann", audit.id, CandidateKey("eel", NAME, 1), Tag.SPURIOUS)
    left = {name: kind for name, kind in KINDS.items() if name != NAME}
    monkeypatch.setattr(KINDS, "_found", left)
    found = decided(Audit(audit.folder), store)
    assert "zenith 1 of 'eel' is left out" in " ".join(found.notes)
    for page in ("components", "tagging", "agreement", "ranking", "findings", "overview"):
        app = opened(page, audit=audit.id)
        assert not app.exception, (page, [e.message for e in app.exception])


def test_a_name_is_taken_once() -> None:
    class Again(zenith.Zeniths):
        name = "pca"

    with pytest.raises(InputError, match="there is a kind of candidates 'pca' already"):
        register(Again())
