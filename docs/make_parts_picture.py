"""Make the picture of docs/parts.md: ``python docs/make_parts_picture.py [WORKSPACE]``.

Of every class of the rendered demo with a planted cue one image that shows it, as it is and with
its strongest parts, lit as the pages light them. Without a workspace the demo is prepared in one
that is thrown away.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.audits.audit import Audit  # noqa: E402 - the project is not installed
from core.candidates.candidate import heatmaps_of  # noqa: E402
from core.candidates.part_kind import PART  # noqa: E402
from core.data.preprocess import encoder_view  # noqa: E402
from core.explain.overlays import spotlight_png  # noqa: E402
from core.storage.workspace import Workspace  # noqa: E402

OUT = Path(__file__).resolve().parent / "parts.png"
DEMO = "demo-cues"
SIDE, LINE, GAP = 148, 18, 6
PARTS = 4
COLOURS = 128


def main() -> None:
    """Draw a row per class with a planted cue."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder))
        if workspace.named(DEMO) is None:
            from core.__main__ import main as command

            command(["demo", "--workspace", str(workspace.root)])
        audit = Audit.open(workspace, DEMO)
        planted = {label: truth["cue"] for label, truth in audit.summary.planted.items()}
        rows = [row(audit, label, cue) for label, cue in planted.items() if cue]
    height = len(rows) * (SIDE + LINE + GAP) - GAP
    sheet = Image.new("RGB", ((PARTS + 1) * (SIDE + GAP) - GAP, height), "white")
    for number, cells in enumerate(rows):
        for place, cell in enumerate(cells):
            sheet.paste(cell, (place * (SIDE + GAP), number * (SIDE + LINE + GAP)))
    sheet.quantize(COLOURS).save(OUT, optimize=True)


def row(audit: Audit, label: str, cue: str) -> list[Image.Image]:
    """The photo that shows the cue and has the largest margin by parts, then its parts."""
    arrays = audit.arrays_of(label)
    alpha = np.asarray(arrays.of_kind(PART).alpha, np.float64)
    shows = audit.images.loc[arrays.image_ids, cue].astype(str).isin(["1", "True"]).to_numpy()
    known = np.asarray(arrays.fitting, bool) & np.isfinite(alpha).all(axis=1) & shows
    image = int(np.where(known, alpha.sum(axis=1), -np.inf).argmax())
    name, candidates = arrays.image_ids[image], arrays.candidates(PART)[:PARTS]
    maps = heatmaps_of(candidates, audit.store.maps([name]))[0]
    view = encoder_view(audit.preprocess, audit.image(name), Image.Resampling.BICUBIC)
    photo = view.resize((SIDE, SIDE), Image.Resampling.LANCZOS).convert("RGBA")
    cells = [captioned(photo, f"{arrays.facts.name}, with its {cue}")]
    for part, heat in enumerate(maps):
        lit = Image.open(io.BytesIO(spotlight_png(heat, size=SIDE)))
        words = f"part {part + 1}: {alpha[image, part]:+.1f} logits"
        cells.append(captioned(Image.alpha_composite(photo, lit), words))
    return cells


def captioned(picture: Image.Image, words: str) -> Image.Image:
    """A picture with a line of words below it."""
    cell = Image.new("RGB", (SIDE, SIDE + LINE), "white")
    cell.paste(picture.convert("RGB"))
    font = ImageFont.load_default(size=12)
    ImageDraw.Draw(cell).text((2, SIDE + 2), words, "#222222", font)
    return cell


if __name__ == "__main__":
    main()
