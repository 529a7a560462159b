"""What every route of suggestions says of cues, each beside its control: flattering or not.

The planted cues of demo:cues, and the strongest part of each of ten classes of real photos.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import MODEL, PHOTOS, Line
from core.candidates.key import CandidateKey, keys_in
from core.candidates.part_kind import PART


@dataclass(frozen=True)
class Said(Line):
    """Words in place of a figure."""

    words: str = ""

    def row(self) -> str:
        """As a row of a Markdown table."""
        return f"| {self.what} | {self.words} | | for information |"


DEMO, REAL = 60, 65
"""Images of a class, at most."""

ROUTES = ("attribute", "property", "place", "network")


def run() -> list[Line]:
    """A line for every cue."""
    from core.storage.workspace import Workspace

    if not PHOTOS.is_dir():
        raise SystemExit(f"this part needs photos at {PHOTOS}")
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        demo = audited(workspace, f"demo:cues?per_class={DEMO}", "demo", "fit")
        lines = [_line(demo, key, cue) for key, cue in planted(demo)]
        real = audited(workspace, str(PHOTOS), "real", "auto")
        return [*lines, *(_line(real, key, "") for key in strongest(real))]


def audited(workspace: Any, data: str, name: str, head: str) -> Any:
    """An audit, with what its candidates do."""
    from core.audits.audit_requests import AuditRequest
    from core.audits.run import run_audit
    from core.trials.leaning import measure_leaning

    request = AuditRequest(
        data, MODEL, name=name, head=head, precision="fp32", limit_per_class=REAL
    )
    found = run_audit(request, workspace)
    measure_leaning(found)
    return found


def planted(audit: Any) -> Iterator[tuple[CandidateKey, str]]:
    """The candidate that goes best with the planted cue of every class that has one."""
    from core.statistics.ranks import aurocs

    for label, truth in sorted(audit.summary.planted.items()):
        if not (cue := truth.get("cue")) or label not in {c.label for c in audit.classes}:
            continue
        arrays = audit.arrays_of(label)
        shows = audit.images.loc[arrays.image_ids, cue].to_numpy(float) > 0
        found = arrays.of_kind(PART)
        known = np.isfinite(found.alpha).all(axis=1)
        figures = aurocs(np.asarray(found.alpha, float)[known], shows[known][:, None])[:, 0]
        best = int(found.numbers[int(np.nan_to_num(figures).argmax())])
        yield CandidateKey(label, PART, best), str(cue)


def strongest(audit: Any) -> list[CandidateKey]:
    """The part that every class leans on most."""
    from core.trials.leaning import leaning

    table = leaning(audit)
    table = table[(table["kind"] == PART) & table["lean"].notna()]
    first = table.sort_values("lean", ascending=False).drop_duplicates("class_idx")
    labels = [audit.head.outputs[class_idx] for class_idx in first["class_idx"]]
    return sorted(keys_in(first.assign(label=labels)))


def _line(audit: Any, key: CandidateKey, cue: str) -> Line:
    facts = audit.class_facts(key.label)
    what = f"{facts.name}: {key.title}" + (f", the planted {cue}" if cue else "")
    return Said(what, 0.0, "", words=said(audit, key))


def said(audit: Any, key: CandidateKey) -> str:
    """The words of every route with figure and control; a dash of one that says nothing."""
    from core.tags.suggested import suggestions
    from core.trials.crop_words import ask_network

    data = suggestions(audit, audit.class_facts(key.label).class_idx).get(key, ())
    words = (*data, *ask_network(audit, audit.candidate(key)))
    return "; ".join(
        f"{route}: {_first([w for w in words if w.route == route])}" for route in ROUTES
    )


def _first(words: Sequence[Any]) -> str:
    return ", ".join(f"{w.word} {w.figure:.2f}/{w.control:.2f}" for w in words[:3]) or "–"
