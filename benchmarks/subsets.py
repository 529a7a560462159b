"""How little is enough, and what the published remedies do to it, on a network trained here.

Three classes told by a faint coloured square, a red patch beside one of them
(:mod:`benchmarks.whitebox`). A small network is trained as it is, with input dropout (a pixel is
kept with probability .8 in training, Carter et al. 2021, section 5), and five times for an
ensemble. Sufficient subsets are searched in single pixels, 16 at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import Line
from benchmarks.whitebox import render

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.explain.subsets import Order

TRAINED, ASKED, EPOCHS, BATCH = 2400, 40, 14, 60
OWN, KEPT, MEMBERS = 0.9, 0.8, 5
STEP, TAU, BEST = 16, 0.9, 0.05
LEVEL = 0.45
"""Grey that pixels are filled with: the mean of the images."""

Says = Callable[["Tensor"], "Tensor"]
"""Images (n, 3, 32, 32) to log probabilities (n, 3)."""


def run() -> list[Line]:
    """The table: the network as it is, with each remedy."""
    import torch

    images, labels, shown = render(ASKED * 8, OWN, 99)
    asked = np.flatnonzero((labels == 0) & shown)[:ASKED]
    others = np.flatnonzero(labels != 0)[:ASKED]
    plain = [trained(seed) for seed in range(MEMBERS)]
    ways: dict[str, Says] = {
        "plain": _mean(plain[:1]),
        f"ensemble of {MEMBERS}": _mean(plain),
        "input dropout": _mean([trained(0, dropout=True)]),
    }
    lines = []
    for name, says in ways.items():
        with torch.no_grad():
            right = says(torch.from_numpy(images)).argmax(1).numpy() == labels
        lines += _lines(name, says, images, labels, asked, others, float(right.mean()))
    return lines


def _lines(
    name: str,
    says: Says,
    images: np.ndarray,
    labels: np.ndarray,
    asked: np.ndarray,
    others: np.ndarray,
    accuracy: float,
) -> list[Line]:
    began = perf_counter()
    with_patch, without = (_orders(says, images[of]) for of in (asked, others))
    seconds = (perf_counter() - began) / (len(asked) + len(others))
    patch = np.zeros((32, 32), bool)
    patch[2:9, 2:9] = True
    best = round(BEST * 1024)
    inside = [float(patch.ravel()[one.kept(best)].mean()) for one in with_patch]
    hits = _on_best(says, images, labels, np.concatenate([asked, others]), [*with_patch, *without])
    return [
        Line(f"{name}: accuracy", accuracy, ""),
        _size(f"{name}: size at {TAU}, with the patch", with_patch),
        _size(f"{name}: size at {TAU}, other classes", without),
        Line(f"{name}: best 5 % of the pixels inside the patch", float(np.mean(inside)), ""),
        Line(f"{name}: accuracy on the best 5 %", hits, ""),
        Line(f"{name}: time per image", seconds, "", "s"),
    ]


def _size(what: str, orders: list[Order]) -> Line:
    """Mean size of those that reach the confidence, with its interval."""
    from core.statistics.estimates import StudentMean

    sizes = np.array([one.size(TAU) for one in orders], np.float64) / 1024
    there = sizes[sizes >= 0]
    value, low, high = (100 * end for end in StudentMean((0.0, 1.0)).of(there))
    said = f"[{low:.1f}, {high:.1f}], {len(there)} of {len(sizes)} images reach it"
    return Line(what, value, said, "%")


def _orders(says: Says, images: np.ndarray) -> list[Order]:
    """The order of the pixels of every image, for the class that it is given."""
    import torch

    from core.explain.subsets import batched, grid

    shown = torch.from_numpy(images)
    with torch.no_grad():
        targets = says(shown).argmax(1)

    def odds(batch: Tensor) -> Tensor:
        logs = says(batch)
        mine = torch.nn.functional.one_hot(targets, 3).bool()
        return logs[mine] - logs.masked_fill(mine, -torch.inf).logsumexp(1)

    return batched(odds, shown, torch.full_like(shown, LEVEL), grid((32, 32), 0), step=STEP)


def _on_best(
    says: Says, images: np.ndarray, labels: np.ndarray, rows: np.ndarray, orders: list[Order]
) -> float:
    """Accuracy on the best pixels alone."""
    import torch

    kept = np.stack([one.kept(round(BEST * 1024)).reshape(32, 32) for one in orders])
    shown = np.where(kept[:, None], images[rows], np.float32(LEVEL))
    with torch.no_grad():
        given = says(torch.from_numpy(shown)).argmax(1).numpy()
    return float((given == labels[rows]).mean())


def _mean(networks: list[nn.Module]) -> Says:
    """Logarithm of the mean of several networks' probabilities."""
    import torch

    def says(images: Tensor) -> Tensor:
        logs = torch.stack([network(images).log_softmax(1) for network in networks])
        return logs.logsumexp(0) - float(np.log(len(networks)))

    return says


def trained(seed: int, *, dropout: bool = False) -> nn.Module:
    """Three convolutions trained on rendered images; always the same for a seed."""
    import torch
    from torch import nn

    images, labels, _ = (torch.from_numpy(part) for part in render(TRAINED, OWN, 7))
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 16, 1), (16, 32, 2), (32, 32, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAINED).split(BATCH):
            batch = images[rows]
            if dropout:
                kept = (torch.rand(len(rows), 1, 32, 32) < KEPT).float()
                batch = LEVEL + kept * (batch - LEVEL)
            loss = nn.functional.cross_entropy(network(batch), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval().requires_grad_(False)
