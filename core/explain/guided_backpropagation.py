"""Guided backpropagation (Springenberg et al. 2015), for whatever activation a network has.

Captum's looks at modules of one class alone, so that a rectifier that is called as a function, or
a smooth one, silently gives the plain gradient; here operations are caught where torch calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

from core.explain.attribution import Attribution, by_pixel, functional
from core.explain.relevance import ACTIVATIONS, out_of_place, seen
from core.types import FloatArray

if TYPE_CHECKING:
    from core.models.model import Model


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


def guided_backpropagation(model: Model, image: Tensor, direction: FloatArray) -> FloatArray:
    """Gradient that only positive gradients have reached, summed over colours, (H, W)."""
    image = image.detach().requires_grad_()
    with torch.enable_grad(), Guided():
        number = functional(model, direction)(image).sum()
        (found,) = torch.autograd.grad(number, image)
    return by_pixel(found)


GUIDED_BACKPROPAGATION = Attribution(
    name="guided_backpropagation",
    title="Guided backpropagation",
    text="A gradient without whatever an activation would pass on as negative. It shows edges, and "
    "nearly the same ones for every class: look at it to see detail, not to decide.",
    source="Springenberg et al. 2015; Adebayo et al. 2018 on its blindness",
    explain=guided_backpropagation,
)
