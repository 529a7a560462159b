"""A network that torch compiles for the device it is on: images in, features and maps out.

The forward pass is traced once (torch.export), with the preprocessing, and compiled for a batch
when that comes for the first time: tens of seconds, which only a long pass wins back. It computes
the same numbers to the rounding of fp32. Nothing is kept beyond the process but what torch's own
cache keeps.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from core.models.graph import NoGraphError, Whole, same
from core.models.trace import FORWARD_ERRORS

if TYPE_CHECKING:
    from core.models.model import Model

BACKEND = "inductor"
"""What compiles (torch.compile's ``backend``); it needs a compiler of C++ on a CPU."""

ERRORS = (*FORWARD_ERRORS, ImportError, OSError, MemoryError)


class Compiled:
    """A compiled network on the device of its model."""

    def __init__(self, model: Model) -> None:
        height, width = model.preprocess.input_size
        images = torch.zeros((2, height, width, 3), dtype=torch.uint8, device=model.device)
        n = torch.export.Dim("n", min=1)
        with torch.inference_mode(False), torch.no_grad():
            traced = torch.export.export(
                Whole(model).eval(), (images,), dynamic_shapes={"batch": {0: n}}
            )
            self._run: Any = torch.compile(traced.module(), backend=BACKEND)
        self._device = model.device

    def __deepcopy__(self, _: object) -> Compiled:
        return self

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (B, D) and maps (B, D, h, w), where there are any, of uint8 (B, h, w, 3)."""
        with torch.inference_mode(False), torch.no_grad():
            found = self._run(batch.to(self._device))
        return found[0], found[1] if len(found) > 1 else None


def compiled_of(model: Model) -> Compiled:
    """A model as torch compiles it, tried on two images.

    Raises
    ------
    NoGraphError
        If it cannot be traced or compiled here, or computes something else.
    """
    height, width = model.preprocess.input_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, height, width, 3), generator=generator, dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it could do faster
            made = Compiled(model)
            exact = model.encode_by_torch(images)
            pairs = zip(made(images), (exact.features, exact.maps), strict=True)
            if all(same(ours, theirs) for ours, theirs in pairs):
                return made
    except ERRORS as error:
        said = " ".join(str(error).splitlines()[:2])  # the first names what raised it
        raise NoGraphError(said[:160] or type(error).__name__) from error
    raise NoGraphError("compiled, it computes something else")
