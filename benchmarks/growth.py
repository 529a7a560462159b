"""How a cost grows with size: the exponent of the power law through what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.measure import Line


def exponent(costs: Mapping[int, float]) -> float:
    """Slope of log cost over log size by least squares: 0 for none, 1 for proportional growth."""
    sizes, values = np.array(list(costs), float), np.array(list(costs.values()), float)
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


def measured(cost: Callable[[int], float], *sizes: int) -> dict[int, float]:
    """The cost at every size."""
    return {size: cost(size) for size in sizes}


def line(what: str, costs: Mapping[int, float], most: float | None = None) -> Line:
    """The exponent beside what it was fitted on; ``most``: what it may be."""
    found = exponent(costs)
    said = ", ".join(f"{cost:.3g} at {size:,}" for size, cost in costs.items())
    target = "" if most is None else f"<= {most:g}"
    holds = None if most is None else found <= most
    return Line(f"{what}: exponent of its growth ({said})", found, target, "", holds)
