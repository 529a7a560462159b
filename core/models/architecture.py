"""An architecture before its head is known, and the sources that architectures come from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from core.errors import ModelError
from core.types import Preprocess, Registry

if TYPE_CHECKING:
    from torch import nn

    from core.storage.audit_manifest import Reading


@dataclass(frozen=True)
class Architecture:
    """A network, with its weights where there are any."""

    network: nn.Module
    preprocess: Preprocess
    outputs: tuple[str, ...] | None
    """What the outputs of the architecture's own weights mean."""
    notes: tuple[str, ...] = ()
    headless: bool = False
    """The architecture came without a head and was given an untrained one."""
    reading: Reading | None = None
    """What the user said of it, which goes before what it says itself."""
    built: Callable[[tuple[int, int]], nn.Module] | None = None
    """The same architecture, without weights, built for images of another height and width."""


@dataclass(frozen=True)
class ModelSource:
    """Where architectures come from: what stands before the colon of a model's name."""

    name: str
    written: str
    """How its models are written, in a sentence: ``timm:NAME``."""
    load: Callable[[str, bool, int | None], Architecture]
    """Of what stands behind the colon; whether with the source's own weights; and K, the number of
    outputs, for those that come without a head."""


MODEL_SOURCES: Registry[ModelSource] = Registry(
    "source of models",
    (
        "core.models.timm_models:TIMM",
        "core.models.torchvision_models:TORCHVISION",
        "core.models.packaged_models:PACKAGED",
        "core.models.hugging_face:HUGGING_FACE",
    ),
)
"""By what stands before the colon; other packages add theirs by ``register``."""

register = MODEL_SOURCES.register


def architecture_of(name: str, *, pretrained: bool, num_outputs: int | None) -> Architecture:
    """The architecture that a model's name means.

    Raises
    ------
    ModelError
        If no source is called so, or its own says why not.
    """
    source, _, architecture = name.partition(":")
    if source not in MODEL_SOURCES:
        written = [known.written for known in MODEL_SOURCES.values()]
        raise ModelError(
            f"Unknown model {name!r}: write {', '.join(written[:-1])}, or {written[-1]}."
        )
    return MODEL_SOURCES[source].load(architecture, pretrained, num_outputs)


def unknown_name(source: str, name: str, wanted: str, known: Sequence[str]) -> str:
    """What is said of a name that a source does not know, with those close to it."""
    close = difflib.get_close_matches(wanted, known, n=4, cutoff=0.5)
    remedy = (
        f"close names are {', '.join(f'{source}:{match}' for match in close)}"
        if close
        else f"there are {len(known)} names, such as {source}:{known[0]}"
        if known
        else "it has no pretrained weights"
    )
    return f"Unknown model {source}:{name}: {remedy}."


@cache
def wordnet_ids(subset: str) -> tuple[str, ...]:
    """WordNet ids of a subset of ImageNet, in the order of its outputs."""
    from timm.data.imagenet_info import ImageNetInfo

    return tuple(ImageNetInfo(subset).label_names())  # type: ignore[no-untyped-call]
