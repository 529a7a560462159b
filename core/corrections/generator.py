"""A generator of counterfactual images from independent mechanisms: mask, foreground, background.

Sauer & Geiger, *Counterfactual Generative Networks* (ICLR 2021), section 3. Of the published
losses: the least squares GAN (released MNIST code), L1 to a given image (there one of BigGAN with
the same noise, here the training image), binary entropy and area hinge of the mask, a saliency term
and the style (Gram matrix) term. Departures:

- The saliency is the boundary prior of `core.corrections.saliency` instead of a trained U2-Net, and
  steers the mask, not the background. Nothing else here tells the mechanisms which of two regions
  is the object, nor a stripe of the object from a piece of background of the same brightness.
- Shapes are those of training images, whose code a small encoder reads from their saliency, with
  noise, and not drawn from noise alone: a few minutes do not suffice for a GAN of shapes.
- The discriminator judges parts of an image, since texture is all that it is needed for.
- Foreground and background are fully convolutional on a field of noise, hence alike everywhere, so
  that the digit's shape cannot hide in them.
- What is drawn takes foreground and background from training images, whose object or surroundings
  are spread over the whole image (published for ImageNet: patches of one image from where its mask
  is high), unless those of the networks are asked for: these have the right colours and grain, but
  neither long stripes nor veins, and a classifier trained on them finds its way back to the look.
- Style features are those of the packaged EfficientNet-Lite0 instead of VGG16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from core.corrections.mechanisms import SIDE, Discriminator, Generator, Parts
from core.corrections.saliency import frame_saliency
from core.errors import InputError
from core.models.trace import exclusive
from core.trials.compositing import filled_background, filled_texture
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter, silent

BETAS = (0.5, 0.999)
PIECES = 1000
"""Training images whose foreground and background are kept at most, as many of every class."""

STYLE_EVERY = 4
"""Steps between two style terms, each weighted by as many: one costs about half a step."""


@dataclass(frozen=True)
class Weights:
    """Weights of the losses beside the style term's, one for each of its depths."""

    pixels: float = 3.0
    """Of the L1 distance. Published for ImageNet: 100."""
    adversarial: float = 1.0
    """Of the least squares GAN."""
    saliency: float = 10.0
    """Of the mask's cross-entropy with the saliency of the image. Published for ImageNet: 2000 of
    the background's mean saliency."""
    binary: float = 0.3
    """Reached linearly over the training, so that a mask does not harden before it has a shape."""
    area: float = 20.0
    """Published for ImageNet: 500."""
    style: tuple[float, ...] = (0.05, 0.1, 0.01, 0.0)
    """Per depth of the style network, shallow to deep."""
    lowest: float = 0.05
    highest: float = 0.5
    """Mean of a mask that costs nothing. Published for ImageNet: 0.1 to 0.9; at most a half here,
    so that foreground means the smaller part."""


WEIGHTS = {
    "coloured": Weights(binary=0.1, style=(0.05, 0.1, 0.01, 0.0)),
    "double-coloured": Weights(binary=0.3, style=(0.0, 0.05, 0.0, 0.05)),
    "wildlife": Weights(pixels=1.0, binary=0.3, style=(0.01, 0.05, 0.0, 0.01)),
}
"""Published weights of entropy and style for the three MNIST guises (released settings). L1 weighs
less where there is a texture, as it wants its mean colour."""


def binary_entropy(mask: Tensor) -> Tensor:
    """Mean entropy of a mask in bits, a scalar: 1 at 0.5, 0 at 0 and 1."""
    bits = -mask * mask.log2() - (1 - mask) * (1 - mask).log2()
    return bits.nan_to_num(0.0).mean()


def area_hinge(mask: Tensor, lowest: float, highest: float) -> Tensor:
    """How far the mean of each mask is outside an interval, averaged, a scalar; 0 inside it."""
    area = mask.mean((1, 2, 3))
    return ((lowest - area).relu() + (area - highest).relu()).mean()


