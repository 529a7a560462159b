"""``python -m core discover …``: strategies of classes, or what their candidates look like."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from core.audits.audit_requests import DiscoverRequest
from core.commands.terminal import Answer, records
from core.storage.files import as_npz, write_bytes
from core.storage.workspace import Workspace
from core.types import Reporter, silent

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.audits.image_concepts import References
    from core.candidates.key import CandidateKey

RELMAX, EXAMPLES = "relmax", 8
"""The method of reference images, and how many of a kind there are of a candidate."""

PICTURE = 224
"""Pixels along a side of a mean overlay that is written."""


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """Strategies of the classes that are asked for, or pictures of their candidates."""
    from core.audits.audit import Audit

    request = DiscoverRequest.from_options(options)
    audit = Audit.open(workspace, request.audit)
    labels = [facts.label for facts in audit.classes]
    if request.class_name is not None:
        labels = [audit.class_facts(request.class_name).label]
    if request.method == "spray":
        return _strategies(audit, labels, request, report)
    if request.method == RELMAX:
        return _references(audit, labels, request, report)
    return _pictures(audit, labels, request, report)


def _strategies(
    audit: Audit, labels: Sequence[str], request: DiscoverRequest, report: Reporter
) -> Answer:
    """Find clusters, try them in the maps, and order the classes."""
    from core.audits.audit import Audit
    from core.audits.strategies import discover, in_words, ranking, strategies
    from core.candidates.cluster_kind import SPACES
    from core.candidates.cluster_search import Asked
    from core.tags.people import one_line
    from core.trials.leaning import measure_asked

    spaces = request.space or tuple(SPACES)
    asked = Asked(spaces, request.clusters, request.neighbours, request.seed)
    discover(audit, labels, asked, report)
    audit = Audit(audit.folder)
    measure_asked(audit, report)
    table = ranking(audit)
    lines = [f"{row['class_name']}, {in_words(row)}" for row in table.to_dict("records")]
    found = {
        facts.label: [
            {**one._asdict(), "key": str(one.key), "overlay": one.overlay.tolist()}
            for one in strategies(audit, facts.class_idx)
        ]
        for facts in audit.classes
    }
    clusters = {label: of for label, of in found.items() if of}
    if request.out:
        for label in labels:
            _write_clusters(audit, label, request.out)
    result = {"audit": audit.id, "method": request.method, "classes": records(table)}
    return Answer({**result, "clusters": clusters}, "\n".join(map(one_line, lines)))


def _write_clusters(audit: Audit, label: str, out: Path) -> None:
    """What was found of a class: its arrays, and the mean overlay of every cluster."""
    import numpy as np

    from core.candidates.cluster_kind import CLUSTER
    from core.explain.overlays import heat_png

    arrays = audit.arrays_of(label)
    found, start = arrays.of_kind(CLUSTER), f"clusters-{arrays.class_idx}"
    kept = {**found.arrays, "alpha": found.alpha, "image_ids": np.array(arrays.image_ids)}
    write_bytes(out / f"{start}.npz", as_npz({n: np.asarray(a) for n, a in kept.items()}))
    for number, overlay in enumerate(found.arrays["overlay"]):
        if overlay.any():
            png = heat_png(overlay, float(overlay.max()), size=PICTURE, parts="positive")
            write_bytes(out / f"{start}-{number}.png", png)


def _write_picture(audit: Audit, key: CandidateKey, request: DiscoverRequest) -> None:
    """The arrays and pictures of one candidate, if it was drawn."""
    import numpy as np

    from core.audits.looks import drawn
    from core.explain.explainer import EXPLAINERS

    said = drawn(audit, key, request.method, request.seed)
    if said is None or request.out is None:
        return
    start = f"{request.method}-{audit.class_facts(key.label).class_idx}-{key.short}"
    write_bytes(request.out / f"{start}.npz", as_npz(said.arrays))
    shown = EXPLAINERS[request.method].pictures(said, np.zeros((0, 0, 3), np.uint8))
    for name, png in shown.items():
        write_bytes(request.out / f"{start}-{name}.png", png)


def _pictures(
    audit: Audit, labels: Sequence[str], request: DiscoverRequest, report: Reporter
) -> Answer:
    """Draw the leading candidates of every class, those first that the model is surest about."""
    from core.audits.looks import draw, leading_keys
    from core.candidates.kinds import KINDS
    from core.tags.people import one_line

    KINDS.chosen(request.kind)
    keys = {name: leading_keys(audit, name, request.kind, request.count) for name in labels}
    model = audit.load_model()
    looks = {
        name: draw(audit, of, request.method, seed=request.seed, model=model, report=report)
        for name, of in keys.items()
    }
    found = [
        {**one._asdict(), "key": str(one.key), "lifted": one.lifted, "class": name}
        for name, of in looks.items()
        for one in of
    ]
    lines = [f"{row['key']}: {row['words']}" for row in found]
    for one in (one for of in looks.values() for one in of) if request.out else ():
        _write_picture(audit, one.key, request)
    result = {"audit": audit.id, "method": request.method, "pictures": found}
    return Answer(result, "\n".join(map(one_line, lines)) or "no candidate to draw")


def _write_references(audit: Audit, key: CandidateKey, seen: References, out: Path) -> None:
    """Ids and figures of a candidate's reference images, and either list as a strip of photos."""
    import numpy as np

    from core.errors import UnreadableImageError
    from core.explain.overlays import png

    start = f"{RELMAX}-{audit.class_facts(key.label).class_idx}-{key.short}"
    arrays = {name: np.array(found) for name, found in asdict(seen).items()}
    write_bytes(out / f"{start}.npz", as_npz(arrays))
    for name in ("by_relevance", "by_activation"):
        with contextlib.suppress(UnreadableImageError):
            photos = [audit.pixels(image_id) for image_id in getattr(seen, name)]
            if photos:
                strip = np.concatenate(photos, axis=1)
                opaque = np.full((*strip.shape[:2], 1), 255, np.uint8)
                picture = png(np.concatenate([strip, opaque], axis=2))
                write_bytes(out / f"{start}-{name}.png", picture)


def _references(
    audit: Audit, labels: Sequence[str], request: DiscoverRequest, report: Reporter
) -> Answer:
    """Images that stand for the leading candidates of every class, by relevance and activation."""
    from core.audits.image_concepts import references
    from core.audits.looks import leading_keys
    from core.candidates.kinds import KINDS
    from core.tags.people import one_line
    from core.types import Progress

    KINDS.chosen(request.kind)
    keys = [k for name in labels for k in leading_keys(audit, name, request.kind, request.count)]
    found, lines = list[dict[str, object]](), list[str]()
    for done, key in enumerate(keys):
        report(Progress("Looking for reference images", done, len(keys)))
        seen = references(audit, key, EXAMPLES)
        found.append({"key": str(key), **asdict(seen)})
        lines.append(f"{key}: by relevance {', '.join(seen.by_relevance) or 'none'}")
        lines.append(f"{key}: by activation {', '.join(seen.by_activation) or 'none'}")
        if request.out:
            _write_references(audit, key, seen, request.out)
    result = {"audit": audit.id, "method": request.method, "references": found}
    return Answer(result, "\n".join(map(one_line, lines)) or "no candidate to look at")
