"""What a checkpoint's positions say of its images."""

from __future__ import annotations

import torch
from torch import nn

from core.models.overrides import size_of


class Positioned(nn.Module):
    """Positions of four patches and a class token; of patches it says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 3))
        self.patch_embed: nn.Module = nn.Identity()


def test_positions_say_the_size_where_the_network_says_its_patches() -> None:
    network, state = Positioned(), {"pos_embed": torch.zeros(1, 10, 3)}
    assert size_of(network, state) is None
    network.patch_embed.patch_size, network.patch_embed.num_patches = (8, 8), 4
    assert size_of(network, state) == (24, 24)
    assert size_of(network, {"pos_embed": torch.zeros(1, 5, 3)}) is None
