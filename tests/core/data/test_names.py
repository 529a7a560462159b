import subprocess
import sys
from pathlib import Path

import pytest

from core.data.names import definitions, display_names

pytest.importorskip("timm")


def test_first_name_of_wordnet_ids():
    assert display_names(["n01440764", "n02979186"]) == {
        "n01440764": "tench",
        "n02979186": "cassette player",
    }


def test_shared_names_are_told_apart():
    assert display_names(["n02012849", "n03126707", "n03710637", "n03710721"]) == {
        "n02012849": "crane (n02012849)",
        "n03126707": "crane (n03126707)",
        "n03710637": "maillot",
        "n03710721": "maillot (tank suit)",
    }
    assert display_names(["n02012849"]) == {"n02012849": "crane"}


def test_all_of_imagenet_has_distinct_names():
    from timm.data.imagenet_info import ImageNetInfo

    labels = ImageNetInfo().label_names()
    names = display_names(labels)
    assert len(names) == len(set(names.values())) == 1000


@pytest.mark.parametrize(
    "labels",
    [["black_cat", "dog"], ["n01440764", "other"], ["n99999999"], ["n0144076"], ["007"], []],
    ids=str,
)
def test_other_labels_stay(labels):
    assert display_names(labels) == {label: label for label in labels}


def test_definitions_without_the_names():
    found = definitions(["n01440764", "dog", "n99999999"])
    assert list(found) == ["n01440764"]
    assert found["n01440764"].startswith("freshwater dace-like game fish")
    assert definitions(["dog"]) == {}


def test_the_station_imports_nothing_heavy():
    code = (
        "import sys\n"
        "import core.data.open, core.data.names, core.data.check, core.data.masks\n"
        "from core.data.names import display_names\n"
        "display_names(['cat'])\n"
        "heavy = {'torch', 'torchvision', 'timm', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
