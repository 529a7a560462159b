"""How little of an image is enough, as figures of classes (:mod:`core.trials.subset_trial`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.explain.fills import WORDS
from core.measures.measure import ONE, SEVERAL, Measure, Rows, Sample
from core.measures.rows import EVERYWHERE, row
from core.statistics.bootstrap import bootstrapped
from core.statistics.estimates import Bounds, Proportion, StudentMean
from core.statistics.paired import weighted_share
from core.trials.encoder import trial_split
from core.trials.outcomes import ON_CUE, SUBSETS
from core.types import FloatArray, count_of

if TYPE_CHECKING:
    import pandas as pd

    from core.measures.scope import Scope

FEWEST = 2
"""Images that a mean with an interval takes."""

ON = "filled with the colour that tells the model least"
"""How everything here is masked; a note says which that is."""


def _table(scope: Scope, label: str) -> pd.DataFrame:
    table = scope.outcomes.subsets(label)
    assert table is not None  # what the part needs was made
    return table


def _sample(
    scope: Scope, table: pd.DataFrame, values: FloatArray, note: str
) -> Sample | str | None:
    """A sample with what has to be known of the fill; none of too few images."""
    if len(table) < FEWEST:
        return None
    alone, moved = table["alone"].mean(), table["sensitivity"].mean()
    fill = WORDS[str(table["fill"].iloc[0])]
    said = (
        f"{note}; filled with {fill}; the fill alone is given the class with {100 * alone:.1f} %, "
        f"on other fills the subset's probability differs by {100 * moved:.0f} points (standard "
        "deviation)"
    )
    ids = table["image_id"].tolist()
    return Sample(ids, values, subject=ON, note=said, split=trial_split(scope.audit))


def _sizes(*, right: bool) -> Callable[[Scope, str], Sample | str | None]:
    def sample(scope: Scope, label: str) -> Sample | str | None:
        table = _table(scope, label)
        table = table[table["right"] == right]
        note = f"{len(table)} {'right' if right else 'wrong'} images"
        return _sample(scope, table, table["size"].to_numpy(np.float64), note)

    return sample


def _best(scope: Scope, label: str) -> Sample | str | None:
    table = _table(scope, label)
    table = table[table["drawn"]]
    note = f"{100 * table['right'].mean():.0f} % on the whole images" if len(table) else ""
    return _sample(scope, table, table["best"].to_numpy(np.float64), note)


def _border(scope: Scope, label: str) -> Sample | str | None:
    table = _table(scope, label)
    right, table = table["right"].sum(), table[table["right"] & table["border"].notna()]
    if len(table) < FEWEST <= right:
        filled = f"{right - len(table)} of {right} right images"
        return f"the fill alone is enough for {filled}: nothing of them is needed at any place"
    note = "the border, one patch wide, is 27 % of the image"
    return _sample(scope, table, table["border"].to_numpy(np.float64), note)


def _cue(scope: Scope, label: str) -> Sample | str | None:
    cue = scope.outcomes.on_cue(label)
    assert cue is not None  # what the part needs was made
    table = _table(scope, label).merge(cue, on="image_id")
    if table.empty:
        return "no image of the sample has a region of the tagged cue"
    inside, area = table["inside"].to_numpy(np.float64), table["area"].to_numpy(np.float64)
    note = (
        f"{100 * inside.mean():.0f} % of what is enough lies on the cue, which covers "
        f"{100 * area.mean():.0f} % of the image"
    )
    return _sample(scope, table, inside - area, note)


def _recognised(scope: Scope, label: str, bounds: Bounds) -> str:
    """A size in words."""
    name = scope.owner.class_facts(label).name
    if bounds[0] == 0:
        return f"the fill alone is given {name}: how little is enough cannot be told"
    return f"{name} is recognised from at most {100 * bounds[0]:.1f} % of the image"


def _edged(scope: Scope, label: str, bounds: Bounds) -> str:
    return f"{100 * bounds[0]:.0f} % of what is enough lies at the border"


def _leans(scope: Scope, label: str, bounds: Bounds) -> str:
    value, low, high = bounds
    if low > 0:
        return "what is enough lies on the cue, more than by chance"
    return "what is enough avoids the cue" if high < 0 else "no more on the cue than by chance"


def _everywhere(
    own: Callable[[], Measure], column: str, chosen: Callable[[pd.DataFrame], pd.Series]
) -> Callable[[Scope], Rows]:
    """The row of the model: over the classes that were looked at, tagged and drawn ones."""

    def rows(scope: Scope) -> Rows:
        tables = [scope.outcomes.subsets(label) for label in scope.outcomes.subset_labels]
        known = [t.loc[chosen(t), column].dropna().to_numpy(np.float64) for t in tables if
                 t is not None]  # fmt: skip
        values = [each for each in known if len(each)]
        if not values or sum(map(len, values)) < FEWEST:
            return []
        measure = own()
        of = count_of(len(values), "class", "classes")
        note = f"images of {of}, the tagged ones and some drawn beside them"
        return [
            row(
                EVERYWHERE,
                measure,
                float(np.concatenate(values).mean()),
                interval=_ends(measure, values),
                n=sum(map(len, values)),
                subject=ON,
                split=trial_split(scope.audit),
                note=note,
            )
        ]

    return rows


def _ends(measure: Measure, values: Sequence[FloatArray]) -> tuple[float, float]:
    """Interval of a mean over images of several classes; by bootstrap where a draw differs."""
    whole = np.concatenate(values)
    if isinstance(measure.estimate, Proportion) or np.ptp(whole) == 0:
        return measure.estimate.of(whole)[1:]
    return bootstrapped(lambda weights: weighted_share(whole, weights), [*map(len, values)])


def _right(table: pd.DataFrame) -> pd.Series:
    return table["right"].astype(bool)


_CARTER = "Carter et al. 2021, section 3"
_SIZE = (
    "Share of an image that is enough for nine tenths of the confidence in its class, the rest "
    "filled; the search is greedy, so that a smaller part may do: {}. Small: the model is sure of "
    "an image from very little of it."
)
RIGHT: Measure = Measure(
    "subset_size",
    "How little is enough",
    _SIZE.format("mean over images that are right"),
    source=_CARTER,
    views=(ONE, SEVERAL),
    part="subsets",
    needs=(SUBSETS,),
    sample=_sizes(right=True),
    estimate=StudentMean((0.0, 1.0)),
    reading=_recognised,
    everywhere=_everywhere(lambda: RIGHT, "size", _right),
)
WRONG: Measure = Measure(
    "subset_size_wrong",
    "How little is enough, wrong images",
    _SIZE.format("mean over images that are wrong, of the class that they are given"),
    source=_CARTER,
    views=(ONE,),
    part="subsets",
    needs=(SUBSETS,),
    sample=_sizes(right=False),
    estimate=StudentMean((0.0, 1.0)),
    everywhere=_everywhere(lambda: WRONG, "size", lambda table: ~_right(table)),
)
ON_BEST: Measure = Measure(
    "subset_accuracy",
    "Accuracy on the best 5 %",
    "Accuracy of the model on the twentieth of an image's patches that went last, the rest filled.",
    direction="near the accuracy on whole images: the model needs little of them",
    source=_CARTER,
    views=(ONE, SEVERAL),
    part="subsets",
    needs=(SUBSETS,),
    sample=_best,
    estimate=Proportion(),
    everywhere=_everywhere(lambda: ON_BEST, "best", lambda table: table["drawn"].astype(bool)),
)
BORDER: Measure = Measure(
    "subset_border",
    "Share of it at the border",
    "Share of what is enough that lies in the outermost patches, mean over right images.",
    direction="above the border's own share of the image the model reads the margin",
    source=_CARTER,
    views=(ONE, SEVERAL),
    part="subsets",
    needs=(SUBSETS,),
    sample=_border,
    estimate=StudentMean((0.0, 1.0)),
    reading=_edged,
    everywhere=_everywhere(lambda: BORDER, "border", _right),
    lacking="of every tagged class fewer than two right images need anything but the fill",
)
CUE = Measure(
    "subset_on_cue",
    "What is enough, on the tagged cue",
    "Share of what is enough that lies in the region of the tagged cue, minus the region's share "
    "of the image: 0 is what a subset that lies anywhere would have.",
    direction="above 0 the cue is among what is enough",
    better=-1,
    views=(ONE, SEVERAL),
    part="subsets",
    needs=(SUBSETS, ON_CUE),
    sample=_cue,
    estimate=StudentMean((-1.0, 1.0)),
    reading=_leans,
)
