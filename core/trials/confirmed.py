"""A candidate's latent trial once more in pixels: what it does, confirmed or refuted.

Donors, their regions, the targets, the other image of the control and its shift are those of
:mod:`core.trials.latent`. Only the way differs: a region of the grid, enlarged to what the encoder
sees, is cut out with a hard edge and pasted on the target, and the network looks at every picture.
Of an encoder without exact maps, which has no latent trial, donors are the images of largest alpha
and regions are those of Grad-CAM. No drawn mask is read: the figure is about the candidate, not
about what somebody outlined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.other_kinds import asked, found_in
from core.candidates.candidate import Candidate
from core.candidates.key import CandidateKey
from core.candidates.kinds import KINDS
from core.config import CONFIDENCE
from core.errors import InputError, UnreadableImageError
from core.explain.heatmaps import upsample
from core.features.extract import cores, in_order
from core.statistics.two_way import two_way
from core.storage.files import read_frames, write_frame
from core.storage.workspace import fingerprint
from core.trials.encoder import Encoder, Seen
from core.trials.latent import DONORS, FEWEST_DONORS, donors_of, obstacle_of, within
from core.trials.leaning import KEYS, Trial, is_possible, trial_key
from core.trials.paste import paste, sample
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter, count_of, silent

if TYPE_CHECKING:
    from pathlib import Path

    from core.models.model import Model

VERSION = 1
"""Of the trial; another one makes it again."""

NAME = "confirmed"
"""How its outcomes are called."""

TARGETS = 32
"""Targets of a candidate, a part of the latent ones by their ids alone.

With all 16 donors, which differ most, 1,024 pictures bound the lean of a candidate to +-.16 (median
of 59 of ImageNet photos, from the parts of its variance in the maps); as many with 8 donors to
+-.23, with 4 to +-.44; six times as many, of 200 targets, to no better than +-.15.
"""


@dataclass(frozen=True)
class Confirmed:
    """What a candidate does in pixels. Shares in [0, 1]; intervals at 95 %, of it alone."""

    put_in: float
    """Share of targets x donors that are given the class once the donor's region is pasted."""
    low: float
    high: float
    control: float
    """The same with what another image of the class, rolled, has at the same places."""
    lean: float
    """put_in - control, in [-1, 1]; positive: the class leans on the candidate."""
    lean_low: float
    lean_high: float
    error: float
    """Standard error of the lean over donors and targets."""
    donors: int
    targets: int
    left_out: int
    """Donors and targets whose images cannot be read any more."""

    @classmethod
    def of(cls, put: BoolArray, control: BoolArray, left_out: int = 0) -> Self:
        """The figures of what turned (d, T), by the candidate and by its control."""
        of_put, of_lean = two_way(put), two_way(put.astype(np.float64) - control)
        low, high = within(of_put, CONFIDENCE, 0)
        lean_low, lean_high = within(of_lean, CONFIDENCE, -1)
        return cls(
            put_in=of_put.value,
            low=low,
            high=high,
            control=float(control.mean()),
            lean=of_lean.value,
            lean_low=lean_low,
            lean_high=lean_high,
            error=of_lean.error,
            donors=put.shape[0],
            targets=put.shape[1],
            left_out=left_out,
        )

    @property
    def words(self) -> str:
        """In a line, for people."""
        put, low, high, control = (
            f"{100 * share:.0f}" for share in (self.put_in, self.low, self.high, self.control)
        )
        return f"put in {put} % [{low}, {high}], the same shape from elsewhere {control} %"


FIGURES = tuple(field.name for field in fields(Confirmed))
COLUMNS = [*KEYS, *FIGURES]


def confirmed(audit: Audit) -> pd.DataFrame:
    """The candidates that were tried in pixels (COLUMNS), a row each; empty without any."""
    key = _key(audit)
    of_asked = {f"-{kind.name}-": _made(audit, kind.name) for kind in asked()}
    paths = [
        path
        for path in audit.files.every_outcome(NAME, key)
        if all(word not in path.name or made + key in path.name for word, made in of_asked.items())
    ]
    return read_frames(paths, COLUMNS)[0] if paths else pd.DataFrame(columns=COLUMNS)


def confirmed_of(table: pd.DataFrame, class_idx: int, kind: str, number: int) -> Confirmed | None:
    """One candidate in a table of :func:`confirmed`; None where it was not tried."""
    wanted = dict(zip(KEYS, (class_idx, kind, number), strict=True))
    rows = table[np.logical_and.reduce([table[name] == value for name, value in wanted.items()])]
    return None if rows.empty else Confirmed(**rows.iloc[0][list(FIGURES)].to_dict())


