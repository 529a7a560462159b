"""Which processor a model runs on, and at which precision."""

from __future__ import annotations

import copy
import ctypes
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from core.errors import ModelError
from core.models.precision import DISTANCE, FIRST, Decide, Tried, nearest_mean, tried
from core.storage.audit_manifest import Compute
from core.types import FloatArray, Precision

if TYPE_CHECKING:
    from core.models.model import Model

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3) in glibc's malloc.h."""


def reuse_memory() -> bool:
    """Let the C library keep freed memory instead of handing it back after every layer.

    Activations are large blocks, which glibc gives back to the system on each free and which the
    kernel then clears page by page on the next use: a quarter of a forward pass on a CPU. Returns
    whether the C library understood; others are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 1 << 30) and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Have torch and NumPy compute with so many threads in the block; 0: with as many as they do.

    Sums of a different number of threads are rounded otherwise.

    Raises
    ------
    ModelError
        If it cannot.
    """
    if not count:
        yield
        return
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    use_threads(count)
    try:
        with threadpool_limits(count, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def use_threads(count: int) -> None:
    """Have torch compute with so many threads from now on.

    Raises
    ------
    ModelError
        If it cannot.
    """
    torch.set_num_threads(count)
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    if torch.get_num_threads() != count or (limit.isdecimal() and int(limit) < count):
        raise ModelError(
            f"an audit is computed with {count} threads a worker, and this process may have only "
            f"{limit or torch.get_num_threads()}; others round otherwise: allow them "
            "(OMP_THREAD_LIMIT), or compute it where they are allowed"
        )


def available_devices() -> list[str]:
    """Processors that torch can use here, fastest first; ``cpu`` is always among them."""
    found = ["cuda"] if torch.cuda.is_available() else []
    found += ["mps"] if torch.backends.mps.is_available() else []
    return [*found, "cpu"]


def choose_device(wanted: str) -> str:
    """``cpu``, ``cuda`` or ``mps``; ``auto`` takes the fastest one there is.

    Raises
    ------
    ModelError
        If the device is unknown or not there.
    """
    found = available_devices()
    if wanted == "auto":
        return found[0]
    if wanted not in found:
        raise ModelError(f"Device {wanted!r} is not available here: use {', '.join(found)}.")
    return wanted


def supports_bf16(device: str) -> bool:
    """Whether the processor computes bf16 in hardware, so that it can be faster than fp32."""
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    if device == "cpu":
        known = torch.cpu.get_capabilities()
        return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return False


def supports(device: str, precision: str) -> bool:
    """Whether a processor has the arithmetic of a precision in hardware."""
    if precision == "fp32":
        return True
    if precision == "tf32":
        return device == "cuda" and torch.cuda.get_device_capability()[0] >= 8
    if precision == "fp16":
        return device == "cuda"
    return precision == "bf16" and supports_bf16(device)


def is_at_home(compute: Compute) -> bool:
    """Whether this machine has the arithmetic that an audit is computed in, or it never had it."""
    return supports(compute.device, compute.precision) or not compute.hardware


def require(compute: Compute, name: str) -> None:
    """Refuse to go on with an audit whose arithmetic this machine does not have.

    Raises
    ------
    ModelError
        If the audit was begun where its precision is computed in hardware, and it is not here.
    """
    if not is_at_home(compute):
        raise ModelError(
            f"audit {name!r} is computed in {compute.precision}, which this {compute.device} has "
            "no arithmetic for, and figures of two roundings must not be mixed: go on where it was "
            "begun, or start another audit with --precision fp32 and another --name"
        )


_flags = threading.Lock()


@contextmanager
def arithmetic(device: str, precision: str) -> Iterator[None]:
    """Have a GPU compute in a precision during the block.

    Torch lets convolutions round their products to ten bits (TF32) unless it is told otherwise;
    here that is a precision of its own, and off in every other. The flags are those of the
    process, so one block at a time; they are read when work is handed to the GPU.
    """
    if not device.startswith("cuda"):
        yield
        return
    with _flags:
        _allow_tf32(precision == "tf32")
        try:
            yield
        finally:
            _allow_tf32(False)


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def choose_precision(
    model: Model,
    candidates: Sequence[Precision],
    batch: Tensor,
    labels: Sequence[str],
    *,
    keep_head: bool,
) -> list[Tried]:
    """Try precisions on a sample until one holds the figures; the model itself stays in fp32.

    Parameters
    ----------
    model : in fp32 on its device.
    candidates : fastest first.
    batch : (n, h, w, 3) uint8 images; labels : (n,) theirs.
    keep_head : whether decisions are those of the model's own head; else those of the nearest
        class mean, which stand for a head that is yet to be fitted.

    Returns
    -------
    What each did, in the order tried; only the last can hold.
    """
    found: list[Tried] = []
    exact = features_of(model, batch)
    for precision in candidates:
        found.append(_try(model, precision, exact, batch, labels, keep_head=keep_head))
        if found[-1].holds:
            break
    return found


def _try(
    model: Model,
    precision: Precision,
    exact: FloatArray,
    batch: Tensor,
    labels: Sequence[str],
    *,
    keep_head: bool,
) -> Tried:
    decide = own_decisions(model) if keep_head else nearest_mean(exact, labels)
    try:
        lower = copy.deepcopy(model).to(model.device, precision)
        first = tried(precision, exact[:FIRST], features_of(lower, batch[:FIRST]), decide)
        if len(exact) > FIRST and first.typical > DISTANCE:
            return first  # most of these are beyond the limit: more than one in a hundred of all
        return tried(precision, exact, features_of(lower, batch), decide)
    except (RuntimeError, NotImplementedError) as error:
        reason = "".join(str(error).splitlines()[:1])[:160]
        return Tried(precision, len(exact), float("inf"), 0, float("inf"), reason)


def own_decisions(model: Model) -> Decide:
    """Decisions of the model's own head."""
    return lambda features: np.asarray(
        model.logits(np.asarray(features, np.float32)).argmax(axis=1)
    )


def features_of(model: Model, batch: Tensor) -> FloatArray:
    """Features (n, D) float32 of images, a few at a time."""
    parts = [
        model.encode(batch[start : start + FIRST]).features.float().cpu().numpy()
        for start in range(0, len(batch), FIRST)
    ]
    return np.concatenate(parts)
