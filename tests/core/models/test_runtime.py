"""What runs the forward pass, and that another program is believed only where it says the same."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.audits import arithmetic
from core.audits.audit import Audit
from core.audits.run import run_audit
from core.errors import ModelError, WorkspaceError
from core.features.feed import Feed
from core.measures.shared_images import shared_images
from core.models import graph as graphs
from core.models.graph import NoGraphError, graph_key
from core.models.model import Model
from core.models.precision import in_words, unlike
from core.models.runtime import AGREES, Compared, compared, fastest
from core.storage.own_cache import OwnCache
from core.storage.workspace import Workspace
from tests.conftest import draw, tiny_request
from tests.tiny import HALF, load_tiny

for package in graphs.PACKAGES:
    pytest.importorskip(package)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache, and a home, that hold nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "spurioscope" / "graphs"


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that were exported."""
    seen: list[str] = []
    export = graphs._exported

    def counted(model: Model) -> bytes:
        seen.append(model.name)
        return export(model)

    monkeypatch.setattr(graphs, "_exported", counted)
    return seen


def test_its_telemetry_is_off_before_anything_is_loaded() -> None:
    code = (
        f"import core, os, sys; print(os.environ['{graphs.SILENCE}'], 'onnxruntime' in sys.modules)"
    )
    without = {name: value for name, value in os.environ.items() if name != graphs.SILENCE}
    done = subprocess.run([sys.executable, "-c", code], env=without, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "False"]


def some(rng: np.random.Generator, n: int) -> torch.Tensor:
    return torch.from_numpy(rng.integers(0, 256, (n, *HALF.input_size, 3), np.uint8))


def test_a_graph_says_what_torch_says(rng: np.random.Generator) -> None:
    model, images = load_tiny().to("cpu"), some(rng, 7)
    exact = model.encode(images)
    found = model.use_runtime("onnx").encode(images)
    assert found.maps is not None
    assert exact.maps is not None
    assert torch.allclose(found.features, exact.features, atol=1e-6)
    assert torch.allclose(found.maps, exact.maps, atol=1e-6)
    assert torch.equal(found.features[3], model.encode(images[3:4]).features[0])
    assert not any(module.training for module in model.network.modules())
    assert os.environ[graphs.SILENCE] == "1"
    with pytest.raises(ModelError, match="give uint8 images"):
        model.encode(images.float())
    copied = copy.deepcopy(model)
    assert torch.equal(copied.encode(images).features, found.features)
    assert model.to("cpu", "bf16").runtime == "eager"  # a graph computes in fp32
    assert model.use_runtime("onnx").runtime == "eager"


def test_an_image_says_the_same_on_any_number_of_cores_and_in_any_batch(
    rng: np.random.Generator,
) -> None:
    model, images = load_tiny().to("cpu"), some(rng, 9)
    content = graphs._exported(model)
    alone, several = graphs.Graph(content, 1), graphs.Graph(content, 4)
    exact = alone(images)
    feed = Feed([model.use_runtime("onnx")], 4)
    assert feed.ahead == 1
    pending = [feed.put(images[start : start + 4].numpy()) for start in (0, 4, 8)]
    found = [each.result() for each in pending]
    for number, name in enumerate(("features", "maps")):
        assert torch.equal(several(images.flip(0))[number].flip(0), exact[number])
        assert torch.equal(torch.cat([getattr(each, name) for each in found]), exact[number])


def test_what_needs_gradients_runs_by_torch(rng: np.random.Generator) -> None:
    model = load_tiny().to("cpu").use_runtime("onnx")
    images = model.normalise(some(rng, 2)).requires_grad_()
    model.features_of(images).sum().backward()
    assert images.grad is not None
    assert model._programs == {}


def test_a_graph_is_exported_once_and_read_from_the_own_cache_alone(
    cache: Path, exports: list[str], rng: np.random.Generator
) -> None:
    for _ in range(2):
        load_tiny().to("cpu").use_runtime("onnx").encode(some(rng, 1))
    assert exports == ["tiny:net"]
    (kept,) = cache.iterdir()
    assert kept.name.startswith(graph_key(load_tiny()))
    kept.write_bytes(kept.read_bytes()[:-1])  # damaged
    load_tiny().program("onnx")
    (kept,) = cache.iterdir()
    cache.chmod(0o777)  # somebody else may have written it
    load_tiny().program("onnx")
    assert exports == ["tiny:net"] * 3
    other = load_tiny()
    other.network.get_parameter("conv.bias").add_(1)
    assert graph_key(Model("tiny:net", other.network, HALF)) != graph_key(load_tiny())


def test_the_cache_keeps_to_its_budget(cache: Path) -> None:
    store = OwnCache("graphs", 100)
    store.write("large", b"x" * 101)
    for name in ("a", "b", "c"):
        store.write(name, name.encode() * 40)
        os.utime(next(cache.glob(f"{name}-*")), (ord(name), ord(name)))
    assert store.read("large") is None
    assert store.read("a") is None
    assert store.read("c") == b"c" * 40
    assert sum(path.stat().st_size for path in cache.iterdir()) <= 100


class Sorted(nn.Module):
    """A network that no graph can hold: it asks NumPy."""

    def __init__(self, of: nn.Module) -> None:
        super().__init__()
        self.of = of

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.sum().item() == float("inf"):
            raise ValueError("never")
        return self.of(torch.special.bessel_j0(images) * 0 + images)


def test_what_cannot_be_a_graph_runs_by_torch(rng: np.random.Generator) -> None:
    model = Model("odd", Sorted(load_tiny().network), HALF).to("cpu")
    images = some(rng, 3)
    exact = model.encode(images).features
    assert torch.equal(model.use_runtime("onnx").encode(images).features, exact)
    with pytest.raises(NoGraphError):
        model.program("onnx")


