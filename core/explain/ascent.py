"""What raises a candidate's alpha: ascent in the pixels, in three published ways.

Pictures are in [0, 1]; a path keeps a few of them and alpha at every step. The slope is the
candidate's own, place by place where its maps are exact, so that every kind of candidates is
climbed alike and what is reported is its exact alpha.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.candidates.candidate import Candidate
from core.errors import ModelError
from core.types import FloatArray

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from core.models.model import Model

SIDE = 224
"""Pixels along a side that published lengths in pixel space are of; others are scaled by theirs."""

FRAMES = 7
"""Pictures of a path that are kept, the first and the last among them."""

Told = Callable[[int, int], None]
"""How many steps of how many are done."""


class Path(NamedTuple):
    """How a picture came to be."""

    frames: FloatArray
    """(FRAMES, H, W, 3) in [0, 1], the last the result; fewer of fewer steps."""
    steps: list[int]
    """Of each."""
    alpha: FloatArray
    """(steps + 1,) of every picture on the way."""


@dataclass(frozen=True)
class Hill:
    """What is climbed: a number that a picture gives, with its slope."""

    model: Model
    candidate: Candidate
    confident: bool = False
    """Whether the logarithm of the class's probability is climbed, too (alpha minus the log of
    all outputs' sum, as published): the picture is then to look like the class as well."""

    def __call__(self, pictures: Tensor) -> tuple[FloatArray, Tensor]:
        """Alpha (n,) of pictures (n, 3, H, W), and the slope of what is climbed with them.

        Raises
        ------
        ModelError
            If the network has no finite gradients at its precision on its device.
        """
        import torch

        given = pictures.detach().requires_grad_()
        model = self.model
        try:
            seen = model.encode_with_slope(model.normalised(given))
            alpha, climbed = self._of(seen.features, seen.maps)
            (slope,) = torch.autograd.grad(climbed, given)
        except (RuntimeError, NotImplementedError) as error:
            raise self._without_slope(str(error).strip().partition("\n")[0][:160]) from error
        if not slope.isfinite().all():
            raise self._without_slope("they are not finite")
        return alpha, slope

    def _of(self, features: Tensor, maps: Tensor | None) -> tuple[FloatArray, Tensor]:
        """Alpha (n,), and a number whose slope in the pictures is that of what is climbed."""
        import torch

        known = features.detach().double().cpu().numpy()
        if self.candidate.needs == "features":
            alpha, change = self.candidate.alpha(known), self.candidate.slope(known)
            over = features
        elif maps is not None and self.candidate.needs == "maps":
            of_maps = maps.detach().float().cpu().numpy()
            alpha, change = self.candidate.alpha(of_maps), self.candidate.by_place(of_maps)
            over = maps.float()
        else:
            raise ModelError(
                f"{self.candidate.title} has no slope in the pixels: it is computed from "
                f"{self.candidate.needs}, which {self.model.name} gives only to first order"
            )
        along = torch.from_numpy(np.ascontiguousarray(change, np.float32)).to(over.device)
        climbed = (over * along).sum()
        if self.confident:
            climbed = climbed - self.model.scores_of(features).logsumexp(1).sum()
        return np.asarray(alpha, np.float64), climbed

    def _without_slope(self, why: str) -> ModelError:
        known = self.model.precision == "fp32"
        remedy = "no picture can be drawn of it" if known else "audit it with --precision fp32"
        return ModelError(
            f"{self.model.name} has no gradients in {self.model.precision} on "
            f"{self.model.device} ({why}): {remedy}"
        )


def scaled(length: float, size: tuple[int, int]) -> float:
    """A length in pixel space that is published for 224 x 224, for pictures of another size."""
    return length * float(np.sqrt(size[0] * size[1])) / SIDE


def _unit(slope: Tensor) -> Tensor:
    """The same direction with length one; a slope of zero stays."""
    import torch

    length = slope.flatten(1).norm(dim=1).clamp_min(torch.finfo(slope.dtype).tiny)
    found: Tensor = slope / length[:, None, None, None]
    return found


class Kept:
    """Collects a path."""

    def __init__(self, steps: int, told: Told) -> None:
        self.wanted = np.unique(np.linspace(0, steps, FRAMES).round().astype(int)).tolist()
        self.total, self.told = steps, told
        self.frames: list[FloatArray] = []
        self.alpha: list[float] = []

    def add(self, picture: Tensor, alpha: FloatArray) -> None:
        """One step."""
        step = len(self.alpha)
        self.alpha.append(float(alpha[0]))
        if step in self.wanted[:-1]:
            self.frames.append(_shown(picture))
        self.told(step, self.total)

    def path(self, picture: Tensor, alpha: float) -> Path:
        """All of it, with the result at its end."""
        steps = [*self.wanted[: len(self.frames)], len(self.alpha) - 1]
        frames = np.stack([*self.frames, _shown(picture)])
        return Path(frames, steps, np.array([*self.alpha[:-1], alpha]))


