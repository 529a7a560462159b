"""``python -m core confirm …``: what a candidate does, repeated in pixels.

One candidate is about a thousand pictures before one network, so that no engine shares it.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from core.audits.audit_requests import ConfirmRequest
from core.commands.terminal import Answer, candidate_options, candidate_words, named_key
from core.errors import InputError
from core.storage.workspace import Workspace
from core.types import Reporter, count_of, silent


def add(command: argparse.ArgumentParser) -> None:
    """The options of the request, and those that name a candidate by its number."""
    ConfirmRequest.add_arguments(command)
    candidate_options(command, key=False)


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """Try the candidate that ``options`` name, unless it was."""
    from core.audits.audit import Audit
    from core.tags.called import names_of
    from core.tags.log import TagStore
    from core.tags.people import one_line
    from core.trials.confirmed import confirm, confirmed_of

    request = ConfirmRequest.from_options(options)
    audit = Audit.open(workspace, request.audit)
    facts = audit.class_facts(request.class_name)
    key = named_key(options, facts.label)
    if key is None:
        raise InputError(f"confirm tries one candidate: give one of {candidate_words()}")
    names = names_of(TagStore.open(workspace).history(audit.id))
    table = confirm(audit, [key], report=report)
    found = confirmed_of(table, facts.class_idx, key.kind, key.number)
    assert found is not None  # it was just made, or is there already
    result = {"audit": audit.id, "class": facts.label, "kind": key.kind, "number": key.number}
    lines = [
        one_line(f"{names.written(key)} of {facts.name} in audit {audit.name}"),
        f"  pixels: {found.words}",
        f"  lean {100 * found.lean:+.0f} points [{100 * found.lean_low:+.0f}, "
        f"{100 * found.lean_high:+.0f}], {found.donors} donors x {found.targets} targets",
    ]
    if not audit.exact_maps:
        lines.append("  regions are approximate: this architecture has no exact maps")
    if found.left_out:
        lines.append(f"  {count_of(found.left_out, 'image')} cannot be read: left out")
    return Answer({**result, **asdict(found)}, "\n".join(lines))