class Style(nn.Module):
    """Gram matrices of the packaged EfficientNet-Lite0 at four depths."""

    SCALE = 100.0
    """Of the term. Departure: 5e3 on absolute differences of VGG16's Gram matrices is published;
    here differences are relative to the real images' mean entry."""

    def __init__(self) -> None:
        super().__init__()
        from core.models.load import load_model

        model = load_model("packaged:efficientnet-lite0")
        network = model.network
        stem = nn.Sequential(network.conv_stem, network.bn1)  # type: ignore[arg-type]
        blocks = network.blocks
        assert isinstance(blocks, nn.Sequential)
        self.depths = nn.ModuleList([stem, blocks[0], blocks[1], blocks[2]])
        self.requires_grad_(False).eval()

    def grams(self, images: Tensor) -> list[Tensor]:
        """Gram matrices (n, C, C) of images in [0, 1], shallow to deep."""
        found, tensor = [], 2 * images - 1
        for depth in self.depths:
            tensor = depth(tensor)
            flat = tensor.flatten(2)
            found.append(flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2]))
        return found

    def forward(self, made: Tensor, real: Tensor, weights: tuple[float, ...]) -> Tensor:
        """Weighted mean absolute differences of Gram matrices; a depth of weight 0 is skipped."""
        with torch.no_grad():
            wanted = self.grams(real)
        pairs = zip(self.grams(made), wanted, weights, strict=True)
        terms = [
            weight**2 * self.SCALE * F.l1_loss(a, b) / b.abs().mean()
            for a, b, weight in pairs
            if weight
        ]
        return torch.stack(terms).sum() if terms else made.sum() * 0


@dataclass(frozen=True)
class Schedule:
    """How the generator is trained."""

    steps: int = 400
    batch_size: int = 32
    rate: float = 2e-3
    """Of Adam with betas 0.5 and 0.999. Published: 2e-4, for many more steps."""
    critic_rate: float = 1e-3
    """Of the discriminator's."""
    seed: int = 0


def train_generator(
    pixels: NDArray[np.uint8],
    labels: IntArray,
    weights: Weights | None = None,
    schedule: Schedule | None = None,
    *,
    masks: BoolArray | None = None,
    report: Reporter = silent,
) -> Generator:
    """Train the three mechanisms on images whose parts all follow one label.

    Parameters
    ----------
    pixels : (n, 32, 32, 3) uint8.
    labels : (n,) from 0.
    masks : (n, 32, 32) where the object is, in place of the saliency; all False where not known.

    Raises
    ------
    InputError
        If the images have another size, or are fewer than one batch.
    """
    weights, schedule = weights or Weights(), schedule or Schedule()
    if pixels.shape[1:] != (SIDE, SIDE, 3) or len(pixels) < schedule.batch_size:
        raise InputError(
            f"images {pixels.shape}: the generator needs {schedule.batch_size} or more of "
            f"{SIDE} x {SIDE}"
        )
    torch.manual_seed(schedule.seed)
    made, style = Generator(int(labels.max()) + 1), Style()
    critic = Discriminator(made.classes, made.width)
    optimisers = [
        torch.optim.Adam(network.parameters(), lr=rate, betas=BETAS)
        for network, rate in ((made, schedule.rate), (critic, schedule.critic_rate))
    ]
    saliency = torch.from_numpy(_salient(pixels, labels, masks))[:, None]
    rng, stage = np.random.default_rng(schedule.seed), "Training the generator"
    for step in range(schedule.steps):
        rows = rng.choice(len(pixels), schedule.batch_size, replace=False)
        real, names = images_of(pixels[rows]), torch.from_numpy(labels[rows])
        parts = made(names, names, names, made.code(saliency[rows]))
        judged = _judged(critic, parts.image.detach(), real, names)
        _descend(optimisers[1], judged)
        losses = _losses(parts, real, saliency[rows], weights, step / schedule.steps)
        losses["adversarial"] = weights.adversarial * _off(critic(parts.image, names), 1)
        if step % STYLE_EVERY == 0:
            losses["style"] = STYLE_EVERY * style(parts.image, real, weights.style)
        _descend(optimisers[0], torch.stack(list(losses.values())).sum())
        if step % 20 == 0 or step == schedule.steps - 1:
            scores = {name: float(loss.detach()) for name, loss in losses.items()}
            scores["critic"] = float(judged.detach())
            report(Progress(stage, step + 1, schedule.steps, "steps", scores))
    made.eval().remember(saliency, torch.from_numpy(labels))
    _keep_pieces(made, pixels, labels, saliency[:, 0].numpy() > 0.5, rng)
    return made


