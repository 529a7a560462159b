"""What a network calls a candidate's crops: suggestions, kept once asked for.

An ImageNet network that is packaged, or an image-text model that somebody brings. A word counts on
a crop where it is among the five most probable ones, the class itself left out, so are words that
share a lemma word with it, and the three that the class is most confused with. The figure is the
share of the crops that it counts on, the control the same share at the same places of images that
show least; a word is given only where it is surely above that.

Tried on ten context cues of ImageNet photos, three to six had a fitting word among five, two as the
first: ImageNet has no word for snow, grass, sky or hand. A grey hint, and never in a report.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from core.audits.audit import Audit
from core.candidates.candidate import Candidate
from core.errors import InputError
from core.features.extract import encode_padded
from core.models.head import short_names, synonyms
from core.statistics.intervals import critical, log_softmax, newcombe
from core.storage.files import read_array, read_frame, there, write_array, write_frame
from core.storage.workspace import fingerprint
from core.tags.suggested import Suggestion
from core.trials.crops import crops_of, enlarged
from core.types import BoolArray, FloatArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from pathlib import Path

    from core.models.model import Model
    from core.models.text_image import TextImageModel

VERSION = 1
"""Of the trial; another one asks again."""

NETWORK = "packaged:efficientnet-lite0"
"""Who is asked, unless somebody says otherwise."""

NETWORK_SAID, TEXTS_SAID = "cropwords", "textwords"
"""How outcomes are called; those of texts are of the last model and words that were asked."""

PROMPT = "a photo of {}"
"""What an image-text model is given of a word."""

FIRST = 5
"""Most probable words of a crop that count."""

CONFUSED = 3
"""Outputs that are left out since the class's whole images are most often given them."""

BATCH = 16
WORDS = 256
"""Words that are read at a time."""

COLUMNS = list(Suggestion.__dataclass_fields__)


def crop_words(audit: Audit, candidate: Candidate) -> tuple[Suggestion, ...] | None:
    """What the network said of a candidate; None where it was not asked."""
    return _read(_path(NETWORK_SAID, audit, candidate))


def text_words(audit: Audit, candidate: Candidate) -> tuple[Suggestion, ...] | None:
    """What an image-text model said of a candidate last; None where none was asked."""
    return _read(_path(TEXTS_SAID, audit, candidate))


def _read(path: Path) -> tuple[Suggestion, ...] | None:
    if not there(path):
        return None
    rows = read_frame(path, needed=COLUMNS)[COLUMNS].to_dict("records")
    return tuple(Suggestion(**{str(k): v for k, v in row.items()}) for row in rows)


def ask_network(
    audit: Audit, candidate: Candidate, network: Model | None = None
) -> tuple[Suggestion, ...]:
    """:func:`crop_words`, asked and kept where they were not.

    Parameters
    ----------
    network : an ImageNet classifier, to save loading :data:`NETWORK` here.

    Raises
    ------
    InputError
        If the candidate has too few crops.
    """
    if (known := crop_words(audit, candidate)) is not None:
        return known
    crops = crops_of(audit, candidate)
    network = network or _network()
    outputs = tuple(network.outputs or ())
    words = short_names(outputs)
    shown, least, whole = (
        probabilities(network, pixels) for pixels in (crops.shown, crops.least, crops.whole)
    )
    facts = audit.class_facts(candidate.key.label)
    left_out = own_outputs(outputs, [facts.label, facts.name])
    left_out |= confused(whole, left_out)
    found = named("network", words, counted(shown, left_out), counted(least, left_out))
    return _kept(NETWORK_SAID, audit, candidate, found)


def ask_texts(
    audit: Audit,
    candidate: Candidate,
    model: TextImageModel,
    words: Sequence[str],
    report: Reporter = silent,
) -> tuple[Suggestion, ...]:
    """What an image-text model says of a candidate's crops, kept in place of what it said before.

    Parameters
    ----------
    words : what may be said; their vectors are kept, too.

    Raises
    ------
    InputError
        If the candidate has too few crops, or there is no word.
    """
    if not words:
        raise InputError("there is no word to choose from; give --words")
    crops, vectors = crops_of(audit, candidate), embedded_words(audit, model, words, report)
    shown, least, whole = (
        model.images([Image.fromarray(crop) for crop in some]) @ vectors.T
        for some in (crops.shown, crops.least, crops.whole)
    )
    facts = audit.class_facts(candidate.key.label)
    left_out = own_outputs(words, [facts.label, facts.name])
    left_out |= confused(whole, left_out)
    found = named("text", words, counted(shown, left_out), counted(least, left_out))
    return _kept(TEXTS_SAID, audit, candidate, found)


