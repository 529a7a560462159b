"""``python -m core explain …``: what a method says of images, or of a candidate."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.audits.audit_requests import ExplainRequest
from core.candidates.key import CandidateKey
from core.commands.terminal import (
    Answer,
    candidate_options,
    candidate_words,
    has_number,
    key_of_class,
    named_key,
)
from core.errors import InputError, SpurioscopeError, UnreadableImageError
from core.storage.files import as_npz, write_bytes, write_json
from core.storage.workspace import Workspace
from core.types import Reporter, silent

if TYPE_CHECKING:
    import numpy as np

    from core.audits.audit import Audit
    from core.audits.explained import Asked, Said
    from core.explain.explainer import Explanation

Document = Mapping[str, object]


def add(command: argparse.ArgumentParser) -> None:
    """The options of the request, and those that name a candidate by its number."""
    ExplainRequest.add_arguments(command)
    candidate_options(command, key=False)


def methods_text() -> str:
    """Every method with its settings, for the help."""
    from core.explain.explainer import listed

    return f"methods, and their settings with the defaults:\n{listed()}"


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """Explain what ``options`` name, unless it is stored; write it where they say.

    One method of one candidate has a document of its own; several have theirs as ``answers``.
    """
    from core.audits.audit import Audit
    from core.audits.explained import Asked, explain_each
    from core.tags.people import one_line

    request = ExplainRequest.from_options(options)
    audit = Audit.open(workspace, request.audit)
    label = audit.class_facts(request.class_name).label
    also = [Audit.open(workspace, name) for name in request.also]
    keys = _keys(request, options, label)
    questions = [
        Asked.of(method, label, key, request.settings, request.seed, also)
        for method in request.methods
        for key in keys
    ]
    told = list(explain_each(audit, questions, _ids(audit, request, questions), report=report))
    answers, lines = list[Document](), list[str]()
    for asked in questions:
        mine = [(image_id, said) for of, image_id, said in told if of is asked]
        out = request.out
        if out and asked.candidate and len(keys) > 1:
            out = out / asked.candidate.short
        if len(questions) > 1:
            lines.append(f"{asked.title}:")
        answers.append(_answer(audit, asked, mine, out, lines))
    text = "\n".join(map(one_line, lines)) or "no image to explain"
    if len(answers) == 1:
        return Answer(answers[0], text)
    return Answer({"audit": audit.id, "class": label, "answers": answers}, text)


def _answer(
    audit: Audit,
    asked: Asked,
    told: Sequence[tuple[str, Said]],
    out: Path | None,
    lines: list[str],
) -> Document:
    """What one method says of one candidate or class; its lines for people are added."""
    from core.explain.explainer import Explanation

    made = [(image_id, said) for image_id, said in told if isinstance(said, Explanation)]
    found = [_document(audit, asked, image_id, said, out) for image_id, said in made]
    lines += [line for image_id, said in told for line in _lines(image_id, said)]
    result: dict[str, object] = {"audit": audit.id, "class": asked.label, "method": asked.method}
    result |= {"candidate": asked.candidate and asked.candidate.short}
    result |= {"settings": dict(asked.settings), "seed": asked.seed}
    result |= {"also": [each.id for each in asked.also], "explained": found}
    result["left_out"] = [
        {"image_id": image_id, "reason": str(said)}
        for image_id, said in told
        if isinstance(said, SpurioscopeError)
    ]
    if asked.explainer.summary and len(made) > 1:
        whole = asked.explainer.summary([said for _, said in made])
        lines += _lines("", whole)
        result["summary"] = _document(audit, asked, "", whole, out)
    if out:
        write_json(out / f"{asked.method}.json", result)
    return result


def _keys(
    request: ExplainRequest, options: argparse.Namespace, label: str
) -> Sequence[CandidateKey | None]:
    """The candidates that are asked for, by their keys or by a number; None: the class itself."""
    if request.candidates and not has_number(options):
        return [key_of_class(text, label) for text in request.candidates]
    key = named_key(options, label)
    if key is None and (request.candidate or has_number(options)):
        raise InputError(f"explain takes one candidate: give one of {candidate_words()}")
    return [key]


def _ids(audit: Audit, request: ExplainRequest, questions: Sequence[Asked]) -> list[str]:
    """The images that are named, or some of the class; one empty text where none are taken.

    Raises
    ------
    InputError
        If some of the methods explain images and others none.
    """
    from core.audits.explained import drawn

    taken = {asked.explainer.of_images for asked in questions}
    if len(taken) > 1:
        raise InputError(
            f"--method {request.method}: some of these explain images and others a class or "
            "candidate alone; ask for them one after the other"
        )
    if taken == {False}:
        return [""]
    for image_id in request.image_ids:
        audit.path(image_id)  # says which it does not hold
    if request.image_ids or not questions:
        return request.image_ids
    return drawn(audit, questions[0].label, request.count, request.seed)


def _lines(image_id: str, said: Said) -> Sequence[str]:
    name = f"{image_id}: " if image_id else ""
    if isinstance(said, SpurioscopeError):
        return [f"{name}left out, {said}"]
    return [f"{name}{said.words}", *(f"  note: {note}" for note in said.notes)]


def _document(
    audit: Audit, asked: Asked, image_id: str, said: Explanation, out: Path | None
) -> Document:
    """What is said as a JSON document, with the files that it was written to."""
    files = _written(audit, asked, image_id, said, out) if out else {}
    path = {"path": str(audit.path(image_id))} if image_id else {}
    of = {"image_id": image_id or None, **path, "words": said.words, "notes": list(said.notes)}
    return {**of, "facts": dict(said.facts), "files": files}


def _written(
    audit: Audit, asked: Asked, image_id: str, said: Explanation, out: Path
) -> dict[str, str]:
    """Arrays and pictures of an explanation as files; their paths by name.

    What is stored of an image that is gone since has arrays alone.
    """
    start = "-".join(filter(None, (asked.method, image_id)))
    content = {"arrays": (f"{start}.npz", as_npz(said.arrays))}
    with contextlib.suppress(UnreadableImageError):
        pictures = asked.explainer.pictures(said, _pixels(audit, image_id))
        content |= {name: (f"{start}-{name}.png", png) for name, png in pictures.items()}
    for name, written in content.values():
        write_bytes(out / name, written)
    return {name: str(out / file) for name, (file, _) in content.items()}


def _pixels(audit: Audit, image_id: str) -> np.ndarray:
    """What the encoder sees of an image; nothing of none."""
    import numpy as np

    if not image_id:
        return np.zeros((0, 0, 3), np.uint8)
    return audit.pixels(image_id)
