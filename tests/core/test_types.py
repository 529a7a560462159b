"""A registry: what is chosen by name; counts that agree with what they count."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from core.errors import InputError
from core.types import Registry, count_of


@dataclass(frozen=True)
class Hat:
    name: str


BOWLER, BERET = Hat("bowler"), Hat("beret")


def hats() -> Registry[Hat]:
    return Registry("hat", [f"{__name__}:BOWLER", f"{__name__}:BERET"])


def test_its_own_stand_first_in_their_order_and_others_after_them() -> None:
    known = hats()
    fez = known.register(Hat("fez"))
    assert list(known) == ["bowler", "beret", "fez"]
    assert known["fez"] is known.chosen("fez") is fez
    assert known.get("bowler") is BOWLER
    assert len(known) == 3


def test_a_name_is_given_once() -> None:
    known = hats()
    with pytest.raises(InputError, match="there is a hat 'beret' already; choose another name"):
        known.register(Hat("beret"))
    known.register(Hat("fez"))
    with pytest.raises(InputError, match="a hat 'fez' already"):
        known.register(Hat("fez"))
    assert len(known) == 3


@pytest.mark.parametrize("name", ["", "Fez", "a/b", "../fez", "fez cap", "fez\n", "-fez", "f" * 65])
def test_a_name_fits_into_addresses_and_files(name: str) -> None:
    known = hats()
    with pytest.raises(InputError, match="hat .*: a name is made of at most 64 small letters"):
        known.register(Hat(name))
    assert list(known) == ["bowler", "beret"]


def test_who_asks_for_another_is_told_all() -> None:
    with pytest.raises(InputError, match="there is no hat 'cap'; choose bowler, beret"):
        hats().chosen("cap")


def test_nothing_is_imported_before_it_is_looked_into() -> None:
    known = Registry("hat", ["no.such:thing"])
    with pytest.raises(ModuleNotFoundError):
        len(known)


def test_what_was_registered_can_be_taken_back() -> None:
    known, other = hats(), hats()
    known.register(Hat("fez"))
    before = len(Registry.journal)
    known.register(Hat("cap"))
    other.register(Hat("cap"))
    Registry.take_back(before)
    assert list(known) == ["bowler", "beret", "fez"]
    assert list(other) == ["bowler", "beret"]
    assert Registry.journal[-1] == (known, "fez")
    Registry.take_back(before - 1)


def test_a_count_agrees_with_what_is_counted() -> None:
    assert [count_of(n, "image") for n in (0, 1, 2000)] == ["0 images", "1 image", "2,000 images"]
    of = "of 3 classes is", "of 3 classes are"
    assert [count_of(n, *of) for n in (1, 2)] == ["1 of 3 classes is", "2 of 3 classes are"]
