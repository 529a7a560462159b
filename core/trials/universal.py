"""One patch, and one faint perturbation, that turn images into a class wherever they are added.

Brown et al., Adversarial Patch (2017); Moosavi-Dezfooli et al., Universal Adversarial Perturbations
(CVPR 2017), here targeted at a class and found by gradient steps on training images of the others.
A shortcut of that size can do this much at least, whether or not any image shows it: few steps may
miss a stronger one, and a real cue may be larger. Control: random pixels as large, random signs as
strong.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.kept import Kept
from core.audits.subject import fitting_rows
from core.errors import InputError, ModelError, UnreadableImageError
from core.explain.sis import as_tensor
from core.statistics.seeds import image_seed
from core.storage.layout import AuditFiles
from core.trials.encoder import Seen, predictions_of, trial_ids
from core.trials.paste import sample
from core.types import FloatArray, IntArray, Progress, Reporter

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model

SIDE = 0.2
"""Side of the patch, as a share of the image's: 4 % of its area."""

REACH = 10 / 255
"""Largest change of a pixel by the perturbation (Moosavi-Dezfooli et al. 2017, section 3)."""

STEPS, BATCH = 60, 16
"""Gradient steps, and images of each."""

LEARNT, TARGETS = 128, 200
"""Training images of other classes that are learnt from, and held-out ones that are asked about."""

RATES = {"patch": 0.05, "perturbation": REACH / 8}
"""Change of every value by a step, in the direction of the gradient's sign."""

KINDS = ("patch", "perturbation")
COLUMNS = (
    *("image_id", "truth", "before"),
    *(f"{kind}{end}" for kind in KINDS for end in ("", "_control")),
)
"""Outputs: the image's own, what it is given as it is, with each, and with each one's control."""


def universal_of(label: str) -> Kept:
    """What a patch and a perturbation towards a class do to held-out images of others (COLUMNS).

    Raises
    ------
    InputError
        If there is no image of another class to learn from, or to ask about.
    ModelError
        If the network has no gradients.
    """
    return Kept(
        "universal",
        COLUMNS,
        partial(_compute, label=label),
        place=AuditFiles.outcome,
        also={"label": label, "settings": [SIDE, REACH, STEPS, BATCH, LEARNT, TARGETS]},
    )


def _compute(audit: Audit, report: Reporter, *, label: str) -> pd.DataFrame:
    seen, output = Seen(audit), audit.class_facts(label).class_idx
    report(Progress("Loading the model", 0, 0))
    model = audit.load_model()
    ids, targets = _readable(seen, sample(trial_ids(audit, outside=label), TARGETS))
    _, learnt = _readable(seen, _learnt_from(audit, label))
    if not len(targets) or not len(learnt):
        raise InputError(
            f"audit {audit.name!r} has no images of classes other than {label!r} to turn into it"
        )
    images = audit.images_of(ids)
    columns: dict[str, object] = {
        "image_id": ids,
        "truth": [audit.head.index(name) for name in images["label"]],
        "before": images["prediction"].to_numpy(np.int64),
    }
    for kind in KINDS:
        found = learn(model, learnt, output, kind, report=report)
        for end, added in (("", found), ("_control", control_of(found, kind))):
            shown = [changed(p, added, kind, i) for i, p in zip(ids, targets, strict=True)]
            columns[f"{kind}{end}"] = _predicted(audit, model, shown)
    return pd.DataFrame(columns)[list(COLUMNS)]


def _learnt_from(audit: Audit, label: str) -> list[str]:
    mine = fitting_rows(audit.images) & (audit.images["label"] != label).to_numpy(bool)
    return sample(audit.images.index[mine].tolist(), LEARNT, seed=2)


def _readable(seen: Seen, image_ids: Sequence[str]) -> tuple[list[str], list[np.ndarray]]:
    """Images that can be read, and what the encoder sees of them."""
    found: dict[str, np.ndarray] = {}
    for image_id in image_ids:
        try:
            found[image_id] = seen.picture(image_id)
        except UnreadableImageError:
            continue
    return list(found), list(found.values())


def _predicted(audit: Audit, model: Model, shown: Sequence[np.ndarray]) -> IntArray:
    size = int(audit.manifest.compute.batch_size)
    parts = [
        predictions_of(audit, model, shown[start : start + size])
        for start in range(0, len(shown), size)
    ]
    return np.concatenate(parts)


