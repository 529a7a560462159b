"""Evaluation sets that are known by name: which classes they are of, and what is odd about them.

The lists of classes are timm's. What a set is called decides: the name that the user gives it, else
that of its folder.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class KnownSet:
    """One that people know by its name."""

    name: str
    pattern: str
    """What names match, of letters and digits alone, small."""
    text: str
    """What a user should know of it, in a sentence."""
    classes: str = ""
    """List of the classes (WordNet ids) that the logits are restricted to; empty: all outputs."""
    labelled: bool = True
    """Whether its images have a right label at all."""

    @property
    def only(self) -> tuple[str, ...]:
        """WordNet ids of the classes that alone are asked about; empty: all outputs."""
        return _listed(self.classes) if self.classes else ()


_IMAGENET = r"(imagenet|in)"

KNOWN = (
    KnownSet(
        "imagenetv2",
        rf"{_IMAGENET}v2.*",
        "ImageNetV2: its folders are the numbers of ImageNet's outputs, 0 to 999, read as numbers.",
    ),
    KnownSet(
        "imagenet-a",
        rf"{_IMAGENET}a",
        "ImageNet-A: the model chooses among its 200 classes, as published.",
        classes="imagenet_a_synsets.txt",
    ),
    KnownSet(
        "imagenet-r",
        rf"{_IMAGENET}r",
        "ImageNet-R: the model chooses among its 200 classes, as published.",
        classes="imagenet_r_synsets.txt",
    ),
    KnownSet(
        "imagenet-o",
        rf"{_IMAGENET}o",
        "ImageNet-O shows none of ImageNet's classes: there is no right answer and no accuracy, it "
        "is there to be told apart.",
        labelled=False,
    ),
    KnownSet("imagenet-sketch", rf"({_IMAGENET}|)sketch", "ImageNet-Sketch: drawings alone."),
    KnownSet(
        "imagenet-w",
        rf"{_IMAGENET}w",
        "ImageNet-W: the photos of the validation set with a watermark drawn on each.",
    ),
    KnownSet(
        "imagenet-x",
        rf"{_IMAGENET}x",
        "ImageNet-X: the photos of the validation set; its factors are columns of a manifest.",
    ),
    KnownSet(
        "objectnet",
        r"objectnet.*",
        "ObjectNet calls its classes in its own words, and some of them are several of ImageNet's: "
        "only those whose name is an output's are counted, so this is not the published figure.",
    ),
)
"""Every set that is known, none of which is downloaded."""


def known_set(*names: str) -> KnownSet | None:
    """The set that one of these names means, the first that means one; None where none does."""
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in names]
    found = (known for name in plain for known in KNOWN if re.fullmatch(known.pattern, name))
    return next(found, None)


def imagenet_classes() -> tuple[str, ...]:
    """The WordNet ids of ImageNet's 1,000 classes, in the order of its outputs."""
    return _listed("imagenet_synsets.txt")


@cache
def _listed(file: str) -> tuple[str, ...]:
    found = pkgutil.get_data("timm.data", f"_info/{file}")
    assert found is not None  # a resource of a package that is there
    return tuple(found.decode().split())


def restricted_as(labels: Sequence[str]) -> KnownSet | None:
    """The set that has exactly these classes, of those that restrict the logits."""
    mine = set(labels)
    return next((known for known in KNOWN if known.classes and set(known.only) == mine), None)
