"""What methods say of images and candidates of an audit: asked where it is wanted, and stored.

::

    explained/sis-00003-4f0c…/      a method, a class, and the key of everything else:
        explanation.json            what is said, and of what (candidate, image, settings, seed)
        order.npy …                 its arrays

An explanation depends on one image, so that what was stopped goes on, and an image that cannot be
read or has nothing to say is left out and named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.errors import InputError, SpurioscopeError, WorkspaceError
from core.explain.explainer import EXPLAINERS, Explainer, Explanation, Question, Value
from core.statistics.seeds import image_seed
from core.storage.documents import Shape
from core.storage.files import (
    read_array,
    read_json,
    replacing_folder,
    write_array,
    write_json,
)
from core.storage.layout import ExplainedFiles
from core.storage.workspace import fingerprint
from core.types import FloatArray, IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

VERSION = 1
"""Of how an explanation is stored; another one explains everything again."""

FACTS: Shape = {"facts": dict, "words": str, "notes": [str], "arrays": [str]}
"""What is stored of an explanation beside its arrays."""


@dataclass(frozen=True)
class Asked:
    """Everything that an explanation depends on, but for the image."""

    method: str
    label: str
    """Raw label of the class."""
    candidate: CandidateKey | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)
    """Every setting of the method."""
    seed: int = 0
    also: Sequence[Audit] = ()
    """Further audits whose models are explained together with the audit's."""

    @classmethod
    def of(
        cls,
        method: str,
        label: str,
        candidate: CandidateKey | None = None,
        given: Mapping[str, str] | None = None,
        seed: int = 0,
        also: Sequence[Audit] = (),
    ) -> Asked:
        """The same with settings as texts, those that are not given by their defaults.

        Raises
        ------
        InputError
            If the method or a setting is unknown, or the method takes no such candidate or models.
        """
        chosen = EXPLAINERS.chosen(method)
        if chosen.needs_candidate and candidate is None:
            raise InputError(f"method {method!r} explains a candidate: name one, as --component 0")
        if also and not chosen.several:
            raise InputError(f"method {method!r} explains one model at a time: leave out --also")
        return cls(method, label, candidate, chosen.read(given or {}), seed, also)

    @property
    def explainer(self) -> Explainer:
        """The method."""
        return EXPLAINERS[self.method]


def stored(audit: Audit, asked: Asked, image_id: str = "") -> Explanation | None:
    """What is stored of an explanation; None where it was not made."""
    files = _files(audit, asked, image_id)
    if not files.facts.exists():
        return None
    told = read_json(files.facts, FACTS)
    arrays = {name: read_array(files.array(name)) for name in told["arrays"]}
    return Explanation(arrays, told["facts"], told["words"], told["notes"])


def explain(
    audit: Audit,
    asked: Asked,
    image_ids: Sequence[str] = ("",),
    model: Model | None = None,
    report: Reporter = silent,
) -> Iterator[tuple[str, Explanation | SpurioscopeError]]:
    """Every image with its explanation, stored or made and stored now, or why there is none.

    Parameters
    ----------
    image_ids : of the audit or uploaded to it; one empty text where the method takes no images.
    model : the loaded model, to save loading it here.

    Raises
    ------
    InputError
        If the audits that are explained together do not see images alike, or have other classes.
    """
    title, room = f"Explaining {asked.label}", _Room(audit, asked, model)
    for done, image_id in enumerate(image_ids):
        report(Progress(title, done, len(image_ids)))
        found = stored(audit, asked, image_id)
        if found is not None:
            yield image_id, found
            continue
        try:
            made = asked.explainer.explain(room.question(image_id, report))
        except SpurioscopeError as error:
            yield image_id, error
            continue
        _keep(audit, asked, image_id, made)
        yield image_id, made
    report(Progress(title, len(image_ids), len(image_ids)))


