"""Figures as inline SVG with a title and a description; marks differ by shape, not by colour alone.

Every text goes through :class:`markupsafe.Markup`, which escapes what comes from data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from core.explain.overlays import LOWERS, RAISES
from core.report.findings import Finding, Number, Verdict
from core.report.sentences import percent
from core.statistics.intervals import critical, wilson

HARM, OTHER = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in (RAISES, LOWERS))
AXIS = "gap, percentage points; tick: random directions that follow the logit as closely"
INK, QUIET, ACCURACY = "#16202c", "#5b6673", "#00795a"
WIDTH = 680
ROWS = 8
"""Classes that the figure of the summary holds at most, so that the summary stays one page."""


def svg(height: int, title: str, text: str, parts: Sequence[Markup]) -> Markup:
    """A figure with its title and description."""
    return Markup(
        '<svg role="img" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">'
        "<title>{title}</title><desc>{text}</desc>{body}</svg>"
    ).format(width=WIDTH, height=height, title=title, text=text, body=Markup("").join(parts))


def label(x: float, y: float, text: str, *, anchor: str = "start", fill: str = INK) -> Markup:
    """Words in a figure."""
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" fill="{}">{}</text>').format(
        x, y, anchor, fill, text
    )


def line(x1: float, y1: float, x2: float, y2: float, *, stroke: str, width: float = 1) -> Markup:
    """A straight line."""
    return Markup(
        '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}" stroke-width="{}"/>'
    ).format(x1, y1, x2, y2, stroke, width)


def dot(x: float, y: float, *, fill: str, hollow: bool = False) -> Markup:
    """A point, or a hollow one."""
    return Markup(
        '<circle cx="{:.1f}" cy="{:.1f}" r="5" fill="{}" stroke="{}" stroke-width="2"/>'
    ).format(x, y, "#ffffff" if hollow else fill, fill)


def gaps(findings: Sequence[Finding]) -> Markup:
    """The gap of every class with tagged cues, with its interval; a tick is its control.

    Hollow where the interval holds zero, coloured where the class is harmed.
    """
    shown = [(f, f.gap) for f in findings if f.gap is not None][:ROWS]
    if not shown:
        return Markup("")
    left, right, step = 190.0, WIDTH - 20.0, 28

    def across(value: float) -> float:
        return left + (value + 100) / 200 * (right - left)

    bottom = 12 + step * len(shown)
    parts = [
        line(across(v), 8, across(v), bottom, stroke=QUIET if v == 0 else "#d5dbe3")
        for v in (-100, -50, 0, 50, 100)
    ]
    parts += [
        label(across(v), bottom + 16, f"{v:+d}" if v else "0", anchor="middle", fill=QUIET)
        for v in (-100, -50, 0, 50, 100)
    ]
    parts.append(label((left + right) / 2, bottom + 34, AXIS, anchor="middle"))
    for place, (finding, gap) in enumerate(shown):
        y = 24 + step * place
        away = finding.helps or finding.confuses
        colour = HARM if finding.harms else QUIET
        name = finding.name if len(finding.name) <= 24 else finding.name[:23] + "…"
        parts += [
            label(left - 12, y + 4, name, anchor="end"),
            line(across(gap.low), y, across(gap.high), y, stroke=colour, width=2),
            dot(across(gap.value), y, fill=colour, hollow=not away),
        ]
        if finding.gap_control is not None:
            x = across(finding.gap_control.value)
            parts.append(line(x, y - 9, x, y + 9, stroke=INK, width=2))
    text = "; ".join(
        f"{f.name}: {g.value:+.0f} points, from {g.low:+.0f} to {g.high:+.0f}, "
        + ("away from zero" if f.helps or f.confuses else "not told from zero")
        for f, g in shown
    )
    return svg(bottom + 42, "Spurious gap of every class with tagged cues", text, parts)


def along(finding: Finding, table: pd.DataFrame) -> Markup:
    """Accuracy along the spuriosity of a class's held-out images.

    ``table`` as :func:`core.tags.decisions.spuriosity_of` makes it. Bars are 95 % Wilson
    intervals of each point alone.
    """
    table = table[table["held_out"] & table["spuriosity"].notna()]
    if len(table) < 2:
        return Markup("")
    correct = table["correct"].to_numpy(dtype=bool)[::-1]
    bins = np.array_split(correct, min(6, max(2, len(correct) // 10)))
    left, right, top, bottom = 60.0, WIDTH - 20.0, 12.0, 170.0
    xs = np.linspace(left + 40, right - 40, len(bins))

    def down(share: float) -> float:
        return bottom - share * (bottom - top)

    parts = []
    for share in (0, 0.5, 1):
        parts.append(line(left, down(share), right, down(share), stroke="#d5dbe3"))
        parts.append(label(left - 8, down(share) + 4, percent(share), anchor="end", fill=QUIET))
    means = [float(b.mean()) for b in bins]
    parts += [
        line(xs[i], down(means[i]), xs[i + 1], down(means[i + 1]), stroke=ACCURACY, width=2)
        for i in range(len(bins) - 1)
    ]
    for x, values, mean in zip(xs, bins, means, strict=True):
        low, high = wilson(np.array(values.sum()), len(values), z=critical())
        parts.append(line(x, down(float(low)), x, down(float(high)), stroke=ACCURACY, width=2))
        parts.append(dot(x, down(mean), fill=ACCURACY))
    parts += [
        label(left, bottom + 22, "least of the cue", fill=QUIET),
        label(right, bottom + 22, "most of the cue", anchor="end", fill=QUIET),
    ]
    text = "From least to most of the cue the accuracy is " + ", ".join(map(percent, means)) + "."
    return svg(200, f"Accuracy of {finding.name} along the strength of its cue", text, parts)


def flips(finding: Finding) -> Markup:
    """How many images of other classes become the class: with the cue, and with the control."""
    shown: list[tuple[str, Number]] = []
    for name, number in (("cue pasted", finding.flip), ("control region", finding.control)):
        if number is not None and number.n:
            shown.append((name, number))
    front = [n for n in finding.others if n.measure == "flip_rate_object_in_front" and n.n]
    shown += [("cue behind the object", n) for n in front]
    if not shown:
        return Markup("")
    left, right, step = 190.0, WIDTH - 70.0, 30
    parts = []
    for place, (name, number) in enumerate(shown):
        y = 18 + step * place
        colour = HARM if place != 1 else OTHER
        end = left + number.value * (right - left)
        bounds = [left + v * (right - left) for v in (number.low, number.high)]
        parts += [
            label(left - 12, y + 4, name, anchor="end"),
            Markup('<rect x="{}" y="{}" width="{:.1f}" height="16" fill="{}"/>').format(
                left, y - 8, end - left, colour
            ),
            line(bounds[0], y, bounds[1], y, stroke=INK, width=2),
            label(right + 10, y + 4, percent(number.value)),
        ]
    text = "; ".join(f"{name}: {percent(number.value)}" for name, number in shown)
    title = f"Share of other classes' images that become {finding.name}"
    return svg(step * len(shown) + 12, title, text, parts)


def mark(verdict: Verdict) -> str:
    """A sign for a verdict that does not need colour."""
    return {Verdict.HARMED: "●", Verdict.OPEN: "○", Verdict.TOO_FEW: "?"}[verdict]
