"""Networks as torch compiles them: traced once, held against torch, else run by torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.audits import arithmetic
from core.audits.run import run_audit
from core.errors import ModelError
from core.models import compiled
from core.models.graph import NoGraphError
from core.models.model import Encoded, Model
from core.models.precision import in_words
from core.models.runtime import Compared, seconds_by_torch, speeds
from core.storage.audit_manifest import Compute
from core.storage.workspace import Workspace
from tests.conftest import tiny_request
from tests.tiny import HALF, load_tiny

Calls = list[tuple[int, ...]]


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Shapes that the compiled code was run on; a compiler of C++ takes ten times as long."""
    seen: Calls = []

    def counting(module: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        def run(*tensors: torch.Tensor) -> Any:
            (images,) = [t for t in tensors if getattr(t, "dtype", None) == torch.uint8]
            seen.append(tuple(images.shape))
            return module(*tensors)

        return run

    monkeypatch.setattr(compiled, "BACKEND", counting)
    return seen


def some(rng: np.random.Generator, n: int) -> torch.Tensor:
    return torch.from_numpy(rng.integers(0, 256, (n, *HALF.input_size, 3), np.uint8))


def test_compiled_it_says_what_torch_says(rng: np.random.Generator, calls: Calls) -> None:
    model, images = load_tiny().to("cpu"), some(rng, 7)
    exact = model.encode(images)
    assert calls == []
    found = model.use_runtime("compiled").encode(images)
    assert isinstance(found, Encoded)
    assert found.maps is not None
    assert exact.maps is not None
    assert torch.allclose(found.features, exact.features, atol=1e-6)
    assert torch.allclose(found.maps, exact.maps, atol=1e-6)
    assert [shape[0] for shape in calls] == [2, 7]  # tried on two images, once
    model.encode(images)
    assert [shape[0] for shape in calls] == [2, 7, 7]
    assert not any(module.training for module in model.network.modules())
    lower = load_tiny().to("cpu", "bf16").use_runtime("compiled")
    assert lower.runtime == "eager"  # what is rounded differs by more than rounding


def test_what_differs_or_cannot_be_compiled_runs_by_torch(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = some(rng, 3)
    exact = load_tiny().to("cpu").encode(images).features

    def other(module: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        return lambda *tensors: [1.01 * found for found in module(*tensors)]

    def none(module: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        raise RuntimeError("no compiler here")

    for backend, said in ((other, "computes something else"), (none, "no compiler here")):
        monkeypatch.setattr(compiled, "BACKEND", backend)
        torch._dynamo.reset()  # type: ignore[no-untyped-call]
        model = load_tiny().to("cpu").use_runtime("compiled")
        assert torch.equal(model.encode(images).features, exact)
        with pytest.raises(NoGraphError, match=said):
            model.program("compiled")


def test_an_audit_by_compiled_code(folder: Path, workspace: Workspace, calls: Calls) -> None:
    plain = run_audit(tiny_request(folder, runtime="eager"), workspace)
    audit = run_audit(tiny_request(folder, name="fast", runtime="compiled"), workspace)
    compute = audit.manifest.compute
    assert compute.runtime == "compiled"
    assert "run by torch's compiler (chosen by the user; torch's compiler moves the" in in_words(
        compute
    )
    assert {shape[0] for shape in calls} == {2, compute.batch_size}
    ids = plain.images.index.tolist()
    assert np.abs(audit.features(ids) - plain.features(ids)).max() < 1e-5
    assert audit.load_model().runtime == "compiled"
    with pytest.raises(ModelError, match="--runtime compiled computes in fp32: leave it out"):
        run_audit(tiny_request(folder, name="low", runtime="compiled", precision="bf16"), workspace)


def test_a_gpu_tries_it_where_a_pass_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tiny_request(Path("x"))
    here = Compute("cpu", 32, "fp32", "")
    assert arithmetic._other(here, asked) == "onnx"
    there = replace(here, device="cuda")
    assert arithmetic._other(there, asked) == "compiled"
    assert arithmetic._other(there, replace(asked, runtime="onnx")) == "onnx"
    held = Compared(24, 1e-6, 0.0, 0, "compiled")
    assert held.holds
    assert held.sentence.startswith("torch's compiler moves the features of 24 sample images")


def test_speeds_are_those_of_what_runs(rng: np.random.Generator, calls: Calls) -> None:
    model, images = load_tiny().to("cpu"), some(rng, 32)
    found = speeds(model, images, {"eager": (16,), "compiled": (16, 8)}, 2)
    assert list(found) == [("eager", 16), ("compiled", 16), ("compiled", 8)]
    assert [shape[0] for shape in calls] == [2, *([16] * 2 + [8] * 4) * 2]
    assert seconds_by_torch(model, images, 320) > 0
    assert isinstance(model, Model)
