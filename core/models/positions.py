"""How tensors lay out their positions: maps of channels, or tokens with others in front."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Literal

from torch import Tensor

PREFIX_TOKENS = 16
"""Most tokens (class, registers) looked for in front of the patch tokens."""


@dataclass(frozen=True)
class Layout:
    """How a tensor lays out its positions."""

    order: Literal["NCHW", "NHWC", "NLC"]
    grid: tuple[int, int]
    """Rows and columns of positions."""
    prefix: int = 0
    """Tokens in front of the positions (class token, registers); only for NLC."""

    def to_maps(self, tensor: Tensor) -> Tensor:
        """View a tensor of this layout, or its gradient, as maps (B, C, h, w)."""
        if self.order == "NCHW":
            return tensor
        if self.order == "NHWC":
            return tensor.permute(0, 3, 1, 2)
        tokens = tensor[:, self.prefix :].transpose(1, 2)
        return tokens.reshape(*tokens.shape[:2], *self.grid)


def layouts(
    shape: Sequence[int], size: tuple[int, int], patches: tuple[int, int] | None
) -> Iterator[Layout]:
    """Every way to read a tensor of two images as positions, likeliest first.

    Parameters
    ----------
    shape : of the tensor; its first entry must be 2.
    size : height and width of the image, pixels; a grid must be the image divided by a stride.
    patches : grid of the network's patch embedding where it has one.
    """
    if len(shape) == 4 and shape[0] == 2:
        if _is_grid((shape[2], shape[3]), size):
            yield Layout("NCHW", (shape[2], shape[3]))
        if _is_grid((shape[1], shape[2]), size):
            yield Layout("NHWC", (shape[1], shape[2]))
    if len(shape) == 3 and shape[0] == 2:
        yield from _token_layouts(shape[1], size, patches)


def _token_layouts(
    length: int, size: tuple[int, int], patches: tuple[int, int] | None
) -> Iterator[Layout]:
    if patches is not None and 0 <= length - patches[0] * patches[1] <= PREFIX_TOKENS:
        yield Layout("NLC", patches, length - patches[0] * patches[1])
    for prefix in range(PREFIX_TOKENS + 1):
        grid = _grid_of(length - prefix, size)
        if grid is not None and grid != patches:
            yield Layout("NLC", grid, prefix)


def _grid_of(positions: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of the image's own proportions that make up ``positions``."""
    if positions < 2:
        return None
    rows = isqrt(round(positions * size[0] / size[1]))
    grid = (rows, positions // rows) if rows else (0, 0)
    return grid if grid[0] * grid[1] == positions and _is_grid(grid, size) else None


def _is_grid(grid: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether a grid is the image divided by one whole stride, give or take its border."""
    if min(grid) < 1 or grid[0] * grid[1] < 2 or grid[0] > size[0] or grid[1] > size[1]:
        return False
    stride = max(1, round(max(size) / max(grid)))
    return all(abs(side - pixels / stride) < 1.5 for side, pixels in zip(grid, size, strict=True))
