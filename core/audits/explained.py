"""What methods say of images and candidates of an audit: asked where it is wanted, and stored.

::

    explained/sis-00003-4f0c…/      a method, a class, and the key of everything else:
        explanation.json            what is said, and of what (candidate, image, settings, seed)
        order.npy …                 its arrays
        refusal.json                instead of them: why there is nothing to say

An explanation depends on one image, so that what was stopped goes on, and an image that cannot be
read or has nothing to say is left out and named.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.errors import InputError, SpurioscopeError, WorkspaceError
from core.explain.explainer import EXPLAINERS, Explainer, Explanation, Question, Value, spelt
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

Said = Explanation | SpurioscopeError
"""An explanation, or why there is none."""


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
        chosen = EXPLAINERS.chosen(spelt(method))
        if chosen.needs_candidate and candidate is None:
            raise InputError(f"method {method!r} explains a candidate: name one, as --component 0")
        if also and not chosen.several:
            raise InputError(f"method {method!r} explains one model at a time: leave out --also")
        return cls(chosen.name, label, candidate, chosen.read(given or {}), seed, also)

    @property
    def explainer(self) -> Explainer:
        """The method."""
        return EXPLAINERS[self.method]

    @property
    def title(self) -> str:
        """What by what, for people."""
        of = self.candidate.title if self.candidate else self.label
        return f"{self.explainer.title} of {of}"


def stored(audit: Audit, asked: Asked, image_id: str = "") -> Explanation | None:
    """What is stored of an explanation; None where it was not made."""
    files = _files(audit, asked, image_id)
    if not files.facts.exists():
        return None
    told = read_json(files.facts, FACTS)
    arrays = {name: read_array(files.array(name)) for name in told["arrays"]}
    return Explanation(arrays, told["facts"], told["words"], told["notes"])


def refused(audit: Audit, asked: Asked, image_id: str = "") -> str:
    """Why a method had nothing to say when it was last asked; empty where it had, or was not."""
    path = _files(audit, asked, image_id).refusal
    return str(read_json(path, {"words": str})["words"]) if path.exists() else ""


def explain(
    audit: Audit,
    asked: Asked,
    image_ids: Sequence[str] = ("",),
    model: Model | None = None,
    report: Reporter = silent,
) -> Iterator[tuple[str, Said]]:
    """:func:`explain_each` of one question."""
    for _, image_id, said in explain_each(audit, [asked], image_ids, model, report):
        yield image_id, said


def explain_each(
    audit: Audit,
    questions: Sequence[Asked],
    image_ids: Sequence[str] = ("",),
    model: Model | None = None,
    report: Reporter = silent,
) -> Iterator[tuple[Asked, str, Said]]:
    """Every question of every image with what is said, stored or made and stored now.

    Why there is nothing to say is kept for those who only look (:func:`refused`); here it is asked
    again.

    Parameters
    ----------
    image_ids : of the audit or uploaded to it; one empty text where the method takes no images.
    model : the loaded model, to save loading it here.

    Raises
    ------
    InputError
        If the audits that are explained together do not see images alike, or have other classes.
    """
    done, total = 0, len(questions) * len(image_ids)
    unit = "images" if len(questions) == 1 else "maps"
    for asked in questions:
        room = _Room(audit, asked, model)
        title = f"Explaining {asked.label}" if len(questions) == 1 else asked.title
        for image_id in image_ids:
            report(Progress(title, done, total, unit))
            yield asked, image_id, stored(audit, asked, image_id) or _made(room, image_id, report)
            done += 1
        model = room.loaded
    report(Progress(title, total, total, unit))


def _made(room: _Room, image_id: str, report: Reporter) -> Said:
    """What a method says of an image, stored before it is said."""
    try:
        question = room.question(image_id, report)
    except SpurioscopeError as error:
        return error
    try:
        made = room.asked.explainer.explain(question)
    except SpurioscopeError as error:
        words = str(error)
        _keep(room, image_id, lambda files: write_json(files.refusal, {"words": words}))
        return error
    _keep(room, image_id, lambda files: _write(files, made, room.asked, image_id))
    return made


class _Room:
    """The models, loaded once, and what a question is made from."""

    def __init__(self, audit: Audit, asked: Asked, model: Model | None) -> None:
        self.audit, self.asked, self.loaded = audit, asked, model
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
            others=lambda count: self._pixels(self._others(image_id), count),
            members=lambda count: self._pixels(self._members(), count),
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
        self.loaded = self.loaded or self.audit.load_model()
        return self.loaded

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

    def _others(self, image_id: str) -> Iterator[str]:
        """Images of other classes, in an order drawn by the image and the seed."""
        images = self.audit.images
        pool = images.index[(images["label"] != self.asked.label).to_numpy(bool)].tolist()
        rng = np.random.default_rng(image_seed(image_id, self.asked.seed))
        return (pool[i] for i in rng.permutation(len(pool)))

    def _members(self) -> list[str]:
        """Training images of the class, those first that show most of the candidate."""
        arrays = self.audit.class_arrays(self.class_idx)
        fitting = np.flatnonzero(np.asarray(arrays.fitting, bool))
        ids = [arrays.image_ids[i] for i in fitting]
        if self.asked.candidate is None:
            return ids
        alpha = arrays.alpha_of(self.asked.candidate)
        if alpha is None:
            candidate = self.audit.candidate(self.asked.candidate)
            alpha = self.audit.known_alpha(candidate, arrays.image_ids)
        order = np.argsort(-np.nan_to_num(alpha[fitting], nan=-np.inf), kind="stable")
        return [ids[i] for i in order]

    def _pixels(self, image_ids: Iterable[str], count: int) -> list[np.ndarray]:
        """What the encoder sees of the first so many images that can be read."""
        found = list[np.ndarray]()
        for image_id in image_ids:
            if len(found) == count:
                break
            with contextlib.suppress(SpurioscopeError):
                found.append(self.audit.pixels(image_id))
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


def _keep(room: _Room, image_id: str, write: Callable[[ExplainedFiles], None]) -> None:
    """Store what is said, complete or not at all; not in a workspace that only shows."""
    with (
        contextlib.suppress(WorkspaceError),
        replacing_folder(_files(room.audit, room.asked, image_id).folder) as temporary,
    ):
        write(ExplainedFiles(temporary))


def _write(files: ExplainedFiles, made: Explanation, asked: Asked, image_id: str) -> None:
    facts = {"facts": made.facts, "words": made.words, "notes": list(made.notes)}
    of = {"method": asked.method, "class": asked.label, "image_id": image_id, "seed": asked.seed}
    of |= {"candidate": asked.candidate and asked.candidate.short, "settings": asked.settings}
    for name, array in made.arrays.items():
        write_array(files.array(name), array)
    write_json(files.facts, {**facts, "arrays": list(made.arrays), "of": of})


def drawn(audit: Audit, label: str, count: int, seed: int = 0) -> list[str]:
    """Held-out images of a class, drawn by the seed."""
    images = audit.images[audit.held_out]
    ids = images.index[(images["label"] == label).to_numpy(bool)].tolist()
    rng = np.random.default_rng(image_seed(label, seed))
    return [ids[i] for i in sorted(rng.permutation(len(ids))[:count])]