def test_a_graph_of_another_network_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    other = load_tiny()
    other.network.get_parameter("conv.weight").mul_(1.01)
    content = graphs._exported(other)
    monkeypatch.setattr(graphs, "_exported", lambda _: content)
    with pytest.raises(NoGraphError, match="computes something else"):
        load_tiny().program("onnx")
    monkeypatch.setattr(graphs, "_exported", lambda _: b"no graph")
    with pytest.raises(NoGraphError):
        load_tiny().program("onnx")


def test_a_graph_is_held_against_torch_on_a_sample(rng: np.random.Generator) -> None:
    model, images = load_tiny().to("cpu"), some(rng, 24)
    found = compared(model, images, lambda _: lambda phi: phi.argmax(axis=1), 8)
    assert found.holds
    assert found.images == 24
    exact = model.encode(images).features.numpy()
    ours = model.use_runtime("onnx").encode(images).features.numpy()
    far = np.linalg.norm(ours - exact, axis=1) / np.linalg.norm(exact - exact.mean(0), axis=1)
    assert found.distance == pytest.approx(far.max(), rel=0.2, abs=1e-7)


@pytest.mark.parametrize(
    ("distance", "maps", "differing", "holds"),
    [(AGREES, AGREES, 0, True), (2e-4, 0, 0, False), (0, 2e-4, 0, False), (0, 0, 1, False)],
)
def test_the_rule_of_runtimes(distance: float, maps: float, differing: int, holds: bool) -> None:
    assert Compared(64, distance, maps, differing).holds is holds


def test_only_what_is_faster_by_enough_is_taken() -> None:
    rates: dict[Any, float] = {("eager", 32): 100, ("eager", 16): 104, ("onnx", 16): 104}
    assert fastest(rates, ("eager", 32)) == ("eager", 32)
    assert fastest({**rates, ("onnx", 8): 120.0}, ("eager", 32)) == ("onnx", 8)
    assert fastest({**rates, ("eager", 16): 130.0}, ("eager", 32)) == ("eager", 16)


@pytest.fixture
def pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another runtime pays for every pass, and is faster, in batches of 8."""
    monkeypatch.setattr(arithmetic, "FEWEST", 1)
    monkeypatch.setattr(arithmetic, "FROM", {"onnx": 0.0, "compiled": 0.0})
    rates = {("eager", 32): 100.0, ("onnx", 32): 130.0, ("onnx", 8): 140.0}
    monkeypatch.setattr(arithmetic, "speeds", lambda *_: rates)


@pytest.mark.usefixtures("pays")
def test_an_audit_by_a_graph(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    plain = run_audit(tiny_request(folder, runtime="eager", batch_size=None), workspace)
    audit = run_audit(tiny_request(folder, name="graph", batch_size=None), workspace)
    compute = audit.manifest.compute
    assert (compute.runtime, compute.batch_size) == ("onnx", 8)
    assert compute.compared is not None
    assert compute.compared["images"] == 24
    assert "140 images/s by ONNX Runtime in batches of 8" in in_words(compute)
    ids = plain.images.index.tolist()
    assert np.abs(audit.features(ids) - plain.features(ids)).max() < 1e-5
    assert (audit.images["prediction"] == plain.images["prediction"]).all()
    (note,) = shared_images([plain, audit]).notes
    assert note.startswith("Run by different programs in fp32 (tiny by torch, graph by ONNX")
    assert "no decision does" in note
    assert unlike([audit.manifest, audit.manifest]) == ""
    assert audit.load_model().runtime == "onnx"
    assert audit.load_model(exported=True).runtime == "eager"

    draw(folder / "test" / "red" / "new.jpg", (255, 0, 0), rng)
    with pytest.raises(WorkspaceError, match="runtime was onnx, now eager"):
        run_audit(tiny_request(folder, name="graph", runtime="eager", batch_size=None), workspace)
    with monkeypatch.context() as without:
        without.setattr(graphs, "missing", lambda: ["onnxruntime"])
        with pytest.raises(ModelError, match=r"'graph' is computed by ONNX Runtime.*pip install"):
            run_audit(tiny_request(folder, name="graph", batch_size=None), workspace)
        assert audit.load_model().encode(some(rng, 1)).features.isfinite().all()  # by torch
    more = run_audit(tiny_request(folder, name="graph", batch_size=None), workspace)
    assert len(more.images) == len(ids) + 1
    assert more.manifest.compute == compute


@pytest.mark.usefixtures("pays")
def test_a_graph_that_differs_is_not_taken(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "compared", lambda *_: Compared(24, 0.5, 0.0, 2))
    compute = run_audit(tiny_request(folder), workspace).manifest.compute
    assert compute.runtime == "eager"
    assert "by 0.5 of their deviation" in compute.runtime_reason
    with pytest.raises(ModelError, match="--runtime onnx: .* changes 2 of 24 decisions"):
        run_audit(tiny_request(folder, name="asked", runtime="onnx"), workspace)
    with pytest.raises(ModelError, match="computes in fp32 on the cpu"):
        run_audit(tiny_request(folder, name="low", runtime="onnx", precision="bf16"), workspace)


def test_short_passes_try_nothing(
    folder: Path, workspace: Workspace, exports: list[str], cache: Path
) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    assert audit.manifest.compute.runtime == "eager"
    assert "so short" in in_words(audit.manifest.compute)
    assert exports == []
    assert not cache.exists()
    assert "runtime" not in Audit(audit.folder).manifest.parts.to_json()
