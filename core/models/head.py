"""What a head's outputs mean, and a head of one's own fitted on features."""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from core.errors import InputError, ModelError
from core.models.output_order import WORDS, Order, natural_orders

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.linear_model import LogisticRegression

    from core.models.model import Model
    from core.types import FloatArray, IntArray

STRENGTHS = tuple(10.0**power for power in range(-2, 5))
"""Values of C tried, strong penalty to weak. C multiplies the summed loss of images whose centred
features have mean squared length 1."""

PATIENCE = 2
"""The path of C ends after this many values in a row that are worse than the best."""

CV_TOLERANCE = 1e-5
"""Largest gradient entry, of the mean loss, at which a fit for the choice of C has converged."""

FIT_TOLERANCE = 1e-7
"""The same for the head itself."""

MAX_ITERATIONS = 2000
"""Iterations of one fit; a fit that needs more is given four times as many once."""

SMALL = 2**24
"""Features (n * D) up to which the fit runs in float64 on one thread, which is faster for them."""

WORDNET_ID = re.compile(r"n\d{8}(?!\d)")

SHOWN = 4


class OutputMatch(NamedTuple):
    """Which output of a head stands for which class."""

    outputs: dict[str, int] | None
    """Index of the output by raw label; None where not every class has its own output."""
    reason: str
    """How the match was made, or why there is none; one sentence."""
    orders: tuple[Order, ...] = ()
    """Where an order had to be assumed: that one, then the others to try."""
    assumed: bool = False
    """Whether an order says it, rather than names."""


@dataclass(frozen=True)
class CrossValidated:
    """Held-out quality of one penalty."""

    C: float
    """Inverse strength: higher means a weaker penalty."""
    log_loss: float
    """Mean negative log likelihood of held-out images, nats; lower is better."""
    standard_error: float
    """Of that mean, over images."""
    accuracy: float
    """Share of held-out images classified correctly, 0 to 1."""


@dataclass(frozen=True)
class Probe:
    """A linear head fitted on features."""

    weight: NDArray[np.float32]
    """(K, D)."""
    bias: NDArray[np.float32]
    """(K,)."""
    C: float
    """Inverse strength of the penalty chosen by cross-validation; see ``STRENGTHS``."""
    cv: tuple[CrossValidated, ...]
    """One row per C tried, strong to weak; empty where no class has two images."""
    oof_logits: NDArray[np.float32]
    """(n, K) logits of each image by the fit that did not see it, at the chosen C."""
    never_held_out: tuple[int, ...]
    """Rows whose ``oof_logits`` come from a fit that saw them: the only image of their class."""
    n_iter: int
    """Iterations of the final fit."""
    converged: bool
    """Whether every fit reached its tolerance."""


def short_names(outputs: Sequence[str]) -> list[str]:
    """Readable name per output: the first ImageNet name, or all of them where it is taken."""
    names = [synonyms(output) for output in outputs]
    taken = Counter(synonyms[0] for synonyms in names)
    return [synonyms[0] if taken[synonyms[0]] == 1 else ", ".join(synonyms) for synonyms in names]


def match_outputs(
    labels: Sequence[str], model: Model, *, own: Sequence[str] = (), order: str = ""
) -> OutputMatch:
    """Find the output of each class: by WordNet id, by ImageNet name, or by equal class lists.

    Names are compared without case, blanks and underscores being equal; any synonym counts if
    only one output has it. Outputs of unknown meaning match when there are as many as classes, or
    when classes are called by the numbers of outputs: in the first of the orders that
    :func:`core.models.output_order.natural_orders` finds.

    Parameters
    ----------
    labels : distinct raw labels.
    own : the order that the data set itself has for its classes.
    order : the order that the user asked for, whatever the outputs are called.

    Raises
    ------
    InputError
        If the order that was asked for does not fit the classes.
    """
    if not model.head_trained:
        return OutputMatch(None, f"The head of {model.name} has not been trained.")
    if order:
        return _match_as_asked(labels, model, own, order)
    if model.outputs is None:
        return _match_by_order(labels, model, own)
    candidates = {label: candidate_outputs(label, model.outputs) for label in labels}
    problem = _mismatch(candidates, model)
    if problem and len(labels) == len(model.bias) and all(map(str.isdecimal, labels)):
        return _match_by_order(labels, model, own)  # ImageNet's folders 0 … 999
    if problem:
        return OutputMatch(None, problem)
    found = {label: indices[0] for label, indices in candidates.items()}
    return OutputMatch(found, f"Each class is an output of {model.name} by its name.")


