"""The colours of the app: one palette with one meaning on every page.

All are told apart with every common kind of colour blindness; a test simulates them (Machado et
al. 2009). No meaning hangs on colour alone: signs, shapes or words say it, too.
"""

from __future__ import annotations

RAISES, LOWERS = "#e66101", "#3370d6"
"""Signed values: raises the logit, or above zero; lowers it, or below."""

MIDDLE = "#c9cdd3"
"""Zero on a scale between the two."""

DIVERGING = [(0.0, LOWERS), (0.5, MIDDLE), (1.0, RAISES)]

NEUTRAL = "#646870"
"""Without a sign, a class or a value; also everything that is not worth a colour of its own."""

QUIET = "#7a828e"
"""Words and axes in pictures that lie on light and on dark pages."""

INK, PAPER = "#10141a", "#ffffff"
"""Words on light and on dark colours of a figure."""

PALE = "#eef1f5"
"""The low end of a scale that ends in ACCURACY: INK can be read on all of it."""

ACCURACY = "#009e73"

CORE, SPURIOUS = ("#0b6e4f", "#57d3a6"), ("#8a1c9c", "#e3a6f0")
"""What people say of a candidate, on light and on dark pages; a sign and a shape say it, too."""

CLASSES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"]
"""Classes, attributes, predictions, models (Okabe & Ito 2008)."""

SEQUENTIAL = [(0.0, "#440154"), (0.33, "#31688e"), (0.67, "#35b779"), (1.0, "#e5d51f")]
"""Numbers without a sign, from low to high (viridis)."""
