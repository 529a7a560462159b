"""Make the stored audits that the goldens are computed from, and the goldens themselves.

``python -m tests.golden.make`` draws a small data set, audits it with two small networks, tags,
measures and corrects, and packs images and workspace (without what can be drawn or locked again)
into ``stored.tar.gz``, and what every command says of them into ``expected/``. It is run only where
the format of an audit changes on purpose; a change of figures alone, which the body of its commit
explains, is made by ``python -m tests.golden.make expected``.
"""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from core.storage.files import remove, write_json
from core.types import Preprocess
from tests.tiny import named

HERE = Path(__file__).parent
STORED, EXPECTED = HERE / "stored.tar.gz", HERE / "expected"
PLACE = "/golden/data"
"""Where the images lie as far as the packed audits know."""
COLOURS = {"ant": (210, 60, 40), "bee": (40, 70, 210), "cat": (60, 180, 90)}
TRAIN, TEST, SIDE = 12, 8, 32
NOT_KEPT = ("pictures", "*.lock", "lock", ".*", "jobs", "tags.sqlite-*")


class Net(nn.Module):
    """One convolution, mean pooling, a linear head."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Conv2d(3, 10, 5, stride=8, padding=2), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(10, 4)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.fc(self.pool(self.body(images)).flatten(1))
        return found


HALF = Preprocess((SIDE, SIDE), 1.0, "bilinear", (0.5,) * 3, (0.5,) * 3)
for seed in range(2):
    named(str(seed), partial(Net, seed), HALF)


def draw(root: Path) -> Path:
    """Three classes with object masks; snow stands behind most ants of the training images."""
    rng = np.random.default_rng(11)
    rows = []
    for k, (label, colour) in enumerate(COLOURS.items()):
        for i in range(TRAIN + TEST):
            snow = i % 4 != 3 if k == 0 and i < TRAIN else i % 3 == 0
            pixels = rng.normal(200 if snow else 100, 12, (SIDE, SIDE, 3))
            x, y = (int(v) for v in rng.integers(2, 18, 2))
            pixels[y : y + 12, x : x + 12] = 100 + 0.3 * np.array(colour) + rng.normal(0, 22, 3)
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[y : y + 12, x : x + 12] = 255
            name = f"{k}-{i:02d}"
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(root / f"{name}.jpg", quality=80)
            Image.fromarray(mask).save(root / f"{name}-mask.png")
            split = "train" if i < TRAIN else "test"
            rows.append((f"{name}.jpg", label, split, f"{name}-mask.png", int(snow)))
    columns = ["path", "label", "split", "object_mask", "snow"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "manifest.csv", index=False)
    return root / "manifest.csv"


def audits(root: Path, data: Path) -> None:
    """Everything that an audit can hold, by the commands that people use."""
    run(root, "audit", "--data", str(data), "--model", "tiny:0", "--name", "first", *SETTINGS)
    run(root, "audit", "--data", str(data), "--model", "tiny:1", "--name", "second", *SETTINGS)
    for words in tags("first"):
        run(root, *words)
    run(root, "measure", "first", "--what", "all")
    run(root, "mitigate", "first", "--method", "pclarc", "--name", "projected")
    run(root, "mitigate", "first", "--method", "spufix", "--name", "fixed")
    run(root, "compare", "first", "second", "fixed", "--carry-tags-from", "first")
    run(root, "map", "first")
    run(root, "report", "first", "--out", str(root / "report.html"))


SETTINGS = (
    *("--head", "fit", "--components", "5", "--device", "cpu", "--precision", "fp32"),
    *("--batch-size", "8", "--workers", "1"),
)
TAGS = (
    ("ann", "ant", "component", "0", "spurious"),
    ("ben", "ant", "component", "0", "spurious"),
    ("ann", "ant", "component", "1", "core"),
    ("ann", "bee", "neuron", "3", "spurious"),
    ("ben", "bee", "neuron", "3", "core"),
    ("ann", "cat", "component", "1", "unsure"),
    ("ann", "bee", "component", "0", "spurious"),
)

COMMANDS: dict[str, tuple[str, ...]] = {
    "list": ("list",),
    **{f"show-{name}": ("show", name) for name in ("first", "fixed")},
    **{f"measure-{what}": ("measure", "first", "--what", what)
       for what in ("gap", "noise", "flip", "groups", "all")},
    "compare": ("compare", "first", "second", "fixed", "--stored"),
    "tags": ("tags", "list", "first", "--history"),
    "agreement": ("tags", "agreement", "first"),
    "report": ("report", "first", "--out", "{out}/r.html", "--quick"),
}  # fmt: skip
"""What is asked of the stored audits; every command prints JSON."""

EXPORTS = ("images", "components", "alpha", "features", "heatmaps")


def run(root: Path, *arguments: str) -> Any:
    """One command in this process; its JSON. Its error ends the making."""
    import io
    from contextlib import redirect_stderr, redirect_stdout
    from unittest.mock import patch

    from core.__main__ import main
    from core.trials import watermark

    out, err = io.StringIO(), io.StringIO()
    without = patch.object(watermark, "available", lambda: False)  # as on any other machine
    with without, redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([*arguments, "--workspace", str(root), "--json"])
        except SystemExit as error:  # of the parser
            code = int(error.code or 0)
    if code:
        raise SystemExit(f"{' '.join(arguments)}: {err.getvalue()}")
    return json.loads(out.getvalue())


@contextmanager
def opened() -> Iterator[Path]:
    """A copy of what is stored: ``workspace`` and ``data`` below the folder; to be changed."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(STORED) as archive:
            archive.extractall(folder, filter="data")
        root = Path(folder)
        for path in (root / "workspace" / "audits").glob("*/manifest.json"):
            moved = path.read_text("utf-8").replace(PLACE, str(root / "data"))
            write_json(path, json.loads(moved))
        tagged(root / "workspace")
        yield root