def _match_by_order(labels: Sequence[str], model: Model, own: Sequence[str]) -> OutputMatch:
    rows = len(model.bias)
    orders = natural_orders(labels, rows, own)
    if not orders:
        reason = f"{model.name} has {rows} outputs of unknown meaning, the data {len(labels)}"
        return OutputMatch(None, f"{reason} classes.")
    reason = f"The {rows} outputs of {model.name} are taken to be the classes {orders[0].words}."
    return OutputMatch(dict(orders[0].outputs), reason, tuple(orders), assumed=True)


def _match_as_asked(
    labels: Sequence[str], model: Model, own: Sequence[str], name: str
) -> OutputMatch:
    rows = len(model.bias)
    orders = natural_orders(labels, rows, own)
    chosen = next((order for order in orders if order.name == name), None)
    if chosen is None:
        known = ", ".join(order.name for order in orders) or "none of them"
        raise InputError(
            f"--classes {name}: {len(labels)} classes cannot be the {rows} outputs of "
            f"{model.name} {WORDS[name]}; what fits is {known}, or give a file of classes"
        )
    reason = f"The {rows} outputs are the classes {chosen.words}, as asked for."
    return OutputMatch(dict(chosen.outputs), reason, assumed=True)


def candidate_outputs(label: str, outputs: Sequence[str]) -> list[int]:
    """Outputs that a label may be: the one called so, its WordNet id, or all that bear its name."""
    if label in outputs:
        return [outputs.index(label)]
    identifier = WORDNET_ID.match(label)
    if identifier and identifier[0] in outputs:
        return [outputs.index(identifier[0])]
    return _names_of(tuple(outputs)).get(_plain(label), [])


@cache
def _names_of(outputs: tuple[str, ...]) -> Mapping[str, list[int]]:
    names: defaultdict[str, list[int]] = defaultdict(list)
    for index, output in enumerate(outputs):
        for name in {_plain(synonym) for synonym in synonyms(output)}:
            names[name].append(index)
    return names


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def synonyms(output: str) -> list[str]:
    """Every ImageNet name of a WordNet id; any other label is its own name."""
    lemmas = _lemmas().get(output, output) if WORDNET_ID.fullmatch(output) else output
    return [name.strip() for name in lemmas.split(",")] if lemmas != output else [output]


@cache
def _lemmas() -> dict[str, str]:
    """Names, separated by commas, of every WordNet id that ImageNet knows."""
    from timm.data.imagenet_info import ImageNetInfo

    names: dict[str, str] = {}
    for subset in ("imagenet-1k", "imagenet-22k"):
        names.update(cast(dict[str, str], ImageNetInfo(subset).label_descriptions(as_dict=True)))
    return names


def _mismatch(candidates: Mapping[str, list[int]], model: Model) -> str:
    """Why classes and outputs do not pair up; empty where they do."""
    unknown = [label for label, indices in candidates.items() if not indices]
    if unknown:
        return (
            f"{len(unknown)} of {len(candidates)} classes are not among the outputs of "
            f"{model.name}: {', '.join(map(repr, unknown[:SHOWN]))}{_hint(unknown[0], model)}."
        )
    for label, indices in candidates.items():
        if len(indices) > 1:
            shown = ", ".join(f"{i} ({model.output_names[i]})" for i in indices)
            return f"Class {label!r} could be any of the outputs {shown} of {model.name}."
    shared = Counter(indices[0] for indices in candidates.values())
    index, count = shared.most_common(1)[0] if shared else (0, 0)
    if count > 1:
        both = [label for label, indices in candidates.items() if indices[0] == index]
        return f"Classes {both} are the same output {model.output_names[index]!r}."
    return ""


def _hint(label: str, model: Model) -> str:
    close = difflib.get_close_matches(label, model.output_names, n=1, cutoff=0.75)
    return f" (close: {close[0]!r})" if close else ""


