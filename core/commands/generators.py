"""``python -m core generate AUDIT``: train the generator of an audit, and export its images."""

from __future__ import annotations

import argparse

from core.commands.terminal import Answer
from core.corrections.generator_request import GeneratorRequest
from core.storage.workspace import Workspace
from core.types import Reporter, silent


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """Train what is not trained yet, and write images where a folder is given."""
    from core.audits.audit import Audit
    from core.corrections.audit_generator import check_empty, train_audit, write_images

    request = GeneratorRequest.from_options(options)
    workspace.require_writable()
    if request.out is not None:
        check_empty(request.out)
    audit = Audit.open(workspace, request.audit)
    found = train_audit(
        audit, request.settings, steps=request.steps, seed=request.seed, report=report
    )
    facts = found.facts
    result = {"audit": audit.id, **facts.to_json(), "out": None}
    losses = ", ".join(f"{name} {value:.3g}" for name, value in (facts.losses or {}).items())
    lines = [
        f"{audit.name}: mask, foreground and background of {len(facts.labels)} classes, "
        f"{facts.steps} steps on {facts.images} images ({facts.masked} with a drawn object), "
        f"settings {facts.settings}",
        f"  last losses: {losses}",
    ]
    if request.out is not None:
        write_images(
            found, request.images, request.out, seed=request.seed, textures=request.textures
        )
        result["out"] = str(request.out)
        lines.append(f"  {request.images} images, masks and manifest.csv in {request.out}")
    return Answer(result, "\n".join(lines))
