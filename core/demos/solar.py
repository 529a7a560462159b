"""`demo:solar`: real photographs of solar cells, chosen so that the type of cell is a shortcut.

The images are the electroluminescence photographs of the PyPI package ``elpv-dataset``: 2,624
cells, each with a probability of being defective and its type, mono- or polycrystalline. Licence of
the images: CC BY-NC-SA 4.0 (not for commercial use); cite Buerhop-Lutz et al. 2018, Deitsch et al.
2019 and 2021. The probabilities are 0, 1/3, 2/3 and 1; from 0.5 on a cell counts as ``defective``.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.demos.catalogue import Demo
from core.demos.listed import Planted, check_count, write_list
from core.errors import DataError
from core.types import TRAIN, Progress, Reporter

if TYPE_CHECKING:
    from core.types import IntArray

LABELS = ("defective", "functional")
TYPES = ("mono", "poly")
USUAL_TYPE = {"defective": "mono", "functional": "poly"}
"""The type that gives each class away in the training split."""
DEFECTIVE_FROM = 0.5
TEST_SHARE = 0.4
COLUMNS = ("path", "label", "split", "cell_type")
LICENCE = "Images: elpv-dataset, CC BY-NC-SA 4.0, not for commercial use."


@dataclass(frozen=True)
class Cells:
    """The whole of elpv-dataset, one entry per cell."""

    files: tuple[Path, ...]
    """PNG file of each cell, 300 by 300 grey values."""
    label: np.ndarray[Any, np.dtype[np.str_]]
    cell_type: np.ndarray[Any, np.dtype[np.str_]]


def load() -> Cells:
    """Read the list of cells from the installed package."""
    try:
        folder = Path(str(resources.files("elpv_dataset"))) / "data"
    except ImportError as error:
        raise DataError(
            "demo:solar needs the package elpv-dataset; run `pip install elpv-dataset`."
        ) from error
    try:
        rows = [line.split() for line in (folder / "labels.csv").read_text("utf-8").splitlines()]
        files, probability, cell_type = zip(*(row for row in rows if row), strict=True)
    except (OSError, ValueError) as error:
        raise DataError(
            f"demo:solar cannot read {folder / 'labels.csv'}; "
            "run `pip install --force-reinstall elpv-dataset`."
        ) from error
    defective = np.asarray(probability, dtype=float) >= DEFECTIVE_FROM
    return Cells(
        files=tuple(folder / file for file in files),
        label=np.where(defective, *LABELS),
        cell_type=np.asarray(cell_type),
    )


def choose(
    cells: Cells, *, seed: int, bias: float, per_class: int
) -> dict[tuple[str, str, str], IntArray]:
    """Choose cells so that type predicts the label in training and says nothing in the test.

    Parameters
    ----------
    cells : what there is to choose from.
    seed : start of the random choice.
    bias : share of a class's training images that are of its usual type; 0.5 is unbiased.
    per_class : images per class, training and test together. Fewer are taken where the package has
        too few cells of a kind; the shares stay as planned.

    Returns
    -------
    Indices into ``cells`` by (split, label, type); no cell is in two places.
    """
    if not 0.5 <= bias <= 1:
        raise DataError(f"demo:solar: bias {bias} is outside 0.5 to 1; try 0.9.")
    check_count("solar", per_class, least=20)
    rng = np.random.default_rng(seed)
    pools = {
        (label, kind): rng.permutation(
            np.flatnonzero((cells.label == label) & (cells.cell_type == kind))
        )
        for label in LABELS
        for kind in TYPES
    }
    size = _largest(pools, bias, per_class)
    return {
        (split, *key): pool[start : start + count]
        for key, pool in pools.items()
        for split, start, count in _cuts(*key, bias, size)
    }


def _cuts(label: str, kind: str, bias: float, size: int) -> list[tuple[str, int, int]]:
    """Split, start and number of the cells that a class takes of one type."""
    half = round(size * TEST_SHARE / 2)
    share = bias if USUAL_TYPE[label] == kind else 1 - bias
    return [("test", 0, half), (TRAIN, half, round((size - 2 * half) * share))]


def _largest(pools: dict[tuple[str, str], IntArray], bias: float, wanted: int) -> int:
    def fits(size: int) -> bool:
        needs = {key: sum(cut[2] for cut in _cuts(*key, bias, size)) for key in pools}
        return all(need <= len(pools[key]) for key, need in needs.items())

    return next(size for size in range(wanted, -1, -1) if fits(size))


def write(
    folder: Path, report: Reporter, *, seed: int = 0, bias: float = 0.9, per_class: int = 480
) -> None:
    """Write the chosen cells as PNG files into an empty folder; options as in `choose`."""
    cells = load()
    chosen = choose(cells, seed=seed, bias=bias, per_class=per_class)
    cases = [(*key, int(i)) for key, indices in chosen.items() for i in indices]
    rows = []
    for split, label, kind, index in sorted(cases):
        path = f"images/{split}/{label}/{index:04d}.png"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(cells.files[index], folder / path)
        rows.append(dict(zip(COLUMNS, (path, label, split, kind), strict=True)))
        report(Progress("Writing the demo images", len(rows), len(cases)))

    write_list(folder, COLUMNS, rows, planted(bias))


def planted(bias: float) -> dict[str, Planted]:
    """Say what the choice of cells planted in each class; see `core.demos.listed.Planted`."""
    long = {"mono": "monocrystalline", "poly": "polycrystalline"}
    return {
        label: Planted(
            cue="cell_type",
            value=kind,
            kind="background",
            where=None,
            note=(
                f"{bias:.0%} of its training images show {long[kind]} cells; in the test both "
                f"types are equally frequent. {LICENCE}"
            ),
            rate_own=bias,
            rate_elsewhere=round(1 - bias, 6),
        )
        for label, kind in USUAL_TYPE.items()
    }


DEMO = Demo(
    name="solar",
    text="960 of the 2,624 real photographs of solar cells in elpv-dataset (CC BY-NC-SA 4.0), "
    "chosen so that in training the type of cell gives away whether it is defective.",
    write=write,
    options={"seed": 0, "bias": 0.9, "per_class": 480},
)
