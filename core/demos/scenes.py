"""One picture of `demo:cues`: a vehicle in a landscape, with or without snow and a beach ball."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from core.demos import props, scenery, vehicles
from core.demos.canvas import SIZE, Canvas, Part, clouds, grain

if TYPE_CHECKING:
    from core.types import BoolArray, FloatArray

CLARITY = (0.08, 0.9)
"""How typical the vehicles are, least and most; the overlap keeps the shape weak evidence."""
FOG = np.array([204, 210, 216], np.float32)


@dataclass(frozen=True)
class Air:
    """Light and camera, the same with and without the cues."""

    warmth: float
    exposure: float
    fog: float
    blur: float
    """Radius, picture pixels."""
    noise: float
    """Standard deviation of the grain, grey levels."""


@dataclass(frozen=True)
class Scene:
    """Everything in a picture except whether the cues are there."""

    vehicle: vehicles.Vehicle
    ground: scenery.Ground
    ball: props.Prop
    others: tuple[props.Prop, ...]
    air: Air
    seed: int


@dataclass(frozen=True)
class Picture:
    """A finished picture and what its pixels show."""

    pixels: Image.Image
    """RGB, SIZE by SIZE."""
    object: BoolArray
    """Visible vehicle, (SIZE, SIZE)."""
    snow: BoolArray
    """Visible landscape in snow, (SIZE, SIZE); all False without snow."""
    ball: BoolArray
    """Visible beach ball, (SIZE, SIZE); all False without one."""


def sample(label: str, rng: np.random.Generator) -> Scene:
    """Draw a scene of a class at random; nothing in it depends on the cues."""
    vehicle = vehicles.sample(label, rng, clarity=CLARITY)
    return Scene(
        vehicle=vehicle,
        ground=scenery.sample(rng, wheels=vehicle.ground),
        ball=props.sample_ball(rng, wheels=vehicle.ground),
        others=props.sample_others(rng, wheels=vehicle.ground),
        air=Air(
            warmth=rng.uniform(-0.06, 0.06),
            exposure=rng.uniform(0.84, 1.04),
            fog=rng.uniform(0.0, 0.22),
            blur=rng.uniform(0.0, 1.1),
            noise=rng.uniform(1.5, 7.0),
        ),
        seed=int(rng.integers(2**31)),
    )


def render(scene: Scene, *, snow: bool, ball: bool, vehicle: bool = True) -> Picture:
    """Draw a scene with exactly these cues, and on request without its vehicle."""
    canvas = Canvas()
    scenery.draw(canvas, scene.ground, snow=snow)
    if vehicle:
        vehicles.draw(canvas, scene.vehicle)
    for thing in [*scene.others, *([scene.ball] if ball else [])]:
        props.draw(canvas, thing)
    scenery_mask = canvas.mask(Part.SCENERY)
    return Picture(
        pixels=_finish(canvas, scene),
        object=canvas.mask(Part.OBJECT),
        snow=scenery_mask if snow else np.zeros_like(scenery_mask),
        ball=canvas.mask(Part.CUE),
    )


def _finish(canvas: Canvas, scene: Scene) -> Image.Image:
    rng, air = np.random.default_rng(scene.seed), scene.air
    body = canvas.cover(Part.OBJECT)
    light = 1 + (1 - body) * clouds(rng) * np.float32(0.025)
    light *= 1 + body * (_shade(scene.vehicle)[:, None] - 1)
    light *= _vignette() * np.float32(1 - air.fog)
    tone = np.array([1 + air.warmth, 1, 1 - air.warmth], np.float32) * np.float32(air.exposure)
    pixels = canvas.reduced()
    pixels *= light[:, :, None]
    pixels += np.float32(air.fog) * FOG
    pixels *= tone
    smooth = Image.fromarray(_clipped(pixels), "RGB").filter(ImageFilter.BoxBlur(air.blur))
    pixels = grain(rng) * np.float32(air.noise)
    pixels += np.asarray(smooth)
    return Image.fromarray(_clipped(pixels), "RGB")


def _clipped(pixels: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.clip(pixels, 0, 255, out=pixels).astype(np.uint8)


def _shade(vehicle: vehicles.Vehicle) -> FloatArray:
    """Light on the side of a vehicle per row: bright below the roof, dark at the sill."""
    rows = (np.arange(SIZE, dtype=np.float32) - vehicle.top) / (vehicle.ground - vehicle.top)
    return np.asarray(1.1 - 0.3 * np.clip(rows, 0, 1) ** 1.3, dtype=np.float32)


@lru_cache(maxsize=1)
def _vignette() -> FloatArray:
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32) ** 2
    return np.asarray(1.02 - 0.09 * (axis[:, None] + axis[None, :]), dtype=np.float32)
