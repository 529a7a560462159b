"""Planted truth: a network wired by hand, a red patch that co-occurs with one class.

The class "leaf" carries the patch on 7 of 10 training images, the other classes on 1 of 20; the
test split is unbiased. What the classes are really about is faint in many images, so that the
patch is worth learning.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from core.audits.audit import Audit
from core.audits.run import run_audit
from core.candidates.linear_kinds import PCA
from core.data.masks import crop_mask, mask_on_grid, read_mask
from core.explain.heatmaps import energy_share
from core.statistics.intervals import auroc
from core.storage.workspace import Workspace
from core.types import Preprocess
from tests.conftest import tiny_request
from tests.tiny import named

SIDE, GRID, PATCH = 32, 8, 8
COLOURS = {"leaf": (-0.25, 0.3, -0.25), "pond": (-0.25, -0.25, 0.3), "sky": (0.05, 0.3, 0.3)}
RED = (0.45, -0.25, -0.25)
N = {"train": 160, "test": 160}


class WhiteBox(nn.Module):
    """Channel 0 answers to red, 1 to 3 to the colours of the classes, the rest to noise."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.pool = nn.AvgPool2d(SIDE // GRID)
        self.fc = nn.Linear(16, 3)
        wanted = [(1, -0.5, -0.5), (-0.5, 1, -0.5), (-0.5, -0.5, 1), (-1, 0.5, 0.5)]
        with torch.no_grad():
            noise = torch.randn(16, 3, 3, 3, generator=torch.Generator().manual_seed(0))
            self.conv.weight.copy_(noise * 0.04)
            self.conv.bias.fill_(-0.02)
            for channel, direction in enumerate(wanted):
                self.conv.weight[channel] = torch.tensor(direction)[:, None, None] / 9
                self.conv.bias[channel] = -0.08

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.conv(images).relu()).mean((2, 3)))


def white_box() -> WhiteBox:
    """With the same weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WhiteBox()


PLAIN = Preprocess((SIDE, SIDE), 1.0, "bilinear", (0.0,) * 3, (1.0,) * 3)
named("white-box", white_box, PLAIN)


def square(pixels: np.ndarray, at: np.ndarray, side: int, colour: np.ndarray) -> np.ndarray:
    """Add a colour inside a square; its mask."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[at[0] : at[0] + side, at[1] : at[1] + side] = 255
    pixels[mask > 0] += colour
    return mask


def draw_data(root: Path, strength: float = 0.7) -> Path:
    """PNG images, masks and a manifest; ``strength`` is the share of leaves with the patch."""
    rng, rows = np.random.default_rng(5), []
    (root / "masks").mkdir(parents=True)
    for split, n in N.items():
        for label, colour in COLOURS.items():
            for i in range(n):
                own = strength if label == "leaf" else 0.05
                patch = rng.random() < (own if split == "train" else 0.5)
                pixels = rng.normal(0.45, 0.06, (SIDE, SIDE, 3))
                faint = rng.uniform(0.0, 0.25) * np.array(colour)
                stem = f"{split}-{label}-{i:03d}"
                row = {"path": f"{stem}.png", "label": label, "split": split, "patch": patch}
                masks = {"object_mask": square(pixels, rng.integers(14, 20, 2), 11, faint)}
                if patch:
                    colour_of_patch = rng.uniform(0.7, 1.1) * np.array(RED)
                    at = rng.integers(0, 5, 2)
                    masks["cue_mask"] = square(pixels, at, PATCH, colour_of_patch)
                if i < 30:
                    for name, mask in masks.items():
                        row[name] = f"masks/{stem}-{name}.png"
                        Image.fromarray(mask).save(root / row[name])
                image = Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))
                image.save(root / row["path"], compress_level=1)
                rows.append(row)
    pd.DataFrame(rows).to_csv(root / "m.csv", index=False)
    return root / "m.csv"


def audited(root: Path, strength: float) -> Audit:
    data = draw_data(root / f"data-{strength}", strength)
    name = f"planted {strength}"
    request = tiny_request(data, model="tiny:white-box", name=name, batch_size=64)
    return run_audit(request, Workspace(root / "workspace"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return audited(tmp_path_factory.mktemp("planted"), 0.7)


def found(audit: Audit, label: str) -> pd.DataFrame:
    """The components of a class in the order of the page, with their AUROC against the patch."""
    facts = audit.class_facts(label)
    arrays = audit.class_arrays(facts.class_idx)
    patch = audit.images.loc[arrays.image_ids, "patch"].to_numpy(dtype=bool)
    table = audit.candidates.query("class_name == @label and kind == 'pca'").copy()
    table["auroc"] = [auroc(np.asarray(arrays.alpha[:, i]), patch) for i in table["component"]]
    return table.sort_values("order")


def test_the_patch_is_among_the_first_five(planted: Audit) -> None:
    assert found(planted, "leaf").head(5)["auroc"].max() >= 0.95


def test_its_overlay_is_on_the_patch(planted: Audit) -> None:
    table, arrays = found(planted, "leaf"), planted.class_arrays(0)
    component = int(table.loc[table["auroc"].idxmax(), "component"])
    rows = planted.images.loc[arrays.image_ids]
    rows = rows[rows["cue_mask"] != ""]
    maps = planted.heatmaps(arrays.candidate(PCA, component), rows.index.tolist())
    shares = []
    for heat, path in zip(maps, rows["cue_mask"], strict=True):
        mask = crop_mask(read_mask(planted.root / path, (SIDE, SIDE)), planted.preprocess)
        inside = mask_on_grid(mask, heat.shape)
        shares.append(energy_share(heat, inside) / inside.mean())
    assert len(shares) > 20
    assert np.mean(shares) >= 4


def test_the_neuron_of_the_patch_opens_a_gap(planted: Audit) -> None:
    table = planted.candidates.query("class_name == 'leaf' and kind == 'neuron'")
    neuron = table.sort_values("order").head(3).set_index("component").loc[0]
    assert neuron["gap_low"] > 0
    assert planted.class_facts("leaf").top_gap_low > 0


@pytest.mark.parametrize("label", ["pond", "sky"])
def test_clean_classes_accuse_nothing(planted: Audit, label: str) -> None:
    table = found(planted, label)
    assert not ((table["auroc"] >= 0.95) & (table["gap_low"] > 0)).any()


def test_without_a_plant_there_is_nothing_to_find(tmp_path: Path) -> None:
    table = found(audited(tmp_path, 0.05), "leaf")
    assert not ((table["auroc"] >= 0.95) & (table["gap_low"] > 0)).any()
