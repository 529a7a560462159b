"""How often a class is called harmed whose tagged candidate does nothing, and how often by a cue.

Audits are drawn as maps, so that a patch of an image is a patch of its maps and nothing is decoded:
four classes, an object somewhere in every image, and in one class a cue, planted on some of its
images. A head is fitted, candidates are found, and one is tagged.

A direction that means nothing may do something all the same: the place where it is strongest has an
object, and so turns images. What it does in truth is known here, from other images of the same
world under the same head. So candidates that do nothing are drawn until one turns, in fresh images,
no more than its control does: a random direction without a share of any logit; of some 64 of these
the one that opens the largest gap here, or has the largest lean; a random mixture of components
with the share of the first one, where a class has such a one. These have the goal. The largest lean
and the mixture as they are drawn stand beside them with what they turn in truth, like one of the
first five components of a clean class, which may well be its object.

*Before* is by the gap or the flip rate of the pasted cue, as reports had it; *after* is
:mod:`core.report.harm`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from benchmarks.measure import Line
from core.candidates.candidate import heatmaps, linear_alpha
from core.candidates.linear_kinds import PCA
from core.candidates.search import ClassCandidates, ClassFeatures, find_candidates
from core.models.head import fit_probe
from core.models.linear import Head
from core.report.harm import Choice, Done, done
from core.statistics.intervals import auroc, share
from core.statistics.spuriosity import spurious_gap
from core.trials.confirmed import TARGETS, Confirmed
from core.trials.latent import Ground, Latent, Pool, Reader, donors_of, taken_away, turned
from core.trials.tagged_trial import MAPS, PIXELS

CLASSES, CHANNELS, SIDE = 4, 64, 6
TRAIN, HELD = 60, 40
"""Images of a class."""
AUDITS = 60
NULLS, FIRST, TRIED = 64, 5, 10
"""Candidates that do nothing; those that a person looks at; those of a class that are tried."""
FRESH = 12
"""Draws of other images, by which it is known what a candidate does."""
MIXED = 20
"""Mixtures that are drawn to find one that does nothing."""
SEED = 5000
"""Of the first audit; with those below 1000 the rule was made."""
FLIPS = 0.4
"""Flip rate from which a planted cue is to be found."""


@dataclass(frozen=True)
class Images:
    """Images of all classes."""

    maps: np.ndarray
    """(n, D, h, w) float32, never below 0."""
    labels: np.ndarray
    cue: np.ndarray
    """(n, h, w) where the cue is."""

    @cached_property
    def features(self) -> np.ndarray:
        """(n, D)."""
        return np.asarray(self.maps.mean(axis=(2, 3)), np.float64)


@dataclass(frozen=True)
class World:
    """What images are made of: patterns of channels."""

    objects: np.ndarray
    """(K, D, 3, 3): every class has nine places that look different."""
    scenes: np.ndarray
    """(6, D) behind everything, whatever the class."""
    cue: np.ndarray
    """(D,)."""

    @classmethod
    def of(cls, rng: np.random.Generator) -> World:
        """A new one."""
        objects = rng.exponential(0.1, (CLASSES, CHANNELS, 1, 1))
        objects = objects + rng.exponential(1.0, (CLASSES, CHANNELS, 3, 3))
        return cls(
            0.3 * objects,
            rng.exponential(1.0, (6, CHANNELS)),
            rng.exponential(1.0, CHANNELS) * rng.uniform(0.5, 3.0),
        )

    def draw(self, rng: np.random.Generator, count: int, shown: float) -> Images:
        """So many images of every class; a share of class 0 with the cue."""
        labels = np.repeat(np.arange(CLASSES), count)
        n = len(labels)
        maps = rng.normal(0.2, 0.6, (n, CHANNELS, SIDE, SIDE))
        maps += self.scenes[rng.integers(0, len(self.scenes), n)][:, :, None, None]
        cue = np.zeros((n, SIDE, SIDE), bool)
        shows = (labels == 0) & (rng.random(n) < shown)
        for i in range(n):
            y, x = rng.integers(0, SIDE - 2, 2)
            strength = rng.uniform(0, 1.2, (3, 3))
            maps[i, :, y : y + 3, x : x + 3] += strength * self.objects[labels[i]]
            if shows[i]:
                y, x = rng.integers(0, SIDE, 2)
                cue[i, y, x] = True
                maps[i, :, y, x] = self.cue + rng.normal(0, 0.3, CHANNELS)
        return Images(np.maximum(maps, 0).astype(np.float32), labels, cue)


class Audit:
    """One drawn audit: a fitted head, and what its classes are made of."""

    def __init__(
        self, rng: np.random.Generator, world: World, shown: float, head: Head | None = None
    ) -> None:
        self.rng, self.world, self.shown = rng, world, shown
        self.train = world.draw(rng, TRAIN, shown)
        self.held = world.draw(rng, HELD, 0.5)
        self.head = head or fitted(self.train)
        reader = Reader.of(self.head, range(CLASSES))
        self.pool = Pool(reader, reader.read(self.held.maps), self.held.labels)

    @classmethod
    def drawn(cls, seed: int) -> Audit:
        """One of a world of its own."""
        rng = np.random.default_rng(seed)
        world = World.of(rng)
        return cls(rng, world, float(rng.choice([0.5, 0.8, 0.95])))

    @cached_property
    def fresh(self) -> list[Audit]:
        """Other images of the same world under the same head."""
        return [Audit(rng, self.world, self.shown, self.head) for rng in self.rng.spawn(FRESH)]

    def of(self, label: int) -> Class:
        """One of its classes."""
        return Class(self, label)


def fitted(images: Images) -> Head:
    """A head as an audit fits one."""
    probe = fit_probe(images.features, images.labels, CLASSES)
    names = [str(k) for k in range(CLASSES)]
    return Head(probe.weight, probe.bias, names, names, "fit")


@dataclass(frozen=True)
class Class:
    """One class of a drawn audit."""

    audit: Audit
    label: int

    @cached_property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Of its training and held-out images."""
        images = (self.audit.train, self.audit.held)
        first, second = (np.flatnonzero(each.labels == self.label) for each in images)
        return first, second

    @cached_property
    def fresh(self) -> list[Class]:
        """Itself with other images."""
        return [each.of(self.label) for each in self.audit.fresh]

    @cached_property
    def found(self) -> ClassCandidates:
        """Its components and neurons, as an audit finds them."""
        train, held = self.rows
        features = np.concatenate(
            [self.audit.train.features[train], self.audit.held.features[held]]
        )
        fitted = np.arange(len(features)) < len(train)
        correct = self.audit.head.logits(features).argmax(axis=1) == self.label
        weight, bias = self.audit.head.weight[self.label], float(self.audit.head.bias[self.label])
        given = ClassFeatures(
            features, weight, bias, train=fitted, held_out=~fitted, correct=correct
        )
        return find_candidates(given, CHANNELS)

    @cached_property
    def correct(self) -> np.ndarray:
        """(m,) of its held-out images."""
        found: np.ndarray = self.audit.pool.given[self.rows[1]] == self.label
        return found

    @cached_property
    def ground(self) -> Ground:
        """What its candidates are put into."""
        audit, reader = self.audit, self.audit.pool.reader
        read = reader.read(audit.train.maps[self.rows[0]])
        others = reader.read(audit.train.maps[audit.train.labels != self.label])
        return Ground(audit.pool, self.label, (SIDE, SIDE), read, others.mean(axis=(0, 1)))

    @property
    def first(self) -> np.ndarray:
        """Numbers of the first components on the page."""
        table = self.found.table[self.found.table["kind"] == PCA].sort_values("order")
        numbers: np.ndarray = table["component"].to_numpy()[:FIRST]
        return numbers

    def component(self, number: int) -> Direction:
        """One of its components."""
        return Direction(self, self.found.directions[number], float(self.found.offsets[number]))

    def anything(self) -> Direction:
        """A random mixture of its components with the share of the logit of the first one."""
        r = self.found.n_components
        alpha = self.found.alpha[: len(self.rows[0]), :r]
        logit = alpha.sum(axis=1)
        spread = np.maximum(alpha.std(axis=0), 1e-9)
        follows = np.array([np.corrcoef(column, logit)[0, 1] for column in alpha.T])
        along = follows / np.linalg.norm(follows)
        across = self.audit.rng.normal(size=r) * spread
        across -= along * (along @ across)
        part = min(abs(follows[int(self.first[0])]) / np.linalg.norm(follows), 1.0)
        mixed = part * along + np.sqrt(1 - part**2) * across / np.linalg.norm(across)
        weights = mixed / spread
        return Direction(
            self, weights @ self.found.directions[:r], float(weights @ self.found.offsets[:r])
        )

    def unrelated(self) -> Direction:
        """A random direction that has no share of any logit."""
        rows, _ = np.linalg.qr(self.audit.head.weight.T.astype(np.float64))
        drawn = self.audit.rng.normal(size=CHANNELS)
        drawn -= rows @ (rows.T @ drawn)
        mean = self.audit.train.features[self.rows[0]].mean(axis=0)
        return Direction(self, drawn, float(drawn @ mean))


