"""A measure of another package: how sure the model is of images that show a class's cue most."""

from __future__ import annotations

from core.measures.measure import PLAIN, Measure, Sample
from core.measures.registry import register
from core.measures.scope import Scope
from core.statistics.estimates import Mean
from core.statistics.intervals import side_size


def sample(scope: Scope, label: str) -> Sample | str:
    """The confidence of the class's k images of highest spuriosity."""
    ids = scope.ranked(label)["image_id"].tolist()
    ids = ids[: side_size(len(ids))]
    if not ids:
        return "no held-out image of the class is ranked"
    values = scope.audit.images["confidence"].loc[ids].to_numpy(float)
    return Sample(ids, values, note=f"k = {len(ids)}")


SURE = register(
    Measure(
        "sure_of_cue",
        "Confidence where the cue is",
        "Mean confidence on the k images of highest spuriosity.",
        PLAIN,
        "lower: less is taken for certain because of the cue",
        better=-1,
        source="an example",
        sample=sample,
        estimate=Mean(),
    )
)
