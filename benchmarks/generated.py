"""Audits of drawn features (``python -m core synth``) with what people and trials add to them.

Tags are drawn, and figures of what candidates do, so that there are gaps, rankings and groups to
look at without trying the candidates of a thousand classes.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import t

from core.audits.audit import Audit
from core.audits.synth_request import SynthRequest
from core.audits.synthetic import run_synth
from core.storage.files import write_frame
from core.storage.workspace import Workspace
from core.tags.entries import NewTag
from core.tags.log import TagStore
from core.trials.leaning import COLUMNS, KEYS, corrected_intervals, leading, trial_key
from core.trials.leaning import NAME as TRIALS

NAME = "generated"
"""Of the audit, where none is given."""

PEOPLE, ASKED = 5, 5
"""Annotators, and components of every class that all of them tag (as many as published)."""


def make(workspace: Workspace, request: SynthRequest) -> Audit:
    """Write an audit of drawn features, and its tags."""
    audit = run_synth(request, workspace)
    tag(audit, TagStore.open(workspace), request.seed)
    return audit


def tag(audit: Audit, store: TagStore, seed: int = 0) -> int:
    """Give PEOPLE's tags to the first components of every class; most are core, as published."""
    rng = np.random.default_rng(seed)
    rows = []
    for facts in audit.classes:
        for component in range(min(ASKED, facts.n_components)):
            truth = "spurious" if component == 0 or rng.random() < 0.1 else "core"
            for person in range(PEOPLE):
                other = {"core": "spurious", "spurious": "core"}[truth]
                said = truth if rng.random() < 0.9 else other
                sure = int(rng.integers(1, 6))
                who = f"person {person}"
                rows.append(NewTag(who, facts.label, "pca", component, said, confidence=sure))
    return store.add_many(audit.id, rows)


def try_candidates(audit: Audit, seed: int = 0) -> int:
    """Store what leading candidates do as if it was tried: figures that are drawn, not measured.

    Every third candidate is above its control. Trying those of a thousand classes takes a while.
    """
    rng, rows = np.random.default_rng(seed), leading(audit)[KEYS]
    n = len(rows)
    lean, error = rng.uniform(0.1, 0.8, n) * (np.arange(n) % 3 == 0), rng.uniform(0.01, 0.05, n)
    control, area, taken = (rng.uniform(0, most, n) for most in (0.2, 0.4, 0.6))
    drawn = {
        **{"area": area, "donors": 6, "targets": 900, "own": 30, "obstacle": ""},
        **{"put_in": control + lean, "put_in_control": control, "lean": lean, "error": error},
        **{"put_in_low": control + lean / 2, "put_in_high": np.minimum(control + 1.2 * lean, 1)},
        **{"taken_away": taken, "taken_away_low": taken / 2, "taken_away_high": taken + 0.2},
        **{"p": 2 * t.sf(lean / error, 5), "taken_away_control": 0.05},
        **{"fill_sensitivity": 0.02, "left_out_sensitivity": 0.03},
    }
    table = corrected_intervals(rows.assign(lean_low=0.0, lean_high=0.0, **drawn)[COLUMNS])
    write_frame(audit.files.outcome(TRIALS, trial_key(audit)), table)
    return n
