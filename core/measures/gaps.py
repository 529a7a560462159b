"""Rows about stored predictions: spurious gaps and groups. No model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.candidates.candidate import Candidate, alphas_of
from core.measures.rows import EVERYWHERE, note, row
from core.statistics.intervals import accuracy_gaps, critical, mean_interval, wilson
from core.statistics.spuriosity import Group, SpuriousGap, groups, reliability, spurious_gap
from core.tags.decisions import Decisions, spuriosity_of, values_of
from core.types import FloatArray

Rows = list[dict[str, Any]]

CHUNK = 4096
"""Images whose features are in memory at once."""

BLOCK = 512
"""Candidates whose alpha on every held-out image is in memory at once."""

MANY_VALUES = 50
"""An attribute with more values than this is a quantity, not a group."""


def share(hits: float, n: int, tests: int = 1) -> tuple[float, float]:
    """Wilson interval of a share, corrected for ``tests`` comparisons (Bonferroni)."""
    if not n:
        return float("nan"), float("nan")
    z = critical(tests)
    low, high = wilson(np.array(hits, np.float64), n, z=z)
    return float(low), float(high)


def gap_rows(audit: Audit, decisions: Decisions) -> Rows:
    """Gaps of every class with a spurious candidate, of each candidate, and their mean."""
    found: Rows = []
    tests = len(decisions.spurious)
    candidates = sum(len(c) for c in decisions.spurious.values())
    plain = []
    for label, spurious in decisions.spurious.items():
        facts = audit.class_facts(label)
        table = spuriosity_of(audit, label, spurious)
        table = table[table["held_out"] & table["spuriosity"].notna()]
        if len(table) < 2:
            found.append(note(_too_few(audit, len(table)), n=len(table), facts=facts))
            continue
        correct, scores = table["correct"].to_numpy(), table["spuriosity"].to_numpy()
        plain.append(spurious_gap(correct, scores))
        found += _class_rows(audit, facts, spurious_gap(correct, scores, tests=tests), tests)
        found += _candidate_rows(audit, facts, decisions, candidates)
    return found + _mean_rows(audit, plain)


def _too_few(audit: Audit, n: int) -> str:
    return f"{n} images with a spuriosity on {audit.summary.held_out}; a gap needs two"


def _corrected(tests: int, what: str) -> str:
    return f"interval corrected for {tests} {what} (Bonferroni)" if tests > 1 else ""


def _class_rows(audit: Audit, facts: AuditedClass, gap: SpuriousGap, tests: int) -> Rows:
    split = audit.summary.held_out
    said = f"k = {gap.k} of {gap.n} images a side"
    rows = [
        row(
            facts,
            "spurious_gap",
            gap.gap,
            interval=(gap.low, gap.high),
            reading=gap.reading,
            n=2 * gap.k,
            split=split,
            note=_joined(said, _corrected(tests, "classes")),
        )
    ]
    for name, accuracy in (("high", gap.accuracy_high), ("low", gap.accuracy_low)):
        rows.append(
            row(
                facts,
                f"accuracy_{name}_spuriosity",
                accuracy,
                interval=share(accuracy * gap.k, gap.k),
                n=gap.k,
                split=split,
                note=said,
            )
        )
    return rows


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _candidate_rows(audit: Audit, facts: AuditedClass, decisions: Decisions, tests: int) -> Rows:
    label = facts.label
    spurious = decisions.spurious[label]
    arrays = audit.class_arrays(facts.class_idx)
    rows = audit.images.index.get_indexer(arrays.image_ids)
    kept = audit.held_out[rows]
    correct = audit.images["fair"].to_numpy(dtype=bool)[rows][kept]
    gaps = accuracy_gaps(correct, values_of(audit, label, spurious)[kept], tests=tests)
    said = _joined(f"k = {gaps.k} a side", _corrected(tests, "candidates"))
    return [
        row(
            facts,
            "candidate_gap",
            gaps.gap[i],
            interval=(gaps.gap_low[i], gaps.gap_high[i]),
            n=2 * gaps.k,
            subject=candidate.title,
            split=audit.summary.held_out,
            reading=_reading(gaps.gap_low[i], gaps.gap_high[i]),
            note=said,
        )
        for i, candidate in enumerate(spurious)
    ]


def _reading(low: float, high: float) -> str:
    if low > 0:
        return "clarifying"
    return "confusing" if high < 0 else "not certain"


def _mean_rows(audit: Audit, gaps: list[SpuriousGap]) -> Rows:
    """Mean gap; its interval from those of the classes (Zou & Donner 2008), one comparison."""
    if not gaps:
        return []
    bounds = np.array([(g.gap, g.low, g.high) for g in gaps])
    mean, (low, high) = float(bounds[:, 0].mean()), mean_interval(*bounds.T)
    said = f"mean of {len(gaps)} classes, n counts their images"
    return [
        row(
            EVERYWHERE,
            "mean_spurious_gap",
            mean,
            interval=(low, high),
            n=sum(2 * g.k for g in gaps),
            split=audit.summary.held_out,
            reading=_reading(low, high),
            note=said,
        )
    ]


def reliability_rows(audit: Audit, decisions: Decisions) -> Rows:
    """How class-specific every tagged candidate is, over the held-out images of all classes."""
    tagged = [
        (label, tag, candidate)
        for tag, found in (("spurious", decisions.spurious), ("core", decisions.core))
        for label in found
        if label in decisions.spurious
        for candidate in found[label]
    ]
    if not tagged:
        return []
    images = audit.images[audit.held_out]
    codes, labels = pd.factorize(images["label"])
    place = {label: code for code, label in enumerate(labels)}
    said = {"split": audit.summary.held_out}
    rows: Rows = []
    for start in range(0, len(tagged), BLOCK):
        part = tagged[start : start + BLOCK]
        values = _alphas(audit, [candidate for *_, candidate in part], images.index.tolist())
        for value, (label, tag, candidate) in zip(values, part, strict=True):
            known = np.isfinite(value)
            value, own = value[known], codes[known] == place.get(label, -1)
            if n := int(own.sum()):
                found = reliability(value, own)
                rows.append(
                    row(
                        audit.class_facts(label),
                        "reliability",
                        found,
                        interval=share(found * n, n),
                        n=n,
                        subject=candidate.title,
                        reading=f"chance {own.mean():.3f}",
                        note=f"tagged {tag}",
                        **said,
                    )
                )
    return rows


def _alphas(audit: Audit, candidates: Sequence[Candidate], ids: Sequence[str]) -> FloatArray:
    """Alpha (m, n) float32 of some candidates on any images; NaN where it is not known."""
    found = np.full((len(candidates), len(ids)), np.nan, np.float32)
    quick = [i for i, c in enumerate(candidates) if c.needs == "features"]
    for start in range(0, len(ids) if quick else 0, CHUNK):
        part = slice(start, min(start + CHUNK, len(ids)))
        features = audit.features(ids[part])
        found[quick, part] = alphas_of([candidates[i] for i in quick], features).T
    for i in set(range(len(candidates))) - set(quick):
        found[i] = audit.known_alpha(candidates[i], ids)
    return found


def group_rows(audit: Audit) -> Rows:
    """Accuracy of every class and value of an attribute, and the worst group; needs no tags."""
    attributes = audit.summary.attributes
    if not attributes:
        return [note("the data has no attributes: groups need a manifest with further columns")]
    images = audit.images[audit.held_out]
    rows: Rows = []
    for attribute in attributes:
        if images[attribute].nunique(dropna=False) > MANY_VALUES:
            rows.append(note(f"{attribute} has more than {MANY_VALUES} values: not grouped"))
        else:
            rows += _attribute_rows(audit, images[["label", "fair", attribute]], attribute)
    return rows


def _attribute_rows(audit: Audit, images: Any, attribute: str) -> Rows:
    split = audit.summary.held_out
    tests = len(images[["label", attribute]].drop_duplicates())
    found: list[tuple[AuditedClass, Group]] = []
    by_label = images.groupby("label").indices
    for facts in audit.classes:
        mine = images.iloc[by_label.get(facts.label, [])]
        values = mine[attribute].to_numpy(dtype=object)
        accuracies = groups(mine["fair"].to_numpy(dtype=bool), values, tests=tests)
        found += [(facts, group) for group in accuracies]
    if not found:
        return []
    said = _corrected(tests, "groups")

    def group_row(measure: str, facts: AuditedClass, group: Group) -> dict[str, Any]:
        return row(
            facts,
            measure,
            group.accuracy,
            interval=(group.low, group.high),
            n=group.n,
            subject=f"{attribute} = {group.value}",
            split=split,
            note=said,
        )

    worst = min(found, key=lambda pair: pair[1].accuracy)
    return [
        *(group_row("group_accuracy", facts, group) for facts, group in found),
        group_row("worst_group_accuracy", *worst),
    ]
