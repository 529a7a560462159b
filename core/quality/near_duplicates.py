"""Images that are there twice, exactly or nearly, and what stands in two splits that should not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.kept import Kept
from core.quality.image_files import files_of
from core.statistics.twins import alike, groups
from core.types import Reporter

COLUMNS = ("group", "image_id", "path", "label", "split", "exact", "leak", "labels_differ")
"""Of the table of copies: the number of a group of images that are one; whether all of its files
are equal, it stands in more than one split, it bears more than one label."""

SHARED = ("attribute", "values", "in_two_splits", "images")
"""Of the table of attributes: values, those of them in two splits, the images that bear these."""


def _copies(audit: Audit, report: Reporter) -> pd.DataFrame:
    """The table, those across splits first."""
    images, hashes = audit.images, files_of(audit, report)["perceptual_hash"].to_numpy(str)
    pairs = alike(hashes, audit.features(images.index.tolist()))
    same = images.groupby("digest", sort=False).ngroup().to_numpy()
    rows = np.arange(len(images))
    equal = pd.Series(rows).groupby(same).transform("first").to_numpy()
    ends = [np.concatenate(of) for of in ((pairs.first, equal), (pairs.second, rows))]
    number = groups(len(images), ends[0], ends[1])
    table = images.reset_index()[["image_id", "path", "label", "split", "digest"]]
    table["group"] = number
    table = table[table.groupby("group")["group"].transform("size") > 1]
    by = table.groupby("group")
    table["exact"] = by["digest"].transform("nunique") == 1
    table["leak"] = by["split"].transform("nunique") > 1
    table["labels_differ"] = by["label"].transform("nunique") > 1
    order = ["leak", "labels_differ", "group", "split"]
    table = table.sort_values(order, ascending=[False, False, True, True], ignore_index=True)
    table["group"] = pd.factorize(table["group"])[0]
    return table[list(COLUMNS)]


near_duplicates = Kept("copies", COLUMNS, _copies, version=2)
"""Images that are copies of another (:data:`COLUMNS`), those across splits first.

Equal files, and files as alike in a perceptual hash and in features as chance makes one pair in
twenty whole sets (:mod:`core.statistics.twins`). Scaled, compressed and slightly cut copies are
found; mirrored ones, and photos of one thing from two sides, are not.
"""


def shared_values(audit: Audit) -> pd.DataFrame:
    """For every attribute whose values stand in two splits (:data:`SHARED`), such as patients.

    A value such as a patient, a site or a camera that is in training and test makes a test easier
    than the world is; a value such as a colour belongs in both. That is for people to say.
    """
    rows = []
    for name in audit.summary.attributes:
        known = audit.images[audit.images[name].notna()]
        splits = known.groupby(name)["split"].transform("nunique")
        both = known.loc[splits > 1, name]
        if len(both):
            rows.append((str(name), int(known[name].nunique()), int(both.nunique()), len(both)))
    return pd.DataFrame(rows, columns=list(SHARED))
