"""The candidate features of one class: its neural PCA components and its strongest neurons.

Both are linear functionals of the features, alpha = q . phi - c, in logit units; everything
downstream (ranking, heatmaps, what-if) treats them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from core.candidates.candidate import linear_alpha
from core.candidates.kinds import KINDS, Found
from core.candidates.linear_kinds import NEURON, PCA
from core.candidates.parts import Maps, Margin, margin
from core.candidates.pca import ClassPCA, class_pca
from core.config import NEURONS, TOP_IMAGES
from core.statistics.gap_control import GapControl, gap_control
from core.statistics.intervals import accuracy_gaps
from core.types import BoolArray, FloatArray, IntArray

COLUMNS = [
    "class_idx",
    "class_name",
    "kind",
    "component",
    "eigenvalue",
    "variance_share",
    "alpha_max",
    "gap",
    "gap_low",
    "gap_high",
    "top_image_ids",
]
"""The exported vocabulary. ``component`` is the 0-based index by descending eigenvalue for
``kind`` pca and the feature index for neuron; ``variance_share`` is Cov(alpha, logit) / Var(logit)
over the class's training images (it sums to 1 over all components, and over all neurons; of parts
it is the share of the margin's variance);
``alpha_max`` the largest alpha of a training image; ``gap`` in percentage points with its
interval."""

EXTRA = ["accuracy_high", "accuracy_low", "gap_k", "order"]
"""Kept beside them: the two accuracies behind a gap, images per side, place on the page."""

CONTROL = ["gap_control", "gap_p"]
"""Exported as well, and empty in audits of earlier versions: the mean gap of random directions that
follow the logit as closely, and the p-value that errors go along with the candidate as with them
(:mod:`core.statistics.gap_control`). Whatever the kind, the directions are mixtures of the class's
components: a part is compared with directions that follow the margin as closely as it does."""


@dataclass(frozen=True)
class ClassCandidates:
    """Everything found in one class."""

    pca: ClassPCA
    neurons: IntArray
    """(m,) feature indices of the single-neuron candidates."""
    logit_mean: float
    """Mean logit of the class over its training images."""
    directions: FloatArray
    """(r + m, D) q of the components, then of the neurons."""
    offsets: FloatArray
    """(r + m,) c of the same."""
    alpha: FloatArray
    """(n, r + m) alpha of every image of the class, every split."""
    residual: FloatArray
    """(n,) logit - mean logit - sum of the components' alphas: what the kept basis misses."""
    table: pd.DataFrame
    """One row per candidate, components first (COLUMNS without the class's, EXTRA and CONTROL);
    ``top_image_ids`` holds positions among the class's images."""

    @property
    def n_components(self) -> int:
        """Number of components; the other candidates are neurons."""
        return int(self.pca.basis.shape[1])


def top_neurons(psi: FloatArray, count: int) -> IntArray:
    """Feature indices of a class's strongest neurons, best first.

    Alternates between the largest mean contribution (feature importance, Singla & Feizi 2022,
    section 3; they average over images *predicted* as the class, here over its training images)
    and the largest variance of the contribution, which also finds cues that are rare.

    Parameters
    ----------
    psi : (n, D) weighted activations of the training images.
    """
    if not len(psi):
        return np.zeros(0, np.int64)
    by_mean = np.argsort(-psi.mean(axis=0), kind="stable")
    by_variance = np.argsort(-psi.var(axis=0), kind="stable")
    merged = np.stack([by_mean, by_variance], axis=1).ravel()
    _, first = np.unique(merged, return_index=True)
    return np.asarray(merged[np.sort(first)][:count], dtype=np.int64)


@dataclass(frozen=True)
class ClassFeatures:
    """What the candidates of one class are found in: all its n images, of every split."""

    features: FloatArray
    """(n, D)."""
    weight: FloatArray
    """(D,) of the class in the head, as is the bias."""
    bias: float
    train: BoolArray
    """(n,) images that components are fitted on."""
    held_out: BoolArray
    """(n,) images that gaps are measured on."""
    correct: BoolArray
    """(n,) whether the image is predicted correctly (out of fold where that is needed)."""


