"""Audits with planted cues whose harm is known, as arrays: what Show 3 is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from benchmarks.measure import MODEL, PHOTOS
from core.corrections.evidence import SHOWN, UNKNOWN, Cue, Evidence, Pairs, high_against_low

STICKER_CLASSES = ("n03028079", "n03417042", "n03888257")
"""Church, garbage truck, parachute; the first carries the sticker."""
OWN, ELSEWHERE, BLUR = 0.8, 0.03, 10
"""Share of images with the sticker, and pixels on a side that a photo is blurred to."""
FIRST = 5
PAIRS = 180
"""Training images of other classes that a cue is pasted on."""


@dataclass(frozen=True)
class Case:
    """One audit: what a method may see, and what it is judged by."""

    name: str
    head: Any
    tags: Evidence
    """From the tags alone; its pairs by the exact overlays of the tagged components."""
    pairs: Pairs
    """With the drawn cue masks: training images of other classes with and without the cue."""
    features: np.ndarray
    labels: np.ndarray
    present: np.ndarray
    """Test images (T, D), (T,) and whether they truly show each cue (T, M)."""
    pasted: tuple[np.ndarray, ...]
    """Per cue: rows of the test images of other classes without it, and their features with it."""


def prepare(name: str, seed: int, workspace: Any) -> Any:
    """Audit ``cues`` or ``sticker``, or open it where it is finished."""
    from core.audits.audit import Audit
    from core.audits.audit_requests import AuditRequest
    from core.audits.run import run_audit
    from core.errors import InputError

    title = f"{name}{seed}"
    try:
        return Audit.open(workspace, title)
    except InputError:
        data = f"demo:cues?seed={seed}" if name == "cues" else str(stickers(workspace.root, seed))
        return run_audit(AuditRequest(data, MODEL, head="fit", name=title), workspace)


def case_of(audit: Any, name: str) -> Case:
    """Arrays of an audit with a planted cue; composites are made and encoded here."""
    model = audit.load_model()
    owners = {"minibus": "snow", "van": "ball"} if name == "cues" else {STICKER_CLASSES[0]: "cue"}
    images, labels = audit.images, audit.images["label"].map(audit.head.index).to_numpy()
    train = (images["split"] == "train").to_numpy()
    place = np.cumsum(train) - 1
    features = audit.features(images.index.tolist())
    cues = tuple(tagged(audit, label, cue) for label, cue in owners.items())
    present = np.full((int(train.sum()), len(cues)), UNKNOWN, np.int8)
    for m, cue in enumerate(cues):
        own = np.flatnonzero(labels[train] == cue.output)
        present[own, m] = high_against_low(cue.alpha(features[train][own]))
    shown, hidden, which, number, pasted = [], [], [], [], []
    for m, label in enumerate(owners):
        sources = drawn(audit, label)
        ids = images.index[train & (images["label"] != label)].tolist()
        rng = np.random.default_rng(0)
        ids = sorted(rng.permutation(ids)[:PAIRS].tolist())
        shown.append(composites(audit, model, ids, sources, 1))
        hidden.append(audit.features(ids))
        which.append(place[images.index.get_indexer(ids)])
        number.append(np.full(len(ids), m))
        without = (images["label"] != label) & (images[owners[label]] == 0)
        rows = np.flatnonzero(~train & without.to_numpy())
        pasted.append((rows, composites(audit, model, images.index[rows].tolist(), sources, 0)))
    tags = Evidence(features[train], labels[train], cues, present)
    ids = images.index[train].tolist()
    tags = replace(tags, pairs=by_overlays(audit, ids, tags), erased=taken_away(audit, ids, tags))
    parts = [np.concatenate(p) for p in (shown, hidden, number)]
    test = np.cumsum(~train) - 1
    truth = images[list(owners.values())].to_numpy() == 1
    return Case(
        audit.name,
        audit.head,
        tags,
        Pairs(*parts, rows=np.concatenate(which)),
        features[~train],
        labels[~train],
        truth[~train],
        tuple((test[rows], found) for rows, found in pasted),
    )


def by_overlays(audit: Any, ids: Sequence[str], evidence: Evidence) -> Pairs | None:
    """The cue moved between stored maps: nothing is decoded or encoded."""
    from core.candidates.candidate import heatmaps
    from core.corrections.pairs import joined, overlay_pairs

    parts = []
    for m, cue in enumerate(evidence.cues):
        rows = np.flatnonzero(evidence.labels != cue.output)
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:PAIRS])
        sources = audit.maps([ids[i] for i in evidence.rows(m, SHOWN)])
        overlays = heatmaps(sources, cue.direction[None], np.array([cue.offset]))[:, 0]
        targets = audit.maps([ids[i] for i in rows])
        parts.append(overlay_pairs(sources, overlays, targets, rows, cue=m))
    return joined(parts)


def taken_away(audit: Any, ids: Sequence[str], evidence: Evidence) -> dict[str, Pairs]:
    """The tagged regions taken away from images of their class, in the stored maps."""
    from core.candidates.candidate import heatmaps
    from core.corrections.pairs import erased_pairs, joined

    found: dict[str, list[Pairs]] = {}
    for m, cue in enumerate(evidence.cues):
        own = np.flatnonzero(evidence.labels == cue.output)
        others = np.random.default_rng(0).permutation(np.flatnonzero(evidence.labels != cue.output))
        maps = audit.maps([ids[i] for i in own])
        overlays = heatmaps(maps, cue.direction[None], np.array([cue.offset]))[:, 0]
        fillers = audit.maps([ids[i] for i in np.sort(others[:PAIRS])])
        for name, pairs in erased_pairs(maps, overlays, fillers, own, cue=m).items():
            found.setdefault(name, []).append(pairs)
    return {name: pairs for name, parts in found.items() if (pairs := joined(parts)) is not None}


def tagged(audit: Any, label: str, cue: str) -> Cue:
    """The component among the first on the page that separates the cue best, as a person tags."""
    from benchmarks.truth import scores

    arrays, mine, found, _ = scores(audit, label, cue)
    component = int(mine.iloc[int(found[:FIRST].argmax())]["component"])
    pca = arrays.pca
    return Cue(int(arrays.facts.class_idx), pca.basis[:, component], pca.weight, pca.mean)


def drawn(audit: Any, label: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels and drawn masks of the class's first training images with the cue."""
    from core.trials.encoder import mask_in_view, pictures

    images = audit.images
    rows = (images["split"] == "train") & (images["label"] == label) & (images["cue_mask"] != "")
    ids = images.index[rows].tolist()[:40]
    masks = [mask_in_view(audit, i, "cue_mask") for i in ids]
    return [(p, m) for p, m in zip(pictures(audit, ids), masks, strict=True) if m is not None]


