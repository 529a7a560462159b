"""``python -m core discover …``: strategies of classes, and how far they stand apart."""

from __future__ import annotations

import argparse

from core.audits.audit_requests import DiscoverRequest
from core.commands.terminal import Answer, records
from core.storage.workspace import Workspace
from core.types import Reporter, silent


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """Find clusters, try them in the maps, and order the classes."""
    from core.audits.audit import Audit
    from core.audits.strategies import discover, ranking, strategies
    from core.candidates.cluster_kind import SPACES
    from core.candidates.cluster_search import Asked
    from core.tags.people import one_line
    from core.trials.leaning import measure_asked

    request = DiscoverRequest.from_options(options)
    audit = Audit.open(workspace, request.audit)
    asked = Asked(
        request.space or tuple(SPACES), request.clusters, request.neighbours, request.seed
    )
    wanted = [c.label for c in audit.classes]
    if request.class_name is not None:
        wanted = [audit.class_facts(request.class_name).label]
    discover(audit, wanted, asked, report)
    audit = Audit.open(workspace, request.audit)
    measure_asked(audit, report)
    table = ranking(audit)
    lines = [_line(row) for row in table.to_dict("records")]
    found = {
        label: [
            one._asdict() | {"key": str(one.key), "overlay": one.overlay.tolist()} for one in of
        ]
        for label, of in ((c.label, strategies(audit, c.class_idx)) for c in audit.classes)
        if of
    }
    result = {"audit": audit.id, "classes": records(table), "clusters": found}
    return Answer(result, "\n".join(map(one_line, lines)) or "no class was looked at")


def _line(row: dict[str, object]) -> str:
    """One class in one space, for people."""
    from core.audits.strategies import in_words

    return f"{row['class_name']}, {in_words(row)}"
