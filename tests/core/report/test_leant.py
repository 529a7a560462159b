"""Paragraphs about what a model leans on appear where their figures were computed."""

from __future__ import annotations

from pathlib import Path

from core.audits.audit import Audit
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import ON_DEMAND
from core.report.material import gather
from core.report.sentences import percent
from core.report.shift import learnt, patches, priors
from tests.core.conftest import unmeasured, workspace_of


def test_they_say_what_was_planted_and_nothing_before(planted: Audit, tmp_path: Path) -> None:
    audit = unmeasured(planted, tmp_path / "afresh")
    evidence = gather(audit, workspace_of(audit), with_model=False)
    assert [said(evidence) for said in (priors, learnt, patches)] == [None, None, None]
    tables = {}
    for part in ("priors", "agreement", "universal"):
        request = MeasureRequest(audit.id, part)
        tables[part] = ON_DEMAND[part].table(audit, evidence.decisions, request)
    alone = priors(evidence)
    assert alone is not None
    values = tables["priors"].set_index(["label", "subject"])["value"]
    texture, shape = values["", "head on texture alone"], values["", "head on shape alone"]
    assert f"shuffled patches alone on {percent(texture)}" in alone.text
    assert f"edges alone is right on {percent(shape)}" in alone.text
    assert alone.text.endswith("of leaf the cue is in the texture rather than in the shape.")
    assert len(alone.numbers) == 3
    easy = learnt(evidence)
    assert easy is not None
    assert easy.text.startswith("Beside leaf, patch=True is learnt from fewer images: from 4,")
    assert [number.n for number in easy.numbers[:2]] == [4, 4]
    patch = patches(evidence)
    assert patch is not None
    assert patch.text.startswith("The strongest patch of 4 % of an image that gradients find turns")
    assert "of other classes' images into leaf (a random one" in patch.text
    assert len(patch.numbers) == 6