def _shown(picture: Tensor) -> FloatArray:
    found: FloatArray = picture[0].detach().float().permute(1, 2, 0).cpu().numpy()
    return found


@dataclass(frozen=True)
class Schedule:
    """Auto-PGD (Croce & Hein 2020, algorithm 1), with its published numbers."""

    radius: float = 30.0
    """Of the ball around grey, for 224 x 224 (Neuhaus et al. 2023)."""
    steps: int = 200
    momentum: float = 0.75
    success: float = 0.75
    """Share of the steps of a window that have to improve, or the step is halved."""

    def windows(self) -> list[int]:
        """Steps after which the length of steps is looked at."""
        found, before, after = [], 0.0, 0.22
        while (step := int(np.ceil(after * self.steps))) <= self.steps:
            found.append(step)
            before, after = after, after + max(after - before - 0.03, 0.06)
        return found


def feature_visualisation(
    hill: Hill, size: tuple[int, int], schedule: Schedule, seed: int, told: Told
) -> Path:
    """A picture in the L2 ball around grey with the largest alpha: NPFV (Neuhaus et al. 2023).

    From noise at the edge of the ball; pictures are cut to [0, 1], which leads towards grey.
    """
    import torch

    radius = scaled(schedule.radius, size)

    def inside(pictures: Tensor) -> Tensor:
        away = pictures - 0.5
        length = away.flatten(1).norm(dim=1)[:, None, None, None]
        cut: Tensor = (0.5 + away * (radius / length.clamp_min(radius))).clamp(0, 1)
        return cut

    noise = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed))
    start = inside(0.5 + radius * _unit(noise.to(hill.model.device)))
    kept = Kept(schedule.steps, told)
    climb = _Climb(hill, inside, schedule, 2 * radius, start)
    kept.add(climb.now, climb.alpha)
    for step in range(1, schedule.steps + 1):
        climb.step(step)
        kept.add(climb.now, climb.alpha)
    return kept.path(climb.best, climb.highest)


class _Climb:
    """The state of Auto-PGD."""

    def __init__(
        self,
        hill: Hill,
        inside: Callable[[Tensor], Tensor],
        schedule: Schedule,
        length: float,
        start: Tensor,
    ) -> None:
        self.hill, self.inside, self.schedule, self.length = hill, inside, schedule, length
        self.now = self.before = self.best = start
        self.alpha, self.slope = hill(start)
        self.best_slope, self.highest = self.slope, float(self.alpha[0])
        self.better, self.at_window = 0, (length, self.highest)
        self.halved, self.since = True, 0
        self.ends = set(schedule.windows())

    def step(self, number: int) -> None:
        """One step; at the end of a window perhaps a shorter one from now on, from the best."""
        share = self.schedule.momentum if number > 1 else 1.0
        ahead = self.inside(self.now + self.length * _unit(self.slope))
        moved = share * (ahead - self.now) + (1 - share) * (self.now - self.before)
        self.before, self.now = self.now, self.inside(self.now + moved)
        last = float(self.alpha[0])
        self.alpha, self.slope = self.hill(self.now)
        self.better, self.since = self.better + (float(self.alpha[0]) > last), self.since + 1
        if float(self.alpha[0]) > self.highest:
            self.best, self.best_slope = self.now, self.slope
            self.highest = float(self.alpha[0])
        if number in self.ends:
            self._look()

    def _look(self) -> None:
        stuck = not self.halved and self.at_window == (self.length, self.highest)
        self.halved = self.better < self.schedule.success * self.since or stuck
        self.at_window = (self.length, self.highest)
        if self.halved:
            self.length /= 2
            self.now, self.slope = self.best, self.best_slope
            self.alpha = np.array([self.highest])
        self.better = self.since = 0


def feature_attack(hill: Hill, picture: FloatArray, length: float, steps: int, told: Told) -> Path:
    """Ascent from a real picture (H, W, 3) by steps of one length (Singla & Feizi 2022)."""
    import torch

    now = torch.from_numpy(np.asarray(picture, np.float32)).permute(2, 0, 1)[None]
    now, kept = now.to(hill.model.device), Kept(steps, told)
    alpha, slope = hill(now)
    kept.add(now, alpha)
    for _ in range(steps):
        far = scaled(length, (now.shape[2], now.shape[3]))
        now = (now + far * _unit(slope)).clamp(0, 1)
        alpha, slope = hill(now)
        kept.add(now, alpha)
    return kept.path(now, float(alpha[0]))


COLOURS = ((1.0, 1.0, 1.0), (0.5, 0.0, -0.5), (0.2, -0.4, 0.2))
"""Rows by which grey, red against blue, and green against both make colours: photos vary most in
the first."""

