"""Co-training of shape and texture: a cue in one prior is outvoted where it does not go along."""

from __future__ import annotations

import numpy as np
import pytest

from core.audits.audit import Audit
from core.corrections import copriors
from core.corrections.copriors import NOBODY, Said, cotrain, first_labels
from core.errors import InputError
from core.models.head import fit_probe
from core.storage.workspace import Workspace
from core.trials.priors import SHAPE, TEXTURE
from tests.core.corrections.conftest import QUICK, run


def tinted(n: int, rng: np.random.Generator, skewed: float) -> tuple[dict, np.ndarray, np.ndarray]:
    """Shape tells the label a little; texture tells a tint that goes along with it ``skewed``."""
    labels = rng.integers(0, 2, n)
    tint = np.where(rng.random(n) < skewed, labels, 1 - labels)
    views = {
        SHAPE: rng.normal(0, 1, (n, 6)) + 1.6 * (2 * labels - 1)[:, None] * (np.arange(6) < 2),
        TEXTURE: rng.normal(0, 1, (n, 6)) + 1.6 * (2 * tint - 1)[:, None] * (np.arange(6) < 2)
        + 0.8 * (2 * labels - 1)[:, None] * (np.arange(6) > 3),
    }  # fmt: skip
    return views, labels, tint


def test_labels_of_the_other_prior_undo_a_tint_that_does_not_go_along() -> None:
    rng = np.random.default_rng(3)
    views, labels, tint = tinted(1200, rng, 0.5)
    given = np.arange(1200) < 120
    kept = ~given | (tint == labels)  # of the labelled images all are tinted as their class
    views, labels, tint = {n: x[kept] for n, x in views.items()}, labels[kept], tint[kept]
    given = given[kept]
    said = cotrain(views, labels, given)
    assert (said.labels[given] == labels[given]).all()
    new = ~given & (said.labels != NOBODY)
    alone = fit_probe(views[TEXTURE][given], labels[given], 2)
    by_texture = (views[TEXTURE] @ alone.weight.T + alone.bias).argmax(axis=1)
    apart = new & (tint != labels)
    assert (by_texture[apart] == labels[apart]).mean() < 0.5
    assert (said.labels[apart] == labels[apart]).mean() > 0.6
    shares = [era["labelled"] for era in said.eras]
    assert shares == sorted(shares)
    assert shares[-1] > 0.9
    opposed = np.array([0, 1, NOBODY, 1]), np.array([1, 1, 0, NOBODY])
    assert copriors._alike(opposed).tolist() == [NOBODY, 1, 0, 1]
    hidden = np.where(given, labels, 1 - labels)
    assert (cotrain(views, hidden, given).labels == said.labels).all()


def test_a_share_of_every_class_is_labelled(rng: np.random.Generator) -> None:
    labels = np.repeat([0, 1, 2], [40, 10, 3])
    found = first_labels(labels, 0.25, seed=1)
    assert [int(found[labels == k].sum()) for k in range(3)] == [10, 2, 2]


@pytest.mark.usefixtures("unfitted_folds")
def test_it_is_a_correction_that_leaves_the_encoder(workspace: Workspace, parent: Audit) -> None:
    audit = run(workspace, parent, "copriors", options={"labelled": "0.5"}, **QUICK)
    done = audit.manifest.mitigation
    assert done is not None
    assert (done.encoder_changed, done.strength) == (False, 1.0)
    assert 0.9 < done.history[-1]["labelled"] <= 1
    assert not (audit.folder / "checkpoint.safetensors").exists()
    ids = audit.images.index.tolist()
    assert (audit.features(ids) == parent.features(ids)).all()
    held = audit.images[audit.held_out]
    assert (held["prediction"] == [audit.head.index(x) for x in held["label"]]).mean() > 0.6


@pytest.mark.usefixtures("unfitted_folds")
def test_a_class_that_nothing_was_learnt_of_is_refused(
    workspace: Workspace, parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_class(views: dict, labels: np.ndarray, given: np.ndarray) -> Said:
        known = np.where(np.arange(len(labels)) < len(labels) - 4, 0, labels)
        known[[int(np.flatnonzero(labels == k)[0]) for k in np.unique(labels)]] = np.unique(labels)
        return Said(known, ({"labelled": 1.0, "agree": 1.0},))

    monkeypatch.setattr(copriors, "cotrain", one_class)
    with pytest.raises(InputError, match="copriors learnt nothing of 'pond' from [0-9]+ labels"):
        run(workspace, parent, "copriors", **QUICK)
