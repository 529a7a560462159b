"""What every benchmark shares: photos to read, a model, a stopwatch, a line of the report."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "imagenette-mini"
MODEL = "packaged:efficientnet-lite0"


@dataclass(frozen=True)
class Line:
    """One measured ratio against its target."""

    what: str
    value: float
    target: str
    unit: str = ""
    holds: bool | None = None
    """None: printed for information, nothing to hold."""
    head: ClassVar[Sequence[str]] = ("what", "measured", "target", "")
    """Of the columns of its table."""

    def row(self) -> str:
        """As a row of a Markdown table."""
        verdict = {True: "holds", False: "**missed**", None: "for information"}[self.holds]
        return f"| {self.what} | {self.value:.3g} {self.unit} | {self.target} | {verdict} |"


def run_part(part: str, options: Mapping[str, float]) -> list[Line]:
    """Every line of one part; a name that a process of its own can find."""
    lines: list[Line] = importlib.import_module(f"benchmarks.{part}").run(**options)
    return lines


def fastest(call: Callable[[], object], repeats: int = 3) -> float:
    """Seconds of the fastest of several calls."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def photos(folder: Path, count: int) -> Path:
    """A class folder with ``count`` JPEGs: real photos where they are, rendered noise elsewhere."""
    sources = sorted(PHOTOS.rglob("*.JPEG")) if PHOTOS.is_dir() else []
    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / f"class{i % 10}" / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if sources:
            path.write_bytes(sources[i % len(sources)].read_bytes())
        else:
            blocks = rng.integers(0, 255, (28, 28, 3), dtype=np.uint8)
            Image.fromarray(blocks).resize((256, 256)).save(path, quality=90)
    return folder


def peak_memory() -> int:
    """Largest resident memory of this process, bytes.

    Not ``ru_maxrss``: a process begins with what its parent held when it was started.
    """
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])
