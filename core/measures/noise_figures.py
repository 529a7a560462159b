"""Noise: what the core and the spurious regions alone carry, and the object and its background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from core.measures.measure import ONE, PLAIN, SEVERAL, Measure, Rows, Sample
from core.measures.rows import row_of
from core.measures.scope import Scope
from core.statistics.estimates import RelativeSensitivity
from core.trials.encoder import trial_split
from core.trials.noised import TAGGED, NoiseTrial
from core.trials.outcomes import MASKED, NOISE
from core.types import count_of

NEEDS_CORE = "needs tags: no candidate of these classes is decided core"
NO_CORE = "no candidate is tagged core: no spurious accuracy, no relative core sensitivity"


def _trial(scope: Scope, label: str, region: str) -> NoiseTrial:
    """The class under noise on a region, at the scope's sigma."""
    kind = NOISE if region in TAGGED else MASKED
    found = scope.outcomes.noise(label, scope.sigma, [kind])
    assert found is not None
    return found


def _hits(region: str) -> Callable[[Scope, str], Sample | str | None]:
    """Whether each image is predicted correctly with noise on a region, where it has one."""

    def sample(scope: Scope, label: str) -> Sample | str | None:
        if region == "spurious_accuracy" and not scope.decisions.core.get(label):
            return NO_CORE
        trial = _trial(scope, label, region)
        hits = trial.correct[region]
        if np.isnan(hits).all():
            return None
        note = (
            f"the mask covers {100 * trial.area(region):.0f} % on average{_by_fill(trial, region)}"
        )
        return _sample(scope, trial, hits, note)

    return sample


def _by_fill(trial: NoiseTrial, region: str) -> str:
    """What other fills do on some of the images: sensitivity to what stands in the region."""
    found = trial.by_fill(region)
    if not found:
        return ""
    n = next(iter(found.values()))[1]
    spread = float(np.std([value for value, _ in found.values()]))
    each = ", ".join(
        f"{FILL_WORDS[name]} {100 * value:.0f} %" for name, (value, _) in found.items()
    )
    every = count_of(n, "image")
    return f"; by fill, on {every}: {each} (standard deviation {100 * spread:.0f} points)"


FILL_WORDS = {"noise": "noise", "mean": "the model's mean colour", "blur": "blurred"}


def _sample(scope: Scope, trial: NoiseTrial, values: np.ndarray, note: str) -> Sample:
    ids, sigma = trial.table["image_id"].tolist(), f"sigma {scope.sigma:g}"
    return Sample(
        ids, values, subject=sigma, note=note, split=trial_split(scope.audit), stratum="noise"
    )


def _with_clean(measure: Measure, region: str) -> Callable[[Scope, str], Rows | str]:
    """The row of a region, and that of the very same images without noise."""

    def rows(scope: Scope, label: str) -> Rows | str:
        samples = measure.samples(scope, label)
        if isinstance(samples, str):
            return samples
        found = [row_of(measure, scope, label, sample) for sample in samples]
        for sample in samples:
            clean = np.where(np.isnan(sample.values), np.nan, _trial(scope, label, region).clean)
            subject = f"{sample.subject}, {measure.name}"
            found.append(
                row_of(CLEAN, scope, label, replace(sample, values=clean, subject=subject, note=""))
            )
        return found

    return rows


def _both(high: str, low: str) -> Callable[[Scope, str], Sample | str | None]:
    """Whether each image is right with noise here and there, of those that have both regions."""

    def sample(scope: Scope, label: str) -> Sample | str | None:
        if high in TAGGED and not scope.decisions.core.get(label):
            return NO_CORE
        trial = _trial(scope, label, high)
        values = np.column_stack([trial.correct[high], trial.correct[low]])
        if np.isnan(values).any(axis=1).all():
            return None
        note = "on the images that have both regions; interval by bootstrap"
        return _sample(scope, trial, values, note)

    return sample


def _accuracy(
    name: str, title: str, text: str, direction: str, source: str, region: str, **more: Any
) -> Measure:
    kind = NOISE if region in TAGGED else MASKED
    measure = Measure(name, title, text, direction=direction, source=source, part="noise",
                      needs=(kind,), sample=_hits(region), averaged=True, **more)  # fmt: skip
    return replace(measure, rows=_with_clean(measure, region))


_SALIENT = "Singla & Feizi 2022, section 5"
_MASKS = "Moayeri, Pope et al. 2022, section 3"
CLEAN = Measure(
    "clean_accuracy",
    "Clean accuracy",
    "Accuracy without noise on the very images of another accuracy of the noise test.",
    better=1,
    source=_SALIENT,
    views=(ONE,),
    part="noise",
    averaged=True,
)
CORE_ACCURACY = _accuracy(
    "core_accuracy",
    "Core accuracy",
    "Accuracy with noise on the spurious regions: what the core regions alone carry.",
    "higher: less use of the spurious regions",
    _SALIENT,
    "core_accuracy",
    better=1,
    views=(ONE, SEVERAL),
    lacking=NEEDS_CORE,
)
SPURIOUS_ACCURACY = _accuracy(
    "spurious_accuracy",
    "Spurious accuracy",
    "Accuracy with noise on the core regions: what the spurious regions alone carry.",
    "higher: less use of the core regions",
    _SALIENT,
    "spurious_accuracy",
    views=(ONE, SEVERAL),
    lacking=NEEDS_CORE,
)
BACKGROUND_NOISE_ACCURACY = _accuracy(
    "background_noise_accuracy",
    "Accuracy with noise on the background",
    "Accuracy with noise outside the object's mask.",
    "higher is better",
    _MASKS,
    "background",
    better=1,
    views=(ONE,),
)
FOREGROUND_NOISE_ACCURACY = _accuracy(
    "foreground_noise_accuracy",
    "Accuracy with noise on the object",
    "Accuracy with noise on the object's mask.",
    "higher is better",
    _MASKS,
    "foreground",
    better=1,
    views=(ONE,),
)
RELATIVE_CORE_SENSITIVITY = Measure(
    "relative_core_sensitivity",
    "Relative core sensitivity",
    "(a_c - a_s) / (2 min(m, 1 - m)) of core and spurious accuracy, m their mean.",
    PLAIN,
    "in [-1, 1]; higher: relies more on core regions",
    better=1,
    source="Singla, Moayeri & Feizi 2022",
    views=(ONE, SEVERAL),
    part="noise",
    needs=(NOISE,),
    sample=_both("core_accuracy", "spurious_accuracy"),
    estimate=RelativeSensitivity(),
    averaged=True,
    lacking=NEEDS_CORE,
)
RELATIVE_FOREGROUND_SENSITIVITY = Measure(
    "relative_foreground_sensitivity",
    "Relative foreground sensitivity",
    "(a_b - a_f) / (2 min(m, 1 - m)) of accuracy with noise on background and foreground.",
    PLAIN,
    "in [-1, 1]; higher: relies more on the object",
    better=1,
    source=_MASKS,
    views=(ONE,),
    part="noise",
    needs=(MASKED,),
    sample=_both("background", "foreground"),
    estimate=RelativeSensitivity(),
    averaged=True,
)