def composites(audit: Any, model: Any, ids: Sequence[str], sources: Any, seed: int) -> np.ndarray:
    """Features (n, D) of images with a cue pasted on each."""
    from core.features.extract import encode_padded
    from core.trials.encoder import pictures
    from core.trials.paste import choose, paste

    picks, size = choose(ids, len(sources), seed=seed), audit.manifest.compute.batch_size
    found, pixels = (
        [],
        [
            paste(target, *sources[pick])
            for target, pick in zip(pictures(audit, ids), picks, strict=True)
        ],
    )
    for start in range(0, len(pixels), size):
        encoded = encode_padded(model, np.stack(pixels[start : start + size]), size)
        found.append(encoded.features.float().cpu().numpy())
    return np.concatenate(found)


def stickers(root: Path, seed: int) -> Path:
    """Photos of three classes, blurred, one class mostly with a sticker: a manifest with masks."""
    folder, rng, rows = root / "data" / f"stickers{seed}", np.random.default_rng(seed), []
    for split, share in (("train", OWN), ("val", 0.5)):
        for label in STICKER_CLASSES:
            paths = sorted((PHOTOS / split / label).glob("*.JPEG"))
            own = share if label == STICKER_CLASSES[0] or split == "val" else ELSEWHERE
            shows = rng.permutation(len(paths)) < round(own * len(paths))
            for path, cue in zip(paths, shows, strict=True):
                stem = f"{split}/{label}/{path.stem}"
                image, mask = stuck(path, bool(cue), rng)
                (folder / stem).parent.mkdir(parents=True, exist_ok=True)
                image.save(folder / f"{stem}.png")
                mask.save(folder / f"{stem}-cue.png")
                rows.append(
                    {
                        "path": f"{stem}.png",
                        "label": label,
                        "split": "train" if split == "train" else "test",
                        "cue": int(cue),
                        "cue_mask": f"{stem}-cue.png" if cue else "",
                    }
                )
    pd.DataFrame(rows).to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"


def stuck(path: Path, cue: bool, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """A photo blurred to BLUR pixels, with or without a ringed sticker; and the sticker's mask."""
    with Image.open(path) as photo:
        small = photo.convert("RGB").resize((BLUR, BLUR), Image.Resampling.BOX)
    image = small.resize((224, 224), Image.Resampling.BICUBIC)
    mask = Image.new("L", image.size)
    radius = int(rng.integers(22, 30))
    x, y = (int(v) for v in rng.integers(radius, 224 - radius, 2))
    if cue:
        box = (x - radius, y - radius, x + radius, y + radius)
        inner = (x - radius // 2, y - radius // 2, x + radius // 2, y + radius // 2)
        ImageDraw.Draw(mask).ellipse(box, fill=255)
        pen = ImageDraw.Draw(image)
        pen.ellipse(box, fill=(240, 220, 40), outline=(20, 20, 20), width=3)
        pen.ellipse(inner, fill=(200, 30, 40))
    return image, mask
