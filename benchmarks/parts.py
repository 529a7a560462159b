"""Parts and what candidates do: a planted sticker, the cost, and latent figures against pixels.

Small by default, so that it takes minutes; ``SPURIOSCOPE_SLOW=1`` runs it at full size (hours).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from benchmarks.measure import PHOTOS, Line
from benchmarks.planted import CLASSES, audited, on_photos
from core.candidates.key import CandidateKey
from core.candidates.part_kind import PART, PartKind

KINDS = (PART, "pca", "neuron")


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    planted: tuple[int, int, int]
    """Classes that carry the sticker in turn, training and test photos of each."""
    timed: tuple[int, int, int]
    """Classes of plain photos, training and test photos of each."""
    rounds: int
    """Audits with and without parts, in turns."""
    confirmed: tuple[int, int]
    """Classes whose candidates are tried in pixels, and how many of each kind."""
    targets: int
    """Images that each of them is pasted on."""


QUICK = Sizes((4, 45, 20), (2, 150, 60), 1, (2, 2), 4)
FULL = Sizes((4, 150, 60), (10, 150, 60), 3, (5, 4), 32)


def run() -> list[Line]:
    """All three tables."""
    from core.storage.workspace import Workspace

    if not PHOTOS.is_dir():
        raise SystemExit(f"this part needs photos at {PHOTOS}")
    sizes = FULL if os.environ.get("SPURIOSCOPE_SLOW") else QUICK
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        lines = on_photos(workspace, sizes.planted)  # first: what is timed finds all of it loaded
        audit, timed = costs(workspace, sizes)
        return [*lines, *timed, *pixels(audit, sizes)]


# ------------------------------------------------------------------- what it costs


@dataclass(frozen=True)
class Spent:
    """Seconds of a call, by the clock and of all processors together."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.cpu + other.cpu)


