"""Is it the data: planted wrong labels, copies and cheap shortcuts over real photos."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from benchmarks.measure import MODEL, PHOTOS, Line
from benchmarks.planted_cues import STICKER_CLASSES, case_of, prepare

FLIPS, SEEDS = 0.08, range(3)
COPIES = 210
MANY = 100_000
OWN, ELSEWHERE = 0.9, 0.1
"""Share of images with a planted property in its class and in the others."""


def run() -> list[Line]:
    """Everything that needs the photos; without them nothing."""
    from core.storage.workspace import Workspace

    if not PHOTOS.is_dir():
        return []
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "workspace")
        lines = [*labels(workspace), *without_the_cue(workspace), *copies(workspace)]
        return [*lines, *shortcuts(workspace, Path(folder)), *many()]


def photographed(workspace: Any, data: Path | str, name: str) -> Any:
    """An audit of some images, its head fitted."""
    from core.audits.audit_requests import AuditRequest
    from core.audits.run import run_audit

    return run_audit(AuditRequest(str(data), MODEL, head="fit", name=name), workspace)


def labels(workspace: Any) -> Iterator[Line]:
    """Flipped labels of the real photos, doubted by a probe out of fold."""
    from scipy.special import softmax

    from core.models.head import fit_probe
    from core.statistics.confident_learning import problems

    audit = photographed(workspace, PHOTOS, "photos")
    names, true = np.unique(audit.images["label"].to_numpy(str), return_inverse=True)
    features, found = audit.features(audit.images.index.tolist()), []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        flip = rng.random(len(true)) < FLIPS
        given = np.where(flip, (true + rng.integers(1, len(names), len(true))) % len(names), true)
        probe = fit_probe(features, given, len(names))
        doubted = problems(given, softmax(probe.oof_logits, axis=1))
        found.append((doubted[flip].mean(), flip[doubted].mean()))
    recall, precision = np.mean(found, axis=0)
    what = f"8 % of {len(true):,} labels flipped, mean of {len(SEEDS)} draws"
    yield Line(f"{what}: recall of the doubts", float(recall), ">= 0.7", "", bool(recall >= 0.7))
    yield Line(f"{what}: precision", float(precision), ">= 0.9", "", bool(precision >= 0.9))


def without_the_cue(workspace: Any) -> Iterator[Line]:
    """Right labels that are doubted, by whether the image shows its class's cue."""
    from scipy.special import softmax

    from core.corrections.head_methods import mitigate
    from core.statistics.confident_learning import problems

    case = case_of(prepare("sticker", 0, workspace), "sticker")
    own = case.labels == case.tags.cues[0].output
    after = mitigate("pclarc", case.head, case.tags, 1.0)
    for title, head in (("before", case.head), ("after P-ClArC", after)):
        logits = head.logits(case.features)
        doubted = problems(case.labels, softmax(logits, axis=1))
        for word, shows in (("with", case.present[:, 0]), ("without", ~case.present[:, 0])):
            share = float(doubted[own & shows].mean())
            what = f"sticker on 80 % of one class, {title}: right labels doubted, {word} the cue"
            yield Line(what, share, "for information")


def copies(workspace: Any) -> Iterator[Line]:
    """Scaled, compressed and cut copies of the photos, put into the other split."""
    from core.quality.near_duplicates import near_duplicates

    root = workspace.root.parent / "copies"
    photos, rng = sorted(PHOTOS.rglob("*.JPEG")), np.random.default_rng(0)
    rows = [(str(path), path.parent.name, path.parent.parent.name) for path in photos]
    made: dict[str, str] = {}
    for i, row in enumerate(rng.choice(len(photos), COPIES, replace=False)):
        path, label, split = rows[row]
        copy = root / f"{i:03d}.jpg"
        copied(Path(path), copy, i % 3)
        made[str(copy)] = path
        rows.append((str(copy), label, "val" if split == "train" else "train"))
    pd.DataFrame(rows, columns=["path", "label", "split"]).to_csv(root / "m.csv", index=False)
    audit = photographed(workspace, root / "m.csv", "copies")
    found = near_duplicates(audit)
    places = [str((audit.root / path).resolve()) for path in found["path"]]
    group = dict(zip(places, found["group"], strict=True))
    right = sum(group.get(copy, -1) == group.get(path, -2) for copy, path in made.items())
    recall, groups = right / COPIES, found["group"].nunique()
    what = f"{COPIES} copies among {len(rows):,} photos"
    yield Line(f"{what}: recall", recall, ">= 0.95", "", recall >= 0.95)
    precision = right / groups
    said = f"{what}: precision (real copies among the photos count as wrong)"
    yield Line(said, precision, ">= 0.95", "", precision >= 0.95)


