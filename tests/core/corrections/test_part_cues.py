"""A part as the cue that is corrected: as a concept vector, by cutting and pasting its region."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from core.audits.audit import Audit
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.candidates.part_kind import PART
from core.corrections.acted_on import find, gather
from core.corrections.mitigate_request import MitigateRequest
from core.corrections.mitigation import run_mitigation
from core.corrections.tagged_masks import tagged_counterfactuals, tagged_regions
from core.corrections.task import Task
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.trials.encoder import Seen
from core.trials.examples import Examples
from core.types import Tag
from tests.conftest import tiny_request
from tests.core.audits import test_planted
from tests.core.conftest import GREEN, RED
from tests.core.corrections.conftest import QUICK, cell
from tests.tiny import named

pytestmark = pytest.mark.usefixtures("unfitted_folds")


def leaning_on_red() -> test_planted.WhiteBox:
    """Its head reads red and green alike as "leaf", blue as "pond", cyan as "sky"."""
    network = test_planted.white_box()
    with torch.no_grad():
        network.fc.weight.zero_()
        network.fc.bias.zero_()
        for output, channel in ((0, RED), (0, GREEN), (1, 2), (2, 3)):
            network.fc.weight[output, channel] = 300.0
    return network


named("leaning-on-red", leaning_on_red, test_planted.PLAIN)


@pytest.fixture(scope="module")
def leaning(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """An audit whose part of "leaf" that answers to red is tagged spurious."""
    root = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_planted, "N", {"train": 60, "test": 60})
        data = test_planted.draw_data(root / "data")
    request = tiny_request(data, model="tiny:leaning-on-red", head="keep", batch_size=64)
    audit = run_audit(request, Workspace(root / "workspace"))
    store = TagStore.open(Workspace(root / "workspace"))
    store.add("ann", audit.id, CandidateKey("leaf", PART, red_part(audit)), Tag.SPURIOUS)
    return audit


def red_part(audit: Audit) -> int:
    """The part of "leaf" whose alpha goes along with the red patch."""
    arrays = audit.arrays_of("leaf")
    red = audit.features(arrays.image_ids)[:, RED]
    alike = [np.corrcoef(red, alpha)[0, 1] for alpha in np.asarray(arrays.of_kind(PART).alpha).T]
    assert max(alike) > 0.95
    return int(np.argmax(alike))


def answer(audit: Audit, channel: int) -> float:
    """How far a hundredth more of a channel moves the logit of "leaf" above the others."""
    phi = np.asarray(audit.features(audit.images.index.tolist()))
    more = phi.copy()
    more[:, channel] += 0.01
    moved = (audit.head.logits(more) - audit.head.logits(phi)).mean(axis=0)
    return float(moved[0] - moved[1:].mean())


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("pclarc", {"strength": 1.0}),
        ("projection", {"strength": 1.0}),
        ("rrclarc", {"strength": 1e3}),
        ("parts", {"strength": 100.0, "options": {"region": "cut"}}),
        ("parts", {"strength": 100.0, "options": {"region": "replaced"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_model_no_longer_answers_to_a_part(
    leaning: Audit, method: str, more: dict[str, Any]
) -> None:
    name = f"{method}-{len(str(more))}"
    asked = {"cues": (f"leaf/part-{red_part(leaning)}",), "name": name, **QUICK, **more}
    audit = run_mitigation(
        MitigateRequest(leaning.name, method, **asked), Workspace(leaning.folder.parents[1])
    )
    assert abs(answer(audit, RED)) < 0.3 * answer(leaning, RED)
    assert answer(audit, GREEN) > 2 * abs(answer(audit, RED))
    assert cell(audit, "accuracy")["after"] > 0.5


def test_what_is_cut_out_and_pasted_in_pixels_is_the_region_of_the_part(leaning: Audit) -> None:
    findings = find(leaning, Workspace(leaning.folder.parents[1]), classes=("leaf",))
    gathered = gather(leaning, findings)
    task = Task(leaning, findings, gathered.evidence, gathered.rows, None, {})
    ids, seen = leaning.images.index[task.rows].tolist(), Seen(leaning)
    regions, shows = tagged_regions(task, ids, leaning.load_model())
    patched = [i for i, name in enumerate(ids) if seen.mask(name, "cue_mask") is not None]
    mine = [i for i in patched if shows[i]]
    assert len(mine) > 10
    on = [regions[i][seen.mask(ids[i], "cue_mask")].mean() for i in mine]
    assert np.mean(on) > 0.8
    assert regions[mine].mean() < 0.2
    pixels = np.stack([seen.picture(name) for name in ids])
    labels = leaning.images.loc[ids, "label"].map(leaning.head.index).to_numpy(np.int64)
    given: Any = SimpleNamespace(
        places=np.arange(len(ids)), train=Examples(pixels, labels), model=leaning.load_model()
    )
    pasted = tagged_counterfactuals(task, given, "paste", 1)
    reddened = pasted.pixels[len(ids) :].astype(int) - pixels[labels != 0]
    assert (pasted.labels[len(ids) :] != 0).all()  # whose label stays
    assert (reddened[..., 0] - reddened[..., 1]).max(axis=(1, 2)).mean() > 60