def spent(call: Callable[[], Any]) -> tuple[Any, Spent]:
    """What a call returns, and what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return found, Spent(time.perf_counter() - wall, time.process_time() - cpu)


@contextmanager
def parts_timed(*, found: bool) -> Iterator[list[Spent]]:
    """What parts take during the block, class by class, or no parts at all."""
    own, times = PartKind.find, list[Spent]()

    def find(kind: PartKind, images: Any) -> Any:
        if not found:
            return None
        parts, took = spent(lambda: own(kind, images))
        times.append(took)
        return parts

    with mock.patch.object(PartKind, "find", find):
        yield times


@dataclass(frozen=True)
class Turn:
    """One audit without parts and one with all that is said of its candidates."""

    bare: Spent
    audit: Spent
    """With parts."""
    parts: Spent
    """Of that, to find them."""
    lean: Spent
    """After it: put in and taken away."""


def costs(workspace: Any, sizes: Sizes) -> tuple[tuple[Any, float], list[Line]]:
    """Audits of plain photos with parts and what candidates do, and without, in turns.

    Returns the last audit with the seconds that one candidate takes in its maps, and the lines.
    """
    from core.trials.leaning import measure_leaning

    data, turns = plain(workspace.root, sizes), []
    for turn in range(sizes.rounds):
        with parts_timed(found=False):
            bare = spent(partial(audited, workspace, data, f"bare{turn}"))[1]
        with parts_timed(found=True) as times:
            audit, whole = spent(partial(audited, workspace, data, f"whole{turn}"))
        table, lean = spent(partial(measure_leaning, audit))
        turns.append(Turn(bare, whole, sum(times, Spent()), lean))
    name, classes, tried = f"{len(audit.images):,} photos", len(audit.classes), len(table)
    lines = [
        line
        for clock in ("wall", "cpu")
        for line in cost_lines(f"{name}, {clock}", clock, turns, classes, tried)
    ]
    return (audit, float(np.median([turn.lean.wall for turn in turns])) / tried), lines


def cost_lines(
    name: str, clock: str, turns: Sequence[Turn], classes: int, tried: int
) -> list[Line]:
    """Medians over the turns by one clock."""
    bare, audit, parts, lean = (
        float(np.median([getattr(getattr(turn, what), clock) for turn in turns]))
        for what in ("bare", "audit", "parts", "lean")
    )
    apart, within = (audit + lean) / bare, (audit + lean) / (audit - parts)
    return [
        Line(f"{name}: audit without", bare, "", "s"),
        Line(f"{name}: audit with over without", apart, "<= 1.5", "x", apart <= 1.5),
        Line(f"{name}: the same audit over its own rest", within, "<= 1.5", "x", within <= 1.5),
        Line(f"{name}: parts of a class", parts / classes, "", "s"),
        Line(f"{name}: put in and taken away of a class", lean / classes, "", "s"),
        Line(f"{name}: the same of a candidate", lean / tried, "", "s"),
    ]


def plain(root: Path, sizes: Sizes) -> Path:
    """A folder of photos as they are."""
    classes, *counts = sizes.timed
    folder = root / "data" / "plain"
    for split, count in zip(("train", "val"), counts, strict=True):
        for label in CLASSES[:classes]:
            (folder / split / label).mkdir(parents=True)
            for path in sorted((PHOTOS / split / label).glob("*.JPEG"))[:count]:
                (folder / split / label / path.name).symlink_to(path)
    return folder


# ------------------------------------------------------------------- latent against pixels


def pixels(timed: tuple[Any, float], sizes: Sizes) -> list[Line]:
    """Rank correlation of what is put in, in the maps and in pixels, within a class.

    Parameters
    ----------
    timed : an audit, and the seconds that one of its candidates takes in the maps.
    """
    from core.trials import confirmed
    from core.trials.leaning import KEYS

    audit, latent = timed
    tried = to_confirm(audit, sizes)
    labels = {facts.class_idx: facts.label for facts in audit.classes}
    keys = [CandidateKey(labels[c], k, int(n)) for c, k, n in tried[KEYS].to_numpy()]
    with mock.patch.object(confirmed, "TARGETS", sizes.targets):
        found, took = spent(lambda: confirmed.confirm(audit, keys))
    both = tried.merge(found, on=KEYS, suffixes=("", "_pixels"))
    what = f"{len(both)} candidates of {sizes.confirmed[0]} classes, {sizes.targets} targets"
    ratio, full = took.wall / len(both) / latent, sizes == FULL
    return [
        *rank_lines(what, both, "put_in", goal=0.6),
        *rank_lines(what, both, "lean"),
        Line(
            "seconds of a candidate, pixels over maps",
            ratio,
            ">= 50" if full else "",
            "x",
            ratio >= 50 if full else None,
        ),
    ]


def to_confirm(audit: Any, sizes: Sizes) -> pd.DataFrame:
    """The first candidates of each kind by the order of the page, whatever they do."""
    from core.trials.leaning import KEYS, leaning

    classes, each = sizes.confirmed
    table = leaning(audit).merge(audit.candidates[[*KEYS, "order"]], on=KEYS)
    wanted = {audit.class_facts(label).class_idx for label in CLASSES[:classes]}
    rows = table["class_idx"].isin(wanted) & (table["order"] < each) & table["kind"].isin(KINDS)
    return table[rows & (table["obstacle"] == "")]


def rank_lines(what: str, both: pd.DataFrame, figure: str, goal: float | None = None) -> list[Line]:
    """How alike one figure ranks candidates in the maps and in pixels, and how large it is."""
    mean, low, high = within_class(both, figure)
    target, holds = ("", None) if goal is None else (f">= {goal}", mean >= goal)
    return [
        Line(f"{what}: {figure}, mean Spearman within a class", mean, target, "", holds),
        Line(f"{figure}: 95 % interval over candidates, from", low, ""),
        Line(f"{figure}: to", high, ""),
        Line(f"{figure}: mean in the maps", float(both[figure].mean()), ""),
        Line(f"{figure}: mean in pixels", float(both[f"{figure}_pixels"].mean()), ""),
    ]


def within_class(both: pd.DataFrame, figure: str) -> tuple[float, float, float]:
    """Mean over classes of Spearman's rank correlation, and its bootstrap over candidates."""
    from scipy.stats import spearmanr

    groups = [g[[figure, f"{figure}_pixels"]].to_numpy(float) for _, g in both.groupby("class_idx")]
    rng = np.random.default_rng(0)

    def mean(several: Sequence[np.ndarray]) -> float:
        kept = [g for g in several if np.ptp(g[:, 0]) > 0 and np.ptp(g[:, 1]) > 0]
        return float(np.mean([spearmanr(g).statistic for g in kept])) if kept else float("nan")

    draws = [mean([g[rng.integers(0, len(g), len(g))] for g in groups]) for _ in range(1000)]
    low, high = np.nanquantile(draws, (0.025, 0.975))
    return mean(groups), float(low), float(high)