def copied(path: Path, copy: Path, way: int) -> None:
    """Scaled to 60 %, compressed at quality 35, or cut by 5 % at the left and the top."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(path) as photo:
        image = photo.convert("RGB")
    width, height = image.size
    if way == 0:
        image = image.resize((round(0.6 * width), round(0.6 * height)))
    elif way == 2:
        image = image.crop((round(0.05 * width), round(0.05 * height), width, height))
    image.save(copy, quality=35 if way == 1 else 92)


def tinted(image: Image.Image) -> Image.Image:
    """A third orange."""
    return Image.blend(image, Image.new("RGB", image.size, (255, 120, 0)), 0.35)


def framed(image: Image.Image) -> Image.Image:
    """In a white frame."""
    return ImageOps.expand(image.crop((16, 16, 208, 208)), 16, (250, 250, 250))


def same(image: Image.Image) -> Image.Image:
    """As it is."""
    return image


PLANTED: dict[str, tuple[Callable[[Image.Image], Image.Image], int, int, tuple[str, ...]]] = {
    "tint": (tinted, 92, 92, ("colour", "brightness", "contrast")),
    "frame": (framed, 92, 92, ("border",)),
    "JPEG quality": (same, 20, 92, ("jpeg quality", "file bytes")),
    "size of the file": (same, 75, 97, ("file bytes", "jpeg quality")),
    "nothing": (same, 92, 92, ()),
}
"""What is done to an image, the quality it is saved with then and else, and the rows to find."""


def shortcuts(workspace: Any, root: Path) -> Iterator[Line]:
    """Properties planted on one of three classes: whether they are called, and what else is."""
    from core.quality.cheap_shortcuts import SHORTCUT, cheap_shortcuts

    for name, (_, _, _, rows) in PLANTED.items():
        audit = photographed(workspace, drawn(root / name, name), name)
        found = cheap_shortcuts(audit).set_index("property")
        if rows:
            called = found.loc[[row for row in rows if row in found.index], "tells_label"]
            yield Line(f"planted {name}: found", float(called.any()), "1", "", bool(called.any()))
        n = float((found["reading"] == SHORTCUT).sum())
        yield Line(f"planted {name}: properties called shortcut", n, "for information")
    yield shuffled(audit)


def drawn(root: Path, name: str) -> Path:
    """Photos of three classes in which one class has the property."""
    change, with_it, without, _ = PLANTED[name]
    rng = np.random.default_rng(1)
    for split, fits in (("train", True), ("val", False)):
        for label in STICKER_CLASSES:
            own = OWN if label == STICKER_CLASSES[0] else ELSEWHERE
            for path in sorted((PHOTOS / split / label).glob("*.JPEG")):
                has = rng.random() < (own if fits else 0.5 * own + 0.25)
                out = root / split / label / f"{path.stem}.jpg"
                out.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(path) as photo:
                    image = ImageOps.fit(photo.convert("RGB"), (224, 224))
                (change(image) if has else image).save(out, quality=with_it if has else without)
    return root


def shuffled(audit: Any) -> Line:
    """Rows that are called where labels and errors are shuffled."""
    from core.quality.cheap_shortcuts import properties
    from core.quality.image_files import files_of
    from core.statistics.binned import errors_told, label_told
    from core.statistics.multiplicity import corrected

    rng, called, rows = np.random.default_rng(0), 0, 0
    bins = [found.bins for found in properties(audit, files_of(audit))]
    truth = np.unique(audit.images["label"].to_numpy(str), return_inverse=True)[1]
    for seed in range(20):
        classes = rng.permutation(truth)
        wrong = (rng.random(len(classes)) < 0.3).astype(float)
        for told in (
            [label_told(one, classes, seed=seed).p for one in bins],
            [errors_told(one, wrong, classes, seed=seed).p for one in bins],
        ):
            called += int((corrected(told, "fdr_bh") <= 0.05).sum())
            rows += len(told)
    share = called / rows
    return Line("labels and errors shuffled: rows called", share, "<= 0.05", "", share <= 0.05)


def many() -> Iterator[Line]:
    """Copies among as many images as ImageNet has for testing, of noise."""
    from core.statistics.twins import alike

    rng = np.random.default_rng(0)
    hashes = np.array([rng.bytes(8).hex() for _ in range(MANY)])
    features = rng.normal(size=(MANY, 256)).astype(np.float32)
    began = time.perf_counter()
    found = alike(hashes, features)
    seconds = time.perf_counter() - began
    yield Line(f"{MANY:,} images without a copy: seconds", seconds, "< 60", "s", seconds < 60)
    n = float(len(found.first))
    yield Line(f"{MANY:,} images without a copy: pairs called", n, "<= 1", "", n <= 1)
