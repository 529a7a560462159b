"""A tiny image-text model with random weights, saved as open_clip saves one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {
        **{"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    },
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
PREPROCESSING = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def write_config(folder: Path, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": {**ARCHITECTURE, **more}, "preprocess_cfg": PREPROCESSING}
    path = folder / "open_clip_config.json"
    path.write_text(json.dumps(config))
    return path


def save_text_model(folder: Path, seed: int = 0) -> Path:
    """Skips where open_clip is not installed."""
    open_clip = pytest.importorskip("open_clip", reason="pip install open_clip_torch")
    import torch
    from safetensors.torch import save_file

    write_config(folder)
    torch.manual_seed(seed)
    network = open_clip.model.CLIP(**ARCHITECTURE)
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    return folder
