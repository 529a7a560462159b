"""Outputs matched to classes, and heads fitted on features."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import ModelError
from core.models.head import STRENGTHS, fit_probe, match_outputs, short_names
from core.models.model import Model


def _model(outputs: list[str] | None, rows: int = 3, *, trained: bool = True) -> Model:
    names = short_names(outputs) if outputs else [f"output {i}" for i in range(rows)]
    stub = SimpleNamespace(
        name="stub",
        outputs=tuple(outputs) if outputs else None,
        output_names=tuple(names),
        head_trained=trained,
        bias=np.zeros(len(names)),
    )
    return cast(Model, stub)


TENCH, WHITE_SHARK, CRANE_BIRD, CRANE_LIFT = "n01440764", "n01484850", "n02012849", "n03126707"


@pytest.mark.parametrize(
    "labels",
    [
        [WHITE_SHARK, TENCH],
        ["Great_White  shark", "TENCH"],
        ["Carcharodon carcharias", "tinca_tinca"],
        [f"{WHITE_SHARK}-shark", TENCH],
    ],
    ids=["ids", "names", "synonyms", "id with name"],
)
def test_imagenet_classes_are_found(labels: list[str]) -> None:
    found = match_outputs(labels, _model([TENCH, WHITE_SHARK, CRANE_BIRD])).outputs
    assert found == {labels[0]: 1, labels[1]: 0}


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["tench", "zebra crossing"], "1 of 2 classes are not among .*'zebra crossing'"),
        (["crane", "tench"], "'crane' could be any of the outputs"),
        (["tench", TENCH], "are the same output 'tench'"),
    ],
    ids=["unknown", "ambiguous", "shared"],
)
def test_no_match_says_why(labels: list[str], reason: str) -> None:
    match = match_outputs(labels, _model([TENCH, CRANE_BIRD, CRANE_LIFT]))
    assert match.outputs is None
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(match.reason)


def test_own_class_lists_and_unknown_outputs() -> None:
    assert match_outputs(["b", "a"], _model(["a", "b"])).outputs == {"b": 1, "a": 0}
    match = match_outputs(["z", "x", "y"], _model(None))
    assert match.outputs == {"x": 0, "y": 1, "z": 2}
    assert "in order of name" in match.reason
    assert match_outputs(["x", "y"], _model(None)).outputs is None
    assert match_outputs(["x"], _model(None, trained=False)).outputs is None


def test_shared_short_names_are_spelled_out() -> None:
    assert short_names([TENCH, CRANE_BIRD, CRANE_LIFT])[0] == "tench"
    assert len({*short_names(["n03710637", "n03710721"])}) == 2


def _clouds(
    n: int, d: int, k: int, *, distance: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % k
    centres = distance * rng.standard_normal((k, d))
    features = 3 + 2 * (centres[labels] + rng.standard_normal((n, d)))
    return features.astype(np.float32), labels


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("k", [2, 3])
def test_equals_a_direct_solution(k: int) -> None:
    """Slow replica: Newton's method on the centred, scaled features, straight from the formula."""
    from sklearn.linear_model import LogisticRegression

    x, y = _clouds(90, 6, k, distance=0.5)
    probe = fit_probe(x, y, k)
    scaled = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    scaled /= np.sqrt((scaled**2).sum(axis=1).mean())
    direct = LogisticRegression(C=probe.C, solver="newton-cg", tol=1e-12).fit(scaled, y)
    ours = _softmax((x @ probe.weight.T + probe.bias).astype(np.float64))
    np.testing.assert_allclose(ours, direct.predict_proba(scaled), atol=2e-4)
    assert probe.converged


def test_cross_validation_equals_a_cold_replica() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold

    x, y = _clouds(60, 5, 3, distance=0.5)
    probe = fit_probe(x, y, 3, folds=4, seed=7)
    scaled = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    scaled /= np.sqrt((scaled**2).sum(axis=1).mean())
    held_out = np.zeros((60, 3))
    for train, test in StratifiedKFold(4, shuffle=True, random_state=7).split(x, y):
        fit = LogisticRegression(C=probe.C, tol=1e-10, max_iter=5000).fit(scaled[train], y[train])
        held_out[test] = fit.predict_proba(scaled[test])
    np.testing.assert_allclose(_softmax(probe.oof_logits.astype(np.float64)), held_out, atol=5e-3)
    row = next(row for row in probe.cv if row.C == probe.C)
    assert row.log_loss == pytest.approx(log_loss(y, held_out), abs=2e-3)
    best = min(probe.cv, key=lambda row: row.log_loss)
    near = [r for r in probe.cv if r.log_loss <= best.log_loss + best.standard_error]
    assert row == near[0]


def test_deterministic() -> None:
    x, y = _clouds(60, 8, 4)
    a, b = fit_probe(x, y, 4, seed=1), fit_probe(x, y, 4, seed=1)
    assert a.weight.tobytes() == b.weight.tobytes()
    assert a.oof_logits.tobytes() == b.oof_logits.tobytes()


def test_rotation_and_scale_change_nothing() -> None:
    x, y = _clouds(60, 5, 3, distance=0.5)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))[0]
    a, b = fit_probe(x, y, 3), fit_probe((100 * x @ turn).astype(np.float32), y, 3)
    assert a.C == b.C
    np.testing.assert_allclose(a.oof_logits, b.oof_logits, atol=2e-2)


def test_separable_data_and_binary_form() -> None:
    x, y = _clouds(40, 200, 2, distance=5)
    probe = fit_probe(x, y, 2)
    assert probe.weight.shape == (2, 200)
    np.testing.assert_array_equal(probe.weight[0], -probe.weight[1])
    assert ((x @ probe.weight.T + probe.bias).argmax(axis=1) == y).all()
    assert probe.cv[-1].accuracy == 1
    assert probe.converged


def test_class_with_one_image_is_always_trained_on() -> None:
    x, y = _clouds(31, 6, 3)
    y = np.where(y == 2, 1, y)
    y[-1] = 2
    probe = fit_probe(x, y, 3)
    assert probe.never_held_out == (30,)
    assert np.isfinite(probe.oof_logits).all()
    assert [row.C for row in probe.cv] == list(STRENGTHS[: len(probe.cv)])


def test_one_image_per_class_and_constant_features() -> None:
    probe = fit_probe(np.eye(3, dtype=np.float32), np.arange(3), 3)
    assert (probe.cv, probe.C, probe.never_held_out) == ((), 1.0, (0, 1, 2))
    flat = fit_probe(np.ones((6, 4), dtype=np.float32), np.arange(6) % 2, 2)
    np.testing.assert_allclose(flat.oof_logits, 0, atol=1e-4)


@pytest.mark.parametrize(
    ("x", "y", "k", "message"),
    [
        (np.ones((2, 2)), np.zeros(2, int), 1, "two classes"),
        (np.ones((2, 2)), np.array([0, 2]), 3, r"without an image: \[1\]"),
        (np.array([[np.nan], [1.0]]), np.array([0, 1]), 2, "not finite"),
        (np.ones((2, 2)), np.array([0]), 2, "one label per image"),
    ],
    ids=["one class", "empty class", "nan", "lengths"],
)
def test_bad_input(x: NDArray[np.float64], y: NDArray[np.int64], k: int, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        fit_probe(x, y, k)
