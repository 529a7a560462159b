"""The generator of an audit: trained on its training images, kept in its folder, drawn from.

::

    generator/generator.json          how it was trained, and the classes it knows
              generator.safetensors   mask, foreground and background networks
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.corrections.acted_on import learnable
from core.corrections.generator_request import AUTO, SETTINGS, STEPS, TEXTURES, USUAL
from core.data.table import BOX
from core.errors import InputError
from core.storage.files import (
    locked,
    read_bytes,
    read_value,
    replacing_folder,
    there,
    write_bytes,
    write_json,
)
from core.storage.json_values import JsonValue
from core.storage.spreadsheet import csv_bytes
from core.storage.workspace import fingerprint
from core.trials.paste import sample
from core.types import IntArray, Preprocess, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.corrections.generator import Made
    from core.corrections.mechanisms import Generator
    from core.trials.examples import Examples

SIDE = 32
"""Pixels of the images that are made."""

SMALL = 64
"""Longer side of an image, pixels, up to which what stands out from its frame may say where the
object is; larger ones lose what tells them apart when they are made SIDE pixels large."""

IMAGES = 4000
"""Images that are learnt from at most, a fixed random part."""

VERSION = 2
"""Of the training; another one trains again."""


@dataclass(frozen=True)
class GeneratorFacts(JsonValue):
    """How a generator was trained."""

    key: str
    """Changes with the audit's images and with everything that was asked for."""
    labels: tuple[str, ...] = ()
    """Raw label of every class that it knows, in its order."""
    settings: str = USUAL
    steps: int = 0
    seed: int = 0
    images: int = 0
    """That it learnt from."""
    masked: int = 0
    """Those whose object was drawn; of the others it is what stands out from the frame."""
    losses: Mapping[str, float] | None = None
    """Of the last steps, by name."""


@dataclass(frozen=True, eq=False)
class AuditGenerator:
    """A trained generator and how that was done."""

    network: Generator
    facts: GeneratorFacts

    def made(self, labels: IntArray, *, seed: int = 0, textures: str = TEXTURES[0]) -> Made:
        """Images of given labels (n, 3): whose shape, whose foreground, whose background."""
        from core.corrections.generator import draw

        return draw(self.network, labels, seed=seed, taken=textures == TEXTURES[0])


def settings_of(audit: Audit) -> str:
    """Those that were published for an audit's data; the usual ones of any other."""
    name = audit.manifest.data.source.partition("?")[0]
    known = {f"demo:{kind}-mnist": kind for kind in SETTINGS}
    return known.get(name, USUAL)


def obstacle(audit: Audit) -> str:
    """Why nothing can be trained on an audit's images, with the remedy; empty where it can."""
    rows = _rows(audit)
    if len(rows) and rows["label"].nunique() > 1:
        return ""
    what = "too few classes have" if len(rows) else "no training image has"
    return (
        f"{what} an object mask, a box, or at most {SMALL} pixels a side, and without one of these "
        "nothing says what is the object: add the column object_mask, or a box "
        "x_min,y_min,x_max,y_max, to the manifest"
    )


def _rows(audit: Audit) -> pd.DataFrame:
    """Training images whose object is drawn, or that are small."""
    images = audit.images.iloc[learnable(audit)]
    drawn = np.zeros(len(images), bool)
    if "object_mask" in images:
        drawn |= (images["object_mask"].fillna("") != "").to_numpy(bool)
    if set(BOX) <= set(images):
        drawn |= images[list(BOX)].notna().all(axis=1).to_numpy(bool)
    small = (images[["width", "height"]].max(axis=1) <= SMALL).to_numpy(bool)
    return images[drawn | small]


def read_generator(audit: Audit) -> AuditGenerator | None:
    """The stored generator of the audit's images as they are; None where there is none."""
    files = audit.files.generator
    if not there(files.facts) or not there(files.weights):
        return None
    facts = read_value(files.facts, GeneratorFacts)
    if facts.key != _key(audit, facts.settings, facts.steps, facts.seed):
        return None
    return AuditGenerator(_loaded(read_bytes(files.weights), len(facts.labels)), facts)


def _loaded(content: bytes, classes: int) -> Generator:
    from safetensors.torch import load

    from core.corrections.mechanisms import Generator

    made, state = Generator(classes), load(content)
    for name in ("codes", "code_labels", "pieces", "piece_labels"):  # as many as were kept
        setattr(made, name, state[name])
    made.load_state_dict(state)
    return made.eval()


def _key(audit: Audit, name: str, steps: int, seed: int) -> str:
    of = {"version": VERSION, "audit": audit.manifest.fingerprint, "head": audit.head_key}
    return fingerprint({**of, "settings": name, "steps": steps, "seed": seed})