def confirm(
    audit: Audit,
    keys: Sequence[CandidateKey],
    model: Model | None = None,
    report: Reporter = silent,
) -> pd.DataFrame:
    """Try candidates in pixels, and keep what was found; returns :func:`confirmed`.

    Those that were tried are passed over, so that what was stopped goes on.

    Parameters
    ----------
    model : the loaded model, to save loading it here.

    Raises
    ------
    InputError
        If an audit with exact maps keeps none, or a candidate does not exist or has too few donors
        or targets; before any network is run where that can be known.
    """
    lacking = [key for key in keys if not _path(audit, audit.candidate(key)).exists()]
    if lacking:
        possible(audit)
    if lacking and not audit.exact_maps:
        model = model or audit.load_model()  # marks the regions, too
    if lacking:
        trial = trial_of(audit, model)
        pairs = [pairs_of(trial, audit.candidate(key)) for key in lacking]
        encoder, seen = Encoder(audit, model or audit.load_model()), Seen(audit)
        for each in pairs:
            turned = turned_in_pixels(trial, encoder, seen, each, report)
            keep(audit, each.candidate, Confirmed.of(*turned))
    return confirmed(audit)


def possible(audit: Audit) -> None:
    """Refuse an audit with exact maps that keeps none: nothing says where a candidate is.

    Raises
    ------
    InputError
        If it does.
    """
    if audit.exact_maps and (obstacle := is_possible(audit)):
        raise InputError(f"audit {audit.name!r} confirms nothing with pixels: {obstacle}")


def keep(audit: Audit, candidate: Candidate, found: Confirmed) -> None:
    """Store what a candidate does in pixels."""
    row = {**_names(candidate), **asdict(found)}
    write_frame(_path(audit, candidate), pd.DataFrame([row], columns=COLUMNS))


def trial_of(audit: Audit, model: Model | None) -> Trial:
    """The images that its candidates are tried on."""
    return Trial(audit) if audit.exact_maps else Approximate(audit, model)


def _names(candidate: Candidate) -> dict[str, object]:
    key = candidate.key
    return dict(zip(KEYS, (candidate.class_idx, key.kind, key.number), strict=True))


def _key(audit: Audit) -> str:
    """Changes with everything that the figures depend on, the candidate aside."""
    return fingerprint({"version": VERSION, "targets": TARGETS, "trial": trial_key(audit)})


def _path(audit: Audit, candidate: Candidate) -> Path:
    key = f"{candidate.key.short}-{_made(audit, candidate.key.kind)}{_key(audit)}"
    return audit.files.outcome(NAME, key, candidate.class_idx)


def _made(audit: Audit, kind: str) -> str:
    """What the candidates of a kind that is asked for were found in; empty of other kinds."""
    return fingerprint(found_in(audit.files, [kind])) if KINDS[kind].asked else ""


@dataclass(frozen=True)
class Pairs:
    """What is pasted on what: the draws of the latent trial of one candidate."""

    candidate: Candidate
    donors: list[str]
    """(d,) training images of the class, those that show it most first."""
    regions: BoolArray
    """(d, h, w) places of the grid that are cut out of each."""
    others: list[str]
    """(d,) another training image of the class for each, the control."""
    shifts: IntArray
    """(d, 2) places by which that is rolled, down and to the right."""
    targets: list[str]
    """(T,) held-out images of other classes that are not given the class."""


class Approximate(Trial):
    """The images of an encoder without exact maps, on which nothing can be tried in the maps.

    Features say what an image is given, Grad-CAM where a candidate is.
    """

    def __init__(self, audit: Audit, model: Model | None = None) -> None:
        super().__init__(audit)
        self.model = model

    def kept(self, image_ids: Sequence[str]) -> BoolArray:
        """All of them: features are kept of every image."""
        return np.ones(len(image_ids), bool)

    def maps(self, image_ids: Sequence[str]) -> FloatArray:
        """The features as maps of a single place, (n, D, 1, 1)."""
        return self.audit.features(image_ids)[:, :, None, None]

    def heats(self, candidates: Sequence[Candidate], ids: Sequence[str]) -> FloatArray:
        """Maps (n, m, h, w) of the DONORS images of largest alpha; of the others zeros."""
        found = []
        for candidate in candidates:
            alpha = _known(self.audit, candidate, ids)
            first = np.argsort(-alpha, kind="stable")[:DONORS]
            first = first[np.isfinite(alpha[first])]
            maps = self.audit.heatmaps(candidate, [ids[i] for i in first], self.model)
            found.append(np.zeros((len(ids), *maps.shape[1:]), np.float32))
            found[-1][first] = maps
        return np.stack(found, axis=1)


def _known(audit: Audit, candidate: Candidate, ids: Sequence[str]) -> FloatArray:
    """Alpha (n,) of training images; -inf of those that the network did not look at."""
    if candidate.needs == "features":
        return audit.alpha(candidate, ids)
    arrays = audit.class_arrays(candidate.class_idx)
    stored = arrays.alpha_of(candidate.key)
    assert stored is not None  # an approximate part is found with its alphas
    known = dict(zip(arrays.image_ids, stored.tolist(), strict=True))
    found: FloatArray = np.nan_to_num([known[i] for i in ids], nan=-np.inf)
    return found


