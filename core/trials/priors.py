"""Shape alone and texture alone: views of images in which one of the two is all there is.

Jain, Tsipras, Madry: Combining Diverse Feature Priors (ICML 2022), section 3. Edges have no
colour and no surface; shuffled patches have no outline larger than a patch, which is what a network
of a small receptive field sees. The audited model is asked about both, and a head is fitted on what
its encoder makes of each: what that head gets right can be told from the prior alone. A tint, a
texture or a watermark that a model leans on is in one prior and not in the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.kept import Kept
from core.audits.subject import fitting_rows
from core.errors import InputError, UnreadableImageError
from core.models.head import fit_probe
from core.statistics.intervals import log_softmax
from core.statistics.seeds import image_seed
from core.storage.layout import AuditFiles
from core.tags.decisions import Decisions
from core.trials.encoder import Encoder, Seen
from core.trials.paste import sample
from core.types import FloatArray, IntArray, Progress, Reporter, count_of

if TYPE_CHECKING:
    from core.models.model import Model

SHAPE, TEXTURE, WHOLE = "shape", "texture", "whole"
PRIORS = (SHAPE, TEXTURE)
VIEWS = (WHOLE, *PRIORS)

TILES = 7
"""Patches a side that an image is cut into: of 32 pixels at 224."""

BRIGHTEST = 0.99
"""Quantile of the edges of an image that is drawn white."""

CLASSES = 16
"""Classes that are told apart at most, the tagged ones first: more need more images than a job of
minutes has time for."""

FITTED, HELD = 60, 60
"""Images of a class that the heads are fitted on, and held-out ones that are asked about."""

COLUMNS = (
    *("image_id", "label", *VIEWS),
    *(f"{view}_head" for view in VIEWS),
    *(f"{view}_sure" for view in PRIORS),
)
"""Of held-out images: the class that the model gives to each view, raw label, that a head fitted on
such views gives, and how probable the heads of the priors hold theirs to be."""


def edges(pixels: np.ndarray) -> np.ndarray:
    """Where the brightness changes, white on black: (h, w, 3) uint8 of such an image.

    Length of the gradient of the brightness, smoothed over a hundredth of the side; the strongest
    hundredth of an image is white.
    """
    from scipy.ndimage import gaussian_gradient_magnitude

    grey = pixels.astype(np.float64).mean(axis=2)
    strength = gaussian_gradient_magnitude(grey, max(min(grey.shape) / 100, 0.7), mode="nearest")
    top = max(float(np.quantile(strength, BRIGHTEST)), 1e-9)
    drawn = np.clip(255 * strength / top, 0, 255) if strength.max() > 1e-9 else strength
    return np.repeat(np.rint(drawn).astype(np.uint8)[:, :, None], 3, axis=2)


def shuffled(pixels: np.ndarray, image_id: str, *, tiles: int = TILES) -> np.ndarray:
    """An image's own patches in another order, by its id: (h, w, 3) uint8.

    Patches lie on a grid of ``tiles`` a side that may be shorter than the image; what is left over
    at the right and at the bottom stays.
    """
    h, w = pixels.shape[0] // tiles, pixels.shape[1] // tiles
    order = np.random.default_rng(image_seed(image_id)).permutation(tiles * tiles)
    found = pixels.copy()
    for place, taken in enumerate(order.tolist()):
        (row, column), (down, across) = divmod(place, tiles), divmod(taken, tiles)
        source = pixels[down * h : (down + 1) * h, across * w : (across + 1) * w]
        found[row * h : (row + 1) * h, column * w : (column + 1) * w] = source
    return found


def view(name: str, pixels: np.ndarray, image_id: str) -> np.ndarray:
    """An image as one of the priors has it."""
    return edges(pixels) if name == SHAPE else shuffled(pixels, image_id)


def labels_looked_at(audit: Audit, decisions: Decisions) -> list[str]:
    """Classes that are told apart, in the audit's order: all, or the tagged ones and some drawn."""
    every = [facts.label for facts in audit.classes if facts.label in audit.head.outputs]
    tagged = [label for label in every if label in decisions.spurious][:CLASSES]
    others = sample([label for label in every if label not in tagged], CLASSES - len(tagged))
    return [label for label in every if label in {*tagged, *others}]


@dataclass(frozen=True, eq=False)
class Views:
    """Images, their classes, and what the encoder makes of every view."""

    image_ids: list[str]
    labels: IntArray
    """(n,) places among the classes that are looked at."""
    features: Mapping[str, FloatArray]
    """(n, D) by view."""


