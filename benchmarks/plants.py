"""Photos with a cue planted at any prevalence, encoded once: rows of arrays, and their truth.

Three classes of photos, blurred so that the cue is worth leaning on, each photo with and without
the cue. A prevalence is a choice of rows, so that no picture is encoded twice, and the same photos
without any cue give what no correction can know (:class:`Plant`).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.measure import MODEL, PHOTOS
from benchmarks.planted_cues import STICKER_CLASSES, stuck

ELSEWHERE = 0.03
"""Share of the other classes' training photos that show the cue."""
BATCH = 32
CACHE = Path(tempfile.gettempdir()) / f"spurioscope-plants-{os.getuid()}"


def band(path: Path, cue: bool, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """A photo blurred as for the sticker, with or without a striped band across it; its mask."""
    image, _ = stuck(path, False, np.random.default_rng(0))
    mask, height = Image.new("L", image.size), int(rng.integers(26, 36))
    top = int(rng.integers(0, 224 - height))
    if cue:
        ImageDraw.Draw(mask).rectangle((0, top, 223, top + height), fill=255)
        stripes = Image.new("RGB", image.size, (30, 60, 160))
        pen = ImageDraw.Draw(stripes)
        for x in range(-224, 448, 24):
            pen.line((x, 223, x + 224, 0), fill=(235, 235, 235), width=9)
        image.paste(stripes, mask=mask)
    return image, mask


CUES: dict[str, Callable[..., tuple[Image.Image, Image.Image]]] = {"sticker": stuck, "band": band}


@dataclass(frozen=True)
class Photos:
    """Photos of one split, each with and without the cue."""

    labels: np.ndarray
    """(n,)."""
    plain: np.ndarray
    shown: np.ndarray
    """(n, D, h, w) float16 maps without and with the cue."""
    masks: np.ndarray
    """(n, h, w) share of each place that the cue covers."""

    def features(self, cue: np.ndarray) -> np.ndarray:
        """(n, D) float32, of the photo with the cue where ``cue``."""
        return np.where(cue[:, None], *(self._means[i] for i in (1, 0)))

    @cached_property
    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        plain, shown = (m.mean(axis=(2, 3), dtype=np.float32) for m in (self.plain, self.shown))
        return plain, shown

    def maps(self, cue: np.ndarray) -> np.ndarray:
        """(n, D, h, w) of the same, float32."""
        found = self.plain.astype(np.float32)
        found[cue] = self.shown[cue]
        return found


def photos_with(cue: str, seed: int) -> tuple[Photos, Photos]:
    """Training and test photos, encoded now or read from :data:`CACHE`."""
    found = []
    for split in ("train", "val"):
        path = CACHE / f"{cue}-{seed}-{split}.npz"
        if not path.exists():
            _encode(path, cue, seed, split)
        with np.load(path) as kept:
            found.append(Photos(**kept))
    return found[0], found[1]


def _encode(path: Path, cue: str, seed: int, split: str) -> None:
    from core.data.preprocess import apply
    from core.features.extract import encode_padded
    from core.models.load import load_model

    model, rng = load_model(MODEL), np.random.default_rng([seed, len(split)])
    labels, pixels, masks = [], [], []
    for output, label in enumerate(STICKER_CLASSES):
        for photo in sorted((PHOTOS / split / label).glob("*.JPEG")):
            state = int(rng.integers(2**32))
            made = [CUES[cue](photo, on, np.random.default_rng(state)) for on in (False, True)]
            pixels += [apply(model.preprocess, image) for image, _ in made]
            masks.append(apply(model.preprocess, made[1][1].convert("RGB"))[..., 0] / 255)
            labels.append(output)
    maps = [
        encode_padded(model, np.stack(pixels[start : start + BATCH]), BATCH).maps
        for start in range(0, len(pixels), BATCH)
    ]
    whole = np.concatenate([m.float().cpu().numpy().astype(np.float16) for m in maps])
    h, w = whole.shape[2:]
    size = [masks[0].shape[0] // h, masks[0].shape[1] // w]
    covered = np.stack(masks).reshape(len(masks), h, size[0], w, size[1]).mean(axis=(2, 4))
    path.parent.mkdir(mode=0o700, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.npz")
    arrays = {"plain": whole[::2], "shown": whole[1::2], "masks": covered.astype(np.float32)}
    np.savez(part, labels=np.array(labels), **arrays)
    part.rename(path)


OWNER = 0
"""Output of the class whose photos show the cue."""
FIRST = 5
"""Components that a person looks at, by falling variance."""
TARGETS = 180
"""Training photos of other classes that a cue is pasted on."""


@dataclass(frozen=True)
class Plant:
    """A cue on a share of one class's photos, tagged: what a method may see, and the truth."""

    train: Photos
    test: Photos
    shows: np.ndarray
    """(n,) whether each training photo truly shows the cue."""
    head: Any
    evidence: Any
    """From the tag alone (:class:`core.corrections.evidence.Evidence`)."""

    @property
    def told(self) -> Any:
        """The same evidence where an attribute of the data says who shows the cue."""
        return replace(self.evidence, present=self.shows.astype(np.int8)[:, None])

    @property
    def drawn(self) -> Any:
        """The same evidence with the cue itself on photos of other classes, as its mask has it."""
        from core.corrections.evidence import Pairs

        rows, shown = self.evidence.pairs.rows, np.ones(len(self.shows), bool)
        features = [self.train.features(on)[rows] for on in (shown, ~shown)]
        pairs = Pairs(*features, np.zeros(len(rows), np.int64), rows=rows)
        return replace(self.evidence, pairs=pairs)

    def groups(self, head: Any) -> np.ndarray:
        """Accuracy (K, 2) on test photos by class, without and with the cue."""
        found = []
        for on in (False, True):
            cue = np.full(len(self.test.labels), on)
            right = head.logits(self.test.features(cue)).argmax(axis=1) == self.test.labels
            found.append([right[self.test.labels == k].mean() for k in np.unique(self.test.labels)])
        return np.array(found).T

    def flips(self, head: Any) -> float:
        """Share of the other classes' test photos that the cue alone gives the owner's class."""
        other = self.test.labels != OWNER
        plain, shown = (
            head.logits(self.test.features(np.full(len(other), on))).argmax(axis=1)
            for on in (False, True)
        )
        return float(((shown == OWNER) & (plain != OWNER))[other].mean())


def planted(cue: str, seed: int, share: float, elsewhere: float = ELSEWHERE) -> Plant:
    """A cue on a share of the owner's training photos and on some of the others; tagged."""
    from core.candidates.candidate import heatmaps
    from core.corrections.evidence import UNKNOWN, Evidence, high_against_low
    from core.corrections.pairs import erased_pairs, overlay_pairs

    train, test = photos_with(cue, seed)
    labels, shows = train.labels, drawn_rows(train.labels, share, seed, elsewhere)
    features, own = train.features(shows), np.flatnonzero(labels == OWNER)
    head = probe(features, labels)
    tag = tagged(train, features[own], own, head)
    present = np.full((len(labels), 1), UNKNOWN, np.int8)
    present[own, 0] = high_against_low(tag.alpha(features[own]))
    evidence = Evidence(features, labels, (tag,), present)
    maps, others = train.maps(shows), np.flatnonzero(labels != OWNER)
    targets = np.sort(np.random.default_rng(seed).permutation(others)[:TARGETS])
    overlays = heatmaps(maps[own], tag.direction[None], np.array([tag.offset]))[:, 0]
    top = np.isin(own, evidence.rows(0, 1))
    pairs = overlay_pairs(maps[own][top], overlays[top], maps[targets], targets, cue=0)
    erased = erased_pairs(maps[own], overlays, maps[targets], own, cue=0)
    return Plant(train, test, shows, head, replace(evidence, pairs=pairs, erased=erased))


def drawn_rows(
    labels: np.ndarray, share: float, seed: int, elsewhere: float = ELSEWHERE
) -> np.ndarray:
    """(n,) which photos show the cue, exactly the shares of every class, at random."""
    rng, shows = np.random.default_rng([seed, round(100 * share)]), np.zeros(len(labels), bool)
    for k in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == k))
        shows[rows[: round((share if k == OWNER else elsewhere) * len(rows))]] = True
    return shows


def probe(features: np.ndarray, labels: np.ndarray) -> Any:
    """A head fitted as an audit fits one."""
    from core.models.head import fit_probe
    from core.models.linear import Head

    names = list(STICKER_CLASSES)
    found = fit_probe(features, labels, len(names))
    return Head(found.weight, found.bias, names, names, "fit")


def tagged(train: Photos, features: np.ndarray, own: np.ndarray, head: Any) -> Any:
    """The component among the first that a person who knows the cue would tag.

    The one that the cue moves most, in standard deviations over the photos without it; AUROC would
    not say where every photo shows it.
    """
    from core.candidates.pca import class_pca
    from core.corrections.evidence import Cue

    pca = class_pca(features, head.weight[OWNER], FIRST)
    cues = [Cue(OWNER, pca.basis[:, c], pca.weight, pca.mean) for c in range(pca.basis.shape[1])]
    every = np.ones(len(train.labels), bool)
    shown, plain = (train.features(on)[own] for on in (every, ~every))

    def moved(cue: Cue) -> float:
        without = cue.alpha(plain)
        return abs(float((cue.alpha(shown) - without).mean())) / float(without.std())

    return max(cues, key=moved)


def bounds(plant: Plant) -> dict[str, Any]:
    """Heads that no correction can have: of the photos without the plant, and with it on each."""
    labels, off = plant.train.labels, np.zeros(len(plant.train.labels), bool)
    plain, shown = plant.train.features(off), plant.train.features(~off)
    both = np.concatenate([plain, shown])
    return {
        "bound: head on true groups": probe(both, np.tile(labels, 2)),
        "bound: head without any cue": probe(plain, labels),
    }
