"""A cue planted on each class in turn, at several prevalences: what its audit says of that class.

On real photos, blurred, a sticker; on drawn vehicles a beach ball. One table of both (:func:`run`);
small by default, so that it takes minutes, at full size with ``SPURIOSCOPE_SLOW=1``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.measure import MODEL, PHOTOS, Line
from benchmarks.planted_cues import stuck
from core.candidates.part_kind import PART, parts_of

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

Amount = tuple[int, int, int]
"""Classes that carry the cue in turn, training and test pictures of each."""
QUICK: Amount = (4, 45, 20)
FULL: Amount = (4, 150, 60)

Drawn = Callable[[bool], tuple[Image.Image, Image.Image]]
"""Draws one picture with or without the cue, and the mask of the cue."""


class Pictures(NamedTuple):
    """What the cue is planted on."""

    name: str
    cue: str
    classes: Sequence[str]
    of: Callable[[str, str, int], list[tuple[str, Drawn]]]
    """Split, class and how many at most to the pictures, each with a name."""


def photos(split: str, label: str, count: int, *, fixed: bool = False) -> list[tuple[str, Drawn]]:
    """Photos, blurred, with a sticker at a random place, or always at the same."""
    paths = sorted((PHOTOS / split / label).glob("*.JPEG"))[:count]

    def drawn(path: Path, seed: int, cue: bool) -> tuple[Image.Image, Image.Image]:
        return stuck(path, cue, np.random.default_rng(seed))

    return [(p.stem, partial(drawn, p, PLACE if fixed else i)) for i, p in enumerate(paths)]


def vehicles(split: str, label: str, count: int) -> list[tuple[str, Drawn]]:
    """Scenes of ``demo:cues`` without snow, with their beach ball at a random place."""
    return [(f"{i:04d}", partial(_vehicle, split, label, i)) for i in range(count)]


def _vehicle(split: str, label: str, number: int, cue: bool) -> tuple[Image.Image, Image.Image]:
    """A scene; its own ball lies beside the vehicle, where parts of the vehicle are, too."""
    from core.demos import cues, scenes

    entry = cues.Entry(label, "train" if split == "train" else "test", number, False, cue)
    clean, shown = (
        scenes.render(cues.scene_of(entry, 0), snow=False, ball=on) for on in (False, True)
    )
    ball = Image.fromarray(255 * shown.ball.astype(np.uint8))
    box = ball.getbbox() or (0, 0, 1, 1)
    rng = np.random.default_rng([number, len(label)])
    room = (ball.width - box[2] + box[0], ball.height - box[3] + box[1])
    place = (int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1)))
    picture, mask = clean.pixels, Image.new("L", ball.size)
    mask.paste(ball.crop(box), place)
    if cue:
        picture.paste(shown.pixels.crop(box), place, ball.crop(box))
    return picture, mask


REAL = Pictures("photos", "sticker", CLASSES, photos)
FIXED = REAL._replace(name="photos-fixed", of=partial(photos, fixed=True))
RENDERED = Pictures("drawn", "ball", ("minibus", "van", "camper", "truck"), vehicles)


def run() -> list[Line]:
    """Both, in one table that is printed; its goals are lines."""
    from core.storage.workspace import Workspace

    sizes, found = FULL if os.environ.get("SPURIOSCOPE_SLOW") else QUICK, []
    kinds = [RENDERED, *([REAL] if PHOTOS.is_dir() else [])]
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        for pictures in kinds:
            for share in PREVALENCES:
                found.append((pictures, share, planted(workspace, pictures, sizes, share)))
    print(table(found), flush=True)
    return [line for pictures, share, of in found for line in found_lines(pictures, of, share)]


Found = Sequence[tuple[Pictures, float, pd.DataFrame]]


def table(found: Found) -> str:
    """A row a kind of picture and prevalence, over its classes in turn, as Markdown."""
    head = (
        *("planted", "share", "first on Overview", "first by the gap", "lean of its part"),
        *("region in the cue over its area", "taken away", "called harmed"),
    )
    rows = [
        [
            f"{pictures.cue}, {pictures.name}",
            f"{share:.0%}",
            *(f"{int((of[name] == 1).sum())} of {len(of)}" for name in ("place", "by_gap")),
            _spread(of["lean"]),
            _spread(of["ratio"])
            if share
            else f"largest {of['largest'].max():.2f}, by chance up to {of['chance'].max():.2f}",
            _spread(of["taken_away"]),
            f"{int(of['harmed'].sum())}",
        ]
        for pictures, share, of in found
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _spread(values: pd.Series[float]) -> str:
    return f"{values.mean():.2f} ({values.min():.2f} to {values.max():.2f})"


def planted(workspace: Any, pictures: Pictures, sizes: Amount, share: float) -> pd.DataFrame:
    """What audits say of each class in turn that carries the cue on a share of its pictures."""
    owners = pictures.classes[: sizes[0]]
    return pd.DataFrame([figures(workspace, pictures, sizes, owner, share) for owner in owners])


def on_photos(workspace: Any, sizes: Amount) -> list[Line]:
    """The sticker on each class in turn, at random places by prevalence, and at a fixed place."""
    lines = []
    for share in PREVALENCES:
        found = planted(workspace, REAL, sizes, share)
        lines += found_lines(REAL, found, share)
    lines += necessity_lines("on 100 %", found)
    fixed = figures(workspace, FIXED, sizes, OWNER, 1.0)
    return [*lines, *necessity_lines("on 100 %, fixed place", pd.DataFrame([fixed]))]


def audited(workspace: Any, data: Path, name: str) -> Any:
    """An audit of a fitted probe in fp32, without what its candidates do."""
    from core.audits.audit_requests import AuditRequest
    from core.audits.run import run_audit

    asked = AuditRequest(str(data), MODEL, name=name, head="fit", precision="fp32")
    return run_audit(asked, workspace)


def figures(
    workspace: Any, pictures: Pictures, sizes: Amount, owner: str, share: float
) -> dict[str, float]:
    """What an audit says of the class that carries the cue; without any it is the same audit."""
    from core.trials.leaned_on import leaned_on
    from core.trials.leaning import measure_leaning

    data = manifest_of(workspace.root, pictures, sizes, owner, share)
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
        "harmed": harmed(audit, workspace),
        **(necessity(audit, owner) if share == 1 else {}),
        **({} if share else {"chance": by_chance(audit, owner)}),
    }


def by_chance(audit: Any, owner: str) -> float:
    """The largest of all parts once the places are dealt out anew among a class's pictures: 97.5 %.

    A part's region is as wide as what it marks, and the cue small: chance alone makes it overlap
    more than its share (:mod:`benchmarks.parts_chance`).
    """
    from benchmarks.parts_chance import DRAWS, dealt, of_class

    every, rng = of_class(audit, owner), np.random.default_rng(0)
    draws = [max(dealt(part, rng) for part in every) for _ in range(DRAWS)]
    return float(np.quantile(draws, 0.975))


def harmed(audit: Any, workspace: Any) -> int:
    """Classes that a report of the audit calls harmed; nothing is tagged."""
    from core.report.findings import Verdict, choice, family, find
    from core.report.material import gather

    evidence = [gather(audit, workspace, with_model=False)]
    found = find(evidence[0], family(evidence), choice(evidence))
    return sum(finding.verdict is Verdict.HARMED for finding in found)


def manifest_of(root: Path, pictures: Pictures, sizes: Amount, owner: str, share: float) -> Path:
    """A manifest of pictures, a share of one class with the cue.

    Every picture comes with the mask where its cue is or would be, and without it.
    """
    classes, train, test = sizes
    name = f"{pictures.name}-{owner if share else 'nobody'}-{100 * share:.0f}"
    folder, rows = root / "data" / name, []
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", test)):
        for label in pictures.classes[:classes]:
            drawn = pictures.of(split, label, count)
            own = share if label == owner else 0
            shows = rng.permutation(len(drawn)) < round(own * len(drawn))
            (folder / split / label).mkdir(parents=True, exist_ok=True)
            for (stem, draw), cue in zip(drawn, shows, strict=True):
                rows.append(_saved(folder, f"{split}/{label}/{stem}", draw, bool(cue)))
    pd.DataFrame(rows).to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"


def _saved(folder: Path, stem: str, draw: Drawn, cue: bool) -> dict[str, Any]:
    """A picture, with the cue or not, its mask, and itself without; its row of the manifest."""
    (clean, _), with_cue = draw(False), draw(True)
    (with_cue[0] if cue else clean).save(folder / f"{stem}.png")
    clean.save(folder / f"{stem}-clean.png")
    with_cue[1].save(folder / f"{stem}-cue.png")
    split, label, _ = stem.split("/")
    return {
        "path": f"{stem}.png",
        "label": label,
        "split": "train" if split == "train" else "test",
        "cue": int(cue),
        "cue_mask": f"{stem}-cue.png",
        "clean": f"{stem}-clean.png",
    }


def found_lines(pictures: Pictures, found: pd.DataFrame, share: float) -> list[Line]:
    """Where the planted classes stand, and what their strongest parts are; a row a class."""
    name, strong, many = f"{pictures.name}, {100 * share:.0f} %", share >= 0.8, len(found)
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
    called = int(found["harmed"].sum())
    lines.append(Line(f"{name}: classes called harmed before a tag", called, "0", "", called == 0))
    inside = f"{name}: region inside the cue over its area"
    if share == 0:
        largest, over = found["largest"].max(), (found["largest"] / found["chance"]).max()
        lines += [
            Line(f"{inside}, largest of all parts", largest, "<= 1.5", "x", largest <= 1.5),
            Line(f"{inside}, over 97.5 % of chance, largest", over, "<= 1", "x", over <= 1),
        ]
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
