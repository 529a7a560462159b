"""The pass over the images: against the cores, the bare forward, the published way, and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.measure import MODEL, Line, photos

if TYPE_CHECKING:
    from core.models.model import Model

IMAGES = 1280
FEW = 160
BATCH = 32


class Spent(NamedTuple):
    """Seconds for an image."""

    wall: float
    processor: float
    """Of all threads, whatever else the machine does."""
    end: float = 0.0
    """Of the wall, what is left once everything is computed: to write the rest."""


def spent(call: Callable[[], object], images: int) -> Spent:
    """What a call takes."""
    began, processor = time.perf_counter(), time.process_time()
    call()
    return Spent((time.perf_counter() - began) / images, (time.process_time() - processor) / images)


def median(of: list[Spent]) -> Spent:
    """The median of each figure."""
    return Spent(*(float(np.median(each)) for each in zip(*of, strict=True)))


def run() -> list[Line]:
    """Every line of the pass."""
    with tempfile.TemporaryDirectory() as folder:
        return [*speed(Path(folder)), *memory(Path(folder))]


def speed(folder: Path) -> list[Line]:
    """Images per second of the pass, beside what they are made of, measured in turns."""
    import torch

    from core.audits.run import plan_of
    from core.data.open import open_data
    from core.features.extract import encode_padded, extract, prepare
    from core.features.shards import FeatureStore
    from core.models.load import load_model
    from core.storage.growing_array import GrowingArray

    cores = len(os.sched_getaffinity(0))
    table = open_data(str(photos(folder / "photos", IMAGES)), workspace=folder)
    model = load_model(MODEL).to("cpu", "fp32")  # as the published code runs it
    paths = [table.root / path for path in table.frame["path"]]
    decoded = [prepare(path, model.preprocess) for path in paths[:BATCH]]
    batch = np.stack([image.pixels for image in decoded])
    encode_padded(model, batch, BATCH)

    def decode() -> None:
        for path in paths[: 4 * BATCH]:
            prepare(path, model.preprocess)

    def describe() -> None:
        for path in paths[: 4 * BATCH]:
            prepare(path, model.preprocess, describe=True)

    maps = encode_padded(model, batch, BATCH).maps
    assert maps is not None
    rows = maps.contiguous().numpy()

    def write() -> None:
        array = GrowingArray(folder, 4 * BATCH)
        for _ in range(4):
            array.add(rows)

    def forward() -> None:
        for _ in range(4):
            encode_padded(model, batch, BATCH)

    onnx = load_model(MODEL).to("cpu", "fp32").use_runtime("onnx")
    onnx.encode(torch.from_numpy(batch))

    def forward_by_graph() -> None:
        for _ in range(4):
            encode_padded(onnx, batch, BATCH)

    def whole(name: str, network: Model = model, workers: int = cores + 1) -> Spent:
        store = FeatureStore(folder / name)
        store.extend(plan_of(table, store))
        last = [time.perf_counter()]
        found = spent(
            lambda: extract(
                network,
                table.root,
                store.shards,
                batch_size=BATCH,
                workers=workers,
                keep_maps=True,
                advanced=lambda _: last.append(time.perf_counter()),
            ),
            IMAGES,
        )
        return found._replace(end=(time.perf_counter() - last[-1]) / IMAGES)

    def published(network: Model) -> float:
        """Features in one forward, probabilities in a second, images read in between."""
        began = time.perf_counter()
        activations, probabilities = None, None
        for start in range(0, 4 * BATCH, BATCH):
            pixels = [prepare(p, model.preprocess).pixels for p in paths[start : start + BATCH]]
            images = torch.from_numpy(np.stack(pixels))
            found = network.encode(images).features.numpy()
            again = network.logits(network.encode(images).features.numpy())
            activations = found if activations is None else np.concatenate([activations, found])
            probabilities = (
                again if probabilities is None else np.concatenate([probabilities, again])
            )
        return (time.perf_counter() - began) / (4 * BATCH)

    t_decode, t_described, t_written, t_forward, t_pass = [], [], [], [], []
    t_published, t_graph, t_pass_graph, t_fewer = [], [], [], []
    for turn in range(3):
        t_decode.append(spent(decode, 4 * BATCH))
        t_described.append(spent(describe, 4 * BATCH))
        t_written.append(spent(write, 4 * BATCH))
        t_forward.append(spent(forward, 4 * BATCH))
        t_pass.append(whole(f"audit{turn}"))
        t_published.append(published(model))
        t_graph.append(spent(forward_by_graph, 4 * BATCH))
        t_pass_graph.append(whole(f"graph{turn}", onnx))
        t_fewer.append(whole(f"fewer{turn}", onnx, max(1, cores - 1)))
    decoding, described, written = median(t_decode), median(t_described), median(t_written)
    graph, graph_pass = median(t_graph), median(t_pass_graph)
    d, f, p = decoding.wall, median(t_forward).wall, median(t_pass).wall
    by_graph, pass_graph = graph.wall, graph_pass.wall
    bound_graph = 1 / (by_graph + d / cores)
    alike = float(np.median(t_published)) / pass_graph
    over, over_pass = f / by_graph, p / pass_graph
    bound = 1 / (f + d / cores)
    two = float(np.median(t_published)) / p
    share = 1 / p / bound
    return [
        Line("bare forward pass", 1 / f, "", "images/s"),
        Line("decoding, one thread", 1 / d, "", "images/s"),
        Line("whole pass, maps kept", 1 / p, "", "images/s"),
        Line(f"pass over what {cores} cores allow", share, ">= 0.9", "", share >= 0.9),
        Line("pass over the bare forward pass", f / p, "0.75 to 0.85 expected"),
        Line("pass over two forwards as published, both in fp32 by torch", two, "", "x"),
        Line("forward by ONNX Runtime over torch, both in fp32", over, ">= 1.3", "x", over >= 1.3),
        Line("whole pass by ONNX Runtime", 1 / pass_graph, "", "images/s"),
        Line("its pass over torch's, both in fp32", over_pass, ">= 1.3", "x", over_pass >= 1.3),
        Line(
            "its pass over two forwards by torch as published, both in fp32",
            alike,
            ">= 2.4",
            "x",
            alike >= 2.4,
        ),
        Line(
            f"its pass over what {cores} cores allow",
            1 / pass_graph / bound_graph,
            ">= 0.95",
            "",
            1 / pass_graph / bound_graph >= 0.95,
        ),
        Line(
            f"its pass with {max(1, cores - 1)} decoding threads over {cores + 1}",
            pass_graph / median(t_fewer).wall,
            "",
            "x",
        ),
        *ledger(graph, decoding, described, written, graph_pass, cores),
    ]


def ledger(
    forward: Spent, decoding: Spent, described: Spent, written: Spent, whole: Spent, cores: int
) -> list[Line]:
    """Where the processor time of a pass goes, and what the bound, which has two items, leaves out.

    Parameters
    ----------
    described : decoding and describing an image; written : its maps, digested.
    """
    rest = whole.processor - forward.processor - decoding.processor
    looked = described.processor - decoding.processor
    bound = forward.wall + decoding.wall / cores
    items = {
        "all of it": whole.processor,
        "forward": forward.processor,
        "decoding": decoding.processor,
        "the rest, which the bound leaves out": rest,
        "of the rest: what the image looks like": looked,
        "of the rest: maps, written and digested": written.processor,
        "of the rest: everything else, and what it costs to share the cores": rest
        - looked
        - written.processor,
    }
    return [
        *(
            Line(f"its pass, processor time of an image: {name}", 1000 * seconds, "", "ms")
            for name, seconds in items.items()
        ),
        Line(
            "its pass over what the cores allow, if the rest alone came to it",
            bound / (bound + rest / cores),
            "",
        ),
        Line("its pass: share of the cores that is used", whole.processor / cores / whole.wall, ""),
        Line(
            "its pass: seconds to wait at the end, all images computed", IMAGES * whole.end, "", "s"
        ),
    ]


_AUDIT = """
import sys
from pathlib import Path
from benchmarks.measure import peak_memory
from core.audits.audit_requests import AuditRequest
from core.audits.run import run_audit
from core.storage.workspace import Workspace
run_audit(AuditRequest(sys.argv[1], sys.argv[3], head="fit"), Workspace(Path(sys.argv[2])))
print(peak_memory() / 2**20)
"""


def memory(folder: Path) -> list[Line]:
    """Peak memory of a whole audit over 1, 10 and 100 x images, each in a process of its own."""
    peaks = dict[int, float]()
    for times in (1, 10, 100):
        data = photos(folder / f"photos{times}", times * FEW)
        command = [sys.executable, "-c", _AUDIT, str(data), str(folder / f"w{times}"), MODEL]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[times] = float(done.stdout.strip())
    ratios = {times: peaks[times] / peaks[1] for times in (10, 100)}
    return [
        *(
            Line(f"peak memory, {times * FEW:,} images", at, "", "MiB")
            for times, at in peaks.items()
        ),
        *(
            Line(f"peak memory, {times} x images over 1 x", ratio, "<= 1.1", "x", ratio <= 1.1)
            for times, ratio in ratios.items()
        ),
    ]
