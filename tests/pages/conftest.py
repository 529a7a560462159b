"""Every page through AppTest, on two audits of a network that is drawn in a second."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest
from torch import Tensor, nn

from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.run import run_audit
from core.candidates.kinds import KINDS
from core.commands import plugins
from core.corrections.methods import METHODS
from core.data.source import SOURCES
from core.explain.attribution import ATTRIBUTIONS
from core.explain.explainer import EXPLAINERS
from core.measures.registry import MEASURES
from core.storage.workspace import Workspace
from core.types import Preprocess
from tests.tiny import named

COLOURS = {"cat": (220, 60, 40), "dog_*x*": (40, 70, 220), "eel": (60, 190, 90)}
"""One class has a name that Markdown would take for emphasis."""
TRAIN, TEST, SIDE = 14, 8, 64


class Tiny(nn.Module):
    """Two convolutions, average pooling, a linear head."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.ReLU()),
            *(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.ReLU()),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc(self.pool(self.body(x)).flatten(1))
        return found


HALF = Preprocess((SIDE, SIDE), 1.0, "bilinear", (0.5,) * 3, (0.5,) * 3)
for seed in range(2):
    named(f"page-{seed}", partial(Tiny, seed), HALF)


def draw_data(root: Path) -> Path:
    """A manifest of three classes with object masks and the attribute snow."""
    rng = np.random.default_rng(3)
    rows = []
    for label, colour in COLOURS.items():
        for i in range(TRAIN + TEST):
            snow = i % 3 == 0
            pixels = rng.normal(190 if snow else 110, 25, (SIDE, SIDE, 3))
            x = int(rng.integers(4, 36))
            pixels[20:44, x : x + 24] = 0.8 * np.array(colour) + rng.normal(0, 40, 3)
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[20:44, x : x + 24] = 255
            name = f"{list(COLOURS).index(label)}-{i:02d}"
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / f"{name}.png")
            Image.fromarray(mask).save(root / f"{name}-mask.png")
            split = "train" if i < TRAIN else "test"
            rows.append((f"{name}.png", label, split, f"{name}-mask.png", int(snow)))
    columns = ["path", "label", "split", "object_mask", "snow"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "manifest.csv", index=False)
    return root / "manifest.csv"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the audits "first" and "second" of the same images; to be copied."""
    root = tmp_path_factory.mktemp("pages")
    data = draw_data(root)
    for seed, name in enumerate(("first", "second")):
        request = AuditRequest(
            str(data), f"tiny:page-{seed}", name=name, head="fit", components=6, workers=1
        )
        run_audit(request, Workspace(root / "workspace"))
    return root / "workspace"


@pytest.fixture
def workspace(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy of the prepared workspace, which the app opens."""
    shutil.copytree(prepared, tmp_path / "workspace")
    monkeypatch.setenv("SPURIOSCOPE_WORKSPACE", str(tmp_path / "workspace"))
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace without any audit."""
    monkeypatch.setenv("SPURIOSCOPE_WORKSPACE", str(tmp_path / "workspace"))
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def audit(workspace: Workspace) -> Audit:
    return Audit.open(workspace, "first")


Open = Callable[..., AppTest]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Open a page as its address does; parameters are those of the address."""

    def open_page(page: str, /, **params: str) -> AppTest:
        script = tmp_path / f"{page}.py"
        script.write_text(f"from core.ui.frame.shell import run\n\nrun(start={page!r})\n")
        app = AppTest.from_file(str(script), default_timeout=30)
        for name, value in params.items():
            app.query_params[name.rstrip("_")] = value
        return app.run()

    return open_page


def healthy(app: AppTest, title: str) -> AppTest:
    """Neither an exception nor an error on a page of this title."""
    assert not app.exception, [e.message for e in app.exception]
    assert not app.error, [e.value for e in app.error]
    assert [t.value for t in app.title] == [title]
    return app


def galleries(app: AppTest) -> list[Any]:
    """Every gallery and every list of cards on a page."""
    found = [element.proto for element in app.get("bidi_component")]
    return [proto for proto in found if proto.component_name == "spurioscope.gallery"]


def gallery(app: AppTest, place: int = 0) -> dict[str, Any]:
    """What a gallery or the cards on a page were given."""
    found: dict[str, Any] = json.loads(galleries(app)[place].json)
    return found


def scatters(app: AppTest) -> list[Any]:
    """Every scatter on a page."""
    found = [element.proto for element in app.get("bidi_component")]
    return [proto for proto in found if proto.component_name == "spurioscope.scatter"]


def scatter(app: AppTest) -> dict[str, Any]:
    """What the scatter of a page was given; its points as a table."""
    (proto,) = scatters(app)
    found: dict[str, Any] = json.loads(proto.mixed.json)
    (blob,) = proto.mixed.arrow_blobs.values()
    return {**found, "points": pa.ipc.open_stream(blob.data).read_pandas()}


def send(app: AppTest, event: str, value: str, place: int = 0) -> AppTest:
    """Run the page as the browser does after a click inside a gallery."""
    return trigger(app, galleries(app)[place], event, value)


def trigger(app: AppTest, proto: Any, event: str, value: str | dict[str, Any]) -> AppTest:
    """Run the page as the browser does after an event inside a component."""
    states = app._tree.get_widget_states()
    state = states.widgets.add()
    state.id = f"$$STREAMLIT_INTERNAL_KEY_{proto.id}__events"
    state.json_trigger_value = json.dumps([{"event": event, "value": value}])
    return app._run(states)


def address(app: AppTest) -> dict[str, str]:
    """The parameters in the address bar."""
    return {
        name: value if isinstance(value, str) else value[-1]
        for name, value in app.query_params.items()
    }


REGISTRIES = (KINDS, METHODS, ATTRIBUTIONS, EXPLAINERS, SOURCES, MEASURES)
Install = Callable[..., tuple[plugins.Plugin, ...]]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put entry points where Python looks for those of packages, and load what they name."""
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_found", dict(registry))
    site = tmp_path / "site"

    def install(**values: str) -> tuple[plugins.Plugin, ...]:
        folder = site / "extras-2.5.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: extras\nVersion: 2.5\n")
        lines = [
            f"[spurioscope.{group}]\n{value.partition(':')[0]} = tests.plugins.{value}"
            for group, value in values.items()
        ]
        (folder / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(site)
        monkeypatch.setenv("PYTHONPATH", str(site))
        for value in values.values():
            name = f"tests.plugins.{value.partition(':')[0]}"
            monkeypatch.delitem(sys.modules, name, raising=False)
        plugins._loaded.cache_clear()
        return plugins.load()

    yield install
    plugins._loaded.cache_clear()
