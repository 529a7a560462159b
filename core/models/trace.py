"""Where a network keeps its linear head and its pooled maps, found by watching one forward pass.

Nothing here knows an architecture by name: a module is the head because its output *is* the
network's output, and a tensor is the map because its mean over positions *is* the head's input.
Both are checked with numbers, to a relative error of 1e-4.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from core.errors import ModelError
from core.models.positions import Layout, layouts

MapKind = Literal["exact", "frozen_norm", "none"]

TOLERANCE = 1e-4
"""Largest relative difference (of the largest entry) that counts as equal, in fp32."""

TAIL = 512
"""Tensors remembered from the end of the forward pass; bounds the memory of a trace."""


@dataclass(frozen=True)
class Site:
    """One tensor of a forward pass: what goes into or comes out of a module."""

    module: str
    """Name in ``network.named_modules()``."""
    side: Literal["input", "output"]
    call: int
    """Which call of the module, from 0: blocks reuse one activation several times."""


@dataclass(frozen=True)
class FrozenNorm:
    """A norm layer between pooling and head, written as an affine map per image.

    With the statistics m, s of the pooled vector z held fixed, norm(z) = z * scale + shift, and
    the same scale and shift applied at every position give maps whose mean is norm(z).
    """

    form: Literal["layer", "rms", "batch"]
    eps: float
    gain: Tensor
    """(D,) float32."""
    offset: Tensor
    """(D,) float32."""
    mean: Tensor
    """(D,) running mean, used by ``batch`` only."""
    var: Tensor
    """(D,) running variance, used by ``batch`` only."""

    def affine(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift, each (B, D) float32, for pooled vectors (B, D)."""
        z = pooled.float()
        centre, spread = self._statistics(z)
        scale = self.gain.to(z.device) / spread
        return scale.expand_as(z), (self.offset.to(z.device) - centre * scale).expand_as(z)

    def _statistics(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if self.form == "batch":
            return self.mean.to(z.device), (self.var.to(z.device) + self.eps).sqrt()
        if self.form == "rms":
            return torch.zeros_like(z[:, :1]), (z.square().mean(1, keepdim=True) + self.eps).sqrt()
        variance, centre = torch.var_mean(z, dim=1, keepdim=True, correction=0)
        return centre, (variance + self.eps).sqrt()


@dataclass(frozen=True)
class MapSource:
    """Where the maps are captured and what turns them into maps whose mean is the features."""

    site: Site
    layout: Layout
    relu: bool = False
    """A relu without a module of its own follows the captured tensor."""
    norm: FrozenNorm | None = None


@dataclass(frozen=True)
class CamSource:
    """The last tensor with positions that the features depend on; gradient methods use it."""

    site: Site
    layout: Layout


@dataclass(frozen=True)
class Trace:
    """What one watched forward pass says about a network."""

    head: str
    """Name of the head module."""
    features: Site
    """The head's input."""
    n_features: int
    """D, entries of the head's input."""
    maps: MapSource | None
    map_kind: MapKind
    cam: CamSource | None
    """None where no tensor with positions was found."""


FORWARD_ERRORS = (
    *(RuntimeError, AssertionError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, NotImplementedError),
)
"""What networks raise for images that they were not made for."""


@dataclass(frozen=True)
class _Event:
    site: Site
    tensor: Tensor


Watcher = Callable[[Site, Tensor], None]


def trace_network(network: nn.Module, input_size: tuple[int, int]) -> Trace:
    """Find head, maps and gradient layer by one fp32 forward pass of two random images.

    Parameters
    ----------
    network : in eval mode, fp32. Its weights are not changed.
    input_size : height and width of the probe, pixels.

    Raises
    ------
    ModelError
        If the network's output is not that of a linear layer, or not one tensor.
    """
    events, output = _watched_forward(network, input_size)
    head = _head_event(network, events, output)
    entry = _input_of(events, head.site)
    phi = entry.tensor.flatten(1)
    maps = _find_maps(network, events, phi, input_size)
    return Trace(
        head=head.site.module,
        features=entry.site,
        n_features=phi.shape[1],
        maps=maps,
        map_kind=_kind(maps),
        cam=_find_cam(network, events, phi, input_size),
    )


def find_head(network: nn.Module, input_size: tuple[int, int]) -> str:
    """Name of the linear head of a network; raises like :func:`trace_network`."""
    events, output = _watched_forward(network, input_size)
    return _head_event(network, events, output).site.module


def heads_of(network: nn.Module, input_size: tuple[int, int]) -> tuple[str, ...]:
    """Name of the linear head of a network, or of the heads whose mean it gives.

    Raises
    ------
    ModelError
        If the network's output is neither.
    """
    events, output = _watched_forward(network, input_size)
    heads = [
        event
        for event in events
        if event.site.side == "output"
        and event.tensor.shape == output.shape
        and _is_linear(network.get_submodule(event.site.module))
    ]
    if len(heads) > 1 and not any(_same(event.tensor, output) for event in heads):
        mean = torch.stack([event.tensor for event in heads]).mean(dim=0)
        if _same(mean, output):
            return tuple(event.site.module for event in heads)
    return (_head_event(network, events, output).site.module,)


def resize_head(network: nn.Module, head: str, rows: int) -> None:
    """Replace the head by an untrained one with another number of outputs (seeded)."""
    old = network.get_submodule(head)
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    new = _like(old, rows)
    torch.random.set_rng_state(state)
    parent, _, name = head.rpartition(".")
    setattr(network.get_submodule(parent), name, new)


def _like(head: nn.Module, rows: int) -> nn.Module:
    bias = head.bias is not None
    if isinstance(head, nn.Conv2d):
        return nn.Conv2d(head.in_channels, rows, 1, bias=bias)
    assert isinstance(head, nn.Linear)  # a head is one of the two, see _is_linear
    return nn.Linear(head.in_features, rows, bias=bias)


_turns: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_turns_lock = threading.Lock()


@contextmanager
def exclusive(network: nn.Module) -> Iterator[None]:
    """Have a network alone for the block; the same thread may take it again inside.

    A hook on a module sees the forward passes of every thread, so whoever hooks into a network
    that others may run takes it first: :func:`captured`, and what holds hooks of its own.
    """
    with _turns_lock:
        turn = _turns.setdefault(network, threading.RLock())
    with turn:
        yield


@contextmanager
def captured(network: nn.Module, sites: Sequence[Site]) -> Iterator[dict[Site, Tensor]]:
    """Collect the tensors at ``sites`` during the forward passes inside the block.

    No other thread captures from the network meanwhile (:func:`exclusive`), so that what is
    caught belongs to the block's own passes. Hooks are removed when the block ends, also by an
    exception.
    """
    wanted = set(sites)
    caught: dict[Site, Tensor] = {}

    def keep(site: Site, tensor: Tensor) -> None:
        if site in wanted:
            caught[site] = tensor

    names = {site.module for site in sites}
    modules = [(name, network.get_submodule(name)) for name in sorted(names)]
    with exclusive(network), _watching(modules, keep):
        yield caught


@contextmanager
def _watching(modules: Sequence[tuple[str, nn.Module]], watcher: Watcher) -> Iterator[None]:
    handles = [handle for name, module in modules for handle in _hook(name, module, watcher)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(
    name: str, module: nn.Module, watcher: Watcher
) -> Iterator[torch.utils.hooks.RemovableHandle]:
    calls = 0

    def before(_: nn.Module, args: tuple[object, ...]) -> None:
        if args and isinstance(args[0], Tensor):
            watcher(Site(name, "input", calls), args[0])

    def after(_: nn.Module, __: tuple[object, ...], output: object) -> None:
        nonlocal calls
        if isinstance(output, Tensor):
            watcher(Site(name, "output", calls), output)
        calls += 1

    yield module.register_forward_pre_hook(before)
    yield module.register_forward_hook(after)


def _watched_forward(
    network: nn.Module, input_size: tuple[int, int]
) -> tuple[list[_Event], Tensor]:
    events: deque[_Event] = deque(maxlen=TAIL)
    modules = [(name, module) for name, module in network.named_modules() if name]
    probe = torch.randn(2, 3, *input_size, generator=torch.Generator().manual_seed(0))
    with _watching(modules, lambda site, tensor: events.append(_Event(site, tensor))):
        try:
            output = network(probe.requires_grad_())
        except FORWARD_ERRORS as error:
            height, width = input_size
            raise ModelError(
                f"{type(network).__name__} takes no images of {height} x {width} pixels: choose "
                "another --input-size, or another model."
            ) from error
    if not isinstance(output, Tensor) or output.ndim != 2:
        raise ModelError(
            f"{type(network).__name__} has no linear head: it returns {_describe(output)}. "
            "Choose a model that returns one row of logits per image."
        )
    if not output.isfinite().all():
        raise ModelError(
            f"{type(network).__name__} answers a plain image with logits that are not finite. "
            f"{_not_finite(network)} Choose other weights."
        )
    return list(events), output


def _not_finite(network: nn.Module) -> str:
    """Name the tensors that hold NaN or infinity, if any."""
    bad = [name for name, tensor in network.state_dict().items() if not tensor.isfinite().all()]
    return f"{len(bad)} of its tensors hold NaN or infinity, first {bad[0]}." if bad else ""


def _describe(output: object) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    return f"a {type(output).__name__}"


def _head_event(network: nn.Module, events: Sequence[_Event], output: Tensor) -> _Event:
    outputs = [event for event in events if event.site.side == "output"]
    for event in reversed(outputs):
        if _is_linear(network.get_submodule(event.site.module)) and _same(event.tensor, output):
            return event
    leaf = next(event for event in reversed(outputs) if _is_leaf(network, event.site.module))
    kind = type(network.get_submodule(leaf.site.module)).__name__
    raise ModelError(
        f"{type(network).__name__} has no linear head: its output comes from "
        f"{leaf.site.module} ({kind}). Choose a model that ends in one linear layer."
    )


def _is_leaf(network: nn.Module, name: str) -> bool:
    return next(network.get_submodule(name).children(), None) is None


def _is_linear(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear)


def _input_of(events: Sequence[_Event], output: Site) -> _Event:
    site = Site(output.module, "input", output.call)
    return next(event for event in events if event.site == site)


def _same(tensor: Tensor, reference: Tensor) -> bool:
    """Whether two tensors agree once flattened per image."""
    a, b = tensor.detach().flatten(1), reference.detach().flatten(1)
    if a.shape != b.shape or not a.is_floating_point():
        return False
    return bool((a - b).abs().max() <= TOLERANCE * b.abs().max())


def _kind(maps: MapSource | None) -> MapKind:
    if maps is None:
        return "none"
    return "exact" if maps.norm is None else "frozen_norm"


def _find_maps(
    network: nn.Module, events: Sequence[_Event], phi: Tensor, size: tuple[int, int]
) -> MapSource | None:
    targets: list[tuple[Tensor, FrozenNorm | None]] = [(phi, None)]
    targets += _norms(network, events, phi)
    patches = _patch_grid(network)
    for event in reversed(events):
        for layout in layouts(event.tensor.shape, size, patches):
            source = _match(event, layout, targets)
            if source is not None:
                return source
    return None


def _match(
    event: _Event, layout: Layout, targets: Sequence[tuple[Tensor, FrozenNorm | None]]
) -> MapSource | None:
    maps = layout.to_maps(event.tensor.detach())
    if maps.shape[1] != targets[0][0].shape[1]:
        return None
    for relu, pooled in ((False, maps), (True, maps.relu())):
        mean = pooled.mean((2, 3))
        for vector, norm in targets:
            if _same(mean, vector):
                return MapSource(event.site, layout, relu, norm)
    return None


def _norms(
    network: nn.Module, events: Sequence[_Event], phi: Tensor
) -> list[tuple[Tensor, FrozenNorm | None]]:
    """Vectors that a norm layer turns into the features, each with that norm."""
    found: list[tuple[Tensor, FrozenNorm | None]] = []
    for event in reversed(events):
        if event.site.side == "output" and _same(event.tensor, phi):
            pooled = _pooled_before(events, event.site, phi)
            norm = None if pooled is None else _as_norm(network, event.site.module, pooled, phi)
            if pooled is not None and norm is not None:
                found.append((pooled, norm))
    return found


def _pooled_before(events: Sequence[_Event], site: Site, phi: Tensor) -> Tensor | None:
    inlet = Site(site.module, "input", site.call)
    for event in events:
        if event.site == inlet:
            pooled = event.tensor.detach().flatten(1)
            return None if pooled.shape != phi.shape or _same(pooled, phi) else pooled
    return None


def _as_norm(network: nn.Module, name: str, pooled: Tensor, phi: Tensor) -> FrozenNorm | None:
    module = network.get_submodule(name)
    width = pooled.shape[1]
    for form in ("layer", "rms", "batch"):
        norm = FrozenNorm(
            form=form,
            eps=float(getattr(module, "eps", None) or torch.finfo(torch.float32).eps),
            gain=_vector(module, "weight", width, 1.0),
            offset=_vector(module, "bias", width, 0.0),
            mean=_vector(module, "running_mean", width, 0.0),
            var=_vector(module, "running_var", width, 1.0),
        )
        scale, shift = norm.affine(pooled)
        if _same(pooled * scale + shift, phi):
            return norm
    return None


def _vector(module: nn.Module, name: str, width: int, default: float) -> Tensor:
    value = getattr(module, name, None)
    if isinstance(value, Tensor) and value.numel() == width:
        return value.detach().float().flatten().clone()
    return torch.full((width,), default)


def _patch_grid(network: nn.Module) -> tuple[int, int] | None:
    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if isinstance(grid, tuple | list) and len(grid) == 2:
        return int(grid[0]), int(grid[1])
    return None


def _find_cam(
    network: nn.Module, events: Sequence[_Event], phi: Tensor, size: tuple[int, int]
) -> CamSource | None:
    """Last module output with positions whose positions the features depend on."""
    found = [
        (event, layout)
        for event in events
        for layout in list(layouts(event.tensor.shape, size, _patch_grid(network)))[:1]
        if event.site.side == "output" and event.tensor.requires_grad
    ]
    if not found:
        return None
    direction = torch.randn(phi.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(
        (phi * direction).sum(), [event.tensor for event, _ in found], allow_unused=True
    )
    usable = [
        (event, layout)
        for (event, layout), gradient in zip(found, gradients, strict=True)
        if gradient is not None and bool(layout.to_maps(gradient).ne(0).any())
    ]
    return _latest(network, usable, phi.shape[1])


def _latest(
    network: nn.Module, usable: Sequence[tuple[_Event, Layout]], width: int
) -> CamSource | None:
    """Prefer maps, and tokens that are no projection of an attention (queries, keys, values)."""
    preferred = [
        (event, layout)
        for event, layout in usable
        if layout.order != "NLC"
        or event.tensor.shape[2] == width
        and not isinstance(network.get_submodule(event.site.module), nn.Linear)
    ]
    chosen = preferred or list(usable)
    return CamSource(chosen[-1][0].site, chosen[-1][1]) if chosen else None
