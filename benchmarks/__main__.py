"""Run every benchmark: ``python -m benchmarks --full`` or ``[part …] [--write]``.

``--quick`` compares a few ratios with those recorded, in minutes (:mod:`benchmarks.quick`);
``--targets`` prints the parts that have targets of size and speed as one table; ``--write`` puts
tables into docs/performance.md; ``--help`` names the parts. What needs a GPU is ``python -m
benchmarks.device``.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

from benchmarks.measure import Line, run_part

PARTS = {
    "truth": "The planted truth of demo:cues",
    "workers": "A worker table of 25,000 answers",
    "measures": "What the planted cues cost",
    "compare": "Three models side by side",
    "report": "The report of demo:cues",
    "coverage": "How often intervals hold the truth",
    "claims": "Classes called harmed, by tags that mean nothing and by planted cues",
    "architectures": "Architectures of timm with random weights",
    "input_sizes": "Networks of timm at another size of image",
    "attack": "Damaged workspaces, checkpoints and tag stores",
    "identities": "Identities of the corrections of the head",
    "whitebox": "Corrections of the head on a network wired by hand",
    "shortcuts": "Corrections of the head against planted shortcuts",
    "subsets": "How little of an image is enough, and what two remedies do to it",
    "students": "What students keep of their teacher's cue",
    "prevalence": "Corrections over the prevalence of a cue",
    "heads": "Corrections of the head on 100,000 features",
    "passes": "The pass over the images",
    "engines": "Several processes against one",
    "precision": "What a lower arithmetic does to the figures",
    "components": "Class PCA",
    "heatmaps": "Overlays of a finished audit",
    "parts": "Parts, and what candidates do",
    "planted": "A cue planted at several prevalences, on photos and on drawn pictures",
    "parts_chance": "Parts and a sticker that nobody drew",
    "parts_memory": "Parts of classes of 1,300 images, from stored maps",
    "data": "Planted wrong labels, copies and cheap shortcuts",
    "shift": "Under shift: calibration, and what looks typical",
    "visualisation": "Drawn pictures, and the time of SpRAy",
    "attributions": "Attributions on photos with a planted cue",
    "propagation": "Architectures that relevance propagation explains",
    "names": "What routes of suggestions say of cues",
    "guidance": "Model guidance on a rendered Waterbirds-100",
    "guidance_choice": "Settings of model guidance, chosen on held-out training images",
    "mnist": "Counterfactual training on dressed digits",
    "clicks": "The app in headless Chromium",
    "sessions": "Many visitors at once",
    "tagstore": "Eight processes tagging at once",
    "pages": "From click to painted on every page",
    "tagging": "Sixty candidates tagged with the keyboard",
    "scale": "1,000 classes, 64 components, 100,000 images",
    "million": "The map of 1,000,000 images",
    "synth": "Drawn audits of growing size",
    "sizes": "Every page at 1.28 million images",
    "paper": "Computed, not measured: one H100, eight, and a hundred million images",
}
REPORT = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


OPTIONS = {"architectures": ("minutes", "seed"), "precision": ("images",)}
"""What parts may be told: how long they go on, from what on, and how many photos they read."""


TARGETS = ("passes", "components", "heatmaps", "synth", "clicks", "scale", "sizes")
"""Parts with targets of size and speed."""


def in_own_process(part: str, options: Mapping[str, float]) -> list[Line]:
    """Run one part where no thread of another part can disturb it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(run_part, part, options).result()


def kept() -> dict[str, str]:
    """The tables of the report as it stands: parts that are not run again keep theirs."""
    text = REPORT.read_text(encoding="utf-8") if REPORT.exists() else ""
    sections = re.split(r"(?m)^(?=## )", text)[1:]
    return {s.splitlines()[0].removeprefix("## "): s.rstrip() + "\n" for s in sections}


def measured() -> str:
    """When, and of which commit; other tables of the report may be older."""
    command = ["git", "-C", str(REPORT.parent), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    commit = f", commit {found}" if found else ""
    return f"Made {date.today()}{commit}, on {machine()}."


def machine() -> str:
    """Processor, memory and versions that a table was made with."""
    import psutil

    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"(?m)^model name\s*: (.+)$", info)
    processor = name[1] if name else platform.machine()
    versions = [f"{one} {version(one)}" for one in ("numpy", "torch", "pandas", "streamlit")]
    memory = psutil.virtual_memory().total / 2**30
    of = [f"{os.cpu_count()} cores ({processor})", f"{memory:.0f} GiB", *versions]
    return ", ".join([*of, f"Python {platform.python_version()}"])


def targets() -> int:
    """Print every line that has a target, of all parts that have some, as one table."""
    head = ("part", *Line.head)
    print(measured(), "", f"| {' | '.join(head)} |", "|---" * len(head) + "|", sep="\n")
    missed = False
    for part in TARGETS:
        for line in in_own_process(part, {}):
            if line.holds is not None:
                print(f"| {part} {line.row()}", flush=True)
                missed |= not line.holds
    return int(missed)


def main() -> int:
    """Measure, print, and with --write keep the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)} (default: all)")
    options.add_argument("--write", action="store_true")
    options.add_argument("--quick", action="store_true", help="ratios against recorded.json")
    options.add_argument("--record", action="store_true", help="with --quick: record them anew")
    options.add_argument("--full", action="store_true", help="every part, the default")
    options.add_argument("--targets", action="store_true", help="one table of what has a target")
    options.add_argument("--minutes", type=float, help="for architectures")
    options.add_argument("--seed", type=int, help="likewise")
    options.add_argument("--images", type=int, help="for precision (default: all)")
    chosen = options.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        print(f"unknown part {unknown}; choose from {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if chosen.quick:
        from benchmarks import quick

        return quick.in_one_thread(record=chosen.record)
    if chosen.targets:
        return targets()
    said = {name: value for name, value in vars(chosen).items() if value is not None}
    missed, tables = False, dict[str, str]()
    for part in chosen.parts or PARTS:
        told = {name: said[name] for name in OPTIONS.get(part, ()) if name in said}
        lines = in_own_process(part, told)
        title = [f"## {PARTS[part]}", "", measured(), ""]
        head = lines[0].head if lines else Line.head
        table = [*title, f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        tables[PARTS[part]] = "\n".join([*table, *(line.row() for line in lines), ""])
        print(tables[PARTS[part]], flush=True)
        missed |= any(line.holds is False for line in lines)
    if chosen.write:
        head = [
            "# Performance",
            "",
            "Written by `python -m benchmarks [part …] --write`: ratios of two things measured in "
            "the same run, each part in a process of its own. Every table says when, of which "
            "commit and on which machine it was made; where it names no machine, it was on one "
            "with 2 cores (x86_64) and Python 3.11.7.",
            "",
            "What was computed and not measured stands in one section that says so in its title.",
            "",
        ]
        tables = {**kept(), **tables}  # another run may have written meanwhile
        known = [tables[title] for title in PARTS.values() if title in tables]
        REPORT.write_text("\n".join([*head, *known]), encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
