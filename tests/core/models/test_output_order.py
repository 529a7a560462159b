"""Which output is which class: the orders that people use, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from core.models.output_order import as_facts, fits, natural_orders, warning

TWELVE = [str(i) for i in range(12)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (TWELVE, TWELVE),
        ([f"class{i}" for i in range(1, 13)], [f"class{i}" for i in range(1, 13)]),
        (["3 plums", "10 pears", "1 apple"], ["1 apple", "3 plums", "10 pears"]),
        (["apple", "Zebra"], ["Zebra", "apple"]),
        (["007", "1"], ["1", "007"]),
        (["1a", "b2"], ["1a", "b2"]),
        (["1", "01"], ["01", "1"]),
    ],
    ids=["numbers", "numbered", "leading", "case", "zeros", "not alike", "same number"],
)
def test_the_most_telling_order_is_the_first(labels: list[str], expected: list[str]) -> None:
    outputs = natural_orders(sorted(labels), len(labels))[0].outputs
    assert sorted(outputs, key=lambda label: outputs[label]) == expected
    assert sorted(outputs.values()) == list(range(len(labels)))


def test_numbers_are_outputs_also_of_fewer_classes() -> None:
    (order,) = natural_orders(["7", "2"], 10)
    assert order.outputs == {"7": 7, "2": 2}
    assert natural_orders(["7", "12"], 10) == []
    assert natural_orders(["class7", "class2"], 10) == []


def test_the_data_set_s_own_order_goes_first() -> None:
    own = ["T-shirt", "Trouser", "Bag"]
    found = natural_orders(["Bag", "T-shirt", "Trouser"], 3, own)
    assert (found[0].name, found[0].outputs) == ("data", {"T-shirt": 0, "Trouser": 1, "Bag": 2})
    assert found[0].words == "in the data set's own order (T-shirt, Trouser, Bag)"
    assert [order.name for order in natural_orders(["Bag"], 3, own)] == ["data"]


def test_a_far_better_order_is_told() -> None:
    orders = natural_orders(sorted(TWELVE), 12)
    labels = [label for label in TWELVE for _ in range(10)]
    by_text = np.array([sorted(TWELVE).index(label) for label in labels])
    tried = as_facts(fits(orders, by_text, labels))
    assert [(fit["order"], fit["accuracy"]) for fit in tried] == [
        ("number", pytest.approx(2 / 12)),
        ("text", 1.0),
        ("caseless", 1.0),
    ]
    assert "--classes text" in warning(tried, len(labels))
    assert warning(as_facts(fits(orders, np.array([int(i) for i in labels]), labels)), 120) == ""
    assert warning(tried, 3) == ""  # of three images nothing can be said
