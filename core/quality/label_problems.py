"""Labels that a head which did not see the image contradicts, by confident learning.

A shortcut makes some of these itself: an image of the class without its cue looks as if it were
mislabelled. That is why the problems are counted by how much of the tagged cues an image shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.feature_rows import feature_rows
from core.audits.folds import fitted_on_all, unseen_logits
from core.audits.kept import Kept
from core.audits.subject import fitting_rows
from core.data.far_images import full_name
from core.errors import ModelError
from core.models.out_of_fold import out_of_fold
from core.statistics.confident_learning import problems, told
from core.statistics.intervals import clopper_pearson, paired_change
from core.storage.files import read_array, there
from core.tags.decisions import TENTHS, Decisions, tenths_of_cues
from core.tags.image_verdicts import EXCLUDE, KEEP, RELABEL
from core.types import BoolArray, IntArray, MadeRows, Progress, Reporter, Rows, blocks

COLUMNS = ("image_id", "label", "split", "suggested", "confidence", "margin", "problem", "by")
"""Of the table: the given label, the most probable other one, the probability of the given one and
its normalised margin (lower: worse), whether it is a problem, and who says so."""

BY_HEAD, BY_FOLD = "the head, which did not see it", "a probe that did not see it"


class Judged(NamedTuple):
    """Images, and what a head says of them that did not see them."""

    image_ids: list[str]
    logits: Rows
    """(n, m), read or computed a part at a time, of"""
    outputs: IntArray
    """(m,) outputs of the audit's head, rising."""
    known: BoolArray
    """(n,) whether it says anything."""
    by: str


def _problems(audit: Audit, report: Reporter) -> pd.DataFrame:
    """The table, worst first."""
    found = pd.concat([_of(audit, judged) for judged in _judged(audit, report)], ignore_index=True)
    return found.sort_values(["problem", "margin"], ascending=[False, True], ignore_index=True)


label_problems = Kept("labels", COLUMNS, _problems)
"""Every image with what is said of its label (:data:`COLUMNS`), worst first.

Held-out images are judged by the audit's head. Those that it was fitted on are judged out of fold;
where the head came with the network by a probe on the same features (of a large set by a linear
discriminant, :mod:`core.models.discriminant`), and not at all where a corrected head knows them.
Raises ModelError where there are fewer than two classes, or a feature is not finite.
"""


def _judged(audit: Audit, report: Reporter) -> Iterator[Judged]:
    """The images in groups that one kind of head speaks of."""
    report(Progress("Asking about labels", 0, 2, "steps"))
    ids, fitting = audit.images.index.to_numpy(str), fitting_rows(audit.images)
    if fitted_on_all(audit) and there(audit.files.head.out_of_fold):
        return (yield _unseen(audit, ids, BY_FOLD))
    if not fitting.all():
        yield _unseen(audit, ids[~fitting], BY_HEAD)
    report(Progress("Asking about labels", 1, 2, "steps"))
    if fitting.any() and (seen := _out_of_fold(audit, ids[fitting])) is not None:
        yield seen


def _unseen(audit: Audit, ids: np.ndarray, by: str) -> Judged:
    """Images of which the audit's own head speaks (:func:`core.audits.folds.unseen_logits`)."""
    outputs = np.arange(len(audit.head.outputs))
    logits = MadeRows(
        (len(ids), len(outputs)), lambda rows: unseen_logits(audit, ids[rows].tolist())
    )
    return Judged(ids.tolist(), logits, outputs, _whole(logits), by)


def _out_of_fold(audit: Audit, ids: np.ndarray) -> Judged | None:
    """The images that the head was fitted on; None where nothing fair is known."""
    path = audit.files.head.out_of_fold
    if there(path):
        stored = read_array(path, mapped=True)
        outputs = np.arange(len(audit.head.outputs))
        return Judged(ids.tolist(), stored, outputs, _whole(stored), BY_FOLD)
    if audit.manifest.mitigation is not None:
        return None
    labels = np.array(
        [audit.head.index(v) for v in audit.images_of(ids.tolist())["label"]], np.int64
    )
    outputs, numbers = np.unique(labels, return_inverse=True)
    if len(outputs) < 2:
        return None
    logits = out_of_fold(feature_rows(audit, ids.tolist()), numbers, len(outputs))
    several = np.bincount(numbers)[numbers] > 1  # the only image of a class is never held out
    return Judged(ids.tolist(), logits, outputs, several, BY_FOLD)


def _whole(logits: Rows) -> BoolArray:
    """(n,) rows without a NaN."""
    n = logits.shape[0]
    found = [~np.isnan(np.asarray(logits[rows])).any(axis=1) for rows in blocks(n)]
    return np.concatenate(found) if found else np.zeros(0, bool)


def _of(audit: Audit, judged: Judged) -> pd.DataFrame:
    """What is said of the labels of a group of images, among the classes that occur in it."""
    from scipy.special import softmax

    which = np.flatnonzero(judged.known)
    images = audit.images_of(judged.image_ids).iloc[which]
    given = np.array([audit.head.index(label) for label in images["label"]], np.int64)
    classes, labels = np.unique(given, return_inverse=True)
    if len(classes) < 2:
        raise ModelError("labels can be doubted where there are two classes or more")
    columns = np.searchsorted(judged.outputs, classes)
    probabilities = MadeRows(
        (len(which), len(classes)),
        lambda rows: softmax(np.asarray(judged.logits[which[rows]])[:, columns], axis=1),
    )
    said = told(labels, probabilities)
    names = np.array(audit.head.outputs, object)[classes]
    return pd.DataFrame(
        {
            "image_id": images.index,
            "label": images["label"].to_numpy(),
            "split": images["split"].to_numpy(),
            "suggested": names[said.other],
            "confidence": said.own,
            "margin": said.margins,
            "problem": problems(labels, probabilities, said),
            "by": judged.by,
        }
    )


