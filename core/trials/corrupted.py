"""A sample of held-out images under corruptions, as the model sees them; kept image by image.

::

    outcomes/corrupted_fog-4f0c….parquet    what the model says of every image at every severity

Nothing of it depends on tags: those only say which images are asked about, and images that were
asked about before are not again. What a temperature makes of them is kept beside, since logits are
not: an image has the one that it was corrupted with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.folds import fitted_on_all, fold_heads
from core.data.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from core.errors import InputError, UnreadableImageError
from core.features.extract import cores, in_order
from core.statistics.forecasts import COLUMNS, Forecasts, forecasts
from core.storage.files import locked, read_frame, there, write_frame
from core.storage.workspace import fingerprint
from core.tags.decisions import Decisions
from core.trials.encoder import Encoder, Seen
from core.trials.outcomes import base_key
from core.trials.paste import sample
from core.types import FloatArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

IMAGES = 2000
"""Held-out images that are corrupted, at most."""

SEED = 0
PER_IMAGE = 0.03
"""Seconds to corrupt an image and to run a small network on it, without a GPU: for expectations."""

VERSION = 2
COOLED = {name: f"cooled_{name}" for name in COLUMNS if name != "right"}
"""What a temperature changes, and how it is called at the temperature."""

TABLE = ["image_id", "severity", *COLUMNS, *COOLED.values()]


def drawn(audit: Audit, decisions: Decisions) -> tuple[list[str], list[str]]:
    """Images that are corrupted: a random part of those held out, and further ones of tagged cues.

    The first stand for all images. Where not all fit, half of the room is for classes with tagged
    cues, since a gap needs images of one class.

    Raises
    ------
    InputError
        If no held-out image has a label among the outputs.
    """
    images = audit.images[audit.held_out & audit.images["label"].isin(audit.head.outputs)]
    if not len(images):
        raise InputError(
            f"no held-out image of audit {audit.name!r} has a label among the model's outputs: "
            "there is nothing to corrupt"
        )
    ids = images.index.tolist()
    if len(ids) <= IMAGES:
        return ids, []
    tagged = images.index[images["label"].isin(list(decisions.spurious))].tolist()
    part = sample(ids, IMAGES // 2 if tagged else IMAGES, seed=SEED)
    known = set(part)
    return part, sample([i for i in tagged if i not in known], IMAGES - len(part), seed=SEED)


def expected_minutes(audit: Audit, decisions: Decisions) -> float:
    """How long the corruptions that are missing may take on this machine, without a GPU."""
    ids = [i for part in drawn(audit, decisions) for i in part]
    left = sum(len(_missing(audit, kind, ids)) for kind in CORRUPTIONS.values())
    return left * len(SEVERITIES) * PER_IMAGE / 60


def path_of(audit: Audit, kind: Corruption) -> Path:
    """Where what a kind does lies."""
    depends = {**base_key(audit), "corruption": VERSION, "seed": SEED, "at": list(kind.strengths)}
    return audit.files.outcome(f"corrupted_{kind.name}", fingerprint(depends))


def _known(audit: Audit, kind: Corruption) -> pd.DataFrame:
    path = path_of(audit, kind)
    return read_frame(path, needed=TABLE) if there(path) else pd.DataFrame(columns=TABLE)


def _missing(audit: Audit, kind: Corruption, image_ids: Sequence[str]) -> list[str]:
    known = set(_known(audit, kind)["image_id"])
    return [image_id for image_id in image_ids if image_id not in known]


def corrupted(
    audit: Audit,
    image_ids: Sequence[str],
    temperatures: Mapping[str, float],
    report: Reporter = silent,
) -> dict[str, pd.DataFrame]:
    """What the model says of images under every corruption (TABLE), by its name.

    Computed where it is missing, kind by kind, so that what was stopped goes on. Images that cannot
    be read any more have no rows.

    Parameters
    ----------
    temperatures : of images, fitted on others; what it makes of one without is NaN.
    """
    wanted = list(CORRUPTIONS.values())
    model: Model | None = None
    busy = f"audit {audit.name!r} is being measured by another process; wait for it"
    for place, kind in enumerate(wanted):
        left = _missing(audit, kind, image_ids)
        if not left:
            continue
        with locked(audit.files.outcomes_lock, busy):
            model = model or audit.load_model()
            new = _made(audit, kind, left, temperatures, model, report, (place, len(wanted)))
            known = _known(audit, kind)
            both = pd.concat([known, new], ignore_index=True) if len(known) else new
            write_frame(path_of(audit, kind), both)
    found = {kind.name: _known(audit, kind) for kind in wanted}
    return {name: table[table["image_id"].isin(image_ids)] for name, table in found.items()}


def _made(
    audit: Audit,
    kind: Corruption,
    image_ids: Sequence[str],
    temperatures: Mapping[str, float],
    model: Model,
    report: Reporter,
    place: tuple[int, int],
) -> pd.DataFrame:
    """One kind on some images, every severity (TABLE)."""
    seen, (before, kinds) = Seen(audit), place
    total = kinds * len(image_ids)

    def one(image_id: str) -> tuple[str, list[np.ndarray]]:
        try:
            pixels = seen.picture(image_id)
        except UnreadableImageError:
            return image_id, []
        return image_id, [kind.of(pixels, s, image_id, seed=SEED) for s in SEVERITIES]

    def images() -> Iterator[tuple[tuple[str, int], np.ndarray]]:
        made = in_order(one, image_ids, workers=min(8, cores()), ahead=16)
        for done, (image_id, changed) in enumerate(made):
            report(Progress(f"Corrupting: {kind.words}", before * len(image_ids) + done, total))
            for severity, pixels in zip(SEVERITIES, changed, strict=False):
                yield (image_id, severity), pixels

    keys: list[tuple[str, int]] = []
    features: list[FloatArray] = []
    for key, row in Encoder(audit, model).each(images()):
        keys.append(key)
        features.append(row)
    if not keys:
        return pd.DataFrame(columns=TABLE)
    ids, severities = ([key[i] for key in keys] for i in (0, 1))
    heat = np.array([temperatures.get(str(i), np.nan) for i in ids])
    said, cooled = _forecasts(audit, [str(i) for i in ids], np.stack(features), heat)
    at = {name: getattr(cooled, of) for of, name in COOLED.items()}
    return pd.DataFrame({"image_id": ids, "severity": severities, **said._asdict(), **at})


def _forecasts(
    audit: Audit, image_ids: Sequence[str], features: FloatArray, heat: FloatArray
) -> tuple[Forecasts, Forecasts]:
    """What the head says, as it is and at temperatures (n,).

    Out of fold where it was fitted on all images and the folds are known.
    """
    logits = audit.head.logits(features)
    heads = fold_heads(audit) if fitted_on_all(audit) else None
    if heads is not None:
        logits = logits + heads.change(image_ids, features)
    labels = audit.images_of(list(image_ids))["label"]
    truth = np.array([audit.head.index(label) for label in labels], np.int64)
    return forecasts(logits, truth), forecasts(logits, truth, heat)
