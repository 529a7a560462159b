"""``python -m core discover …``: strategies of classes, or what their candidates look like."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.audits.audit_requests import DiscoverRequest
from core.commands.terminal import Answer, records
from core.storage.workspace import Workspace
from core.types import Reporter, silent

if TYPE_CHECKING:
    from core.audits.audit import Audit


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
    result = {"audit": audit.id, "method": request.method, "classes": records(table)}
    return Answer({**result, "clusters": clusters}, "\n".join(map(one_line, lines)))


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
    result = {"audit": audit.id, "method": request.method, "pictures": found}
    return Answer(result, "\n".join(map(one_line, lines)) or "no candidate to draw")