def fit_probe(
    features: FloatArray, labels: IntArray, n_classes: int, *, folds: int = 5, seed: int = 0
) -> Probe:
    """Fit a linear head by multinomial logistic regression with a squared penalty.

    The features are centred and divided by one number, so that the penalty treats every direction
    alike; both are folded back into weight and bias. C is the strongest penalty whose held-out
    log loss is within one standard error of the lowest (Breiman et al. 1984), over stratified
    folds, of which there are no more than images in the smallest class; the only image of a class
    is always trained on. Two classes give two rows, +-w/2. Deterministic.

    Parameters
    ----------
    features : (n, D).
    labels : (n,) integers in 0 .. n_classes - 1; every class must occur.
    folds : at most this many.
    seed : of the assignment to folds.

    Raises
    ------
    ModelError
        If there are fewer than two classes, a class has no image, or a feature is not finite.
    """
    counts = _checked_counts(features, labels, n_classes)
    centre = features.mean(axis=0, dtype=np.float64)
    scale = _root_mean_square(features, centre)
    small = features.size <= SMALL
    x = ((features - centre) / scale).astype(np.float64 if small else np.float32)
    with _threads(1 if small else None):
        splits = _splits(labels, counts, folds, seed)
        path = _choose(x, labels, splits, n_classes)
        final = _fit(_regression(path.C, FIT_TOLERANCE), x, labels)
    weight, bias = _rows(final)
    return Probe(
        weight=(weight / scale).astype(np.float32),
        bias=(bias - weight @ (centre / scale)).astype(np.float32),
        C=path.C,
        cv=path.table,
        oof_logits=_complete(path.oof, x, weight, bias),
        never_held_out=tuple(np.flatnonzero(counts[labels] == 1).tolist()),
        n_iter=int(final.n_iter_.max()),
        converged=path.converged and _has_converged(final),
    )


class Folds(NamedTuple):
    """The fits of a cross-validation."""

    weight: NDArray[np.float32]
    """(F, K, D)."""
    bias: NDArray[np.float32]
    """(F, K)."""
    fold: IntArray
    """(n,) the fit that did not see an image; -1 for the only image of a class."""


def fit_folds(
    features: FloatArray,
    labels: IntArray,
    n_classes: int,
    strength: float,
    *,
    folds: int = 5,
    seed: int = 0,
) -> Folds:
    """The heads behind ``Probe.oof_logits``, fitted again on the same folds.

    Parameters
    ----------
    features, labels, n_classes, folds, seed : as :func:`fit_probe` was given them.
    strength : C, as it was chosen.
    """
    counts = _checked_counts(features, labels, n_classes)
    centre = features.mean(axis=0, dtype=np.float64)
    scale = _root_mean_square(features, centre)
    small = features.size <= SMALL
    x = ((features - centre) / scale).astype(np.float64 if small else np.float32)
    fold, found = np.full(len(labels), -1, np.int64), []
    with _threads(1 if small else None):
        for number, (train, held_out) in enumerate(_splits(labels, counts, folds, seed)):
            fit = _fit(_regression(strength, CV_TOLERANCE), x[train], labels[train])
            weight, bias = _rows(fit)
            fold[held_out] = number
            found.append((weight / scale, bias - weight @ (centre / scale)))
    weights, biases = zip(*found, strict=True)
    return Folds(np.array(weights, np.float32), np.array(biases, np.float32), fold)


NOT_FINITE = "Some features are not finite: run the model in fp32."


def _checked_counts(features: FloatArray, labels: IntArray, n_classes: int) -> IntArray:
    counts = _counts(len(features), labels, n_classes)
    if not np.isfinite(features).all():
        raise ModelError(NOT_FINITE)
    return counts


def _counts(n: int, labels: IntArray, n_classes: int) -> IntArray:
    if n != len(labels) or n_classes < 2:
        raise ModelError(
            f"A head needs two classes and one label per image: got {n_classes} classes, "
            f"{n} images and {len(labels)} labels."
        )
    counts = np.bincount(labels, minlength=n_classes)
    if len(counts) > n_classes or counts.min() == 0:
        empty = np.flatnonzero(counts[:n_classes] == 0).tolist()
        raise ModelError(
            f"Labels must cover 0 to {n_classes - 1}; without an image: {empty[:SHOWN]}. "
            "Add training images of that class or leave the class out."
        )
    return counts


def _root_mean_square(features: FloatArray, centre: NDArray[np.float64]) -> float:
    """Root of the mean squared length of the centred rows; 1 where all rows are equal."""
    squares = np.square(features, dtype=np.float64).sum(axis=1).mean() - centre @ centre
    return float(np.sqrt(squares)) if squares > 1e-12 * (centre @ centre) else 1.0


