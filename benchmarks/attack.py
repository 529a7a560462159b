"""Damaged workspaces, checkpoints, tag stores and tables, seeded: words of a library, and silence.

``raw`` counts messages that are not ours and exceptions that nobody caught; ``silent`` counts
answers that differ from those of the undamaged input without a word.
"""

from __future__ import annotations

from benchmarks import attack_models, attack_tables, attack_tags, attack_workspace
from benchmarks.measure import Line


def run() -> list[Line]:
    """All of them, one after the other."""
    return [
        *attack_workspace.attack().lines("commands on tampered workspaces"),
        *attack_models.attack().lines("odd checkpoints"),
        *attack_tags.attack().lines("commands on tampered tag stores"),
        *attack_tables.attack().lines("damaged manifests and files of tags"),
    ]