RATE, SPREAD = 0.05, 0.01
"""Step of Adam, and of the spectrum that it begins with (Olah et al. 2017)."""

WIDER = (1, 4, 16)
"""Times as far, where nothing answers to a picture near grey."""

SHIFT, TURN, ZOOM = 0.04, 0.09, 0.1
"""How far a picture is moved (share of its side), turned (radians) and enlarged at random."""


def regularised_visualisation(
    hill: Hill, size: tuple[int, int], steps: int, seed: int, told: Told
) -> Path:
    """A picture by its spectrum, seen moved, turned and enlarged at random (Olah et al. 2017).

    Low frequencies weigh as much as in photos, and what holds only where it stands is averaged
    out: on networks that were not trained against small changes, plain ascent ends in noise. Alpha
    on the way is that of the picture as it was moved, that of the result its own.
    """
    import torch

    random = torch.Generator().manual_seed(seed)
    spectrum = _spectrum(hill, size, random).requires_grad_()
    climber, kept = torch.optim.Adam([spectrum], lr=RATE), Kept(steps, told)
    for _ in range(steps):
        shown = _painted(spectrum, size)
        seen = _moved(shown, random)
        alpha, slope = hill(seen.to(hill.model.device))
        kept.add(shown, alpha)
        climber.zero_grad()
        torch.autograd.backward(seen, -slope.to(seen.device))
        climber.step()
    shown = _painted(spectrum.detach(), size)
    alpha, _ = hill(shown.to(hill.model.device))
    kept.add(shown, alpha)
    return kept.path(shown, float(alpha[0]))


def _spectrum(hill: Hill, size: tuple[int, int], random: Generator) -> Tensor:
    """Where the ascent begins: near grey, or so far from it that something has a slope."""
    import torch

    drawn = torch.randn(3, size[0], size[1] // 2 + 1, 2, generator=random)
    for wider in WIDER:
        found = drawn * SPREAD * wider
        if hill(_painted(found, size).to(hill.model.device))[1].any():
            break
    return found


def _painted(spectrum: Tensor, size: tuple[int, int]) -> Tensor:
    """The picture (1, 3, H, W) of a spectrum (3, H, W // 2 + 1, 2)."""
    import torch

    h, w = size
    far = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w))
    weight = (np.sqrt(h * w) / np.maximum(far, 1 / max(h, w))).astype(np.float32)
    of_grey = torch.view_as_complex(spectrum) * torch.from_numpy(weight)
    planes = torch.fft.irfft2(of_grey, s=size)
    found: Tensor = torch.einsum("chw,cd->dhw", planes, torch.tensor(COLOURS)).div(4).sigmoid()
    return found[None]


def _moved(picture: Tensor, random: Generator) -> Tensor:
    """A picture (1, 3, H, W) moved, turned and enlarged at random, mirrored at its edges."""
    import torch
    from torch.nn import functional

    turn, zoom, down, across = (torch.rand(4, generator=random) * 2 - 1).tolist()
    size, angle = 1 - ZOOM * abs(zoom), TURN * turn
    sine, cosine = float(np.sin(angle)) * size, float(np.cos(angle)) * size
    theta = [[cosine, -sine, 2 * SHIFT * across], [sine, cosine, 2 * SHIFT * down]]
    grid = functional.affine_grid(torch.tensor([theta]), [*picture.shape], align_corners=False)
    return functional.grid_sample(picture, grid, padding_mode="reflection", align_corners=False)


def withstands(
    model: Model, class_idx: int, pictures: FloatArray, length: float = 3.0, steps: int = 5
) -> tuple[int, int]:
    """How many pictures that are given a class still are, pushed away by a length, of how many.

    L2 steps against the logit of the class, at most ``length`` in all, for 224 x 224: the size that
    networks are trained to withstand whose visualisations are published (Salman et al. 2020).

    Parameters
    ----------
    pictures : (n, H, W, 3) in [0, 1].
    """
    import torch

    start = torch.from_numpy(np.asarray(pictures, np.float32)).permute(0, 3, 1, 2)
    start = start.to(model.device)

    def logits(given: Tensor) -> Tensor:
        return model.scores(model.normalised(given))

    with torch.no_grad():
        start = start[logits(start).argmax(1) == class_idx]
    if not len(start):
        return 0, 0
    now, far = start, scaled(length, (start.shape[2], start.shape[3])) / steps
    target = torch.full((len(start),), class_idx, device=start.device)
    for _ in range(steps):
        given = now.detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(logits(given), target, reduction="sum")
        (slope,) = torch.autograd.grad(loss, given)
        now = (now + far * _unit(slope)).clamp(0, 1)
    with torch.no_grad():
        return int((logits(now).argmax(1) == class_idx).sum()), len(start)
