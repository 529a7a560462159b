"""Everything that needs a GPU, in under ten minutes on a bare machine without a network.

``python -m benchmarks.device [--out device.json] [--quick]`` prints each figure and writes one JSON
with the card's name; without a GPU the same is run on the CPU and says so. Images and weights are
made here, from seeds.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Line

SIDE = 224
BATCH, BATCHES = 256, 40
QUICK = (8, 3)
"""The same with --quick, for machines without a GPU."""

NETWORK = "resnet50"
"""Of torchvision, with random weights."""


def network() -> Any:
    """A model with random weights from a seed, in fp32 on the CPU."""
    from torchvision.models import get_model

    from core.models.model import Model
    from core.types import Preprocess

    torch.manual_seed(0)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    preprocess = Preprocess((SIDE, SIDE), 0.875, "bilinear", mean, std)
    return Model(NETWORK, get_model(NETWORK, weights=None).eval(), preprocess)


def pixels(count: int) -> np.ndarray:
    """Images of smooth noise, (count, h, w, 3) uint8."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 14, 14)).astype(np.float32))
    fine = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")
    return np.asarray(fine.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous())


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(call: Callable[[], object], device: str, repeats: int = 3) -> float:
    """The fastest of several calls, each waited for; one more warms up."""
    found = []
    for _ in range(repeats + 1):
        wait(device)
        began = time.perf_counter()
        call()
        wait(device)
        found.append(time.perf_counter() - began)
    return min(found[1:])


def agreement(device: str, batch: int) -> list[Line]:
    """Identities on the device, and each of its arithmetics against fp32 on the CPU."""
    from core.models.device import supports
    from core.models.precision import PRECISIONS, tried

    images = torch.from_numpy(pixels(min(64, 4 * batch)))
    exact = network().to("cpu").encode(images)
    reference = exact.features.numpy()
    found = []
    for precision in PRECISIONS:
        if not supports(device, precision):
            continue
        model = network().to(device, precision)
        encoded = model.encode(images)
        features, maps = encoded.features.cpu(), encoded.maps
        apart = float((maps.float().mean((2, 3)).cpu() - features).abs().max())
        size = float(features.abs().max())
        moved = tried(precision, reference, features.numpy(), own(model))
        name = f"{device} {precision}"
        small = apart <= 1e-5 * size
        found.append(Line(f"{name}: mean of the maps less the features", apart, "", "", small))
        limit = 1e-3 if precision == "fp32" else None
        near = None if limit is None else moved.distance <= limit
        words = f"{name}: distance from the CPU's fp32, 99th percentile"
        found.append(Line(words, moved.distance, "<= 1e-3" if limit else "", "", near))
        found.append(Line(f"{name}: decisions that differ, of {len(images)}", moved.differing, ""))
    return found


def own(model: Any) -> Callable[[Any], Any]:
    """Decisions of the network's own head."""
    from core.models.device import own_decisions

    return own_decisions(model)


def passes(device: str, batch: int, batches: int) -> list[Line]:
    """Batches through the feed, copies included, against the bare forward of resident images."""
    from core.features.feed import Feed, replicas
    from core.models.device import supports
    from core.models.precision import PRECISIONS

    images, found = pixels(batch), []
    for precision in PRECISIONS:
        if not supports(device, precision):
            continue
        model = network().to(device, precision)
        there = torch.from_numpy(images).to(device)

        def bare(model: Any = model, there: Any = there) -> None:
            for _ in range(batches):
                model.encode(there)

        def fed(model: Any = model) -> None:
            feed, waiting = Feed([model], batch), []
            for _ in range(batches):
                waiting.append(feed.put(images))
                if len(waiting) > feed.ahead:
                    waiting.pop(0).result()
            for each in waiting:
                each.result()

        t_bare, t_fed = seconds(bare, device), seconds(fed, device)
        name, count = f"{device} {precision}", batch * batches
        ratio = t_bare / t_fed
        found += [
            Line(f"{name}: bare forward", count / t_bare, "", "images/s"),
            Line(f"{name}: pass, copies included", count / t_fed, "", "images/s"),
            Line(f"{name}: pass over the bare forward", ratio, ">= 0.9", "x", ratio >= 0.9),
        ]
    found.append(Line("devices that take turns", len(replicas(network().to(device))), ""))
    return found


