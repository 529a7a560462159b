"""``python -m core data …``: whether it is the data."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from core.commands.terminal import Answer, records
from core.quality.data_request import DataRequest
from core.storage.workspace import Workspace
from core.types import Reporter, count_of, silent

if TYPE_CHECKING:
    import pandas as pd

    from core.audits.audit import Audit

SHOWN = 10
"""Lines of each part for people."""


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """Each part that is asked for; it is stored and found again."""
    from core.tags.saved_groups import open_with_groups

    request = DataRequest.from_options(options)
    audit = open_with_groups(workspace, request.audit)
    result: dict[str, object] = {"audit": audit.id}
    lines: list[str] = []
    for part in request.parts:
        found, said = LOOKS[part](audit, workspace, report)
        result[part] = found
        lines += said
    return Answer(result, "\n".join(lines))


Look = Callable[["Audit", Workspace, Reporter], tuple[object, list[str]]]
"""Looks at a part of the data: as a document, and in lines."""


def _labels(audit: Audit, workspace: Workspace, report: Reporter) -> tuple[object, list[str]]:
    from core.quality.label_problems import accuracy, by_decile, label_problems, wrong_labels
    from core.tags.decisions import decided
    from core.tags.image_verdicts import ImageVerdicts
    from core.tags.image_verdicts import decided as decided_images
    from core.tags.log import TagStore

    store = TagStore.open(workspace)
    found = label_problems(audit, report)
    verdicts = decided_images(ImageVerdicts(store).standing(audit.id))
    deciles = by_decile(audit, decided(audit, store), found, wrong_labels(verdicts))
    doubtful = found[found["problem"]]
    said = [
        f"labels: {len(doubtful)} of {len(found)} are doubted, by heads that are right on "
        f"{100 * accuracy(found):.0f} %"
    ]
    names = audit.class_names
    said += [
        f"  {audit.images.at[row.image_id, 'path']}: {names.get(row.label, row.label)}, perhaps "
        f"{names.get(row.suggested, row.suggested)}"
        for row in doubtful.head(SHOWN).itertuples()
    ]
    document = {
        "looked_at": len(found),
        "accuracy": accuracy(found),
        "problems": records(doubtful),
        "deciles": records(deciles),
    }
    return {**document, "decided": records(verdicts)}, said


def _copies(audit: Audit, _: Workspace, report: Reporter) -> tuple[object, list[str]]:
    from core.quality.near_duplicates import near_duplicates, shared_values

    found, shared = near_duplicates(audit, report), shared_values(audit)
    leaks = found[found["leak"]]["group"].nunique()
    n = found["group"].nunique()
    said = [f"copies: {count_of(n, 'group')} of images that are one, {leaks} in two splits"]
    said += [
        f"  {row.attribute}: {row.in_two_splits} of {row.values} values are in two splits"
        for row in shared.itertuples()
    ]
    return {"images": records(found), "attributes": records(shared)}, said


def _shortcuts(audit: Audit, _: Workspace, report: Reporter) -> tuple[object, list[str]]:
    from core.quality.cheap_shortcuts import alone, cheap_shortcuts, together

    every = cheap_shortcuts(audit, report)
    found = alone(every)
    said = [f"properties: {_counted(found['reading'].tolist())}"]
    said += [f"  {words}" for words in [together(every)] if words]
    said += [
        f"  {row.property}: {row.reading} (alone right in {row.accuracy:.2f}, by chance "
        f"{row.chance:.2f}{f'; errors in {row.worst}' if row.worst else ''})"
        for row in found[found["reading"] != ""].head(SHOWN).itertuples()
    ]
    return records(every), said


def _attributes(audit: Audit, _: Workspace, report: Reporter) -> tuple[object, list[str]]:
    from core.quality.decodable import decodable

    found = decodable(audit, report)
    said = [f"attributes: {count_of(len(found), 'value')} can be asked for"]
    said += [
        f"  {row.attribute} = {row.value}: read off the features with AUROC {row.auroc:.2f} "
        f"[{row.low:.2f}, {row.high:.2f}], within classes {row.within:.2f}"
        for row in found.head(SHOWN).itertuples()
    ]
    return records(found), said


def _slices(audit: Audit, _: Workspace, report: Reporter) -> tuple[object, list[str]]:
    from core.quality.error_slices import error_slices

    return _errs(audit, "slices", error_slices(audit, report), "have a group")


def _combinations(audit: Audit, _: Workspace, report: Reporter) -> tuple[object, list[str]]:
    from core.quality.error_slices import attribute_slices

    found = attribute_slices(audit, report)
    return _errs(audit, "combinations", found, "have a group by attributes")


def _strategies(audit: Audit, _: Workspace, report: Reporter) -> tuple[object, list[str]]:
    from core.candidates.cluster_kind import CLUSTER
    from core.quality.error_slices import strategy_slices

    if not (audit.candidates["kind"] == CLUSTER).any():
        return [], ["strategies: none found yet; find some: python -m core discover AUDIT"]
    found = strategy_slices(audit, report)
    return _errs(audit, "strategies", found, "have a cluster of explanations")


def _errs(audit: Audit, name: str, found: pd.DataFrame, has: str) -> tuple[object, list[str]]:
    if found.empty:
        return [], [f"{name}: no class has enough errors, with enough to set them against"]
    sure, names = found[found["certain"]], audit.class_names
    said = [f"{name}: {len(sure)} of {len(found)} classes {has} that errs more than the rest"]
    said += [
        f"  {names.get(row.label, row.label)}: {count_of(row.n, 'image')}, "
        f"{100 * row.errs:.0f} % wrong, rest {100 * row.rest:.0f} %"
        f"{f' ({row.words})' if row.words else ''}"
        for row in sure.head(SHOWN).itertuples()
    ]
    return records(found), said


def _counted(readings: list[str]) -> str:
    called = {word: readings.count(word) for word in dict.fromkeys(readings) if word}
    some = ", ".join(f"{n} {_verb(word, n)}" for word, n in called.items())
    return some or f"none of {len(readings)} tells the label or the errors"


def _verb(reading: str, n: int) -> str:
    """A reading as what ``n`` properties do: 1 only tells the label, 2 only tell it."""
    from core.quality.cheap_shortcuts import SHORTCUT

    if reading == SHORTCUT:
        return reading if n == 1 else f"{reading}s"
    return f"only {reading if n == 1 else reading.replace('tells', 'tell', 1)}"


LOOKS: dict[str, Look] = {
    **{"labels": _labels, "copies": _copies},
    **{"shortcuts": _shortcuts, "attributes": _attributes, "slices": _slices},
    **{"combinations": _combinations, "strategies": _strategies},
}