def train_audit(
    audit: Audit,
    name: str = AUTO,
    *,
    steps: int = STEPS,
    seed: int = 0,
    report: Reporter = silent,
) -> AuditGenerator:
    """Train the mechanisms on an audit's training images, or read what was trained likewise.

    Parameters
    ----------
    name : of the losses' weights, one of SETTINGS.

    Raises
    ------
    InputError
        If the weights are unknown, or no image says what is the object.
    WorkspaceError
        If another process trains it.
    """
    name = settings_of(audit) if name == AUTO else name
    if name not in SETTINGS:
        raise InputError(f"--settings {name!r}: choose {', '.join(SETTINGS)}")
    if why := obstacle(audit):
        raise InputError(f"audit {audit.name!r}: {why}")
    busy = f"the generator of audit {audit.name!r} is trained by another process; wait for it"
    with locked(audit.files.generator_lock, busy):
        known = read_generator(audit)
        if known and known.facts.key == _key(audit, name, steps, seed):
            return known
        made = _trained(audit, name, steps, seed, report)
        _keep(audit, made)
    return made


def _trained(audit: Audit, name: str, steps: int, seed: int, report: Reporter) -> AuditGenerator:
    from core.corrections.generator import WEIGHTS, Schedule, Weights, train_generator

    examples, labels = _examples(audit, seed, report)
    losses: dict[str, float] = {}

    def watched(progress: Progress) -> None:
        losses.update(progress.values or {})
        report(progress)

    network = train_generator(
        examples.pixels,
        examples.labels,
        WEIGHTS.get(name, Weights()),
        Schedule(steps=steps, batch_size=min(Schedule.batch_size, len(examples)), seed=seed),
        masks=examples.objects,
        report=watched,
    )
    drawn = 0 if examples.objects is None else int(examples.objects.any(axis=(1, 2)).sum())
    facts = GeneratorFacts(
        key=_key(audit, name, steps, seed),
        labels=labels,
        settings=name,
        steps=steps,
        seed=seed,
        images=len(examples),
        masked=drawn,
        losses=losses,
    )
    return AuditGenerator(network, facts)


def _examples(audit: Audit, seed: int, report: Reporter) -> tuple[Examples, tuple[str, ...]]:
    """The images as small ones, labels counted from 0, and what these are."""
    from core.trials.examples import read_examples

    rows = _rows(audit)
    rows = rows.loc[sample(rows.index.tolist(), IMAGES, seed=seed)]
    labels = tuple(sorted(rows["label"].unique()))
    numbers = np.array([labels.index(label) for label in rows["label"]], np.int64)
    small = Preprocess((SIDE, SIDE), 1.0, "bilinear", (0.0,) * 3, (1.0,) * 3)
    found = read_examples(rows.to_dict("records"), audit.root, small, numbers, report=report)
    return found, labels


def _keep(audit: Audit, made: AuditGenerator) -> None:
    from safetensors.torch import save

    files = audit.files.generator
    state = {name: tensor.contiguous() for name, tensor in made.network.state_dict().items()}
    with replacing_folder(files.folder) as temporary:
        inside = type(files)(temporary)
        write_bytes(inside.weights, save(state))
        write_json(inside.facts, made.facts.to_json())


COLUMNS = ("path", "label", "object_mask", "texture", "background")


def exported(
    found: AuditGenerator, n: int, *, seed: int = 0, textures: str = TEXTURES[0]
) -> Iterator[tuple[str, bytes]]:
    """Files of counterfactual images: pictures, masks, and a manifest that can be audited.

    Shape, texture and background are of classes drawn independently; the label is that of the
    shape.
    """
    from core.corrections.generator import generate

    made = generate(found.network, n, seed=seed, taken=textures == TEXTURES[0])
    names = found.facts.labels
    rows = []
    for number, labels in enumerate(made.labels):
        shape, texture, background = (names[k] for k in labels)
        path, mask = (f"{folder}/{number:05d}.png" for folder in ("images", "masks"))
        yield path, png(made.pixels[number])
        yield mask, png(made.masks[number])
        rows.append((path, shape, mask, texture, background))
    yield "manifest.csv", csv_bytes(pd.DataFrame(rows, columns=COLUMNS))


def check_empty(folder: Path) -> None:
    """Raise InputError where something is in a folder that images are to be written to."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--out {folder} exists and is not empty; choose a new folder")


def write_images(
    found: AuditGenerator, n: int, folder: Path, *, seed: int = 0, textures: str = TEXTURES[0]
) -> None:
    """Write what is exported into a new folder, complete or not at all.

    Raises
    ------
    InputError
        If the folder holds something.
    """
    check_empty(folder)
    with replacing_folder(folder) as temporary:
        for name, content in exported(found, n, seed=seed, textures=textures):
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_bytes(content)


def png(pixels: np.ndarray) -> bytes:
    """An image (h, w, 3) or (h, w) uint8 as a PNG file."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