def tagged(root: Path) -> None:
    """What people said of the stored audits, said again: their log was packed before its end.

    The tables of measures go, so that figures are counted from the stored trials every time.
    """
    for name in ("first", "second", "fixed"):
        for words in tags(name):
            run(root, *words)
    for part in ("lean", "subsets"):  # trials that are younger than the audits
        run(root, "measure", "first", "--what", part)
    for path in (root / "audits").glob("*/measures/*.parquet"):
        remove(path)


def tags(audit: str) -> Iterator[tuple[str, ...]]:
    """The commands that tag an audit."""
    for who, label, kind, number, tag in TAGS:
        yield ("tags", "add", audit, "--class", label, f"--{kind}", number, "--tag", tag,
               "--annotator", who)  # fmt: skip


def answers(root: Path) -> dict[str, Any]:
    """What every command and export says of the audits of a workspace, as JSON."""
    from core.audits.audit import Audit
    from core.corrections.corrected import effect_table
    from core.storage.workspace import Workspace

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in COMMANDS.items():
            found[name] = run(root, *(word.format(out=folder) for word in words))
        for what in EXPORTS:
            found[f"export-{what}"] = exported(root, what, Path(folder))
    for name in ("projected", "fixed"):
        table = effect_table(Audit.open(Workspace(root), name))
        found[f"effect-{name}"] = records(table)
    for name, table in corrected(root):
        found[f"effect-again-{name}"] = records(table)
    return {name: without_places(value) for name, value in found.items()}


def records(table: pd.DataFrame) -> Any:
    """The rows of a table as JSON."""
    return json.loads(table.to_json(orient="records", double_precision=15))


def corrected(root: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """The table before and after, counted anew from the stored trials."""
    from core.audits.audit import Audit
    from core.corrections.effect import Effect, effects
    from core.storage.workspace import Workspace
    from core.tags.decisions import decided
    from core.tags.log import TagStore

    workspace = Workspace(root)
    before, after = (Audit.open(workspace, name) for name in ("first", "fixed"))
    decisions = decided(before, TagStore.open(workspace))
    acted_on = frozenset(after.manifest.mitigation.cues)
    for name, attribute in (("spuriosity", None), ("snow", "snow")):
        effect = Effect(before, after, decisions, acted_on, attribute)
        yield name, effects(effect, pictures=True)


def exported(root: Path, what: str, folder: Path) -> Any:
    """One export as JSON: a table's rows, or arrays by name."""
    more = ("--component", "0") if what == "heatmaps" else ()
    ending = ".npz" if what in ("features", "heatmaps") else ".csv"
    path = folder / f"{what}{ending}"
    chosen = () if what in ("images", "features", "components") else ("--class", "ant")
    run(root, "export", "first", what, "--out", str(path), *chosen, *more)
    if ending == ".csv":
        return records(pd.read_csv(path))
    with np.load(path, allow_pickle=False) as arrays:
        return {name: np.asarray(arrays[name]).tolist() for name in sorted(arrays.files)}


PLACES = {
    *("root", "path", "files", "folder", "source", "workspace", "created", "at", "bytes"),
    *("seconds", "load"),
}
"""Entries that say where and when, not what."""


def without_places(value: Any) -> Any:
    """A document without places, times and what a machine's speed decides."""
    if isinstance(value, dict):
        return {k: without_places(v) for k, v in value.items() if k not in PLACES}
    if isinstance(value, list):
        return [without_places(v) for v in value]
    return value


def make_stored() -> None:
    """Draw, audit, tag, measure, correct; pack the images and the workspace."""
    with tempfile.TemporaryDirectory() as folder:
        data, workspace = Path(folder) / "data", Path(folder) / "workspace"
        data.mkdir()
        audits(workspace, draw(data))
        (workspace / "report.html").unlink()
        for path in (workspace / "audits").glob("*/manifest.json"):
            write_json(path, json.loads(path.read_text("utf-8").replace(str(data), PLACE)))
        with tarfile.open(STORED, "w:gz") as archive:
            for name in ("data", "workspace"):
                archive.add(Path(folder) / name, name, filter=_kept)


def _kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what can be drawn or locked again, and whose machine it was."""
    name = Path(entry.name).name
    if any(fnmatch(name, pattern) for pattern in NOT_KEPT):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def make_expected() -> None:
    """Ask the stored audits everything; keep the answers."""
    shutil.rmtree(EXPECTED, ignore_errors=True)
    EXPECTED.mkdir()
    with opened() as root:
        for name, value in answers(root / "workspace").items():
            text = json.dumps(value, ensure_ascii=False, indent=0, sort_keys=True)
            (EXPECTED / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["expected"]:
        make_stored()
    make_expected()
