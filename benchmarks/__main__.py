"""Run every benchmark: ``python -m benchmarks [part …] [--write]``.

``--write`` puts the tables into docs/performance.md. Parts: truth, workers, measures, passes,
components, clicks.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from datetime import date
from pathlib import Path

from benchmarks.measure import Line

PARTS = {
    "truth": "The planted truth of demo:cues",
    "workers": "A worker table of 25,000 answers",
    "measures": "What the planted cues cost",
    "passes": "The pass over the images",
    "components": "Class PCA",
    "clicks": "The app in headless Chromium",
}
REPORT = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def main() -> int:
    """Measure, print, and with --write keep the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)} (default: all)")
    options.add_argument("--write", action="store_true")
    chosen = options.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        print(f"unknown part {unknown}; choose from {', '.join(PARTS)}", file=sys.stderr)
        return 2
    missed, tables = False, []
    for part in chosen.parts or PARTS:
        lines: list[Line] = importlib.import_module(f"benchmarks.{part}").run()
        table = [f"## {PARTS[part]}", "", "| what | measured | target | |", "|---|---|---|---|"]
        tables += [*table, *(line.row() for line in lines), ""]
        print("\n".join([*table, *(line.row() for line in lines), ""]), flush=True)
        missed |= any(line.holds is False for line in lines)
    if chosen.write:
        head = [
            "# Performance",
            "",
            "Written by `python -m benchmarks --write`: ratios of two things measured in the same "
            "run.",
            "",
            f"{date.today()}, {os.cpu_count()} cores ({platform.machine()}), "
            f"Python {platform.python_version()}.",
            "",
        ]
        REPORT.write_text("\n".join([*head, *tables]), encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
