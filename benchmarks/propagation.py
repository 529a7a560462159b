"""Which families of timm and torchvision relevance propagation explains, and what each loses.

One small network of every family, its weights drawn and the statistics of its batch norms taken
from noise, is asked about a check image. What is lost on the way is a share of what was handed
down; beyond 5 % the family is declined, as in the app.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measure import Line

if TYPE_CHECKING:
    from core.explain.lrp import Relevance

TIMM = (
    *("resnet18", "resnet26d", "resnetv2_50", "seresnet18", "ecaresnet26t", "skresnet18"),
    *("resnest14d", "res2net50_26w_4s", "resnext26ts", "densenet121", "dpn68", "dla34"),
    *("hrnet_w18_small", "vovnet39a", "ese_vovnet19b_dw", "selecsls42b", "cspresnet50"),
    *("darknet53", "gernet_s", "regnetx_002", "regnety_002", "nf_regnet_b1", "nfnet_l0"),
    *("repvgg_a0", "mobileone_s0", "rexnet_100", "ghostnet_100", "mobilenetv2_050"),
    *(
        "mobilenetv3_small_100",
        "mobilenetv4_conv_small",
        "efficientnet_b0",
        "tf_efficientnet_lite0",
    ),
    *("tf_efficientnetv2_b0", "mnasnet_small", "lcnet_050", "hardcorenas_a", "xception41"),
    *(
        "inception_v4",
        "convnext_atto",
        "convnextv2_atto",
        "inception_next_atto",
        "edgenext_xx_small",
    ),
    *("fastvit_t8", "starnet_s1", "poolformer_s12", "mixer_s16_224", "mobilevit_xxs"),
    *("levit_128s", "tiny_vit_5m_224", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"),
    *("beit_base_patch16_224", "cait_xxs24_224", "xcit_nano_12_p16_224", "pit_ti_224"),
    *("swin_tiny_patch4_window7_224", "coatnet_nano_rw_224", "maxvit_tiny_tf_224"),
)
TORCHVISION = (
    *("alexnet", "vgg11", "vgg11_bn", "resnet18", "resnext50_32x4d", "densenet121", "googlenet"),
    *("inception_v3", "squeezenet1_1", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small"),
    *("shufflenet_v2_x0_5", "regnet_y_400mf", "efficientnet_b0", "efficientnet_v2_s"),
    *("convnext_tiny", "vit_b_32", "swin_t", "swin_v2_t", "maxvit_t"),
)


def run() -> list[Line]:
    """A line a family: what is lost, or why it is declined."""
    names = [*(f"timm:{name}" for name in TIMM), *(f"torchvision:{name}" for name in TORCHVISION)]
    lines = [conserved(name) for name in names]
    out = [line.what for line in lines if line.holds is not True]
    return [
        Line("families that are explained", len(lines) - len(out), f"of {len(lines)}"),
        Line("families that are declined", len(out), "; ".join(out) or "none"),
        *lines,
    ]


SMALL = 96
"""Pixels of the check image where a network takes so few; else its own size."""


def conserved(name: str) -> Line:
    """What a network loses of a number on a check image."""
    from core.errors import SpurioscopeError
    from core.explain.lrp import LEAK

    try:
        lost, found = handed_down(name, SMALL)
    except (SpurioscopeError, RuntimeError, ValueError, AssertionError):
        try:
            lost, found = handed_down(name, None)
        except (SpurioscopeError, RuntimeError, ValueError, AssertionError) as error:
            return Line(f"{name}: {' '.join(str(error).split())[:110]}", float("nan"), "")
    words = f", constants keep {abs(found.kept / found.number):.0%}" if found.kept else ""
    words += f", without a rule: {', '.join(found.without)}" if found.without else ""
    return Line(f"{name}: lost{words}", 100 * lost, f"< {100 * LEAK:.0f}", "%", lost < LEAK)


def handed_down(name: str, side: int | None) -> tuple[float, Relevance]:
    """The share of what was handed down that is lost on the way, and what arrived."""
    import torch

    from core.explain.lrp import relevance
    from core.models.architecture import architecture_of
    from core.models.model import Model

    made = architecture_of(name, pretrained=False, num_outputs=None)
    size = (side, side) if side else made.preprocess.input_size
    settle(made.network, size)
    model = Model(name, made.network, replace(made.preprocess, input_size=size))
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    direction = np.random.default_rng(0).normal(size=model.n_features)
    with torch.no_grad():
        handed = np.abs(direction * model.features_of(image)[0].numpy()).sum()
    found = relevance(model, image, direction)
    lost = abs(float(found.pixels.sum(dtype=float)) + found.kept - found.number)
    return lost / float(handed), found


def settle(network: Any, size: tuple[int, int]) -> None:
    """Statistics of noise for batch norms, and weights for heads that are all zero."""
    import torch
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, _BatchNorm):
            module.momentum = None
            module.reset_running_stats()
            module.train()
    with torch.no_grad():
        network(torch.randn(2, 3, *size))
    network.eval()
