"""An image from outside, taken in by an audit: its features and maps, stored by its content."""

from __future__ import annotations

import threading
from hashlib import blake2b
from typing import TYPE_CHECKING

from core.errors import UnreadableImageError
from core.storage.files import read_json, replacing_folder, write_array, write_bytes, write_json
from core.storage.layout import AuditFiles, UploadFiles
from core.types import Preprocess

if TYPE_CHECKING:
    from core.models.model import Model

VERSION = 2
"""Of what is stored. Before 2, features may be those of another picture that was uploaded at the
same moment."""

_uploading = threading.Lock()


def upload(files: AuditFiles, content: bytes, model: Model, preprocess: Preprocess) -> str:
    """Take in an image; returns its id (:meth:`core.audits.audit.Audit.upload`).

    Raises
    ------
    UnreadableImageError
        If the bytes are no image, or the network has no finite features for it.
    WorkspaceError
        If this process only shows (:func:`core.storage.roles.read_only`).
    """
    from core.storage.roles import refuse_if_read_only

    refuse_if_read_only()
    image_id = "up" + blake2b(content, digest_size=7).hexdigest()
    with _uploading:  # the same picture may come from several visitors at once
        if not is_taken_in(files.upload(image_id)):
            _take_in(files, image_id, content, model, preprocess)
    return image_id


def is_taken_in(upload: UploadFiles) -> bool:
    """Whether the features of an upload are there, and stored since they can be believed."""
    facts = upload.facts
    return facts.exists() and read_json(facts, {"version": int})["version"] == VERSION


def _take_in(
    files: AuditFiles, image_id: str, content: bytes, model: Model, preprocess: Preprocess
) -> None:
    import torch

    from core.data.foreign import read_foreign, refuse_if_full
    from core.data.preprocess import apply
    from core.features.bits import storable

    refuse_if_full(files.uploads)
    with replacing_folder(files.upload(image_id).folder) as temporary:
        new = UploadFiles(temporary)
        write_bytes(new.image, content)
        pixels = apply(preprocess, read_foreign(new.image, preprocess.black_and_white).image)
        encoded = model.encode(torch.from_numpy(pixels)[None])
        if not encoded.features.isfinite().all():
            raise UnreadableImageError("the network's features are not finite on this image")
        write_array(new.features, encoded.features.cpu().numpy())
        if encoded.maps is not None:
            write_array(new.maps, storable(encoded.maps))
        write_json(new.facts, {"version": VERSION})
