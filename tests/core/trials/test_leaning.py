"""What leading candidates do is measured once, from stored maps alone."""

from __future__ import annotations

import shutil
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import core.trials.leaning as module
from core.audits.audit import Audit
from core.candidates.candidate import heatmaps_of
from core.errors import WorkspaceError
from core.jobs.engine import Crowd
from core.jobs.work import Order, Work
from core.jobs.worker import serve
from core.statistics.multiplicity import corrected_level
from core.storage.files import write_frame
from core.trials.leaning import LEADING, is_possible, leaning, measure_leaning, missing
from core.trials.trial_work import TrialWork, share_trials
from core.types import silent


@pytest.fixture
def audit(tiny_audit: Audit, tmp_path: Path) -> Audit:
    shutil.copytree(tiny_audit.folder, tmp_path / "audit")
    return Audit(tmp_path / "audit")


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("an image was decoded or the model loaded")


def test_leading_candidates_of_every_kind_are_tried(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Audit, "image", refuse)
    monkeypatch.setattr(Audit, "load_model", refuse)
    assert leaning(audit).empty
    assert len(missing(audit)) == len(audit.classes)
    table = measure_leaning(audit)
    assert missing(audit) == []
    assert set(table["kind"]) == {"pca", "neuron", "part"}
    assert table.groupby(["class_idx", "kind"]).size().max() == LEADING
    said = table[table["obstacle"] == ""]
    shares = said[["put_in", "put_in_control", "area"]].to_numpy()
    assert ((shares >= 0) & (shares <= 1)).all()
    np.testing.assert_allclose(said["lean"], said["put_in"] - said["put_in_control"])
    path = audit.files.outcome(module.NAME, module.trial_key(audit))
    write_frame(path, table.drop(columns="left_out_sensitivity"))  # as an earlier version left it
    assert leaning(audit).equals(table.drop(columns="left_out_sensitivity"))


def test_what_was_stopped_goes_on_and_ends_the_same(
    audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure_leaning(audit)
    shutil.rmtree(audit.files.outcomes)
    tried, trial = [], module.Trial.of_class

    def stopping(self: module.Trial, facts: object) -> object:
        if tried:
            raise KeyboardInterrupt
        tried.append(facts)
        return trial(self, facts)

    with monkeypatch.context() as patch:
        patch.setattr(module.Trial, "of_class", stopping)
        with pytest.raises(KeyboardInterrupt):
            measure_leaning(audit)
    assert len(missing(audit)) == len(audit.classes) - 1
    assert not leaning(audit).empty
    order = ["class_idx", "kind", "component"]
    again = measure_leaning(audit).sort_values(order).reset_index(drop=True)
    assert again.equals(whole.sort_values(order).reset_index(drop=True))


def test_intervals_are_corrected_over_all(audit: Audit) -> None:
    table = measure_leaning(audit)
    p = table["p"].to_numpy(float)
    level = corrected_level(p, "fdr_bh")
    clear = (table["lean"] - table["lean_low"]) < table["lean"].abs()
    sure = clear | ((table["lean_high"] - table["lean"]) < table["lean"].abs())
    assert (sure.to_numpy() == (p < 1 - level)).all()
    assert level >= 0.95


def test_without_maps_a_sentence_says_so(audit: Audit) -> None:
    audit.store.drop_maps()
    fresh = Audit(audit.folder)
    assert "no maps are kept; run the same audit again" in is_possible(fresh)
    assert measure_leaning(fresh).empty


def test_maps_of_several_kinds_at_once_are_those_of_each(audit: Audit) -> None:
    arrays = audit.class_arrays(0)
    some = [arrays.candidate(*of) for of in (("pca", 1), ("part", 0), ("neuron", 3), ("part", 1))]
    maps = audit.maps(arrays.image_ids[:5])
    together = heatmaps_of(some, maps)
    for i, candidate in enumerate(some):
        np.testing.assert_allclose(together[:, i], candidate.heatmap(maps), atol=1e-6)


def test_an_engine_tries_each_class_once_and_stores_the_same_bytes(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = audit.files.outcome(module.NAME, module.trial_key(audit))
    measure_leaning(audit)
    before = whole.read_bytes()
    shutil.rmtree(audit.files.outcomes)
    tried, of_class = [], module.Trial.of_class
    monkeypatch.setattr(
        module.Trial, "of_class", lambda *of: tried.append(of[1].class_idx) or of_class(*of)
    )

    class Elsewhere(Crowd):
        """A worker that knows nothing but the folder, and another beside it."""

        def begin(self, work: Work, order: Order) -> None:
            folder = (work.folder,)
            self.workers = [
                threading.Thread(target=serve, args=folder, kwargs={"advanced": int})
                for _ in range(2)
            ]
            for worker in self.workers:
                worker.start()

        def look(self, left: int) -> None:
            assert left

        def end(self) -> None:
            for worker in self.workers:
                worker.join()

    with closing(Elsewhere()) as engine:
        share_trials(engine, audit, silent)
        share_trials(engine, audit, silent)  # there is nothing left to try
    assert sorted(tried) == [facts.class_idx for facts in audit.classes]
    assert whole.read_bytes() == before
    other = replace(TrialWork(audit).order(), details={"key": "another"})
    with pytest.raises(WorkspaceError, match="has other candidates than those that its workers"):
        other.work(audit.folder)
