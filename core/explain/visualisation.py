"""What a candidate looks like: pictures that raise its alpha, by the methods of :mod:`ascent`."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from core.candidates.candidate import Candidate
from core.errors import ModelError
from core.explain.ascent import (
    Hill,
    Path,
    Schedule,
    feature_attack,
    feature_visualisation,
    regularised_visualisation,
    withstands,
)
from core.explain.attribution import taking_gradients
from core.explain.explainer import Explainer, Explanation, Question, Setting
from core.types import FloatArray

ASKED = 8
"""Images of the class that say whether the network withstands small changes."""

OBJECTIVE = Setting("alpha", "what is climbed: alpha, or with the class", ("alpha", "class"))


def npfv(question: Question) -> Explanation:
    """A picture near grey with the largest alpha, from noise."""
    return _alone(question, lambda hill, size: _npfv(question, hill, size))


def attack(question: Question) -> Explanation:
    """Real images of the class changed until alpha is large."""
    return _alone(question, lambda hill, size: _attack(question, hill))


def fourier(question: Question) -> Explanation:
    """A picture by its spectrum, seen moved, turned and enlarged at random."""
    return _alone(question, lambda hill, size: _fourier(question, hill, size))


def look(question: Question) -> Explanation:
    """The first of these that the network is fit for, and why."""
    return _alone(question, lambda hill, size: _fit(question, hill, size))


Climb = Callable[[Hill, tuple[int, int]], Explanation]


def _alone(question: Question, climb: Climb) -> Explanation:
    """With the network to itself.

    Raises
    ------
    ModelError
        If nothing of the candidate's alpha can be climbed.
    """
    from core.models.trace import exclusive

    candidate, size = question.candidate, question.model.preprocess.input_size
    assert isinstance(candidate, Candidate)  # the registry says that one is needed
    hill = Hill(question.model, candidate, question.settings.get("objective") == "class")
    with exclusive(question.model.network):
        return climb(hill, (size[0], size[1]))


def _npfv(question: Question, hill: Hill, size: tuple[int, int]) -> Explanation:
    given = question.settings
    schedule = Schedule(
        **{
            "radius": float(given.get("radius", 30.0)),
            "momentum": float(given.get("momentum", 0.75)),
            "success": float(given.get("success", 0.75)),
        },
        steps=int(given.get("steps", 200)),
    )
    path = feature_visualisation(hill, size, schedule, question.seed, question.report)
    how = f"APGD, {schedule.steps} steps in the L2 ball of {schedule.radius:g} around grey"
    return _said(question, "npfv", [path], how)


def _attack(question: Question, hill: Hill) -> Explanation:
    steps, length = int(question.value("steps")), question.value("step")
    images = question.members(int(question.value("count")))
    if not images:
        raise ModelError(f"no training image of the class of {hill.candidate.title} can be read")
    total, paths = len(images) * steps, list[Path]()
    for image in images:
        done = len(paths) * steps
        told = lambda step, _, done=done: question.report(done + step, total)  # noqa: E731
        start = image.astype(np.float32) / 255
        paths.append(feature_attack(hill, start, length, steps, told))
    how = f"{steps} steps of length {length:g} from each of {len(images)} real images"
    return _said(question, "attack", paths, how)


def _fourier(question: Question, hill: Hill, size: tuple[int, int]) -> Explanation:
    steps = int(question.settings.get("steps", 128))
    path = regularised_visualisation(hill, size, steps, question.seed, question.report)
    how = f"Adam, {steps} steps on the spectrum, moved, turned and enlarged at random"
    return _said(question, "fourier", [path], how)


def _fit(question: Question, hill: Hill, size: tuple[int, int]) -> Explanation:
    """Plain ascent where half of the predictions withstand a small push, else the regularised."""
    members = [image.astype(np.float32) / 255 for image in question.members(ASKED)]
    kept, there = 0, 0
    if members:
        with taking_gradients("A picture"):
            kept, there = withstands(question.model, question.class_idx, np.stack(members))
    question = replace(question, settings={"objective": question.word("objective")})
    robust = there > 0 and 2 * kept >= there
    found = (_npfv if robust else _fourier)(question, hill, size)
    why = f"{kept} of {there} right predictions withstand a push of L2 length 3 (at 224 x 224)"
    then = "so plain ascent shows what it sees" if robust else "so plain ascent would end in noise"
    return replace(found, words=f"{found.words}; {why}, {then}", facts={
        **found.facts, "withstand": kept, "pushed": there
    })  # fmt: skip


def _said(question: Question, method: str, paths: Sequence[Path], how: str) -> Explanation:
    """A path of every picture as arrays and words."""
    last = np.stack([path.frames[-1] for path in paths])
    alpha = [float(path.alpha[-1]) for path in paths]
    odds, best = _odds(question, last), int(np.argmax(alpha))
    arrays = {
        "pictures": _bytes(last),
        "frames": _bytes(paths[0].frames),
        "steps": np.array(paths[0].steps),
        "alpha": np.stack([path.alpha for path in paths]),
    }
    facts: dict[str, object] = {
        **{"method": method, "how": how, "alpha": alpha[best], "alphas": alpha},
        "alpha_first": [float(path.alpha[0]) for path in paths],
        "probability": float(odds[best]),
        "seed": question.seed,
    }
    words = (
        f"{how}: alpha {paths[best].alpha[0]:.2f} to {alpha[best]:.2f}, the class "
        f"has {100 * float(odds[best]):.0f} % on the picture"
    )
    notes = ["a picture shows what raises alpha, not what images of the class look like"]
    return Explanation(arrays, facts, words, notes)


def _odds(question: Question, pictures: FloatArray) -> FloatArray:
    """Probability (n,) of the class on pictures (n, H, W, 3)."""
    import torch

    model = question.model
    given = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(model.device)
    with torch.no_grad():
        scores = model.scores(model.normalised(given))
    found: FloatArray = scores.double().softmax(1)[:, question.class_idx].cpu().numpy()
    return found


def _bytes(pictures: FloatArray) -> np.ndarray:
    return np.round(pictures * 255).astype(np.uint8)


def pictures(explanation: Explanation, pixels: np.ndarray) -> Mapping[str, bytes]:
    """Every result, and the way to the first one side by side."""
    strip = np.concatenate(list(explanation.arrays["frames"]), axis=1)
    results = explanation.arrays["pictures"]
    named = {f"picture{f'-{i + 1}' if i else ''}": each for i, each in enumerate(results)}
    return {name: _png(each) for name, each in {**named, "steps": strip}.items()}


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


NPFV = Explainer(
    name="npfv",
    title="Neural PCA feature visualisation",
    text="A picture near grey with the largest alpha, by plain ascent; for networks that withstand "
    "small changes.",
    source="Neuhaus et al. 2023; Croce & Hein 2020",
    explain=npfv,
    pictures=pictures,
    of_images=False,
    needs_candidate=True,
    settings={
        "steps": Setting(200, "of the ascent", low=1, high=2000),
        "radius": Setting(30.0, "of the ball around grey, at 224 x 224", low=0.1, high=1000),
        "momentum": Setting(0.75, "share of a step that is new", low=0, high=1),
        "success": Setting(0.75, "share of steps that have to improve", low=0, high=1),
        "objective": OBJECTIVE,
    },
)
ATTACK = Explainer(
    name="attack",
    title="Feature attack",
    text="Real images that show most of the candidate, changed until its alpha is large.",
    source="Singla & Feizi 2022",
    explain=attack,
    pictures=pictures,
    of_images=False,
    needs_candidate=True,
    settings={
        "steps": Setting(100, "of the ascent", low=1, high=2000),
        "step": Setting(10.0, "length of one, at 224 x 224", low=0.001, high=1000),
        "count": Setting(3, "how many images", low=1, high=24),
        "objective": OBJECTIVE,
    },
)
FOURIER = Explainer(
    name="fourier",
    title="Regularised feature visualisation",
    text="A picture by its spectrum with large alpha however it is moved, turned and enlarged; for "
    "ordinary networks.",
    source="Olah et al. 2017",
    explain=fourier,
    pictures=pictures,
    of_images=False,
    needs_candidate=True,
    settings={
        "steps": Setting(128, "of the ascent", low=1, high=2000),
        "objective": OBJECTIVE,
    },
)
LOOK = Explainer(
    name="look",
    title="What it looks like",
    text="npfv where the network withstands small changes, else fourier; says which and why.",
    source="this project",
    explain=look,
    pictures=pictures,
    of_images=False,
    needs_candidate=True,
    settings={"objective": OBJECTIVE},
)