@dataclass(frozen=True)
class ClassImages:
    """What candidates of further kinds are found in: the images of one class, and their maps."""

    given: ClassFeatures
    image_ids: list[str]
    """(n,)."""
    output: int
    """Of the class in the head."""
    weight: FloatArray
    """(K, D) of the head, as is bias (K,)."""
    bias: FloatArray
    classes: tuple[int, ...]
    """Outputs of all classes that the data has."""
    mapped: BoolArray
    """(n,) images whose exact maps are stored."""
    stored_maps: Callable[[list[str]], Maps]
    """Reads maps of some of those, a part at a time."""
    components: FloatArray
    """(n, r) alpha of the class's components, whose mixtures a gap is compared with."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Candidates of a class that were asked for, by their kind."""

    @property
    def margin(self) -> Margin:
        """What sets the class apart from the others of the data."""
        return margin(self.weight, self.bias, self.output, self.classes)

    def maps(self, rows: IntArray) -> Maps:
        """Maps of some rows, read where they are asked for."""
        return self.stored_maps([self.image_ids[i] for i in rows])


def measured(images: ClassImages, kind: str, found: Found) -> pd.DataFrame:
    """The table of candidates of a further kind, as that of :func:`find_candidates`.

    Over the images whose alpha is known; ``top_image_ids`` holds positions among all.
    """
    known = np.isfinite(found.alpha).all(axis=1)
    given, rows = images.given, np.flatnonzero(known)
    part = replace(
        given,
        features=given.features[known],
        train=given.train[known],
        held_out=given.held_out[known],
        correct=given.correct[known],
    )
    whole = given.features.astype(np.float64) @ np.asarray(given.weight, np.float64) + given.bias
    if found.whole is not None:
        whole = found.whole
    nothing = np.full(len(found.numbers), np.nan)
    alpha = np.asarray(found.alpha, np.float64)[known]
    mixed = np.asarray(images.components, np.float64)[known]
    control = _control(part, alpha, whole[known], mixed)
    table = _measure(part, alpha, whole[known], control, kind, found.numbers, nothing)
    table["top_image_ids"] = [rows[top].tolist() for top in table["top_image_ids"]]
    if not KINDS[kind].adds and part.train.sum() > 1:
        table["variance_share"] = squared_correlation(alpha[part.train], whole[known][part.train])
        table["order"] = page_order(table)
    return table


def squared_correlation(alpha: FloatArray, whole: FloatArray) -> FloatArray:
    """(m,) share of the variance of a number (n,) that goes along with each alpha (n, m)."""
    centred, own = whole - whole.mean(), alpha - alpha.mean(axis=0)
    spread = np.square(own).sum(axis=0) * np.square(centred).sum()
    along, nothing = np.square(centred @ own), np.zeros(len(spread))
    found: FloatArray = np.divide(along, spread, out=nothing, where=spread > 0)
    return found


def find_candidates(
    given: ClassFeatures, components: int, *, neurons: int = NEURONS, device: str = "cpu"
) -> ClassCandidates:
    """Components and neurons of one class, measured; at most so many of each."""
    features, weight, train = np.asarray(given.features, np.float64), given.weight, given.train
    pca = class_pca(features[train], weight, components, device=device)
    psi_train = features[train] * np.asarray(weight, np.float64)
    chosen = top_neurons(psi_train, neurons)
    single = np.zeros((len(chosen), features.shape[1]))
    single[np.arange(len(chosen)), chosen] = weight[chosen]
    directions = np.concatenate([pca.directions, single])
    offsets = np.concatenate([pca.offsets, pca.mean[chosen]])
    alpha = linear_alpha(features, directions, offsets)
    logit = features @ np.asarray(weight, np.float64) + given.bias
    logit_mean = float(logit[train].mean()) if train.any() else float("nan")
    r = len(pca.eigenvalues)
    residual = logit - logit_mean - alpha[:, :r].sum(axis=1)
    control = _control(given, alpha, logit, alpha[:, :r])
    table = pd.concat(
        [
            _measure(given, alpha[:, part], logit, control.take(part), kind, names, values)
            for part, kind, names, values in (
                (slice(0, r), PCA, np.arange(r), pca.eigenvalues),
                (slice(r, None), NEURON, chosen, np.full(len(chosen), np.nan)),
            )
        ],
        ignore_index=True,
    )
    return ClassCandidates(pca, chosen, logit_mean, directions, offsets, alpha, residual, table)


