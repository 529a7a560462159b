"""Which processor a model runs on, and at which precision."""

from __future__ import annotations

import copy
import ctypes
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.errors import ModelError
from core.models.model import Encoded, Model, Precision

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3) in glibc's malloc.h."""

COSINE = 0.999
"""Least cosine between the features of both precisions where the head cannot decide."""


@dataclass(frozen=True)
class PrecisionProbe:
    """Which precision to run a model at."""

    precision: Precision
    agreement: float
    """Share of images on which bf16 and fp32 agree, 0 to 1; 0 where bf16 was not tried."""
    reason: str
    """One sentence for the audit's notes."""


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


def probe_precision(model: Model, batch: Tensor) -> PrecisionProbe:
    """Try bf16 on a few images: take it only where it changes no decision.

    The model itself stays in fp32; ``model.to(model.device, probe.precision)`` applies the result.

    Parameters
    ----------
    model : in fp32 on its device.
    batch : (B, h, w, 3) uint8 images. Decisions are the largest of the model's outputs; for an
        untrained head, whether the cosine of the features is above 0.999.
    """
    if model.precision == "bf16":
        return PrecisionProbe("bf16", 1.0, "The model runs in bf16 already.")
    if not supports_bf16(model.device):
        return PrecisionProbe("fp32", 0.0, f"This {model.device} has no bf16 arithmetic.")
    try:
        rounded = copy.deepcopy(model).to(model.device, "bf16").encode(batch)
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).splitlines()[:1]
        return PrecisionProbe("fp32", 0.0, f"bf16 does not run this model: {''.join(reason)[:160]}")
    agreeing = _agreement(model, model.encode(batch), rounded)
    share = f"bf16 agrees with fp32 on {int(agreeing.sum())} of {len(agreeing)} images."
    precision: Precision = "bf16" if bool(agreeing.all()) else "fp32"
    return PrecisionProbe(precision, float(agreeing.mean()), share)


def _agreement(
    model: Model, exact: Encoded, rounded: Encoded
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(B,) whether both precisions decide alike."""
    if not model.head_trained:
        cosine = torch.nn.functional.cosine_similarity(exact.features, rounded.features)
        return np.asarray(cosine.cpu().numpy() > COSINE)
    a, b = (model.logits(encoded.features.cpu().numpy()) for encoded in (exact, rounded))
    return np.asarray(a.argmax(axis=1) == b.argmax(axis=1))
