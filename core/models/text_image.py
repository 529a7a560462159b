"""An image-text model from a folder of this machine, through open_clip; nothing is fetched.

The folder is as open_clip writes it: ``open_clip_config.json`` with the architecture and the
preprocessing, and the weights beside it. Texts and images become vectors of length one whose
product says how well they go together.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

from core.errors import ModelError, WorkspaceError
from core.storage.files import read_json
from core.storage.guard import permitted
from core.types import FloatArray

if TYPE_CHECKING:
    from PIL import Image

CONFIG = "open_clip_config.json"
WEIGHTS = ("*.safetensors", "*.bin", "*.pth")
"""Where weights may be; pickled ones are read as numbers alone."""

INSTALL = "pip install open_clip_torch"
REMEDY = "give a folder as open_clip's save_for_hf writes it"

BATCH = 16

VARIABLE = "SPURIOSCOPE_TEXT_MODEL"
"""Names the folder where nobody names one; the app's visitors cannot."""


def chosen_folder(folder: Path | None = None) -> Path | None:
    """The folder that was named, else that of :data:`VARIABLE`; None without either."""
    named = os.environ.get(VARIABLE, "")
    return folder or (Path(named) if named else None)


def chosen_model(folder: Path | None = None) -> TextImageModel:
    """The model of :func:`chosen_folder`.

    Raises
    ------
    ModelError
        If there is none, or as for :class:`TextImageModel`.
    """
    chosen = chosen_folder(folder)
    if chosen is None:
        raise ModelError(
            "a text needs an image-text model: give --text-model DIR, a folder of open_clip on "
            f"this machine, or set {VARIABLE}"
        )
    return TextImageModel(chosen)


class TextImageModel:
    """An image-text model, on the CPU in fp32.

    Parameters
    ----------
    folder : with :data:`CONFIG` and the weights.

    Raises
    ------
    ModelError
        If open_clip is not installed, or the folder is incomplete, of another architecture, or
        wants something that it does not hold.
    InputError
        If the folder may not be read (:mod:`core.storage.guard`).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = permitted(folder)
        require_complete(self.folder)
        self._network, self._see, self._read = _loaded(self.folder)

    @cached_property
    def key(self) -> str:
        """Changes with the weights and the preprocessing."""
        from hashlib import blake2b

        digest = blake2b(repr(self._see).encode(), digest_size=8)
        for name, tensor in sorted(self._network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def images(self, images: Sequence[Image.Image]) -> FloatArray:
        """Vectors (n, E) float32 of length one, of upright RGB images of any size."""
        import torch

        def encode(part: Sequence[Image.Image]) -> torch.Tensor:
            found: torch.Tensor = self._network.encode_image(
                torch.stack([self._see(image) for image in part]), normalize=True
            )
            return found

        return self._in_batches(images, encode)

    def texts(self, texts: Sequence[str]) -> FloatArray:
        """Vectors (n, E) float32 of length one."""
        import torch

        def encode(part: Sequence[str]) -> torch.Tensor:
            found: torch.Tensor = self._network.encode_text(self._read(list(part)), normalize=True)
            return found

        return self._in_batches(texts, encode)

    def _in_batches(self, items: Sequence[Any], encode: Any) -> FloatArray:
        import torch

        with torch.inference_mode():
            parts = [
                encode(items[start : start + BATCH]).float().numpy()
                for start in range(0, len(items), BATCH)
            ]
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def require_complete(folder: Path) -> None:
    """Raise ModelError, without loading anything, if a folder holds no model that can be read."""
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder; {REMEDY}")
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder} has no {CONFIG}; {REMEDY}")
    if not any(found for pattern in WEIGHTS for found in folder.glob(pattern)):
        raise ModelError(f"{folder} holds no weights ({', '.join(WEIGHTS)}); {REMEDY}")
    text, image = _architecture(folder / CONFIG)
    elsewhere = {"hf_model_name", "hf_tokenizer_name"} & set(text)
    if elsewhere or ":" in str(image.get("timm_model_name", "")):
        raise ModelError(
            f"{folder} builds its {'text' if elsewhere else 'image'} part from a model that the "
            "folder does not hold, and nothing is fetched; give a model that is open_clip's own"
        )


def _architecture(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a configuration says of both parts of the model, text and image."""
    try:
        found = read_json(path)["model_cfg"]
        text, image = found["text_cfg"], found["vision_cfg"]
    except (WorkspaceError, TypeError, KeyError) as error:
        raise ModelError(f"{path} names no architecture of open_clip; {REMEDY}") from error
    if not isinstance(text, dict) or not isinstance(image, dict):
        raise ModelError(f"{path} names no architecture of open_clip; {REMEDY}")
    return text, image


def _loaded(folder: Path) -> tuple[Any, Any, Any]:
    """Network, preprocessing and tokeniser of a complete folder."""
    try:
        import open_clip
    except ImportError as error:
        raise ModelError(f"{folder} needs open_clip, which is not installed: {INSTALL}") from error
    place = f"local-dir:{folder}"
    try:
        network, _, see = open_clip.create_model_and_transforms(
            place, pretrained_image=False, pretrained_text=False, weights_only=True
        )
        return network.eval().requires_grad_(False), see, open_clip.get_tokenizer(place)
    except REFUSED as error:
        words = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{folder} is not the model that its {CONFIG} describes ({words}); {REMEDY}"
        ) from error


REFUSED = (
    *(OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, AssertionError),
    *(EOFError, IndexError, pickle.UnpicklingError, NotImplementedError, SafetensorError),
)
"""What open_clip and torch raise about weights that do not fit, or are none."""
