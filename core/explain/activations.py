"""Activations caught where torch calls them, whatever module, function or place they come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

ACTIVATIONS = (
    *("relu", "relu_", "relu6", "hardtanh", "hardtanh_", "gelu", "silu", "hardswish", "mish"),
    *("leaky_relu", "leaky_relu_", "elu", "elu_", "selu", "celu", "tanh", "tanh_"),
)
"""Names of torch's functions of one number that have f(0) = 0."""


def seen(values: Sequence[Any]) -> bool:
    """Whether one of them depends on the image."""
    flat = [v for value in values for v in (value if isinstance(value, list | tuple) else [value])]
    return any(isinstance(v, Tensor) and v.requires_grad for v in flat)


def out_of_place(func: Callable[..., Any], x: Tensor, *more: Any, **named: Any) -> Tensor:
    """A function's value, the tensor left as it is."""
    kept = {name: value for name, value in named.items() if name != "inplace"}
    found: Tensor = func(x.clone(), *more, **kept)
    return found


class _Guided(Function):
    """An activation whose negative gradients are not passed on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.of = of
        return of(x)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            again = x.detach().requires_grad_()
            made = ctx.of(again)
        (passed,) = torch.autograd.grad(made, again, slope.clamp(min=0))
        return passed, None


class Guided(TorchFunctionMode):
    """Forward passes inside of the block pass positive gradients on, through activations."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__name__", "") not in ACTIVATIONS or not seen(args):
            return func(*args, **named)
        x, *more = args
        return _Guided.apply(x, lambda of: out_of_place(func, of, *more, **named))
