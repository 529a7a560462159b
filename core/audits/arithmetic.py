"""On what an audit is computed: device, arithmetic, runtime and batches, and why those."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.audits.audit_requests import AuditRequest
from core.audits.subject import fitting_rows
from core.errors import DataError, ModelError
from core.features.extract import prepare
from core.features.feed import fitting
from core.models.precision import (
    RUNTIME_TITLES,
    SAMPLE,
    Tried,
    nearest_mean,
    spread_over_classes,
    tried,
)
from core.models.runtime import (
    FEWEST,
    FROM,
    LONG,
    SIZES,
    compared,
    fastest,
    seconds_by_torch,
    speeds,
    why_not,
)
from core.storage.audit_manifest import Compute, Manifest
from core.types import ImageTable, Precision, Runtime

if TYPE_CHECKING:
    from core.models.model import Model

ON_GPU, ON_CPU = 256, 32
"""Images of a batch where nothing was measured."""

FEW = 16
"""Images that say how long a pass will take."""


def choose_compute(
    request: AuditRequest,
    old: Manifest | None,
    model: Model,
    table: ImageTable,
    *,
    keep_head: bool,
) -> Compute:
    """What computes an audit; an existing one keeps its own unless told otherwise.

    The model is left on that device, in that precision, with that runtime.
    """
    from core.models.device import choose_device

    before = old.compute if old else None
    device = before.device if before and request.device == "auto" else None
    device = choose_device(device or request.device)
    batch_size = (
        request.batch_size
        or (before and before.batch_size)
        or (ON_GPU if device.startswith("cuda") else ON_CPU)
    )
    model.to(device, "fp32")
    precision = None if request.precision == "auto" else request.precision
    if before and precision in (None, before.precision):
        chosen = replace(before, device=device, batch_size=batch_size)
    else:
        chosen = _choose_precision(precision, device, batch_size, model, table, keep_head=keep_head)
    model.to(device, chosen.precision)
    if before is None or request.runtime not in ("auto", before.runtime):
        chosen = _with_runtime(chosen, request, model, table, keep_head=keep_head)
    model.use_runtime(chosen.runtime)
    if device == "cuda" and not (before or request.batch_size):
        chosen = replace(chosen, batch_size=fitting(model, chosen.batch_size))
    if model.preprocess.shrink and not chosen.shrunk:
        chosen = replace(chosen, shrunk=_shrunk(model, table, keep_head=keep_head))
    return chosen


def _shrunk(model: Model, table: ImageTable, *, keep_head: bool) -> str:
    """What decoding large JPEGs smaller does to the sample, in words."""
    from core.models.device import features_of, own_decisions

    small, labels = _sample(table, model)
    preprocess = model.preprocess
    model.preprocess = replace(preprocess, shrink=False)
    batch, _ = _sample(table, model)
    model.preprocess = preprocess
    exact, lower = features_of(model, batch), features_of(model, small)
    decide = own_decisions(model) if keep_head else nearest_mean(exact, labels)
    found = tried("fp32", exact, lower, decide)
    return (
        f"large JPEGs decoded smaller, which moves the features of {found.images} sample images "
        f"by {found.typical:.2g} of their deviation (median; {found.distance:.2g} at the 99th "
        f"percentile) and changes {found.differing} of their decisions"
    )


def _choose_precision(
    wanted: Precision | None,
    device: str,
    batch_size: int,
    model: Model,
    table: ImageTable,
    *,
    keep_head: bool,
) -> Compute:
    """In the precision asked for, else the fastest in which the figures hold; what was tried."""
    from core.models.device import choose_precision, supports

    faster: tuple[Precision, ...] = ("bf16", "fp16", "tf32")
    if wanted is None:
        candidates = [p for p in faster if supports(device, p)]
    else:
        candidates = [p for p in faster if p == wanted]
    found: list[Tried] = []
    if candidates:
        batch, labels = _sample(table, model)
        found = choose_precision(model, candidates, batch, labels, keep_head=keep_head)
    if wanted is not None:
        precision, reason = wanted, "chosen by the user"
        if found and found[0].error:
            raise ModelError(f"--precision {wanted}: {found[0].sentence}; choose fp32")
    else:
        precision = found[-1].precision if found and found[-1].holds else "fp32"
        reason = "" if found else f"this {device} has no faster arithmetic"
    reason = "; ".join(filter(None, [reason, *(entry.sentence for entry in found)]))
    tried = tuple(asdict(entry) for entry in found)
    return Compute(device, batch_size, precision, reason, tried, supports(device, precision))


def _with_runtime(
    chosen: Compute, request: AuditRequest, model: Model, table: ImageTable, *, keep_head: bool
) -> Compute:
    """With the runtime asked for, else the faster one of those that compute the same."""
    chosen = replace(chosen, runtime="eager", runtime_reason="", compared=None)
    if request.runtime == "eager":
        return replace(chosen, runtime_reason="chosen by the user")
    other = _other(chosen, request)
    if chosen.precision != "fp32" or (other == "onnx" and chosen.device != "cpu"):
        if request.runtime == "auto":
            return chosen
        where = " on the cpu" if other == "onnx" else ""
        raise ModelError(
            f"--runtime {other} computes in fp32{where}: leave it out, or add "
            f"{'--device cpu ' if where else ''}--precision fp32"
        )
    images = len(table.frame)
    seconds = 0.0
    if request.runtime == "auto":
        seconds = _expected_seconds(model, table) if images >= FEWEST else 0.0
        if seconds < FROM[other]:
            return replace(chosen, runtime_reason="a pass so short that no other pays")
    if reason := why_not(model, other):
        if request.runtime == other:
            raise ModelError(f"--runtime {other} does not run {model.name}: {reason}")
        return replace(chosen, runtime_reason=f"{RUNTIME_TITLES[other]} does not run it: {reason}")
    return _measured(chosen, request, other, model, table, seconds, keep_head=keep_head)


def _other(chosen: Compute, request: AuditRequest) -> Runtime:
    """The runtime that is asked for, or that is tried on a device."""
    if request.runtime != "auto":
        return request.runtime
    return "onnx" if chosen.device == "cpu" else "compiled"


def _expected_seconds(model: Model, table: ImageTable) -> float:
    batch, _ = _sample(table, model, FEW)
    return seconds_by_torch(model, batch, len(table.frame))


def _measured(
    chosen: Compute,
    request: AuditRequest,
    other: Runtime,
    model: Model,
    table: ImageTable,
    seconds: float,
    *,
    keep_head: bool,
) -> Compute:
    """With another runtime where it holds and is asked for or faster, in the best batches."""
    from core.models.device import own_decisions

    batch, labels = _sample(table, model)
    own = own_decisions(model)
    found = compared(
        model,
        batch,
        lambda exact: own if keep_head else nearest_mean(exact, labels),
        chosen.batch_size,
        other,
    )
    chosen = replace(chosen, compared=asdict(found))
    if not found.holds:
        if request.runtime == other:
            raise ModelError(f"--runtime {other}: {found.sentence}; leave it out")
        return replace(chosen, runtime_reason=found.sentence)
    if request.runtime == other:
        reason = f"chosen by the user; {found.sentence}"
        return replace(chosen, runtime=other, runtime_reason=reason)
    one = request.batch_size or chosen.device != "cpu"
    sizes: dict[Runtime, tuple[int, ...]] = {
        runtime: (chosen.batch_size,) if one else SIZES[runtime] for runtime in ("eager", other)
    }
    rates = speeds(model, batch, sizes, 3 if seconds > LONG else 1)
    runtime, size = fastest(rates, ("eager", chosen.batch_size))
    said = ", ".join(
        f"{rate:.0f} images/s by {RUNTIME_TITLES[name]} in batches of {each}"
        for (name, each), rate in rates.items()
    )
    return replace(
        chosen, runtime=runtime, batch_size=size, runtime_reason=f"{found.sentence}; {said}"
    )


def _sample(table: ImageTable, model: Model, most: int = SAMPLE) -> tuple[Any, list[str]]:
    """Pixels of up to ``most`` readable images over all classes, uint8, and their labels.

    Of the training images alone, so that images held out change nothing in what is learnt.

    Raises
    ------
    DataError
        If none of the first candidates can be read.
    """
    import torch

    frame = table.frame[fitting_rows(table.frame)]
    spread = spread_over_classes(frame["label"].tolist())[: 20 * most]
    found, labels = [], []
    for path, label in frame[["path", "label"]].iloc[spread].itertuples(index=False):
        image = prepare(table.root / path, model.preprocess)
        if not image.reason:
            found.append(image.pixels)
            labels.append(str(label))
        if len(found) == most:
            break
    if not found:
        raise DataError(
            f"{table.source}: none of {len(spread)} images could be read (the last: "
            f"{image.reason}); check the files"
        )
    return torch.from_numpy(np.stack(found)), labels
