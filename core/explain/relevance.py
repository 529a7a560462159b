"""Rules of layer-wise relevance propagation, put in the place of a network's own derivatives.

Inside ``with Rules():`` every operation of a forward pass is answered by one whose backward pass
follows a rule, so that afterwards *tensor times gradient* is the relevance of a tensor. Operations
are caught where torch calls them, not as modules: activations in place, modules that are used
twice and functions without a module are caught alike, and the network is never touched.

What gets the relevance R of an output y = sum of z_j (+ constants, which get none of it):

* first convolution or matrix: every pixel under the kernel alike ("flat");
* other convolutions, and the sum of two branches: the z_j of the sign of y, in proportion; those
  of the other sign only where there is none ("same sign", LRP-gamma with an infinite gamma). A
  batch norm that follows is folded into the weights before;
* matrices, norms of a layer or of groups, multiplications by constants: every z_j in proportion
  ("epsilon", with an epsilon of 0); the share of the constants goes to all z in proportion to
  abs(z);
* activations: their input, all of it; gates (sigmoid, softmax): none, they are constants, so that
  attention hands relevance to the values it averages; a product of two branches: half to each;
* the statistics of a norm are constants; what is linear otherwise (means, maxima, slices, joins)
  keeps its own derivative, which conserves (``KEPT``);
* what has no rule falls back on its derivative, too, and is named (``Rules.without``).

A class token, and a position's own vector, keep what they are given (``Rules.constants``).
Sources: Bach et al. 2015 (epsilon), Montavon et al. 2019 (gamma, flat, folding), Ali et al. 2022
(attention and norms as constants). Departures: gamma is infinite and of both signs, and constants
pass their share on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from core.explain.activations import ACTIVATIONS, out_of_place, seen

TINY = 1e-20
"""Denominators are kept away from zero by it."""

Linear = Callable[[Tensor, Tensor], Tensor]
"""A map that is linear in its input and in its weight."""


class _Unchanged(Function):
    """Element by element: the input has the relevance of the output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return y.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        x, y = ctx.saved_tensors
        return slope * y * x / (x * x + 1e-12), None


class _SameSign(Function):
    """To the inputs that push an output where it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, linear: Linear, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, weight)
        ctx.linear = linear
        return y.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None]:
        x, y, weight = ctx.saved_tensors
        with torch.enable_grad():
            above, below = (f(x, 0).requires_grad_() for f in (torch.clamp_min, torch.clamp_max))
            raising, lowering = weight.clamp(min=0), weight.clamp(max=0)
            up = ctx.linear(above, raising) + ctx.linear(below, lowering)
            down = ctx.linear(above, lowering) + ctx.linear(below, raising)
        shares = _shares(y * slope, y, up.detach(), down.detach())
        of_above, of_below = torch.autograd.grad([up, down], [above, below], list(shares))
        return torch.where(x > 0, of_above, of_below), None, None, None


def _shares(given: Tensor, y: Tensor, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Relevance per unit of what raises and of what lowers an output.

    Where nothing has the output's sign, as a constant alone made it so, both have their shares;
    where there is nothing at all, the other outputs have it.
    """
    rises = (y > 0) & (up > 0)
    falls = (y <= 0) & (down < 0)
    neither = ~rises & ~falls
    size, axes = up - down, tuple(range(1, y.ndim))
    lost = torch.where(size > 0, 0, given).sum(axes, keepdim=True)
    given = given + size * lost / _size(size, axes)
    whole = given / size.clamp(min=TINY)
    to_up = torch.where(rises, given / up.clamp(min=TINY), torch.where(neither, whole, 0))
    to_down = torch.where(falls, given / down.clamp(max=-TINY), torch.where(neither, -whole, 0))
    return to_up, to_down