@dataclass(frozen=True)
class Direction:
    """A candidate, found or drawn."""

    of: Class
    direction: np.ndarray
    offset: float

    def alpha(self, images: Images, rows: np.ndarray) -> np.ndarray:
        """(n,) on some images."""
        return linear_alpha(images.features[rows], self.direction[None], np.array([self.offset]))[
            :, 0
        ]

    def heat(self, images: Images, rows: np.ndarray) -> np.ndarray:
        """(n, h, w) on some images."""
        return heatmaps(images.maps[rows], self.direction[None], np.array([self.offset]))[:, 0]

    @cached_property
    def gap(self) -> float:
        """Points that it opens."""
        return spurious_gap(self.of.correct, self.alpha(self.of.audit.held, self.of.rows[1])).gap

    @cached_property
    def put(self) -> tuple[np.ndarray, np.ndarray]:
        """What donors' regions and their controls turn, (d, T) each, of all images of others."""
        donors, regions = donors_of(self.heat(self.of.audit.train, self.of.rows[0]))
        return turned(self.of.ground, donors, regions)

    @cached_property
    def lean(self) -> float:
        """In the maps, as it is shown to people who choose."""
        return float(self.put[0].mean() - self.put[1].mean())

    @cached_property
    def truth(self) -> float:
        """Its lean in truth: mean over fresh images, donors included."""
        return float(np.mean([replace(self, of=each).lean for each in self.of.fresh]))

    def harmed(self, among: int) -> bool:
        """After: whether a class is called harmed where this one of so many was tagged."""
        return self._done(Choice(1, among)).harms

    def _done(self, choice: Choice) -> Done:
        chosen = np.random.default_rng(0).permutation(self.put[0].shape[1])[:TARGETS]
        put, control = (each[:, chosen] for each in self.put)
        pixels, maps = asdict(Confirmed.of(put, control)), asdict(self.lost)
        row = {
            **{"class_idx": 0, "kind": PCA, "component": 0, "obstacle": ""},
            **{name: pixels[name] for name in (*PIXELS, "targets")},
            **{name: maps[name] for name in MAPS},
            "by_donor": (put.astype(float) - control).mean(axis=1).tolist(),
        }
        (found,) = done(pd.DataFrame([row]), str(self.of.label), choice)
        return found

    @cached_property
    def lost(self) -> Latent:
        """What is taken away, in the maps."""
        ground = self.of.ground
        if not len(ground.own):
            return Latent(0, 0, 0, 0)
        own = donors_region(self.heat(self.of.audit.held, ground.own))
        return taken_away(Latent(0, 0, 0, len(ground.own)), ground, own)

    def accused(self) -> bool:
        """Before: by the gap away from zero, or a flip rate above that of the control."""
        scores = self.alpha(self.of.audit.held, self.of.rows[1])
        gap = spurious_gap(self.of.correct, scores, tests=2)
        return gap.low > 0 or gap.high < 0 or self._triggers()

    def _triggers(self) -> bool:
        """Each target has one donor, and as control the same shape of another of its own class."""
        ground, rng = self.of.ground, np.random.default_rng(1)
        donors, regions = donors_of(self.heat(self.of.audit.train, self.of.rows[0]))
        pool, targets = ground.pool, ground.targets
        picks = rng.integers(0, len(donors), len(targets))
        alike = [np.flatnonzero(pool.labels == pool.labels[target]) for target in targets]
        mine = np.array([rng.choice(rows) for rows in alike])
        masks = regions[picks].astype(np.float32)
        outside = pool.sums[targets] - np.einsum("np,npq->nq", masks, pool.read[targets])
        hits = []
        for source in (ground.read[donors[picks]], pool.read[mine]):
            given = pool.reader.given(outside + np.einsum("np,npq->nq", masks, source), SIDE**2)
            hits.append(float((given == self.of.label).sum()))
        (low, _), (_, high) = (share(found, len(targets), tests=2) for found in hits)
        return low > high


