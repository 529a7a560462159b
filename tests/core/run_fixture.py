"""What tests of a run share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from core.audits.audit import Audit
from core.config import FORMAT


def manifest_facts(**more: Any) -> dict[str, Any]:
    """A manifest with everything that one needs."""
    return {
        **{"id": "x", "name": "a", "created": "2026", "format": FORMAT, "state": "running"},
        **{"version": "", "fingerprint": "", "parts": {}, "data": {"source": "", "root": ""}},
        "model": {"name": "tiny:net", "checkpoint": None, "map_kind": "none", "notes": []},
        "preprocess": {
            **{"input_size": [32, 32], "crop_pct": 1.0, "interpolation": "bilinear"},
            **{"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        },
        "head": {"mode": "keep", "reason": ""},
        "compute": {"device": "cpu", "precision": "fp32", "batch_size": 4, "reason": ""},
        **more,
    }


def by_id(audit: Audit) -> dict[str, bytes]:
    ids = audit.images.index.tolist()
    return {i: row.tobytes() for i, row in zip(ids, audit.features(ids), strict=True)}


def manifest_of(folder: Path, **columns: Any) -> Path:
    paths = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.jpg"))
    frame = pd.DataFrame({"path": paths})
    frame["label"], frame["split"] = frame["path"].str.split("/").str[1], frame["path"].str[:5]
    frame = frame.assign(**columns).sample(frac=1, random_state=3)
    frame.replace({"split": {"test/": "test"}}).to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"
