"""The size and the speed of a model.

They lie beside the trials, in ``outcomes/cost-4f0c….json``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.audits.audit import Audit
from core.measures.cells import NEEDS_TRIALS, Context, Figure
from core.measures.measure import EXACT, SEVERAL, TIMED, Measure
from core.statistics.bootstrap import RESAMPLES
from core.statistics.paired import Sampled, bootstrap_interval, resamples
from core.storage.files import read_json
from core.storage.workspace import fingerprint
from core.trials.outcomes import base_key

if TYPE_CHECKING:
    from core.models.model import Model

BATCHES = 12
"""Timed batches, after one that is not timed."""


def cost_path(audit: Audit) -> Path:
    """Where the size and speed of an audit's model are or will be."""
    return audit.files.cost(fingerprint(base_key(audit)))


def stored_cost(audit: Audit) -> dict[str, Any] | None:
    """Size and time, as :func:`cost` found them; None where they were not measured."""
    path = cost_path(audit)
    found: dict[str, Any] | None = read_json(path) if path.exists() else None
    return found


def cost(audit: Audit, model: Model) -> dict[str, Any]:
    """Size of a model and the time of its forward passes, on the audit's device and batch size.

    Returns
    -------
    ``parameters`` of encoder and audited head; ``seconds`` per batch of ``batch`` images;
    ``device``, ``precision``, ``load`` of the machine and ``at`` (UTC).
    """
    import torch

    size, compute = audit.manifest.compute.batch_size, audit.manifest.compute
    pixels = np.random.default_rng(0).integers(
        0, 256, (size, *audit.preprocess.input_size, 3), np.uint8
    )
    batch, seconds = torch.from_numpy(pixels), []
    for _ in range(BATCHES + 1):
        began = time.perf_counter()
        model.encode(batch).features.cpu()
        seconds.append(time.perf_counter() - began)
    return {
        "parameters": parameters(audit, model),
        "seconds": seconds[1:],
        "batch": size,
        "device": compute.device,
        "precision": compute.precision,
        "load": os.getloadavg()[0],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def parameters(audit: Audit, model: Model) -> int:
    """Numbers in the encoder and the audited head; the head that the network came with is not."""
    own = sum(p.numel() for p in model.network.get_submodule(model.trace.head).parameters())
    encoder = sum(p.numel() for p in model.network.parameters()) - own
    head = audit.head
    arrays = [head.weight, head.bias]
    if head.correction is not None:
        arrays += [head.correction.read, head.correction.offset, head.correction.write]
    return int(encoder + sum(array.size for array in arrays))


def _size(context: Context, audit: Audit) -> Figure | str:
    """Numbers in the encoder and the audited head; exact."""
    found = stored_cost(audit)
    if found is None:
        return NEEDS_TRIALS
    count = float(found["parameters"])
    return Figure(Sampled(count, np.full(RESAMPLES, np.nan)), (count, count), 0, "counted")


def _speed(context: Context, audit: Audit) -> Figure | str:
    """Images per second of the encoder, on the machine that measured it."""
    found = stored_cost(audit)
    if found is None:
        return NEEDS_TRIALS
    seconds = np.array(found["seconds"])
    weights = resamples(len(seconds), audit.id)  # models are timed apart: no pairs
    images = found["batch"] * len(seconds)
    sampled = Sampled(float(images / seconds.sum()), images / (weights @ seconds))
    note = (
        f"{found['device']} {found['precision']}, batches of {found['batch']}, load "
        f"{found['load']:.1f}, {found['at'][:10]}"
    )
    return Figure(sampled, bootstrap_interval(sampled), images, note)


PARAMETERS = Measure(
    "parameters",
    "Parameters",
    "Numbers in the encoder and the audited head.",
    "parameters",
    better=-1,
    views=(SEVERAL,),
    test=EXACT,
    figure=_size,
)
IMAGES_PER_SECOND = Measure(
    "images_per_second",
    "Speed",
    "Images per second of the encoder, on the machine that measured it.",
    "images/s",
    better=1,
    views=(SEVERAL,),
    test=TIMED,
    figure=_speed,
)