def _control(
    given: ClassFeatures, alpha: FloatArray, logit: FloatArray, components: FloatArray
) -> GapControl:
    """What random directions open on the held-out images, for all candidates at once.

    The directions are the same whatever they stand beside, and sorting images along thousands of
    them takes longer than all else.
    """
    rows = given.held_out
    return gap_control(given.correct[rows], alpha[rows], logit[rows], components[rows])


def _measure(
    given: ClassFeatures,
    alpha: FloatArray,
    logit: FloatArray,
    control: GapControl,
    kind: str,
    names: IntArray,
    eigenvalues: FloatArray,
) -> pd.DataFrame:
    """The table rows of one kind of candidate."""
    train, held_out = given.train, given.held_out
    gaps = accuracy_gaps(given.correct[held_out], alpha[held_out], tests=alpha.shape[1])
    table = pd.DataFrame(
        {
            "kind": kind,
            "component": names,
            "eigenvalue": eigenvalues,
            "variance_share": variance_share(alpha[train], logit[train]),
            "alpha_max": alpha[train].max(axis=0) if train.any() else np.nan,
            "gap": gaps.gap,
            "gap_low": gaps.gap_low,
            "gap_high": gaps.gap_high,
            "accuracy_high": gaps.high,
            "accuracy_low": gaps.low,
            "gap_k": gaps.k,
            "gap_control": control.gap,
            "gap_p": control.p,
        }
    )
    rows = np.flatnonzero(train)
    order = np.argsort(-alpha[train], axis=0, kind="stable")[:TOP_IMAGES]
    table["top_image_ids"] = [rows[order[:, i]].tolist() for i in range(alpha.shape[1])]
    table["order"] = page_order(table)
    return table


def variance_share(alpha: FloatArray, logit: FloatArray) -> FloatArray:
    """Cov(alpha_l, logit) / Var(logit), (m,): the share of the class-logit variance.

    For components it equals Var(alpha_l) / Var(logit) = <1, u_l>^2 lambda_l / Var(logit), since
    their alphas are uncorrelated. Zero where the logit does not vary.
    """
    if len(logit) < 2:
        return np.zeros(alpha.shape[1])
    centred = logit - logit.mean()
    spread = float(centred @ centred)
    if spread <= 0:
        return np.zeros(alpha.shape[1])
    share: FloatArray = centred @ (alpha - alpha.mean(axis=0)) / spread
    return share


def page_order(table: pd.DataFrame) -> IntArray:
    """Place of every candidate on the page, 0 first: more than the eigenvalue.

    Sum of reciprocal ranks by variance share, by largest alpha and by the end of the gap's interval
    that is nearer to zero (0 where the interval holds zero): what leads in one of them comes early.
    Cormack, Clarke & Büttcher 2009 fuse rankings so, with a larger constant.
    """
    low = table["gap_low"].fillna(0).to_numpy()
    high = table["gap_high"].fillna(0).to_numpy()
    least = np.where(low > 0, low, np.where(high < 0, -high, 0.0))
    criteria = [table["variance_share"].to_numpy(), table["alpha_max"].fillna(0).to_numpy()]
    if np.any(least > 0):
        criteria.append(least)
    score = np.zeros(len(table))
    for values in criteria:
        rank = np.empty(len(table))
        rank[np.argsort(-values, kind="stable")] = np.arange(len(table))
        score += 1.0 / (1.0 + rank)
    order = np.empty(len(table), np.int64)
    order[np.argsort(-score, kind="stable")] = np.arange(len(table))
    return order
