"""The planted truth of ``demo:cues`` against what the audit finds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import MODEL, Line

FIRST = 5


def run() -> list[Line]:
    """Audit the demo afresh and hold it against its planted truth."""
    from core.audits.audit_requests import AuditRequest
    from core.audits.run import run_audit
    from core.storage.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        request = AuditRequest("demo:cues", MODEL, head="fit")
        return hold(run_audit(request, Workspace(Path(folder))))


def hold(audit: Any) -> list[Line]:
    """Every line about one audit of a rendered demo."""
    planted = {k: v for k, v in audit.summary.planted.items() if isinstance(v, dict)}
    cues = sorted({truth["cue"] for truth in planted.values() if truth.get("cue")})
    lines = []
    for label, truth in planted.items():
        if truth.get("cue"):
            lines += owner(audit, label, truth)
        else:
            lines += clean(audit, label, cues)
    return lines


def scores(audit: Any, label: str, cue: str) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """The class's arrays, components in page order, and AUROC of each against a cue."""
    from core.statistics.intervals import auroc

    arrays = audit.class_arrays(audit.class_facts(label).class_idx)
    table = audit.candidates
    mine = table[(table["class_idx"] == arrays.facts.class_idx) & (table["kind"] == "pca")]
    mine = mine.sort_values("order")
    shown = audit.images.loc[arrays.image_ids, cue].to_numpy() == 1
    found = np.array([auroc(arrays.alpha[:, c], shown) for c in mine["component"]])
    return arrays, mine, found, shown


def owner(audit: Any, label: str, truth: dict[str, Any]) -> list[Line]:
    """A class with a planted cue: found among the first, and its overlay lies on it."""
    arrays, mine, found, shown = scores(audit, label, truth["cue"])
    place = int(found[:FIRST].argmax())
    row = mine.iloc[place]
    share, ratio, best = energy(audit, arrays, row)
    rows = audit.images.loc[arrays.image_ids]
    held = rows["split"].to_numpy() != "train"
    right = rows["fair"].to_numpy(dtype=bool)
    with_cue, without = right[held & shown].mean(), right[held & ~shown].mean()
    name = f"{label}, cue {truth['cue']}"
    lines = [
        Line(
            f"{name}: AUROC of number {place + 1} on the page",
            found[place],
            ">= 0.95",
            "",
            found[place] >= 0.95,
        ),
        Line(f"{name}: gap of that component", float(row["gap"]), "", "points"),
        Line(
            f"{name}: accuracy with the cue minus without",
            100 * (with_cue - without),
            "> 0",
            "points",
            bool(with_cue > without),
        ),
        Line(f"{name}: share of the overlay's energy inside the cue", share, ""),
    ]
    if truth["kind"] == "background":
        holds = ratio >= 0.7 * best
        target = f">= {0.7 * best:.2g} (0.7 of the largest possible)"
    else:
        holds, target = ratio >= 4, ">= 4"
    lines.append(
        Line(f"{name}: that share over the cue's share of area", ratio, target, "x", holds)
    )
    return lines


def energy(audit: Any, arrays: Any, row: Any) -> tuple[float, float, float]:
    """Mean over the top images: energy inside the cue, its ratio to the area, 1 / area."""
    from core.data.masks import crop_mask, read_mask
    from core.explain.heatmaps import energy_share, upsample

    maps = arrays.top_maps_of(arrays.candidate("pca", int(row["component"])).key)
    found = []
    for image_id, heat in zip(row["top_image_ids"], maps, strict=False):
        image = audit.images.loc[image_id]
        if not image["cue_mask"]:
            continue
        size = (int(image["width"]), int(image["height"]))
        mask = crop_mask(read_mask(audit.root / image["cue_mask"], size), audit.preprocess)
        share = energy_share(upsample(heat, mask.shape), mask)
        found.append((share, share / mask.mean(), 1 / mask.mean()))
    share, ratio, best = np.mean(found, axis=0)
    return float(share), float(ratio), float(best)


def clean(audit: Any, label: str, cues: list[str]) -> list[Line]:
    """A clean class: no component both separates a cue and opens a certain gap."""
    accused = 0
    for cue in cues:
        _, mine, found, _ = scores(audit, label, cue)
        accused += int(((found >= 0.95) & (mine["gap_low"].to_numpy() > 0)).sum())
    return [Line(f"{label}, clean: components accused", accused, "0", "", accused == 0)]
