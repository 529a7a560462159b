"""How far annotators agree. The coefficients come from maintained libraries."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from core.tags.votes import GOLD, KEYS, of_people
from core.types import Tag

MOST_PAIRS = 1000
"""Pairs of annotators compared at most; those with the most common candidates."""


@dataclass(frozen=True)
class Agreement:
    """How far people agree. 1 is full agreement, 0 what chance gives; None where not defined."""

    candidates: int
    annotators: int
    answers: int
    """Counts."""
    fleiss_kappa: float | None
    """Over all answers: core, separate_object, background, spurious without subtype, unsure."""
    fleiss_kappa_binary: float | None
    """For core against spurious (Fleiss 1971; statsmodels)."""
    fleiss_candidates: int
    fleiss_answers: int
    """What both are over: the candidates with the most frequent number of answers, at least 2."""
    krippendorff_alpha: float | None
    """Nominal over all answers, missing ones allowed (Krippendorff 2011)."""
    unanimous: float | None
    """Share of candidates with at least 2 answers on which all say the same."""


def agreement(table: pd.DataFrame) -> Agreement:
    """Every figure about the agreement of some answers (:func:`core.tags.votes.answers`)."""
    table = of_people(table)
    said = table["subtype"].where(table["subtype"].notna(), table["tag"])
    everything = table.assign(answer=said)
    binary = everything[everything["tag"] != Tag.UNSURE.value].assign(answer=lambda t: t["tag"])
    several = everything.groupby(KEYS)["answer"].agg(["size", "nunique"])
    several = several[several["size"] > 1]
    kappa, candidates, n = fleiss(everything)
    return Agreement(
        candidates=len(everything[KEYS].drop_duplicates()),
        annotators=int(everything["annotator"].nunique()),
        answers=len(everything),
        fleiss_kappa=kappa,
        fleiss_kappa_binary=fleiss(binary)[0],
        fleiss_candidates=candidates,
        fleiss_answers=n,
        krippendorff_alpha=krippendorff_alpha(everything),
        unanimous=float((several["nunique"] == 1).mean()) if len(several) else None,
    )


def fleiss(table: pd.DataFrame) -> tuple[float | None, int, int]:
    """Fleiss' kappa, the number of candidates it is over, and the answers each of them has.

    Parameters
    ----------
    table : KEYS and ``answer``.
    """
    counts = table.groupby(KEYS)["answer"].value_counts().unstack(fill_value=0)
    sizes = counts.sum(axis=1)
    if not (sizes > 1).any():
        return None, 0, 0
    n = int(sizes[sizes > 1].mode().max())
    counts = counts[sizes == n]
    from statsmodels.stats.inter_rater import fleiss_kappa

    if (counts.sum(axis=0) > 0).sum() < 2:
        return None, len(counts), n
    return float(fleiss_kappa(counts.to_numpy())), len(counts), n


def krippendorff_alpha(table: pd.DataFrame) -> float | None:
    """Krippendorff's alpha for nominal answers, missing ones allowed."""
    import krippendorff

    codes, names = pd.factorize(table["answer"], sort=True)
    if len(names) < 2:
        return None
    items = table.groupby(KEYS, sort=True).ngroup().to_numpy()
    counts = np.zeros((items.max() + 1, len(names)), int)
    np.add.at(counts, (items, codes), 1)
    if not (counts.sum(axis=1) > 1).any():
        return None
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def people(table: pd.DataFrame) -> pd.DataFrame:
    """Per annotator: answers, share of each tag, mean confidence, agreement with the others.

    ``agreement``: share of this person's answers that equal the majority of everybody else's on
    the same candidate (ties left out); NaN where there is none. ``gold`` and ``gold_answers``:
    share of this person's answers to gold questions that are right, and how many there are.
    """
    rows = []
    known = table[table["annotator"] == GOLD].set_index(KEYS)["tag"]
    table = of_people(table)
    for name, mine in table.groupby("annotator"):
        shares = {t.value: float((mine["tag"] == t.value).mean()) for t in Tag}
        rows.append(
            {
                "annotator": name,
                "answers": len(mine),
                **shares,
                "confidence": mine["confidence"].astype("float64").mean(),
                "agreement": _with_others(table, str(name)),
                **_on_gold(mine, known),
            }
        )
    return pd.DataFrame(rows)


def _on_gold(mine: pd.DataFrame, known: pd.Series) -> dict[str, float]:
    """How one person answered the questions whose answers are known."""
    said = mine.set_index(KEYS)["tag"]
    said = said[said.index.isin(known.index)]
    right = (said == known.reindex(said.index)).mean() if len(said) else float("nan")
    return {"gold": float(right), "gold_answers": len(said)}


def _with_others(table: pd.DataFrame, name: str) -> float:
    mine = table[table["annotator"] == name].set_index(KEYS)["tag"]
    others = table[table["annotator"] != name]
    counts = others.groupby(KEYS)["tag"].value_counts().unstack(fill_value=0)
    counts = counts.reindex(mine.index).fillna(0)
    if counts.empty:
        return float("nan")
    top = counts.max(axis=1)
    decided = (counts.eq(top, axis=0).sum(axis=1) == 1) & (top > 0)
    best = counts.idxmax(axis=1)[decided]
    return float((best == mine[decided]).mean()) if len(best) else float("nan")


def pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Cohen's kappa (Cohen 1960; scikit-learn) of every two people over their common candidates.

    Columns: ``first``, ``second``, ``common``, ``kappa`` (NaN where both always say the same one
    thing), most common candidates first.
    """
    from sklearn.metrics import cohen_kappa_score

    table = of_people(table)
    wide = table.pivot_table(index=KEYS, columns="annotator", values="tag", aggfunc="last")
    known = wide.notna().to_numpy().astype(int)
    common = known.T @ known
    every = sorted(combinations(range(wide.shape[1]), 2), key=lambda p: -common[p])
    rows = []
    for a, b in every[:MOST_PAIRS]:
        if common[a, b] < 2:
            break
        both = wide.iloc[:, [a, b]].dropna()
        said = both.to_numpy().astype(str)
        kappa = float("nan")
        if len(np.unique(said)) > 1:
            kappa = float(cohen_kappa_score(said[:, 0], said[:, 1]))
        rows.append((wide.columns[a], wide.columns[b], int(common[a, b]), kappa))
    return pd.DataFrame(rows, columns=["first", "second", "common", "kappa"])


def disagreements(votes: pd.DataFrame) -> pd.DataFrame:
    """Candidates with at least two answers that are not unanimous, most divided first.

    ``votes`` as :func:`core.tags.votes.count_votes` makes them; ``division`` is the entropy of
    the tags in bits.
    """
    counts = votes[[t.value for t in Tag]].to_numpy(dtype=float)
    share = counts / counts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = -np.nansum(np.where(share > 0, share * np.log2(share), 0), axis=1)
    found = votes.assign(division=bits)
    found = found[(found["n"] > 1) & (found["division"] > 0)]
    return found.sort_values(["division", "n"], ascending=False, kind="stable", ignore_index=True)
