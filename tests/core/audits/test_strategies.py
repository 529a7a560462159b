"""Strategies of a stored audit: found where asked for, kept, tagged, tried, and taken away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import core.audits.strategies
from core.__main__ import main
from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.run import run_audit
from core.audits.strategies import discover, ranking, spaces, strategies
from core.candidates.cluster_kind import CLUSTER, PSI
from core.candidates.cluster_search import Asked
from core.errors import InputError
from core.storage.files import write_array
from core.storage.workspace import Workspace
from core.tags.decisions import linear_piece
from core.trials.leaning import leaning, measure_asked, measure_leaning
from tests.core.conftest import workspace_of


@pytest.fixture
def own(planted: Audit, tmp_path: Path) -> Audit:
    shutil.copytree(workspace_of(planted).root, tmp_path / "own")
    return Audit.open(Workspace(tmp_path / "own"), planted.id)


def test_the_planted_class_comes_first_and_its_clusters_are_the_patch(own: Audit) -> None:
    measure_leaning(own)
    before = leaning(own)
    table = discover(own, [facts.label for facts in own.classes], Asked())
    assert (table.loc[0, "class_name"], table.loc[0, "space"]) == ("leaf", PSI)
    assert table["apart"].tolist() == sorted(table["apart"], reverse=True)
    assert set(table.loc[table["apart"], "class_name"]) == {"leaf"}
    audit = Audit(own.folder)
    arrays = audit.arrays_of("leaf")
    patch = audit.images.loc[arrays.image_ids, "patch"].to_numpy(bool)
    space = next(one for one in spaces(audit, arrays.class_idx) if one.name == PSI)
    assert adjusted_rand_score(patch, space.labels) >= 0.95
    listed = [one for one in strategies(audit, arrays.class_idx) if one.space == PSI]
    assert sum(len(one.members) for one in listed) == len(patch)
    assert sum(one.share for one in listed) == pytest.approx(1)
    assert all(one.low <= one.accuracy <= one.high for one in listed)

    rows = audit.candidates.query("kind == 'cluster'")
    assert len(rows) == sum(
        len(of.of_kind(CLUSTER).numbers) for of in map(audit.class_arrays, range(3))
    )
    assert leaning(audit).equals(before)  # what was tried stays tried
    tried = measure_asked(audit)
    assert len(tried) == len(before) + len(rows)
    assert tried.query("kind == 'cluster'")["taken_away"].notna().all()
    piece = linear_piece(audit, audit.candidate(str(listed[0].key)))
    assert np.isfinite(piece.direction).all()


def test_what_is_there_is_not_found_again_and_a_stopped_job_goes_on(
    own: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, seen = core.audits.strategies.find_clusters, []

    def counted(images, parts, asked):
        if len(seen) == 1:
            raise KeyboardInterrupt
        seen.append(images.output)
        return find(images, parts, asked)

    monkeypatch.setattr(core.audits.strategies, "find_clusters", counted)
    labels, asked = [facts.label for facts in own.classes], Asked((PSI,))
    with pytest.raises(KeyboardInterrupt):
        discover(own, labels, asked)
    stopped = Audit(own.folder)
    assert set(stopped.candidates.query("kind == 'cluster'")["class_idx"]) == {seen[0]}
    seen.clear()
    monkeypatch.setattr(
        core.audits.strategies, "find_clusters", lambda *a: (seen.append(a), find(*a))[1]
    )
    discover(stopped, labels, asked)
    assert len(seen) == 2
    discover(Audit(own.folder), labels, asked)
    assert len(seen) == 2
    discover(Audit(own.folder), labels[:1], Asked((PSI,), 3))
    assert len(seen) == 3
    assert Audit(own.folder).count(own.classes[0], CLUSTER) == 3


def test_the_command_line_finds_tags_and_exports_them(
    own: Audit, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    at = ["--workspace", str(workspace_of(own).root)]
    assert main(["discover", own.name, "--class", "leaf", "--space", "psi", *at, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["class_name"] for row in said["classes"]] == ["leaf"]
    first = said["clusters"]["leaf"][0]
    assert first["key"] == "leaf/cluster-0"
    assert len(first["members"]) == round(first["share"] * said["classes"][0]["images"])
    tag = ["tags", "add", own.name, "--class", "leaf", "--cluster", "1", "--tag", "spurious"]
    assert main([*tag, *at]) == 0
    capsys.readouterr()
    out = ["--out", str(tmp_path / "found")]
    assert main(["discover", own.name, "--class", "leaf", *out, *at]) == 0
    arrays = np.load(tmp_path / "found" / "clusters-0.npz")
    assert len(arrays["image_ids"]) == len(arrays["alpha"]) == arrays["labels"].shape[1]
    shown = sum(overlay.any() for overlay in arrays["overlay"])
    assert len(list((tmp_path / "found").glob("clusters-0-*.png"))) == shown
    assert "leaf, by channels: 2 clusters of" in capsys.readouterr().out
    out = tmp_path / "alpha.csv"
    assert main(["export", own.name, "alpha", "--kind", "cluster", "--out", str(out), *at]) == 0
    stored = [Audit(own.folder).class_arrays(c.class_idx).of_kind(CLUSTER) for c in own.classes]
    assert len(out.read_text().splitlines()) == 1 + sum(found.alpha.size for found in stored)
    assert main(["discover", own.name, "--space", "maps", *at]) == 2
    assert "choose heatmap, psi, part" in capsys.readouterr().err


def test_the_same_audit_again_keeps_what_was_found_in_the_same_images(own: Audit) -> None:
    discover(own, ["leaf"], Asked((PSI,)))
    rows = Audit(own.folder).candidates.query("kind == 'cluster'")
    again = run_audit(AuditRequest.again(own.manifest, parts=3), workspace_of(own))
    kept = again.candidates.query("kind == 'cluster'")
    assert list(map(list, kept["top_image_ids"])) == list(map(list, rows["top_image_ids"]))
    write_array(again.files.of_kind(CLUSTER, 0).array("own-found_in"), np.array(["another"]))
    gone = run_audit(AuditRequest.again(own.manifest, parts=4), workspace_of(own))
    assert gone.candidates.query("kind == 'cluster'").empty
    assert not gone.count(gone.classes[0], CLUSTER)


def test_an_audit_without_clusters_says_how_to_find_some(planted: Audit) -> None:
    assert ranking(planted).empty
    assert strategies(planted, 0) == []
    with pytest.raises(InputError, match="has no clusters; find some: python -m core discover"):
        planted.candidate("leaf/cluster-0")
