"""A pretrained network cut in two: what is left as it was runs once per image, the rest is trained.

The packaged EfficientNet-Lite0, ImageNet-pretrained, up to its last block; behind it the 1x1
convolution to 1,280 channels, its batch norm, the mean over positions and a new linear head.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import MODEL

KEPT = "kept"
"""Name of the part that is not trained."""

CHUNK, THINNED = 16, 4
"""Images per pass; an image is known by every so many of its rows and columns."""


class Memory(dict[bytes, Tensor]):
    """Maps by the digest of their image; copies of a network share it."""

    def __deepcopy__(self, _: Any) -> Memory:
        return self


class Remembered(nn.Module):
    """Stages that are not trained, run once per image however often it comes."""

    def __init__(self, *stages: nn.Module) -> None:
        super().__init__()
        self.stages = nn.Sequential(*stages)
        self.memory = Memory()

    def forward(self, images: Tensor) -> Tensor:
        """Maps (n, C, h, w), a leaf of the graph."""
        plain = images.detach()
        thinned = plain[:, :, ::THINNED, ::THINNED].cpu().contiguous()
        keys = [hashlib.blake2b(image.numpy()).digest() for image in thinned]
        new = [i for i, key in enumerate(keys) if key not in self.memory]
        for start in range(0, len(new), CHUNK):
            rows = new[start : start + CHUNK]
            with torch.no_grad():
                made = self.stages(plain[rows])
            self.memory |= {keys[i]: maps.clone() for i, maps in zip(rows, made, strict=True)}
        found = torch.stack([self.memory[key] for key in keys])
        return found.requires_grad_() if torch.is_grad_enabled() else found


def network(outputs: int) -> Any:
    """The network as a model; its head is untrained, all zero."""
    from core.models.load import load_model
    from core.models.model import Model

    packaged = load_model(MODEL)
    whole: Any = packaged.network
    head = nn.Linear(packaged.n_features, outputs)
    cut = nn.Sequential()
    cut.add_module(KEPT, Remembered(whole.conv_stem, whole.bn1, *whole.blocks))
    cut.add_module("conv", whole.conv_head)
    cut.add_module("norm", whole.bn2)
    cut.add_module("pool", nn.AdaptiveAvgPool2d(1))
    cut.add_module("flat", nn.Flatten())
    cut.add_module("head", head)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return Model("cut", cut, packaged.preprocess)
