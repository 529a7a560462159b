"""Tagging, Agreement, Ranking and Measures, through the app's frame."""

from __future__ import annotations

import json
import re
import sys
import time

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.audits.audit import Audit
from core.audits.class_files import carry_direction
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import CARRIED, PCA
from core.errors import WorkspaceError
from core.jobs import jobs
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.tags.votes import ADJUDICATION, GOLD, answers, count_votes
from core.types import Subtype, Tag
from core.ui.kit.text import plain
from tests.hostile import NAMES
from tests.pages.conftest import Open, address, galleries, healthy


def shown(app: AppTest) -> str:
    """The candidate on the screen."""
    return next(m.value for m in app.markdown if m.value.startswith("### ")).splitlines()[0]


def press(app: AppTest, key: str) -> AppTest:
    return app.button(key=f"answer-{key}").click().run()


def test_a_key_tags_and_brings_the_next(audit: Audit, workspace: Workspace, opened: Open) -> None:
    app = healthy(opened("tagging", audit=audit.id), "Tagging")
    first = shown(app)
    healthy(press(app, "2"), "Tagging")
    second = shown(app)
    assert second != first
    healthy(press(app, "5"), "Tagging")
    events = TagStore.open(workspace).current(audit.id)
    assert [(e.tag, e.subtype) for e in events] == [
        (Tag.SPURIOUS, None),
        (Tag.SPURIOUS, Subtype.BACKGROUND),
    ]
    healthy(app.button(key="go-u").click().run(), "Tagging")
    assert shown(app) == second
    assert len(TagStore.open(workspace).current(audit.id)) == 1


def test_back_and_skip(audit: Audit, workspace: Workspace, opened: Open) -> None:
    app = opened("tagging", audit=audit.id)
    first = shown(app)
    app.button(key="go-right").click().run()
    assert shown(app) != first
    app.button(key="go-left").click().run()
    assert shown(app) == first
    assert TagStore.open(workspace).current(audit.id) == []


def test_keys_of_ones_own(audit: Audit, workspace: Workspace, opened: Open) -> None:
    def keys(app: AppTest) -> list[str]:
        return [app.button(key=f"answer-{n}").proto.shortcut for n in "12345"]

    app = opened("tagging", audit=audit.id)
    assert keys(app) == list("12345")
    app.text_input(key="tag_keys").set_value("A s,d f G").run()
    assert keys(app) == list("asdfg")
    (memory,) = [
        json.loads(element.proto.json)
        for element in app.get("bidi_component")
        if element.proto.component_name == "spurioscope.remember" and "keys" in element.proto.json
    ]
    assert (memory["place"], memory["text"]) == ("spurioscope-keys", "A s,d f G")
    for written, why in {
        "asdfu": "u takes the last answer back",
        "asdfa": "a would give two answers",
        "asd": "write 5 letters or digits",
        "asdf+": "write 5 letters or digits",
    }.items():
        app.text_input(key="tag_keys").set_value(written).run()
        assert any(why in error.value for error in app.error)
        assert keys(app) == list("12345")
    press(app, "2")
    assert [e.tag for e in TagStore.open(workspace).current(audit.id)] == [Tag.SPURIOUS]


def test_confidence_and_reason_are_saved(audit: Audit, workspace: Workspace, opened: Open) -> None:
    app = opened("tagging", audit=audit.id)
    app.text_input(key="reason").set_value("the snow").run()
    app.session_state["confidence"] = 4
    app.run()
    press(app, "1")
    event = TagStore.open(workspace).current(audit.id)[0]
    assert (event.confidence, event.reason, event.tag) == (4, "the snow", Tag.CORE)
    assert app.text_input(key="reason").value == ""
    press(app, "1")  # of the next one nobody has said how sure he is
    assert TagStore.open(workspace).current(audit.id)[1].confidence is None


@pytest.mark.parametrize("spelling", ["{label}/pca-0", "{class_idx}.pca.0", "{class_idx}/pca/0"])
def test_others_are_hidden_unless_asked_for(
    audit: Audit, workspace: Workspace, opened: Open, spelling: str
) -> None:
    facts = audit.classes[0]
    TagStore.open(workspace).add("Ann", audit.id, CandidateKey(facts.label, PCA, 0), Tag.CORE)
    at = spelling.format(**vars(facts))
    blind = opened("tagging", audit=audit.id, at=at)
    assert not blind.dataframe
    seen = healthy(opened("tagging", audit=audit.id, at=at, others="1"), "Tagging")
    assert seen.dataframe[0].value["annotator"].tolist() == ["Ann"]
    assert address(seen)["at"] == f"{facts.label}/pca-0"


