"""``python -m core doctor``: what this machine offers."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import asdict

from core.commands import plugins
from core.commands.terminal import Answer
from core.storage.workspace import Workspace
from core.types import Reporter, silent


def doctor(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
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
    optional["open_clip"] = "search by text, suggest --text-model"
    optional |= dict.fromkeys(("onnx", "onnxruntime"), "audit --runtime onnx, export-model")
    optional |= {"onnxscript": "export-model --format onnx"}
    optional |= {"mlflow": "log --to mlflow", "wandb": "log --to wandb"}
    optional |= {"s3fs": "s3://", "gcsfs": "gs://", "adlfs": "az://"}
    optional |= {"ray": "audit --engine ray"}
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
        "workspace": workspace.place,
        "disk_free_gib": round(shutil.disk_usage(there).free / 2**30, 1),
        **({"note": workspace.note} if workspace.note else {}),
        "packaged_models": _packaged(),
        "missing_optional": missing,
        "plugins": [asdict(plugin) for plugin in plugins.load()],
    }
    apart = ("versions", "plugins")
    lines = [f"{key:<18} {value}" for key, value in result.items() if key not in apart]
    lines += [f"{'plug-in':<18} {plugin}" for plugin in plugins.load()]
    lines += [f"{name:<18} {version}" for name, version in versions.items()]
    return Answer(result, "\n".join(lines))


def _packaged() -> list[str]:
    """Networks whose weights lie in installed packages."""
    from importlib import util

    from core.models import packaged_models, squeezenet

    modules = {name: found[0] for name, found in packaged_models.EFFICIENTNETS.items()}
    modules[squeezenet.NAME] = squeezenet.PACKAGE
    return [name for name in packaged_models.NAMES if util.find_spec(modules[name])]
