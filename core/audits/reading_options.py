"""Options that say how a network is read; nothing heavy at import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from core.errors import InputError
from core.jobs.options import option
from core.storage.audit_manifest import Reading
from core.storage.guard import permitted

ORDERS = ("data", "number", "text", "caseless")
"""Orders of the classes that can be asked for (:data:`core.models.output_order.WORDS`)."""

CropMode = Literal["center", "squash"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Colours = Literal["rgb", "bgr"]
Windows = Literal["kept", "scaled"]

BYTES = 2.0
"""A mean or std above this is of values 0 to 255: both are divided by 255."""


def numbers_of(value: Any) -> tuple[float, ...] | None:
    """Numbers of ``R,G,B``; None of nothing."""
    if value is None or isinstance(value, tuple):
        return value
    try:
        return tuple(float(part) for part in str(value).replace("x", ",").split(","))
    except ValueError as error:
        raise InputError(f"{value!r} are no numbers with commas between them") from error


def number_of(text: str) -> float:
    """One number of a text; raises InputError where it is none."""
    found = numbers_of(text) or ()
    if len(found) != 1:
        raise InputError(f"{text!r} is not one number")
    return found[0]


def sides_of(value: Any) -> tuple[int, ...] | None:
    """Height and width of ``N`` or ``H,W``."""
    found = numbers_of(value)
    if found is None:
        return None
    if any(side != int(side) or side < 1 for side in found) or len(found) > 2:
        raise InputError(f"--input-size {value}: give one number of pixels, or HEIGHT,WIDTH")
    return tuple(int(side) for side in (found * 2)[:2])


def _written(value: Sequence[float]) -> list[str]:
    return [",".join(f"{part!r}" for part in value)]


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """What a user may say of how a network is read; what is None is left to the network."""

    classes: str | None = option(
        None,
        "what the outputs of the checkpoint mean: a file with one class a line, class_to_idx as "
        f"JSON, or an order of the classes of the data: {', '.join(ORDERS)}",
        metavar="FILE",
    )
    weights: str | None = option(
        None, "which weights of a checkpoint that holds several, such as ema", metavar="ENTRY"
    )
    mean: tuple[float, ...] | None = option(
        None,
        "what images of values 0 to 1 are normalised with (above 2: of values 0 to 255)",
        read=numbers_of,
        write=_written,
        metavar="R,G,B",
    )
    std: tuple[float, ...] | None = option(None, read=numbers_of, write=_written, metavar="R,G,B")
    input_range: float | None = option(
        None, "value of white before mean and std are applied, 255 or 1", type=float, metavar="V"
    )
    input_size: tuple[int, ...] | None = option(
        None,
        "pixels that the network sees",
        read=sides_of,
        write=_written,
        metavar="N|H,W",
    )
    crop: float | None = option(
        None, "share of the resized image that is seen, 1 for all of it", type=float
    )
    crop_mode: CropMode | None = option(None, choices=get_args(CropMode))
    interpolation: Interpolation | None = option(None, choices=get_args(Interpolation))
    colours: Colours | None = option(None, "order of the channels", choices=get_args(Colours))
    windows: Windows | None = option(
        None,
        "windows of attention (Swin) at another --input-size: as create_model(img_size=) keeps "
        "them (default), or scaled with the image as set_input_size does",
        choices=get_args(Windows),
    )
    levels: tuple[float, ...] | None = option(
        None,
        "values of black and white in images of more than 8 bits (default: one scale for the data "
        "set, from a sample)",
        read=numbers_of,
        write=_written,
        metavar="LOW,HIGH",
    )

    def check_reading(self) -> None:
        """Raise InputError if an option cannot have its value."""
        for flag, word, known in (
            ("--crop-mode", self.crop_mode, get_args(CropMode)),
            ("--interpolation", self.interpolation, get_args(Interpolation)),
            ("--colours", self.colours, get_args(Colours)),
            ("--windows", self.windows, get_args(Windows)),
        ):
            if word is not None and word not in known:
                raise InputError(f"{flag} {word!r}: choose {', '.join(known)}")
        for flag, values in (("--mean", self.mean), ("--std", self.std)):
            if values is not None and len(values) not in (1, 3):
                raise InputError(f"{flag} {','.join(map(str, values))}: give one number or three")
        if self.levels is not None and not (
            len(self.levels) == 2 and self.levels[0] < self.levels[1]
        ):
            raise InputError("--levels: give two numbers, black and white, LOW,HIGH")
        if self.input_range is not None and not 0 < self.input_range <= 65535:
            raise InputError(f"--input-range {self.input_range:g}: give 1, 255 or the like")
        if self.crop is not None and not 0 < self.crop <= 1:
            raise InputError(f"--crop {self.crop:g}: give a share above 0, at most 1")
        if self.classes is not None and self.classes not in ORDERS:
            permitted(self.classes)

    @property
    def reading(self) -> Reading | None:
        """What was said; None where nothing was.

        Raises
        ------
        InputError
            If the file of classes cannot be read.
        """
        from core.storage.class_list import read_classes

        mean, std = _of_unit_range(self.mean, self.std, self.input_range)
        file = permitted(self.classes) if self.classes and self.classes not in ORDERS else None
        found = Reading(
            weights=self.weights or "",
            classes=str(file or self.classes or ""),
            outputs=read_classes(file) if file else (),
            mean=mean,
            std=std,
            input_size=self.input_size or (),
            crop=self.crop or 0.0,
            crop_mode=self.crop_mode or "",
            interpolation=self.interpolation or "",
            colours=self.colours or "",
            levels=self.levels or (),
            windows=self.windows or "",
        )
        return None if found == Reading() else found


def _of_unit_range(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None, white: float | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Three numbers each, of values in [0, 1]; () of what was not said."""
    if white is not None and mean is None and std is None:
        mean, std = (0.0,), (1.0,)
    said = [*(mean or ()), *(std or ())]
    white = white or (255.0 if max(said, default=0.0) > BYTES else 1.0)
    three = [tuple(value / white for value in ((part or ()) * 3)[:3]) for part in (mean, std)]
    return three[0], three[1]


def options_of(reading: Reading | None) -> dict[str, Any]:
    """The options that say the same again."""
    said = {each.name: getattr(reading, each.name) for each in fields(Reading)} if reading else {}
    known = {each.name for each in fields(ReadingOptions)}
    if reading and (reading.mean or reading.std):
        said["input_range"] = 1.0  # however large they are
    return {name: value for name, value in said.items() if name in known and value}
