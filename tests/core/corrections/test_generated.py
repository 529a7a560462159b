"""Audits with generated features: complete, tagged, and readable like any other."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from benchmarks.generated import ASKED, PEOPLE, make, try_candidates
from core.audits.map import compute_map
from core.audits.synth_request import SynthRequest
from core.measures.stored import known
from core.statistics.intervals import auroc
from core.storage.workspace import Workspace
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.trials.leaned_on import leaned_on
from core.trials.leaning import leaning


def test_a_generated_audit(workspace: Workspace) -> None:
    request = SynthRequest(images=480, classes=4, dim=90, maps=60, parts=2)
    audit = make(workspace, request)
    assert len(audit.images) == 480
    assert [facts.n_components for facts in audit.classes] == [64] * 4
    assert audit.summary.accuracy > 0.5
    store = TagStore.open(workspace)
    assert len(store.current(audit.id)) == 4 * ASKED * PEOPLE
    assert len(decided(audit, store).spurious) == 4
    assert compute_map(audit, umap=False).facts.n == 480
    assert "spurious_gap" in set(known(audit, decided(audit, store))["measure"])
    arrays = audit.class_arrays(0)  # one of the strongest components is the cue
    cue = audit.images.loc[arrays.image_ids, "cue"].to_numpy() == 1
    assert max(auroc(np.asarray(arrays.alpha[:, c]), cue) for c in range(5)) > 0.9
    kept = audit.store.mapped(arrays.image_ids)
    ids = [name for name, has in zip(arrays.image_ids, kept, strict=True) if has]
    means = audit.store.maps(ids).mean(axis=(2, 3))
    assert np.abs(means - audit.features(ids)).max() < 0.01  # half floats
    assert (audit.candidates["kind"] == "part").sum() == 4 * 2
    assert try_candidates(audit) == len(leaning(audit))
    assert {one.block for one in leaned_on(audit)} == {"maps"}


@pytest.mark.slow
def test_a_quarter_of_the_largest(workspace: Workspace) -> None:
    audit = make(workspace, SynthRequest(images=25_000, classes=250, dim=256))
    table = known(audit, decided(audit, TagStore.open(workspace)))
    assert (table["measure"] == "spurious_gap").sum() > 240
    assert compute_map(audit, umap=False).facts.shown == 25_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3 * 2**20  # KiB
