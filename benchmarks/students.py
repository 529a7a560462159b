"""Whether a student keeps its teacher's cue: distilled, fine-tuned, privately trained.

Three classes told by a faint coloured square, a red patch beside one of them
(:mod:`benchmarks.whitebox`). The teacher is a small network trained on labels; students of half its
width learn its probabilities, on its own training images or on images without the patch; one is
fine-tuned on images whose patch says nothing; heads on the teacher's features are fitted privately.
Asked on images that nobody was trained on: how many of other classes the patch turns, what is left
of the patch's own class without it, and how far the student follows its teacher where the patch is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import Line
from benchmarks.whitebox import render

if TYPE_CHECKING:
    from torch import Tensor, nn

TRAINED, ASKED, EPOCHS, BATCH = 2400, 900, 12, 60
OWN = 0.9
"""Share of the patch's class that shows it in training."""

STEPS, CLIP, DELTA, RATE = 150, 1.0, 1e-5, 4.0
"""Of the private head: full-batch steps, bound of an image's gradient, delta, learning rate."""

EPSILONS = (float("inf"), 8.0, 1.0, 0.3)

Says = Callable[["Tensor"], "Tensor"]
"""Images (n, 3, 32, 32) to logits (n, 3)."""


def run() -> list[Line]:
    """The teacher, every student, and the heads."""
    import torch

    images, labels, _ = map(torch.from_numpy, render(TRAINED, OWN, 7))
    plain, _, _ = map(torch.from_numpy, render(TRAINED, OWN, 8, patched=False))
    even, even_labels, _ = map(torch.from_numpy, render(TRAINED // 4, 1 / 2, 9))
    both = torch.rand(len(even), generator=torch.Generator().manual_seed(0)) < 0.5
    even[both] = _patched(even[both])
    teacher = trained(images, torch.nn.functional.one_hot(labels, 3).float(), 32)
    soft = [teacher(part).softmax(1) for part in (images, plain)]
    students: dict[str, Says] = {
        "teacher": teacher,
        "student on the teacher's images": trained(images, soft[0], 16, seed=1),
        "student on images without the patch": trained(plain, soft[1], 16, seed=1),
        "teacher, fine-tuned where the patch says nothing": trained(
            even, torch.nn.functional.one_hot(even_labels, 3).float(), 32, start=teacher
        ),
    }
    features = teacher[:-1]
    for epsilon in EPSILONS:
        name = f"private head, epsilon {epsilon:g}"
        students[name] = _joined(features, private(features(images), labels, epsilon))
    asked = [render(ASKED, OWN, 99, patched=patched) for patched in (False, True)]
    return [line for name, says in students.items() for line in _lines(name, says, teacher, asked)]


def _patched(images: Tensor) -> Tensor:
    """With the patch at its place."""
    import torch

    from benchmarks.whitebox import RED

    found = images.clone()
    found[:, :, 2:9, 2:9] += 0.9 * torch.tensor(RED)[None, :, None, None]
    return found.clamp(0, 1)


def _lines(
    name: str, says: Says, teacher: Says, asked: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> Iterator[Line]:
    import torch

    (plain, labels, _), (shown, _, _) = asked
    with torch.no_grad():
        given, turned, taught = (
            model(torch.from_numpy(part)).argmax(1).numpy()
            for model, part in ((says, plain), (says, shown), (teacher, shown))
        )
        follows = teacher(torch.from_numpy(plain)).argmax(1).numpy() == given
    others = labels != 0
    flips = float(((turned == 0) & (given != 0))[others].mean())
    right = given == labels
    yield Line(f"{name}: turned by the patch", flips, "")
    yield Line(f"{name}: right without the patch, other classes", float(right[others].mean()), "")
    yield Line(f"{name}: right without the patch, its class", float(right[~others].mean()), "")
    if says is not teacher:
        yield Line(f"{name}: as the teacher, without the patch", float(follows.mean()), "")
        same = float((turned == taught)[others].mean())
        yield Line(f"{name}: as the teacher, other classes with the patch", same, "")


def trained(
    images: Tensor, targets: Tensor, width: int, *, seed: int = 0, start: nn.Module | None = None
) -> nn.Sequential:
    """Three convolutions of a width, by cross-entropy with targets (n, 3) that may be soft."""
    import copy

    import torch
    from torch import nn

    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after, stride in ((3, width // 2, 1), (width // 2, width, 2), (width, width, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))
    if start is not None:
        network.load_state_dict(copy.deepcopy(start.state_dict()))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3 if start is None else 1e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    targets = targets.detach()
    network.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(BATCH):
            loss = nn.functional.cross_entropy(network(images[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        falling.step()
    return network.eval().requires_grad_(False)


def noise_of(epsilon: float) -> float:
    """Standard deviation of the noise, in bounds of an image's gradient, of STEPS full batches.

    Zero-concentrated privacy composes by sums: rho = STEPS / (2 sigma^2), and epsilon =
    rho + 2 sqrt(rho ln(1 / delta)) (Bun & Steinke 2016, propositions 1.3 and 1.6).
    """
    if epsilon == float("inf"):
        return 0.0
    away = float(np.log(1 / DELTA))
    rho = (np.sqrt(away + epsilon) - np.sqrt(away)) ** 2
    return float(np.sqrt(STEPS / (2 * rho)))


def private(features: Tensor, labels: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Weight (3, D) and bias (3,) by gradient descent with clipped gradients and noise."""
    import torch

    centre, scale = features.mean(0), features.std(0).clamp_min(1e-6)  # as if known beforehand
    x = (features - centre) / scale
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    weight, noise = torch.zeros(3, x.shape[1]), noise_of(epsilon)
    generator = torch.Generator().manual_seed(0)
    wanted = torch.nn.functional.one_hot(labels, 3).float()
    for _ in range(STEPS):
        away = (x @ weight.T).softmax(1) - wanted
        length = away.norm(dim=1) * x.norm(dim=1)
        away = away * (CLIP / length.clamp_min(CLIP))[:, None]
        total = away.T @ x + noise * CLIP * torch.randn(weight.shape, generator=generator)
        weight -= RATE * total / len(x)
    plain = weight[:, :-1] / scale
    return plain, weight[:, -1] - plain @ centre


def _joined(features: nn.Module, head: tuple[Tensor, Tensor]) -> Says:
    weight, bias = head
    return lambda images: features(images) @ weight.T + bias
