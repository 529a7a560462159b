"""``python -m core parts …``: parts of a class where no map is exact."""

from __future__ import annotations

import argparse

from core.audits.audit_requests import PartsRequest
from core.commands.terminal import Answer
from core.storage.workspace import Workspace
from core.types import Reporter, silent


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """Find them, and say how many there are."""
    from core.audits.approximate_parts import find_approximate_parts
    from core.audits.audit import Audit

    request = PartsRequest.from_options(options)
    audit = Audit.open(workspace, request.audit)
    facts = audit.class_facts(request.class_name)
    number = find_approximate_parts(audit, facts.label, request.number, report=report)
    result = {"audit": audit.id, "class": facts.label, "parts": number, "approximate": True}
    return Answer(result, f"{facts.name}: {number} approximate parts of its margin")
