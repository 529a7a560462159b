"""The report on a network wired by hand, whose class "leaf" leans on a red patch."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON
from core.data.corruptions import CORRUPTIONS
from core.errors import InputError
from core.measures.registry import MEASURES
from core.report import appendix, charts, findings
from core.report import material as evidence
from core.report import prints as pictures
from core.report import sentences as words
from core.report.beside import beside
from core.report.document import Report, compose, render
from core.report.findings import Number, Verdict
from core.statistics.intervals import critical, newcombe
from core.tags.log import TagStore
from core.types import Tag
from tests.core.measures.test_table import GREEN, RED, workspace_of
from tests.core.report.conftest import Page, alone, copied, counting, gathered

HTML_OF_HOSTILE = "https://evil.example"
HOSTILE = "<script>alert(1)</script>\"'&<img src=https://evil.example/x>"


def test_claims_equal_the_planted_truth(report: Report, html: str) -> None:
    (section,) = report.sections
    assert [(f.label, f.verdict) for f in section.findings] == [("leaf", Verdict.HARMED)]
    said = Page(html).named("article")
    assert [(a["data-label"], a["data-verdict"]) for a in said] == [("leaf", "harmed")]
    assert {q.label for q in section.questions} == {"pond", "sky"}
    assert section.headline.text == "The one class with tagged cues is harmed by them: “leaf”."
    accusing = [line for line in words.of_finding(section.findings[0]) if "pond" in line.text]
    assert not accusing


def test_numbers_of_a_finding_are_those_of_the_table(
    report: Report, proof: evidence.Evidence
) -> None:
    (finding,) = report.sections[0].findings
    table = proof.table[proof.table["label"] == "leaf"].set_index("measure")
    assert report.tests == 2
    assert finding.gap is not None
    assert finding.gap.value == table.at["spurious_gap", "value"]
    high, low = (table.loc[f"accuracy_{side}_spuriosity"] for side in ("high", "low"))
    bounds = newcombe(
        np.array(high["value"] * high["n"]),
        np.array(low["value"] * low["n"]),
        high["n"],
        z=critical(2),
    )
    assert (finding.gap.low, finding.gap.high) == pytest.approx([100 * float(b) for b in bounds])
    assert finding.flip is not None
    assert finding.flip.value == table.at["flip_rate", "value"]
    (done,) = finding.done
    assert finding.cost == pytest.approx(100 * done.lean[1])
    lean = table.loc["lean"]
    assert (done.lean[0], done.targets) == (lean["value"], lean["n"])
    assert finding.gap_control is not None
    assert finding.gap_control.value == table.at["spurious_gap_control", "value"]


def test_affected_images_are_wrong_and_show_least_of_the_cue(report: Report, tagged: Audit) -> None:
    (finding,) = report.sections[0].findings
    images = tagged.images.loc[list(finding.affected)]
    assert not images["fair"].any()
    assert (images["label"] == "leaf").all()
    assert (images["split"] == "test").all()
    alpha = tagged.features(images.index.tolist())[:, RED]
    every = tagged.images.query("label == 'leaf' and split == 'test'").index.tolist()
    assert alpha.max() <= np.median(tagged.features(every)[:, RED])
    assert finding.accuracy_low is not None
    k, accuracy = finding.accuracy_low.n, finding.accuracy_low.value
    assert len(finding.affected) == round(k * (1 - accuracy))


def test_the_same_input_gives_the_same_bytes(html: str, report: Report, tagged: Audit) -> None:
    again = Audit(tagged.folder)
    second = compose([gathered(again)], title="A report", author="An author")
    assert render(second) == html
    assert appendix.appendix(second) == appendix.appendix(report)


def test_the_model_is_loaded_once(
    untagged: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = copied(untagged, tmp_path)
    store = TagStore.open(workspace_of(audit))
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, RED), Tag.SPURIOUS)
    calls = counting(monkeypatch)
    quick = gathered(audit, with_model=False)
    assert not calls
    what = "noise on the tagged cues and cues pasted on other classes' images"
    what += " and tagged candidates put in with pixels and how little of an image is enough"
    assert quick.missing == f"Not measured with these tags: {what}."
    assert "flip_rate" not in set(quick.table["measure"])
    assert not evidence.is_measured(audit, quick.decisions)
    first, second = gathered(audit), gathered(audit)
    assert len(calls) == 1
    assert not first.missing
    assert evidence.is_measured(audit, first.decisions)
    pd.testing.assert_frame_equal(first.table, second.table)
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, GREEN), Tag.SPURIOUS)
    assert gathered(audit, with_model=False).missing


def test_it_refers_to_nothing_outside(html: str) -> None:
    page = alone(html)
    policy = [m.get("content") for m in page.named("meta") if "http-equiv" in m]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_every_picture_has_words(html: str) -> None:
    page = Page(html)
    assert len(page.named("img")) == 3 * pictures.SHOWN
    assert all(str(image["alt"]).strip() for image in page.named("img"))
    assert len(page.named("svg")) == 3
    assert all(figure["role"] == "img" for figure in page.named("svg"))
    for figure in re.findall(r"<svg.*?</svg>", html, re.S):
        assert re.search(r"<title>[^<]+</title><desc>[^<]+</desc>", figure)


def test_what_is_behind_a_sentence_stands_below_it(report: Report, html: str) -> None:
    (finding,) = report.sections[0].findings
    text = " ".join(Page(html).text.split())
    said = " ".join(sentence.text for sentence in words.of_finding(finding))
    assert "is recognised from at most" in said
    assert "on the tagged cue" in said or "the tagged cue cannot" in said
    for sentence in words.of_finding(finding):
        assert " ".join(sentence.text.split()) in text
        for number in sentence.numbers:
            name = number.measure.replace("_", " ")
            name += f" ({number.subject})" if number.subject else ""
            figure = f"{name} = {words.figure(number)} {words.interval(number)}".rstrip()
            assert f"{figure}, n = {number.n}" in text


def test_numbers_are_called_by_words_and_never_by_keys(report: Report) -> None:
    section = report.sections[0]
    of = words.of_finding(section.findings[0])
    number = next(number for sentence in of for number in sentence.numbers)
    keys = replace(number, measure="corrupted_gap", subject="gaussian_noise 5")
    score = replace(number, measure="ood_auroc", subject="max_logit: after")
    said = words.Sentence("A sentence.", (keys, score))
    text = " ".join(
        Page(render(replace(report, sections=(replace(section, shift=(said,)),)))).text.split()
    )
    assert "corrupted gap (Gaussian noise 5) = " in text
    assert "ood auroc (highest logit (MaxLogit): after) = " in text
    keys_of_all = {name for name in [*MEASURES, *CORRUPTIONS, "max_logit"] if "_" in name}
    seen = {key: text.index(key) for key in keys_of_all & set(re.findall(r"\w+", text))}
    assert not {key: text[place - 60 : place + 60] for key, place in seen.items()}


def test_hostile_names_stay_text(proof: evidence.Evidence) -> None:
    audit = Audit(proof.audit.folder)
    audit.manifest = replace(
        audit.manifest,
        name=HOSTILE,
        model=replace(audit.manifest.model, name=HOSTILE),
        data=replace(audit.manifest.data, source=HOSTILE),
        head=replace(audit.manifest.head, reason=HOSTILE),
    )
    classes = tuple(replace(facts, name=HOSTILE) for facts in audit.classes)
    audit.summary = replace(audit.summary, attributes=(HOSTILE,), notes=(HOSTILE,), classes=classes)
    answers = proof.answers.assign(reason=HOSTILE)
    said = replace(proof, audit=audit, missing=HOSTILE, answers=answers)
    written = render(compose([said], title=HOSTILE, author=HOSTILE))
    assert "<script" not in written
    assert "<img src=https" not in written
    page = Page(written)
    assert HOSTILE in page.text
    assert all(str(i["src"]).startswith("data:image/jpeg;base64,") for i in page.named("img"))


def test_nothing_tagged_is_said(untagged: Audit, tmp_path: Path) -> None:
    audit = copied(untagged, tmp_path)
    found = compose([gathered(audit)])
    (section,) = found.sections
    assert not section.findings
    assert "nothing is claimed about any class" in section.headline.text
    assert {q.label for q in section.questions} == {"leaf", "pond", "sky"}
    page = alone(render(found))
    assert not page.named("article")
    assert "harmed by" not in page.text


def at_rest(proof: evidence.Evidence) -> dict[str, pd.DataFrame]:
    """The same candidates as if they did what their controls do."""
    return {
        label: found.assign(lean=0.0, by_donor=[[0.0] * 16] * len(found), taken_away=0.0)
        for label, found in proof.tried.items()
    }


def test_what_was_not_tried_is_no_harm(proof: evidence.Evidence) -> None:
    (finding,) = compose([replace(proof, tried={})]).sections[0].findings
    assert finding.gap is not None
    assert finding.gap.low > 0
    assert finding.triggers
    assert finding.verdict is not Verdict.HARMED
    assert finding.cost == 0
    assert "python -m core report without --quick" in " ".join(words.advice(finding))


def test_a_gap_alone_is_no_harm(proof: evidence.Evidence) -> None:
    (finding,) = compose([replace(proof, tried=at_rest(proof))]).sections[0].findings
    assert finding.helps
    assert finding.verdict is not Verdict.HARMED
    assert "Do not rely on" not in " ".join(words.advice(finding))
    few = replace(finding, detectable=40.0)  # more than WORTH; and yet this one was told
    assert few.verdict is Verdict.OPEN
    assert words.verdict(few).text.endswith("a gap is there, but a gap alone is no harm.")
    assert replace(few, helps=False).verdict is Verdict.TOO_FEW


def test_a_figure_over_no_image_is_drawn_nowhere(proof: evidence.Evidence) -> None:
    (finding,) = compose([proof]).sections[0].findings
    nan = float("nan")
    front = "flip_rate_object_in_front"
    empty = Number(front, "", nan, nan, nan, "share", 0, "test", "")
    drawn = charts.flips(replace(finding, others=(empty,)))
    assert "cue pasted" in drawn
    assert "nan" not in drawn
    assert "object" not in drawn


def test_too_little_data_is_said(proof: evidence.Evidence) -> None:
    table = proof.table.copy()
    few = table["measure"].str.contains("spuriosity|spurious_gap", regex=True)
    table.loc[few & (table["measure"] != "spurious_gap"), "n"] = 4
    table.loc[table["measure"].isin(["flip_rate"]), ["value", "low"]] = 0.0
    table.loc[table["measure"] == "accuracy_high_spuriosity", "value"] = 0.75
    table.loc[table["measure"] == "accuracy_low_spuriosity", "value"] = 0.5
    still = replace(proof, table=table, tried=at_rest(proof))
    (finding,) = compose([still]).sections[0].findings
    assert finding.verdict is Verdict.TOO_FEW
    assert finding.cost == 0
    text = " ".join(s.text for s in words.of_finding(finding))
    assert "too little data" in text
    assert "harmed" not in text
    assert f"from {finding.wanted} a side on" in " ".join(words.advice(finding))


def test_a_gap_around_zero_is_no_claim(proof: evidence.Evidence) -> None:
    table = proof.table.copy()
    table.loc[table["measure"].str.startswith("accuracy_"), ["value", "n"]] = [0.8, 100]
    table.loc[table["measure"] == "flip_rate", ["value", "low"]] = 0.0
    still = replace(proof, table=table, tried=at_rest(proof))
    (finding,) = compose([still]).sections[0].findings
    assert finding.verdict is Verdict.OPEN
    assert not finding.affected
    assert words.advice(finding) == [
        "Nothing follows from these numbers; no change of the model is advised."
    ]


@pytest.mark.parametrize(
    ("k", "accuracy", "z"), [(25, 0.5, 1.96), (100, 0.9, 2.5), (30, 0.0, 3.0), (4, 0.5, 2.0)]
)
def test_detectable_gap_against_a_slow_replica(k: int, accuracy: float, z: float) -> None:
    wanted = float("inf")
    for difference in range(1, k + 1):
        second = min(max(round(k * accuracy - difference / 2), 0), k - difference)
        low, _ = newcombe(np.array(second + difference), np.array(second), k, z=z)
        if low > 0:
            wanted = 100 * difference / k
            break
    assert findings.detectable(k, accuracy, z) == pytest.approx(wanted)


def test_printing_fewer_classes_does_not_loosen_an_interval(proof: evidence.Evidence) -> None:
    twice = compose([proof, proof], classes=["leaf"])
    assert twice.tests == 4
    once = compose([proof])
    wide, narrow = (r.sections[0].findings[0].gap for r in (twice, once))
    assert wide.low < narrow.low
    assert compose([proof], classes=["pond"]).tests == once.tests
    (pond,) = compose([proof], classes=["pond"]).sections
    assert not pond.findings
    assert pond.headline.text.startswith("For none of the chosen classes")


def test_several_audits_stand_beside_each_other(
    proof: evidence.Evidence, untagged: Audit, tmp_path: Path
) -> None:
    assert compose([proof]).compared is None
    target = tmp_path / "workspace" / "audits" / "0123456789ab"
    shutil.copytree(untagged.folder, target)
    other = Audit(target)
    other.manifest = replace(other.manifest, name=HOSTILE)
    assert other.id == target.name
    both = compose([proof, gathered(other)])
    assert both.compared is not None
    accuracy = next(line for line in both.compared.lines if line.title == "Accuracy")
    value = f"{proof.audit.images['fair'][proof.audit.held_out].mean():.2f}"
    assert [cell[0].split()[0] for cell in accuracy.cells] == [value, value]
    assert accuracy.cells[0][1] == ""
    gap = next(line for line in both.compared.lines if line.title == "Mean spurious gap")
    assert gap.cells[1] == ("", "")
    assert both.compared.absent
    page = alone(render(both).replace(HTML_OF_HOSTILE, ""))
    assert "held-out images that all of them share" in page.text
    assert "not known" in page.text


def test_audits_of_other_images_say_so(proof: evidence.Evidence) -> None:
    other = Audit(proof.audit.folder)
    other.manifest = replace(other.manifest, id="0123456789ab")
    other.__dict__["images"] = other.images.rename(index=lambda i: f"{i}x")
    found = beside([proof, replace(proof, audit=other)])
    assert found is not None
    assert not found.lines
    assert "share 0 images, none held out in all" in found.notes[0]


def test_unknown_class_is_named(proof: evidence.Evidence) -> None:
    with pytest.raises(InputError, match="no class 'lead'; for example: leaf"):
        compose([proof], classes=["lead"])
    with pytest.raises(InputError, match="at least one audit"):
        compose([])


def test_images_that_are_gone_are_said(
    proof: evidence.Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit(proof.audit.folder)
    data = replace(audit.manifest.data, root="/nowhere")
    audit.manifest = replace(audit.manifest, data=data)
    page = alone(render(compose([replace(proof, audit=audit)])))
    assert not page.named("img")
    assert "is not there any more" in page.text


def test_a_missing_model_is_said(
    untagged: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = copied(untagged, tmp_path)
    store = TagStore.open(workspace_of(audit))
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, RED), Tag.SPURIOUS)

    def gone(*_: object, **__: object) -> None:
        raise InputError("the weights are gone")

    monkeypatch.setattr("core.models.load.load_model", gone)
    found = gathered(audit)
    assert "the weights are gone" in found.missing
    assert not evidence.is_measured(audit, found.decisions)
    assert "the weights are gone" in Page(render(compose([found]))).text


def test_pictures_of_many_findings_load_the_model_once(
    untagged: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = copied(untagged, tmp_path)
    store = TagStore.open(workspace_of(audit))
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, RED), Tag.SPURIOUS)
    composed = compose([gathered(audit, with_model=False)])
    (section,) = composed.sections
    thrice = replace(composed, sections=(replace(section, findings=section.findings * 3),))
    with_stored = render(thrice)
    audit.store.drop_maps()
    calls = counting(monkeypatch)
    assert render(thrice) == with_stored
    assert len(calls) == 1