def pairs_of(trial: Trial, candidate: Candidate) -> Pairs:
    """The pairs of a candidate.

    Raises
    ------
    InputError
        If there are too few of them for a figure.
    """
    arrays = trial.audit.class_arrays(candidate.class_idx)
    ids = trial.training(arrays)
    if not ids:
        raise _refusal(candidate, "no maps of its class's training images are kept")
    heat = trial.heats([candidate], ids)[:, 0]
    ground = replace(trial.ground(arrays, ids), grid=heat.shape[1:])
    rows, regions = donors_of(heat)
    if obstacle := obstacle_of(ground, rows):
        raise _refusal(candidate, obstacle)
    others, shifts = ground.controls
    return Pairs(
        candidate,
        [ids[i] for i in rows],
        regions.reshape(-1, *ground.grid),
        [ids[i] for i in others[rows]],
        shifts[rows],
        sample([trial.pool_ids[i] for i in ground.targets], TARGETS),
    )


def _refusal(candidate: Candidate, why: str) -> InputError:
    title, label = candidate.key.title, candidate.key.label
    return InputError(f"{title} of class {label!r} cannot be confirmed with pixels: {why}")


@dataclass(frozen=True)
class Patch:
    """What one donor gives: the same pixels are replaced by its own and by the control's."""

    mask: BoolArray
    """(height, width)."""
    sources: tuple[np.ndarray, np.ndarray]
    """The donor, and the other image rolled; (height, width, 3) uint8 each."""


def in_view(region: BoolArray, size: tuple[int, int]) -> BoolArray:
    """A region (h, w) of the grid as pixels (height, width): where its enlargement is half or more.

    Centres of its places are inside, those of others outside; corners are rounded.
    """
    found: BoolArray = upsample(region.astype(np.float32), size) >= 0.5
    return found


def patch_of(seen: Seen, pairs: Pairs, row: int) -> Patch | None:
    """What a donor gives; None where its image or the other one cannot be read any more."""
    region, size = pairs.regions[row], seen.audit.preprocess.input_size
    try:
        donor, other = seen.picture(pairs.donors[row]), seen.picture(pairs.others[row])
    except UnreadableImageError:
        return None
    shift = np.rint(pairs.shifts[row] * np.divide(size, region.shape)).astype(int)
    return Patch(in_view(region, size), (donor, np.roll(other, shift, axis=(0, 1))))


def turned_in_pixels(
    trial: Trial, encoder: Encoder, seen: Seen, pairs: Pairs, report: Reporter = silent
) -> tuple[BoolArray, BoolArray, int]:
    """Whether targets are given the class, (d, T), with each patch and its control; left out."""
    found = [patch_of(seen, pairs, row) for row in range(len(pairs.donors))]
    patches = [patch for patch in found if patch is not None]
    if len(patches) < FEWEST_DONORS:
        given = count_of(len(found), "donor")
        few = f"{len(patches)} of {given} can be read; {FEWEST_DONORS} are needed"
        raise _refusal(pairs.candidate, f"images of {few}")
    features = _encoded(encoder, seen, patches, pairs.targets, report)
    sound = np.isfinite(features).all(axis=(0, 1, 3))
    if not sound.any():
        raise _refusal(pairs.candidate, "no target can be read; see that the images are in place")
    sums = features[:, :, sound] @ trial.reader.rows.T
    given = trial.reader.given(sums, 1) == trial.places[pairs.candidate.class_idx]
    return given[0], given[1], len(found) - len(patches) + int((~sound).sum())


def _encoded(
    encoder: Encoder,
    seen: Seen,
    patches: Sequence[Patch],
    targets: Sequence[str],
    report: Reporter,
) -> FloatArray:
    """Features (2, d, T, D) float32 of targets with every patch; NaN of those not readable."""
    found = np.full((2, len(patches), len(targets), encoder.width), np.nan, np.float32)
    total = found[..., 0].size

    def pasted(column: int) -> list[tuple[tuple[int, int, int], np.ndarray]]:
        try:
            target = seen.picture(targets[column])
        except UnreadableImageError:
            return []
        return [
            ((which, row, column), paste(target, source, patch.mask))
            for row, patch in enumerate(patches)
            for which, source in enumerate(patch.sources)
        ]

    def pictures() -> Iterator[tuple[tuple[int, int, int], np.ndarray]]:
        columns = range(len(targets))
        for of_target in in_order(pasted, columns, workers=min(4, cores()), ahead=4):
            yield from of_target

    for done, (place, features) in enumerate(encoder.each(pictures())):
        if done % encoder.size == 0:
            report(Progress("Confirming with pixels", done, total))
        found[place] = features
    report(Progress("Confirming with pixels", total, total))
    return found
