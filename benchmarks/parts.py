"""Parts and what candidates do: a planted sticker, the cost, and latent figures against pixels.

Small by default, so that it takes minutes; ``SPURIOSCOPE_SLOW=1`` runs it at full size (hours).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.measure import MODEL, PHOTOS, Line
from benchmarks.planted_cues import stuck
from core.candidates.key import CandidateKey
from core.candidates.part_kind import PART, PartKind, parts_of

CLASSES = (
    *("n03028079", "n03417042", "n03888257", "n01440764", "n03000684"),
    *("n02102040", "n02979186", "n03394916", "n03425413", "n03445777"),
)
"""Church, garbage truck, parachute, tench, chain saw; spaniel, cassette player, horn, petrol
pump, golf ball."""
OWNER = CLASSES[0]
PREVALENCES = (0.0, 0.3, 0.8, 1.0)
PLACE = 3
"""Seed of :func:`stuck` whose sticker lies whole inside the view: the place that is fixed."""
KINDS = (PART, "pca", "neuron")


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    planted: tuple[int, int, int]
    """Classes that carry the sticker in turn, training and test photos of each."""
    timed: tuple[int, int, int]
    """Classes of plain photos, training and test photos of each."""
    rounds: int
    """Audits with and without parts, in turns."""
    confirmed: tuple[int, int]
    """Classes whose candidates are tried in pixels, and how many of each kind."""
    targets: int
    """Images that each of them is pasted on."""


QUICK = Sizes((4, 45, 20), (2, 150, 60), 1, (2, 2), 4)
FULL = Sizes((4, 150, 60), (10, 150, 60), 3, (5, 4), 32)


def run() -> list[Line]:
    """All three tables."""
    from core.storage.workspace import Workspace

    if not PHOTOS.is_dir():
        raise SystemExit(f"this part needs photos at {PHOTOS}")
    sizes = FULL if os.environ.get("SPURIOSCOPE_SLOW") else QUICK
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        lines = planted(workspace, sizes)  # first, so that what is timed finds everything loaded
        audit, timed = costs(workspace, sizes)
        return [*lines, *timed, *pixels(audit, sizes)]


def audited(workspace: Any, data: Path, name: str) -> Any:
    """An audit of a fitted probe in fp32, without what its candidates do."""
    from core.audits.audit_requests import AuditRequest
    from core.audits.run import run_audit

    asked = AuditRequest(str(data), MODEL, name=name, head="fit", precision="fp32")
    return run_audit(asked, workspace)


# ------------------------------------------------------------------- a sticker on one class


def planted(workspace: Any, sizes: Sizes) -> list[Line]:
    """The sticker on each class in turn, at random places by prevalence, and at a fixed place."""
    owners, lines = CLASSES[: sizes.planted[0]], []
    for share in PREVALENCES:
        found = pd.DataFrame([figures(workspace, sizes, owner, share) for owner in owners])
        lines += found_lines(found, share)
    lines += necessity_lines("on 100 %", found)
    fixed = figures(workspace, sizes, OWNER, 1.0, fixed=True)
    return [*lines, *necessity_lines("on 100 %, fixed place", pd.DataFrame([fixed]))]


def figures(
    workspace: Any, sizes: Sizes, owner: str, share: float, *, fixed: bool = False
) -> dict[str, float]:
    """What an audit says of the class that carries the sticker; without any it is the same one."""
    from core.trials.leaned_on import leaned_on
    from core.trials.leaning import measure_leaning

    data = stickers(workspace.root, sizes, owner, share, fixed=fixed)
    audit = audited(workspace, data, data.parent.name)
    measure_leaning(audit)
    labels = [one.facts.label for one in leaned_on(audit)]
    gaps = [c.label for c in sorted(audit.classes, key=lambda facts: -(facts.top_gap or 0))]
    row, ratios = strongest(audit, owner), in_sticker(audit, owner, drawn=share > 0)
    return {
        "place": labels.index(owner) + 1,
        "by_gap": gaps.index(owner) + 1,
        **{name: row[name] for name in ("lean", "put_in", "put_in_control", "taken_away")},
        "ratio": ratios[int(row["component"])],
        "largest": max(ratios),
        **(necessity(audit, owner) if share == 1 else {}),
    }


def stickers(root: Path, sizes: Sizes, owner: str, share: float, *, fixed: bool = False) -> Path:
    """A manifest of blurred photos, a share of one class with a sticker.

    Every photo comes with the mask where its sticker is or would be, and without it.
    """
    classes, train, test = sizes.planted
    name = f"{owner if share else 'nobody'}-{share:.0%}{'-fixed' * fixed}".replace("%", "")
    folder, rows = root / "data" / name, []
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", test)):
        for label in CLASSES[:classes]:
            paths = sorted((PHOTOS / split / label).glob("*.JPEG"))[:count]
            own = share if label == owner else 0
            shows = rng.permutation(len(paths)) < round(own * len(paths))
            for i, (path, cue) in enumerate(zip(paths, shows, strict=True)):
                stem = f"{split}/{label}/{path.stem}"
                (folder / stem).parent.mkdir(parents=True, exist_ok=True)
                clean, with_cue = (
                    stuck(path, on, np.random.default_rng(PLACE if fixed else i))
                    for on in (False, True)
                )
                (with_cue if cue else clean)[0].save(folder / f"{stem}.png")
                clean[0].save(folder / f"{stem}-clean.png")
                with_cue[1].save(folder / f"{stem}-cue.png")
                rows.append(
                    {
                        "path": f"{stem}.png",
                        "label": label,
                        "split": "train" if split == "train" else "test",
                        "cue": int(cue),
                        "cue_mask": f"{stem}-cue.png",
                        "clean": f"{stem}-clean.png",
                    }
                )
    pd.DataFrame(rows).to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"


def found_lines(found: pd.DataFrame, share: float) -> list[Line]:
    """Where the planted classes stand, and what their strongest parts are; a row a class."""
    name, strong, many = f"on {100 * share:.0f} %", share >= 0.8, len(found)
    first, mean, least = int((found["place"] == 1).sum()), found.mean(), found.min()
    place = f"of {many}"
    lines = [
        Line(
            f"{name}: planted classes that stand first by what they lean on",
            first,
            f"{many}" if strong else "",
            place,
            first == many if strong else None,
        ),
        Line(f"{name}: mean place by what it leans on", mean["place"], "", place),
        Line(f"{name}: mean place by the accuracy gap", mean["by_gap"], "", place),
        Line(f"{name}: lean of the strongest part, mean", mean["lean"], ""),
        Line(f"{name}: put in, mean", mean["put_in"], ""),
        Line(f"{name}: put in, control, mean", mean["put_in_control"], ""),
    ]
    inside = f"{name}: region inside the sticker over its area"
    if share == 0:
        largest = found["largest"].max()
        lines.append(
            Line(f"{inside}, largest of all parts", largest, "<= 1.5", "x", largest <= 1.5)
        )
    else:
        goal, holds = (">= 4", least["ratio"] >= 4) if strong else ("", None)
        lines += [
            Line(f"{inside}, strongest part, mean", mean["ratio"], "", "x"),
            Line(f"{inside}, strongest part, least", least["ratio"], goal, "x", holds),
        ]
    goal, holds = ("> 0.5", least["taken_away"] > 0.5) if share == 1 else ("", None)
    return [
        *lines,
        Line(f"{name}: taken away, strongest part, mean", mean["taken_away"], ""),
        Line(f"{name}: taken away, strongest part, least", least["taken_away"], goal, "", holds),
    ]


def strongest(audit: Any, owner: str) -> dict[str, Any]:
    """What the part of a class with the largest lean does."""
    from core.trials.leaning import leaning

    table = leaning(audit)
    mine = table[(table["class_idx"] == audit.class_facts(owner).class_idx)]
    ranked = mine[mine["kind"] == PART].sort_values("lean", ascending=False)
    found: dict[str, Any] = ranked.iloc[0].to_dict()
    return found


def in_sticker(audit: Any, owner: str, *, drawn: bool) -> list[float]:
    """Share of every part's region that is sticker, over the share of the picture that is.

    Parameters
    ----------
    drawn : where a donor carries none, nothing of its region is sticker; otherwise what counts is
        where the sticker would have been.
    """
    from core.trials.confirmed import in_view
    from core.trials.encoder import mask_in_view
    from core.trials.latent import donors_of

    trial, arrays, ids = class_trial(audit, owner)
    heats, size = trial.heats(arrays.candidates(PART), ids), audit.preprocess.input_size
    found = []
    for part in range(heats.shape[1]):
        donors, regions = donors_of(heats[:, part])
        inside, area = [], []
        for name, region in zip([ids[i] for i in donors], regions, strict=True):
            mask = mask_in_view(audit, name, "cue_mask")
            mask = np.zeros(size, bool) if mask is None else mask
            shown = not drawn or audit.images.loc[name, "cue"] == 1
            pasted = in_view(region.reshape(heats.shape[2:]), size)
            inside.append((pasted & mask).sum() / pasted.sum() if shown else 0.0)
            area.append(mask.mean())
        found.append(float(np.mean(inside) / np.mean(area)))
    return found


def class_trial(audit: Any, owner: str) -> tuple[Any, Any, list[str]]:
    """The trial of a class, its arrays and its training images."""
    from core.trials.leaning import Trial

    trial, arrays = Trial(audit), audit.arrays_of(owner)
    return trial, arrays, trial.training(arrays)


def necessity(audit: Any, owner: str) -> dict[str, float]:
    """Taken away beyond one part: several, the whole map, the sticker's places, its pixels."""
    from core.explain.heatmaps import half_maximum
    from core.trials.latent import Latent, taken_away
    from core.trials.leaning import leaning

    trial, arrays, ids = class_trial(audit, owner)
    ground = replace(trial.ground(arrays, ids), fill=trial.fill(arrays))
    own = [trial.pool_ids[i] for i in ground.own]
    table = leaning(audit)
    clear = table[(table["class_idx"] == arrays.class_idx) & (table["lean_low"] > 0)]
    above = clear[clear["kind"] == PART]["component"].astype(int).tolist()
    maps = parts_of(arrays.of_kind(PART)).maps_of(audit.store.stored_maps(own)[0 : len(own)])

    def lost(regions: np.ndarray) -> Latent:
        nothing = Latent(0.0, 0, 0, len(own))
        return taken_away(nothing, ground, regions.reshape(len(own), -1))

    union = np.array([np.any([half_maximum(m) for m in one[above]], axis=0) for one in maps])
    whole = np.array([half_maximum(one.sum(axis=0)) for one in maps])
    touched = np.stack([on_grid(audit, i, maps.shape[2:]) for i in own])
    return {
        "union": lost(union).taken_away,
        "union_control": lost(union).taken_away_control,
        "union_area": float(union.mean()),
        "margin": lost(whole).taken_away,
        "touched": lost(touched).taken_away,
        "pixels": lost_in_pixels(audit, owner, own),
    }


