"""A candidate has one name and one parser; the spellings of older addresses are still read."""

from __future__ import annotations

import pytest

from core.candidates.key import CandidateKey
from core.candidates.kinds import KINDS
from core.candidates.linear_kinds import CARRIED, NEURON, PCA
from core.errors import InputError

OUTPUTS = ["car", "a/b", "van"]


LABELS = ["van", "", "a/b", "a-b", "a.b", "pca-0", "x/pca-0", "/", "12", "2.pca.0", "a\nb", "ä ,%?"]


@pytest.mark.parametrize("number", [0, 7, 2**31 - 1])
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("label", LABELS)
def test_every_key_is_read_back(label: str, kind: str, number: int) -> None:
    key = CandidateKey(label, kind, number)
    assert CandidateKey.parse(str(key)) == key
    assert CandidateKey.parse(key.short, label=label) == key
    assert CandidateKey.parse(str(key), label="other", outputs=OUTPUTS) == key


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("van/pca-0", "van"),
        ("a/b/pca-0", "a/b"),
        ("a-b/pca-0", "a-b"),
        ("neuron-3/pca-0", "neuron-3"),
        ("/pca-0", ""),
        ("12.pca.0/pca-0", "12.pca.0"),
        ("2.pca.0", "van"),
        ("2/pca/0", "van"),
        ("1.pca.0", "a/b"),
        ("1/pca/0", "a/b"),
    ],
)
def test_all_spellings_are_read(text: str, label: str) -> None:
    assert CandidateKey.parse(text, outputs=OUTPUTS) == CandidateKey(label, PCA, 0)


def test_a_short_text_is_of_the_class_that_is_given() -> None:
    assert CandidateKey.parse("neuron-7", label="van") == CandidateKey("van", NEURON, 7)
    assert CandidateKey.parse("carried-1", label="") == CandidateKey("", CARRIED, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pca-0",
        "van",
        "van/pca",
        "van/pca-",
        "van/pca-x",
        "van/pca--1",
        "van/pca-00",
        "van/logit-0",
        "van/PCA-0",
        "van/pca-0 ",
        "van/pca-٣",
        "van.pca.0",
        "3.pca.0",
        "3/pca/0",
        "2.pca/0",
        "2.logit.0",
        "-1.pca.0",
        "2.pca.-1",
        "2.pca.99999999999",
    ],
)
def test_what_names_no_candidate_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write it like van/pca-0"):
        CandidateKey.parse(text, outputs=OUTPUTS)


def test_an_index_means_nothing_without_the_outputs() -> None:
    with pytest.raises(InputError, match=r"'2\.pca\.0' names no candidate; write it like pca-0"):
        CandidateKey.parse("2.pca.0", label="van")


def test_keys_sort_by_class_kind_and_number_and_have_words() -> None:
    keys = [CandidateKey(*k) for k in (("b", PCA, 2), ("b", PCA, 10), ("a", PCA, 3))]
    assert [str(key) for key in sorted(keys)] == ["a/pca-3", "b/pca-2", "b/pca-10"]
    assert len({*keys, CandidateKey("b", PCA, 2)}) == 3
    assert CandidateKey("a", PCA, 3).title == "component 4"
    assert CandidateKey("a", NEURON, 3).title == "neuron 3"
    assert CandidateKey("a", CARRIED, 3).title == "carried direction 4"
