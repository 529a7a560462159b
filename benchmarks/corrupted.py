"""Corruptions against a planted cue: does the gap grow, and how often is none called a change."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.measure import Line
from benchmarks.whitebox import encode, fitted, render

TEST, DRAWS, SIDE = 900, 1000, 60
KINDS = ("gaussian_noise", "contrast", "gaussian_blur")


def corrupted_images(images: np.ndarray, kind: str, severity: int) -> np.ndarray:
    """Images (n, 3, h, w) in [0, 1] as they are at a severity."""
    from core.data.corruptions import CORRUPTIONS

    pixels = np.clip(np.rint(images.transpose(0, 2, 3, 1) * 255), 0, 255).astype(np.uint8)
    made = [CORRUPTIONS[kind].of(one, severity, str(i)) for i, one in enumerate(pixels)]
    return np.stack(made).transpose(0, 3, 1, 2).astype(np.float32) / 255


def corruptions() -> Iterator[Line]:
    """Accuracy of a class with its patch minus that without, on the same images, by severity."""
    for own in (0.1, 0.9):
        images, labels, _ = render(3000, own, 1)
        head = fitted(encode(images), labels)
        pair = [render(TEST, own, 2, patched=patched) for patched in (True, False)]
        mine = pair[0][1] == 0
        for kind in KINDS:
            gaps = []
            for severity in (0, 3, 5):
                made = (corrupted_images(p[0][mine], kind, severity) for p in pair)
                right = [(head.logits(encode(m)).argmax(axis=1) == 0).mean() for m in made]
                gaps.append(100 * (right[0] - right[1]))
            for severity, gap in zip((0, 3, 5), gaps, strict=True):
                words = f"patch on {100 * own:.0f} % of its class: gap, {kind} {severity}"
                carried = own > 0.5 and kind == "gaussian_blur" and severity == 5
                grows = float(gap) > float(gaps[0]) if carried else None
                target = "> that of 0: only the patch is left" if carried else ""
                yield Line(words, float(gap), target, "points", grows)
    yield from _chance()


def _chance() -> Iterator[Line]:
    """How often a change of the gap is called where both sides lose alike."""
    from core.measures.corruption_figures import change_of_gap

    rng, called = np.random.default_rng(0), 0
    for _ in range(DRAWS):
        clean = rng.random(2 * SIDE) < 0.9
        worse = rng.random((12, 2 * SIDE)) < 0.6
        change = (worse & clean).mean(axis=0) - clean
        sides = np.arange(SIDE), np.arange(SIDE, 2 * SIDE)
        _, low, high = change_of_gap(change, *sides, tests=1)
        called += bool(low > 0 or high < 0)
    share = called / DRAWS
    yield Line("a change of the gap is called of none", share, "<= 0.07", "", share <= 0.07)