def donors_region(heat: np.ndarray) -> np.ndarray:
    """(n, P) where maps reach half of their maximum."""
    flat = heat.reshape(len(heat), -1)
    top = flat.max(axis=1, keepdims=True)
    return np.asarray((flat >= top / 2) & (top > 0))


def flip_rate(planted: Class) -> float:
    """Share of other classes' images that turn once the planted cue itself is pasted."""
    train = planted.audit.train
    shown = np.flatnonzero(train.cue[planted.rows[0]].any(axis=(1, 2)))[:20]
    regions = train.cue[planted.rows[0][shown]].reshape(len(shown), -1)
    return float(turned(planted.ground, shown, regions)[0].mean())


def tagged(planted: Class) -> Direction:
    """Of the first components the one that tells the planted cue best, as a person tags it."""
    train = planted.audit.train
    shows = train.cue[planted.rows[0]].any(axis=(1, 2))
    told = [planted.component(int(n)) for n in planted.first]
    return max(told, key=lambda each: auroc(each.alpha(train, planted.rows[0]), shows))


def idle(candidates: Sequence[Direction]) -> Direction | None:
    """The first that does nothing: in fresh images it turns no more than its control."""
    return next((each for each in candidates if each.truth <= 0), None)


def verdicts(audit: Audit) -> list[dict[str, object]]:
    """What is said of one audit: the tag, what it does, whether harmed before and after."""
    rows = []

    def said(what: str, candidate: Direction | None, among: int) -> None:
        if candidate is not None:
            found = {"before": candidate.accused(), "after": candidate.harmed(among)}
            rows.append({"what": what, "truth": candidate.truth, **found})

    planted = audit.of(0)
    if flip_rate(planted) >= FLIPS:
        said("cue", tagged(planted), TRIED * CLASSES)
    for label in range(1, CLASSES):
        clean = audit.of(label)
        drawn = [clean.unrelated() for _ in range(2 * NULLS)]  # of which half do nothing
        by_lean = sorted(drawn, key=lambda each: -each.lean)
        said("nothing", idle(drawn), TRIED * CLASSES)
        said("largest gap", idle(sorted(drawn, key=lambda each: -each.gap)), NULLS)
        said("largest lean", idle(by_lean), NULLS)
        said("largest lean as drawn", by_lean[0], 2 * NULLS)
        mixed = [clean.anything() for _ in range(MIXED)]
        said("mixture", idle(mixed), TRIED * CLASSES)
        said("mixture as drawn", mixed[0], TRIED * CLASSES)
        number = int(audit.rng.choice(clean.first))
        said("first five", clean.component(number), TRIED * CLASSES)
    return rows


