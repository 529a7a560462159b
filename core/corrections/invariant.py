"""A small classifier of 32-pixel images, trained from nothing on whatever it is given.

The one of Sauer & Geiger (2021) for the MNIST guises: batch norm and four convolutions, Adadelta
with rate 1, decayed by 0.7 per epoch, batches of 64.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from core.corrections.generator import images_of
from core.types import IntArray, Progress, Reporter, silent


class Classifier(nn.Module):
    """Images (n, 3, 32, 32) in [0, 1] to logits (n, classes)."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(3),
            *_convolution(3, 32, stride=2),
            *_convolution(32, 32),
            *_convolution(32, 64, stride=2),
            *_convolution(64, 64),
        )
        self.pool = nn.AdaptiveMaxPool2d(2)
        self.head = nn.Linear(256, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes)."""
        logits: Tensor = self.head(self.pool(self.body(images)).flatten(1))
        return logits


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]


def train_classifier(
    pixels: NDArray[np.uint8],
    labels: IntArray,
    *,
    epochs: int = 10,
    seed: int = 0,
    report: Reporter = silent,
) -> Classifier:
    """Train from random weights; (n, 32, 32, 3) uint8 and their labels (n,)."""
    torch.manual_seed(seed)
    network = Classifier(int(labels.max()) + 1).train()
    optimiser = torch.optim.Adadelta(network.parameters(), lr=1.0)
    rate = torch.optim.lr_scheduler.StepLR(optimiser, 1, gamma=0.7)
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        order = rng.permutation(len(pixels))
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            loss = F.cross_entropy(network(images_of(pixels[rows])), torch.from_numpy(labels[rows]))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        rate.step()
        values = {"loss": float(loss.detach())}
        report(Progress("Training the classifier", epoch + 1, epochs, "epochs", values))
    return network.eval()


def predict(network: Classifier, pixels: NDArray[np.uint8]) -> IntArray:
    """Predicted labels (n,) of images (n, 32, 32, 3)."""
    with torch.no_grad():
        parts = [torch.zeros(0, dtype=torch.long)]
        for start in range(0, len(pixels), 256):
            parts.append(network(images_of(pixels[start : start + 256])).argmax(1))
    found: IntArray = torch.cat(parts).numpy()
    return found
