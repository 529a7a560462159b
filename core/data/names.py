"""Names and definitions for labels that are WordNet ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

WORDNET_ID = re.compile(r"n\d{8}")


def display_names(labels: Sequence[str]) -> dict[str, str]:
    """Name of each label as a person would say it.

    If every label is a WordNet id that ImageNet uses, its first name ("tench"); where two labels
    share it, the second name follows in brackets ("maillot (tank suit)"), or the id if there is
    none ("crane (n02012849)"). Any other label stays as it is.

    Parameters
    ----------
    labels : distinct raw labels.

    Returns
    -------
    Name by label; all names are distinct.
    """
    described = _described(labels)
    if len(described) < len(labels):
        return {label: label for label in labels}
    names = {label: synonyms[0] for label, (synonyms, _) in described.items()}
    shared = _shared(names)
    for label in shared:
        synonyms = described[label][0]
        if len(synonyms) > 1:
            names[label] = f"{names[label]} ({synonyms[1]})"
    for label in _shared(names):
        names[label] = f"{described[label][0][0]} ({label})"
    return names


def lemmas() -> list[str]:
    """The first name of every WordNet id that ImageNet uses, of all 21,841, each once, sorted."""
    from timm.data.imagenet_info import ImageNetInfo

    described = ImageNetInfo("imagenet-22k").label_descriptions(as_dict=True)
    names = cast(dict[str, str], described).values()
    return sorted({text.split(",")[0].strip() for text in names} - {""})


def definitions(labels: Sequence[str]) -> dict[str, str]:
    """WordNet's definition of each label that is one of ImageNet's ids; others are left out."""
    return {label: gloss for label, (_, gloss) in _described(labels).items()}


def _shared(names: Mapping[str, str]) -> list[str]:
    counts = Counter(names.values())
    return [label for label, name in names.items() if counts[name] > 1]


def _described(labels: Sequence[str]) -> dict[str, tuple[list[str], str]]:
    """Synonyms and definition of every label that ImageNet knows."""
    ids = [label for label in labels if WORDNET_ID.fullmatch(label)]
    if not ids:
        return {}
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    found = {}
    for label in ids:
        try:
            lemmas = info.label_name_to_description(label)
            detailed = info.label_name_to_description(label, detailed=True)
        except KeyError:
            continue
        found[label] = (lemmas.split(", "), detailed.removeprefix(f"{lemmas}: "))
    return found
