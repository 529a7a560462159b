"""Tables of images and files of tags as damage and odd programs leave them, seeded and bounded.

A sound manifest and a sound file of tags are changed in their bytes and in their cells; whatever
becomes of them is read, or refused in a sentence, within :data:`SECONDS`.

python -c "from benchmarks.attack_tables import attack; attack().lines('tables')"
"""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from types import FrameType

from PIL import Image

from benchmarks.attacked import Attack
from core.data.check import check_data
from core.data.open import open_data
from core.errors import SpurioscopeError
from core.tags.exchange import read_tags

SECONDS = 20
"""Time for one try; more counts as one that hangs."""

COUNT = 600
"""Tries, half of them manifests."""

IMAGES = 12
OUTPUTS = ["wolf", "husky"]

ODD = (
    *("", " ", "nan", "NaN", "inf", "-inf", "1e999", "-1", "0", "1", "0.5", "1,5", "None", "null"),
    *("=1+1", "'", '"', '""', "a;b", "a\tb", "\x00", "\ufeff", "\u202e", "ä" * 300, "../../x"),
    *("/etc/passwd", "C:\\x\\y.jpg", "x\\1.png", "train", "Training", "2", "99999999999999999999"),
    *("[1, 2]", "{}", "True", "2026-01-01", "neuron", "pca", "spurious", "core", "\r", "\n"),
)
"""Cells that people and programs write."""

HEADER = ["path", "label", "split", "object_mask", "x_min", "y_min", "x_max", "y_max", "place"]
NAMES = (
    *HEADER,
    "y",
    "class",
    "img_filename",
    "xmin",
    "w",
    "h",
    "cx",
    "image_id",
    "",
    "Unnamed: 0",
)

Rows = list[list[str]]


def manifest_rows(root: Path) -> Rows:
    """A sound manifest of images that are there, with masks and boxes."""
    rows = [HEADER]
    for i in range(IMAGES):
        Image.new("RGB", (8, 6), (9 * i, 0, 0)).save(root / f"{i}.png")
        Image.new("L", (8, 6), 255 * (i % 2)).save(root / f"m{i}.png")
        split = "train" if i % 3 else "test"
        box = ["1", "1", "5", "4"]
        rows.append([f"{i}.png", OUTPUTS[i % 2], split, f"m{i}.png", *box, str(i % 2)])
    return rows


def tag_rows() -> Rows:
    """A sound file of tags."""
    header = ["label", "kind", "component", "annotator", "tag", "subtype", "confidence", "reason"]
    rows = [header]
    for i in range(IMAGES):
        tag = ["core", "spurious", "unsure"][i % 3]
        sub = "background" if tag == "spurious" else ""
        rows.append([OUTPUTS[i % 2], "neuron", str(i), f"p{i % 3}", tag, sub, "3", "snow"])
    return rows


def cell(rows: Rows, rng: Random) -> str:
    """One cell is something odd."""
    row = rng.choice(rows[1:])
    row += [""] * (len(rows[0]) - len(row))
    place, value = rng.randrange(max(len(row), 1)), rng.choice(ODD)
    row[place : place + 1] = [value]
    return f"cell {place} = {value!r}"


def column(rows: Rows, rng: Random) -> str:
    """A whole column is one odd thing."""
    place, value = rng.randrange(len(rows[0])), rng.choice(ODD)
    for row in rows[1:]:
        row[place : place + 1] = [value]
    return f"column {rows[0][place]!r} = {value!r}"


def name(rows: Rows, rng: Random) -> str:
    """A column is called otherwise, perhaps like another one."""
    place, value = rng.randrange(len(rows[0])), rng.choice(NAMES)
    was, rows[0] = rows[0][place], [*rows[0]]
    rows[0][place] = value
    return f"column {was!r} called {value!r}"


def shape(rows: Rows, rng: Random) -> str:
    """Rows and cells are lost, doubled or empty."""
    what = rng.choice(["lost row", "twice", "empty", "short", "long", "header alone", "no header"])
    place = rng.randrange(1, len(rows))
    if what == "lost row":
        del rows[place]
    elif what == "twice":
        rows.append(list(rows[place]))
    elif what == "empty":
        rows.append([""] * len(rows[0]))
    elif what == "short":
        del rows[place][-3:]
    elif what == "long":
        rows[place] += ["x", "y"]
    elif what == "header alone":
        del rows[1:]
    else:
        del rows[0]
    return what


def text_of(rows: Rows, rng: Random) -> tuple[bytes, str]:
    """The table as a file: mostly as it should be, else with another mark or in another code."""
    separator = rng.choice([",", ",", ";", "\t", "|"])
    encoding = rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32"])
    end = rng.choice(["\n", "\r\n", "\r", "\n\n"])
    quoted = rng.random() < 0.2
    cells = [[f'"{c}"' if quoted else c for c in row] for row in rows]
    text = end.join(separator.join(row) for row in cells)
    return text.encode(encoding, "replace"), f"{separator!r} {encoding} {end!r}"


def damaged(data: bytes, rng: Random) -> tuple[bytes, str]:
    """Bytes flipped, cut off, or put in."""
    kind = rng.choice(["whole", "whole", "flipped", "cut", "inserted"])
    changed = bytearray(data)
    place = rng.randrange(max(len(changed), 1))
    if kind == "flipped" and changed:
        changed[place] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del changed[place:]
    elif kind == "inserted":
        changed[place:place] = rng.randbytes(rng.randrange(1, 40))
    return bytes(changed), kind


CHANGES: tuple[Callable[[Rows, Random], str], ...] = (cell, cell, column, name, shape)


def mutated(rows: Rows, rng: Random) -> tuple[bytes, str]:
    """A table with one to three changes as a file, and what was changed."""
    rows = [list(row) for row in rows]
    said = []
    for _ in range(rng.randrange(1, 4)):
        if len(rows) > 1:
            said.append(rng.choice(CHANGES)(rows, rng))
    data, form = text_of(rows, rng)
    data, damage = damaged(data, rng)
    return data, "; ".join([*said, form, damage])


@contextmanager
def impatient() -> Iterator[None]:
    """End what takes longer than :data:`SECONDS`."""

    def end(_: int, __: FrameType | None) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def attempt(found: Attack, cause: str, read: Callable[[], object]) -> None:
    """Count what is neither an answer nor a sentence of ours."""
    try:
        with impatient():
            read()
    except SpurioscopeError as error:
        found.judge(cause, str(error))
    except Exception as error:  # noqa: BLE001 -- any other is what is looked for
        found.tries += 1
        found.raw.append(f"{cause}: {type(error).__name__}: {error}")
    else:
        found.tries += 1


def attack(seed: int = 0, count: int = COUNT) -> Attack:
    """Try so many damaged tables, the same ones for a seed."""
    found, rng = Attack(), Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        manifest, tags = manifest_rows(root), tag_rows()

        def look(path: Path) -> None:
            check_data(open_data(str(path), workspace=root / "w"))

        def take(path: Path) -> None:
            read_tags(path, outputs=OUTPUTS, n_features=64, annotator="me")

        for i in range(count):
            rows, read = ((manifest, look), (tags, take))[i % 2]
            data, cause = mutated(rows, rng)
            suffix = ".csv" if rng.random() < 0.9 else rng.choice([".tsv", ".json", ".parquet"])
            path = root / f"t{suffix}"
            path.write_bytes(data)
            attempt(found, f"{read.__name__} {suffix} {cause}", partial(read, path))
        path = root / "deep.json"
        path.write_text(json.dumps({"tags": [{"label": [[[]]]}]}))
        attempt(found, "nested cells", lambda: take(path))
    return found
