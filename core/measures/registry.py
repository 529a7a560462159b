"""Every figure there is, in the order of every table.

A figure is one record in one file (:mod:`core.measures.measure`). Those of this project are named
here; :func:`register` adds one from anywhere else, and every page, command and document has it.
"""

from __future__ import annotations

from core.data.corruptions import CORRUPTIONS
from core.errors import InputError
from core.measures.measure import Measure
from core.statistics.anomaly import TITLES
from core.types import Registry


class Measures(Registry[Measure]):
    """Measures by name."""

    def register(self, new: Measure) -> Measure:
        """Add a measure, and return it.

        Raises
        ------
        InputError
            As for every registry, and if it needs outcomes that there are not.
        """
        from core.trials.outcomes import KEPT

        if unknown := set(new.needs) - set(KEPT):
            raise InputError(
                f"measure {new.name!r} needs {', '.join(sorted(unknown))}; there are "
                f"{', '.join(KEPT)}"
            )
        return super().register(new)

    def seen_in(self, view: str) -> list[Measure]:
        """Those of a view."""
        return [measure for measure in self.values() if view in measure.views]


def _in(module: str, *names: str) -> list[str]:
    return [f"core.measures.{module}:{name}" for name in names]


OWN = (
    *_in("accuracy", "ACCURACY", "AGREEMENT"),
    *_in("cue_figures", "ACCURACY_WITH_CUE", "ACCURACY_WITHOUT_CUE"),
    *_in(
        "gaps",
        "SPURIOUS_GAP",
        "SPURIOUS_GAP_CONTROL",
        "ACCURACY_HIGH_SPURIOSITY",
        "ACCURACY_LOW_SPURIOSITY",
        "CANDIDATE_GAP",
        "CANDIDATE_GAP_CONTROL",
        "MEAN_GAP",
        "WORST_SPURIOUS_GAP",
        "RELIABILITY",
    ),
    *_in("cue_figures", "CUE_GAP"),
    *_in("scores", "PRECISION", "AREA", "CLASSIFIED", "PROBABILITY"),
    *_in("directions", "TCAV", "SENSITIVITY"),
    *_in(
        "noise_figures",
        "CORE_ACCURACY",
        "SPURIOUS_ACCURACY",
        "BACKGROUND_NOISE_ACCURACY",
        "FOREGROUND_NOISE_ACCURACY",
        "CLEAN",
        "RELATIVE_CORE_SENSITIVITY",
        "RELATIVE_FOREGROUND_SENSITIVITY",
    ),
    *_in("flips", "FLIP_RATE", "CONTROL_RATE", "IN_FRONT_RATE"),
    *_in("watermark_figures", "FLIP_RATE", "ACCURACY"),
    *_in("cue_figures", "PASTED_SCORE"),
    *_in("pointing", "EPG"),
    *_in("groups", "GROUP", "WORST_GROUP"),
    *_in("cue_groups", "WORST", "TRUE_GROUPS", "NO_CUE"),
    *_in("accuracy", "CALIBRATION"),
    *_in("cost", "PARAMETERS", "IMAGES_PER_SECOND"),
    *_in("leans", "PUT_IN", "LEAN", "TAKEN_AWAY"),
    *_in("subset_figures", "RIGHT", "WRONG", "ON_BEST", "BORDER", "CUE"),
    *_in("heatmap_figures", "COMPLETE", "SOUND", "MEAN_COMPLETE", "MEAN_SOUND", "INSERTION"),
    *_in("heatmap_figures", "DELETION", "FILL", "STABLE", "SECONDS", "POINTING"),
    *_in("factors", "DECIDED_BY", "INTERACTION", "COMPOSED", "SHAPE_BIAS", "BACKGROUND_GAP"),
    *_in("prior_figures", "ACCURACY", "AGREEMENT", "GAP"),
    *_in("agreement_figures", "SCORE", "RECOGNISED", "DROP"),
    *_in("universal_figures", "TURNED"),
    *_in("part_evidence", "SHARED"),
    *_in("calibrated", "CONFIDENCE", "OVERCONFIDENCE", "NLL", "BRIER"),
    *_in("corruption_figures", "CORRUPTED_GAP", "GAP_CHANGE"),
    *_in("set_figures", "ORIGINAL", "DROP", "GROUP", "SET_GAP", "CUE_SHIFT"),
    *_in("calibrated", "RELIABILITY", "RESOLUTION", "UNCERTAINTY", "TEMPERATURE"),
    *_in("calibrated", "BIN_ACCURACY", "BIN_CONFIDENCE"),
    *_in("calibrated", "ENSEMBLE_ACCURACY", "ENSEMBLE_NLL", "ENSEMBLE_BRIER"),
    *_in("ensemble_subsets", "SIZE", "CHANGE"),
    *_in("ood", "AUROC", "AUPR", "FPR", "LACKING", "LACKING_CONTROL", "PLACE", "PASTED"),
)
"""Where this project's own stand."""

NAMES = ("[a-z][a-z0-9_]{0,63}", "small letters, digits and underscores")
"""What a measure's name matches: files are called by it."""

MEASURES = Measures("measure", OWN, NAMES)
"""By name."""

register = MEASURES.register


def subject_in_words(subject: str) -> str:
    """What a row is of, for people: measures, kinds of corruption and scores named in words."""
    return ", ".join(map(_in_words, subject.split(", ")))


def _in_words(part: str) -> str:
    score, colon, rest = part.partition(": ")
    if score in TITLES:
        return f"{TITLES[score]}{colon}{rest}"
    kind, _, severity = part.rpartition(" ")
    if kind in CORRUPTIONS:
        return f"{CORRUPTIONS[kind].words} {severity}"
    return part.replace("_", " ") if part in MEASURES else part