def accuracy(found: pd.DataFrame) -> float:
    """Share of images whose label is the most probable class, in [0, 1].

    Parameters
    ----------
    found : the table of :func:`label_problems`.
    """
    return float((found["margin"] > 0.5).mean())


def by_decile(
    audit: Audit, decisions: Decisions, found: pd.DataFrame, wrong: pd.Series | None = None
) -> pd.DataFrame:
    """Problems by how much of its class's tagged cues an image shows.

    Parameters
    ----------
    found : the table of :func:`label_problems`.
    wrong : which labels people found wrong, bool by image id, of those that they looked at.

    Returns
    -------
    Ten rows, the least of the cues first: ``decile`` (1 to 10, within the class), ``n``,
    ``problems``, ``share`` with ``low`` and ``high`` (Clopper-Pearson, all ten at once),
    ``looked_at`` and ``precision``, the share of the problems looked at that are wrong; NaN without
    any. No row without a tagged cue.
    """
    return along_tenths(tenths_of_cues(audit, decisions), found, wrong)


def along_tenths(
    tenths: pd.Series, found: pd.DataFrame, wrong: pd.Series | None = None
) -> pd.DataFrame:
    """:func:`by_decile` of tenths that are known (:func:`core.tags.decisions.tenths_of_cues`)."""
    tenths = tenths.rename("decile")
    if tenths.empty:
        return pd.DataFrame(
            columns=["decile", "n", "problems", "share", "low", "high", "looked_at", "precision"]
        )
    table = found.set_index("image_id").join(tenths, how="inner")
    known = pd.Series(dtype=object) if wrong is None else wrong
    table["wrong"] = known.reindex(table.index).where(table["problem"])
    return pd.DataFrame([_row(int(d), rows) for d, rows in table.groupby("decile")])


class Change(NamedTuple):
    """What a correction of the model did to the doubts, over images that both judge alike."""

    n: int
    before: int
    """Doubted by the model that was corrected."""
    after: int
    no_longer: int
    newly: int
    p: float
    """Of the exact sign test (McNemar) that as many doubts came as went, two-sided; 1 of none."""


def changed(before: pd.DataFrame, after: pd.DataFrame) -> Change:
    """Doubts of a model and of its correction (tables of :func:`label_problems`).

    Only images of which the same kind of head speaks in both: the held-out ones, as a rule.
    """
    from scipy.stats import binomtest

    both = _in_both(before, after)
    was, now = (both[end].to_numpy(bool) for end in ("was", "now"))
    gone, came = int((was & ~now).sum()), int((~was & now).sum())
    p = float(binomtest(gone, gone + came).pvalue) if gone + came else 1.0
    return Change(len(both), int(was.sum()), int(now.sum()), gone, came, p)


def _in_both(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Images that the same kind of head judges in both, and whether either doubts them."""
    keys = ["image_id", "label", "by"]
    was, now = (
        table[[*keys, "problem"]].rename(columns={"problem": name})
        for table, name in ((before, "was"), (after, "now"))
    )
    return was.merge(now, on=keys)


def changed_along(tenths: pd.Series, before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """The same by tenth of the cues of the model before (:func:`along_tenths`).

    Columns: ``decile``, ``n``; ``was`` and ``now``, shares of doubted labels; ``change``, ``low``,
    ``high`` in points, image by image (:func:`core.statistics.intervals.paired_change`), the
    intervals corrected for ten tenths.
    """
    both = _in_both(before, after).assign(decile=lambda t: t["image_id"].map(tenths))
    rows = []
    for decile, mine in both.dropna(subset=["decile"]).groupby("decile"):
        was, now = (mine[end].to_numpy(bool) for end in ("was", "now"))
        change = paired_change(was, now, tests=TENTHS)
        points = dict(zip(("change", "low", "high"), (100 * end for end in change), strict=True))
        found = {"decile": int(decile), "n": len(mine), "was": was.mean(), "now": now.mean()}
        rows.append({**found, **points})
    return pd.DataFrame(rows, columns=["decile", "n", "was", "now", "change", "low", "high"])


def _row(decile: int, rows: pd.DataFrame) -> dict[str, float]:
    flagged, looked_at = int(rows["problem"].sum()), rows["wrong"].dropna()
    low, high = clopper_pearson(flagged, len(rows), TENTHS)
    return {
        **{"decile": decile, "n": len(rows), "problems": flagged, "share": flagged / len(rows)},
        **{"low": float(low), "high": float(high), "looked_at": len(looked_at)},
        "precision": float(looked_at.astype(float).mean()) if len(looked_at) else float("nan"),
    }


def wrong_labels(verdicts: pd.DataFrame) -> pd.Series:
    """Whether people found the label of an image wrong, by image id, from what they decided."""
    return pd.Series(verdicts["verdict"].to_numpy() != KEEP, index=verdicts["image_id"], dtype=bool)


def manifest_of(audit: Audit, verdicts: pd.DataFrame) -> pd.DataFrame:
    """The images as a manifest in which what people decided is done.

    Columns: ``path`` (absolute), ``label``, ``split`` and the attributes. Relabelled images bear
    their new label, excluded ones are left out.
    """
    table = audit.images[["path", "label", "split", *audit.summary.attributes]].copy()
    table["path"] = [full_name(audit.root, str(path)) for path in table["path"]]
    known = verdicts[verdicts["image_id"].isin(table.index)].set_index("image_id")
    changed = known.loc[known["verdict"] == RELABEL, "label"]
    table.loc[changed.index, "label"] = changed
    return table.drop(index=known.index[known["verdict"] == EXCLUDE]).reset_index(drop=True)