class _Flat(Function):
    """To all inputs under the kernel alike; those that are exactly 0, as padding is, get none."""

    forward = _SameSign.forward

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None]:
        x, y, weight = ctx.saved_tensors
        with torch.enable_grad():
            there = (x != 0).to(x.dtype).requires_grad_()
            count = ctx.linear(there, torch.ones_like(weight))
        share = y * slope / count.detach().clamp(min=1)
        (given,) = torch.autograd.grad(count, there, share)
        return torch.where(x != 0, given / torch.where(x == 0, 1, x), 0), None, None, None


class _Branches(Function):
    """Of a sum of two: to those of the sign of the sum."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a + b

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        sign = (a + b).sign()
        of_a, of_b = (a * sign).clamp(min=0), (b * sign).clamp(min=0)
        share = (a + b).abs() * slope / (of_a + of_b).clamp(min=TINY)
        return tuple(  # type: ignore[return-value]
            torch.where(z > 0, share, 0).sum_to_size(x.shape) for z, x in ((of_a, a), (of_b, b))
        )


class _Constant(Function):
    """z + constant: z has the constant's share, too, in proportion to abs(z) along some axes."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, constant: Tensor, axes: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(z, constant)
        ctx.axes = axes
        return z + constant

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        z, constant = ctx.saved_tensors
        given = (slope * constant).sum(ctx.axes, keepdim=True)
        return slope + z.sign() * given / _size(z, ctx.axes), None, None


def _size(z: Tensor, axes: tuple[int, ...]) -> Tensor:
    return z.abs().sum(axes, keepdim=True).clamp(min=TINY)


