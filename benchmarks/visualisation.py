"""Drawn pictures against what real images reach, and the time of SpRAy.

The demo's network as it is, and a small one trained to withstand small changes. Of ten components
each: in how many of them plain ascent, and on the demo's network the regularised one, too, lifts
alpha above the 99th percentile of the class's real images. The time of a sufficient subset, too.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.measure import MODEL, Line, fastest
from benchmarks.whitebox import render

COMPONENTS, NEEDED = 10, 9
STEPS = 60
"""Fewer than published: more only lift further."""

EPSILON, PUSHES, EPOCHS = 0.5, 3, 12
"""L2 length and steps of the pushes that the small network is trained against; its epochs."""

CLASS = 1300
"""Images of the class that the time of SpRAy is of."""


def run() -> list[Line]:
    """Every line."""
    return [*_demo(), *_robust(), *_time()]


def _demo() -> list[Line]:
    """The first class of demo:cues."""
    from core.audits.audit_requests import AuditRequest
    from core.audits.looks import leading_keys
    from core.audits.run import run_audit
    from core.explain.ascent import Hill
    from core.storage.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        audit = run_audit(AuditRequest("demo:cues", MODEL, head="fit"), Workspace(Path(folder)))
        label, model = audit.classes[0].label, audit.load_model()
        arrays = audit.arrays_of(label)
        keys = leading_keys(audit, label, "pca", COMPONENTS)
        real = [np.quantile(arrays.alpha_of(key)[arrays.fitting], 0.99) for key in keys]
        hills = [Hill(model, audit.candidate(key)) for key in keys]
        size = model.preprocess.input_size
        return [
            _line("demo:cues, regularised", [_regularised(hill, size) for hill in hills], real),
            _line("demo:cues, plain ascent", [_plain(hill, size) for hill in hills], real),
            subset(audit, label, model),
        ]


def subset(audit: Any, label: str, model: Any) -> Line:
    """The time of a sufficient subset of one image by gradients, 4 of 14 x 14 patches at once."""
    from core.audits.explained import Asked, explain

    asked = Asked.of("sis", label, given={"search": "gradients", "k": "4"})
    image_id = audit.arrays_of(label).image_ids[0]
    began = perf_counter()
    list(explain(audit, asked, [image_id], model))
    seconds = perf_counter() - began
    return Line("subset of one image, by gradients", seconds, "< 10", "s", seconds < 10)


def _plain(hill: Any, size: tuple[int, int]) -> float:
    from core.explain.ascent import Schedule, feature_visualisation

    path = feature_visualisation(hill, size, Schedule(steps=STEPS), 0, lambda done, total: None)
    return float(path.alpha[-1])


def _regularised(hill: Any, size: tuple[int, int]) -> float:
    from core.explain.ascent import regularised_visualisation

    return float(
        regularised_visualisation(hill, size, STEPS, 0, lambda done, total: None).alpha[-1]
    )


def _line(what: str, found: list[float], real: Any) -> Line:
    lifted = int((np.array(found) > np.array(real)).sum())
    target = f">= {NEEDED} of {len(found)}"
    return Line(f"{what}: components above", lifted, target, "", lifted >= NEEDED)


def _robust() -> list[Line]:
    """A small network trained against pushes."""
    import torch

    from core.candidates.candidate import LinearCandidate
    from core.candidates.key import CandidateKey
    from core.candidates.pca import class_pca
    from core.explain.ascent import Hill, withstands
    from core.models.model import Model
    from core.types import Preprocess

    images, labels, _ = render(1500, 0.4, 1)
    seen = torch.from_numpy(images.astype(np.float32))
    network = _trained(seen, torch.from_numpy(labels))
    flat = Preprocess((32, 32), 1.0, "bilinear", (0.0,) * 3, (1.0,) * 3)
    model = Model("small", network, flat)
    with torch.no_grad():
        features = model.features_of(seen).numpy()[labels == 0]
    pca = class_pca(features, model.weight[0], COMPONENTS)
    directions, offsets = pca.directions, pca.offsets
    hills = [
        Hill(
            model, LinearCandidate(0, directions[i], float(offsets[i]), CandidateKey("0", "pca", i))
        )
        for i in range(min(COMPONENTS, len(directions)))
    ]
    alpha = features @ directions.T - offsets
    real = np.quantile(alpha, 0.99, axis=0)[: len(hills)]
    mine = images[labels == 0][:100].transpose(0, 2, 3, 1)
    kept, there = withstands(model, 0, mine, 3.0)
    share = kept / max(there, 1)
    return [
        Line("small, trained against pushes: right predictions that withstand one", share, ""),
        _line(
            "small, trained against pushes, plain ascent",
            [_plain(h, (32, 32)) for h in hills],
            real,
        ),
    ]


def _trained(images: Any, labels: Any) -> Any:
    """Two convolutions, trained on images pushed against their own label (Madry et al. 2018)."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                *(nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU()),
                *(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()),
            )
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(16, 3)

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.fc(self.pool(self.body(given)).flatten(1))
            return found

    torch.manual_seed(0)
    network = Small()
    climber = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(images)).split(100):
            now = images[part]
            for _ in range(PUSHES):
                given = now.detach().requires_grad_()
                (slope,) = torch.autograd.grad(cross_entropy(network(given), labels[part]), given)
                length = slope.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
                now = (now + EPSILON / PUSHES * slope / length).clamp(0, 1)
            climber.zero_grad()
            cross_entropy(network(now), labels[part]).backward()
            climber.step()
    return network


def _time() -> list[Line]:
    """Groups of a class's heatmaps, maps as they are stored and read included."""
    from core.candidates.cluster_search import Asked, find_clusters
    from core.candidates.kinds import Found
    from core.candidates.search import ClassFeatures, ClassImages

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        stored = np.lib.format.open_memmap(
            Path(folder) / "maps.npy", "w+", np.float16, (CLASS, 1280, 7, 7)
        )
        stored[:] = rng.gamma(0.3, 1, (1, 1280, 7, 7)).astype(np.float16)
        stored[:, :, :3, :3] *= rng.random((CLASS, 1, 1, 1)).astype(np.float16)
        stored += rng.random((CLASS, 1, 7, 7)).astype(np.float16)
        weight = rng.normal(size=(2, 1280)).astype(np.float32)
        yes = np.ones(CLASS, bool)
        features = stored.mean(axis=(2, 3), dtype=np.float32)
        given = ClassFeatures(features, weight[0], 0.0, yes, ~yes, yes)
        ids = [str(i) for i in range(CLASS)]
        images = ClassImages(
            *(given, ids, 0, weight, np.zeros(2), (0, 1), yes),
            lambda names: stored,
            features[:, :2],
        )
        nothing, asked = Found.nothing(CLASS), Asked(("heatmap",))
        seconds = fastest(lambda: find_clusters(images, nothing, asked), 2)
    return [Line(f"SpRAy of {CLASS:,} images from stored maps", seconds, "< 2", "s", seconds < 2)]