def test_gold_questions_are_mixed_in_and_hidden(
    audit: Audit, workspace: Workspace, opened: Open
) -> None:
    store, facts = TagStore.open(workspace), audit.classes[1]
    store.add(GOLD, audit.id, CandidateKey(facts.label, PCA, 5), Tag.SPURIOUS)
    at = f"{facts.class_idx}.pca.5"
    page = healthy(opened("tagging", audit=audit.id, depth="2", at=at, others="1"), "Tagging")
    assert shown(page).endswith("component 6")  # beyond the depth, but asked all the same
    assert not page.dataframe
    press(page, "1")
    app = healthy(opened("agreement", audit=audit.id), "Agreement")
    (row,) = app.dataframe[0].value.to_dict("records")
    assert (row["annotator"], row["gold"], row["gold_answers"]) == ("anonymous", 0.0, 1)


def test_a_candidate_of_the_address_is_shown_with_its_own_images(
    audit: Audit, workspace: Workspace, opened: Open
) -> None:
    facts = audit.classes[1]
    arrays = audit.class_arrays(facts.class_idx)
    direction = np.random.default_rng(0).normal(size=len(arrays.pca.weight))
    carry_direction(audit.files.carried_to(facts.class_idx), direction, 0.0)
    at = f"{facts.class_idx}.carried.0"
    app = healthy(opened("tagging", audit=audit.id, at=at), "Tagging")
    assert "carried" in shown(app)
    assert "not among the candidates" in "".join(m.value for m in app.markdown)
    ids = np.array(arrays.image_ids)
    alpha = np.where(arrays.fitting, audit.features(arrays.image_ids) @ direction, -np.inf)
    (data,) = (json.loads(proto.json) for proto in galleries(app))
    expected = ids[np.argsort(-alpha, kind="stable")][:6].tolist()
    assert [picture["image_id"] for picture in data["pictures"]][:6] == expected
    press(app, "2")
    (event,) = TagStore.open(workspace).current(audit.id)
    assert (event.label, event.kind, event.component) == (facts.label, CARRIED, 0)


@pytest.mark.parametrize(
    "at", ["1.pca.500", "99.pca.0", "1.carried.3", "1.blue.1", "x" * 50, "gone/pca-0"]
)
def test_a_candidate_that_does_not_exist_is_passed_over(
    audit: Audit, workspace: Workspace, opened: Open, at: str
) -> None:
    store = TagStore.open(workspace)
    store.add(GOLD, audit.id, CandidateKey(audit.classes[1].label, PCA, 500), Tag.SPURIOUS)
    app = healthy(opened("tagging", audit=audit.id, at=at), "Tagging")
    assert shown(app)
    assert address(app)["at"] != at


