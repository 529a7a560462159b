"""What a lower arithmetic does to the figures of an audit: one table over the packaged networks.

Every photo is encoded in fp32 and in the others, whole network or autocast, in turns on one
machine; the figures are those of the analysis over each set of features.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import PHOTOS, Line, photos
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.corrections.corrected import facts_of

PACKAGED = (
    "packaged:efficientnet-lite0",
    "packaged:efficientnet-lite1",
    "packaged:efficientnet-lite2",
)
KINDS = ("fp32", "bf16", "autocast")
LEADING = 5
"""Components per class whose gaps are compared."""


def run() -> list[Line]:
    """One block of lines for every network."""
    with tempfile.TemporaryDirectory() as folder:
        data = PHOTOS if PHOTOS.is_dir() else photos(Path(folder) / "photos", 300)
        return [line for model in PACKAGED for line in lines(model, data, Path(folder))]


def lines(model: str, data: Path, folder: Path) -> list[Line]:
    """Audits of the same photos in every arithmetic, and in the one that ``auto`` takes."""
    from core.audits.audit_requests import AuditRequest
    from core.audits.run import run_audit
    from core.storage.workspace import Workspace

    workspace, name = Workspace(folder / "workspace"), model.partition(":")[2]
    audits, seconds = {}, {}
    for kind in KINDS:
        with encoding(kind):
            request = AuditRequest(
                str(data),
                model,
                name=f"{name}-{kind}",
                head="fit",
                precision="bf16" if kind == "bf16" else "fp32",
            )
            began = time.perf_counter()
            audits[kind] = run_audit(request, workspace)
            seconds[kind] = time.perf_counter() - began
    auto = run_audit(AuditRequest(str(data), model, name=f"{name}-auto", head="fit"), workspace)
    exact, found = audits["fp32"], []
    for kind in KINDS[1:]:
        found += apart(f"{name}, {kind}", exact, audits[kind], holds=None)
        found.append(
            Line(
                f"{name}, {kind}: whole audit, fp32 over it",
                seconds["fp32"] / seconds[kind],
                "",
                "x",
            )
        )
    chosen = auto.manifest.compute.precision
    found += apart(f"{name}, auto ({chosen})", exact, auto, holds=True)
    return found


@contextmanager
def encoding(kind: str) -> Iterator[None]:
    """Let the network run under autocast during the block, where that is asked for."""
    import torch

    from core.models.model import Model

    own: Callable[..., None] = Model._run

    def under_autocast(model: Model, batch: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            own(model, batch)

    try:
        if kind == "autocast":
            Model._run = under_autocast  # type: ignore[method-assign]
        yield
    finally:
        Model._run = own  # type: ignore[method-assign]


def apart(what: str, exact: Any, other: Any, *, holds: bool | None) -> list[Line]:
    """How far the figures of an audit are from those in fp32; ``holds``: they must be the same."""
    from core.models.precision import tried

    ids = exact.images.index.tolist()
    a, b = exact.features(ids), other.features(ids)

    def decide(features: Any) -> Any:
        return exact.head.logits(np.asarray(features, np.float32)).argmax(axis=1)

    moved = tried("bf16", a, b, decide)
    shift, leading, order = figures(exact, other)
    differing = int((exact.images["prediction"] != other.images.loc[ids, "prediction"]).sum())

    def line(words: str, value: float, target: str) -> Line:
        right = value == 0
        return Line(f"{what}: {words}", value, target, "", right if holds else None)

    zero = "0" if holds else ""
    return [
        Line(f"{what}: distance of the features, median", moved.typical, ""),
        Line(f"{what}: distance of the features, 99th percentile", moved.distance, ""),
        line(f"predictions that differ, of {len(ids):,}", differing, zero),
        Line(
            f"{what}: largest change of a gap among the first {LEADING} components",
            shift,
            "",
            "points",
        ),
        line(f"classes whose leading component is another, of {len(exact.classes)}", leading, zero),
        line("classes that stand elsewhere on Overview", order, zero),
        *strength(what, exact, other),
    ]


def figures(exact: Any, other: Any) -> tuple[float, int, int]:
    """Largest change of a leading gap, other leading components, classes in another place."""
    tables = [a.candidates[a.candidates["kind"] == "pca"] for a in (exact, other)]
    first, second = (
        t[t["component"] < LEADING].set_index(["class_idx", "component"])["gap"] for t in tables
    )
    shift = float((first - second.reindex(first.index)).abs().max())
    ranked = [t.sort_values("gap", ascending=False, kind="stable") for t in tables]
    tops = [t.groupby("class_idx")["component"].first() for t in ranked]
    leading = int((tops[0] != tops[1].reindex(tops[0].index)).sum())
    orders = [
        t.groupby("class_idx")["gap"].max().sort_values(ascending=False, kind="stable").index
        for t in tables
    ]
    return shift, leading, int((orders[0] != orders[1]).sum())


def strength(what: str, exact: Any, other: Any) -> list[Line]:
    """The strength that the default correction chooses for the leading component of a class."""
    from core.audits.audit import Audit
    from core.corrections.mitigate_request import MitigateRequest
    from core.corrections.mitigation import run_mitigation
    from core.storage.workspace import Workspace
    from core.tags.log import TagStore
    from core.types import Tag

    workspace, chosen = Workspace(exact.folder.parents[1]), []
    table = exact.candidates[exact.candidates["kind"] == "pca"]
    top = table.sort_values("gap", ascending=False).iloc[0]
    label = next(c.label for c in exact.classes if c.class_idx == top["class_idx"])
    store = TagStore.open(workspace)
    for audit in (exact, other):
        name = f"{audit.name}-fixed"
        if workspace.named(name) is None:
            store.add(
                "benchmark",
                audit.id,
                CandidateKey(label, PCA, int(top["component"])),
                Tag.SPURIOUS,
            )
            run_mitigation(
                MitigateRequest(audit.name, "rrclarc", name=name, pictures=False), workspace
            )
        chosen.append(facts_of(Audit.open(workspace, name)).strength)
    return [Line(f"{what}: strength chosen, fp32 chose {chosen[0]:g}", chosen[1], "")]