WORDS = {
    "nothing": "a random direction without a share of any logit that does nothing",
    "largest gap": f"of some {NULLS} of these the one with the largest gap",
    "largest lean": f"of some {NULLS} of these the one with the largest lean",
    "mixture": "a random mixture with the share of the first component that does nothing",
    "cue": f"the planted cue, where pasting it turns {FLIPS:.0%} or more",
    "largest lean as drawn": f"of {2 * NULLS} directions without a share, whatever they do, "
    "the one with the largest lean",
    "mixture as drawn": "a random mixture with the share of the first component, whatever it does",
    "first five": "a random one of the first five components of a clean class",
}
NOTHING = ("nothing", "largest gap", "largest lean", "mixture")


def table(seeds: range) -> pd.DataFrame:
    """Share called harmed before and after, what it turns in truth, and how many, by the tag."""
    rows = [row for seed in seeds for row in verdicts(Audit.drawn(seed))]
    found = pd.DataFrame(rows)
    found["false"] = found["after"] & (found["truth"] <= 0)
    columns = found.groupby("what")[["before", "after", "truth", "false"]]
    return columns.agg(["mean", "size"]).reindex(list(WORDS))


def run() -> list[Line]:
    """The table, with the goals; ``SPURIOSCOPE_SLOW=1`` draws five times as many audits."""
    audits = AUDITS * (5 if os.environ.get("SPURIOSCOPE_SLOW") else 1)
    found = table(range(SEED, SEED + audits))
    return [line for what in WORDS for line in lines_of(what, found.loc[what])]


def lines_of(what: str, row: pd.Series) -> list[Line]:
    """What was said of one kind of tag, and what it does."""
    name = f"tagged: {WORDS[what]}, {int(row['after', 'size'])} classes"
    after, goal, holds = float(row["after", "mean"]), "", None
    if what in NOTHING:
        goal, holds = "<= 0.05", after <= 0.05
    elif what == "cue":
        goal, holds = ">= 0.9", after >= 0.9
    lines = [
        Line(f"{name}: turned beyond the control in fresh images", row["truth", "mean"], ""),
        Line(f"{name}: called harmed, before", row["before", "mean"], ""),
        Line(f"{name}: called harmed, after", after, goal, "", holds),
    ]
    if holds is None:
        false = float(row["false", "mean"])
        lines.append(Line(f"{name}: called harmed though it does nothing", false, ""))
    return lines
