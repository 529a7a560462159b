"""``python -m core search …``: images like some others, or like a text."""

from __future__ import annotations

import argparse

from core.audits.audit_requests import SearchRequest
from core.commands.terminal import Answer, records
from core.errors import InputError
from core.storage.workspace import Workspace
from core.types import Reporter, silent


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """The images that are most alike, with their paths."""
    from core.audits.alike import matching, more_like
    from core.audits.audit import Audit
    from core.models.text_image import chosen_model
    from core.tags.people import one_line

    request = SearchRequest.from_options(options)
    ids = [name.strip() for name in request.like.split(",") if name.strip()]
    if bool(request.text.strip()) == bool(ids):
        raise InputError("search needs one of --text TEXT and --like ID,ID")
    audit = Audit.open(workspace, request.audit)
    among = None
    if request.class_name is not None:
        label = audit.class_facts(request.class_name).label
        among = audit.images.index[audit.images["label"] == label].tolist()
    if not ids:
        model = chosen_model(request.text_model)
        found = matching(audit, model, request.text, request.top, among, report)
    else:
        for name in ids:
            audit.path(name)  # says which it does not hold
        found = more_like(audit, ids, request.top, among)
    found = found.join(audit.images[["path", "label"]], on="image_id")
    lines = [
        one_line(f"{row.likeness:+.3f}  {row.image_id}  {row.label}  {row.path}")
        for row in found.itertuples()
    ]
    result = {"audit": audit.id, "images": records(found)}
    return Answer(result, "\n".join(lines) or "no image to look at")