@pytest.mark.parametrize("page", ["tagging", "agreement"])
def test_what_cannot_be_saved_is_a_sentence(
    audit: Audit, workspace: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    store = TagStore.open(workspace)
    for who, tag in (("anonymous", Tag.CORE), ("Bob", Tag.SPURIOUS)):
        store.add(who, audit.id, CandidateKey(audit.classes[0].label, PCA, 0), tag)
    app = opened(page, audit=audit.id)

    def full(*_: object, **__: object) -> None:
        raise WorkspaceError("the disk is full")

    monkeypatch.setattr(TagStore, "_append", full)
    if page == "tagging":
        app.button(key="go-u").click().run()
    else:
        next(b for b in app.button if b.help == "Settle it: spurious").click().run()
    assert not app.exception
    assert [t.value for t in app.toast] == ["the disk is full"]


def test_tags_are_read_from_a_file_of_a_spreadsheet(
    audit: Audit, workspace: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bring(name: str, text: str) -> AppTest:
        app = opened("tagging", audit=audit.id)
        return app.get("file_uploader")[0].upload(name, text.encode("utf-8-sig"), "text/csv").run()

    head = "label;kind;component;annotator;tag;reason"
    rows = ["eel;pca;0;ann;spurious;sea", "cat;pca;1;;core;", ";;;;;", ";;;;;"]
    app = healthy(bring("from *Excel*.csv", "\r\n".join([head, *rows])), "Tagging")
    assert [plain("2 new tags of 2 in from *Excel*.csv.")] == [s.value for s in app.success]
    assert [info.value for info in app.info] == [
        "Semicolons are read as what stands between cells.",
        "2 empty rows are left out.",
    ]
    said = {e.annotator: (e.label, e.tag) for e in TagStore.open(workspace).current(audit.id)}
    assert said == {"ann": ("eel", Tag.SPURIOUS), "anonymous": ("cat", Tag.CORE)}
    app = bring("t.csv", f"{head}\neel;pca;99;ann;core;")
    assert "t.csv, entry 1: pca 99 of class 'eel' does not exist" in app.error[0].value
    monkeypatch.setattr("core.ui.frame.access.account", lambda: "ben")
    app = bring("t.csv", f"{head}\neel;pca;1;ann;core;")
    assert "has tags of ann, and you are signed in as ben:" in app.error[0].value
    assert len(TagStore.open(workspace).current(audit.id)) == 2


def test_people_are_named_as_they_are_called(
    audit: Audit, workspace: Workspace, opened: Open
) -> None:
    store, label = TagStore.open(workspace), audit.classes[0].label
    for who in NAMES[:2]:
        for component in range(2):
            store.add(who, audit.id, CandidateKey(label, PCA, component), Tag.CORE)
    app = healthy(opened("agreement", audit=audit.id), "Agreement")
    first, second = sorted(NAMES[:2])
    assert app.selectbox(key="confusion").options == [f"{first} and {second}"]
    assert app.table[0].value.index.name == plain(f"{first} \\ {second}")
    assert app.table[0].value.loc["core", "core"] == 2


def test_agreement_settles_a_disagreement(audit: Audit, workspace: Workspace, opened: Open) -> None:
    empty = healthy(opened("agreement", audit=audit.id), "Agreement")
    assert any("Nobody has tagged" in m.value for m in empty.markdown)
    store, label = TagStore.open(workspace), audit.classes[0].label
    for component in range(3):
        store.add("Ann", audit.id, CandidateKey(label, PCA, component), Tag.CORE)
        store.add(
            "Bob",
            audit.id,
            CandidateKey(label, PCA, component),
            [Tag.CORE, Tag.SPURIOUS][component % 2],
        )
    app = healthy(opened("agreement", audit=audit.id), "Agreement")
    assert any("1 left, 0 settled" in s.value for s in app.subheader)
    app.button(key=f"settle-spurious-{label}/pca-1").click().run()
    healthy(app, "Agreement")
    votes = count_votes(answers(store.current(audit.id)))
    assert votes.set_index("component").loc[1, "decision"] == "spurious"
    assert store.history(audit.id)[-1].annotator == ADJUDICATION


def measures(app: AppTest) -> set[str]:
    """The measures in the table on the page."""
    (shown,) = [h.proto.body for h in app.get("html") if "<table" in h.proto.body]
    return {cells[1] for row in ROW.findall(shown) if (cells := CELL.findall(row))}


ROW, CELL = re.compile(r"<tr.*?</tr>", re.DOTALL), re.compile(r"<td[^>]*>(.*?)</td>", re.DOTALL)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run the command line with the network of these tests."""
    code = (
        "import sys, tests.pages.conftest;"
        "from core.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-c", code))


@pytest.fixture
def tagged(audit: Audit, workspace: Workspace) -> str:
    label = audit.classes[0].label
    TagStore.open(workspace).add("Ann", audit.id, CandidateKey(label, PCA, 0), Tag.SPURIOUS)
    return label


def test_ranking_needs_a_tag(audit: Audit, opened: Open) -> None:
    app = healthy(opened("ranking", audit=audit.id), "Ranking")
    assert any("No cue is tagged" in m.value for m in app.markdown)


def test_ranking_shows_both_ends(audit: Audit, tagged: str, opened: Open) -> None:
    app = healthy(opened("ranking", audit=audit.id, class_=tagged), "Ranking")
    galleries = {e.key for e in app.get("bidi_component")}
    assert {"Highest spuriosity", "Lowest spuriosity"} <= galleries
    assert app.metric[0].label == "Spurious gap"
    words = [m.value for m in app.markdown if "spuriosity**" in m.value]
    assert "Highest" in words[0]
    assert "Lowest" in words[1]
    filtered = healthy(opened("ranking", audit=audit.id, by="snow = 1"), "Ranking")
    assert filtered.selectbox(key="w_by").value == "snow = 1"


def test_measures_follow_from_tags(audit: Audit, tagged: str, opened: Open) -> None:
    app = healthy(opened("measures", audit=audit.id), "Measures")
    assert {"spurious gap", "group accuracy"} <= measures(app)
    one = healthy(opened("measures", audit=audit.id, what="spurious_gap"), "Measures")
    assert measures(one) == {"spurious gap"}
    (shown,) = [h.proto.body for h in one.get("html") if "<table" in h.proto.body]
    assert "Accuracy on the k images of highest spuriosity minus" in shown
    assert "Source: Moayeri et al. 2023" in shown


@pytest.mark.usefixtures("command")
def test_slow_measures_are_jobs(audit: Audit, tagged: str, opened: Open) -> None:
    app = healthy(opened("measures", audit=audit.id), "Measures")
    assert "core accuracy" not in measures(app)
    app.button(key="run-noise").click().run()
    where = Workspace(audit.folder.parent.parent)
    (job,) = jobs.jobs(where)
    assert job.arguments == ["measure", audit.id, "--what", "noise"]
    deadline = time.monotonic() + 60
    while job.active and time.monotonic() < deadline:
        time.sleep(0.1)
        job = jobs.read(where, job.id)
    assert job.state == "finished", job.message
    healthy(app.run(), "Measures")
    assert "core accuracy" in measures(app)
    assert [b.key for b in app.button if b.key.startswith("run-")] == [
        "run-flip",
        "run-lean",
        "run-subsets",
    ]


def test_a_large_audit_measures_gaps_in_a_job(
    audit: Audit, tagged: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.ui.measures.measures.AT_ONCE", 0)
    app = healthy(opened("measures", audit=audit.id), "Measures")
    assert "run-gap" in [b.key for b in app.button]
    assert any("gap is not measured with these tags yet" in i.value for i in app.info)


@pytest.mark.parametrize("view", ["gaps", "accuracy"])
def test_figures_of_gaps(audit: Audit, tagged: str, opened: Open, view: str) -> None:
    app = healthy(opened("measures", audit=audit.id, view=view), "Measures")
    (chart,) = app.get("plotly_chart")
    (trace,) = json.loads(chart.proto.spec)["data"]
    assert trace["customdata"] == [tagged]
    assert trace["error_x" if view == "gaps" else "error_y"]["array"][0] > 0


def test_measures_without_tags_say_so(audit: Audit, opened: Open) -> None:
    app = healthy(opened("measures", audit=audit.id), "Measures")
    assert any("No cue is tagged" in m.value for m in app.markdown)
    assert not app.info


def test_a_candidate_is_named_with_its_answer(
    audit: Audit, workspace: Workspace, opened: Open
) -> None:
    store, label = TagStore.open(workspace), audit.classes[0].label
    at, key = f"{label}/pca-0", CandidateKey(label, PCA, 0)
    app = healthy(opened("tagging", audit=audit.id, at=at), "Tagging")
    app.text_input(key=f"called-{at}").set_value(NAMES[0][:80]).run()
    assert store.history(audit.id) == []  # a name belongs to a tag
    press(app, "2")
    assert [e.called for e in store.current(audit.id)] == [NAMES[0][:80]]
    app.button(key="go-left").click().run()
    assert shown(app).endswith(plain(f"{NAMES[0][:80]} (component 1)"))
    app.text_input(key=f"called-{at}").set_value("snow").run()
    (entry,) = store.current(audit.id)
    assert (entry.called, entry.tag) == ("snow", Tag.SPURIOUS)
    assert shown(app).endswith("snow (component 1)")
    press(app, "1")
    assert [(e.called, e.tag) for e in store.current(audit.id)] == [("snow", Tag.CORE)]
    app.button(key="go-left").click().run()
    app.text_input(key=f"called-{at}").set_value("").run()
    assert store.current(audit.id)[0].called is None
    assert shown(app).endswith(": component 1")
    assert store.current(audit.id)[0].key == key


def test_names_used_before_are_offered(audit: Audit, workspace: Workspace, opened: Open) -> None:
    store, label = TagStore.open(workspace), audit.classes[0].label
    store.add("Ann", "another audit", CandidateKey("x", PCA, 3), Tag.CORE, called="**snow**")
    at = f"{label}/pca-0"
    app = healthy(opened("tagging", audit=audit.id, at=at), "Tagging")
    offered = app.button(key="call-**snow**")
    assert offered.label == plain("**snow**")
    offered.click().run()
    assert app.text_input(key=f"called-{at}").value == "**snow**"
    press(app, "1")
    assert [e.called for e in store.current(audit.id)] == ["**snow**"]


def test_what_others_call_a_candidate_is_hidden_unless_asked_for(
    audit: Audit, workspace: Workspace, opened: Open
) -> None:
    store, label = TagStore.open(workspace), audit.classes[0].label
    store.add("Ann", audit.id, CandidateKey(label, PCA, 0), Tag.CORE, called="snow")
    at = f"{label}/pca-0"
    assert shown(opened("tagging", audit=audit.id, at=at)).endswith(": component 1")
    asked = opened("tagging", audit=audit.id, at=at, others="1")
    assert shown(asked).endswith("snow (component 1)")
