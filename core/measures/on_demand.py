"""Tables of measures that are made where they are asked for, never with all the others.

::

    measures/calibration-4f0c….parquet     the rows of one of them

The name ends with the key of what the rows depend on: the images, their labels, splits and
attributes, the head, the decided tags, the options of the request that the table names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from core.audits.audit import Audit
from core.audits.kept import images_key
from core.audits.other_kinds import found_in
from core.errors import WorkspaceError
from core.measures.measure import Rows
from core.measures.measure_requests import MeasureRequest
from core.measures.rows import COLUMNS, as_table
from core.storage.files import read_frame, there, write_frame
from core.storage.workspace import fingerprint
from core.types import Registry, Reporter, silent

if TYPE_CHECKING:
    from core.tags.decisions import Decisions

Make = Callable[[Audit, "Decisions", MeasureRequest, Reporter], Rows]
Depends = Callable[[Audit, "Decisions", MeasureRequest], object]


def nothing_more(audit: Audit, decisions: Decisions, request: MeasureRequest) -> object:
    """That a table depends on nothing that others do not."""
    del audit, decisions, request
    return None


@dataclass(frozen=True)
class OnDemand:
    """A table that ``measure AUDIT --what NAME`` makes."""

    name: str
    title: str
    """What is measured, in small letters."""
    make: Make
    options: Sequence[str] = ()
    """Fields of the request that the rows depend on."""
    version: int = 1
    """Of the formulas; another one measures again."""
    depends: Depends = nothing_more
    """What else the rows depend on, as JSON can hold it: what is stored, other audits."""
    grouped: bool = False
    """Whether groups that people saved are attributes to it; a new one then measures again."""
    images: Callable[[Audit, Decisions], pd.DataFrame] | None = None
    """Images to look at behind the rows, the first ones first, with ``image_id``."""

    def table(
        self,
        audit: Audit,
        decisions: Decisions,
        request: MeasureRequest,
        report: Reporter = silent,
    ) -> pd.DataFrame:
        """The rows (:data:`core.measures.rows.COLUMNS`), made and stored where they are missing."""
        audit = audit if self.grouped else audit.of_data
        found = self.known(audit, decisions, request)
        if found is not None:
            return found
        found = as_table(self.make(audit, decisions, request, report))
        with contextlib.suppress(WorkspaceError):  # a workspace that only shows
            write_frame(self.path(audit, decisions, request), found)
        return decisions.names.in_table(found)

    def known(
        self, audit: Audit, decisions: Decisions, request: MeasureRequest
    ) -> pd.DataFrame | None:
        """The rows where they are stored."""
        path = self.path(audit, decisions, request)
        if not there(path):
            return None
        return decisions.names.in_table(read_frame(path, needed=COLUMNS))

    def path(self, audit: Audit, decisions: Decisions, request: MeasureRequest) -> Path:
        """Where they are, or would be."""
        asked = [str(getattr(request, name)) for name in self.options]
        audit = audit if self.grouped else audit.of_data
        more = self.depends(audit, decisions, request)
        parts = {**_base(audit, decisions), "version": self.version, "asked": asked, "more": more}
        return audit.files.measure(self.name, fingerprint(parts))


def _base(audit: Audit, decisions: Decisions) -> dict[str, object]:
    """What every table depends on."""
    kinds = {key.kind for keys in decisions.spurious.keys_of.values() for key in keys}
    return {
        "audit": audit.manifest.fingerprint,
        "predictions": audit.head_key,
        "images": images_key(audit),
        "spurious": decisions.spurious.plain,
        "found": found_in(audit.files, kinds),
    }


OWN = (
    "core.measures.calibrated:CALIBRATED",
    "core.measures.ood:OOD",
    "core.measures.set_figures:SETS",
    "core.measures.corruption_figures:CORRUPTED",
    "core.measures.prior_figures:PRIORS",
    "core.measures.agreement_figures:AGREEMENT",
    "core.measures.universal_figures:UNIVERSAL",
    "core.measures.part_evidence:EVIDENCE",
    "core.measures.heatmap_figures:HEATMAPS",
    "core.measures.ensemble_subsets:REMEDIES",
)
"""Where this project's own stand."""

ON_DEMAND: Registry[OnDemand] = Registry("table", OWN)
"""By name: what ``--what`` may ask for beside the parts of the table of all measures."""