def embedded_words(
    audit: Audit, model: TextImageModel, words: Sequence[str], report: Reporter = silent
) -> FloatArray:
    """Vectors (q, E) of words, kept with the audit."""
    path = audit.files.embedded_words(model.key, fingerprint({"words": list(words)}))
    if not there(path):
        parts = []
        for start in range(0, len(words), WORDS):
            report(Progress("Reading words", start, len(words), "words"))
            part = words[start : start + WORDS]
            parts.append(model.texts([PROMPT.format(word) for word in part]))
        write_array(path, np.concatenate(parts))
    return read_array(path, ndim=2, kinds="f")


def _kept(
    name: str, audit: Audit, candidate: Candidate, found: tuple[Suggestion, ...]
) -> tuple[Suggestion, ...]:
    table = pd.DataFrame([asdict(one) for one in found], columns=COLUMNS)
    write_frame(_path(name, audit, candidate), table)
    return found


@lru_cache(maxsize=1)
def _network() -> Model:
    from core.models.load import load_model

    return load_model(NETWORK).to("cpu", "fp32")


def _path(name: str, audit: Audit, candidate: Candidate) -> Path:
    of = {"version": VERSION, "network": NETWORK, "audit": audit.manifest.fingerprint}
    key = fingerprint({**of, "head": audit.head_key})
    return audit.files.outcome(name, f"{candidate.key.short}-{key}", candidate.class_idx)


def probabilities(network: Model, crops: Sequence[np.ndarray]) -> FloatArray:
    """What a network says of crops, (n, K)."""
    pixels = enlarged(crops, network.preprocess.input_size)
    features = [
        encode_padded(network, pixels[start : start + BATCH], BATCH).features.float().cpu().numpy()
        for start in range(0, len(pixels), BATCH)
    ]
    found: FloatArray = np.exp(log_softmax(network.logits(np.concatenate(features))))
    return found


def own_outputs(outputs: Sequence[str], names: Sequence[str]) -> BoolArray:
    """Which outputs (K,) share a word with one of a class's names, any of their synonyms counting.

    So a class's own output is among them.
    """
    own = {word for name in names for word in _words(name)}
    return np.array([bool(own & _words(output)) for output in outputs], bool)


@lru_cache(maxsize=4096)
def _words(name: str) -> frozenset[str]:
    """Words of three letters or more in all names of an output."""
    return frozenset(
        word
        for synonym in (name, *synonyms(name))
        for word in re.findall(r"[^\W\d_]{3,}", synonym.casefold())
    )


def confused(whole: FloatArray, left_out: BoolArray) -> BoolArray:
    """The outputs (K,) most probable, on average, on a class's whole images (n, K), CONFUSED."""
    mean = np.where(left_out, -1, whole.mean(axis=0))
    found = np.zeros(len(mean), bool)
    found[np.argsort(-mean, kind="stable")[:CONFUSED]] = True
    return found


def counted(scores: FloatArray, left_out: BoolArray) -> BoolArray:
    """Whether each word is among the FIRST of each image by its scores (n, q), (n, q)."""
    kept = np.where(left_out, -np.inf, scores)
    order = np.argsort(-kept, axis=1, kind="stable")[:, :FIRST]
    found = np.zeros(scores.shape, bool)
    np.put_along_axis(found, order, True, axis=1)
    return found & ~left_out


def named(
    route: str, words: Sequence[str], shown: BoolArray, least: BoolArray
) -> tuple[Suggestion, ...]:
    """The words whose share of the crops is surely above the control's, the largest first.

    Surely: Newcombe's 95 % interval of the difference lies above zero.

    Parameters
    ----------
    shown, least : (n, q) whether each word counts on each crop, and on each of the control.
    """
    hits, control, n = shown.sum(axis=0), least.sum(axis=0), len(shown)
    low, _ = newcombe(hits, control, n, z=critical())
    order = np.argsort(-(hits - control), kind="stable")[:FIRST]
    return tuple(
        Suggestion(words[i], route, float(hits[i] / n), float(control[i] / n))
        for i in order
        if low[i] > 0
    )
