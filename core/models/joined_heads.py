"""Networks that average several linear heads, as one head on the features of all of them.

A distilled transformer (Touvron et al. 2021) answers with the mean of a head on its class token and
of one on its distillation token. With both tokens side by side that is one linear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from core.models.trace import resize_head

HEAD = "fc"
"""Name of the one head."""


class JoinedHeads(nn.Module):
    """A network of several heads whose output is their mean, given by one linear layer.

    Parameters
    ----------
    heads : names of its linear heads, all of K rows.
    """

    def __init__(self, network: nn.Module, heads: Sequence[str]) -> None:
        super().__init__()
        parts = [network.get_submodule(name) for name in heads]
        weight = torch.cat([p.get_parameter("weight").detach() for p in parts], dim=1) / len(parts)
        self.network = network
        self.fc = nn.Linear(weight.shape[1], len(weight))
        with torch.no_grad():
            self.fc.weight.copy_(weight)
            self.fc.bias.copy_(torch.stack([_bias(part) for part in parts]).mean(dim=0))
        self._seen: dict[str, Tensor] = {}
        for name, part in zip(heads, parts, strict=True):
            part.register_forward_pre_hook(self._keeping(name))

    def _keeping(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def keep(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            self._seen[name] = arguments[0]

        return keep

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K)."""
        self.network(images)
        features = torch.cat(list(self._seen.values()), dim=1)
        self._seen.clear()
        logits: Tensor = self.fc(features)
        return logits


def _bias(part: nn.Module) -> Tensor:
    bias = getattr(part, "bias", None)
    rows = len(part.get_parameter("weight"))
    return bias.detach() if isinstance(bias, Tensor) else torch.zeros(rows)


def fit_rows(network: nn.Module, heads: Sequence[str], state: Mapping[str, Tensor]) -> None:
    """Give every head the rows that a checkpoint has for it, in place."""
    for head in heads:
        name = f".{head}.weight"
        theirs = next((t for key, t in state.items() if f".{key}".endswith(name)), None)
        if theirs is not None and theirs.ndim == 2 and len(theirs):
            resize_head(network, head, len(theirs))


def own_head(state: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    """Take the one head that was saved of a joined network out of a checkpoint, by its names."""
    weight = state.get(f"{HEAD}.weight")
    if weight is None or weight.ndim != 2 or weight.shape[1] != width:
        return {}
    names = [f"{HEAD}.{part}" for part in ("weight", "bias")]
    return {name: state.pop(name) for name in names if name in state}
