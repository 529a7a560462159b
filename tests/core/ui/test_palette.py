"""The palette: one in all places, and told apart by people who are colour-blind."""

from __future__ import annotations

import re
import tomllib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from core.explain import overlays as pictures
from core.report import charts as report
from core.ui.kit.palette import CLASSES, CORE, LOWERS, NEUTRAL, RAISES, SEQUENTIAL, SPURIOUS

ROOT = Path(__file__).resolve().parents[3]
SIMULATED = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""Linear RGB as seen with full severity (Machado, Oliveira & Fernandes 2009, table 1)."""

SEEN = 15.0
"""CIE76 difference that is seen at a glance; a just noticeable one is about 2.3."""


def linear(colour: str) -> np.ndarray:
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB under D65 of linear RGB."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = (to_xyz @ np.clip(rgb, 0, 1)) / [0.95047, 1.0, 1.08883]
    f = [np.cbrt(v) if v > (6 / 29) ** 3 else v / (3 * (6 / 29) ** 2) + 4 / 29 for v in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def difference(one: str, other: str, sight: str) -> float:
    matrix = np.asarray(SIMULATED[sight])
    return float(np.linalg.norm(lab(matrix @ linear(one)) - lab(matrix @ linear(other))))


def test_white_and_black_are_a_hundred_apart() -> None:
    assert difference("#ffffff", "#000000", "normal") == pytest.approx(100, abs=0.1)


def test_red_and_green_are_confused_as_they_should_be() -> None:
    red, green = "#c83232", "#6e6e00"
    assert difference(red, green, "deuteranopia") < 0.4 * difference(red, green, "normal")


@pytest.mark.parametrize("sight", SIMULATED)
def test_classes_are_told_apart(sight: str) -> None:
    for one, other in combinations([*CLASSES, NEUTRAL], 2):
        assert difference(one, other, sight) > SEEN, (one, other)


@pytest.mark.parametrize("sight", SIMULATED)
def test_signs_are_told_apart(sight: str) -> None:
    assert difference(RAISES, LOWERS, sight) > 3 * SEEN


@pytest.mark.parametrize("sight", SIMULATED)
@pytest.mark.parametrize("page", [0, 1], ids=["light", "dark"])
def test_core_and_spurious_are_told_apart(sight: str, page: int) -> None:
    assert difference(CORE[page], SPURIOUS[page], sight) > 2 * SEEN


@pytest.mark.parametrize("page", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("colour", [CORE, SPURIOUS], ids=["core", "spurious"])
def test_words_on_core_and_spurious_can_be_read(colour: tuple[str, str], page: int) -> None:
    """WCAG 2.2: at least 4.5 of the words on a button, and of its rim on the page."""
    paper = ("#ffffff", "#0b131c")[page]
    light, dark = sorted(
        (float(np.dot([0.2126, 0.7152, 0.0722], linear(c))) for c in (colour[page], paper)),
        reverse=True,
    )
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_buttons_have_the_colours_of_core_and_spurious() -> None:
    for file, names in (("app.css", ("tag", "tag")), ("gallery.css", ("core", "spurious"))):
        css = (ROOT / "assets" / file).read_text(encoding="utf-8")
        for name, (light, dark) in zip(names, (CORE, SPURIOUS), strict=True):
            assert f"--{name}: light-dark({light}, {dark});" in css


@pytest.mark.parametrize("sight", SIMULATED)
def test_a_sequence_gets_lighter(sight: str) -> None:
    matrix = np.asarray(SIMULATED[sight])
    lightness = [lab(matrix @ linear(colour))[0] for _, colour in SEQUENTIAL]
    assert np.all(np.diff(lightness) > 10)


def test_every_place_has_the_same_colours() -> None:
    heat = ["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in (pictures.RAISES, pictures.LOWERS)]
    assert heat == [RAISES, LOWERS]
    assert [report.HARM, report.OTHER] == [RAISES, LOWERS]
    ramp = re.search(r"linear-gradient\((.*?)\)", (ROOT / "assets/gallery.css").read_text())
    assert ramp is not None
    assert ramp[1] == f"90deg, {LOWERS}, transparent, {RAISES}"
    theme = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())["theme"]
    assert theme["chartCategoricalColors"] == [*CLASSES, NEUTRAL]


def test_no_page_has_a_colour_of_its_own() -> None:
    for path in [*(ROOT / "core" / "ui").rglob("*.py"), *(ROOT / "pages").glob("*.py")]:
        if path.name != "palette.py":
            found = re.findall(r"#[0-9a-fA-F]{6}\b", path.read_text(encoding="utf-8"))
            assert not found, f"{path.name}: {found}"
