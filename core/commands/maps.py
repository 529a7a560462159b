"""``python -m core map …``: compute and describe the map of an audit."""

from __future__ import annotations

import argparse

from core.audits.audit_requests import MapRequest
from core.commands.terminal import Answer
from core.storage.workspace import Workspace
from core.types import Reporter, silent

SAID = ("n", "shown", "seed", "shares", "umap", "notes")
"""Facts of a map that programs are told."""


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """Compute the map that ``options`` name, unless a current one is stored."""
    from core.audits.audit import Audit
    from core.audits.map import compute_map

    request = MapRequest.from_options(options)
    audit = Audit.open(workspace, request.audit)
    facts = None if request.class_name is None else audit.class_facts(request.class_name)
    class_idx = None if facts is None else facts.class_idx
    found = compute_map(audit, class_idx, umap=not request.pca_only, report=report)
    folder = audit.files.map_of(class_idx).folder
    result = {
        "audit": audit.id,
        "class": None if facts is None else facts.label,
        **{key: getattr(found.facts, key) for key in SAID},
        "folder": str(folder),
    }
    what = "all images" if facts is None else f"class {facts.name}"
    shares = " and ".join(f"{100 * share:.0f} %" for share in found.facts.shares)
    lines = [
        f"map of {what} of {audit.name}: {found.facts.shown:,} of {found.facts.n:,} shown, "
        f"{'UMAP and PCA' if found.facts.umap else 'PCA'} (components 1 and 2 hold {shares} of the "
        "variance)",
        *(f"  note: {note}" for note in found.facts.notes),
        f"  stored in {folder}",
    ]
    return Answer(result, "\n".join(lines))
