"""Networks of timm at another size of image, built for it and set to it, as checkpoints.

Both are saved with random weights and loaded as an audit loads them; the logits have to be those of
the network that was saved, whichever it was.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.architectures import OUTPUTS, RIGHT, TOLERANCE, WRONG, distance, without_zeros
from benchmarks.measure import Line

PREFIXES = (
    *("beit", "coatnet", "deit_", "efficientvit_m", "maxvit", "swin_", "swinv2_", "swinv2_cr"),
    *("vit_pe", "vit_relpos", "vit_small_patch16", "vit_tiny_patch16", "vitamin"),
)
"""How networks of the families begin that have ``set_input_size``."""

LARGEST, EACH, SIDE = 40_000_000, 2, 64
"""Most weights, most networks of a family, and pixels."""

TRIED = 12
"""Names of a family that are looked at for such as are small enough."""

WAYS = {"kept": "built for that size", "scaled": "set to that size"}


def run(seed: int = 0) -> list[Line]:
    """Every family, both ways."""
    found, notes = Counter[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        for name in _chosen(seed):
            for way in WAYS:
                verdict, assumed = _judged(name, way, Path(folder))
                found[verdict] += 1
                notes += assumed
                print(f"  {name}, {WAYS[way]}: {verdict}", flush=True)
    of, wrong = f"{found.total()} checkpoints at {SIDE} pixels", found[WRONG]
    rest = found.total() - found[RIGHT] - wrong
    return [
        Line(f"{of}: logits are the network's own", found[RIGHT], ""),
        Line(f"{of}: other logits, in silence", wrong, "0", "", not wrong),
        Line(f"{of}: one of two networks, and a note says so", notes, ""),
        Line(f"{of}: refused, or not made so by timm", rest, ""),
    ]


def _chosen(seed: int) -> list[str]:
    import timm

    order = np.random.default_rng(seed).permutation(sorted(timm.list_models())).tolist()
    chosen: list[str] = []
    for prefix in PREFIXES:
        alike = [name for name in order if name.startswith(prefix) and name not in chosen]
        fitting = (name for name in alike[:TRIED] if _is_small(name))
        chosen += [name for name, _ in zip(fitting, range(EACH), strict=False)]
    return chosen


def _is_small(name: str) -> bool:
    import timm
    import torch

    with torch.device("meta"):
        network = timm.create_model(name, num_classes=OUTPUTS)
    few = sum(tensor.numel() for tensor in network.parameters()) <= LARGEST
    return few and hasattr(network, "set_input_size")


def _judged(name: str, way: str, folder: Path) -> tuple[str, bool]:
    """Whether its logits are its own, and whether a note says that there was another."""
    import torch

    from core.errors import SpurioscopeError
    from core.models.load import load_model
    from core.storage.audit_manifest import Reading

    try:
        network = _network(name, way)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        return f"not made: {error}"[:80], False
    torch.save(network.state_dict(), folder / "a.pth")
    asked = Reading(input_size=(SIDE, SIDE))
    try:
        model = load_model(f"timm:{name}", checkpoint=folder / "a.pth", reading=asked)
        noted = any("--windows" in note for note in model.notes)
        if noted and way == "scaled":  # what its user would do, who reads the note
            asked = replace(asked, windows=way)
            model = load_model(f"timm:{name}", checkpoint=folder / "a.pth", reading=asked)
    except SpurioscopeError as error:
        return str(error), False
    return (RIGHT if distance(model, network) <= TOLERANCE else WRONG), noted


def _network(name: str, way: str) -> Any:
    import timm
    import torch

    torch.manual_seed(0)
    more: Any = {"img_size": SIDE} if way == "kept" else {}
    network = timm.create_model(name, num_classes=OUTPUTS, **more)
    if way == "scaled":
        network.set_input_size(img_size=(SIDE, SIDE))
    return without_zeros(network)