class _Halves(Function):
    """A product of two, each of which has half of the relevance."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, product: Linear) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.product = product
        return product(a, b)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b = (kept.detach().requires_grad_() for kept in ctx.saved_tensors)
        with torch.enable_grad():
            made = ctx.product(a, b)
        of_a, of_b = torch.autograd.grad(made, [a, b], slope / 2)
        return of_a, of_b, None


class Rules(TorchFunctionMode):
    """Forward passes inside of the block have the rules of relevance as their derivatives."""

    def __init__(self) -> None:
        super().__init__()
        self.constants: list[Tensor] = []
        """Class tokens and vectors of positions: leaves of the graph that are given relevance."""
        self.without: set[str] = set()
        """Operations without a rule that relevance went through, by torch's name."""
        self._first = True

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named, name = kwargs or {}, getattr(func, "__name__", "")
        rule = RULES.get(name)
        if rule is None or not seen([*args, *named.values()]):
            found = func(*args, **named)
            if name not in KEPT:
                self._watch(name, found)
            return found
        return rule(self, func, *args, **named)

    def _watch(self, name: str, found: Any) -> None:
        """Remember an operation once relevance goes through what it made."""
        for each in found if isinstance(found, list | tuple) else [found]:
            if isinstance(each, Tensor) and each.requires_grad and each.grad_fn is not None:
                each.register_hook(lambda _: self.without.add(name))  # type: ignore[no-untyped-call]

    def conv(
        self,
        _: object,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *more: Any,
        **named: Any,
    ) -> Tensor:
        """Convolution in two dimensions."""
        y = F.conv2d(x.detach(), weight, bias, *more, **named)
        return self._weighted(x, y, lambda x, w: F.conv2d(x, w, None, *more, **named), weight)

    def _weighted(self, x: Tensor, y: Tensor, linear: Linear, weight: Tensor) -> Tensor:
        rule = _Flat if self._first else _SameSign
        self._first = False
        found: Tensor = rule.apply(x, y, linear, weight)
        found.folds = (rule, x, linear, weight)  # type: ignore[attr-defined]
        return found

    def matrix(self, _: object, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Linear layer."""
        if self._first:
            return self._weighted(x, F.linear(x.detach(), weight, bias), F.linear, weight)
        return _plus(F.linear(x, weight), bias, (-1,))

    def batch_norm(
        self,
        _: object,
        x: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """Of running statistics; folded into the convolution before it, where there is one."""
        gain = (var + eps).rsqrt() * (1 if weight is None else weight)
        if not hasattr(x, "folds"):
            by = (1, -1, *[1] * (x.ndim - 2))
            shift = (0 if bias is None else bias) - mean * gain
            return _plus(x * gain.view(by), shift.view(by), tuple(range(1, x.ndim)))
        rule, inlet, linear, kernel = x.folds
        y = F.batch_norm(x.detach(), mean, var, weight, bias, False, momentum, eps)
        return _made(rule.apply(inlet, y, linear, kernel * gain.view(-1, *[1] * (kernel.ndim - 1))))

    def layer_norm(
        self,
        _: object,
        x: Tensor,
        shape: Sequence[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        """Its spread is a constant, its mean is not."""
        axes = tuple(range(-len(shape), 0))
        z = _standardised(x, axes, eps)
        return _plus(z if weight is None else z * weight, bias, axes)

    def group_norm(
        self,
        _: object,
        x: Tensor,
        groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        """As a layer norm."""
        z = _standardised(x.reshape(len(x), groups, -1), (-1,), eps).reshape(x.shape)
        by = (1, -1, *[1] * (x.ndim - 2))
        z = z if weight is None else z * weight.view(by)
        return _plus(z, None if bias is None else bias.view(by), tuple(range(1, x.ndim)))

    def activation(self, func: Callable[..., Any], x: Tensor, *more: Any, **named: Any) -> Tensor:
        """Never in place: the tensor before it is needed."""
        return _made(_Unchanged.apply(x, _apart(func, x, *more, **named)))

    def gate(self, func: Callable[..., Any], x: Tensor, *more: Any, **named: Any) -> Tensor:
        """A constant."""
        return _apart(func, x, *more, **named)

    def product(self, _: object, a: Any, b: Any) -> Tensor:
        """Entry by entry."""
        if not (seen([a]) and seen([b])):
            return _made(a * b)
        return _made(_Halves.apply(a, b, torch.mul))

    def matrices(self, _: object, a: Tensor, b: Tensor) -> Tensor:
        """Product of two matrices, or of many."""
        return _made(_Halves.apply(a, b, torch.matmul)) if seen([a]) and seen([b]) else a @ b

    def quotient(self, func: Callable[..., Any], a: Any, b: Any, **named: Any) -> Tensor:
        """By a constant."""
        return _made(func(a, b.detach() if isinstance(b, Tensor) else b, **named))

    def total(self, _: object, a: Any, b: Any, *, alpha: float = 1) -> Tensor:
        """Sum of two; a constant of every place and channel keeps what it is given."""
        if alpha != 1 or not (isinstance(a, Tensor) and isinstance(b, Tensor)):
            return torch.add(a, b, alpha=alpha)
        if seen([a]) and seen([b]):
            return _made(_Branches.apply(a, b))
        x, constant = (a, b) if seen([a]) else (b, a)
        if constant[:1].numel() == x[:1].numel() > x.shape[-1]:
            return x + self._leaf(constant)
        return _plus(x.expand((x + constant).shape), constant, (-1,))

    def scaled_sum(
        self, _: object, constant: Tensor, a: Tensor, b: Tensor, *, value: float = 1
    ) -> Tensor:
        """Constant + value a b."""
        return _plus(self.product(None, a, b) * value, constant, (1,))

    def joined(
        self, func: Callable[..., Any], tensors: Sequence[Tensor], *more: Any, **named: Any
    ) -> Tensor:
        """One beside the other; constants become leaves, so that what they keep can be told."""
        return _made(func([self._leaf(t) for t in tensors], *more, **named))

    def _leaf(self, tensor: Tensor) -> Tensor:
        if tensor.requires_grad:
            return tensor
        self.constants.append(tensor.detach().requires_grad_())
        return self.constants[-1]

    def attention(
        self,
        func: Callable[..., Any],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *more: Any,
        **named: Any,
    ) -> Tensor:
        """A mean of values with constant weights."""
        return _made(func(query.detach(), key.detach(), value, *more, **named))

    def heads(
        self,
        _: object,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        width: int,
        count: int,
        weight: Tensor,
        bias: Tensor,
        *rest: Any,
        **named: Any,
    ) -> tuple[Tensor, None]:
        """Attention of several heads (places, images, width) as torch's own module has it."""

        def split(part: Tensor) -> Tensor:
            return part.reshape(len(part), -1, width // count).transpose(0, 1)

        (at_q, at_k, at_v), (plus_q, plus_k, plus_v) = weight.chunk(3), bias.chunk(3)
        asked = split(F.linear(query.detach(), at_q, plus_q))
        known = split(F.linear(key.detach(), at_k, plus_k))
        told = split(self.matrix(None, value, at_v, plus_v))
        seen_by = F.scaled_dot_product_attention(asked, known, told).transpose(0, 1)
        *_, out_weight, out_bias = rest[:6]
        return self.matrix(None, seen_by.reshape(query.shape), out_weight, out_bias), None


def _made(found: Any) -> Tensor:
    assert isinstance(found, Tensor)  # what autograd functions return has no type
    return found


def _plus(z: Tensor, constant: Tensor | None, axes: tuple[int, ...]) -> Tensor:
    return z if constant is None else _made(_Constant.apply(z, constant.detach(), axes))


def _standardised(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    spread = (x.detach().var(axes, keepdim=True, correction=0) + eps).sqrt()
    return (x - x.mean(axes, keepdim=True)) / spread


def _apart(func: Callable[..., Any], x: Tensor, *more: Any, **named: Any) -> Tensor:
    """A function's value that no gradient passes."""
    return out_of_place(func, x.detach(), *more, **named)


RULES: dict[str, Callable[..., Any]] = {
    "conv2d": Rules.conv,
    "linear": Rules.matrix,
    "batch_norm": Rules.batch_norm,
    "layer_norm": Rules.layer_norm,
    "group_norm": Rules.group_norm,
    **dict.fromkeys(ACTIVATIONS, Rules.activation),
    **dict.fromkeys(("sigmoid", "sigmoid_", "hardsigmoid", "softmax"), Rules.gate),
    **dict.fromkeys(("mul", "mul_", "__mul__", "__rmul__", "__imul__"), Rules.product),
    **dict.fromkeys(("matmul", "__matmul__", "bmm"), Rules.matrices),
    **dict.fromkeys(("div", "div_", "__truediv__", "__itruediv__"), Rules.quotient),
    **dict.fromkeys(("add", "add_", "__add__", "__radd__", "__iadd__"), Rules.total),
    **dict.fromkeys(("cat", "concat"), Rules.joined),
    "addcmul": Rules.scaled_sum,
    "scaled_dot_product_attention": Rules.attention,
    "multi_head_attention_forward": Rules.heads,
}
"""By the name of torch's function; any other keeps its derivative."""

KEPT = frozenset(
    (
        *("mean", "sum", "sub", "__sub__", "__rsub__", "__isub__", "rsub", "neg", "__neg__"),
        *("max", "amax", "maximum", "min", "amin", "minimum", "where", "interpolate"),
        *("avg_pool2d", "max_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "pad"),
        *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "roll", "flip"),
        *("view", "reshape", "flatten", "unflatten", "permute", "transpose", "swapaxes", "movedim"),
        *("squeeze", "unsqueeze", "expand", "expand_as", "repeat", "contiguous", "clone", "stack"),
        *("split", "chunk", "unbind", "narrow", "select", "index_select", "gather", "tile"),
        *("__getitem__", "__get__", "to", "float", "half", "type", "type_as", "unfold", "fold"),
        *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "t", "double", "bfloat16"),
    )
)
"""Linear, or of one input at a place: their derivative is their rule, it conserves."""
