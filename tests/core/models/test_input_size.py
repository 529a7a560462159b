"""A network at another size of image: what says which one it is."""

from __future__ import annotations

import pytest
import timm
import torch
from packaging.version import Version
from torch import nn

from core.models.input_size import _differ_unseen, _is_meant, size_of


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


FAMILIES = {
    "vit_dpwee_patch16_reg1_gap_256": "one",
    "vit_tiny_patch16_dinov3_qkvb": "one",
    "vit_relpos_small_patch16_rpn_224": "one",
    "coatnet_rmlp_nano_rw_224": "one",
    "efficientvit_m0": "one",
    "swinv2_cr_tiny_ns_224": "one",
    "swin_tiny_patch4_window7_224": "shapes",
    "swinv2_tiny_window8_256": "two",
    "swinv2_tiny_window16_256": "two",
}
"""Of families of timm with ``set_input_size``: whether a network built for 64 x 64 pixels and one
set to them are one, tell themselves apart by shapes, or are two that a file cannot tell apart."""

ALL_SINCE = Version("1.0.31")
"""A version of timm that has every one of them; a later one that lacks one has renamed it."""


@pytest.mark.parametrize("name", FAMILIES)
def test_two_networks_at_one_size_are_told_by_what_no_file_holds(name: str) -> None:
    build = {"num_classes": 3}
    if name not in timm.list_models(name):
        assert Version(timm.__version__) < ALL_SINCE, f"timm calls {name} otherwise now"
        pytest.skip(f"this timm has no {name} yet")
    networks = [timm.create_model(name, **build, img_size=64), timm.create_model(name, **build)]
    networks[1].set_input_size(img_size=(64, 64))
    built, grown = (network.eval() for network in networks)
    shapes = [{key: t.shape for key, t in each.state_dict().items()} for each in networks]
    if FAMILIES[name] == "shapes":
        assert shapes[0] != shapes[1]
        assert _is_meant(built, grown, built.state_dict())
        assert not _is_meant(built, grown, grown.state_dict())
        return
    assert shapes[0] == shapes[1]
    for tensor in built.parameters():  # zeros would hide a difference
        if not tensor.any():
            nn.init.normal_(tensor, std=0.05)
    grown.load_state_dict(built.state_dict())
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        one, other = built(images), grown(images)
    assert torch.allclose(one, other, atol=1e-5) == (FAMILIES[name] == "one")
    assert _differ_unseen(built, grown) == (FAMILIES[name] == "two")
