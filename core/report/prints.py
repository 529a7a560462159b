"""Photos with overlays, small enough that a whole report fits into a mail."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from core.audits.audit import Audit
from core.candidates.candidate import Candidate, heatmaps_of
from core.errors import SpurioscopeError
from core.explain.heatmaps import union
from core.explain.overlays import Style, heat_png, spotlight_png
from core.report.findings import Finding
from core.report.material import Evidence
from core.tags.decisions import spuriosity_of
from core.types import FloatArray

if TYPE_CHECKING:
    from core.models.model import Model

SIDE = 168
"""Pixels of a picture. Twelve of the noisiest kind take 0.3 MB, so 20 findings stay below 8 MB."""

QUALITY = 78
SHOWN = 4
"""Images at either end of the ranking."""

PICTURED = 20
"""Findings with pictures; those after them have numbers alone."""


@dataclass(frozen=True)
class Picture:
    """One picture of a report."""

    uri: str
    """``data:image/jpeg;base64,…``."""
    alt: str
    caption: str
    correct: bool


@dataclass(frozen=True)
class Row:
    """Pictures beside each other."""

    title: str
    pictures: tuple[Picture, ...]


def rows(
    evidence: Evidence, finding: Finding, load: Callable[[], Model], style: Style = "spotlight"
) -> tuple[tuple[Row, ...], str]:
    """Both ends of a class's ranking, the high one also with its overlay; and what is missing.

    Parameters
    ----------
    load : gives the model of the audit; called where maps are not stored.
    style : how it is shown where the cue is.
    """
    audit = evidence.audit
    table = spuriosity_of(audit, finding.label, finding.cues)
    table = table[table["held_out"] & table["spuriosity"].notna()]
    n = min(SHOWN, len(table) // 2)
    if not n:
        return (), "There are too few held-out images to show."
    high, low = table.head(n), table.iloc[::-1].head(n)
    try:
        maps = overlays(audit, finding.cues, high["image_id"].tolist(), load)
        plain = _row(audit, finding, high, "Most of the cue")
        over = _row(audit, finding, high, "Most of the cue, where it is", maps, style)
        least = _row(audit, finding, low, "Least of the cue")
    except (SpurioscopeError, OSError) as error:
        return (), f"The pictures cannot be shown: {error}"
    return (plain, over, least), ""


def overlays(
    audit: Audit, cues: Sequence[Candidate], image_ids: Sequence[str], load: Callable[[], Model]
) -> FloatArray:
    """The cues' maps (n, m, h, w); where exact, the mean of one over h, w is its alpha."""
    stored = audit.exact_maps and audit.store.has_maps(image_ids)
    model = None if stored else load()
    if not audit.exact_maps:
        return np.stack([audit.heatmaps(c, image_ids, model) for c in cues], axis=1)
    return heatmaps_of(cues, audit.maps(image_ids, model))


def _row(
    audit: Audit,
    finding: Finding,
    table: pd.DataFrame,
    title: str,
    maps: FloatArray | None = None,
    style: Style = "spotlight",
) -> Row:
    names = dict(zip(audit.head.outputs, audit.head.names, strict=True))
    scale = float(np.abs(maps.sum(axis=1)).max()) or 1.0 if maps is not None else 1.0
    pictures = []
    for place, row in enumerate(table.to_dict("records")):
        heat = None if maps is None else maps[place]
        predicted = names.get(row["prediction"], row["prediction"])
        said = f"predicted {predicted}, {100 * row['confidence']:.0f} %"
        where = "" if heat is None else f", overlay strongest {region(heat.sum(axis=0))}"
        path = audit.images_of([row["image_id"]])["path"].iat[0]
        pictures.append(
            Picture(
                uri=data_uri(draw(audit, row["image_id"], heat, scale, style)),
                alt=f"{path}: a {finding.name}, spuriosity {row['spuriosity']:+.1f}, {said}{where}",
                caption=f"{'✓' if row['correct'] else '✗'} {said}",
                correct=bool(row["correct"]),
            )
        )
    return Row(title, tuple(pictures))


def draw(
    audit: Audit, image_id: str, maps: FloatArray | None, scale: float, style: Style
) -> Image.Image:
    """What the encoder sees of an image, with where some maps (m, h, w) are in it.

    Lit is their union, as trials cut it out; coloured is their sum, with a line around the union.
    """
    photo = Image.fromarray(audit.pixels(image_id))
    photo = photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    if maps is None:
        return photo
    lit = union(maps, (SIDE, SIDE))
    if style == "spotlight":
        drawn = spotlight_png(lit, size=SIDE)
    else:
        drawn = heat_png(maps.sum(axis=0), scale, size=SIDE, lit=lit)
    layer = Image.open(io.BytesIO(drawn))
    return Image.alpha_composite(photo.convert("RGBA"), layer).convert("RGB")


def data_uri(image: Image.Image) -> str:
    """A picture as an address that holds the picture."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def region(heat: FloatArray) -> str:
    """Where a map (h, w) is largest, in words."""
    row, column = np.unravel_index(int(np.argmax(heat)), heat.shape)
    down = ("upper", "middle", "lower")[min(3 * int(row) // heat.shape[0], 2)]
    across = ("left", "centre", "right")[min(3 * int(column) // heat.shape[1], 2)]
    return f"in the {down} {across}"
