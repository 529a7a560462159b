"""``python -m core explain …``: what a method says of images, or of a candidate."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.audits.audit_requests import ExplainRequest
from core.candidates.key import CandidateKey
from core.commands.terminal import Answer, candidate_options, candidate_words, named_candidate
from core.errors import InputError, SpurioscopeError, UnreadableImageError
from core.storage.files import as_npz, write_bytes, write_json
from core.storage.workspace import Workspace
from core.types import Reporter, silent

if TYPE_CHECKING:
    import numpy as np

    from core.audits.audit import Audit
    from core.audits.explained import Asked
    from core.explain.explainer import Explanation

Document = Mapping[str, object]


def add(command: argparse.ArgumentParser) -> None:
    """The options of the request, and those that name a candidate by its number."""
    ExplainRequest.add_arguments(command)
    candidate_options(command)


def methods_text() -> str:
    """Every method with its settings, for the help."""
    from core.explain.explainer import listed

    return f"methods, and their settings with the defaults:\n{listed()}"


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """Explain what ``options`` name, unless it is stored; write it where they say."""
    from core.audits.audit import Audit
    from core.audits.explained import Asked, explain
    from core.explain.explainer import Explanation
    from core.tags.people import one_line

    request = ExplainRequest.from_options(options)
    audit = Audit.open(workspace, request.audit)
    facts = audit.class_facts(request.class_name)
    also = [Audit.open(workspace, name) for name in request.also]
    key = _key(request, options, facts.label)
    asked = Asked.of(request.method, facts.label, key, request.settings, request.seed, also)
    ids = _ids(audit, request, asked)
    told = list(explain(audit, asked, ids, report=report))
    made = [(image_id, said) for image_id, said in told if isinstance(said, Explanation)]
    out = request.out
    found = [_document(audit, asked, image_id, said, out) for image_id, said in made]
    lines = [line for image_id, said in told for line in _lines(image_id, said)]
    result: dict[str, object] = {"audit": audit.id, "class": facts.label, "method": asked.method}
    result |= {"candidate": key and key.short, "settings": dict(asked.settings)}
    result |= {"seed": asked.seed, "also": [each.id for each in also], "explained": found}
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
    return Answer(result, "\n".join(map(one_line, lines)) or "no image to explain")


def _key(request: ExplainRequest, options: argparse.Namespace, label: str) -> CandidateKey | None:
    """The candidate that is asked for, by its key or by its number, if there is one."""
    named = named_candidate(options)
    if named is not None and request.candidate:
        raise InputError(f"explain takes one candidate: give one of {candidate_words()}")
    if request.candidate:
        return CandidateKey.parse(request.candidate, label=label)
    return CandidateKey(label, *named) if named else None


def _ids(audit: Audit, request: ExplainRequest, asked: Asked) -> list[str]:
    """The images that are named, or some of the class; one empty text where it takes none."""
    from core.audits.explained import drawn

    if not asked.explainer.of_images:
        return [""]
    for image_id in request.image_ids:
        audit.path(image_id)  # says which it does not hold
    return request.image_ids or drawn(audit, asked.label, request.count, request.seed)


def _lines(image_id: str, said: Explanation | SpurioscopeError) -> Sequence[str]:
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
