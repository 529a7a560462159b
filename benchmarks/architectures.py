"""Architectures of timm with random weights, in a seeded order, until the time is over.

Every one is saved as a checkpoint and loaded as an audit loads it, for images as small as it takes
them; the features and the head that an audit would use have to give the logits of the network
itself. One process loads them, one after the other; it is ended where one takes too long.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measure import Line

if TYPE_CHECKING:
    from core.models.model import Model

LARGEST = 60_000_000
"""Weights above which one is left untried: two copies of it, and its file, have to be made."""

SECONDS = 120.0
"""For one; on two cores that others use as well."""

SIDE = 64
"""Pixels that an image is shown with, where the architecture takes that size."""

OUTPUTS, IMAGES = 3, 2
"""Outputs of every head, and random images that are shown."""

TOLERANCE = 2e-3
"""Largest difference of a logit, as a share of the largest logit."""

RIGHT, REFUSED, WRONG, RAW = "right", "refused", "other logits", "raw error"
SLOW, LARGE = "out of time", "too large"


@dataclass(frozen=True)
class Verdict:
    """What came of one architecture."""

    name: str
    kind: str
    """One of RIGHT, REFUSED, WRONG, RAW, SLOW, LARGE."""
    why: str = ""


def run(minutes: float = 12.0, seed: int = 0) -> list[Line]:
    """As many as fit into the time."""
    import timm

    names = np.random.default_rng(seed).permutation(sorted(timm.list_models())).tolist()
    found = list(_tried(names, time.monotonic() + 60 * minutes))
    for verdict in found:
        if verdict.kind not in (RIGHT, LARGE):
            print(f"  {verdict.name}: {verdict.kind}: {verdict.why[:300]}", flush=True)
    return _lines(found, len(names))


def _lines(found: list[Verdict], total: int) -> list[Line]:
    n = Counter(verdict.kind for verdict in found)
    tried = len(found) - n[LARGE]
    of = f"{tried:,} architectures tried"
    lines = [
        Line(f"{of}: logits are the network's own", n[RIGHT], ""),
        Line(f"{of}: refused with the reason", n[REFUSED], ""),
        Line(f"{of}: out of time ({SECONDS:g} s each)", n[SLOW], ""),
        Line(f"{of}: other logits, in silence", n[WRONG], "0", "", not n[WRONG]),
        Line(f"{of}: errors of a library", n[RAW], "0", "", not n[RAW]),
    ]
    words = f"share of {total:,} not tried: no time left, or above {LARGEST // 10**6} M weights"
    return [*lines, Line(words, (total - tried) / total, "")]


def _tried(names: list[str], end: float) -> list[Verdict]:
    found: list[Verdict] = []
    worker: tuple[BaseProcess, Connection] | None = None
    for name in names:
        if time.monotonic() > end:
            break
        worker = worker or _started()
        process, pipe = worker
        pipe.send(name)
        try:
            answered = pipe.poll(SECONDS)
            verdict = pipe.recv() if answered else Verdict(name, SLOW)
        except EOFError:
            answered, verdict = False, Verdict(name, RAW, "its process died")
        if not answered:
            process.kill()
            worker = None
        found.append(verdict)
    if worker:
        worker[0].kill()
    return found


def _started() -> tuple[BaseProcess, Connection]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _serve(pipe: Connection) -> None:
    import torch

    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        while True:
            pipe.send(judge(pipe.recv(), Path(folder)))


def judge(name: str, folder: Path) -> Verdict:
    """Load one architecture, small, or as it comes where it is refused so."""
    from core.errors import SpurioscopeError

    if _weights(name) > LARGEST:
        return Verdict(name, LARGE)
    why = ""
    for side in (SIDE, None):
        try:
            apart = _distance(name, folder, side)
        except SpurioscopeError as error:
            why = str(error)
            continue
        except Exception as error:  # noqa: BLE001 - what is counted here
            return Verdict(name, RAW, f"{type(error).__name__}: {error}")
        kind = RIGHT if apart <= TOLERANCE else WRONG
        return Verdict(name, kind, f"they differ by {apart:.2g} of the largest")
    return Verdict(name, REFUSED, why)


def _weights(name: str) -> int:
    """Number of weights; 0 where the architecture cannot be built without them."""
    import timm
    import torch

    try:
        with torch.device("meta"):
            network = timm.create_model(name, num_classes=OUTPUTS)
    except Exception:  # noqa: BLE001 - it is built in earnest afterwards
        return 0
    return sum(tensor.numel() for tensor in network.parameters())


def _distance(name: str, folder: Path, side: int | None) -> float:
    """Largest difference between the loaded logits and the network's own, over the largest."""
    import torch

    from core.models.load import load_model
    from core.storage.audit_manifest import Reading

    network, path = _network(name, side), folder / "weights.pth"
    torch.save(network.state_dict(), path)
    reading = Reading(input_size=(side, side)) if side else None
    model = load_model(f"timm:{name}", checkpoint=path, reading=reading)
    return distance(model, network)


def distance(model: Model, network: Any) -> float:
    """Largest difference between a model's logits and those of a network, over the largest."""
    import torch

    size = (IMAGES, *model.preprocess.input_size, 3)
    batch = torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0)).byte()
    said = model.logits(model.encode(batch).features.numpy())
    with torch.inference_mode():
        own = network(model.normalise(batch)).numpy()
    return float(np.abs(said - own).max() / np.abs(own).max())


def _network(name: str, side: int | None) -> Any:
    """With random weights, none of them all zero: a head of zeros would hide every mistake."""
    import timm
    import torch

    torch.manual_seed(0)
    more: Any = {"num_classes": OUTPUTS}
    try:
        network = timm.create_model(name, **more, **({"img_size": side} if side else {}))
    except (TypeError, AssertionError, RuntimeError, ValueError):  # no such option, or size
        network = timm.create_model(name, **more)
    return without_zeros(network)


def without_zeros(network: Any) -> Any:
    """The network with random numbers where a tensor is all zero, in place."""
    import torch

    with torch.no_grad():
        for tensor in network.parameters():
            if not tensor.any():
                tensor.normal_(std=0.05)
    return network.eval()
