"""What several modules use: the planted audit with two tagged neurons, listed data, counts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core.features.extract
import core.features.feed
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON
from core.data.open import open_data
from core.models.model import Model
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag
from tests.core.audits import test_planted

RED, GREEN = 0, 1
"""Neurons of the white box: the patch, and the colour that leaves are about."""

N = 96
"""Images of a class in either split."""


def load_white_box(name: str = "tiny:white-box") -> Model:
    """The white box, whatever the name."""
    return Model(name, test_planted.white_box(), test_planted.PLAIN)


def workspace_of(audit: Audit) -> Workspace:
    return Workspace(audit.folder.parent.parent)


def unmeasured(audit: Audit, folder: Path) -> Audit:
    """The audit and its tags in a workspace of its own, where nothing was measured."""
    leave = shutil.ignore_patterns("measures", "outcomes", "mitigation")
    shutil.copytree(workspace_of(audit).root, folder, ignore=leave)
    return Audit.open(Workspace(folder), audit.id)


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """Audit with two tagged neurons of "leaf", to be read only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_planted, "N", {"train": N, "test": N})
        audit = test_planted.audited(tmp_path_factory.mktemp("measured"), 0.7)
    store = TagStore.open(workspace_of(audit))
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, RED), Tag.SPURIOUS)
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, GREEN), Tag.CORE)
    return audit


@pytest.fixture
def listed(tmp_path):
    def open_it(source, **options):
        return open_data(str(source), workspace=tmp_path / "workspace", **options)

    return open_it


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many images were decoded and encoded; set to 0 to count anew."""
    seen = {"decoded": 0, "encoded": 0}
    read, encode = core.features.extract.picture_seen, core.features.feed.Feed.put

    def counted_read(preprocess: Any, path: Path) -> Any:
        seen["decoded"] += 1
        return read(preprocess, path)

    def counted_encode(feed: Any, pixels: np.ndarray) -> Any:
        seen["encoded"] += len(pixels)
        return encode(feed, pixels)

    monkeypatch.setattr(core.features.extract, "picture_seen", counted_read)
    monkeypatch.setattr(core.features.feed.Feed, "put", counted_encode)
    return seen
