"""The names that wrappers gave to a network's tensors, taken back by what the network calls them.

No wrapper is known by its name: a prefix is what stands in front of a name that the network has.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from core.models.tensor_values import COUNTER, equal

INSIDE = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What compiling and sharding put in the middle of names; it never tells two copies apart."""

MOST = 200
"""Prefixes that are looked at, those that most names have."""


@dataclass(frozen=True)
class Names:
    """The file's tensors under the network's names."""

    prefix: str
    """What stands in front of most of the file's names."""
    found: dict[str, Tensor]
    unexpected: dict[str, Tensor]
    """Those that the network has no name for, by the file's names."""
    others: tuple[str, ...]
    """Names of the network under another prefix whose tensors differ from those found."""
    by_order: bool = False
    """Whether the names were given by the order of the tensors and their shapes."""


def rename(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], head: str) -> Names:
    """Find the network's names in a file: under the prefix that fits most names and shapes.

    Where no prefix leads to a whole encoder, tensors of the network's shapes in its order, as a
    sequence made of its children has them, are taken to be its own.

    Parameters
    ----------
    own : the network's tensors by name.
    head : name of its head, which a file may lack.
    """
    plain = _plain(weights)
    names = _by_prefix(plain, own)
    encoder = [name for name in own if not name.startswith(f"{head}.") and COUNTER not in name]
    if all(name in names.found for name in encoder):
        return names
    return _by_order(plain, own, encoder) or names


def _plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what stands inside names, unless two would become one."""
    short = {INSIDE.sub("", name): tensor for name, tensor in weights.items()}
    inside = any(INSIDE.search(name, 1) for name in weights)
    return short if inside and len(short) == len(weights) else dict(weights)


def _by_prefix(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Names:
    prefixes = _prefixes(weights, own)
    best = max(prefixes, key=lambda prefix: _matches(prefix, weights, own))
    order = [best, *(prefix for prefix in prefixes if prefix != best)]
    found: dict[str, Tensor] = {}
    for name, mine in own.items():
        keys = [prefix + name for prefix in order if prefix + name in weights]
        if keys and (keys[0] == best + name or weights[keys[0]].shape == mine.shape):
            found[name] = weights[keys[0]]
    known = {prefix + name: name for prefix in prefixes for name in own}
    others = [
        theirs
        for theirs, name in known.items()
        if theirs in weights and theirs.removeprefix(best) not in own
        if not (name in found and equal(found[name], weights[theirs]))
    ]
    unexpected = {name: tensor for name, tensor in weights.items() if name not in known}
    return Names(best, found, unexpected, tuple(others))


def _prefixes(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """What stands in front of names of the network, the empty one included, short ones first."""
    counts: Counter[str] = Counter({"": 1})
    for name in weights:
        parts = name.split(".")
        for depth in range(1, len(parts)):
            if ".".join(parts[depth:]) in own:
                counts[".".join(parts[:depth]) + "."] += 1
    most = [prefix for prefix, _ in counts.most_common(MOST)]
    return sorted({"", *most}, key=lambda prefix: (len(prefix), prefix))


def _matches(prefix: str, weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> int:
    """Names and shapes that agree once the prefix is stripped."""
    return sum(
        prefix + name in weights and weights[prefix + name].shape == mine.shape
        for name, mine in own.items()
    )


def _by_order(
    weights: Mapping[str, Tensor], own: Mapping[str, Tensor], encoder: list[str]
) -> Names | None:
    """The encoder's names for the first tensors of a file, where all shapes and endings agree."""
    theirs = [name for name in weights if COUNTER not in name]
    pairs = list(zip(encoder, theirs, strict=False))
    alike = len(pairs) == len(encoder) and all(
        own[mine].shape == weights[name].shape and _ending(mine) == _ending(name)
        for mine, name in pairs
    )
    if not alike:
        return None
    found = {mine: weights[name] for mine, name in pairs}
    taken = {name for _, name in pairs}
    rest = {n: t for n, t in weights.items() if n not in taken and COUNTER not in n}
    return Names("", found, rest, (), by_order=True)


def _ending(name: str) -> str:
    return name.rpartition(".")[2]