def overlays(device: str, batch: int) -> list[Line]:
    """Overlays of 64 directions from maps, beside captum's Grad-CAM of one."""
    from core.candidates.candidate import heatmaps
    from core.explain.grad_cam import grad_cam

    model = network().to(device)
    images = torch.from_numpy(pixels(min(batch, 32)))
    maps = model.encode(images).maps.float().cpu().numpy()
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(64, model.n_features)) / model.n_features

    def ours() -> None:
        heatmaps(maps, directions, np.zeros(64))

    def theirs() -> None:
        for one in images[:4]:
            grad_cam(model, model.normalise(one[None]), directions[0])

    t_ours = seconds(ours, device) / (64 * len(images))
    t_theirs = seconds(theirs, device) / min(4, len(images))
    ratio = t_theirs / t_ours
    return [Line("overlays from maps over Grad-CAM", ratio, ">= 100", "x", ratio >= 100)]


def components(device: str) -> list[Line]:
    """Class PCA of 1,300 images of 2,048 features, on the device and on the CPU."""
    from core.candidates.pca import class_pca

    rng = np.random.default_rng(2)
    hidden = rng.normal(size=(200, 2048))
    causes = rng.normal(size=(1300, 200)) * np.arange(1, 201) ** -0.6
    features = np.maximum(causes @ hidden + 0.3 * rng.normal(size=(1300, 2048)), 0)
    weight = rng.normal(size=2048)
    here, there = (class_pca(features, weight, 64, device=d) for d in ("cpu", device))
    apart = float(np.abs(here.eigenvalues / there.eigenvalues - 1).max())
    each = seconds(lambda: class_pca(features, weight, 64, device=device), device)
    return [
        Line(
            f"class PCA on {device}: eigenvalues over the CPU's less 1",
            apart,
            "<= 1e-8",
            "",
            apart <= 1e-8,
        ),
        Line(f"class PCA on {device}: 1,000 classes of 1,300 x 2,048", each * 1000 / 60, "", "min"),
        Line(
            f"class PCA on {device}: largest error", there.bound, "<= 1e-8", "", there.bound <= 1e-8
        ),
    ]


def memory(device: str, batch: int) -> list[Line]:
    """Memory of a batch, and what is done where there is too little of it."""
    from core.features.feed import Feed

    if device != "cuda":
        return []
    model, images = network().to(device), pixels(batch)
    torch.cuda.reset_peak_memory_stats()
    exact = Feed([model], batch).put(images).result().features
    peak = torch.cuda.max_memory_allocated()
    free, total = torch.cuda.mem_get_info()
    del free
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 0.7 * peak / total))
    feed = Feed([model], batch)
    try:
        halved = feed.put(images).result().features
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    apart = float((halved - exact).abs().max() / exact.abs().max())
    return [
        Line(f"peak memory of a batch of {batch} in fp32", peak / 2**30, "", "GiB"),
        Line(
            "parts of a batch where only 0.7 of it is there",
            feed.pieces,
            ">= 2",
            "",
            feed.pieces >= 2,
        ),
        Line("features then, against a whole batch", apart, "<= 1e-4", "", apart <= 1e-4),
    ]


def main() -> int:
    """Run everything, print it, write one JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=Path("device.json"))
    options.add_argument("--quick", action="store_true", help="small batches, for a CPU")
    chosen = options.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch, batches = QUICK if chosen.quick else (BATCH, BATCHES)
    began, lines = time.perf_counter(), list[Line]()
    parts: list[Callable[[], list[Line]]] = [
        lambda: agreement(device, batch),
        lambda: passes(device, batch, batches),
        lambda: overlays(device, batch),
        lambda: components(device),
        lambda: memory(device, batch),
    ]
    for part in parts:
        found = part()
        lines += found
        print("\n".join(line.row() for line in found), flush=True)
    card = torch.cuda.get_device_name() if device == "cuda" else "no GPU: measured on the CPU"
    document = {
        **{"device": device, "card": card, "torch": torch.__version__},
        **{"python": platform.python_version(), "network": NETWORK, "batch": batch},
        "seconds": round(time.perf_counter() - began, 1),
        "lines": [asdict(line) for line in lines],
    }
    chosen.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{card}, {document['seconds']} s; written to {chosen.out}")
    return 1 if any(line.holds is False for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
