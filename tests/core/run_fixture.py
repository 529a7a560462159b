"""What tests of a run share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from core.audit import Audit


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
