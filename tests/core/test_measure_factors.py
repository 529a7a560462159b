"""The shape, texture and background test on an audit, by the command line."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from core.__main__ import main
from core.run import run_audit
from tests.conftest import tiny_request


@pytest.fixture
def masked(folder, tiny_model, workspace):
    """The red and blue squares with their masks."""
    mask = np.zeros((64, 64), np.uint8)
    mask[16:32, 16:32] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split", "object_mask"])
        for path in sorted(folder.rglob("*.jpg")):
            split, label, name = path.relative_to(folder).parts
            table.writerow([f"{split}/{label}/{name}", label, split, "mask.png"])
    request = replace(tiny_request(folder / "manifest.csv"), name="masked")
    return run_audit(request, workspace)


def test_colour_alone_decides_between_equal_squares_on_equal_noise(masked, workspace, capsys):
    where = ["--workspace", str(workspace.root)]
    assert main(["factors", "masked", "--json", *where]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 12
    assert found["main"]["texture"] > 0.9
    assert abs(found["main"]["shape"]) < 0.1
    assert abs(found["main"]["background"]) < 0.1
    assert main(["factors", "masked", "--class", "red", *where]) == 0
    assert capsys.readouterr().out.startswith("6 images, each put together in eight ways")


def test_without_masks_it_says_what_is_missing(folder, tiny_model, workspace, capsys):
    run_audit(tiny_request(folder), workspace)
    assert main(["factors", "tiny", "--workspace", str(workspace.root)]) == 2
    assert "add the column object_mask" in capsys.readouterr().err