def _keep_pieces(
    made: Generator,
    pixels: NDArray[np.uint8],
    labels: IntArray,
    objects: BoolArray,
    rng: np.random.Generator,
) -> None:
    """Give a generator what some training images show inside and outside of their object."""
    order, each = rng.permutation(len(labels)), max(PIECES // made.classes, 1)
    rows = np.concatenate([order[labels[order] == k][:each] for k in range(made.classes)])
    sides = (filled_texture, filled_background)
    kept = np.stack([filled(pixels[rows], objects[rows]) for filled in sides])
    made.pieces = torch.from_numpy(kept).permute(0, 1, 4, 2, 3).contiguous()
    made.piece_labels = torch.from_numpy(labels[rows])


def _salient(pixels: NDArray[np.uint8], labels: IntArray, masks: BoolArray | None) -> FloatArray:
    """Where the object is, (n, 32, 32) float32 in [0, 1]: as drawn, else what stands out."""
    drawn = np.zeros(pixels.shape[:3], bool) if masks is None else masks
    known = drawn.any(axis=(1, 2))
    found = drawn.astype(np.float32)
    if not known.all():
        found[~known] = frame_saliency(pixels, labels)[~known]
    return found


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _off(scores: Tensor, wanted: float) -> Tensor:
    return ((scores - wanted) ** 2).mean()


def _judged(critic: Discriminator, made: Tensor, real: Tensor, labels: Tensor) -> Tensor:
    """The discriminator's loss: 1 is wanted for real images, 0 for those made."""
    return (_off(critic(real, labels), 1) + _off(critic(made, labels), 0)) / 2


def _losses(
    parts: Parts, real: Tensor, saliency: Tensor, weights: Weights, done: float
) -> dict[str, Tensor]:
    """Every term that needs no other network, weighted; ``done`` is the share of the training."""
    return {
        "pixels": weights.pixels * (parts.image - real).abs().mean(),
        "saliency": weights.saliency * F.binary_cross_entropy(parts.mask, saliency),
        "binary": done * weights.binary * binary_entropy(parts.mask),
        "area": weights.area * area_hinge(parts.mask, weights.lowest, weights.highest),
    }


def images_of(pixels: NDArray[np.uint8]) -> Tensor:
    """Images (n, 3, 32, 32) float32 in [0, 1] from uint8 (n, 32, 32, 3)."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


@dataclass(frozen=True)
class Made:
    """Counterfactual images and their parts."""

    pixels: NDArray[np.uint8]
    """(n, 32, 32, 3)."""
    labels: IntArray
    """(n, 3) of shape, foreground and background."""
    masks: NDArray[np.uint8]
    """(n, 32, 32) 0 to 255."""
    foregrounds: NDArray[np.uint8]
    backgrounds: NDArray[np.uint8]
    """(n, 32, 32, 3) each."""


def generate(
    made: Generator, n: int, *, seed: int = 0, size: int = 250, taken: bool = True
) -> Made:
    """Images whose shape, foreground and background have labels drawn independently.

    (The released code permutes labels within a batch, which leaves one in n as they were.)
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, made.classes, (n, 3), generator=generator)
    return draw(made, labels.numpy(), seed=seed, size=size, taken=taken)


def draw(
    made: Generator, labels: IntArray, *, seed: int = 0, size: int = 250, taken: bool = True
) -> Made:
    """Images with given labels (n, 3) of shape, foreground and background.

    ``taken``: foregrounds and backgrounds are those of training images, else the networks make
    them. The random state of the process stays as it is; other threads wait for the networks.
    """
    wanted, parts = torch.from_numpy(labels), list[Parts]()
    with exclusive(made), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for start in range(0, len(labels), size):
            parts.append(made(*wanted[start : start + size].T, taken=taken))
    mask, front, back = (_bytes(torch.cat(list(each))) for each in zip(*parts, strict=True))
    pixels = _bytes(torch.cat([part.image for part in parts]))
    return Made(pixels, labels, mask[..., 0], front, back)


def _bytes(values: Tensor) -> NDArray[np.uint8]:
    """(n, c, 32, 32) in [0, 1] as (n, 32, 32, c) uint8."""
    found: NDArray[np.uint8] = (values * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return found
