"""What the page Components says of parts, and how another number of them is asked for."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.candidates.part_kind import PART, parts_of
from core.storage.files import write_frame
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag
from tests.pages.conftest import Open, address, healthy

TITLE = "Components of a class"


def captions(app: AppTest) -> str:
    return "\n".join(caption.value for caption in app.caption)


def test_parts_say_how_much_they_explain(audit: Audit, opened: Open) -> None:
    app = healthy(opened("components", audit=audit.id, class_="eel", kind="part"), TITLE)
    arrays = audit.arrays_of("eel")
    found = arrays.of_kind(PART)
    said = captions(app)
    assert f"{len(found.numbers)} parts explain {100 * parts_of(found).explained:.0f} %" in said
    rows = np.asarray(arrays.fitting, bool)
    rest = found.arrays["rest"][rows].sum()
    whole = rest + found.alpha[rows].sum()
    assert f"the rest holds {round(100 * rest / whole)} % of the margin" in said
    assert app.selectbox(key="w_parts_wanted").options[0] == f"by the rule ({len(found.numbers)})"
    assert not [button for button in app.button if button.key == "find"]


def test_another_number_of_parts_is_a_click_away(
    audit: Audit, opened: Open, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("core.jobs.jobs.start", lambda _, arguments, title: asked.append(arguments))
    view = {"audit": audit.id, "kind": "part", "parts_wanted": "7"}
    app = healthy(opened("components", **view), TITLE)
    assert address(app)["parts_wanted"] == "7"
    app.button(key="find").click().run()
    (arguments,) = asked
    request = AuditRequest.parse(arguments)
    assert request == AuditRequest.again(audit.manifest, parts=7)
    assert (request.name, request.parts, request.components) == ("first", 7, 6)
    done = run_audit(request, workspace)
    again = healthy(opened("components", **view), TITLE)
    assert again.selectbox(key="w_parts_wanted").value == "7"
    assert not [button for button in again.button if button.key == "find"]
    assert f"{len(done.arrays_of('cat').of_kind(PART).numbers)} parts explain" in captions(again)


def test_tags_of_parts_are_said_to_stay_with_their_numbers(
    audit: Audit, opened: Open, workspace: Workspace
) -> None:
    view = {"audit": audit.id, "kind": "part", "parts_wanted": "7"}
    assert "Tags stay" not in captions(opened("components", **view))
    key = CandidateKey("eel", PART, 0)
    TagStore.open(workspace).add("ann", audit.id, key, Tag.SPURIOUS)
    assert "Tags stay with the numbers" in captions(opened("components", **view))


def test_parts_without_maps_say_what_to_do(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in audit.files.found.glob("part-*"):
        shutil.rmtree(folder)
    table = audit.candidates
    write_frame(audit.files.candidates, table[table["kind"] != "part"])
    unkept = np.zeros(14, bool)
    monkeypatch.setattr("core.features.shards.FeatureStore.mapped", lambda *_: unkept)
    app = healthy(opened("components", audit=audit.id, kind="part"), TITLE)
    assert any("run the same audit again" in text.value for text in app.markdown)
