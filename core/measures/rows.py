"""The rows of the table of measures, and what every measure means."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from core.audits.audited import AuditedClass

COLUMNS = [
    *("class_idx", "label", "class_name", "measure", "subject", "value", "low", "high", "unit"),
    *("n", "split", "reading", "source", "note"),
]
"""``class_idx`` is -1 and ``label`` empty where a row is about all classes; ``value`` is NaN in
the rows ``note``. ``low`` and ``high`` bound a 95 % interval, NaN where there is none."""

POINTS, SHARE, PLAIN = "points", "share", ""


class Definition(NamedTuple):
    """What a measure is, for people."""

    text: str
    direction: str
    unit: str
    source: str


_RANKINGS = "Moayeri et al. 2023, section 3"
_FACTORIAL = "this project, on images composed as by Sauer & Geiger 2021"
_SALIENT = "Singla & Feizi 2022, section 5"

DEFINITIONS = {
    "spurious_gap": Definition(
        "Accuracy on the k images of highest spuriosity minus that on the k lowest.",
        "positive: clarifying, the cue helps; negative: confusing",
        POINTS,
        _RANKINGS,
    ),
    "accuracy_high_spuriosity": Definition(
        "Accuracy on the k images of highest spuriosity.", "higher is better", SHARE, _RANKINGS
    ),
    "accuracy_low_spuriosity": Definition(
        "Accuracy on the k images of lowest spuriosity.", "higher is better", SHARE, _RANKINGS
    ),
    "candidate_gap": Definition(
        "The gap with images ranked by one spurious candidate alone.",
        "positive: better where the candidate is strong",
        POINTS,
        _RANKINGS,
    ),
    "mean_spurious_gap": Definition(
        "Mean of the spurious gaps over the classes that have one.",
        "positive: clarifying on average",
        POINTS,
        _RANKINGS,
    ),
    "reliability": Definition(
        "Share of the class among the n held-out images of highest alpha, n the class's size.",
        "in [0, 1]; higher: more specific to the class; core expected above spurious",
        SHARE,
        _RANKINGS,
    ),
    "group_accuracy": Definition(
        "Accuracy on the images of a class with one value of an attribute.",
        "higher is better",
        SHARE,
        "Sagawa et al. 2020, section 2",
    ),
    "worst_group_accuracy": Definition(
        "The lowest accuracy of any group of a class and a value of the attribute.",
        "higher is better",
        SHARE,
        "Sagawa et al. 2020, section 2",
    ),
    "clean_accuracy": Definition(
        "Accuracy without noise on the very images of another accuracy of the noise test.",
        "higher is better",
        SHARE,
        _SALIENT,
    ),
    "core_accuracy": Definition(
        "Accuracy with noise on the spurious regions: what the core regions alone carry.",
        "higher: less use of the spurious regions",
        SHARE,
        _SALIENT,
    ),
    "spurious_accuracy": Definition(
        "Accuracy with noise on the core regions: what the spurious regions alone carry.",
        "higher: less use of the core regions",
        SHARE,
        _SALIENT,
    ),
    "relative_core_sensitivity": Definition(
        "(a_c - a_s) / (2 min(m, 1 - m)) of core and spurious accuracy, m their mean.",
        "in [-1, 1]; higher: relies more on core regions",
        PLAIN,
        "Singla, Moayeri & Feizi 2022",
    ),
    "foreground_noise_accuracy": Definition(
        "Accuracy with noise on the object's mask.",
        "higher is better",
        SHARE,
        "Moayeri, Pope et al. 2022, section 3",
    ),
    "background_noise_accuracy": Definition(
        "Accuracy with noise outside the object's mask.",
        "higher is better",
        SHARE,
        "Moayeri, Pope et al. 2022, section 3",
    ),
    "relative_foreground_sensitivity": Definition(
        "(a_b - a_f) / (2 min(m, 1 - m)) of accuracy with noise on background and foreground.",
        "in [-1, 1]; higher: relies more on the object",
        PLAIN,
        "Moayeri, Pope et al. 2022, section 3",
    ),
    "flip_rate": Definition(
        "Share of other classes' images that become the class when its cue is pasted on them.",
        "higher: the cue alone is enough",
        SHARE,
        "this project",
    ),
    "flip_rate_control": Definition(
        "The same with a region of the same shape from another image of the target's own class: "
        "what hiding part of the image does without the cue.",
        "compare with flip_rate",
        SHARE,
        "this project",
    ),
    "flip_rate_object_in_front": Definition(
        "The same with the cue behind the target's own object, by its mask: nothing of the object "
        "is hidden.",
        "higher: the cue alone is enough",
        SHARE,
        "this project",
    ),
    "watermark_flip_rate": Definition(
        "Share of other classes' images that become the class when the ImageNet-W watermark is "
        "drawn on them.",
        "higher: the class takes this shortcut",
        SHARE,
        "Li et al. 2023 (A Whac-A-Mole Dilemma), section 3",
    ),
    "watermark_accuracy": Definition(
        "Accuracy on held-out images without and with the ImageNet-W watermark.",
        "lower with it: the watermark misleads",
        SHARE,
        "Li et al. 2023 (A Whac-A-Mole Dilemma), section 3",
    ),
    "average_precision": Definition(
        "Area under the precision-recall curve: class images against cue-only images.",
        "higher is better; chance is the share of class images",
        PLAIN,
        "Neuhaus et al. 2023, section 5 (their AUC)",
    ),
    "auroc": Definition(
        "Area under the ROC curve: class images against cue-only images.",
        "higher is better; chance is 0.5",
        PLAIN,
        "Hanley & McNeil 1982",
    ),
    "share_classified": Definition(
        "Share of images that the model gives the class.",
        "cue-only: lower is better",
        SHARE,
        "Neuhaus et al. 2023, section 5",
    ),
    "mean_probability": Definition(
        "Mean probability of the class.",
        "cue-only: lower is better",
        PLAIN,
        "Neuhaus et al. 2023, section 5",
    ),
    "decided_by": Definition(
        "Share of composed images still called their class where the factor is the class's own, "
        "minus where it is another class's: the main effect in the 2x2x2 factorial of shape, "
        "texture and background.",
        "in [-1, 1]; positive: the model decides by it; 0: it does not matter",
        SHARE,
        _FACTORIAL,
    ),
    "factor_interaction": Definition(
        "Half the difference of one factor's effect between the levels of another; for three "
        "factors once more.",
        "in [-1, 1]; positive: they count together more than apart",
        SHARE,
        _FACTORIAL,
    ),
    "composed_accuracy": Definition(
        "Share of images still called their class where only the named factors are the class's "
        "own.",
        "higher: these factors are enough",
        SHARE,
        _FACTORIAL,
    ),
    "shape_bias": Definition(
        "Decisions for the shape's class among those for the shape's or the texture's class, on "
        "images where the two differ.",
        "in [0, 1]; 1: by shape alone, 0: by texture alone",
        SHARE,
        "Geirhos et al. 2019 (shape and texture)",
    ),
    "background_gap": Definition(
        "Accuracy of objects on backgrounds of their own class minus that on random ones.",
        "in [-1, 1]; positive: leans on the background; near 0 is better",
        SHARE,
        "Xiao et al. 2021 (Noise or Signal)",
    ),
    "note": Definition("Something that is missing, and why.", "", PLAIN, ""),
}
"""Every measure of the table; pages show these words on hover."""

EVERYWHERE = AuditedClass(-1, "", "", 0)
"""Stands for a class in rows about all of them."""


def row(
    facts: AuditedClass,
    measure: str,
    value: float = float("nan"),
    *,
    interval: tuple[float, float] = (float("nan"), float("nan")),
    n: int = 0,
    subject: str = "",
    split: str = "",
    reading: str = "",
    note: str = "",
) -> dict[str, Any]:
    """One row (COLUMNS); unit and source follow from the measure."""
    definition = DEFINITIONS[measure]
    return {
        "class_idx": facts.class_idx,
        "label": facts.label,
        "class_name": facts.name,
        "measure": measure,
        "subject": subject,
        "value": float(value),
        "low": float(interval[0]),
        "high": float(interval[1]),
        "unit": definition.unit,
        "n": int(n),
        "split": split,
        "reading": reading,
        "source": definition.source,
        "note": note,
    }


def note(text: str, *, n: int = 0, facts: AuditedClass | None = None) -> dict[str, Any]:
    """A row that says what is missing."""
    return row(facts or EVERYWHERE, "note", n=n, note=text)


def as_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as the table of measures."""
    return pd.DataFrame(rows, columns=COLUMNS)
