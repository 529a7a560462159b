"""Votes, agreement and exchange of tags: replicas, hand-made cases, round trips, bad files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON, PCA
from core.errors import InputError
from core.storage.workspace import Workspace
from core.tags.agreement import agreement, disagreements, fleiss, krippendorff_alpha, pairs, people
from core.tags.entries import NewTag
from core.tags.exchange import WORKERS, export_tags, read_tags
from core.tags.log import TagStore
from core.tags.queue import GOLD_EVERY, mixed, tagging_queue
from core.tags.votes import ADJUDICATION, GOLD, answers, count_votes, needed
from core.types import Subtype, Tag

OUTPUTS = ["n01440764", "n01443537", "n01484850"]


def table(rows: list[tuple[int, str, str]], subtype: dict[int, str] | None = None) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["component", "annotator", "tag"])
    frame["subtype"] = [(subtype or {}).get(i) for i in range(len(frame))]
    return frame.assign(label="wolf", kind="pca", confidence=pd.array([None] * len(frame), "Int64"))


@pytest.mark.parametrize(
    ("n", "votes"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)], ids=lambda v: str(v)
)
def test_votes_needed(n: int, votes: int) -> None:
    assert needed(n) == votes
    assert needed(n, 3) == 3


def test_decisions() -> None:
    rows = [(0, p, "spurious") for p in "abc"] + [(0, p, "core") for p in "de"]
    rows += [(1, "a", "core"), (1, "b", "spurious")]
    rows += [(2, p, "unsure") for p in "ab"] + [(2, "c", "core")]
    found = count_votes(table(rows, {0: "background", 1: "background", 2: "background"}))
    assert found["decision"].tolist() == ["spurious", "open", "unsure"]
    assert found["subtype"].tolist() == ["background", None, None]
    assert found["spurious"].tolist() == [3, 1, 0]
    low = count_votes(table(rows), threshold=2)
    assert low["decision"].tolist() == ["spurious", "open", "unsure"]


def test_subtypes_that_share_the_votes_stay_unsaid() -> None:
    rows = [(0, p, "spurious") for p in "abcde"]
    split = {0: "background", 1: "background", 2: "separate_object", 3: "separate_object"}
    found = count_votes(table(rows, split)).iloc[0]
    assert (found["decision"], found["subtype"]) == ("spurious", None)


def test_adjudication_settles_and_is_no_vote() -> None:
    rows = [(0, "a", "core"), (0, "b", "spurious"), (0, ADJUDICATION, "spurious")]
    rows += [(1, ADJUDICATION, "core")]
    found = count_votes(table(rows, {2: "background"}))
    assert found["decision"].tolist() == ["spurious", "core"]
    assert found["subtype"].tolist() == ["background", None]
    assert found["n"].tolist() == [2, 0]
    assert agreement(table(rows)).answers == 2
    assert count_votes(table(rows[3:]))["decision"].tolist() == ["core"]


def test_queue_puts_what_matters_first() -> None:
    candidates = pd.DataFrame(
        {
            "class_idx": [0, 0, 0, 1, 1],
            "kind": ["pca", "pca", "neuron", "pca", "pca"],
            "component": [0, 1, 5, 0, 1],
            "order": [0, 1, 0, 0, 9],
            "gap": [40.0, 10.0, 50.0, np.nan, 90.0],
            "gap_low": [5.0, -20.0, -1.0, np.nan, 50.0],
            "gap_high": [60.0, 30.0, 80.0, np.nan, 99.0],
            "variance_share": [0.3, 0.2, 0.1, 0.6, 0.1],
        }
    )
    found = tagging_queue(candidates, {(0, "pca", 0)}, kinds=["pca", "neuron"])
    keys = list(zip(found["class_idx"], found["kind"], found["component"], strict=True))
    assert keys == [(0, "neuron", 5), (0, "pca", 1), (1, "pca", 0), (0, "pca", 0)]
    assert len(tagging_queue(candidates, set(), kinds=["neuron"])) == 1
    tried = candidates.assign(
        lean=[0.1, 0.5, 0.9, np.nan, np.nan], lean_low=[0.05, 0.4, -0.1, np.nan, np.nan]
    )
    found = tagging_queue(tried, set(), kinds=["pca", "neuron"])
    keys = list(zip(found["class_idx"], found["kind"], found["component"], strict=True))
    assert keys == [(0, "pca", 1), (0, "pca", 0), (0, "neuron", 5), (1, "pca", 0)]


def random_answers(rng: np.random.Generator, items: int, n: int) -> pd.DataFrame:
    truth = rng.integers(0, 2, items)
    rows = [
        (i, f"p{p}", ["core", "spurious"][truth[i] if rng.random() < 0.8 else rng.integers(0, 2)])
        for i in range(items)
        for p in range(n)
    ]
    return table(rows)


def test_fleiss_equals_replica(rng: np.random.Generator) -> None:
    said = random_answers(rng, 40, 5).assign(answer=lambda t: t["tag"])
    counts = said.groupby("component")["answer"].value_counts().unstack(fill_value=0).to_numpy()
    p_item = ((counts**2).sum(axis=1) - 5) / 20
    p_chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    assert fleiss(said)[0] == pytest.approx((p_item.mean() - p_chance) / (1 - p_chance), abs=1e-12)


def test_alpha_with_missing_answers_equals_replica(rng: np.random.Generator) -> None:
    said = random_answers(rng, 40, 5).assign(answer=lambda t: t["tag"])
    said = said[rng.random(len(said)) < 0.7]
    coincidence = np.zeros((2, 2))
    for _, rows in said.groupby("component"):
        codes = (rows["answer"] == "spurious").astype(int).to_list()
        for i, a in enumerate(codes):
            for j, b in enumerate(codes):
                if i != j:
                    coincidence[a, b] += 1 / (len(codes) - 1)
    n_c = coincidence.sum(axis=1)
    n = n_c.sum()
    observed = n - np.trace(coincidence)
    expected = (n * n - (n_c**2).sum()) / (n - 1)
    assert krippendorff_alpha(said) == pytest.approx(1 - observed / expected, abs=1e-9)


def test_cohen_of_every_pair(rng: np.random.Generator) -> None:
    said = random_answers(rng, 30, 3)
    found = pairs(said).set_index(["first", "second"])["kappa"]
    wide = said.pivot_table(index="component", columns="annotator", values="tag", aggfunc="last")
    assert found["p0", "p2"] == pytest.approx(cohen_kappa_score(wide["p0"], wide["p2"]))
    assert len(found) == 3


def test_full_agreement_and_none() -> None:
    rows = [(i, p, "core" if i % 2 else "spurious") for i in range(10) for p in "abc"]
    found = agreement(table(rows))
    assert found.fleiss_kappa == pytest.approx(1)
    assert found.krippendorff_alpha == pytest.approx(1)
    assert found.unanimous == 1
    assert agreement(table([(0, "a", "core")])).fleiss_kappa is None
    assert agreement(table([])).answers == 0


def test_people_and_disagreements() -> None:
    rows = [(i, p, "core") for i in range(4) for p in "ab"]
    rows += [(0, "c", "core"), (1, "c", "spurious"), (2, "c", "spurious")]
    found = people(table(rows)).set_index("annotator")
    assert found.loc["c", "agreement"] == pytest.approx(1 / 3)
    assert found.loc["c", "spurious"] == pytest.approx(2 / 3)
    assert disagreements(count_votes(table(rows)))["component"].tolist() == [1, 2]


@pytest.fixture
def store(workspace: Workspace) -> TagStore:
    made = TagStore.open(workspace)
    made.add(
        "Ann", "a1", CandidateKey(OUTPUTS[0], PCA, 0), Tag.SPURIOUS, subtype=Subtype.BACKGROUND
    )
    made.add(
        "Bob",
        "a1",
        CandidateKey(OUTPUTS[0], PCA, 0),
        Tag.CORE,
        confidence=5,
        reason='a "b", ü',
    )
    made.add("Ann", "a1", CandidateKey(OUTPUTS[2], NEURON, 7), Tag.UNSURE)
    return made


@pytest.mark.parametrize("suffix", [".json", ".csv", ".parquet"])
def test_round_trip(store: TagStore, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tags{suffix}"
    assert export_tags(store.current("a1"), path, annotators=True) == 3
    read = read_tags(path, outputs=OUTPUTS, n_features=9, annotator="x")
    assert store.add_many("a2", read.rows) == 3
    assert store.add_many("a2", read.rows) == 0
    pd.testing.assert_frame_equal(answers(store.current("a1")), answers(store.current("a2")))


def test_people_stay_out_of_exports(store: TagStore, tmp_path: Path) -> None:
    export_tags(store.current("a1"), tmp_path / "t.csv", annotators=False)
    text = (tmp_path / "t.csv").read_text(encoding="utf-8")
    assert "Ann" not in text
    assert "Bob" not in text
    assert "person 1" in text


def workers(tmp_path: Path, **change: Any) -> Path:
    row = {
        "WorkerId": "w1",
        "Input.wordnet_id": OUTPUTS[1],
        "Input.class_index": 1,
        "Input.feature_index": 5,
        "Input.feature_rank": 1,
        "Answer.main": "background",
        "Answer.confidence": 4,
        "Answer.reasons": "the sea",
    }
    pd.DataFrame([row, row | {"WorkerId": "w2"} | change])[WORKERS].to_csv(
        tmp_path / "w.csv", index=False
    )
    return tmp_path / "w.csv"


def test_worker_table(tmp_path: Path) -> None:
    path = workers(tmp_path, **{"Input.wordnet_id": "n09999999"})
    read = read_tags(path, outputs=OUTPUTS, n_features=9, annotator="x")
    assert read.format == "workers"
    assert read.rows[0] == NewTag(
        annotator="w1",
        label=OUTPUTS[1],
        kind="neuron",
        component=5,
        tag="spurious",
        subtype="background",
        confidence=4,
        reason="the sea",
        at=None,
    )
    assert "row 3: n09999999 for output 1, which is n01443537" in read.warnings[0]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"Input.class_index": 3}, "row 3: Input.class_index .*3.* is no output"),
        ({"Input.feature_index": 9}, "row 3: Input.feature_index .*9.* is no feature"),
        ({"Answer.main": "maybe"}, "row 3: Answer.main 'maybe' is none of"),
    ],
)
def test_bad_worker_tables(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_tags(workers(tmp_path, **change), outputs=OUTPUTS, n_features=9, annotator="x")


def test_class_lists(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps({OUTPUTS[0]: [1, 4], "2": [0]}))
    read = read_tags(tmp_path / "c.json", outputs=OUTPUTS, n_features=9, annotator="me")
    assert [(r.label, r.component) for r in read.rows] == [
        (OUTPUTS[0], 1),
        (OUTPUTS[0], 4),
        (OUTPUTS[2], 0),
    ]
    assert {r.annotator for r in read.rows} == {"me"}


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.json", "{", "cannot be read as a table of tags"),
        ("a.json", "[1]", "expected"),
        ("a.json", '{"cat": [1]}', "'cat' is no class of this audit"),
        ("a.json", '{"0": ["x"]}', "'x' of class '0' is no component"),
        ("a.csv", "a,b\n1,2\n", "are no known table of tags"),
        ("a.csv", "label,kind,component,tag\nn01440764,pca,0,good\n", "row 2: tag 'good'"),
        ("a.csv", "label,kind,component,tag\nn01440764,neuron,9,core\n", "does not exist"),
        ("a.csv", "label,kind,component,tag\nfox,pca,0,core\n", "label 'fox' is no class"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, match: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=match):
        read_tags(tmp_path / name, outputs=OUTPUTS, n_features=9, annotator="x")


def test_gold_is_no_vote_and_everybody_is_held_against_it(workspace: Workspace) -> None:
    store = TagStore.open(workspace)
    for component, known in ((0, Tag.CORE), (1, Tag.SPURIOUS), (2, Tag.CORE)):
        store.add(GOLD, "a1", CandidateKey("wolf", PCA, component), known)
    for component, said in ((0, Tag.CORE), (1, Tag.CORE), (9, Tag.SPURIOUS)):
        store.add("ann", "a1", CandidateKey("wolf", PCA, component), said)
    table = answers(store.current("a1"))
    votes = count_votes(table).set_index("component")
    assert votes.index.tolist() == [0, 1, 9]
    assert votes.loc[1, "decision"] == "core"
    assert agreement(table).annotators == 1
    (ann,) = people(table).to_dict("records")
    assert (ann["gold"], ann["gold_answers"]) == (0.5, 2)


def test_gold_is_spread_over_a_queue() -> None:
    order, gold = list(range(70)), [3, 100, 101]
    found = mixed(order, gold, "ann")
    assert sorted(found) == sorted({*order, *gold})
    assert [item for item in found if item not in gold] == [i for i in order if i != 3]
    places = [found.index(item) for item in gold]
    assert max(places) < 3 * GOLD_EVERY
    assert found == mixed(order, gold, "ann")
    assert found != mixed(order, gold, "bob")
    assert mixed(order, [], "ann") == order
    assert sorted(mixed([1], [5, 6, 7], "")) == [1, 5, 6, 7]