def necessity_lines(name: str, found: pd.DataFrame) -> list[Line]:
    """Means over the planted classes."""
    words = {
        "taken_away": "taken away, strongest part",
        "union": "taken away, all its parts above the control",
        "union_control": "the same, their regions moved",
        "union_area": "area of their regions",
        "margin": "taken away, half maximum of the margin's map",
        "touched": "taken away, every place that the sticker touches",
        "pixels": "lost once the sticker is not drawn, pixels",
    }
    mean = found.mean()
    return [Line(f"{name}: {text}", mean[figure], "") for figure, text in words.items()]


def on_grid(audit: Any, image_id: str, grid: tuple[int, int]) -> np.ndarray:
    """Places (h, w) that the sticker touches."""
    from core.trials.encoder import mask_in_view

    mask = mask_in_view(audit, image_id, "cue_mask")
    if mask is None:
        return np.zeros(grid, bool)
    h, w = (size // count for size, count in zip(mask.shape, grid, strict=True))
    return np.asarray(mask.reshape(grid[0], h, grid[1], w).any(axis=(1, 3)))


def lost_in_pixels(audit: Any, owner: str, image_ids: Sequence[str]) -> float:
    """Share of these images, all right, that is lost where the photo has no sticker."""
    from core.data.preprocess import apply
    from core.trials.encoder import predictions_of

    seen = []
    for name in image_ids:
        with Image.open(audit.root / audit.images.loc[name, "clean"]) as photo:
            seen.append(apply(audit.preprocess, photo.convert("RGB")))
    given = predictions_of(audit, audit.load_model(), seen)
    return float((given != audit.class_facts(owner).class_idx).mean())


# ------------------------------------------------------------------- what it costs


@dataclass(frozen=True)
class Spent:
    """Seconds of a call, by the clock and of all processors together."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.cpu + other.cpu)


def spent(call: Callable[[], Any]) -> tuple[Any, Spent]:
    """What a call returns, and what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return found, Spent(time.perf_counter() - wall, time.process_time() - cpu)


@contextmanager
def parts_timed(*, found: bool) -> Iterator[list[Spent]]:
    """What parts take during the block, class by class, or no parts at all."""
    own, times = PartKind.find, list[Spent]()

    def find(kind: PartKind, images: Any) -> Any:
        if not found:
            return None
        parts, took = spent(lambda: own(kind, images))
        times.append(took)
        return parts

    with mock.patch.object(PartKind, "find", find):
        yield times


@dataclass(frozen=True)
class Turn:
    """One audit without parts and one with all that is said of its candidates."""

    bare: Spent
    audit: Spent
    """With parts."""
    parts: Spent
    """Of that, to find them."""
    lean: Spent
    """After it: put in and taken away."""


def costs(workspace: Any, sizes: Sizes) -> tuple[tuple[Any, float], list[Line]]:
    """Audits of plain photos with parts and what candidates do, and without, in turns.

    Returns the last audit with the seconds that one candidate takes in its maps, and the lines.
    """
    from core.trials.leaning import measure_leaning

    data, turns = plain(workspace.root, sizes), []
    for turn in range(sizes.rounds):
        with parts_timed(found=False):
            bare = spent(partial(audited, workspace, data, f"bare{turn}"))[1]
        with parts_timed(found=True) as times:
            audit, whole = spent(partial(audited, workspace, data, f"whole{turn}"))
        table, lean = spent(partial(measure_leaning, audit))
        turns.append(Turn(bare, whole, sum(times, Spent()), lean))
    name, classes, tried = f"{len(audit.images):,} photos", len(audit.classes), len(table)
    lines = [
        line
        for clock in ("wall", "cpu")
        for line in cost_lines(f"{name}, {clock}", clock, turns, classes, tried)
    ]
    return (audit, float(np.median([turn.lean.wall for turn in turns])) / tried), lines


def cost_lines(
    name: str, clock: str, turns: Sequence[Turn], classes: int, tried: int
) -> list[Line]:
    """Medians over the turns by one clock."""
    bare, audit, parts, lean = (
        float(np.median([getattr(getattr(turn, what), clock) for turn in turns]))
        for what in ("bare", "audit", "parts", "lean")
    )
    apart, within = (audit + lean) / bare, (audit + lean) / (audit - parts)
    return [
        Line(f"{name}: audit without", bare, "", "s"),
        Line(f"{name}: audit with over without", apart, "<= 1.5", "x", apart <= 1.5),
        Line(f"{name}: the same audit over its own rest", within, "<= 1.5", "x", within <= 1.5),
        Line(f"{name}: parts of a class", parts / classes, "", "s"),
        Line(f"{name}: put in and taken away of a class", lean / classes, "", "s"),
        Line(f"{name}: the same of a candidate", lean / tried, "", "s"),
    ]


def plain(root: Path, sizes: Sizes) -> Path:
    """A folder of photos as they are."""
    classes, *counts = sizes.timed
    folder = root / "data" / "plain"
    for split, count in zip(("train", "val"), counts, strict=True):
        for label in CLASSES[:classes]:
            (folder / split / label).mkdir(parents=True)
            for path in sorted((PHOTOS / split / label).glob("*.JPEG"))[:count]:
                (folder / split / label / path.name).symlink_to(path)
    return folder


# ------------------------------------------------------------------- latent against pixels


def pixels(timed: tuple[Any, float], sizes: Sizes) -> list[Line]:
    """Rank correlation of what is put in, in the maps and in pixels, within a class.

    Parameters
    ----------
    timed : an audit, and the seconds that one of its candidates takes in the maps.
    """
    from core.trials import confirmed
    from core.trials.leaning import KEYS

    audit, latent = timed
    tried = to_confirm(audit, sizes)
    labels = {facts.class_idx: facts.label for facts in audit.classes}
    keys = [CandidateKey(labels[c], k, int(n)) for c, k, n in tried[KEYS].to_numpy()]
    with mock.patch.object(confirmed, "TARGETS", sizes.targets):
        found, took = spent(lambda: confirmed.confirm(audit, keys))
    both = tried.merge(found, on=KEYS, suffixes=("", "_pixels"))
    what = f"{len(both)} candidates of {sizes.confirmed[0]} classes, {sizes.targets} targets"
    ratio, full = took.wall / len(both) / latent, sizes == FULL
    return [
        *rank_lines(what, both, "put_in", goal=0.6),
        *rank_lines(what, both, "lean"),
        Line(
            "seconds of a candidate, pixels over maps",
            ratio,
            ">= 50" if full else "",
            "x",
            ratio >= 50 if full else None,
        ),
    ]


def to_confirm(audit: Any, sizes: Sizes) -> pd.DataFrame:
    """The first candidates of each kind by the order of the page, whatever they do."""
    from core.trials.leaning import KEYS, leaning

    classes, each = sizes.confirmed
    table = leaning(audit).merge(audit.candidates[[*KEYS, "order"]], on=KEYS)
    wanted = {audit.class_facts(label).class_idx for label in CLASSES[:classes]}
    rows = table["class_idx"].isin(wanted) & (table["order"] < each) & table["kind"].isin(KINDS)
    return table[rows & (table["obstacle"] == "")]


def rank_lines(what: str, both: pd.DataFrame, figure: str, goal: float | None = None) -> list[Line]:
    """How alike one figure ranks candidates in the maps and in pixels, and how large it is."""
    mean, low, high = within_class(both, figure)
    target, holds = ("", None) if goal is None else (f">= {goal}", mean >= goal)
    return [
        Line(f"{what}: {figure}, mean Spearman within a class", mean, target, "", holds),
        Line(f"{figure}: 95 % interval over candidates, from", low, ""),
        Line(f"{figure}: to", high, ""),
        Line(f"{figure}: mean in the maps", float(both[figure].mean()), ""),
        Line(f"{figure}: mean in pixels", float(both[f"{figure}_pixels"].mean()), ""),
    ]


def within_class(both: pd.DataFrame, figure: str) -> tuple[float, float, float]:
    """Mean over classes of Spearman's rank correlation, and its bootstrap over candidates."""
    from scipy.stats import spearmanr

    groups = [g[[figure, f"{figure}_pixels"]].to_numpy(float) for _, g in both.groupby("class_idx")]
    rng = np.random.default_rng(0)

    def mean(several: Sequence[np.ndarray]) -> float:
        kept = [g for g in several if np.ptp(g[:, 0]) > 0 and np.ptp(g[:, 1]) > 0]
        return float(np.mean([spearmanr(g).statistic for g in kept])) if kept else float("nan")

    draws = [mean([g[rng.integers(0, len(g), len(g))] for g in groups]) for _ in range(1000)]
    low, high = np.nanquantile(draws, (0.025, 0.975))
    return mean(groups), float(low), float(high)
