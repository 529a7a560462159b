"""What the audited model decides by: shape, texture or background of its held-out images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.measure.paste import sample
from core.measures.trials import predictions_of
from core.mitigate.factorial import Decides, decides_by
from core.types import IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.audit import Audit
    from core.mitigate.compositing import Pixels

IMAGES = 200
"""Held-out images taken apart at most, a fixed random part; each gives eight."""


def factors(audit: Audit, *, class_name: str | None = None, report: Reporter = silent) -> Decides:
    """Take held-out images apart by their object masks and ask the audit's model about the parts.

    Parameters
    ----------
    class_name : whose images are asked about; the changed parts come from all other classes.

    Raises
    ------
    InputError
        If the class is unknown, no image has a mask or a box, or there is only one class.
    """
    from core.mitigate.examples import read_examples

    facts = None if class_name is None else audit.class_facts(class_name)
    images = audit.images[audit.held_out]
    images = images.loc[sample(images.index.tolist(), IMAGES)]
    labels = np.array([audit.head.index(label) for label in images["label"]], np.int64)
    examples = read_examples(
        images.to_dict("records"), audit.root, audit.preprocess, labels, report=report
    )
    examples.with_objects("the shape, texture and background test")
    report(Progress("Loading the model", 0, 0))
    model = audit.load_model()

    def predict(pixels: Pixels) -> IntArray:
        report(Progress("Asking the model", 0, len(pixels)))
        found = predictions_of(audit, model, list(pixels))
        report(Progress("Asking the model", len(pixels), len(pixels)))
        return found

    only = None if facts is None else audit.head.index(facts["label"])
    return decides_by(examples, predict, only=only)