class _Room:
    """The models, loaded once, and what a question is made from."""

    def __init__(self, audit: Audit, asked: Asked, model: Model | None) -> None:
        self.audit, self.asked, self._model = audit, asked, model
        self._more: list[tuple[Model, IntArray]] | None = None
        self.class_idx = audit.class_facts(asked.label).class_idx
        self.maps = [_outputs(audit, other) for other in asked.also]

    def question(self, image_id: str, report: Reporter) -> Question:
        """What the method is asked of an image."""
        audit, asked = self.audit, self.asked
        candidate = None if asked.candidate is None else audit.candidate(asked.candidate)
        asks = Question(
            self.model,
            self.class_idx,
            asked.settings,
            candidate,
            image_id,
            seed=image_seed(image_id, asked.seed) % 2**32,
            others=lambda count: self._pixels(self._others(image_id, count)),
            members=lambda count: self._pixels(self._members(count)),
            report=lambda done, total: report(Progress(f"Explaining {asked.label}, passes of an "
                                                       "image", done, total, "passes")),
            more=self.more,
        )  # fmt: skip
        if not image_id:
            return asks
        pixels = audit.pixels(image_id)
        return replace(asks, pixels=pixels, direction=self._direction(image_id))

    @property
    def model(self) -> Model:
        """The audit's, loaded where it is first needed."""
        self._model = self._model or self.audit.load_model()
        return self._model

    @property
    def more(self) -> list[tuple[Model, IntArray]]:
        """Those of the other audits, likewise."""
        if self._more is None:
            models = [other.load_model() for other in self.asked.also]
            self._more = list(zip(models, self.maps, strict=True))
        return self._more

    def _direction(self, image_id: str) -> FloatArray:
        if self.asked.candidate is None:
            slopes, _ = self.audit.head.piece(self.audit.features([image_id]), self.class_idx)
        else:
            candidate = self.audit.candidate(self.asked.candidate)
            slopes = self.audit.slope(candidate, [image_id], self.model)
        found: FloatArray = slopes[0]
        return found

    def _others(self, image_id: str, count: int) -> list[str]:
        """Images of other classes, drawn by the image and the seed."""
        images = self.audit.images
        pool = images.index[(images["label"] != self.asked.label).to_numpy(bool)].tolist()
        rng = np.random.default_rng(image_seed(image_id, self.asked.seed))
        return [pool[i] for i in rng.permutation(len(pool))[:count]]

    def _members(self, count: int) -> list[str]:
        """Training images of the class, those first that show most of the candidate."""
        arrays = self.audit.class_arrays(self.class_idx)
        fitting = np.flatnonzero(np.asarray(arrays.fitting, bool))
        ids = [arrays.image_ids[i] for i in fitting]
        if self.asked.candidate is None:
            return ids[:count]
        alpha = arrays.alpha_of(self.asked.candidate)
        if alpha is None:
            candidate = self.audit.candidate(self.asked.candidate)
            alpha = self.audit.known_alpha(candidate, arrays.image_ids)
        order = np.argsort(-np.nan_to_num(alpha[fitting], nan=-np.inf), kind="stable")
        return [ids[i] for i in order[:count]]

    def _pixels(self, image_ids: Sequence[str]) -> list[np.ndarray]:
        """What the encoder sees of images; those that cannot be read are left out."""
        found = []
        for image_id in image_ids:
            try:
                found.append(self.audit.pixels(image_id))
            except SpurioscopeError:
                continue
        return found


def _outputs(audit: Audit, other: Audit) -> IntArray:
    """Which output of another audit every output of this one is, (K,).

    Raises
    ------
    InputError
        If it sees images at another size or cut, or lacks an output.
    """
    mine, theirs = audit.preprocess, other.preprocess
    if (mine.input_size, mine.crop_pct, mine.crop_mode) != (
        theirs.input_size,
        theirs.crop_pct,
        theirs.crop_mode,
    ):
        raise InputError(
            f"audits {audit.name!r} and {other.name!r} see images at another size or cut: only "
            "models that see the same pixels are explained together"
        )
    found = np.array([other.head.index(label) for label in audit.head.outputs], np.int64)
    if (found < 0).any():
        lacking = audit.head.outputs[int(np.argmin(found))]
        raise InputError(f"audit {other.name!r} has no output {lacking!r} as {audit.name!r} has")
    return found


def _files(audit: Audit, asked: Asked, image_id: str) -> ExplainedFiles:
    """Where an explanation is or will be."""
    key = fingerprint(
        {
            "version": [VERSION, asked.explainer.version],
            "audits": [_state(each) for each in (audit, *asked.also)],
            "candidate": asked.candidate and asked.candidate.short,
            "found": _found(audit, asked),
            "image": image_id,
            "settings": dict(asked.settings),
            "seed": asked.seed,
        }
    )
    class_idx = audit.class_facts(asked.label).class_idx
    return audit.files.explanation(asked.method, class_idx, key)


def _state(audit: Audit) -> list[str]:
    """What an audit's model says depends on."""
    return [audit.manifest.fingerprint, audit.head_key]


def _found(audit: Audit, asked: Asked) -> Mapping[str, str]:
    """What the candidate was found in, where that may change."""
    from core.audits.other_kinds import found_in

    return found_in(audit.files, {asked.candidate.kind}) if asked.candidate else {}


def _keep(audit: Audit, asked: Asked, image_id: str, made: Explanation) -> None:
    """Store an explanation, complete or not at all; not in a workspace that only shows."""
    import contextlib

    facts = {"facts": made.facts, "words": made.words, "notes": list(made.notes)}
    of = {"method": asked.method, "class": asked.label, "image_id": image_id, "seed": asked.seed}
    of |= {"candidate": asked.candidate and asked.candidate.short, "settings": asked.settings}
    with (
        contextlib.suppress(WorkspaceError),
        replacing_folder(_files(audit, asked, image_id).folder) as temporary,
    ):
        files = ExplainedFiles(temporary)
        for name, array in made.arrays.items():
            write_array(files.array(name), array)
        write_json(files.facts, {**facts, "arrays": list(made.arrays), "of": of})


def drawn(audit: Audit, label: str, count: int, seed: int = 0) -> list[str]:
    """Held-out images of a class, drawn by the seed."""
    images = audit.images[audit.held_out]
    ids = images.index[(images["label"] == label).to_numpy(bool)].tolist()
    rng = np.random.default_rng(image_seed(label, seed))
    return [ids[i] for i in sorted(rng.permutation(len(ids))[:count])]