@contextmanager
def _threads(limit: int | None) -> Iterator[None]:
    """Limit the threads of BLAS: for small products waiting for each other costs more."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=limit, user_api="blas"):
        yield


Split = tuple["IntArray", "IntArray"]


@dataclass(frozen=True)
class _Path:
    """Result of the search for C."""

    C: float
    table: tuple[CrossValidated, ...]
    oof: NDArray[np.float64]
    """(n, K), NaN where never held out."""
    converged: bool


def held_out_splits(n: int, labels: IntArray, n_classes: int, folds: int, seed: int) -> list[Split]:
    """Training and held-out rows of the folds of :func:`fit_probe` of n images.

    Raises the same, but for features, which are not looked at.
    """
    return _splits(labels, _counts(n, labels, n_classes), folds, seed)


def _splits(labels: IntArray, counts: IntArray, folds: int, seed: int) -> list[Split]:
    """Training and held-out rows per fold; none where no class has two images."""
    from sklearn.model_selection import StratifiedKFold

    divisible = np.flatnonzero(counts[labels] > 1)
    if len(divisible) == 0:
        return []
    single = np.flatnonzero(counts[labels] == 1)
    k = max(2, min(folds, int(counts[counts > 1].min())))
    folder = StratifiedKFold(n_splits=k, shuffle=True, random_state=seed)
    return [
        (np.sort(np.concatenate([divisible[train], single])), divisible[held_out])
        for train, held_out in folder.split(divisible, labels[divisible])
    ]


def _choose(x: FloatArray, labels: IntArray, splits: Sequence[Split], n_classes: int) -> _Path:
    """Follow C from strong to weak, warm, until the held-out log loss has risen twice."""
    if not splits:
        return _Path(1.0, (), np.full((len(x), n_classes), np.nan), True)
    fits = [_regression(STRENGTHS[0], CV_TOLERANCE) for _ in splits]
    parts = [(x[train], labels[train]) for train, _ in splits]
    tried: list[tuple[CrossValidated, NDArray[np.float64]]] = []
    converged = True
    for strength in STRENGTHS:
        oof = np.full((len(x), n_classes), np.nan)
        for fit, part, (_, held_out) in zip(fits, parts, splits, strict=True):
            _fit(fit.set_params(C=strength), *part)
            oof[held_out] = _logits(fit, x[held_out])
            converged &= _has_converged(fit)
        tried.append((_quality(strength, oof, labels), oof))
        lowest = min(range(len(tried)), key=lambda i: tried[i][0].log_loss)
        if len(tried) - 1 - lowest == PATIENCE:
            break
    table = tuple(row for row, _ in tried)
    limit = table[lowest].log_loss + table[lowest].standard_error
    chosen, oof = next((row, oof) for row, oof in tried if row.log_loss <= limit)
    return _Path(chosen.C, table, oof, converged)


def _regression(strength: float, tolerance: float) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(
        C=strength, tol=tolerance, max_iter=MAX_ITERATIONS, warm_start=True, solver="lbfgs"
    )


def _fit(fit: LogisticRegression, x: FloatArray, labels: IntArray) -> LogisticRegression:
    """Fit, and go on once from where it stopped if the iterations did not suffice."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit.set_params(max_iter=MAX_ITERATIONS).fit(x, labels)
        if not _has_converged(fit):
            fit.set_params(max_iter=4 * MAX_ITERATIONS).fit(x, labels)
    return fit


def _has_converged(fit: LogisticRegression) -> bool:
    return bool(fit.n_iter_.max() < fit.max_iter)


def _rows(fit: LogisticRegression) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight (K, D) and bias (K,); the one row of a binary fit becomes two, +-w/2."""
    weight = fit.coef_.astype(np.float64)
    bias = fit.intercept_.astype(np.float64)
    if len(weight) > 1:
        return weight, bias
    return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2


def _logits(fit: LogisticRegression, x: FloatArray) -> NDArray[np.float64]:
    weight, bias = _rows(fit)
    return np.asarray(x @ weight.T + bias)


def _quality(strength: float, oof: NDArray[np.float64], labels: IntArray) -> CrossValidated:
    from scipy.special import log_softmax

    held_out = np.flatnonzero(~np.isnan(oof[:, 0]))
    logits, truth = oof[held_out], labels[held_out]
    likelihood = log_softmax(logits, axis=1)[np.arange(len(truth)), truth]
    accuracy = (logits.argmax(axis=1) == truth).mean()
    error = float(likelihood.std() / np.sqrt(len(likelihood)))
    return CrossValidated(strength, float(-likelihood.mean()), error, float(accuracy))


def _complete(
    oof: NDArray[np.float64],
    x: FloatArray,
    weight: NDArray[np.float64],
    bias: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Fill rows that were never held out with the logits of the final fit."""
    fitted = x @ weight.T + bias
    return np.where(np.isnan(oof), fitted, oof).astype(np.float32)