def learn(
    model: Model, pixels: Sequence[np.ndarray], output: int, kind: str, *, report: Reporter
) -> FloatArray:
    """The patch (s, s, 3) in [0, 1], or the perturbation (h, w, 3) in [-REACH, REACH].

    Steps against the sign of the gradient of the mean log-odds of the output, each over some of the
    images, the patch at another place of each.

    Parameters
    ----------
    pixels : (h, w, 3) uint8 of images that are to become the class; output : of the class.

    Raises
    ------
    ModelError
        If the network has no gradients on its device at its precision.
    """
    import torch

    rng = np.random.default_rng([7, output])
    shape = pixels[0].shape
    if kind == "patch":
        side = max(round(SIDE * min(shape[:2])), 1)
        added = torch.full((3, side, side), 0.5)
    else:
        added = torch.zeros((3, *shape[:2]))
    added = added.to(model.device)
    for step in range(STEPS):
        report(Progress(f"Learning a {kind}", step, STEPS, "steps"))
        rows = rng.choice(len(pixels), min(BATCH, len(pixels)), replace=False)
        batch = as_tensor(model, np.stack([pixels[i] for i in rows]).astype(np.float32) / 255)
        places = [_place(shape, added.shape[-1], rng) for _ in rows] if kind == "patch" else []
        added = added + RATES[kind] * _slope(model, batch, added, places, output).sign()
        added = added.clamp(0, 1) if kind == "patch" else added.clamp(-REACH, REACH)
    report(Progress(f"Learning a {kind}", STEPS, STEPS, "steps"))
    found: FloatArray = added.permute(1, 2, 0).cpu().numpy()
    return found


def _slope(
    model: Model, batch: Tensor, added: Tensor, places: Sequence[tuple[int, int]], output: int
) -> Tensor:
    """Gradient, at what is added, of the mean log-odds of an output."""
    import torch

    from core.models.trace import exclusive

    value = added.clone().requires_grad_()
    try:
        with exclusive(model.network), torch.enable_grad():
            scores = model.scores(model.normalised(_with(batch, value, places)))
            rest = torch.arange(scores.shape[1], device=scores.device) != output
            odds = scores[:, output] - scores[:, rest].logsumexp(1)
            (slope,) = torch.autograd.grad(odds.mean(), value)
    except RuntimeError as error:  # memory that runs out is one, too: what torch says is named
        line = str(error).strip().partition("\n")[0][:120]
        raise ModelError(
            f"the network has no gradients on its device at its precision ({line}), and a "
            "universal patch is found by them: audit in fp32"
        ) from error
    return torch.nan_to_num(slope)


def _with(batch: Tensor, value: Tensor, places: Sequence[tuple[int, int]]) -> Tensor:
    """Images (n, 3, h, w) with a patch at a place of each, or a perturbation everywhere."""
    import torch

    if not places:
        return (batch + value).clamp(0, 1)
    side, shown = value.shape[-1], []
    height, width = batch.shape[2:]
    for image, (row, column) in zip(batch, places, strict=True):
        around = (column, width - column - side, row, height - row - side)
        mask = torch.nn.functional.pad(torch.ones_like(value), around)
        shown.append(image * (1 - mask) + torch.nn.functional.pad(value, around))
    return torch.stack(shown)


def _place(shape: tuple[int, ...], side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Upper left corner of a patch, anywhere in an image."""
    row, column = (int(rng.integers(0, whole - side + 1)) for whole in shape[:2])
    return row, column


def changed(pixels: np.ndarray, added: FloatArray, kind: str, image_id: str) -> np.ndarray:
    """An image (h, w, 3) uint8 with a patch at a place by its id, or with a perturbation."""
    found: np.ndarray = pixels.copy()
    if kind == "patch":
        side = len(added)
        row, column = _place(pixels.shape, side, np.random.default_rng(image_seed(image_id, 7)))
        found[row : row + side, column : column + side] = np.rint(255 * added).astype(np.uint8)
        return found
    moved = np.clip(np.rint(pixels + 255 * added), 0, 255)
    return np.asarray(moved, np.uint8)


def control_of(added: FloatArray, kind: str) -> FloatArray:
    """Random pixels as large as a patch, or random signs as strong as a perturbation may be."""
    rng = np.random.default_rng(9)
    if kind == "patch":
        return rng.random(added.shape)
    return REACH * rng.choice([-1.0, 1.0], added.shape)
