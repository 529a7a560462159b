"""Two overlays of one photo with a divider to swipe, and blinking between them."""

from __future__ import annotations

from dataclasses import dataclass

from core.ui.kit.component import component


@dataclass(frozen=True)
class Layer:
    """One side."""

    photo: str
    """URL of the photo."""
    overlay: str
    """URL of a transparent picture of the same shape, drawn over it."""
    name: str


def swipe(first: Layer, second: Layer, *, alt: str, key: str, dims: bool = False) -> None:
    """Show the first layer left of the divider and the second right of it.

    The divider is a slider: it can be dragged and moved with the arrow keys. A button blinks
    between both at one change a second, and stops when it is pressed again.

    Parameters
    ----------
    alt : what both show, for those who cannot see it.
    dims : whether the overlays darken the photo, and not paint it; then they have full strength.
    """
    data = {"layers": [vars(first), vars(second)], "alt": alt, "dims": dims}
    component("swipe")(key=key, data=data)
