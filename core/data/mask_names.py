"""Which files beside images are masks of them, by their folders and endings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

IMAGES = frozenset({"images", "image", "imgs", "img", "photos", "jpegimages", "originals", "input"})
"""Folders, small letters, of images that lie beside folders of masks."""

MASKS = frozenset(
    {"masks", "mask", "segmentation", "segmentations", "segmentationclass", "trimaps", "gt"}
    | {"groundtruth", "ground_truth", "annotations", "labels", "seg", "annotation"}
)
"""Folders, small letters, of masks that lie beside folders of images."""

SUFFIXES = ("_mask", "-mask", " mask", "_seg", "_segmentation", "_gt", "_groundtruth", "_trimap")
"""Ends of the names of masks that are called like their image otherwise."""


def masks_among(paths: Iterable[str]) -> dict[str, str]:
    """Image by mask, for every path that is a mask of another.

    A mask has its image's name, without its ending, with one of :data:`SUFFIXES` behind it, or in
    a folder of :data:`MASKS` that stands where the image has one of :data:`IMAGES`, or none.
    """
    stems = {_stem(path): path for path in paths}
    found = {}
    for stem, path in stems.items():
        if stem.lower().endswith(SUFFIXES) or _of_masks(stem.rpartition("/")[0]):
            image = next((stems[other] for other in _images_of(stem) if other in stems), None)
            if image is not None:
                found[path] = image
    return {mask: image for mask, image in found.items() if image not in found}


@lru_cache(maxsize=4096)
def _of_masks(folder: str) -> bool:
    """Whether a folder, or one above it, is one of masks by its name."""
    return any(part.lower() in MASKS for part in folder.split("/"))


def _images_of(stem: str) -> Iterator[str]:
    """Paths without ending that the image of a mask may have."""
    ends = (end for end in SUFFIXES if stem.lower().endswith(end))
    names = [stem, *(stem[: -len(end)] for end in ends)]
    yield from names[1:]
    for name in names:
        parts = name.split("/")
        for place in [i for i, part in enumerate(parts[:-1]) if part.lower() in MASKS]:
            before, after = parts[:place], parts[place + 1 :]
            yield "/".join([*before, *after])
            for folder in IMAGES:
                for spelled in (folder, folder.capitalize(), folder.upper()):
                    yield "/".join([*before, spelled, *after])


def _stem(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)
