"""A synthetic worker table with the published columns: import, votes and kappas, counted twice."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measure import Line

CLASSES, FEATURES, WORKERS, ENCODER = 1000, 5, 5, 2048
ANSWERS = np.array(["main_object", "separate_object", "background"])


def make(path: Path, seed: int = 0) -> pd.DataFrame:
    """Write 25,000 answers: 1,000 classes x 5 features x 5 workers."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(CLASSES):
        for rank, feature in enumerate(rng.choice(ENCODER, FEATURES, replace=False), 1):
            truth = rng.choice(3, p=[0.87, 0.07, 0.06])
            for worker in rng.choice(265, WORKERS, replace=False):
                said = truth if rng.random() < 0.9 else rng.integers(0, 3)
                row = (f"W{worker:03d}", f"n{index:08d}", index, int(feature), rank)
                rows.append((*row, ANSWERS[said], int(rng.integers(1, 6)), "because"))
    from core.tags.exchange import WORKERS as COLUMNS

    table = pd.DataFrame(rows, columns=COLUMNS)
    table.to_csv(path, index=False)
    return table


def kappa(items: list[Counter[str]]) -> float:
    """Fleiss' kappa, item by item (Fleiss 1971)."""
    n = sum(items[0].values())
    total: Counter[str] = sum(items, Counter())
    agree = [(sum(c * c for c in item.values()) - n) / (n * (n - 1)) for item in items]
    chance = sum((c / (n * len(items))) ** 2 for c in total.values())
    return float((np.mean(agree) - chance) / (1 - chance))


def run() -> list[Line]:
    """Import the table and hold every figure against an independent count."""
    from core.storage.workspace import Workspace
    from core.tags.agreement import agreement
    from core.tags.exchange import read_tags
    from core.tags.log import TagStore
    from core.tags.votes import answers, count_votes

    with tempfile.TemporaryDirectory() as folder:
        table = make(Path(folder) / "workers.csv")
        store = TagStore.open(Workspace(Path(folder)))
        began = time.perf_counter()
        read = read_tags(
            Path(folder) / "workers.csv",
            outputs=[f"n{i:08d}" for i in range(CLASSES)],
            n_features=ENCODER,
            annotator="x",
        )
        added = store.add_many("audit", read.rows)
        seconds = time.perf_counter() - began
        said = answers(store.current("audit"))
        found, votes = agreement(said), count_votes(said)
    by_pair: dict[tuple[int, int], Counter[str]] = {}
    for row in table.itertuples(index=False):
        by_pair.setdefault((row[2], row[3]), Counter())[row[5]] += 1
    binary = [
        Counter({"core": c["main_object"], "other": sum(c.values()) - c["main_object"]})
        for c in by_pair.values()
    ]
    spurious = sum(c["other"] >= 3 for c in binary)
    ours = int((votes["decision"] == "spurious").sum())
    gap = abs(found.fleiss_kappa - kappa(list(by_pair.values())))
    gap_binary = abs(found.fleiss_kappa_binary - kappa(binary))
    return [
        Line("rows imported", added, f"{len(table)}", "", added == len(table)),
        Line("import of 25,000 answers", seconds, "<= 10", "s", seconds <= 10),
        Line(
            "spurious by majority, ours minus counted", ours - spurious, "0", "", ours == spurious
        ),
        Line("Fleiss' kappa, difference", gap, "<= 1e-9", "", gap <= 1e-9),
        Line(
            "Fleiss' kappa of core/spurious, difference",
            gap_binary,
            "<= 1e-9",
            "",
            gap_binary <= 1e-9,
        ),
    ]
