"""What the files of an audit's images tell, looked at once."""

from __future__ import annotations

import pandas as pd

from core.audits.audit import Audit
from core.audits.kept import Kept
from core.data.file_facts import FileFacts, file_facts
from core.features.extract import cores, in_order
from core.types import Progress, Reporter, silent

EVERY = 500
"""Images between two reports of progress."""


def _files(audit: Audit, report: Reporter) -> pd.DataFrame:
    """The table; what is gone or damaged is missing in it."""
    paths = [audit.root / str(name) for name in audit.images["path"]]
    found: list[FileFacts] = []
    workers = cores()
    for facts in in_order(file_facts, paths, workers=workers, ahead=4 * workers):
        if len(found) % EVERY == 0:
            report(Progress("Looking at files", len(found), len(paths)))
        found.append(facts)
    table = pd.DataFrame(found, columns=list(FileFacts._fields), index=audit.images.index)
    return table.reset_index()


_kept = Kept("files", ("image_id", *FileFacts._fields), _files)


def files_of(audit: Audit, report: Reporter = silent) -> pd.DataFrame:
    """What every image's file tells (:class:`FileFacts`), indexed like ``audit.images``."""
    return _kept(audit, report).set_index("image_id")
