"""A file that says what the outputs of a network mean, one class each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import InputError

LARGEST = 16 * 2**20
"""Bytes of the largest file that is read: a million names."""

ENTRIES = ("class_to_idx", "label2id", "id2label", "idx_to_class", "classes", "class_names")
"""What records of training call the classes of a network, the most telling first."""


OWN = ("class_to_idx.json", "classes.json", "classes.txt")
"""Files beside the folders of a data set that list its classes, the most telling first."""


def read_classes(path: Path) -> tuple[str, ...]:
    """Raw label of every output from a file.

    JSON: a list, an object from label to number or from number to label, or one that holds such
    under one of :data:`ENTRIES` (the ``config.json`` of Hugging Face does). Any other file: one
    label a line, in order of the outputs; empty lines at the end are left out.

    Raises
    ------
    InputError
        If the file cannot be read, or does not give every output one label of its own.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"--classes {path}: the file is too large for a list of classes")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InputError(
            f"--classes {path} cannot be read ({why}); give a file with one class a line, or "
            "class_to_idx as JSON"
        ) from error
    if not text.lstrip().startswith(("{", "[")):
        return _different(path, [line.strip() for line in text.rstrip().splitlines()])
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"--classes {path} is no JSON ({error}); save it again") from error
    labels = classes_of(content)
    if labels is None:
        raise InputError(
            f"--classes {path} has no list of classes, and no object of labels and the numbers "
            "0 to K - 1; write one of them"
        )
    return _different(path, labels)


def classes_beside(folder: Path) -> tuple[str, ...]:
    """The order that a folder of images says in a file of its own (:data:`OWN`); () without one."""
    for name in OWN:
        if (folder / name).is_file():
            try:
                return read_classes(folder / name)
            except InputError:
                continue
    return ()


def _different(path: Path, labels: Sequence[str]) -> tuple[str, ...]:
    twice = sorted({label for label in labels if labels.count(label) > 1}) if labels else [""]
    if twice or "" in labels:
        raise InputError(
            f"--classes {path}: every output needs a label of its own"
            f"{f', {twice[0]!r} stands there twice' if twice and labels else ''}; correct the file"
        )
    return tuple(labels)


def classes_of(content: Any) -> tuple[str, ...] | None:
    """Labels by output of what a record of training holds; None where it is no such list."""
    if isinstance(content, Mapping):
        nested = (content[name] for name in ENTRIES if name in content)
        return next(filter(None, map(classes_of, nested)), None) or _from_pairs(content)
    if isinstance(content, list | tuple) and content and all(isinstance(c, str) for c in content):
        return tuple(content)
    return None


def _from_pairs(content: Mapping[Any, Any]) -> tuple[str, ...] | None:
    """From an object of label and number, either way round; the numbers must be 0 to K - 1."""
    numbered = {_number(number): label for label, number in content.items()}
    if None in numbered or not all(isinstance(label, str) for label in content):
        numbered = {_number(number): label for number, label in content.items()}
    if not numbered or len(numbered) < len(content) or set(numbered) != set(range(len(numbered))):
        return None
    labels = [numbered[index] for index in range(len(numbered))]
    return tuple(labels) if all(isinstance(label, str) for label in labels) else None


def _number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() else None