def encoded_views(
    audit: Audit,
    image_ids: Sequence[str],
    model: Model,
    report: Reporter,
    *,
    names: Sequence[str] = PRIORS,
    stage: str = "Looking at shapes and textures",
) -> tuple[list[str], dict[str, FloatArray]]:
    """Features (n, D) of some images by view; those that cannot be read are left out."""
    seen, done, kept = Seen(audit), list[str](), dict[tuple[str, str], FloatArray]()

    def changed() -> Iterator[tuple[tuple[str, str], np.ndarray]]:
        for place, image_id in enumerate(image_ids):
            report(Progress(stage, place, len(image_ids)))
            try:
                pixels = seen.picture(image_id)
            except UnreadableImageError:
                continue
            done.append(image_id)
            for name in names:
                yield (image_id, name), view(name, pixels, image_id)

    for key, row in Encoder(audit, model).each(changed()):
        kept[key] = row
    report(Progress(stage, len(image_ids), len(image_ids)))
    empty = np.zeros((0, audit.head.weight.shape[1]), np.float32)
    found = {name: [kept[image_id, name] for image_id in done] for name in names}
    return done, {name: np.stack(rows) if rows else empty for name, rows in found.items()}


def priors_of(labels: Sequence[str]) -> Kept:
    """What the model, and heads of each prior, say of the views of some classes' images (COLUMNS).

    Raises
    ------
    InputError
        If fewer than two classes have an image to fit on and a held-out one.
    """
    return Kept(
        "priors",
        COLUMNS,
        partial(_compute, labels=tuple(labels)),
        place=AuditFiles.outcome,
        also={"labels": list(labels), "settings": [TILES, FITTED, HELD]},
    )


def _compute(audit: Audit, report: Reporter, *, labels: tuple[str, ...]) -> pd.DataFrame:
    fitted, held = (_drawn(audit, labels, fit=fit) for fit in (True, False))
    known = [label for label in labels if fitted[label] and held[label]]
    if len(known) < 2:
        raise InputError(
            f"audit {audit.name!r} has {count_of(len(known), 'class', 'classes')} with training "
            "and held-out images; priors are told apart between two or more"
        )
    report(Progress("Loading the model", 0, 0))
    model = audit.load_model()
    train, test = (
        _seen(audit, {label: of[label] for label in known}, model, report) for of in (fitted, held)
    )
    head, outputs = audit.head, np.array([audit.head.index(label) for label in known])
    names = np.array(known, object)
    columns: dict[str, object] = {"image_id": test.image_ids, "label": names[test.labels]}
    columns |= {
        name: names[head.logits(test.features[name])[:, outputs].argmax(axis=1)] for name in VIEWS
    }
    for name in VIEWS:
        said = _head_of(train, name, len(known), test.features[name])
        columns[f"{name}_head"] = names[said.argmax(axis=1)]
        if name in PRIORS:
            columns[f"{name}_sure"] = np.exp(log_softmax(said)).max(axis=1)
    return pd.DataFrame(columns)[list(COLUMNS)]


def _drawn(audit: Audit, labels: Sequence[str], *, fit: bool) -> dict[str, list[str]]:
    """Images of every class that heads are fitted on, or held-out ones.

    Where the head was fitted on every image, a random half of each class plays either part.
    """
    fitting, images = fitting_rows(audit.images), audit.images
    found = {}
    for label in labels:
        mine = (images["label"] == label).to_numpy(bool)
        if fitting.all():
            ids = images.index[mine].tolist()
            half = set(sample(ids, len(ids) // 2, seed=1))
            ids = [i for i in ids if (i in half) == fit]
        else:
            ids = images.index[mine & (fitting if fit else audit.held_out)].tolist()
        found[label] = sample(ids, FITTED if fit else HELD)
    return found


def _seen(audit: Audit, ids: Mapping[str, list[str]], model: Model, report: Reporter) -> Views:
    """The views of some images by class; of the whole image the stored features are taken."""
    place = {image_id: number for number, of in enumerate(ids.values()) for image_id in of}
    done, features = encoded_views(audit, list(place), model, report)
    labels = np.array([place[image_id] for image_id in done], np.int64)
    return Views(done, labels, {WHOLE: audit.features(done), **features})


def _head_of(train: Views, name: str, classes: int, features: FloatArray) -> FloatArray:
    """Logits (n, C) of a head that was fitted on one view of the training images."""
    probe = fit_probe(train.features[name], train.labels, classes)
    found: FloatArray = features.astype(np.float64) @ probe.weight.T.astype(np.float64) + probe.bias
    return found


def conflicts(table: pd.DataFrame) -> pd.DataFrame:
    """Images that the heads of the two priors give different classes, the surest of both first.

    Parameters
    ----------
    table : of :func:`priors_of`; the result has its columns.
    """
    apart = table[table[f"{SHAPE}_head"] != table[f"{TEXTURE}_head"]]
    sure = np.minimum(apart[f"{SHAPE}_sure"], apart[f"{TEXTURE}_sure"])
    return apart.loc[sure.sort_values(ascending=False, kind="stable").index].reset_index(drop=True)
