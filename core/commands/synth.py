"""``python -m core synth …``: an audit of drawn features, to see the app at any size."""

from __future__ import annotations

import argparse
import time

from core.audits.synth_request import SynthRequest
from core.commands.terminal import Answer, Terminal
from core.storage.roles import refuse_unless_may_run
from core.storage.workspace import Workspace


def run(options: argparse.Namespace, workspace: Workspace, terminal: Terminal) -> Answer:
    """Write the audit that ``options`` describe, or go on with it."""
    from core.audits.synthetic import needed, run_synth

    refuse_unless_may_run()
    request, began = SynthRequest.from_options(options), time.perf_counter()
    if request.out is not None:
        workspace = Workspace.default(request.out, workspace.database)
    audit = run_synth(request, workspace, report=terminal, started=terminal.started)
    size = f"{request.images:,} images of {request.classes:,} classes"
    result = {
        "audit": audit.id,
        "name": audit.name,
        "workspace": str(workspace.root),
        "images": request.images,
        "classes": request.classes,
        "dim": request.dim,
        "bytes": needed(request),
        "seconds": round(time.perf_counter() - began, 2),
    }
    lines = [
        f"{audit.name} ({audit.id}): {size}, {request.dim:,} features each, stored in half floats",
        "  every second class has a planted cue, the attribute 'cue'; nothing was decoded, "
        "pictures are placeholders",
        f"  open it: SPURIOSCOPE_WORKSPACE={workspace.root} streamlit run app.py",
    ]
    return Answer(result, "\n".join(lines))
